//! Memory for secrets: of a fixed size, mapped and locked before anything is opened.
//!
//! Where the kernel has secret memory (`memfd_secret`, Linux 5.14; `secretmem.enable` before 6.5) it is that: not in the
//! kernel's own map, so that neither root by /proc, nor a debugger, nor a read of the kernel's memory finds it. Else it is
//! ordinary memory that is never swapped, is left out of every dump and is zeros in a child. It stays for as long as the
//! process lives. Its pages are there when they are first touched.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

use crate::report::LockdownError;
use crate::system::{self, Limit};

/// How well secrets are kept from others on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Ordinary memory, locked; left out of dumps, zeros in a child. Root can read it.
    Locked = 1,
    /// `memfd_secret`: nobody but the process can read it.
    Secret = 2,
}

/// What was mapped: each part lies between pages that nobody may touch.
pub struct SecretMemory {
    /// The parts, in the order in which they were asked for.
    pub parts: Vec<&'static mut [u8]>,
    /// The one whose size was left open.
    pub rest: &'static mut [u8],
    /// What is in force.
    pub level: Level,
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Locked => "locked memory",
            Self::Secret => "secret memory",
        })
    }
}

/// Maps memory for secrets, all zeros: parts of fixed sizes and a rest of `most` bytes, halved for as long as the system
/// refuses, down to `least`. The limit on locked memory is raised as far as it may be first.
///
/// # Errors
/// The system locks not even `least` for this user.
pub fn secret_memory(parts: &[usize], least: usize, most: usize) -> Result<SecretMemory, LockdownError> {
    system::raise(Limit::LockedMemory)?;
    let mut rest = most;
    loop {
        match map(parts, rest) {
            Ok(memory) => return Ok(memory),
            Err(_) if rest / 2 >= least => rest /= 2,
            Err(source) => {
                let wanted = parts.iter().sum::<usize>().saturating_add(rest) >> 10;
                return Err(LockdownError::SecretMemory { wanted, source });
            }
        }
    }
}

fn map(parts: &[usize], rest: usize) -> io::Result<SecretMemory> {
    let page = page_size()?;
    let round = |size: usize| size.checked_next_multiple_of(page).ok_or(io::ErrorKind::InvalidInput);
    let mut sizes = Vec::with_capacity(parts.len() + 1);
    for size in parts.iter().chain([&rest]) {
        sizes.push(round(*size)?);
    }
    // A page before each part, and one at the end.
    let length = sizes.iter().sum::<usize>() + page * (sizes.len() + 1);
    let (start, level) = match secret(length) {
        Ok(start) => (start, Level::Secret),
        Err(_) => (locked(length)?, Level::Locked),
    };
    let mut places = Vec::with_capacity(sizes.len());
    let mut at = 0;
    for size in &sizes {
        guard(start, at, page)?;
        // SAFETY: within the mapping, which is as long as all parts and the pages between them.
        let place = unsafe { start.add(at + page) };
        // SAFETY: mapped for reading and writing, zeros, for the life of the process, and part of no other slice.
        places.push(unsafe { std::slice::from_raw_parts_mut(place.as_ptr(), *size) });
        at += page + size;
    }
    guard(start, at, page)?;
    let rest = places.pop().ok_or(io::ErrorKind::InvalidInput)?;
    Ok(SecretMemory { parts: places, rest, level })
}

fn secret(length: usize) -> io::Result<NonNull<u8>> {
    // Where files may not be as long, making it as long would end the process.
    let (_, longest) = system::get(Limit::FileSize).map_err(io::Error::other)?;
    if u64::try_from(length).map_or(true, |length| length > longest) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    // SAFETY: a number; the call makes a descriptor.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let fd = libc::c_int::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: it has just been made, and is owned by nobody else.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let size = libc::off_t::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: numbers.
    accepted(unsafe { libc::ftruncate(fd.as_raw_fd(), size) })?;
    let place = mmap(length, libc::MAP_SHARED, fd.as_raw_fd())?;
    advise(place, length, libc::MADV_DONTFORK)?;
    Ok(place)
}

