//! Work whose traces on the stack do not outlive it.
//!
//! Whoever wipes a whole stack when a request is done still has what was spilled there lie about meanwhile, and it gets
//! around: a value that is moved takes the bytes between its fields along, and the unused ones of an enum's smaller
//! variants, and they hold whatever lay on the stack where it was made. So a value without any secret can carry one to the
//! heap.

use core::hint::black_box;

use crate::wipe::wipe;

/// Deeper than arithmetic or a cipher goes.
const DEPTH: usize = 16 << 10;

/// Does `work` in a frame of its own and wipes the stack below this call afterwards. What is returned holds no secret but
/// in a place of its own. A panic wipes nothing here: whoever catches it wipes the whole stack.
pub fn apart<T>(work: impl FnOnce() -> T) -> T {
    let done = framed(work);
    wipe_below();
    done
}

// Never inlined: its frame, and those below it, are where `wipe_below` puts its zeros.
#[inline(never)]
fn framed<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

#[inline(never)]
fn wipe_below() {
    let mut zeros = [0u8; DEPTH];
    wipe(black_box(&mut zeros));
    black_box(&mut zeros);
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    const NEEDLE: u8 = 0xd7;

    /// Leaves a pattern some frames down and says where.
    #[inline(never)]
    fn deep() -> u64 {
        let room = [0u8; 4 << 10];
        black_box(&room);
        plant()
    }

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

    #[test]
    fn what_work_left_on_the_stack_is_wiped_when_it_is_done() {
        let memory = File::open("/proc/self/mem").unwrap();
        let mut found = [0; 64];
        let place = framed(deep);
        assert_eq!(left(&memory, place, &mut found), 64, "the control finds nothing: this test would show nothing");
        let place = apart(deep);
        assert_eq!(left(&memory, place, &mut found), 0);
    }
}
