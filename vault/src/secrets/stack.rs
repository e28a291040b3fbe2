//! Stacks in the memory for secrets: what the compiler spills of a secret lies there, and is wiped after each call.
//!
//! A thread's own stack is mapped by the C library and is ordinary memory. So a worker answers a request on a stack of
//! ours: it enters by a change of the stack pointer and comes back the same way. Only the result crosses, which holds
//! secrets in places of their own or none.
#![allow(unsafe_code)]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use torus_memory::wipe;

/// A stack of one thread at a time. Below its end there must be a page that nobody may touch.
pub struct Stack(&'static mut [u8]);

/// What goes to the other stack, and what comes back.
struct Call<F, T> {
    work: Option<F>,
    done: Option<Result<T, Box<dyn Any + Send>>>,
}

impl Stack {
    /// How long a stack is: ten times what requests use with SoftHSM, for the token's module works on it, too.
    pub const LENGTH: usize = 256 << 10;

    /// Takes memory of [`Stack::LENGTH`] for a stack.
    pub(crate) const fn new(memory: &'static mut [u8]) -> Self {
        assert!(memory.len() >= Self::LENGTH);
        Self(memory)
    }

    /// Runs `work` there and wipes all of the stack, also if it panics; the panic goes on here.
    pub fn run<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let mut call = Call { work: Some(work), done: None };
        enter(self.0, &mut call);
        wipe(self.0);
        match call.done {
            Some(Ok(value)) => value,
            Some(Err(panic)) => resume_unwind(panic),
            None => unreachable!("what is entered is left only when it is done"),
        }
    }
}

fn enter<F: FnOnce() -> T, T>(stack: &mut [u8], call: &mut Call<F, T>) {
    let top = stack.as_mut_ptr_range().end;
    // The calling convention wants multiples of 16.
    let top = top.wrapping_sub(top as usize % 16);
    // SAFETY: `begin` gets a call that is borrowed until this returns. `top` is the aligned end of memory that is borrowed
    // for as long and is long enough for a stack.
    unsafe { switch(std::ptr::from_mut(call).cast(), begin::<F, T>, top) };
}

/// Calls `begin` with `call`, the stack pointer at `top` meanwhile. The frame pointer keeps the old one, and says so to
/// whoever walks the stack.
///
/// # Safety
/// `begin` may be called with `call` and does not unwind. `top` is a multiple of 16, and below it is memory that nobody
/// else uses.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn switch(call: *mut u8, begin: unsafe extern "C" fn(*mut u8), top: *mut u8) {
    std::arch::naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "mov rsp, rdx",
        "call rsi",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
    );
}

/// As above.
///
/// # Safety
/// As above.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
unsafe extern "C" fn switch(call: *mut u8, begin: unsafe extern "C" fn(*mut u8), top: *mut u8) {
    std::arch::naked_asm!(
        ".cfi_startproc",
        "stp x29, x30, [sp, #-16]!",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset w29, -16",
        ".cfi_offset w30, -8",
        "mov x29, sp",
        ".cfi_def_cfa w29, 16",
        "mov sp, x2",
        "blr x1",
        "mov sp, x29",
        "ldp x29, x30, [sp], #16",
        ".cfi_def_cfa wsp, 0",
        "ret",
        ".cfi_endproc",
    );
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the vault runs on x86_64 and aarch64");

/// # Safety
/// `call` is a `Call<F, T>` that nobody else looks at until this returns.
unsafe extern "C" fn begin<F: FnOnce() -> T, T>(call: *mut u8) {
    // SAFETY: as the caller promises.
    let call = unsafe { &mut *call.cast::<Call<F, T>>() };
    if let Some(work) = call.work.take() {
        call.done = Some(catch_unwind(AssertUnwindSafe(work)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::hint::black_box;
    use std::os::unix::fs::FileExt;

    const NEEDLE: u8 = 0xd7;

    fn stack() -> (Stack, std::ops::Range<u64>) {
        let memory: &'static mut [u8] = Box::leak(vec![0; Stack::LENGTH].into_boxed_slice());
        let range = memory.as_ptr_range();
        (Stack::new(memory), range.start as u64..range.end as u64)
    }

    /// Leaves a pattern deep in the stack and says where.
    #[inline(never)]
    fn deep() -> u64 {
        let room = [0u8; 64 << 10];
        black_box(&room);
        plant()
    }

    #[inline(never)]
    fn plant() -> u64 {
        let needle = [NEEDLE; 64];
        black_box(&needle).as_ptr() as u64
    }

    /// How many bytes of the pattern are there. The read is the system's.
    fn left(place: u64) -> usize {
        let mut found = [0; 64];
        File::open("/proc/self/mem").unwrap().read_exact_at(&mut found, place).unwrap();
        found.iter().filter(|byte| **byte == NEEDLE).count()
    }

    #[test]
    fn work_is_done_on_the_stack_and_what_it_left_there_is_wiped() {
        let (mut stack, range) = stack();
        let (place, there) = stack.run(|| {
            let place = deep();
            (place, left(place))
        });
        assert!(range.contains(&place));
        assert_eq!(there, 64, "the control finds nothing: this test would show nothing");
        assert_eq!(left(place), 0);
        // The compiler's own frames, too: nothing at all is left.
        assert!(stack.0.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_request_that_panics_is_wiped_too_and_panics_on() {
        let (mut stack, _) = stack();
        let mut place = 0;
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            stack.run(|| {
                place = deep();
                resume_unwind(Box::new(7u8));
            });
        }));
        assert_eq!(panicked.unwrap_err().downcast_ref::<u8>(), Some(&7));
        assert_eq!(left(place), 0);
        assert_eq!(stack.run(|| 5), 5, "it is as good as before");
    }

    #[test]
    fn arguments_results_and_locals_come_through_the_change_of_stacks() {
        let (mut stack, _) = stack();
        let text = String::from("borrowed");
        let (mut seen, numbers) = (Vec::new(), [1u64, 2, 3, 4, 5, 6, 7, 8]);
        for round in 0..100u64 {
            let sum = stack.run(|| {
                seen.push(text.len());
                let floats: f64 = numbers.iter().map(|n| *n as f64 * 0.5).sum();
                numbers.iter().sum::<u64>() + round + floats as u64
            });
            assert_eq!(sum, 36 + round + 18);
        }
        assert_eq!(seen, [8; 100]);
        // Whoever walks the stack finds the way to the caller, and no further stack of ours is needed for that.
        let walked = stack.run(|| std::backtrace::Backtrace::force_capture().to_string());
        assert!(walked.contains("come_through_the_change_of_stacks"), "{walked}");
        // Threads are started, wait and end there as anywhere.
        let value = stack.run(|| std::thread::spawn(|| 9).join().unwrap());
        assert_eq!(value, 9);
    }
}
