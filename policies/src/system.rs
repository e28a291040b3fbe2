//! The system calls. Each one sets a value and reads it back: what counts is what is in force.
#![allow(unsafe_code)]

use crate::report::{LockdownError, Step};
use std::io;

/// A resource limit.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    Core,
    OpenFiles,
    FileSize,
    LockedMemory,
}

impl Limit {
    const fn step(self) -> Step {
        match self {
            Self::Core => Step::NoCore,
            Self::OpenFiles => Step::OpenFiles,
            Self::FileSize => Step::FileSize,
            Self::LockedMemory => Step::LockedMemory,
        }
    }

    const fn resource(self) -> libc::__rlimit_resource_t {
        match self {
            Self::Core => libc::RLIMIT_CORE,
            Self::OpenFiles => libc::RLIMIT_NOFILE,
            Self::FileSize => libc::RLIMIT_FSIZE,
            Self::LockedMemory => libc::RLIMIT_MEMLOCK,
        }
    }
}

/// Sets soft and hard limit; the soft one that is in force.
pub(crate) fn limit(limit: Limit, soft: u64, hard: u64) -> Result<u64, LockdownError> {
    set(limit, soft, hard)?;
    let (now, ceiling) = get(limit)?;
    if (now, ceiling) == (soft, hard) {
        Ok(now)
    } else {
        Err(LockdownError::Ineffective { step: limit.step(), found: now.max(ceiling) })
    }
}

/// Sets soft and hard limit to at most `most`, never above what is in force.
pub(crate) fn lower(which: Limit, most: u64) -> Result<u64, LockdownError> {
    let (_, hard) = get(which)?;
    let value = most.min(hard);
    limit(which, value, value)
}

/// Raises the soft limit to the hard one, and both to no limit where the process may.
pub(crate) fn raise(which: Limit) -> Result<u64, LockdownError> {
    match set(which, libc::RLIM_INFINITY, libc::RLIM_INFINITY) {
        Ok(()) => limit(which, libc::RLIM_INFINITY, libc::RLIM_INFINITY),
        Err(LockdownError::Refused { source, .. }) if source.raw_os_error() == Some(libc::EPERM) => {
            let (_, hard) = get(which)?;
            limit(which, hard, hard)
        }
        Err(error) => Err(error),
    }
}

pub(crate) fn not_dumpable() -> Result<u64, LockdownError> {
    prctl(Step::NotDumpable, libc::PR_SET_DUMPABLE, 0)?;
    in_force(Step::NotDumpable, libc::PR_GET_DUMPABLE, 0)
}

pub(crate) fn no_new_privileges() -> Result<u64, LockdownError> {
    prctl(Step::NoNewPrivileges, libc::PR_SET_NO_NEW_PRIVS, 1)?;
    in_force(Step::NoNewPrivileges, libc::PR_GET_NO_NEW_PRIVS, 1)
}

pub(crate) fn end_with_parent(launcher: u32) -> Result<(), LockdownError> {
    prctl(Step::EndWithParent, libc::PR_SET_PDEATHSIG, libc::c_ulong::from(libc::SIGTERM.unsigned_abs()))?;
    // A parent that ended before the call sends nothing.
    let found = std::os::unix::process::parent_id();
    if found == launcher { Ok(()) } else { Err(LockdownError::Orphan { launcher, found }) }
}

fn get(limit: Limit) -> Result<(u64, u64), LockdownError> {
    let mut value = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `value` is a valid place for one rlimit, which the call fills.
    let result = unsafe { libc::getrlimit(limit.resource(), &mut value) };
    refused(limit.step(), result)?;
    Ok((value.rlim_cur, value.rlim_max))
}

fn set(limit: Limit, soft: u64, hard: u64) -> Result<(), LockdownError> {
    let value = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `value` is one valid rlimit, which the call reads.
    let result = unsafe { libc::setrlimit(limit.resource(), &value) };
    refused(limit.step(), result).map(drop)
}

fn prctl(step: Step, option: libc::c_int, value: libc::c_ulong) -> Result<libc::c_int, LockdownError> {
    let zero: libc::c_ulong = 0;
    // SAFETY: the options used here take and return integers only; no memory is passed.
    let result = unsafe { libc::prctl(option, value, zero, zero, zero) };
    refused(step, result)
}

fn in_force(step: Step, option: libc::c_int, wanted: u64) -> Result<u64, LockdownError> {
    let found = u64::from(prctl(step, option, 0)?.unsigned_abs());
    if found == wanted { Ok(found) } else { Err(LockdownError::Ineffective { step, found }) }
}

fn refused(step: Step, result: libc::c_int) -> Result<libc::c_int, LockdownError> {
    if result < 0 { Err(LockdownError::Refused { step, source: io::Error::last_os_error() }) } else { Ok(result) }
}
