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
