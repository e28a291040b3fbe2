//! One call per request whose stack is wiped afterwards: secrets that the compiler spilled do not outlive it.

use std::hint::black_box;

use zeroize::Zeroize;

/// Deeper than any request goes with secrets in hand; the worker's stack is several times larger.
const DEPTH: usize = 192 << 10;

/// Bytes of stack that a thread needs which calls [`clean`].
pub const STACK: usize = 4 << 20;

/// Runs `work` and wipes the stack below this call, also if it panics.
pub fn clean<T>(work: impl FnOnce() -> T) -> T {
    struct Wipe;
    impl Drop for Wipe {
        fn drop(&mut self) {
            wipe();
        }
    }
    let _wipe = Wipe;
    apart(work)
}

// Never inlined: its frame, and those below it, are where `wipe` puts its zeros.
#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

#[inline(never)]
fn wipe() {
    let mut zeros = [0u8; DEPTH];
    black_box(&mut zeros);
    // Volatile writes: not left out although nobody reads them.
    zeros.zeroize();
    black_box(&mut zeros);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    const NEEDLE: u8 = 0xd7;

    /// Leaves a pattern deep in the stack and says where.
    #[inline(never)]
    fn plant() -> u64 {
        let needle = [NEEDLE; 64];
        black_box(&needle).as_ptr() as u64
    }

    /// How many bytes of the pattern are still there. The read is the system's: it disturbs no deep frame.
    fn left(memory: &File, place: u64, found: &mut [u8; 64]) -> usize {
        memory.read_exact_at(found, place).unwrap();
        found.iter().filter(|byte| **byte == NEEDLE).count()
    }

    // A frame as deep as a request's, so that what is measured lies below the measuring.
    #[inline(never)]
    fn deep() -> u64 {
        let room = [0u8; 64 << 10];
        black_box(&room);
        plant()
    }

    #[test]
    fn what_a_request_left_on_its_stack_is_wiped() {
        let memory = File::open("/proc/self/mem").unwrap();
        let mut found = [0; 64];
        let place = apart(deep);
        assert_eq!(left(&memory, place, &mut found), 64, "the control finds nothing: this test would show nothing");
        let place = clean(deep);
        assert_eq!(left(&memory, place, &mut found), 0);
    }

    #[test]
    fn a_request_that_panics_is_wiped_too() {
        let memory = File::open("/proc/self/mem").unwrap();
        let (mut found, mut place) = ([0; 64], 0);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            clean(|| {
                place = deep();
                std::panic::resume_unwind(Box::new(()));
            });
        }));
        assert!(panicked.is_err() && place != 0);
        assert_eq!(left(&memory, place, &mut found), 0);
    }
}
