//! What was done, and what could not be.

use core::fmt;

/// A step of the lockdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The user that the process is; its value is the uid.
    User,
    /// Effective, permitted and inheritable capabilities; 0 is none.
    Capabilities,
    /// Capabilities that an executed file could still bring; 0 unless the process was started without the right to
    /// give them up, and then no new privileges keeps them away.
    BoundingSet,
    /// Descriptors that came from the launcher, were announced by nobody and were closed.
    Inherited,
    /// RLIMIT_CORE is 0, soft and hard.
    NoCore,
    /// PR_SET_DUMPABLE is 0.
    NotDumpable,
    /// PR_SET_NO_NEW_PRIVS is 1.
    NoNewPrivileges,
    /// RLIMIT_NOFILE is the role's.
    OpenFiles,
    /// RLIMIT_FSIZE is the role's.
    FileSize,
    /// RLIMIT_MEMLOCK is as high as the system allows.
    LockedMemory,
    /// Memory for secrets (vaults): 2 if it is the kernel's secret memory, 1 if it is ordinary memory that is locked.
    SecretMemory,
    /// PR_SET_MDWE is 1: no memory is both written and executed. 0 before Linux 6.3, where the filter alone sees to it.
    WriteExecute,
    /// Landlock: 2 if everything that is wanted is in force, 1 if only what Linux has since 6.7, 0 if the operator does
    /// without it.
    Landlock,
    /// System-call filters that were laid on.
    Filters,
    /// PR_SET_PDEATHSIG is SIGTERM.
    EndWithParent,
    /// The supervisor's socket.
    Notify,
    /// What the system says about the process itself.
    Status,
    /// The sockets that are open.
    Sockets,
    /// The threads that there are.
    Threads,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "uid",
            Self::Capabilities => "capabilities",
            Self::BoundingSet => "bounding set",
            Self::Inherited => "inherited descriptors closed",
            Self::NoCore => "no core dumps",
            Self::NotDumpable => "not dumpable",
            Self::NoNewPrivileges => "no new privileges",
            Self::OpenFiles => "open files",
            Self::FileSize => "file size",
            Self::LockedMemory => "locked memory",
            Self::SecretMemory => "memory for secrets",
            Self::WriteExecute => "no memory written and executed",
            Self::Landlock => "landlock",
            Self::Filters => "filters",
            Self::EndWithParent => "end with parent",
            Self::Notify => "the supervisor's socket",
            Self::Status => "status",
            Self::Sockets => "sockets",
            Self::Threads => "threads",
        })
    }
}

/// A step that the system refused, or did without effect. A daemon that meets it must not serve.
#[derive(Debug, thiserror::Error)]
pub enum LockdownError {
    /// The system call failed.
    #[error("lockdown: {step}: {source}")]
    Refused {
        /// Which step.
        step: Step,
        /// Why.
        source: std::io::Error,
    },
    /// The system call succeeded, but reading back shows another value.
    #[error("lockdown: {step}: set, but reads back as {found}")]
    Ineffective {
        /// Which step.
        step: Step,
        /// What is in force instead.
        found: u64,
    },
    /// The parent ended before it could be bound to.
    #[error("lockdown: end with parent: the parent is process {found}, not the launcher {launcher}")]
    Orphan {
        /// The expected parent.
        launcher: u32,
        /// The actual one.
        found: u32,
    },
    /// The process would serve as root.
    #[error("lockdown: root does not serve: start it as a user of its own, or name one with --uid and --gid")]
    Root,
    /// Another user was asked for, and only root may become one.
    #[error("lockdown: uid: only root may become another user, this process is uid {uid}")]
    NotRoot {
        /// Who it is.
        uid: u32,
    },
    /// Landlock is not to be had.
    #[error(
        "lockdown: landlock: {0}. It needs Linux 6.7 with landlock among its security modules; --without-landlock \
         starts without it, and shows that"
    )]
    Landlock(String),
    /// Landlock binds the threads to come, not those that there are.
    #[error(
        "lockdown: threads: {0} run already, and landlock would not hold for them (does the token's module start its own?)"
    )]
    Threads(usize),
    /// There is no memory for secrets.
    #[error(
        "lockdown: memory for secrets: {source}: this user may not lock {wanted} KiB. Raise its limit on locked memory \
         (LimitMEMLOCK=infinity in the unit, `memlock` in limits.conf, `ulimit -l`)"
    )]
    SecretMemory {
        /// How much was asked for at the least, in KiB.
        wanted: usize,
        /// Why.
        source: std::io::Error,
    },
    /// A socket that could be pointed to any other on this machine.
    #[error("lockdown: sockets: descriptor {0} is a socket that could still be connected elsewhere")]
    LooseSocket(i32),
}

/// The steps that were taken, each with the value that was read back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    steps: Vec<(Step, u64)>,
}

impl Report {
    /// Every step in order, with the value in force: a limit in its own unit (`u64::MAX` for none), or the flag.
    pub fn steps(&self) -> &[(Step, u64)] {
        &self.steps
    }

    /// The value of one step, if it belongs to the role.
    pub fn value(&self, step: Step) -> Option<u64> {
        self.steps.iter().find(|(done, _)| *done == step).map(|(_, value)| *value)
    }

    pub(crate) fn done(&mut self, step: Step, value: u64) {
        self.steps.push((step, value));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (step, value)) in self.steps.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            match value {
                &u64::MAX => write!(f, "{comma}{step} unlimited")?,
                value => write!(f, "{comma}{step} {value}")?,
            }
        }
        Ok(())
    }
}
