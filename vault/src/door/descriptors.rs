//! Descriptors from the launcher and the system: the listening socket, the peer's uid, the signal to stop.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;

/// The first descriptor that a launcher passes: the listening socket.
pub const SOCKET: RawFd = 3;

/// Why there is no socket to serve on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The environment names no descriptor.
    #[error(
        "no socket was passed: the launcher must set LISTEN_FDS=1 and pass a listening Unix socket as descriptor 3"
    )]
    NotPassed,
    /// The descriptors are for another process.
    #[error("LISTEN_PID names another process: the descriptors are not for this one")]
    OtherProcess,
    /// More or fewer than one descriptor.
    #[error("LISTEN_FDS is {0}, it must be 1")]
    Count(String),
    /// Descriptor 3 is no listening Unix socket.
    #[error("descriptor 3 is no listening Unix socket: {0}")]
    Socket(io::Error),
}

/// The listening socket that the launcher passed as descriptor 3.
///
/// # Errors
/// The environment does not announce exactly one, or it is something else.
#[allow(unsafe_code)]
pub fn listener() -> Result<UnixListener, ListenError> {
    let count = std::env::var("LISTEN_FDS").map_err(|_| ListenError::NotPassed)?;
    if std::env::var("LISTEN_PID").is_ok_and(|pid| pid != std::process::id().to_string()) {
        return Err(ListenError::OtherProcess);
    }
    if count != "1" {
        return Err(ListenError::Count(count));
    }
    let mut listening: libc::c_int = 0;
    option(SOCKET, libc::SO_ACCEPTCONN, &mut listening).map_err(ListenError::Socket)?;
    if listening != 1 {
        return Err(ListenError::Socket(io::ErrorKind::InvalidInput.into()));
    }
    // SAFETY: the launcher passed descriptor 3 for this process to own, it is open (the option was read), and nothing
    // else in the process takes it: this is called once, before anything is opened.
    let listener = unsafe { UnixListener::from_raw_fd(SOCKET) };
    // SAFETY: sets a flag of a descriptor that is open.
    if unsafe { libc::fcntl(SOCKET, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
        return Err(ListenError::Socket(io::Error::last_os_error()));
    }
    listener.local_addr().and_then(|_| listener.set_nonblocking(true)).map_err(ListenError::Socket)?;
    Ok(listener)
}

/// The uid of the process at the other end when it connected.
///
/// # Errors
/// The system does not say.
pub fn peer_uid(stream: &UnixStream) -> io::Result<u32> {
    let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    option(stream.as_raw_fd(), libc::SO_PEERCRED, &mut peer)?;
    Ok(peer.uid)
}

/// The pid of the process at the other end.
///
/// # Errors
/// The system does not say.
pub fn peer_pid(stream: &UnixStream) -> io::Result<u32> {
    let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    option(stream.as_raw_fd(), libc::SO_PEERCRED, &mut peer)?;
    u32::try_from(peer.pid).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// The uid that this process acts as.
#[allow(unsafe_code)]
pub fn own_uid() -> u32 {
    // SAFETY: reads a number and cannot fail.
    unsafe { libc::geteuid() }
}

/// Turns SIGTERM and SIGINT into a descriptor. Call before any thread is started: they inherit the mask.
///
/// # Errors
/// The system refuses.
#[allow(unsafe_code)]
pub fn stop_signal() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset before it is read; the calls touch nothing else of ours.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGTERM);
        libc::sigaddset(&mut set, libc::SIGINT);
        if libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        // A file at its size limit is an error of that write, not the end of the vault.
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        let fd = libc::signalfd(-1, &set, libc::SFD_CLOEXEC);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Waits until one of two descriptors can be read: (first, second).
///
/// # Errors
/// The system refuses.
pub fn either(first: &impl AsRawFd, second: &impl AsRawFd) -> io::Result<(bool, bool)> {
    wait(first, second, None)
}

/// As [`either`], until a moment: neither can be read then.
///
/// # Errors
/// The system refuses.
pub fn either_until(first: &impl AsRawFd, second: &impl AsRawFd, end: Instant) -> io::Result<(bool, bool)> {
    wait(first, second, Some(end))
}

#[allow(unsafe_code)]
fn wait(first: &impl AsRawFd, second: &impl AsRawFd, end: Option<Instant>) -> io::Result<(bool, bool)> {
    let entry = |fd: RawFd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut entries = [entry(first.as_raw_fd()), entry(second.as_raw_fd())];
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000));
        let millis = left.map_or(-1, |left| libc::c_int::try_from(left).unwrap_or(libc::c_int::MAX));
        // SAFETY: the array has two entries and lives through the call.
        let ready = unsafe { libc::poll(entries.as_mut_ptr(), 2, millis) };
        if ready >= 0 {
            let [first, second] = entries.map(|entry| entry.revents != 0);
            return Ok((first, second));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[allow(unsafe_code)]
fn option<T>(fd: RawFd, name: libc::c_int, value: &mut T) -> io::Result<()> {
    let size = size_of::<T>();
    let mut length = libc::socklen_t::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel writes at most `length` bytes, the size of the value; every caller's type is plain C data.
    let answer = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, name, std::ptr::from_mut(value).cast(), &mut length) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    if length as usize == size { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Takes the lock of a vault's directory for as long as the file is open: no two processes may vote from one store.
///
/// # Errors
/// Another process has it (`WouldBlock`), or the system refuses.
#[allow(unsafe_code)]
pub fn lock(dir: &std::path::Path) -> io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).mode(0o600).open(dir.join("vault.lock"))?;
    // SAFETY: a number, of a descriptor that `file` keeps open.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        Ok(file)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Bytes that the file system of `dir` has left for this user.
///
/// # Errors
/// The system does not say.
#[allow(unsafe_code)]
pub fn free_bytes(dir: &std::path::Path) -> io::Result<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(dir.as_os_str().as_bytes())?;
    // SAFETY: plain C data, for which zeros are a value; the path is a C string that lives through the call.
    let (answer, stat) = unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(path.as_ptr(), &mut stat), stat)
    };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
