//! Members that die and come back, and a launcher that leaves nothing behind.

use std::time::{Duration, Instant};

use serde_json::json;
use torus_tests::process::{alive, signal};

use crate::client::{VERIFIER, fresh_email, login, try_login};
use crate::devnet::{Devnet, within};
use crate::rpc::{call_all, call_raw};

/// How long a vault signs no receipt after a start that followed no clean stop: the receipt window and what permitted
/// clocks may differ.
const PROMISED: Duration = Duration::from_secs(80);
/// That, and 15 s for what lies around it: the end of the old processes, the start of the new ones, a connected quorum
/// and its first block, and a readiness that is asked for once a second.
pub(crate) const SILENCE: Duration = PROMISED.saturating_add(Duration::from_secs(15));

/// Waits until every member is ready, at most for the silence since the kill, and says how long it took.
pub(crate) fn serves_again(net: &Devnet, killed: Instant) {
    net.wait_all_ready(SILENCE.saturating_sub(killed.elapsed()));
    println!("  serves again {:.1?} after the kill (promised: {PROMISED:?}, allowed: {SILENCE:?})", killed.elapsed());
}

pub(crate) fn a_login_needs_no_member_that_is_down(net: &mut Devnet) {
    let email = fresh_email("alice");
    let before = login(net, &email);
    let down = net.members() - 1;
    net.tell(&["stop-member", &down.to_string()]);
    assert_eq!((net.pid(down, "vault"), net.pid(down, "node")), (0, 0));
    assert_eq!(login(net, &email).address, before.address);
    // A new user as well: the log goes on without it.
    let fresh = fresh_email("nina");
    let first = login(net, &fresh);
    net.tell(&["start-member", &down.to_string()]);
    // It was stopped in order, so it serves at once, and has caught up with what it missed.
    net.wait_ready(down, Duration::from_secs(60));
    let user = json!({"verifier": VERIFIER, "verifier_id": fresh});
    let seen = within(Duration::from_secs(20), || {
        call_all(net, "VerifierLookupRequest", &user).iter().all(|answer| {
            let address = answer.as_ref().ok().and_then(|found| found["keys"][0]["address"].as_str());
            address.is_some_and(|address| address.eq_ignore_ascii_case(&first.address))
        })
    });
    assert!(seen, "the member that was away does not know what happened meanwhile");
}

pub(crate) fn a_node_that_cannot_assign_says_so_by_its_status(net: &mut Devnet) {
    let known = fresh_email("olga");
    let key = login(net, &known);
    let t = (usize::from(net.members()) - (usize::from(net.members()) / 2 + 1)) / 2;
    let down: Vec<u8> = (2..).take(t + 1).collect();
    down.iter().for_each(|member| drop(net.tell(&["stop-member", &member.to_string()])));
    let user = json!({"verifier": VERIFIER, "verifier_id": fresh_email("peter")});
    let answer = call_raw(net, 1, "KeyAssign", &user).expect("an answer");
    assert!(matches!(answer.status, 502 | 504), "{}: {}", answer.status, answer.text());
    let user = json!({"verifier": VERIFIER, "verifier_id": known});
    let found = call_raw(net, 1, "VerifierLookupRequest", &user).expect("an answer").json();
    let address = found["result"]["keys"][0]["address"].as_str().expect("known before");
    assert!(address.eq_ignore_ascii_case(&key.address));
    assert!(try_login(net, &known).is_err(), "a login without a quorum of receipts");
    down.iter().for_each(|member| drop(net.tell(&["start-member", &member.to_string()])));
    net.wait_all_ready(Duration::from_secs(90));
    assert_eq!(login(net, &known).address, key.address);
}

pub(crate) fn a_killed_node_comes_back_and_catches_up(net: &mut Devnet) {
    let email = fresh_email("quinn");
    let before = login(net, &email);
    let pid = net.pid(3, "node");
    net.tell(&["kill-member", "3", "--node"]);
    assert!(within(Duration::from_secs(10), || !alive(pid)));
    assert_eq!(login(net, &email).address, before.address);
    assert!(
        within(Duration::from_secs(30), || !matches!(net.pid(3, "node"), 0 | u32::MAX) && net.pid(3, "node") != pid)
    );
    net.wait_ready(3, Duration::from_secs(60));
    let user = json!({"verifier": VERIFIER, "verifier_id": fresh_email("rosa")});
    assert!(call_raw(net, 3, "KeyAssign", &user).expect("an answer").json()["result"]["keys"].is_array());
}

