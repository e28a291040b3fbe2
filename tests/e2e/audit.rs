//! Audit logs of running vaults: their heads reach everybody, and a copy is proven against what peers hold.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use crate::devnet::{Devnet, within};
use crate::rpc::get;

/// Longer than a vault waits with something new, and some blocks.
const LIMIT: Duration = Duration::from_secs(120);

/// What a member's state holds of all audit logs.
fn heads(net: &Devnet, member: u8) -> Vec<Value> {
    get(net.admin(member), "/audit").json()["heads"].as_array().expect("a list").clone()
}

fn root(net: &Devnet, member: u8) -> PathBuf {
    let log = net.network()["members"][usize::from(member) - 1]["logs"]["vault"].as_str().expect("a log").to_owned();
    PathBuf::from(log).parent().expect("a directory").to_owned()
}

fn audit(net: &Devnet, arguments: &[&str]) -> Output {
    Command::new(net.binary("torus-vault")).arg("audit").args(arguments).output().expect("torus-vault runs")
}

pub(crate) fn the_heads_of_all_audit_logs_reach_every_member(net: &mut Devnet) {
    let all = net.members();
    let reached = within(LIMIT, || (1..=all).all(|member| heads(net, member).len() == usize::from(all)));
    assert!(reached, "{:?}", heads(net, 1));
    for member in 1..=all {
        for head in heads(net, member) {
            assert!(head["contradiction"].is_null(), "{head}");
            assert!(head["newest"]["count"].as_u64().expect("a count") > 0, "{head}");
        }
    }
}

pub(crate) fn a_copy_of_a_running_vaults_log_is_proven_against_the_head_that_a_peer_holds(net: &mut Devnet) {
    let link = |net: &Devnet| {
        let head = heads(net, 2).into_iter().find(|head| head["member"] == 1);
        head.map(|head| head["newest"]["link"].as_str().expect("a link").to_owned())
    };
    assert!(within(LIMIT, || link(net).is_some()));
    let link = link(net).expect("a head");
    let root = root(net, 1);
    // Not in the network's own directory: what is no devnet's is never cleared there.
    let place = tempfile::tempdir().expect("a place for the copy");
    let copy = place.path().join("audit-copy");
    let (data, out) = (root.join("vault"), copy.to_str().expect("a path"));
    let taken = audit(net, &["export", "--data", data.to_str().expect("a path"), "--out", out]);
    assert!(taken.status.success(), "{taken:?}");
    let member: Value =
        serde_json::from_slice(&std::fs::read(root.join("member.json")).expect("a member file")).unwrap();
    let key = member["identity"].as_str().expect("an identity");
    let proven = audit(net, &["verify", out, "--key", key, "--head", &link]);
    assert!(proven.status.success(), "{proven:?}");
    let shown = audit(net, &["show", out, "--key", key]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    for word in ["made: member 1", "start ", "dealt ", "acknowledged keys", "locked at height", "checkpoint over"] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
    assert!(!text.contains('@'), "an address is in the log");
    // One byte of it changed.
    let mut bytes = std::fs::read(&copy).expect("the copy");
    bytes[100] ^= 1;
    std::fs::write(&copy, bytes).expect("the copy");
    assert_eq!(audit(net, &["verify", out, "--key", key]).status.code(), Some(1));
}
