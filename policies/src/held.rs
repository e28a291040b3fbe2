//! The filters that the kernel holds for a thread of another process, read out to be compared with what was compiled.
//!
//! A thread is held for as long as that takes, some microseconds, and then goes on with the wait or the work that it was
//! in. Only root may do this, outside of any filter of its own: the daemons are not dumpable.
#![allow(unsafe_code)]

use std::io;

use crate::filters::{Instruction, Role};

const PTRACE_SECCOMP_GET_FILTER: libc::c_uint = 0x420c;

/// A thread that this thread holds; it goes on when this value ends.
pub struct Held(libc::pid_t);

impl Held {
    /// Holds a thread where it is.
    ///
    /// # Errors
    /// The system refuses, or the thread has ended (`ESRCH`).
    pub fn seize(thread: u32) -> io::Result<Self> {
        let thread = libc::pid_t::try_from(thread).map_err(|_| io::ErrorKind::InvalidInput)?;
        request(libc::PTRACE_SEIZE, thread)?;
        let held = Self(thread);
        request(libc::PTRACE_INTERRUPT, thread)?;
        if held.stopped()? { Ok(held) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
    }

    /// Waits until the thread stops (true) or ends (false). An end stays to be waited for by whoever started it.
    ///
    /// # Errors
    /// The system refuses.
    pub fn stopped(&self) -> io::Result<bool> {
        let ended = [libc::CLD_EXITED, libc::CLD_KILLED, libc::CLD_DUMPED];
        if ended.contains(&self.wait(libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT)?) {
            return Ok(false);
        }
        self.wait(libc::WSTOPPED).map(|_| true)
    }

    /// The thread's filters, oldest first; empty if it is under none.
    ///
    /// # Errors
    /// The system refuses: this process is under a filter itself, or the kernel reads none out.
    pub fn filters(&self) -> io::Result<Vec<Vec<Instruction>>> {
        let mut filters = Vec::new();
        loop {
            match self.filter(filters.len()) {
                Ok(filter) => filters.push(filter),
                // No further one; none at all.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(filters),
                Err(error) if filters.is_empty() && error.raw_os_error() == Some(libc::EINVAL) => return Ok(filters),
                Err(error) => return Err(error),
            }
        }
    }

    fn filter(&self, position: usize) -> io::Result<Vec<Instruction>> {
        let read = |place: *mut Instruction| {
            // SAFETY: without a place the kernel answers how many instructions there are and writes nothing; with one,
            // it is that of so many, and the filter of a position does not change.
            let length = unsafe { libc::ptrace(PTRACE_SECCOMP_GET_FILTER, self.0, position, place) };
            usize::try_from(length).map_err(|_| io::Error::last_os_error())
        };
        let length = read(std::ptr::null_mut())?;
        let mut filter = vec![Instruction { code: 0, jt: 0, jf: 0, k: 0 }; length];
        if read(filter.as_mut_ptr())? == length { Ok(filter) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    fn wait(&self, flags: libc::c_int) -> io::Result<libc::c_int> {
        let id = libc::id_t::try_from(self.0).map_err(|_| io::ErrorKind::InvalidInput)?;
        loop {
            // SAFETY: plain C data, for which zeros are a value, and which the call fills.
            let (result, info) = unsafe {
                let mut info: libc::siginfo_t = std::mem::zeroed();
                (libc::waitid(libc::P_PID, id, &mut info, flags | libc::__WALL), info)
            };
            if result == 0 {
                return Ok(info.si_code);
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Fails if the thread has ended, which is as well.
        let _ = request(libc::PTRACE_DETACH, self.0);
    }
}

impl Role {
    /// Whether these filters, oldest first, end with the role's own, instruction by instruction. A launcher may have laid
    /// some before; none can come after.
    pub fn laid_last(self, filters: &[Vec<Instruction>]) -> bool {
        let own = self.filters();
        let newest = filters.len().checked_sub(own.len()).and_then(|before| filters.get(before..));
        newest.is_some_and(|newest| newest.iter().zip(own).all(|(found, wanted)| found == wanted))
    }
}

fn request(request: libc::c_uint, thread: libc::pid_t) -> io::Result<()> {
    // SAFETY: the requests used with this take numbers, here zeros.
    if unsafe { libc::ptrace(request, thread, 0, 0) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_filters_of_a_thread_are_its_roles_to_the_last_instruction() {
        for role in Role::ALL {
            let own = role.filters().map(<[Instruction]>::to_vec);
            assert!(role.laid_last(&own));
            // A launcher's own lie below.
            assert!(role.laid_last(&[&own[1..], &own].concat()));
            assert!(!role.laid_last(&own[1..]) && !role.laid_last(&[]));
            assert!(!role.laid_last(&[&own[..], &own[1..]].concat()), "another on top");
            for position in 0..own.len() {
                for at in [0, own[position].len() / 2, own[position].len() - 1] {
                    let mut other = own.clone();
                    other[position][at].k ^= 1;
                    assert!(!role.laid_last(&other), "instruction {at} of filter {position}");
                }
                let mut shorter = own.clone();
                shorter[position].pop();
                assert!(!role.laid_last(&shorter));
            }
            let others = Role::ALL.into_iter().filter(|other| other.laid_last(&own)).count();
            assert_eq!(others, 1, "no two roles are taken for one another");
        }
    }

    #[test]
    fn what_may_not_be_held_is_an_error() {
        assert!(Held::seize(u32::MAX).is_err());
        // Itself no thread may hold.
        assert!(Held::seize(std::process::id()).is_err());
    }
}
