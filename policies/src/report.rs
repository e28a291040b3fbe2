//! What was done, and what could not be.

use core::fmt;

/// A step of the lockdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
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
    /// PR_SET_PDEATHSIG is SIGTERM.
    EndWithParent,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCore => "no core dumps",
            Self::NotDumpable => "not dumpable",
            Self::NoNewPrivileges => "no new privileges",
            Self::OpenFiles => "open files",
            Self::FileSize => "file size",
            Self::LockedMemory => "locked memory",
            Self::EndWithParent => "end with parent",
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
