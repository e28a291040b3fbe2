//! What a daemon takes away from itself before it serves.
//!
//! Both daemons start in steps that the types put in order: [`begin`] before anything else, [`Start::secret_memory`] while
//! root may still lock as much as it likes (vaults), [`Start::become_user`]
//! before anything is opened, [`Unprivileged::confine`] when everything is open and while there is one thread,
//! [`Confined::filter`] when nothing but serving is left, for all threads; and only then [`Locked::ready`]. A step that
//! the system refuses is an error by name and the daemon must not serve; nothing is skipped in silence, and the one step
//! that an operator may do without, Landlock, is reported as missing. The filters are compiled in: `resources/` is what
//! the kernel enforces.
#![deny(unsafe_code)]

mod access;
pub mod attempt;
mod descriptors;
mod filters;
pub mod held;
mod memory;
mod notify;
mod panic;
mod report;
mod start;
mod system;
mod user;

pub use access::{Access, Landlock};
pub use filters::{AARCH64, Filters, Instruction, Role, X86_64};
pub use memory::{Level, SecretMemory, secret_memory};
pub use report::{LockdownError, Report, Step};
pub use start::{Confined, Locked, Start, Unprivileged, begin};
pub use user::User;

/// Ends the process with SIGTERM when its parent ends. For processes that a launcher starts and must not outlive it;
/// a supervised daemon does not want this.
///
/// # Errors
/// The system refused, or the parent is `launcher` no longer: then the signal would never come.
pub fn end_with_parent(launcher: u32) -> Result<(), LockdownError> {
    system::end_with_parent(launcher, libc::SIGTERM.unsigned_abs())
}
