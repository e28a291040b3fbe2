//! What /proc says about every thread of the running daemons.

use std::collections::BTreeSet;
use std::fs;

use torus_tests::process::own_uid;

use super::pair::{Daemon, pair};

fn field<'a>(status: &'a str, name: &str) -> Vec<&'a str> {
    let line =
        status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in\n{status}"));
    line.split_whitespace().collect()
}

/// Where its descriptors lead, sockets and files by kind.
fn descriptors(daemon: &Daemon) -> BTreeSet<String> {
    let name = |link: String| match link.rsplit_once('/') {
        Some((_, name)) => name.to_owned(),
        None if link.starts_with("socket:") => "socket".to_owned(),
        None => link,
    };
    fs::read_dir(format!("/proc/{}/fd", daemon.pid()))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .map(|link| name(link.to_string_lossy().into_owned()))
        .collect()
}

fn check(daemon: &Daemon, descriptors_wanted: &[&str]) {
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let filters: u32 = field(&own, "Seccomp_filters:")[0].parse().unwrap();
    let root = format!("/proc/{}", daemon.pid());
    let tasks: Vec<_> = fs::read_dir(format!("{root}/task")).unwrap().map(|task| task.unwrap().path()).collect();
    assert!(tasks.len() > 3, "{tasks:?}");
    for task in tasks {
        let status = fs::read_to_string(task.join("status")).unwrap();
        let is = |name: &str, wanted: &str| {
            assert!(field(&status, name).iter().all(|found| *found == wanted), "{name} {status}")
        };
        is("Seccomp:", "2");
        is("Seccomp_filters:", &(filters + 2).to_string());
        is("NoNewPrivs:", "1");
        is("Uid:", &daemon.user.to_string());
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            is(set, "0000000000000000");
        }
        if own_uid() == 0 {
            is("CapBnd:", "0000000000000000");
            is("Gid:", &daemon.user.to_string());
            assert!(field(&status, "Groups:").is_empty());
        }
    }
    // Only its owner or root sees these, and it is not dumpable: not even its owner.
    if own_uid() == 0 {
        let maps = fs::read_to_string(format!("{root}/maps")).unwrap();
        let both: Vec<_> = maps.lines().filter(|line| line.contains(" rwx") || line.contains("wx")).collect();
        assert!(maps.contains(" r-xp ") && both.is_empty(), "{both:?}");
        let wanted: BTreeSet<String> = descriptors_wanted.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(descriptors(daemon), wanted);
    } else {
        super::skipped("(in part) maps and descriptors are root's to read");
        assert!(fs::read_to_string(format!("{root}/maps")).is_err(), "it is dumpable");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn every_thread_of_both_daemons_is_locked_down() {
    let pair = pair(1).await;
    assert_ne!(own_uid() == 0, pair.vault.user == pair.node.user, "two daemons, two users");
    check(&pair.vault, &["null", "vault.log", "socket", "anon_inode:[signalfd]", "data.mdb", "lock.mdb", "vault.lock"]);
    let node = ["null", "node.log", "socket", "anon_inode:[eventpoll]", "anon_inode:[eventfd]", "data.mdb", "lock.mdb"];
    check(&pair.node, &[&node[..], &["wal", "wal.drop"]].concat());
}
