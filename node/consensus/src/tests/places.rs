//! Members of whom it is not known where they are, or no longer.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::kit::transaction;

const ALL: [u8; 5] = [1, 2, 3, 4, 5];
const OTHERS: [u8; 4] = [1, 2, 3, 4];

/// A transaction that all of these commit.
fn commit(cluster: &Cluster, number: u64, at: u8, seen_by: &[u8]) {
    let bytes = transaction(&cluster.config, number);
    assert!(cluster.handle(at).submit(bytes.clone()).unwrap());
    cluster.wait("a transaction", 40, |c| seen_by.iter().all(|member| c.chain(*member).height_of(&bytes).is_some()));
}

#[test]
fn a_member_that_nobody_can_find_may_call_and_is_found_where_it_is_said_to_be() {
    let mut cluster = Cluster::new("places", 8000);
    // Nobody knows where 5 is, nor does it know of anybody.
    for other in OTHERS {
        cluster.told.insert((5, other), vec![]);
        cluster.told.insert((other, 5), vec![]);
    }
    cluster.start(&ALL);
    commit(&cluster, 1, 1, &OTHERS);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((cluster.handle(5).peers(), cluster.height(5)), (0, 0));
    assert_eq!(cluster.handle(1).peers(), 3);

    // It is told of one member: first where somebody else answers, then where that member is. It calls, and is let in.
    cluster.seek(5, 1, cluster.endpoint(2));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(cluster.handle(5).peers(), 0, "whoever answers at an address is not whom it was said to lead to");
    cluster.seek(5, 1, cluster.endpoint(1));
    commit(&cluster, 2, 5, &ALL);
    cluster.say("a member that nobody can find calls one of the others, and takes part");

    // A member that is connected is left alone, whatever is said.
    let nowhere: SocketAddr = "127.0.0.1:1".parse().unwrap();
    cluster.seek(5, 1, nowhere);
    assert_eq!(cluster.handle(5).peers(), 1);
    commit(&cluster, 3, 5, &ALL);

    // It comes back somewhere else without knowing of anybody, and is found by those who are told.
    cluster.kill(&[5]);
    let elsewhere = SocketAddr::new("127.0.0.2".parse().unwrap(), cluster.endpoint(5).port());
    cluster.moved.insert(5, elsewhere);
    cluster.start(&[5]);
    commit(&cluster, 4, 1, &OTHERS);
    assert_eq!(cluster.handle(5).peers(), 0);
    for member in OTHERS {
        cluster.seek(member, 5, elsewhere);
    }
    cluster.wait("the others", 30, |c| c.handle(5).peers() == 4);
    commit(&cluster, 5, 5, &ALL);
    cluster.say("it moved: those who were told where found it");

    // And once more, away from an address that is in the engine's list.
    cluster.kill(&[5]);
    cluster.moved.clear();
    cluster.start(&[5]);
    cluster.wait("its old connections' ends", 30, |c| OTHERS.iter().all(|member| c.handle(*member).peers() == 3));
    for member in OTHERS {
        cluster.seek(member, 5, cluster.endpoint(5));
    }
    cluster.wait("the others", 30, |c| c.handle(5).peers() == 4);
    commit(&cluster, 6, 1, &ALL);

    // A stranger at that address, now that it has gone: it calls from the address itself, and does not stay.
    cluster.kill(&[5]);
    cluster.wait("its end", 30, |c| OTHERS.iter().all(|member| c.handle(*member).peers() == 3));
    cluster.impostor = Some(5);
    cluster.start(&[5]);
    for other in OTHERS {
        cluster.seek(5, other, cluster.endpoint(other));
    }
    let seen = Cell::new(0);
    let until = Instant::now() + Duration::from_secs(5);
    cluster.wait("some seconds", 10, |c| {
        seen.set(seen.get().max(c.handle(5).peers()));
        Instant::now() > until
    });
    cluster.say(&format!("a stranger in its place saw {} members before it was shown out", seen.get()));
    cluster.wait("the stranger's end", 10, |c| c.handle(5).peers() == 0);
    commit(&cluster, 7, 1, &OTHERS);
    cluster.kill(&[5]);
    cluster.impostor = None;
    cluster.start(&[5]);
    // Its address led to a stranger: the engine tries it again when it is told again.
    cluster.wait("the others", 60, |c| {
        std::thread::sleep(Duration::from_millis(500));
        OTHERS.iter().for_each(|member| c.seek(*member, 5, c.endpoint(5)));
        c.handle(5).peers() == 4
    });
    commit(&cluster, 8, 5, &ALL);
}
