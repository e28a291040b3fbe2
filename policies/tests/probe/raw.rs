//! The attempts that no safe interface has.
#![allow(unsafe_code)]

use std::os::fd::RawFd;

/// Makes a system call. The arguments name memory of this process only where the caller says so; what the kernel does
/// with them is what is probed.
pub(crate) fn call(number: libc::c_long, arguments: [u64; 6]) -> Result<i64, i32> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the process is a probe that ends after this one call; nothing of it is used afterwards but its exit.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result < 0 { Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(result) }
}

/// Ends the process at once, by the one call that every role has.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// The number of `getpid` in the 32-bit instruction set, called through its own gate.
#[cfg(target_arch = "x86_64")]
pub(crate) fn getpid_by_int80() -> i64 {
    let mut result: i64 = 20;
    // SAFETY: the 32-bit gate takes the number in eax, answers there and clobbers r8 to r11.
    unsafe {
        std::arch::asm!("int 0x80", inout("rax") result, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    result
}

pub(crate) fn uid() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() }
}

/// A socket that is not connected and survives an exec.
pub(crate) fn loose_unix_socket(kind: libc::c_int) -> RawFd {
    // SAFETY: numbers only.
    unsafe { libc::socket(libc::AF_UNIX, kind, 0) }
}

/// A connected pair of Unix sockets.
pub(crate) fn unix_pair(kind: libc::c_int) -> [RawFd; 2] {
    let mut pair = [-1; 2];
    // SAFETY: two places for two descriptors.
    assert_eq!(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) }, 0);
    pair
}

/// A descriptor of no consequence.
pub(crate) fn open_null() -> RawFd {
    std::os::fd::IntoRawFd::into_raw_fd(std::fs::File::open("/dev/null").unwrap())
}

pub(crate) fn close(fd: RawFd) {
    // SAFETY: a descriptor of this process that nothing owns.
    unsafe { libc::close(fd) };
}

/// Lets a child find `fd` as `number`, whatever its flags.
pub(crate) fn hand_on(command: &mut std::process::Command, fd: RawFd, number: RawFd) {
    use std::os::unix::process::CommandExt;
    // SAFETY: between fork and exec only dup2 runs, which is async-signal-safe.
    unsafe {
        command.pre_exec(
            move || if libc::dup2(fd, number) == number { Ok(()) } else { Err(std::io::Error::last_os_error()) },
        );
    }
}

/// Lets every user in.
pub(crate) fn open_to_all(path: &std::path::Path) {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
}
