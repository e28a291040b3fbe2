//! The matrix: what an intruder in a daemon tries, and what must come of it.

use std::ffi::CString;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;

use libc::{EACCES, EBADF, ENOSYS};
use torus_policies::{Confined, Landlock, Role};

use crate::child::{ALLOWED, BROKEN, command, confined, locked, output, role};
use crate::raw::{call, exit};
use crate::world::{Inside, World};
use crate::{child, raw};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// SIGSYS.
    Killed,
    /// The call answers this.
    Refused(i32),
    /// The call succeeds.
    Allowed,
    /// The probe itself failed.
    Broken,
}

const K: End = End::Killed;
const A: End = End::Allowed;
const fn e(errno: i32) -> End {
    End::Refused(errno)
}

type Attempt = fn(&Inside) -> Result<i64, i32>;

/// Name, attempt, and what must come of it for vault-core, vault-softhsm, node and node-tls.
type Row = (&'static str, Attempt, [End; 4]);

/// Beyond any descriptor that is open, but within the limits.
const LOOSE: u64 = 77;
const NEWUSER: u64 = 0x1000_0000;
const SOCK_STREAM: u64 = 1;
const SOCK_DGRAM: u64 = 2;

fn path(text: &str) -> u64 {
    // Leaked: the process ends with its one call.
    CString::new(text).unwrap().into_raw() as u64
}

/// Room for what the kernel reads as nothing in particular, or writes.
fn zeros() -> u64 {
    Box::leak(Box::new([0u64; 64])).as_ptr() as u64
}

fn at(text: &str, flags: i32) -> Result<i64, i32> {
    call(libc::SYS_openat, [libc::AT_FDCWD as u64, path(text), flags as u64, 0o600, 0, 0])
}

fn socket(family: i32, kind: u64, protocol: u64) -> Result<i64, i32> {
    call(libc::SYS_socket, [family as u64, kind, protocol, 0, 0, 0])
}

/// struct sockaddr_in of a loopback port.
fn loopback(port: u16) -> (u64, u64) {
    let mut bytes = vec![2, 0];
    bytes.extend(port.to_be_bytes());
    bytes.extend([127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    (Box::leak(bytes.into_boxed_slice()).as_ptr() as u64, 16)
}

fn unix_path(inside: &Inside) -> (u64, u64) {
    let mut bytes = vec![1, 0];
    bytes.extend(inside.dir.join("socket").to_str().unwrap().bytes());
    bytes.push(0);
    let length = bytes.len() as u64;
    (Box::leak(bytes.into_boxed_slice()).as_ptr() as u64, length)
}

fn connect(protocol: u64, port: u16) -> Result<i64, i32> {
    let fd = socket(libc::AF_INET, SOCK_STREAM, protocol)?;
    let (address, length) = loopback(port);
    call(libc::SYS_connect, [fd as u64, address, length, 0, 0, 0])
}

fn mapped(protection: u64) -> Result<i64, i32> {
    call(libc::SYS_mmap, [0, 4096, protection, 0x22, u64::MAX, 0])
}

fn statx(inside: &Inside, flags: u64) -> Result<i64, i32> {
    let outside = path(inside.dir.join("outside").to_str().unwrap());
    call(libc::SYS_statx, [libc::AT_FDCWD as u64, outside, flags, 0xfff, zeros(), 0])
}

fn one(number: libc::c_long, arguments: [u64; 6]) -> Result<i64, i32> {
    call(number, arguments)
}

/// struct clone_args, flags first.
fn clone3(flags: u64) -> Result<i64, i32> {
    let arguments: &[u64] = Box::leak(vec![flags, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0].into_boxed_slice());
    child_ends(one(libc::SYS_clone3, [arguments.as_ptr() as u64, 88, 0, 0, 0, 0]))
}

fn child_ends(result: Result<i64, i32>) -> Result<i64, i32> {
    if result == Ok(0) {
        exit(0);
    }
    result
}

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = vec![
        // What must be allowed.
        ("getpid", |_| one(libc::SYS_getpid, [0; 6]), [A; 4]),
        ("write to the log", |_| one(libc::SYS_write, [2, path("."), 1, 0, 0, 0]), [A; 4]),
        ("getrandom", |_| one(libc::SYS_getrandom, [path("12345678"), 8, 0, 0, 0, 0]), [A; 4]),
        ("memory", |_| mapped(3), [A; 4]),
        ("a thread", |_| std::thread::Builder::new().spawn(|| ()).map(|_| 0).map_err(|_| 1), [A; 4]),
        ("a thread's name", |_| one(libc::SYS_prctl, [15, path("name"), 0, 0, 0, 0]), [A; 4]),
        ("TCP socket, IPv4", |_| socket(libc::AF_INET, SOCK_STREAM, 0), [K, K, A, A]),
        ("TCP socket, IPv6", |_| socket(libc::AF_INET6, SOCK_STREAM, 6), [K, K, A, A]),
        ("TCP connection to a member's port", |w| connect(0, w.allowed), [K, K, A, A]),
        ("open a file of the own directory, to read", |w| at(w.dir.join("inside/file").to_str().unwrap(), 0), [K, A, K, A]),
        // Files.
        ("execve", |_| one(libc::SYS_execve, [path("/bin/true"), 0, 0, 0, 0, 0]), [K; 4]),
        ("execveat", |_| one(libc::SYS_execveat, [libc::AT_FDCWD as u64, path("/bin/true"), 0, 0, 0, 0]), [K; 4]),
        ("open /etc/shadow", |_| at("/etc/shadow", 0), [K, e(EACCES), K, e(EACCES)]),
        ("open a file that everybody may read", |w| at(w.dir.join("outside").to_str().unwrap(), 0), [K, e(EACCES), K, e(EACCES)]),
        ("open the parent's memory", |w| at(&format!("/proc/{}/mem", w.parent), 0), [K, e(EACCES), K, e(EACCES)]),
        ("open the own memory", |_| at("/proc/self/mem", 0), [K, e(EACCES), K, e(EACCES)]),
        ("open to write, in the own directory", |w| at(w.dir.join("inside/file").to_str().unwrap(), libc::O_RDWR), [K; 4]),
        ("make a file in the own directory", |w| at(w.dir.join("inside/new").to_str().unwrap(), libc::O_CREAT), [K; 4]),
        ("truncate a file by opening it", |w| at(w.dir.join("inside/file").to_str().unwrap(), libc::O_TRUNC), [K; 4]),
        ("openat2", |w| one(libc::SYS_openat2, [libc::AT_FDCWD as u64, path(w.dir.join("outside").to_str().unwrap()), zeros(), 24, 0, 0]), [K; 4]),
        ("look at a file", |w| one(libc::SYS_newfstatat, [libc::AT_FDCWD as u64, path(w.dir.join("outside").to_str().unwrap()), zeros(), 0, 0, 0]), [K, A, K, K]),
        ("look at a file by statx", |w| statx(w, 0), [K; 4]),
        ("the same, as if it were open", |w| statx(w, 0x1000), [K, K, A, A]),
        ("unlinkat", |w| one(libc::SYS_unlinkat, [libc::AT_FDCWD as u64, path(w.dir.join("inside/file").to_str().unwrap()), 0, 0, 0, 0]), [K; 4]),
        ("mkdirat", |w| one(libc::SYS_mkdirat, [libc::AT_FDCWD as u64, path(w.dir.join("inside/d").to_str().unwrap()), 0o700, 0, 0, 0]), [K; 4]),
        ("fchmodat", |w| one(libc::SYS_fchmodat, [libc::AT_FDCWD as u64, path(w.dir.join("inside/file").to_str().unwrap()), 0o777, 0, 0, 0]), [K; 4]),
        ("mount", |_| one(libc::SYS_mount, [0; 6]), [K; 4]),
        // Other processes.
        ("ptrace", |w| one(libc::SYS_ptrace, [0x4206, w.parent, 0, 0, 0, 0]), [K; 4]),
        ("process_vm_readv", |w| one(libc::SYS_process_vm_readv, [w.parent, 0, 0, 0, 0, 0]), [K; 4]),
        ("pidfd_open", |w| one(libc::SYS_pidfd_open, [w.parent, 0, 0, 0, 0, 0]), [K; 4]),
        ("kill", |w| one(libc::SYS_kill, [w.parent, 0, 0, 0, 0, 0]), [K; 4]),
        ("tgkill another process", |w| one(libc::SYS_tgkill, [w.parent, w.parent, 0, 0, 0, 0]), [K; 4]),
        ("tgkill itself", |_| one(libc::SYS_tgkill, [std::process::id().into(), std::process::id().into(), 0, 0, 0, 0]), [K; 4]),
        ("a new process by clone", |_| child_ends(one(libc::SYS_clone, [17, 0, 0, 0, 0, 0])), [K; 4]),
        ("a new process by clone3", |_| clone3(0), [e(ENOSYS); 4]),
        ("a new user namespace by clone3", |_| clone3(NEWUSER), [e(ENOSYS); 4]),
        ("a new user namespace by clone", |_| child_ends(one(libc::SYS_clone, [17 | NEWUSER, 0, 0, 0, 0, 0])), [K; 4]),
        ("unshare", |_| one(libc::SYS_unshare, [NEWUSER, 0, 0, 0, 0, 0]), [K; 4]),
        // Sockets.
        ("UDP socket", |_| socket(libc::AF_INET, SOCK_DGRAM, 0), [K; 4]),
        ("raw socket", |_| socket(libc::AF_INET, 3, 1), [K; 4]),
        ("Unix socket", |_| socket(libc::AF_UNIX, SOCK_STREAM, 0), [K; 4]),
        ("netlink socket", |_| socket(libc::AF_NETLINK, 3, 0), [K; 4]),
        ("packet socket", |_| socket(libc::AF_PACKET, 3, 0), [K; 4]),
        ("vsock socket", |_| socket(libc::AF_VSOCK, SOCK_STREAM, 0), [K; 4]),
        ("AF_ALG socket", |_| socket(libc::AF_ALG, 5, 0), [K; 4]),
        ("MPTCP socket, which landlock does not see", |w| connect(262, w.forbidden), [K; 4]),
        ("TCP connection to another port", |w| connect(0, w.forbidden), [K, K, e(EACCES), e(EACCES)]),
        ("TCP connection by the first data", |w| {
            let fd = socket(libc::AF_INET, SOCK_STREAM, 0)?;
            let (address, length) = loopback(w.forbidden);
            one(libc::SYS_sendto, [fd as u64, path("x"), 1, 0x2000_0000, address, length])
        }, [K; 4]),
        ("TCP connection by the first data, by option", |_| {
            let fd = socket(libc::AF_INET, SOCK_STREAM, 0)?;
            one(libc::SYS_setsockopt, [fd as u64, 6, 30, path("\x01\x01\x01\x01"), 4, 0])
        }, [K; 4]),
        ("another protocol above TCP", |_| one(libc::SYS_setsockopt, [0, 6, 31, path("tls"), 4, 0]), [K; 4]),
        ("bind", |_| {
            let fd = socket(libc::AF_INET, SOCK_STREAM, 0)?;
            let (address, length) = loopback(0);
            one(libc::SYS_bind, [fd as u64, address, length, 0, 0, 0])
        }, [K, K, e(ENOSYS), e(ENOSYS)]),
        ("listen on a port of the kernel's choice", |_| {
            let fd = socket(libc::AF_INET, SOCK_STREAM, 0)?;
            one(libc::SYS_listen, [fd as u64, 1, 0, 0, 0, 0])
        }, [K; 4]),
        ("a pair of datagram sockets, to be pointed elsewhere", |_| one(libc::SYS_socketpair, [1, SOCK_DGRAM, 0, zeros(), 0, 0]), [K; 4]),
        ("a pair of stream sockets", |_| one(libc::SYS_socketpair, [1, SOCK_STREAM, 0, zeros(), 0, 0]), [K; 4]),
        ("an inherited unix socket, pointed at a path", |w| {
            let (address, length) = unix_path(w);
            one(libc::SYS_connect, [LOOSE, address, length, 0, 0, 0])
        }, [K, K, e(EBADF), e(EBADF)]),
        ("send a descriptor", |_| one(libc::SYS_sendmsg, [0; 6]), [K; 4]),
        ("receive a descriptor", |_| one(libc::SYS_recvmsg, [0; 6]), [K; 4]),
        // Code and memory.
        ("memory written and executed", |_| mapped(7), [K; 4]),
        ("memory executed", |_| mapped(5), [K; 4]),
        ("memory made executable", |_| one(libc::SYS_mprotect, [mapped(3)? as u64, 4096, 5, 0, 0, 0]), [K; 4]),
        ("the same, with high bits set", |_| one(libc::SYS_mprotect, [mapped(3)? as u64, 4096, 5 | 1 << 32, 0, 0, 0]), [K; 4]),
        ("pkey_mprotect", |_| one(libc::SYS_pkey_mprotect, [0, 4096, 5, u64::MAX, 0, 0]), [K; 4]),
        ("memfd_create", |_| one(libc::SYS_memfd_create, [path("m"), 0, 0, 0, 0, 0]), [K; 4]),
        ("mseal", |_| one(462, [0; 6]), [K; 4]),
        // The kernel's larger interfaces.
        ("io_uring_setup", |_| one(libc::SYS_io_uring_setup, [1, zeros(), 0, 0, 0, 0]), [K; 4]),
        ("bpf", |_| one(libc::SYS_bpf, [0; 6]), [K; 4]),
        ("perf_event_open", |_| one(libc::SYS_perf_event_open, [0; 6]), [K; 4]),
        ("userfaultfd", |_| one(libc::SYS_userfaultfd, [1, 0, 0, 0, 0, 0]), [K; 4]),
        ("keyctl", |_| one(libc::SYS_keyctl, [0, 0, 0, 0, 0, 0]), [K; 4]),
        ("a control of a terminal", |_| one(libc::SYS_ioctl, [0, 0x5412, 0, 0, 0, 0]), [K; 4]),
        ("the same, with high bits set", |_| one(libc::SYS_ioctl, [0, 0x5412 | 1 << 32, 0, 0, 0, 0]), [K; 4]),
        ("signals for data on a descriptor", |_| one(libc::SYS_fcntl, [0, 8, 1, 0, 0, 0]), [K; 4]),
        // Out of the sandbox.
        ("dumpable again", |_| one(libc::SYS_prctl, [4, 1, 0, 0, 0, 0]), [K; 4]),
        ("another filter", |_| one(libc::SYS_prctl, [22, 2, 0, 0, 0, 0]), [K; 4]),
        ("another filter, by seccomp", |_| one(libc::SYS_seccomp, [1, 0, 0, 0, 0, 0]), [K; 4]),
        ("setuid", |_| one(libc::SYS_setuid, [0; 6]), [K; 4]),
        ("capset", |_| one(libc::SYS_capset, [0; 6]), [K; 4]),
        ("a handler for SIGSYS", |_| one(libc::SYS_rt_sigaction, [31, 0, 0, 8, 0, 0]), [K; 4]),
        ("more open files", |_| one(libc::SYS_prlimit64, [0, 7, 0, 0, 0, 0]), [K; 4]),
    ];
    #[cfg(target_arch = "x86_64")]
    rows.extend([
        ("legacy open", (|_| one(libc::SYS_open, [path("/etc/passwd"), 0, 0, 0, 0, 0])) as Attempt, [K; 4]),
        ("legacy fork", |_| child_ends(one(libc::SYS_fork, [0; 6])), [K; 4]),
        ("getpid of the x32 numbers", |_| one(0x4000_0000 + libc::SYS_getpid, [0; 6]), [K; 4]),
        ("getpid of the 32-bit instruction set", |_| Ok(raw::getpid_by_int80()), [K; 4]),
    ]);
    rows
}

/// The probe's part: locks itself down and tries.
pub(crate) fn attempt(role_name: &str, name: &str) -> ExitCode {
    let inside = Inside::read();
    let rows = rows();
    let (_, attempt, _) = rows.iter().find(|(found, ..)| *found == name).expect("a row");
    let kept = match role_name {
        "none" => None,
        "node without landlock" => {
            let filtered = confined(Role::Node, Landlock::Without).and_then(Confined::filter);
            let locked = filtered.unwrap_or_else(|_| exit(BROKEN));
            if !locked.without_landlock() {
                exit(BROKEN);
            }
            Some(locked)
        }
        role_name => Some(locked(role(role_name).expect("a role"))),
    };
    let result = attempt(&inside);
    drop(kept);
    exit(match result {
        Ok(_) => ALLOWED,
        Err(errno) => errno,
    })
}

fn end(world: &World, role: &str, name: &str) -> (End, String) {
    let mut command = command(world, "row", role, name);
    // An unconnected Unix socket that a careless launcher left open.
    let loose = raw::loose_unix_socket(libc::SOCK_STREAM);
    let output = child::with_descriptor(&mut command, loose, LOOSE as i32).output().unwrap();
    child::close(loose);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let end = match (output.status.code(), output.status.signal()) {
        (Some(ALLOWED), _) => End::Allowed,
        (Some(errno @ 1..=133), _) => End::Refused(errno),
        (_, Some(libc::SIGSYS)) => End::Killed,
        _ => End::Broken,
    };
    (end, format!("{:?} {said}", output.status))
}

pub(crate) fn every_row_of_the_matrix_ends_as_it_must() {
    let world = World::new();
    let mut wrong = Vec::new();
    let rows = rows();
    for (position, role) in Role::ALL.into_iter().enumerate() {
        for (name, _, wanted) in &rows {
            let (found, said) = end(&world, role.filter_name(), name);
            if found != wanted[position] {
                wrong.push(format!(
                    "{}: {name}: {found:?} instead of {:?} ({said})",
                    role.filter_name(),
                    wanted[position]
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    println!("  {} attempts", rows.len() * Role::ALL.len());
}

/// Without these successes a refusal above could have another reason.
pub(crate) fn without_a_lockdown_the_same_attempts_succeed() {
    let world = World::new();
    for name in [
        "open a file that everybody may read",
        "open to write, in the own directory",
        "look at a file",
        "a new process by clone",
        "a new process by clone3",
        "UDP socket",
        "Unix socket",
        "TCP connection to another port",
        "bind",
        "listen on a port of the kernel's choice",
        "a pair of datagram sockets, to be pointed elsewhere",
        "an inherited unix socket, pointed at a path",
        "memory written and executed",
        "memory made executable",
        "memfd_create",
        "pidfd_open",
        "dumpable again",
    ] {
        let (found, said) = end(&world, "none", name);
        assert_eq!(found, End::Allowed, "{name}: {said}");
    }
    // By its exit code: the program that it became says nothing of the attempt.
    assert_eq!(output(&world, "row", "none", "execve").status.code(), Some(0));
}

pub(crate) fn without_landlock_ports_are_open_and_the_report_says_so() {
    let world = World::new();
    let role = "node without landlock";
    let (found, said) = end(&world, role, "TCP connection to another port");
    assert_eq!(found, End::Allowed, "{said}");
    assert_eq!(end(&world, role, "UDP socket").0, End::Killed);
    assert_eq!(end(&world, role, "MPTCP socket, which landlock does not see").0, End::Killed);
}
