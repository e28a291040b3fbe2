//! The system calls. Each one sets a value and reads it back: what counts is what is in force.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::RawFd;

use crate::filters::Instruction;
use crate::report::{LockdownError, Step};

const PR_SET_MDWE: libc::c_int = 65;
const PR_GET_MDWE: libc::c_int = 66;
const PR_CAP_AMBIENT_CLEAR_ALL: libc::c_ulong = 4;
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

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

/// The kernel's refusal of memory that is both written and executed; 0 where it has none (before Linux 6.3).
pub(crate) fn no_write_execute() -> Result<u64, LockdownError> {
    match prctl(Step::WriteExecute, PR_SET_MDWE, 1) {
        Err(LockdownError::Refused { source, .. }) if source.raw_os_error() == Some(libc::EINVAL) => Ok(0),
        Err(error) => Err(error),
        Ok(_) => in_force(Step::WriteExecute, PR_GET_MDWE, 1),
    }
}

/// The signal that comes when the parent ends; 0 is none.
pub(crate) fn parent_signal() -> Result<u32, LockdownError> {
    let mut signal: libc::c_int = 0;
    let zero: libc::c_ulong = 0;
    // SAFETY: the kernel writes one int to the address of one.
    let result = unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, std::ptr::from_mut(&mut signal), zero, zero, zero) };
    refused(Step::EndWithParent, result).map(|_| signal.unsigned_abs())
}

pub(crate) fn end_with_parent(launcher: u32, signal: u32) -> Result<(), LockdownError> {
    prctl(Step::EndWithParent, libc::PR_SET_PDEATHSIG, signal.into())?;
    // A parent that ended before the call sends nothing.
    let found = std::os::unix::process::parent_id();
    if found == launcher { Ok(()) } else { Err(LockdownError::Orphan { launcher, found }) }
}

/// Makes a system call of a process that ends with it.
pub(crate) fn call(number: libc::c_long, arguments: [u64; 6]) -> Result<i64, i32> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: whatever the kernel does to this process, nothing of it is used afterwards but its exit.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result < 0 { Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(result) }
}

/// Ends the process at once.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Removes what makes the standard library and others collect backtraces: naming their frames opens files.
pub(crate) fn no_backtraces() {
    for name in ["RUST_BACKTRACE", "RUST_LIB_BACKTRACE"] {
        // SAFETY: the caller has made sure that no other thread runs, so nobody reads the environment meanwhile.
        unsafe { std::env::remove_var(name) };
    }
}

/// From this size on a block has a mapping of its own, and an arena with as much free at its end gives it back.
#[cfg(target_env = "gnu")]
const GIVEN_BACK: libc::c_int = 1 << 20;

/// Fixes how the allocator works, whatever the environment says: how many arenas it may make, so that it need not ask for
/// the number of processors, and when it gives memory back, so that [`shrink_an_arena`] does what it says.
pub(crate) fn fix_allocator(arenas: usize) {
    #[cfg(target_env = "gnu")]
    {
        let arenas = libc::c_int::try_from(arenas).unwrap_or(libc::c_int::MAX);
        for (setting, value) in [
            (libc::M_ARENA_MAX, arenas),
            (libc::M_MMAP_THRESHOLD, GIVEN_BACK),
            (libc::M_TRIM_THRESHOLD, GIVEN_BACK),
            (libc::M_TOP_PAD, 128 << 10),
        ] {
            // SAFETY: numbers; no other thread runs that could allocate meanwhile.
            unsafe { libc::mallopt(setting, value) };
        }
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = arenas;
}

/// To be called on a thread other than the first: fills its arena far above what is given back, and frees it again.
pub(crate) fn shrink_an_arena() {
    drop(std::hint::black_box((0..128).map(|_| Vec::<u8>::with_capacity(64 << 10)).collect::<Vec<_>>()));
}

/// Effective user and group; an error if real or saved ones differ from them.
pub(crate) fn ids() -> Result<(u32, u32), LockdownError> {
    let (mut user, mut group) = ([0; 3], [0; 3]);
    let [real, effective, saved] = &mut user;
    // SAFETY: three valid places for ids each, which the calls fill.
    refused(Step::User, unsafe { libc::getresuid(real, effective, saved) })?;
    let [real, effective, saved] = &mut group;
    // SAFETY: as above.
    refused(Step::User, unsafe { libc::getresgid(real, effective, saved) })?;
    match (user, group) {
        ([a, b, c], [d, e, f]) if a == b && b == c && d == e && e == f => Ok((a, d)),
        ([_, found, _], _) => Err(LockdownError::Ineffective { step: Step::User, found: found.into() }),
    }
}

/// Becomes another user with that group alone, for all threads of the process.
pub(crate) fn become_ids(uid: u32, gid: u32) -> Result<(), LockdownError> {
    // SAFETY: an empty list of groups; no memory is read. libc's calls, not the kernel's, which act on one thread.
    refused(Step::User, unsafe { libc::setgroups(0, std::ptr::null()) })?;
    // SAFETY: numbers only.
    refused(Step::User, unsafe { libc::setresgid(gid, gid, gid) })?;
    // SAFETY: numbers only.
    refused(Step::User, unsafe { libc::setresuid(uid, uid, uid) }).map(drop)
}

/// Empties the bounding and the ambient set as far as the process may; how many capabilities the first still has.
pub(crate) fn empty_bounding_set() -> Result<u64, LockdownError> {
    prctl(Step::BoundingSet, libc::PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)?;
    let mut left = 0;
    for capability in 0..64 {
        // The first number that the kernel does not know ends the list.
        let Ok(held) = prctl(Step::BoundingSet, libc::PR_CAPBSET_READ, capability) else { break };
        if held == 1 && prctl(Step::BoundingSet, libc::PR_CAPBSET_DROP, capability).is_err() {
            left += 1;
        }
    }
    Ok(left)
}

/// The capabilities of this thread, one bit each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
    pub(crate) inheritable: u64,
}

