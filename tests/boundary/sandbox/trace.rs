//! Another process, held by ptrace: its filters read out, a call made in its place.
#![allow(unsafe_code)]

use std::os::unix::fs::FileExt;

use torus_policies::Instruction;

const PTRACE_SECCOMP_GET_FILTER: libc::c_uint = 0x420c;

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Its result; an error negative.
    Answered(i64),
    /// The process has ended.
    Ended,
}

/// A process that this thread holds; it goes on when this value ends.
pub(super) struct Traced {
    pid: libc::pid_t,
    #[cfg(target_arch = "x86_64")]
    registers: libc::user_regs_struct,
}

impl Traced {
    /// Holds the main thread of a process where it waits in a call.
    pub(super) fn seize(pid: u32) -> Self {
        let pid = libc::pid_t::try_from(pid).unwrap();
        ptrace(libc::PTRACE_SEIZE, pid, 0, 0);
        ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0);
        assert!(stopped(pid), "{pid} has ended");
        Self {
            pid,
            #[cfg(target_arch = "x86_64")]
            registers: registers(pid),
        }
    }

    /// The filter of this position, oldest first; empty if there is none.
    pub(super) fn filter(&self, position: usize) -> Vec<Instruction> {
        let read = |place: u64| {
            // SAFETY: with a place, the caller gives room for as many instructions as the kernel announced before.
            unsafe { libc::ptrace(PTRACE_SECCOMP_GET_FILTER, self.pid, position, place) }
        };
        let Ok(length) = usize::try_from(read(0)) else { return Vec::new() };
        let mut filter = vec![Instruction { code: 0, jt: 0, jf: 0, k: 0 }; length];
        assert_eq!(usize::try_from(read(filter.as_mut_ptr() as u64)), Ok(length));
        filter
    }

    /// Makes a call in the place of the one that the process waits in.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn inject(&mut self, call: &(&str, libc::c_long, [Option<u64>; 4]), text: &str) -> Outcome {
        let mut registers = self.registers;
        // Below what the waiting function may use without moving the stack pointer.
        let place = (registers.rsp - 4096) & !4095;
        let memory = std::fs::OpenOptions::new().write(true).open(format!("/proc/{}/mem", self.pid)).unwrap();
        memory.write_all_at(format!("{text}\0").as_bytes(), place).unwrap();
        // The process stands behind its `syscall` instruction, two bytes long.
        registers.rip -= 2;
        registers.rax = u64::try_from(call.1).unwrap();
        registers.orig_rax = u64::MAX;
        let [a, b, c, d] = call.2.map(|argument| argument.unwrap_or(place));
        (registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9) =
            (a, b, c, d, u64::MAX, 0);
        set_registers(self.pid, &registers);
        ptrace(libc::PTRACE_SINGLESTEP, self.pid, 0, 0);
        if !stopped(self.pid) {
            return Outcome::Ended;
        }
        let after = self::registers(self.pid);
        set_registers(self.pid, &self.registers);
        Outcome::Answered(after.rax.cast_signed())
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // Fails if the process has ended, which is as well.
        // SAFETY: no memory is passed.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.pid, 0, 0) };
    }
}

fn ptrace(request: libc::c_uint, pid: libc::pid_t, address: usize, data: usize) {
    // SAFETY: the requests used with this take numbers, or memory of the other process.
    let result = unsafe { libc::ptrace(request, pid, address, data) };
    assert!(result >= 0, "ptrace {request:#x}: {}", std::io::Error::last_os_error());
}

/// Waits for the process to stop (true) or end (false). An end stays to be waited for by whoever started it.
fn stopped(pid: libc::pid_t) -> bool {
    let id = libc::id_t::try_from(pid).unwrap();
    let wait = |flags| {
        // SAFETY: plain C data, for which zeros are a value, and which the call fills.
        let (result, info) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            (libc::waitid(libc::P_PID, id, &mut info, flags | libc::__WALL), info)
        };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
        info.si_code
    };
    let peeked = wait(libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT);
    if [libc::CLD_EXITED, libc::CLD_KILLED, libc::CLD_DUMPED].contains(&peeked) {
        return false;
    }
    wait(libc::WSTOPPED);
    true
}

#[cfg(target_arch = "x86_64")]
fn registers(pid: libc::pid_t) -> libc::user_regs_struct {
    // SAFETY: plain C data, for which zeros are a value, and which the call fills.
    unsafe {
        let mut registers: libc::user_regs_struct = std::mem::zeroed();
        assert_eq!(libc::ptrace(libc::PTRACE_GETREGS, pid, 0, &raw mut registers), 0);
        registers
    }
}

#[cfg(target_arch = "x86_64")]
fn set_registers(pid: libc::pid_t, registers: &libc::user_regs_struct) {
    // SAFETY: the call reads one set of registers.
    assert_eq!(unsafe { libc::ptrace(libc::PTRACE_SETREGS, pid, 0, std::ptr::from_ref(registers)) }, 0);
}
