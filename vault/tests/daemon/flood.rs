//! A login that is shown again and again: what each time costs the device comes out of the part that users have of it.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use torus_ipc::{Deny, Request, Response, VoteRequest};
use torus_statement::vote::{Step, Vote};

use crate::bench::five::Five;
use crate::commits::ask;

const IN_FLIGHT: usize = 64;
/// Far more than a second of any device holds.
const MOST: usize = 20_000;

#[test]
fn a_login_shown_without_end_is_told_busy_while_votes_and_first_releases_are_answered() {
    // A second that is saved up, and then a tenth of each.
    let mut five = Five::within("commits=10");
    five.generate(0, None);
    let flooded = five.log_in();
    // A token of another second is another login.
    std::thread::sleep(Duration::from_millis(1100));
    let (fresh, flood) = (five.log_in(), five.release(&flooded));
    let fresh = five.release(&fresh);
    let height = five.height();
    let vote = |step| {
        let vote = Vote { step, height: height + 1, round: 0, block: None };
        Request::SignVote(VoteRequest { vote, evidence: Vec::new() })
    };
    let node = five.first();
    let first = node.ask(&flood);
    assert!(matches!(first, Response::Share(_)), "{first:?}");

    let (mut sent, mut flooding) = (0, HashSet::new());
    let (mut shares, mut refused) = (0, 0);
    let mut began = None;
    // One after another beside the flood, once it is refused.
    let mut asked: Option<(u64, Instant)> = None;
    let mut beside = vec![fresh, vote(Step::Precommit), vote(Step::Prevote)];
    while !(beside.is_empty() && asked.is_none()) {
        while flooding.len() < IN_FLIGHT {
            assert!(sent < MOST, "{shares} shares of one login, and still none was refused");
            flooding.insert(node.send(&flood));
            sent += 1;
        }
        if began.is_some() && asked.is_none() {
            let next = beside.pop().unwrap();
            asked = Some((node.send(&next), Instant::now()));
        }
        let (id, answer) = node.next_answer().unwrap();
        if let Some((_, at)) = asked.take_if(|(asked, _)| *asked == id) {
            assert!(matches!(answer, Response::Vote(_) | Response::Share(_)), "{answer:?}");
            assert!(at.elapsed() < Duration::from_secs(1), "after {:?}", at.elapsed());
            continue;
        }
        assert!(flooding.remove(&id));
        match answer {
            Response::Share(_) => shares += 1,
            Response::Denied(Deny::Busy) => {
                refused += 1;
                began.get_or_insert_with(Instant::now);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 0 && shares > 0, "{shares} {refused}");
    // Receipts find their time beside it.
    while !flooding.is_empty() {
        let (id, _) = node.next_answer().unwrap();
        flooding.remove(&id);
    }
    for number in 2..=60 {
        let receipt = node.ask(&ask([number; 32], number, "demo"));
        assert!(matches!(receipt, Response::Receipt(_)), "{number}: {receipt:?}");
        node.ask(&flood);
    }
}
