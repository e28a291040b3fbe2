//! The order of a start, in types: each step takes the one before it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::RawFd;

use crate::access::{Access, Landlock};
use crate::descriptors;
use crate::filters::Role;
use crate::memory::{SecretMemory, secret_memory};
use crate::notify::Notify;
use crate::report::{LockdownError, Report, Step};
use crate::system::{self, Limit};
use crate::user::{User, become_user};

/// The process as it was started.
pub struct Start {
    inherited: Vec<RawFd>,
    report: Report,
}

/// Its own user, without capabilities. Now it may open what it needs.
pub struct Unprivileged {
    inherited: Vec<RawFd>,
    report: Report,
}

/// Bound to its limits, files and ports. Now it may start threads and its listeners.
pub struct Confined {
    role: Role,
    report: Report,
    status: File,
    filters: u64,
    notify: Option<Notify>,
}

/// Under its filters. Now it may serve.
pub struct Locked {
    report: Report,
    notify: Option<Notify>,
}

/// The first thing that a daemon does: backtraces off, a panic hook that needs no file, and a list of the descriptors
/// that came with the process. `keep` names those that the launcher announced.
///
/// # Errors
/// Other threads run already, or the system does not list them.
pub fn begin(keep: &[RawFd]) -> Result<Start, LockdownError> {
    one_thread()?;
    system::no_backtraces();
    crate::panic::install();
    warm_up()?;
    Ok(Start { inherited: descriptors::inherited(keep)?, report: Report::default() })
}

impl Start {
    /// Memory for secrets, as [`secret_memory`] maps it. Root may lock as much as it likes, so this comes before the
    /// change of user.
    ///
    /// # Errors
    /// The system locks too little.
    pub fn secret_memory(&mut self, parts: &[usize], least: usize, most: usize) -> Result<SecretMemory, LockdownError> {
        let memory = secret_memory(parts, least, most)?;
        self.report.done(Step::SecretMemory, memory.level as u64);
        Ok(memory)
    }

    /// Gives up root for `user`, if root started the process, and every capability in any case. Before anything is
    /// opened: what root opens would belong to root, and what is read would be read by root's code.
    ///
    /// # Errors
    /// The process would go on as root, or the system refuses.
    pub fn become_user(self, user: Option<User>) -> Result<Unprivileged, LockdownError> {
        let Self { inherited, mut report } = self;
        become_user(user, &mut report)?;
        Ok(Unprivileged { inherited, report })
    }
}

impl Unprivileged {
    /// Gives up what the role does not need, for the whole life of the process and whatever it executes.
    ///
    /// In order: inherited descriptors are closed; no core dumps; not dumpable (no other process of the same user may
    /// attach or read its memory); no new privileges through executed files; bounded open files and file sizes; memory
    /// locking raised as far as the system allows (vaults); no memory that is written and executed; Landlock.
    ///
    /// # Errors
    /// The first step that the system refused. The process must end.
    pub fn confine(self, role: Role, access: &Access, landlock: Landlock) -> Result<Confined, LockdownError> {
        let Self { inherited, mut report } = self;
        one_thread()?;
        report.done(Step::Inherited, u64::try_from(inherited.len()).unwrap_or(u64::MAX));
        inherited.iter().try_for_each(|fd| system::close(*fd))?;
        report.done(Step::NoCore, system::limit(Limit::Core, 0, 0)?);
        report.done(Step::NotDumpable, system::not_dumpable()?);
        report.done(Step::NoNewPrivileges, system::no_new_privileges()?);
        report.done(Step::OpenFiles, system::lower(Limit::OpenFiles, role.open_files())?);
        report.done(Step::FileSize, system::lower(Limit::FileSize, role.file_size())?);
        if role.vault() {
            report.done(Step::LockedMemory, system::raise(Limit::LockedMemory)?);
        }
        report.done(Step::WriteExecute, system::no_write_execute()?);
        descriptors::no_loose_socket(None)?;
        let notify = Notify::open().map_err(|source| LockdownError::Refused { step: Step::Notify, source })?;
        let mut status = File::open("/proc/self/status").map_err(unread)?;
        let filters = field(&mut status, "Seccomp_filters:")?;
        let enforced = match landlock {
            Landlock::Required => access.enforce()? + 1,
            Landlock::Without => 0,
        };
        report.done(Step::Landlock, enforced);
        Ok(Confined { role, report, status, filters, notify })
    }
}

impl Confined {
    /// Lays the role's filters on all threads. What is not open now stays closed.
    ///
    /// # Errors
    /// A socket could still be pointed elsewhere; the kernel refuses a filter, or does not say that it is in force.
    pub fn filter(self) -> Result<Locked, LockdownError> {
        let Self { role, mut report, mut status, filters, notify } = self;
        descriptors::no_loose_socket(notify.as_ref().map(Notify::descriptor))?;
        for filter in role.filters() {
            system::filter(filter)?;
        }
        let (mode, found) = (field(&mut status, "Seccomp:")?, field(&mut status, "Seccomp_filters:")?);
        let laid = found.saturating_sub(filters);
        if mode != 2 || laid != 2 {
            return Err(LockdownError::Ineffective { step: Step::Filters, found: laid });
        }
        report.done(Step::Filters, laid);
        Ok(Locked { report, notify })
    }
}

impl Locked {
    /// What is in force.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Whether the operator does without Landlock.
    pub fn without_landlock(&self) -> bool {
        self.report.value(Step::Landlock) == Some(0)
    }

    /// Tells the supervisor, if there is one that wants to know, that the daemon serves.
    ///
    /// # Errors
    /// The supervisor cannot be told; it will end the daemon.
    pub fn ready(&mut self) -> Result<(), LockdownError> {
        let told = self.notify.take().map_or(Ok(()), Notify::ready);
        told.map_err(|source| LockdownError::Refused { step: Step::Notify, source })
    }
}

/// Makes the C library ask now what it would otherwise ask while serving, where the filter would end the process for it:
/// its allocator counts processors when the ninth thread wants an arena, and reads a setting from /proc when the arena of
/// a thread gives memory back for the first time; the first thread of all installs a signal handler. Both hold whatever
/// the environment tells the allocator.
fn warm_up() -> Result<(), LockdownError> {
    let arenas = std::thread::available_parallelism().map_or(8, |processors| processors.get().saturating_mul(8));
    system::fix_allocator(arenas);
    let named = |source| LockdownError::Refused { step: Step::Threads, source };
    let thread = std::thread::Builder::new().spawn(system::shrink_an_arena).map_err(named)?;
    let _ = thread.join();
    // The thread has ended, but may be listed for a moment.
    let listed = |_| std::thread::sleep(std::time::Duration::from_millis(1));
    (0..1000).take_while(|_| one_thread().is_err()).for_each(listed);
    Ok(())
}

fn one_thread() -> Result<(), LockdownError> {
    let named = |source| LockdownError::Refused { step: Step::Threads, source };
    match std::fs::read_dir("/proc/self/task").map_err(named)?.count() {
        1 => Ok(()),
        threads => Err(LockdownError::Threads(threads)),
    }
}

fn unread(source: std::io::Error) -> LockdownError {
    LockdownError::Refused { step: Step::Status, source }
}

/// A number of the process's status, as the kernel has it at this moment.
fn field(status: &mut File, name: &str) -> Result<u64, LockdownError> {
    let mut text = [0; 8192];
    status.seek(SeekFrom::Start(0)).map_err(unread)?;
    let length = status.read(&mut text).map_err(unread)?;
    let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default());
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.ok_or_else(|| unread(std::io::ErrorKind::InvalidData.into()))
}
