//! Places for secrets in a piece of memory of a fixed size. What is free is zeros; when nothing is, that is said.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use torus_memory::{Memory, Pool};

use super::extents::Extents;

/// Places begin at multiples of this.
const ALIGNMENT: usize = 64;

/// A piece of memory, and what of it is free. What is known about it lies elsewhere.
pub struct Arena {
    start: NonNull<u8>,
    length: usize,
    free: Mutex<Extents>,
}

impl Arena {
    /// Over memory that is all zeros, for as long as the process lives.
    pub fn over(memory: &'static mut [u8]) -> &'static Self {
        let unused = memory.as_ptr().align_offset(ALIGNMENT).min(memory.len());
        let (_, memory) = memory.split_at_mut(unused);
        let free = Mutex::new(Extents::new(memory.len()));
        Box::leak(Box::new(Self { start: NonNull::from(&mut *memory).cast(), length: memory.len(), free }))
    }

    /// Its pool.
    pub fn pool(&'static self) -> Pool {
        Pool::new(self)
    }
}

// SAFETY: the memory is this value's alone, and which part is whose is decided under the lock.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

// SAFETY: parts that are taken lie within the memory, which lives as long as the process, and overlap no other until they
// are given back. They begin at multiples of the alignment, because the memory does and every size is one. They are zeros,
// because all of the memory was and what is given back is.
unsafe impl Memory for Arena {
    fn take(&self, layout: Layout) -> Option<NonNull<u8>> {
        if layout.align() > ALIGNMENT {
            return None;
        }
        let length = layout.size().checked_next_multiple_of(ALIGNMENT)?;
        let at = self.free.lock().unwrap_or_else(PoisonError::into_inner).take(length)?;
        // SAFETY: the part was free, so it lies within the memory.
        Some(unsafe { self.start.add(at) })
    }

    unsafe fn give_back(&self, place: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller was given the place by `take`, so it is not before the memory's beginning.
        let at = unsafe { place.offset_from_unsigned(self.start) };
        let length = layout.size().next_multiple_of(ALIGNMENT);
        self.free.lock().unwrap_or_else(PoisonError::into_inner).give_back(at, length);
    }

    fn capacity(&self) -> usize {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use torus_memory::{Exhausted, Secret, Secrets};

    fn arena(length: usize) -> (Pool, std::ops::Range<*const u8>) {
        let memory: &'static mut [u8] = Box::leak(vec![0; length].into_boxed_slice());
        let range = memory.as_ptr_range();
        (Arena::over(memory).pool(), range)
    }

    #[test]
    fn secrets_lie_inside_and_a_place_that_is_left_is_zeros_for_the_next() {
        let (pool, range) = arena(1 << 16);
        for round in 0..3 {
            let mut secrets = Secrets::filled(pool, 1000, 0u32).unwrap();
            assert!(secrets.as_slice().iter().all(|word| *word == 0), "round {round}");
            assert!(range.contains(&secrets.as_slice().as_ptr().cast()));
            assert!((secrets.as_slice().as_ptr() as usize).is_multiple_of(ALIGNMENT));
            secrets.as_mut_slice().fill(0xd7d7_d7d7);
        }
    }

    #[test]
    fn an_arena_that_is_full_refuses_and_goes_on_when_something_is_given_back() {
        let (pool, _) = arena(64 * 33);
        let mut held: Vec<_> = std::iter::from_fn(|| Secret::<64>::zeros(pool).ok()).collect();
        assert!((32..=33).contains(&held.len()), "{}", held.len());
        assert!(matches!(Secret::<32>::zeros(pool), Err(Exhausted)));
        held.truncate(30);
        assert!(Secret::<128>::zeros(pool).is_ok() && Secret::<256>::zeros(pool).is_err());
        drop(held);
        assert!(Secrets::filled(pool, 64 * 32, 0u8).is_ok(), "what came back is whole again");
    }
}
