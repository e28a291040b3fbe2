//! A fully compromised daemon: calls made inside the running process, as if its own code made them.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use torus_tests::process::own_uid;

use super::pair::{Daemon, pair, vault};
use super::trace::{Outcome, Traced};

const TEXT: &str = "/etc/passwd";

/// Name, number and arguments; `None` is where the text lies in the other process.
type Call = (&'static str, libc::c_long, [Option<u64>; 4]);

fn calls() -> Vec<Call> {
    let number = |value: u64| Some(value);
    let zero = number(0);
    vec![
        ("execve", libc::SYS_execve, [None, zero, zero, zero]),
        ("open", libc::SYS_open, [None, zero, zero, zero]),
        ("openat to write", libc::SYS_openat, [number(libc::AT_FDCWD as u64), None, number(libc::O_RDWR as u64), zero]),
        ("socket(AF_UNIX)", libc::SYS_socket, [number(1), number(1), zero, zero]),
        ("a UDP socket", libc::SYS_socket, [number(2), number(2), zero, zero]),
        ("ptrace", libc::SYS_ptrace, [number(0x4206), number(1), zero, zero]),
        ("process_vm_readv", libc::SYS_process_vm_readv, [number(1), zero, zero, zero]),
        ("memory written and executed", libc::SYS_mmap, [zero, number(4096), number(7), number(0x22)]),
        ("mprotect", libc::SYS_mprotect, [None, number(4096), number(7), zero]),
        ("fork", libc::SYS_fork, [zero; 4]),
        ("kill", libc::SYS_kill, [number(1), zero, zero, zero]),
        ("tgkill", libc::SYS_tgkill, [number(1), number(1), zero, zero]),
        ("io_uring_setup", libc::SYS_io_uring_setup, [number(1), zero, zero, zero]),
        ("listen", libc::SYS_listen, [zero, number(1), zero, zero]),
    ]
}

const GETPID: Call = ("getpid", libc::SYS_getpid, [Some(0); 4]);

async fn dies(mut daemon: Daemon, call: Call) {
    let pid = i64::from(daemon.pid());
    {
        let mut traced = Traced::seize(daemon.pid());
        // First one that it may make: it answers, and the process goes on.
        assert_eq!(traced.inject(&GETPID, TEXT), Outcome::Answered(pid), "{}", call.0);
        assert_eq!(traced.inject(&call, TEXT), Outcome::Ended, "{}", call.0);
    }
    assert_eq!(daemon.ended().await.signal(), Some(libc::SIGSYS), "{}", call.0);
}

fn may_inject() -> bool {
    let root = own_uid() == 0;
    if !root {
        super::skipped("only root may put calls into a process that is not dumpable");
    }
    root
}

#[tokio::test(flavor = "current_thread")]
async fn forbidden_calls_put_into_the_running_vault_kill_it() {
    if !may_inject() {
        return;
    }
    for call in calls().into_iter().chain([("a TCP socket", libc::SYS_socket, [Some(2), Some(1), Some(0), Some(0)])]) {
        dies(vault(3).await, call).await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn forbidden_calls_put_into_the_running_node_kill_it() {
    if !may_inject() {
        return;
    }
    let open: Call = ("openat", libc::SYS_openat, [Some(libc::AT_FDCWD as u64), None, Some(0), Some(0)]);
    for call in calls().into_iter().chain([open]) {
        dies(pair(4).await.node, call).await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_daemon_that_answered_a_harmless_call_goes_on_serving() {
    if !may_inject() {
        return;
    }
    let pair = pair(5).await;
    for daemon in [&pair.vault, &pair.node] {
        let mut traced = Traced::seize(daemon.pid());
        assert_eq!(traced.inject(&GETPID, TEXT), Outcome::Answered(daemon.pid().into()));
        drop(traced);
        assert!(torus_tests::process::alive(daemon.pid()), "{}", daemon.said());
    }
    // What Landlock forbids and the filter must leave to SoftHSM is refused, not granted.
    let open: Call = ("openat", libc::SYS_openat, [Some(libc::AT_FDCWD as u64), None, Some(0), Some(0)]);
    let refused = Traced::seize(pair.vault.pid()).inject(&open, TEXT);
    assert_eq!(refused, Outcome::Answered(-i64::from(libc::EACCES)));
    assert!(torus_tests::process::alive(pair.vault.pid()));
}

/// Without it, a method that never reaches the other process would pass everything above.
#[test]
fn the_same_calls_put_into_a_process_without_a_sandbox_succeed() {
    let mut sleeper = Command::new("/bin/sleep").arg("600").spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let mut traced = Traced::seize(sleeper.id());
    for (name, number, arguments) in [
        ("open", libc::SYS_open, [None, Some(0), Some(0), Some(0)]),
        ("socket(AF_UNIX)", libc::SYS_socket, [Some(1), Some(1), Some(0), Some(0)]),
        ("a UDP socket", libc::SYS_socket, [Some(2), Some(2), Some(0), Some(0)]),
        ("memory written and executed", libc::SYS_mmap, [Some(0), Some(4096), Some(7), Some(0x22)]),
    ] {
        let outcome = traced.inject(&(name, number, arguments), TEXT);
        assert!(matches!(outcome, Outcome::Answered(0..)), "{name}: {outcome:?}");
    }
    drop(traced);
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
}
