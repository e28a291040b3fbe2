//! What a daemon takes away from itself before it serves.
//!
//! Both daemons start in two phases: open everything, then [`lockdown`], and only then serve. A step that the system
//! refuses is an error by name and the daemon must not serve; nothing is skipped in silence. The crate grants nothing
//! and opens nothing; it knows no configuration, so that nobody can configure it away.
#![deny(unsafe_code)]

mod report;
mod system;

pub use report::{LockdownError, Report, Step};

use system::Limit;

/// Whose lockdown it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Holds secrets: may lock memory, opens few files.
    Vault,
    /// Holds none: serves many connections.
    Node,
}

/// Gives up what the role does not need, for the whole life of the process and whatever it executes.
///
/// The steps, in order: no core dumps; not dumpable (no other process of the same user may attach or read its memory);
/// no new privileges through executed files; bounded open files and file sizes; memory locking raised as far as the
/// system allows (vault only). Call it when everything is open and before further threads are started: new privileges
/// are given up by the calling thread and inherited by those that it starts; the other steps hold for the process.
///
/// # Errors
/// The first step that the system refused. The process must end.
pub fn lockdown(role: Role) -> Result<Report, LockdownError> {
    let mut report = Report::default();
    report.done(Step::NoCore, system::limit(Limit::Core, 0, 0)?);
    report.done(Step::NotDumpable, system::not_dumpable()?);
    report.done(Step::NoNewPrivileges, system::no_new_privileges()?);
    report.done(Step::OpenFiles, system::lower(Limit::OpenFiles, role.open_files())?);
    report.done(Step::FileSize, system::lower(Limit::FileSize, role.file_size())?);
    if role == Role::Vault {
        report.done(Step::LockedMemory, system::raise(Limit::LockedMemory)?);
    }
    Ok(report)
}

/// Ends the process with SIGTERM when its parent ends. For processes that a launcher starts and must not outlive it;
/// a supervised daemon does not want this.
///
/// # Errors
/// The system refused, or the parent is `launcher` no longer: then the signal would never come.
pub fn end_with_parent(launcher: u32) -> Result<(), LockdownError> {
    system::end_with_parent(launcher)
}

impl Role {
    /// Descriptors: the vault has a socket, a database and what its token's module opens; the node has its connections.
    const fn open_files(self) -> u64 {
        match self {
            Self::Vault => 1024,
            Self::Node => 16_384,
        }
    }

    /// Bytes of one file. A vault's database of a million shares stays far below; a runaway log does not fill a disk.
    const fn file_size(self) -> u64 {
        match self {
            Self::Vault => 64 << 30,
            Self::Node => 256 << 30,
        }
    }
}
