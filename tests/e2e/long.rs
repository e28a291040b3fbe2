//! What takes minutes: wrong clocks, kills at every moment.

use std::time::{Duration, Instant};

use torus_tests::process::alive;

use crate::client::{Login, fresh_email, login, try_login};
use crate::devnet::{Devnet, within};
use crate::faults::{SILENCE, serves_again};

/// After this the log abandons an attempt that has no qualified set.
const ABANDON: Duration = Duration::from_secs(600);
/// Rounds of kills; every process gets several.
const ROUNDS: u32 = 24;

pub(crate) fn a_clock_ten_minutes_off_is_told_and_releases_nothing(net: &mut Devnet) {
    let email = fresh_email("alice");
    let before = login(net, &email);
    for offset in ["600", "-600"] {
        net.tell(&["stop-member", "4"]);
        net.tell(&["start-member", "4", "--clock-offset", offset]);
        let mut last = None;
        let told = within(Duration::from_secs(120), || {
            last = net.readiness(4);
            last.as_ref().is_some_and(|said| !said.ready && said.codes.iter().any(|code| code == "clock"))
        });
        assert!(told, "{offset} s: {last:?}");
        // The others go on; the one whose clock is off is not among those that vouch or release.
        assert_eq!(login(net, &email).address, before.address);
        net.tell(&["stop-member", "3"]);
        let short = try_login(net, &email);
        net.tell(&["start-member", "3"]);
        assert!(short.is_err(), "{offset} s: a login counted the member whose clock is off");
        net.wait_ready(3, SILENCE);
    }
    net.tell(&["stop-member", "4"]);
    net.tell(&["start-member", "4"]);
    net.wait_all_ready(SILENCE);
    assert_eq!(login(net, &email).address, before.address);
}

pub(crate) fn vaults_killed_while_a_batch_is_made_still_publish_it(net: &mut Devnet) {
    // From before the first echo to after the last acknowledgement.
    for step in 0..6u32 {
        net.end(libc::SIGTERM);
        net.launch(true);
        let begun = within(Duration::from_secs(180), || {
            net.network_file().exists() && (1..=net.members()).all(|m| net.readiness(m).is_some())
        });
        assert!(begun, "the network does not start");
        std::thread::sleep(Duration::from_millis(u64::from(step) * 400));
        let started = Instant::now();
        net.tell(&["kill-all"]);
        // A batch that had its qualified set is published as soon as the vaults are back. One that had none waits until
        // the log abandons the attempt, and is then made anew.
        net.wait_filled(ABANDON + SILENCE + Duration::from_secs(120));
        println!("  killed {} ms after the start: filled {:.0?} later", step * 400, started.elapsed());
        let email = fresh_email("alice");
        assert!(login(net, &email).new, "step {step}");
    }
}

pub(crate) fn any_process_killed_at_any_time_loses_no_key(net: &mut Devnet) {
    let mut users: Vec<(String, Login)> = Vec::new();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..ROUNDS {
        // xorshift: the order of kills is the same in every run.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let member = u8::try_from(random % u64::from(net.members())).expect("small") + 1;
        let role = if random & 1 << 20 == 0 { "vault" } else { "node" };
        let pid = net.pid(member, role);
        // A node ends with its vault. For a moment it still answers what the vault said last.
        let ending = if role == "vault" { vec!["vault", "node"] } else { vec!["node"] };
        let ending: Vec<(&str, u32)> = ending.into_iter().map(|role| (role, net.pid(member, role))).collect();
        let email = fresh_email("user");
        // The kill falls into a login, an assignment, a refill or none of them.
        let killer = std::thread::spawn({
            let words = [format!("kill-member {member} --{role}"), net.dir().display().to_string()];
            let launcher = net.binary("torus-devnet");
            let pause = Duration::from_millis(random >> 32 & 0x7ff);
            move || {
                std::thread::sleep(pause);
                let status = std::process::Command::new(launcher)
                    .args(words[0].split(' '))
                    .args(["--dir", &words[1]])
                    .status()
                    .expect("torus-devnet runs");
                assert!(status.success());
            }
        });
        let first = try_login(net, &email);
        killer.join().expect("the kill was done");
        assert!(within(Duration::from_secs(20), || !alive(pid)));
        let first = first.or_else(|_| try_login(net, &email));
        let first = first.unwrap_or_else(|why| panic!("round {round}, member {member} {role} killed: {why}"));
        users.push((email, first));
        let again = |(role, pid): &(&str, u32)| ![0, *pid].contains(&net.pid(member, role));
        assert!(within(Duration::from_secs(20), || ending.iter().all(again)), "round {round}: it is not started again");
        net.wait_ready(member, SILENCE);
        println!("  round {} of {ROUNDS}: member {member} lost its {role}", round + 1);
        for (email, first) in users.iter().rev().take(3) {
            assert_eq!(login(net, email).address, first.address, "round {round}");
        }
    }
    let mut addresses: Vec<&str> = users.iter().map(|(_, login)| login.address.as_str()).collect();
    for (email, first) in &users {
        assert_eq!(login(net, email).address, first.address);
    }
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), users.len(), "two users share a key");
}

pub(crate) fn everything_killed_at_once_comes_back_after_the_silence(net: &mut Devnet) {
    let email = fresh_email("wendy");
    let before = login(net, &email);
    let pids = net.pids();
    let killed = Instant::now();
    net.tell(&["kill-all"]);
    assert!(within(Duration::from_secs(10), || pids.iter().all(|pid| !alive(*pid))));
    // Until the silence is over nobody vouches for a token that may have been seen before.
    assert!(try_login(net, &email).is_err());
    serves_again(net, killed);
    assert_eq!(login(net, &email).address, before.address);
}
