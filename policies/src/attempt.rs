//! What an operator can try on his own host: calls that an intruder would make, each by a process that has locked itself
//! down as a daemon does, and ends with that call.
//!
//! The whole matrix is in `tests/probe`; here is what needs no preparation and harms no host where it succeeds.

use std::process::ExitStatus;

use crate::filters::Role;
use crate::start::begin;
use crate::system;
use crate::{Access, Landlock, User};

/// The exit codes of a process that made an attempt: the call succeeded; the lockdown failed.
const ALLOWED: i32 = 200;
const BROKEN: i32 = 201;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The kernel killed the process for it.
    Killed,
    /// The call answered an error.
    Refused(i32),
    /// The call succeeded.
    Allowed,
    /// The process could not lock itself down, or ended for another reason: nothing is proven.
    Broken,
}

/// An attempt by name.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// In words.
    pub name: &'static str,
    number: libc::c_long,
    arguments: [u64; 6],
    /// A path that the call is given first, or second after the directory.
    path: Option<(usize, &'static std::ffi::CStr)>,
    outside: End,
    inside: [End; 2],
}

const HERE: u64 = libc::AT_FDCWD as u64;
const KILLED: [End; 2] = [End::Killed; 2];

const fn numbers(name: &'static str, number: libc::c_long, arguments: [u64; 6], outside: End) -> Attempt {
    Attempt { name, number, arguments, path: None, outside, inside: KILLED }
}

/// In the order in which they are shown. The first must be allowed: a process that can do nothing would prove nothing.
pub const ATTEMPTS: &[Attempt] = &[
    Attempt { inside: [End::Allowed; 2], ..numbers("getpid", libc::SYS_getpid, [0; 6], End::Allowed) },
    Attempt {
        path: Some((1, c"/etc/passwd")),
        inside: [End::Killed, End::Refused(libc::EACCES)],
        ..numbers("open a file outside", libc::SYS_openat, [HERE, 0, 0, 0, 0, 0], End::Allowed)
    },
    Attempt {
        path: Some((1, c"/proc/self/mem")),
        ..numbers("open a file to write", libc::SYS_openat, [HERE, 0, 2, 0, 0, 0], End::Allowed)
    },
    Attempt {
        path: Some((0, c"/nonexistent")),
        ..numbers("execute a program", libc::SYS_execve, [0; 6], End::Refused(libc::ENOENT))
    },
    numbers("make a process", libc::SYS_clone, [17, 0, 0, 0, 0, 0], End::Allowed),
    numbers("Unix socket", libc::SYS_socket, [1, 1, 0, 0, 0, 0], End::Allowed),
    numbers("TCP socket", libc::SYS_socket, [2, 1, 0, 0, 0, 0], End::Allowed),
    numbers("UDP socket", libc::SYS_socket, [2, 2, 0, 0, 0, 0], End::Allowed),
    numbers("look into a process", libc::SYS_ptrace, [16, 1 << 30, 0, 0, 0, 0], End::Refused(libc::ESRCH)),
    numbers("signal a process", libc::SYS_kill, [1 << 30, 0, 0, 0, 0, 0], End::Refused(libc::ESRCH)),
    numbers("memory to write and execute", libc::SYS_mmap, [0, 4096, 7, 0x22, u64::MAX, 0], End::Allowed),
    numbers("a file in memory", libc::SYS_memfd_create, [0, u64::MAX, 0, 0, 0, 0], End::Refused(libc::EINVAL)),
    numbers("a control of the terminal", libc::SYS_ioctl, [u64::MAX, 0x5412, 0, 0, 0, 0], End::Refused(libc::EBADF)),
    numbers("dumpable again", libc::SYS_prctl, [4, 1, 0, 0, 0, 0], End::Allowed),
    numbers("another filter", libc::SYS_seccomp, [u64::MAX, 0, 0, 0, 0, 0], End::Refused(libc::EINVAL)),
];

/// The vault's roles, in the order of [`Attempt::wanted`].
pub const ROLES: [Role; 2] = [Role::VaultCore, Role::VaultSoftHsm];

impl Attempt {
    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        ATTEMPTS.iter().copied().find(|attempt| attempt.name == name)
    }

    /// What must come of it: without a lockdown for `None`, where it would else prove nothing, or under a role's.
    pub fn wanted(&self, role: Option<Role>) -> End {
        let position = role.and_then(|role| ROLES.iter().position(|found| *found == role));
        position.and_then(|position| self.inside.get(position)).copied().unwrap_or(self.outside)
    }

    /// Locks this process down and makes the call; the process ends with it. To be called by a process that was started
    /// for this, with one thread.
    pub fn make(&self, role: Option<Role>, user: Option<User>) -> ! {
        let locked = role.map(|role| {
            let access = Access::default();
            let locked = begin(&[]).and_then(|start| start.become_user(user));
            let locked = locked.and_then(|process| process.confine(role, &access, Landlock::Required)?.filter());
            locked.unwrap_or_else(|error| {
                eprintln!("{error}");
                system::exit(BROKEN)
            })
        });
        let mut arguments = self.arguments;
        if let Some((position, path)) = self.path
            && let Some(argument) = arguments.get_mut(position)
        {
            *argument = path.as_ptr() as u64;
        }
        let code = match system::call(self.number, arguments) {
            // A process that was made ends here as its maker does.
            Ok(_) => ALLOWED,
            Err(errno) => errno,
        };
        drop(locked);
        system::exit(code)
    }
}

impl End {
    /// Of the process that made an attempt.
    pub fn of(status: ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;
        match (status.code(), status.signal()) {
            (Some(ALLOWED), _) => Self::Allowed,
            (Some(errno @ 1..=133), _) => Self::Refused(errno),
            (_, Some(libc::SIGSYS)) => Self::Killed,
            _ => Self::Broken,
        }
    }
}
