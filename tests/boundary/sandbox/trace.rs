//! Another process, held by ptrace: a call made in its place.
#![allow(unsafe_code)]

use std::os::unix::fs::FileExt;

use torus_policies::held::Held;

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
    held: Held,
    registers: libc::user_regs_struct,
}

impl Traced {
    /// Holds the main thread of a process where it waits in a call.
    pub(super) fn seize(pid: u32) -> Self {
        let held = Held::seize(pid).unwrap();
        let pid = libc::pid_t::try_from(pid).unwrap();
        Self { pid, held, registers: registers(pid) }
    }

    /// Makes a call in the place of the one that the process waits in.
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
        if !self.held.stopped().unwrap() {
            return Outcome::Ended;
        }
        let after = self::registers(self.pid);
        set_registers(self.pid, &self.registers);
        Outcome::Answered(after.rax.cast_signed())
    }
}

fn ptrace(request: libc::c_uint, pid: libc::pid_t, address: usize, data: usize) {
    // SAFETY: the requests used with this take numbers, or memory of the other process.
    let result = unsafe { libc::ptrace(request, pid, address, data) };
    assert!(result >= 0, "ptrace {request:#x}: {}", std::io::Error::last_os_error());
}

fn registers(pid: libc::pid_t) -> libc::user_regs_struct {
    // SAFETY: plain C data, for which zeros are a value, and which the call fills.
    unsafe {
        let mut registers: libc::user_regs_struct = std::mem::zeroed();
        assert_eq!(libc::ptrace(libc::PTRACE_GETREGS, pid, 0, &raw mut registers), 0);
        registers
    }
}

fn set_registers(pid: libc::pid_t, registers: &libc::user_regs_struct) {
    // SAFETY: the call reads one set of registers.
    assert_eq!(unsafe { libc::ptrace(libc::PTRACE_SETREGS, pid, 0, std::ptr::from_ref(registers)) }, 0);
}