pub(crate) fn a_killed_vault_comes_back_and_no_key_changes(net: &mut Devnet) {
    let email = fresh_email("sam");
    let before = login(net, &email);
    let pid = net.pid(2, "vault");
    let killed = Instant::now();
    net.tell(&["kill-member", "2", "--vault"]);
    assert!(within(Duration::from_secs(10), || !alive(pid)));
    assert_eq!(login(net, &email).address, before.address);
    // It keeps silent, says so, and then serves again.
    serves_again(net, killed);
    let others: Vec<u8> = (3..=net.members()).take(1).collect();
    others.iter().for_each(|member| drop(net.tell(&["stop-member", &member.to_string()])));
    // A quorum is now one with the vault that was killed.
    let after = login(net, &email);
    others.iter().for_each(|member| drop(net.tell(&["start-member", &member.to_string()])));
    assert_eq!(after.address, before.address);
    net.wait_all_ready(Duration::from_secs(90));
}

pub(crate) fn everything_comes_back_from_disk_within_half_a_minute(net: &mut Devnet) {
    let email = fresh_email("tina");
    let before = login(net, &email);
    let pids = net.pids();
    let started = Instant::now();
    net.tell(&["restart-all"]);
    let stopped_and_started = started.elapsed();
    assert!(pids.iter().all(|pid| !alive(*pid)), "a process of before still runs");
    let started = Instant::now();
    let mut last = String::new();
    let served = within(Duration::from_secs(60), || match try_login(net, &email) {
        Ok(after) => {
            assert_eq!(after.address, before.address);
            true
        }
        Err(why) => {
            last = why;
            false
        }
    });
    assert!(served, "no login after {:?}: {last}", started.elapsed());
    println!("  stop and start {stopped_and_started:.1?}, first login {:.1?} later", started.elapsed());
    assert!(started.elapsed() <= Duration::from_secs(30), "serves again only after {:?}", started.elapsed());
    net.wait_all_ready(Duration::from_secs(90));
}

pub(crate) fn the_network_file_names_the_processes_that_run(net: &mut Devnet) {
    let network = net.network();
    let n = u64::from(net.members());
    assert_eq!((&network["n"], &network["k"]), (&n.into(), &(n / 2 + 1).into()));
    assert_eq!((&network["epoch"], &network["t"]), (&1.into(), &((n - n / 2 - 1) / 2).into()));
    for member in 1..=net.members() {
        let entry = &network["members"][usize::from(member) - 1];
        assert_eq!(entry["index"], member);
        for role in ["vault", "node"] {
            let pid = net.pid(member, role);
            assert!(alive(pid), "member {member} {role}");
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).expect("a command line");
            let line = String::from_utf8_lossy(&line);
            assert!(line.contains(&format!("torus-{role}")), "pid {pid} is {line}");
            // No secret is given by argument.
            let pin = std::fs::read_to_string(net.dir().join(format!("member-{member}/token/pin"))).expect("a PIN");
            assert!(!line.contains(pin.trim()));
            assert!(std::path::Path::new(entry["logs"][role].as_str().expect("a path")).is_file());
        }
        for axis in ["x", "y"] {
            assert_eq!(entry["pubkey"][axis].as_str().map(str::len), Some(64));
        }
    }
}

pub(crate) fn nothing_is_left_running_after_sigterm(net: &mut Devnet) {
    let email = fresh_email("uma");
    let before = login(net, &email);
    let pids = net.pids();
    assert_eq!(pids.len(), 2 * usize::from(net.members()));
    let status = net.end(libc::SIGTERM);
    assert!(status.success(), "{status}");
    assert!(pids.iter().all(|pid| !alive(*pid)));
    assert_eq!(net.processes(), Vec::<u32>::new());
    net.launch(false);
    net.wait_filled(Duration::from_secs(120));
    assert_eq!(login(net, &email).address, before.address);
}

pub(crate) fn nothing_is_left_running_after_the_launcher_was_killed(net: &mut Devnet) {
    let email = fresh_email("vera");
    let before = login(net, &email);
    let pids = net.pids();
    let killed = Instant::now();
    net.end(libc::SIGKILL);
    let gone = within(Duration::from_secs(10), || pids.iter().all(|pid| !alive(*pid)));
    if !gone {
        pids.iter().for_each(|pid| signal(*pid, libc::SIGKILL));
    }
    assert!(gone, "daemons outlived their launcher");
    net.launch(false);
    serves_again(net, killed);
    assert_eq!(login(net, &email).address, before.address);
}
