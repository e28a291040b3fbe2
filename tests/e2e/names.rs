//! Members whose endpoints are names, asked for by TCP under the lockdown. The name server is this test's, so that names
//! come, go and change.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{VERIFIER, fresh_email, login};
use crate::devnet::{Devnet, within};
use crate::dns::Dns;
use crate::rpc::{call_raw, get};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const IN_IPV6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const LAST: &str = "member5.torus.test";
const OTHERS: [&str; 4] = ["member1.torus.test", "member2.torus.test", "member3.torus.test", "member4.torus.test"];

/// The network whose members' endpoints are names.
pub(crate) const NAMED: &str = "names";
static SERVER: OnceLock<Dns> = OnceLock::new();

/// What the launcher is told besides: the name server of a network of names, which knows all members but the last.
pub(crate) fn arguments(network: &str, port: u16) -> Vec<String> {
    if network != NAMED {
        return Vec::new();
    }
    // Above the ports of its members.
    let port = port + 80;
    SERVER.get_or_init(|| Dns::start(port)).set(&OTHERS.map(|name| (name, HERE)));
    vec!["--resolver".to_owned(), format!("127.0.0.1:{port}")]
}

fn dns() -> &'static Dns {
    SERVER.get().expect("a name server")
}

fn takes_part(net: &Devnet, member: u8) {
    net.wait_ready(member, Duration::from_secs(60));
    let mut said = Value::Null;
    let connected = within(Duration::from_secs(30), || {
        said = get(net.admin(member), "/readyz").json();
        ["peers", "envelope_peers"].iter().all(|peers| said[peers] == 4)
    });
    assert!(connected, "not by both ways with all others: {said}");
    let user = json!({"verifier": VERIFIER, "verifier_id": fresh_email("norma")});
    let answer = call_raw(net, member, "KeyAssign", &user).expect("an answer").json();
    assert!(answer["result"]["keys"].is_array(), "{answer}");
}

/// It has no address that anybody knows, and calls the others: they know it by its key.
pub(crate) fn a_member_whose_name_does_not_resolve_yet_takes_part(net: &mut Devnet) {
    assert!(dns().asked(LAST) > 0, "nobody looked for it");
    OTHERS.iter().for_each(|name| assert!(dns().asked(name) > 0, "nobody looked for {name}"));
    takes_part(net, 5);
    login(net, &fresh_email("nora"));
}

/// It knows of nobody itself, since no other name resolves any more: only the others can find it.
pub(crate) fn a_member_is_found_by_its_name_and_again_where_its_name_leads_later(net: &mut Devnet) {
    for address in [HERE, ELSEWHERE, IN_IPV6] {
        if let Err(error) = TcpListener::bind((address, 0)) {
            println!("  SKIPPED {address}: this machine has it not ({error})");
            continue;
        }
        net.tell(&["stop-member", "5"]);
        dns().set(&[(LAST, address)]);
        let began = Instant::now();
        net.tell(&["start-member", "5", "--listen", &address.to_string()]);
        takes_part(net, 5);
        println!("  found at {address} {:.1?} after its start", began.elapsed());
    }
    dns().set(&OTHERS.map(|name| (name, HERE)));
    login(net, &fresh_email("nick"));
}

pub(crate) fn no_name_was_asked_for_by_datagram_and_no_node_was_ended(net: &mut Devnet) {
    assert!(!dns().datagram_came());
    for member in net.network()["members"].as_array().expect("members").iter().take(OTHERS.len()) {
        let log = std::fs::read_to_string(member["logs"]["node"].as_str().expect("a log")).expect("it can be read");
        assert_eq!(log.matches("locked down").count(), 1, "a node was started again: {member}");
    }
}
