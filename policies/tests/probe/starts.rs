//! The start itself: what is in force after it, and what stops it.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, Output};
use std::sync::mpsc::channel;

use torus_policies::{Confined, Landlock, LockdownError, Role, Step, User, begin, end_with_parent};

use crate::child::{self, ALLOWED, SERVANT, close, command, confined, locked, output, role, user, with_descriptor};
use crate::raw;
use crate::world::World;

fn said(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn field(table: &str, name: &str) -> Vec<String> {
    let line = table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in\n{table}"));
    line[name.len()..].split_whitespace().map(str::to_owned).collect()
}

/// The probe's parts.
pub(crate) fn play(role_name: &str, name: &str) -> ExitCode {
    let chosen = role(role_name).unwrap_or(Role::Node);
    match name {
        "report" => {
            let confined = confined(chosen, Landlock::Required).unwrap();
            // Nothing is opened under the filter, so what is read later is opened before.
            let limits = std::fs::File::open("/proc/self/limits");
            assert!(limits.is_err(), "landlock leaves /proc alone");
            let locked = confined.filter().unwrap();
            println!("{}", locked.report());
            for (step, value) in locked.report().steps() {
                println!("{step:?}={value}");
            }
            wait_for_reader();
        }
        "root" => drop(begin(&[]).unwrap().become_user(None).map_err(fail)),
        "another" => {
            let first = begin(&[]).unwrap().become_user(user());
            drop(first.map_err(fail));
            // Not root any more: neither the way back nor another user is open.
            drop(begin(&[]).unwrap().become_user(User::new(SERVANT + 1, SERVANT + 1)).map_err(fail));
        }
        "tie" => {
            end_with_parent(std::os::unix::process::parent_id()).unwrap();
            locked(chosen);
            println!("tied");
            std::io::stdout().flush().unwrap();
            loop {
                std::thread::park();
            }
        }
        "inherited" => {
            let kept = begin(&[50]).unwrap().become_user(user()).unwrap();
            let open = |fd: i32| std::path::Path::new(&format!("/proc/self/fd/{fd}")).exists();
            assert!(open(50) && open(51), "the launcher's part");
            let confined = kept.confine(chosen, &torus_policies::Access::default(), Landlock::Without).unwrap();
            println!("kept {} closed {}", open(50), !open(51));
            println!("{}", confined.filter().unwrap().report());
        }
        "loose" => drop(confined_keeping(&[50], chosen).map_err(fail)),
        "second thread" => {
            let start = begin(&[]).unwrap().become_user(user()).unwrap();
            let (_hold, held) = channel::<()>();
            std::thread::spawn(move || held.recv());
            drop(start.confine(chosen, &torus_policies::Access::default(), Landlock::Required).map_err(fail));
        }
        "earlier threads" => {
            let confined = confined(chosen, Landlock::Required).unwrap();
            let (go, wait) = channel::<()>();
            let thread = std::thread::spawn(move || {
                wait.recv().unwrap();
                raw::call(libc::SYS_ptrace, [0; 6])
            });
            let _locked = confined.filter().unwrap();
            go.send(()).unwrap();
            let _ = thread.join();
        }
        "panic" => {
            let _locked = locked(chosen);
            panic!("what went wrong");
        }
        "panic in a thread" => {
            let _locked = locked(chosen);
            let thread = std::thread::Builder::new().name("worker".to_owned()).spawn(|| panic!("what went wrong"));
            assert!(thread.unwrap().join().is_err());
            println!("goes on");
        }
        "work" => {
            let _locked = locked(chosen);
            work();
            println!("done");
        }
        "ready" => {
            let mut locked = locked(chosen);
            locked.ready().unwrap();
            locked.ready().unwrap();
        }
        "orphan" => assert!(end_with_parent(std::process::id()).is_err(), "one is not one's own parent"),
        "child" => end_with_parent(std::os::unix::process::parent_id()).unwrap(),
        other => panic!("no part {other}"),
    }
    raw::exit(ALLOWED)
}

fn confined_keeping(keep: &[i32], role: Role) -> Result<Confined, LockdownError> {
    begin(keep)?.become_user(user())?.confine(role, &torus_policies::Access::default(), Landlock::Required)
}

fn fail(error: LockdownError) {
    eprintln!("{error}");
    raw::exit(1)
}

/// Threads that come and go, memory that grows and shrinks in each.
fn work() {
    for _ in 0..3 {
        let threads: Vec<_> = (0..24)
            .map(|_| {
                std::thread::spawn(|| {
                    for (blocks, size) in [(4, 1 << 10), (1024, 1 << 10), (4, 30 << 10), (4, 100 << 10), (4, 1 << 20)] {
                        let mut held: Vec<Vec<u8>> = (0..blocks).map(|_| vec![1; size]).collect();
                        held.iter_mut().for_each(|block| block.resize(2 * size, 2));
                        drop(std::hint::black_box(held));
                    }
                    std::thread::sleep(std::time::Duration::from_millis(1));
                    std::thread::yield_now();
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// Says that it is ready and lives until its input ends, so that the parent can look at it.
fn wait_for_reader() {
    println!("ready");
    std::io::stdout().flush().unwrap();
    let _ = std::io::Read::read(&mut std::io::stdin(), &mut [0; 1]);
}

pub(crate) fn a_locked_down_process_has_what_the_report_says() {
    let world = World::new();
    for role in Role::ALL {
        let mut child = command(&world, "start", role.filter_name(), "report")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        let mut report = String::new();
        for line in lines.by_ref().map(Result::unwrap) {
            if line == "ready" {
                break;
            }
            report += &format!("{line}\n");
        }
        let proc = format!("/proc/{}", child.id());
        let status = std::fs::read_to_string(format!("{proc}/status")).unwrap();
        let limits = std::fs::read_to_string(format!("{proc}/limits")).unwrap();
        let own = std::fs::read_to_string("/proc/self/status").unwrap();
        let before: u32 = field(&own, "Seccomp_filters:")[0].parse().unwrap();
        assert_eq!(field(&status, "Seccomp:"), ["2"], "{role:?}");
        assert_eq!(field(&status, "Seccomp_filters:"), [(before + 2).to_string()], "{role:?}");
        assert_eq!(field(&status, "NoNewPrivs:"), ["1"], "{role:?}");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(field(&status, set), ["0000000000000000"], "{role:?} {set}");
        }
        if raw::uid() == 0 {
            assert_eq!(field(&status, "CapBnd:"), ["0000000000000000"], "{role:?}");
            assert_eq!(field(&status, "Uid:"), vec![SERVANT.to_string(); 4], "{role:?}");
            assert_eq!(field(&status, "Gid:"), vec![SERVANT.to_string(); 4], "{role:?}");
            assert_eq!(field(&status, "Groups:"), Vec::<String>::new(), "{role:?}");
        }
        let vault = matches!(role, Role::VaultCore | Role::VaultSoftHsm);
        let (files, bytes) = if vault { (1024, 64u64 << 30) } else { (16_384, 256 << 30) };
        for (name, most) in [("Max core file size", 0), ("Max open files", files), ("Max file size", bytes)] {
            let limits = field(&limits, name);
            assert_eq!(limits[0], limits[1], "{role:?}: {name}");
            assert!(limits[0].parse::<u64>().unwrap() <= most, "{role:?}: {name}");
        }
        // The report says the same, and a vault's memory locking as the system allows it.
        for line in ["NoCore=0", "NotDumpable=0", "NoNewPrivileges=1", "WriteExecute=1", "Filters=2", "Capabilities=0"]
        {
            assert!(report.contains(&format!("\n{line}\n")), "{role:?}: no {line} in\n{report}");
        }
        assert!(report.contains("\nLandlock=1\n") || report.contains("\nLandlock=2\n"), "{report}");
        assert_eq!(report.contains(&format!("{:?}=", Step::LockedMemory)), vault);
        if vault {
            let locked = field(&limits, "Max locked memory");
            assert_eq!(locked[0], locked[1]);
        }
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(ALLOWED));
    }
}

pub(crate) fn root_does_not_serve_and_only_root_becomes_another() {
    assert!(User::new(0, 5).is_none() && User::new(5, 0).is_none() && User::new(u32::MAX, 5).is_none());
    assert!(User::from_args(Some(5), None).is_err() && User::from_args(Some(0), Some(0)).is_err());
    let world = World::new();
    let root = output(&world, "start", "node", "root");
    if raw::uid() == 0 {
        assert!(said(&root).1.contains("root does not serve"), "{root:?}");
    } else {
        assert_eq!(root.status.code(), Some(ALLOWED), "{root:?}");
    }
    let another = output(&world, "start", "node", "another");
    assert!(said(&another).1.contains("only root may become another user"), "{another:?}");
}

pub(crate) fn a_change_of_user_keeps_the_tie_to_the_launcher() {
    let world = World::new();
    // A shell stands in for the launcher; the probe is its child.
    let probe = command(&world, "start", "node", "tie");
    let mut launcher = Command::new("/bin/sh");
    launcher.args(["-c", "\"$0\" & echo $!; wait"]).arg(probe.get_program());
    launcher.envs(probe.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut launcher = launcher.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(launcher.stdout.take().unwrap()));
    let pid = lines.next().unwrap().unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "tied");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert_eq!(field(&status, "Seccomp:"), ["2"]);
    launcher.kill().unwrap();
    launcher.wait().unwrap();
    let gone = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
    });
    assert!(gone, "it outlived its launcher");
}

pub(crate) fn what_the_launcher_left_open_is_closed() {
    let world = World::new();
    let mut command = command(&world, "start", "node", "inherited");
    let (kept, left) = (raw::open_null(), raw::loose_unix_socket(libc::SOCK_DGRAM));
    with_descriptor(&mut command, kept, 50);
    with_descriptor(&mut command, left, 51);
    let output = command.output().unwrap();
    [kept, left].into_iter().for_each(close);
    assert!(said(&output).0.contains("kept true closed true"), "{output:?}");
    assert!(!said(&output).0.contains("inherited descriptors closed 0"), "{output:?}");
}

pub(crate) fn a_socket_that_could_be_pointed_elsewhere_stops_the_start() {
    let world = World::new();
    for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
        let mut command = command(&world, "start", "node", "loose");
        let loose = raw::loose_unix_socket(kind);
        let output = with_descriptor(&mut command, loose, 50).output().unwrap();
        close(loose);
        assert!(said(&output).1.contains("descriptor 50 is a socket that could still be connected"), "{output:?}");
    }
    // A connected pair of datagrams could be pointed elsewhere, too; a connected stream cannot.
    for (kind, stops) in [(libc::SOCK_DGRAM, true), (libc::SOCK_STREAM, false)] {
        let mut command = command(&world, "start", "node", "loose");
        let pair = raw::unix_pair(kind);
        let output = with_descriptor(&mut command, pair[0], 50).output().unwrap();
        pair.into_iter().for_each(close);
        assert_eq!(said(&output).1.contains("descriptor 50"), stops, "{output:?}");
    }
}

pub(crate) fn a_second_thread_before_the_lockdown_stops_the_start() {
    let output = output(&World::new(), "start", "vault-core", "second thread");
    assert!(said(&output).1.contains("threads: 2 run already"), "{output:?}");
}

pub(crate) fn threads_that_run_already_come_under_the_filter() {
    let output = output(&World::new(), "start", "node", "earlier threads");
    assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{output:?}");
}

pub(crate) fn a_panic_under_the_filter_ends_with_its_message() {
    let world = World::new();
    for role in Role::ALL {
        // With backtraces on, as an operator who looks for something has it.
        let panicked = command(&world, "start", role.filter_name(), "panic").env("RUST_BACKTRACE", "full").output();
        let panicked = panicked.unwrap();
        assert_eq!(panicked.status.code(), Some(101), "{panicked:?}");
        let (_, text) = said(&panicked);
        assert!(text.contains("ERROR thread main panicked at") && text.contains("what went wrong"), "{text}");
        let worker =
            command(&world, "start", role.filter_name(), "panic in a thread").env("RUST_BACKTRACE", "1").output();
        let worker = worker.unwrap();
        assert!(said(&worker).1.contains("thread worker panicked at"), "{worker:?}");
        assert_eq!(said(&worker).0.trim(), "goes on", "{worker:?}");
    }
}

pub(crate) fn threads_and_allocators_work_under_the_filter() {
    let world = World::new();
    // The C library's allocator has ways of its own, and each its own calls. An operator may have set any of them.
    for (name, value) in [
        ("NONE", ""),
        ("MALLOC_ARENA_MAX", "1"),
        ("MALLOC_ARENA_TEST", "1"),
        ("MALLOC_TRIM_THRESHOLD_", "0"),
        ("MALLOC_TRIM_THRESHOLD_", "500000"),
        ("MALLOC_TRIM_THRESHOLD_", "1500000"),
        ("MALLOC_TOP_PAD_", "0"),
        ("MALLOC_TOP_PAD_", "1000000"),
        ("MALLOC_MMAP_THRESHOLD_", "1024"),
        ("MALLOC_MMAP_THRESHOLD_", "4096"),
        ("MALLOC_MMAP_THRESHOLD_", "30000000"),
        ("MALLOC_PERTURB_", "7"),
        ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0"),
    ] {
        for role in Role::ALL {
            let output = command(&world, "start", role.filter_name(), "work").env(name, value).output().unwrap();
            assert_eq!(said(&output).0.trim(), "done", "{name}={value} {role:?}: {output:?}");
        }
    }
}

pub(crate) fn the_supervisor_is_told_after_the_lockdown() {
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    raw::open_to_all(dir.path());
    let path = dir.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    raw::open_to_all(&path);
    socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    for role in Role::ALL {
        let output =
            command(&world, "start", role.filter_name(), "ready").env("NOTIFY_SOCKET", &path).output().unwrap();
        assert_eq!(output.status.code(), Some(ALLOWED), "{output:?}");
        let mut text = [0; 64];
        let length = socket.recv(&mut text).unwrap();
        assert_eq!(&text[..length], b"READY=1");
    }
    // One that is named and is not there is an error, not a silence.
    let output =
        command(&world, "start", "node", "ready").env("NOTIFY_SOCKET", dir.path().join("none")).output().unwrap();
    assert!(said(&output).1.contains("the supervisor's socket"), "{output:?}");
}

pub(crate) fn a_process_ends_with_its_launcher_alone() {
    let world = World::new();
    for part in ["orphan", "child"] {
        assert_eq!(child::output(&world, "start", "node", part).status.code(), Some(ALLOWED), "{part}");
    }
}
