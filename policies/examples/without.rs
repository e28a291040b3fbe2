//! `without COMMAND…`: executes a daemon that believes itself confined and is not, to measure what confinement costs.
//!
//! A daemon has no switch for this, and ends where the kernel does not say that its filters are in force. So a tracer
//! stands between the two for as long as the daemon starts: it lets none of the calls through by which a process gives
//! something up for good (filters, Landlock, memory that is written and executed, being read by others of its user), and
//! answers them as the kernel would. Then it lets go, and the very program that is shipped runs with nothing laid on it.
//!
//! For `make bench` alone, with keys of nobody's.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod tracer {
    use std::fs::OpenOptions;
    use std::io;
    use std::mem::size_of;
    use std::os::unix::fs::FileExt;

    use libc::{c_int, c_long, c_uint, pid_t};

    const PR_SET_MDWE: u64 = 65;
    const PR_GET_MDWE: u64 = 66;
    const SECCOMP_SET_MODE_FILTER: u64 = 1;
    /// Filters that a daemon lays, and the numbers that it then reads of its status.
    const FILTERS: usize = 2;
    const READINGS: usize = 2;
    const SYSCALL_STOP: c_int = libc::SIGTRAP | 0x80;
    const EVENT_STOP: c_int = 128;

    /// Where the daemon's main thread stands with its start.
    #[derive(Default)]
    struct Start {
        /// Filters that it believes to have laid.
        laid: usize,
        /// Numbers of its status that it has been told since.
        told: usize,
    }

    /// Traces the process's only thread and tells `seized`; ends when the daemon believes itself confined, or has ended.
    pub(crate) fn deceive(process: pid_t, seized: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        request(libc::PTRACE_SEIZE, process, libc::PTRACE_O_TRACESYSGOOD as usize)?;
        request(libc::PTRACE_INTERRUPT, process, 0)?;
        let mut tell = Some(seized);
        let (mut start, mut answer) = (Start::default(), None);
        let mut inside = false;
        while let Some(stop) = wait(process)? {
            if let Some(tell) = tell.take() {
                tell()?;
            }
            let mut signal = 0;
            match stop {
                SYSCALL_STOP => {
                    inside = !inside;
                    let mut registers = registers(process)?;
                    if inside {
                        answer = start.answer(&registers);
                        if answer.is_some() {
                            // No call has this number.
                            registers.orig_rax = u64::MAX;
                            set_registers(process, &registers)?;
                        }
                    } else if let Some(answer) = answer.take() {
                        registers.rax = answer;
                        set_registers(process, &registers)?;
                    } else {
                        start.rewrite(process, &registers)?;
                    }
                }
                event if event >> 8 == EVENT_STOP => {}
                other => signal = other,
            }
            if start.told == READINGS {
                return request(libc::PTRACE_DETACH, process, 0);
            }
            request(libc::PTRACE_SYSCALL, process, usize::try_from(signal).unwrap_or_default())?;
        }
        Ok(())
    }

    impl Start {
        /// What the daemon is told of a call that is not made; none lets it through.
        fn answer(&mut self, call: &libc::user_regs_struct) -> Option<u64> {
            match c_long::try_from(call.orig_rax).ok()? {
                libc::SYS_seccomp if call.rdi == SECCOMP_SET_MODE_FILTER => {
                    self.laid += 1;
                    Some(0)
                }
                libc::SYS_landlock_restrict_self => Some(0),
                libc::SYS_prctl => match call.rdi {
                    PR_SET_MDWE => Some(0),
                    PR_GET_MDWE => Some(1),
                    option if option == libc::PR_SET_DUMPABLE as u64 || option == libc::PR_GET_DUMPABLE as u64 => {
                        Some(0)
                    }
                    _ => None,
                },
                _ => None,
            }
        }

        /// Once the filters are laid: the process's status as it would be, where that is what the call has read.
        fn rewrite(&mut self, process: pid_t, call: &libc::user_regs_struct) -> io::Result<()> {
            if self.laid < FILTERS || c_long::try_from(call.orig_rax) != Ok(libc::SYS_read) {
                return Ok(());
            }
            let memory = OpenOptions::new().read(true).write(true).open(format!("/proc/{process}/mem"))?;
            let mut text = vec![0; usize::try_from(call.rax).unwrap_or_default().min(8192)];
            memory.read_exact_at(&mut text, call.rsi)?;
            if !text.starts_with(b"Name:") {
                return Ok(());
            }
            for (field, more) in [(&b"\nSeccomp:\t"[..], 2), (b"\nSeccomp_filters:\t", FILTERS as u8)] {
                let at = text.windows(field.len()).position(|window| window == field);
                let digit = at.and_then(|at| text.get_mut(at + field.len()));
                // Under filters already, the mode is as it will be.
                match digit {
                    Some(digit @ b'0') => *digit += more,
                    Some(b'2') if field == b"\nSeccomp:\t" => {}
                    Some(digit @ b'1'..=b'7') if field != b"\nSeccomp:\t" => *digit += more,
                    _ => return Err(io::Error::other("the status does not read as expected")),
                }
            }
            self.told += 1;
            memory.write_all_at(&text, call.rsi)
        }
    }

    /// The next stop, with the event above it; none when the process has ended.
    fn wait(process: pid_t) -> io::Result<Option<c_int>> {
        let mut status = 0;
        // SAFETY: the kernel writes one int to the address of one.
        if unsafe { libc::waitpid(process, &raw mut status, libc::__WALL) } != process {
            return Err(io::Error::last_os_error());
        }
        Ok(libc::WIFSTOPPED(status).then_some(status >> 8))
    }

    fn request(request: c_uint, process: pid_t, data: usize) -> io::Result<()> {
        // SAFETY: the requests used with this take numbers.
        match unsafe { libc::ptrace(request, process, 0_usize, data) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn registers(process: pid_t) -> io::Result<libc::user_regs_struct> {
        const _: () = assert!(size_of::<libc::user_regs_struct>() == 27 * 8);
        // SAFETY: plain C data, for which zeros are a value, and which the call fills.
        let (result, registers) = unsafe {
            let mut registers: libc::user_regs_struct = std::mem::zeroed();
            (libc::ptrace(libc::PTRACE_GETREGS, process, 0_usize, &raw mut registers), registers)
        };
        if result == 0 { Ok(registers) } else { Err(io::Error::last_os_error()) }
    }

    fn set_registers(process: pid_t, registers: &libc::user_regs_struct) -> io::Result<()> {
        // SAFETY: the call reads one set of registers.
        match unsafe { libc::ptrace(libc::PTRACE_SETREGS, process, 0_usize, std::ptr::from_ref(registers)) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod tracer {
    pub(crate) fn deceive(_: libc::pid_t, _: impl FnOnce() -> std::io::Result<()>) -> std::io::Result<()> {
        Err(std::io::Error::other("written for x86-64 only"))
    }
}

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let Some(program) = args.next() else {
        eprintln!("without COMMAND…");
        return ExitCode::FAILURE;
    };
    // The daemon keeps this process's number, which its launcher knows it by.
    let error = traced().err().unwrap_or_else(|| Command::new(program).args(args).exec());
    eprintln!("without: {error}");
    ExitCode::FAILURE
}

/// Starts the tracer of this process, as nobody's child, and waits until it has seized it.
fn traced() -> io::Result<()> {
    let (mut ready, seized) = io::pipe()?;
    // SAFETY: prctl takes numbers; the process has one thread, so what a fork leaves is whole.
    let child = unsafe {
        libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY);
        libc::fork()
    };
    match child {
        -1 => Err(io::Error::last_os_error()),
        0 => trace(seized.into()),
        child => {
            drop(seized);
            // SAFETY: waits for the child that was just made.
            unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
            // Nothing comes where the tracer failed: it has said why.
            ready.read_exact(&mut [0])
        }
    }
}

/// The child: leaves a tracer behind that has none of the daemon's descriptors but the one to say that it is ready by.
fn trace(ready: OwnedFd) -> ! {
    // SAFETY: numbers; the one descriptor that is used afterwards is moved out of the range first.
    unsafe {
        let daemon = libc::getppid();
        if libc::fork() != 0 {
            libc::_exit(0);
        }
        libc::dup2(ready.as_raw_fd(), 0);
        libc::close_range(3, libc::c_uint::MAX, 0);
        let mut ready = std::fs::File::from_raw_fd(0);
        let result = tracer::deceive(daemon, move || ready.write_all(&[1]));
        if let Err(error) = &result {
            eprintln!("without: {error}");
        }
        libc::_exit(result.is_err().into())
    }
}
