//! The descriptors that a daemon did not open itself, and the sockets that it may keep.

use std::io;
use std::os::fd::RawFd;

use crate::report::{LockdownError, Step};
use crate::system::{self, Limit, SocketKind};

/// Descriptors that were there before the daemon opened anything, but for its streams and those in `keep`.
pub(crate) fn inherited(keep: &[RawFd]) -> Result<Vec<RawFd>, LockdownError> {
    let named = |source| LockdownError::Refused { step: Step::Inherited, source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").map_err(named)? {
        let name = entry.map_err(named)?.file_name();
        let number = name.to_str().and_then(|name| name.parse::<RawFd>().ok());
        found.push(number.ok_or(io::ErrorKind::InvalidData).map_err(|kind| named(kind.into()))?);
    }
    // The listing's own descriptor is closed by now: what is not open any more was it.
    found.retain(|fd| *fd > 2 && !keep.contains(fd) && system::is_open(*fd));
    Ok(found)
}

/// No socket may be left that a later `connect` points elsewhere: to any Unix socket of the machine, which Landlock does
/// not see. Connected and listening streams cannot be.
pub(crate) fn no_loose_socket(except: Option<RawFd>) -> Result<(), LockdownError> {
    let most = RawFd::try_from(system::get(Limit::OpenFiles)?.0).unwrap_or(RawFd::MAX);
    for fd in (0..most).filter(|fd| Some(*fd) != except) {
        match system::socket_kind(fd) {
            SocketKind::None | SocketKind::Bound => {}
            SocketKind::Loose => return Err(LockdownError::LooseSocket(fd)),
        }
    }
    Ok(())
}
