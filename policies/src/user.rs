//! Who a daemon is when it serves: never root, and without any capability.

use crate::report::{LockdownError, Report, Step};
use crate::system::{self, Capabilities};

/// A user and a group, neither of them root's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// By number. `None` for root, root's group, and the number that means nobody in particular.
    pub fn new(uid: u32, gid: u32) -> Option<Self> {
        let sound = |id: u32| id != 0 && id != u32::MAX;
        (sound(uid) && sound(gid)).then_some(Self { uid, gid })
    }

    /// From two arguments of which neither or both are given.
    ///
    /// # Errors
    /// One is missing, or is root's.
    pub fn from_args(uid: Option<u32>, gid: Option<u32>) -> Result<Option<Self>, &'static str> {
        match (uid, gid) {
            (None, None) => Ok(None),
            (Some(uid), Some(gid)) => Self::new(uid, gid).map(Some).ok_or("--uid and --gid: not root's"),
            _ => Err("--uid and --gid go together"),
        }
    }
}

/// Becomes `user` if root started the process, for all of its threads; gives up every capability in any case.
pub(crate) fn become_user(user: Option<User>, report: &mut Report) -> Result<(), LockdownError> {
    let (signal, parent) = (system::parent_signal()?, std::os::unix::process::parent_id());
    // While the process may: what is not in the bounding set comes back by no executed file.
    let left = system::empty_bounding_set()?;
    let (uid, gid) = system::ids()?;
    match user {
        Some(user) if (uid, gid) != (user.uid, user.gid) => {
            if uid != 0 {
                return Err(LockdownError::NotRoot { uid });
            }
            system::become_ids(user.uid, user.gid)?;
            let found = system::ids()?;
            if found != (user.uid, user.gid) {
                return Err(LockdownError::Ineffective { step: Step::User, found: found.0.into() });
            }
            // The tie to the launcher is cut by the change of user, so it is tied again.
            if signal != 0 {
                system::end_with_parent(parent, signal)?;
            }
        }
        _ if uid == 0 => return Err(LockdownError::Root),
        _ => {}
    }
    report.done(Step::User, system::ids()?.0.into());
    // A unit file may have seen to it, and forbidden the call.
    if system::capabilities()? != Capabilities::NONE {
        system::drop_capabilities()?;
    }
    let Capabilities { effective, permitted, inheritable } = system::capabilities()?;
    match effective | permitted | inheritable {
        0 => report.done(Step::Capabilities, 0),
        found => return Err(LockdownError::Ineffective { step: Step::Capabilities, found }),
    }
    report.done(Step::BoundingSet, left);
    Ok(())
}
