//! Tells a supervisor of the systemd kind that the daemon is ready.
//!
//! The socket is one that could be pointed elsewhere, so it is connected just before the lockdown and closed with its
//! one message just after.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

pub(crate) struct Notify(UnixDatagram);

impl Notify {
    /// The socket that the environment names; `None` if it names none.
    pub(crate) fn open() -> io::Result<Option<Self>> {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Ok(None) };
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        Ok(Some(Self(socket)))
    }

    pub(crate) fn ready(self) -> io::Result<()> {
        self.0.send(b"READY=1").map(drop)
    }

    pub(crate) fn descriptor(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.0)
    }
}