impl Capabilities {
    pub(crate) const NONE: Self = Self { effective: 0, permitted: 0, inheritable: 0 };
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

pub(crate) fn drop_capabilities() -> Result<(), LockdownError> {
    let header = CapabilityHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let data = [CapabilityData::default(); 2];
    // SAFETY: version 3 reads a header and two data structures, laid out as the kernel has them.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(last(Step::Capabilities)) }
}

pub(crate) fn capabilities() -> Result<Capabilities, LockdownError> {
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut data = [CapabilityData::default(); 2];
    // SAFETY: version 3 fills two data structures, laid out as the kernel has them.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
    if result != 0 {
        return Err(last(Step::Capabilities));
    }
    let [low, high] = data;
    let whole = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    Ok(Capabilities {
        effective: whole(low.effective, high.effective),
        permitted: whole(low.permitted, high.permitted),
        inheritable: whole(low.inheritable, high.inheritable),
    })
}

/// Lays a filter on every thread of the process.
pub(crate) fn filter(program: &'static [Instruction]) -> Result<(), LockdownError> {
    // As the kernel has it; `Instruction` is its `sock_filter`.
    #[repr(C)]
    struct Program {
        len: u16,
        filter: *const Instruction,
    }
    let len = u16::try_from(program.len())
        .map_err(|_| LockdownError::Refused { step: Step::Filters, source: io::ErrorKind::InvalidInput.into() })?;
    let program = Program { len, filter: program.as_ptr() };
    let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_TSYNC);
    // SAFETY: the kernel reads `len` instructions from a static array.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) };
    match result {
        0 => Ok(()),
        // The id of a thread that could not be brought under it.
        1.. => Err(LockdownError::Ineffective { step: Step::Filters, found: result.unsigned_abs() }),
        _ => Err(last(Step::Filters)),
    }
}

/// What a descriptor is, as far as `connect` goes.
pub(crate) enum SocketKind {
    /// No socket, or not open.
    None,
    /// A socket that stays where it is, or one whose ports Landlock sees.
    Bound,
    /// One that can be connected to any other of its kind.
    Loose,
}

pub(crate) fn socket_kind(fd: RawFd) -> SocketKind {
    let Some(domain) = option(fd, libc::SO_DOMAIN) else { return SocketKind::None };
    let (kind, listening) = (option(fd, libc::SO_TYPE), option(fd, libc::SO_ACCEPTCONN));
    match domain {
        libc::AF_INET | libc::AF_INET6 if kind == Some(libc::SOCK_STREAM) => SocketKind::Bound,
        libc::AF_UNIX if kind != Some(libc::SOCK_DGRAM) && (listening == Some(1) || has_peer(fd)) => SocketKind::Bound,
        _ => SocketKind::Loose,
    }
}

pub(crate) fn is_open(fd: RawFd) -> bool {
    // SAFETY: reads the flags of a number that need not be a descriptor.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// Closes a descriptor that came with the process and that nothing in it owns.
pub(crate) fn close(fd: RawFd) -> Result<(), LockdownError> {
    // SAFETY: it was open before the process opened anything itself, and nobody took it: no owner is left dangling.
    refused(Step::Inherited, unsafe { libc::close(fd) }).map(drop)
}

fn option(fd: RawFd, name: libc::c_int) -> Option<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = libc::socklen_t::try_from(size_of::<libc::c_int>()).ok()?;
    let place = std::ptr::from_mut(&mut value).cast();
    // SAFETY: the kernel writes at most `length` bytes, the size of the value.
    let result = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, name, place, &mut length) };
    (result == 0).then_some(value)
}

fn has_peer(fd: RawFd) -> bool {
    let mut address = [0u8; 128];
    let Ok(mut length) = libc::socklen_t::try_from(address.len()) else { return false };
    // SAFETY: the kernel writes at most `length` bytes into the array.
    unsafe { libc::getpeername(fd, address.as_mut_ptr().cast(), &mut length) == 0 }
}

pub(crate) fn get(limit: Limit) -> Result<(u64, u64), LockdownError> {
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
    if result < 0 { Err(last(step)) } else { Ok(result) }
}

fn last(step: Step) -> LockdownError {
    LockdownError::Refused { step, source: io::Error::last_os_error() }
}