fn locked(length: usize) -> io::Result<NonNull<u8>> {
    let place = mmap(length, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
    let lock = || {
        // SAFETY: locks what was just mapped, page by page as they are touched.
        accepted(unsafe { libc::mlock2(place.as_ptr().cast(), length, libc::MLOCK_ONFAULT) })?;
        advise(place, length, libc::MADV_DONTDUMP)?;
        advise(place, length, libc::MADV_WIPEONFORK)
    };
    lock().inspect_err(|_| {
        // SAFETY: mapped above, and nobody has seen it.
        unsafe { libc::munmap(place.as_ptr().cast(), length) };
    })?;
    Ok(place)
}

fn mmap(length: usize, flags: libc::c_int, fd: libc::c_int) -> io::Result<NonNull<u8>> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, wherever the kernel puts it.
    let place = unsafe { libc::mmap(std::ptr::null_mut(), length, access, flags, fd, 0) };
    if place == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(place.cast()).ok_or_else(|| io::ErrorKind::Other.into())
}

fn advise(place: NonNull<u8>, length: usize, advice: libc::c_int) -> io::Result<()> {
    // SAFETY: within a mapping of ours, and the advice changes nothing that is read or written by this process.
    accepted(unsafe { libc::madvise(place.as_ptr().cast(), length, advice) })
}

/// A page that ends the process if it is touched.
fn guard(start: NonNull<u8>, at: usize, page: usize) -> io::Result<()> {
    // SAFETY: within the mapping, at a page's beginning, and part of no slice.
    accepted(unsafe { libc::mprotect(start.add(at).as_ptr().cast(), page, libc::PROT_NONE) })
}

fn page_size() -> io::Result<usize> {
    // SAFETY: reads a number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).map_err(|_| io::ErrorKind::Unsupported.into())
}

fn accepted(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The flags that the kernel shows of the mapping that holds a place.
    fn flags(place: &[u8]) -> Vec<String> {
        let place = place.as_ptr() as u64;
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in maps.lines() {
            let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
            let bounds = range.map(|(from, to)| (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16)));
            if let Some((Ok(from), Ok(to))) = bounds {
                inside = (from..to).contains(&place);
            } else if let Some(flags) = line.strip_prefix("VmFlags: ").filter(|_| inside) {
                return flags.split_whitespace().map(str::to_owned).collect();
            }
        }
        panic!("no mapping of {place:x}");
    }

    fn has(place: &[u8], wanted: &[&str]) {
        let found = flags(place);
        assert!(wanted.iter().all(|flag| found.iter().any(|found| found == flag)), "{wanted:?}: {found:?}");
    }

    #[test]
    fn memory_for_secrets_is_zero_locked_in_no_dump_and_in_no_child() {
        let memory = secret_memory(&[1, 5000], 4096, 1 << 20).unwrap();
        let sizes: Vec<usize> = memory.parts.iter().map(|part| part.len()).collect();
        assert_eq!((sizes, memory.rest.len()), (vec![4096, 8192], 1 << 20));
        for part in memory.parts.iter().chain([&memory.rest]) {
            assert!(part.iter().all(|byte| *byte == 0));
            // Locked, not dumped, and either not there in a child or zeros there.
            has(part, &["lo", "dd", if memory.level == Level::Secret { "dc" } else { "wf" }]);
        }
    }

    #[test]
    fn what_the_kernel_has_no_secret_memory_for_is_locked_ordinary_memory() {
        let place = locked(8192).unwrap();
        // SAFETY: mapped for the life of the process.
        let part = unsafe { std::slice::from_raw_parts(place.as_ptr(), 8192) };
        has(part, &["lo", "dd", "wf"]);
    }

    #[test]
    fn each_part_lies_between_pages_that_nobody_may_touch() {
        use std::os::unix::fs::FileExt;
        let memory = secret_memory(&[4096, 4096], 4096, 4096).unwrap();
        let own = std::fs::File::open("/proc/self/maps").unwrap();
        let mut text = vec![0; 1 << 20];
        let length = own.read_at(&mut text, 0).unwrap();
        let maps = String::from_utf8_lossy(&text[..length]).into_owned();
        let closed = |place: u64| {
            maps.lines().any(|line| {
                let (range, rest) = line.split_once(' ').unwrap();
                let (from, to) = range.split_once('-').unwrap();
                let inside = u64::from_str_radix(from, 16).unwrap()..u64::from_str_radix(to, 16).unwrap();
                inside.contains(&place) && rest.starts_with("---")
            })
        };
        for part in memory.parts.iter().chain([&memory.rest]) {
            let range = part.as_ptr_range();
            assert!(closed(range.start as u64 - 1) && closed(range.end as u64), "{range:?}");
        }
    }

    #[test]
    fn where_too_little_may_be_locked_the_error_says_what_to_set() {
        let error = secret_memory(&[], 1 << 60, 1 << 60).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("LimitMEMLOCK"), "{error}");
    }
}
