//! `twice ROLE COMMAND…`: executes a daemon under copies of its own filters that let everything pass, below those that it
//! lays on itself. The kernel then runs each filter twice for every call.
//!
//! What is measured so is filters laid once and twice. There is no run without: a daemon has no such switch; Landlock, and
//! the entry into seccomp, are in both.
#![allow(unsafe_code)]

use std::io::Error;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use torus_policies::{Instruction, Role};

/// BPF_RET | BPF_K.
const RETURN: u16 = 0x06;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let role = args.next().and_then(|name| Role::ALL.into_iter().find(|role| *role.filter_name() == *name));
    let (Some(role), Some(program)) = (role, args.next()) else {
        eprintln!("twice ROLE COMMAND…");
        return ExitCode::FAILURE;
    };
    if let Err(error) = role.filters().into_iter().try_for_each(lay) {
        eprintln!("twice: {error}");
        return ExitCode::FAILURE;
    }
    let error = Command::new(program).args(args).exec();
    eprintln!("twice: {error}");
    ExitCode::FAILURE
}

/// Lays a filter of which every verdict is to allow.
fn lay(filter: &[Instruction]) -> Result<(), Error> {
    let open = |one: &Instruction| libc::sock_filter {
        code: one.code,
        jt: one.jt,
        jf: one.jf,
        k: if one.code == RETURN { libc::SECCOMP_RET_ALLOW } else { one.k },
    };
    let mut open: Vec<libc::sock_filter> = filter.iter().map(open).collect();
    let length = open.len().try_into().map_err(|_| Error::other("the filter is too long"))?;
    let program = libc::sock_fprog { len: length, filter: open.as_mut_ptr() };
    // SAFETY: numbers; and a program of so many instructions, which the kernel copies before the call returns.
    let laid = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) == 0
    };
    if laid { Ok(()) } else { Err(Error::last_os_error()) }
}
