//! A run of values in a pool's memory: the one place where its bytes become values.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::mem::needs_drop;
use core::ptr::NonNull;

use crate::pool::{Exhausted, Pool};
use crate::wipe::wipe;

/// Places begin at multiples of this and take multiples of it.
const LINE: usize = 64;

/// So many values, wiped and given back when dropped.
pub(crate) struct Block<T> {
    /// Dangling if there are no bytes.
    place: NonNull<T>,
    count: usize,
    pool: Pool,
}

impl<T> Block<T> {
    /// Values as `make` gives them. They need nothing done when they are dropped: they are only wiped.
    pub(crate) fn new(pool: Pool, count: usize, mut make: impl FnMut() -> T) -> Result<Self, Exhausted> {
        const { assert!(!needs_drop::<T>() && align_of::<T>() <= LINE) };
        let layout = layout::<T>(count)?;
        if layout.size() == 0 {
            return Ok(Self { place: NonNull::dangling(), count, pool });
        }
        let place = pool.0.take(layout).ok_or(Exhausted)?.cast::<T>();
        for at in 0..count {
            // SAFETY: the layout has room for `count` values at an alignment of theirs, and nobody else uses it. If
            // `make` panics the room is lost, and nothing reads it.
            unsafe { place.add(at).write(make()) };
        }
        Ok(Self { place, count, pool })
    }

    pub(crate) const fn none(pool: Pool) -> Self {
        Self { place: NonNull::dangling(), count: 0, pool }
    }

    pub(crate) const fn values(&self) -> &[T] {
        // SAFETY: `new` has written `count` values there, which nobody moves; or the pointer dangles and there are no
        // bytes to read.
        unsafe { core::slice::from_raw_parts(self.place.as_ptr(), self.count) }
    }

    pub(crate) const fn values_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and this value is borrowed by nobody else.
        unsafe { core::slice::from_raw_parts_mut(self.place.as_ptr(), self.count) }
    }
}

impl<T> Drop for Block<T> {
    fn drop(&mut self) {
        let Ok(layout) = layout::<T>(self.count) else { return };
        if layout.size() == 0 {
            return;
        }
        let place = self.place.cast::<u8>();
        // SAFETY: all of the layout was taken in `new`; bytes are not read, only written. The values need no drop.
        wipe(unsafe { core::slice::from_raw_parts_mut(place.as_ptr(), layout.size()) });
        // SAFETY: taken in `new` with this layout, wiped, and nobody borrows what is dropped.
        unsafe { self.pool.0.give_back(place, layout) };
    }
}

// SAFETY: a block owns its values as a box does, and a pool may be used by every thread.
unsafe impl<T: Send> Send for Block<T> {}
// SAFETY: as above; shared, it lends its values only to be read.
unsafe impl<T: Sync> Sync for Block<T> {}

/// Whole lines.
fn layout<T>(count: usize) -> Result<Layout, Exhausted> {
    let size = size_of::<T>().checked_mul(count).and_then(|size| size.checked_next_multiple_of(LINE));
    Layout::from_size_align(size.ok_or(Exhausted)?, LINE).map_err(|_| Exhausted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Heap;
    use alloc::vec::Vec;
    use core::sync::atomic::{AtomicUsize, Ordering};

    use crate::pool::Memory;

    /// The heap, which looks at what it gets back.
    struct Watched {
        heap: Heap,
        dirty: AtomicUsize,
    }

    // SAFETY: what it gives is the heap's.
    unsafe impl Memory for Watched {
        fn take(&self, layout: Layout) -> Option<NonNull<u8>> {
            self.heap.take(layout)
        }

        unsafe fn give_back(&self, place: NonNull<u8>, layout: Layout) {
            // SAFETY: the caller gives all of it back, and its bytes are written.
            let bytes = unsafe { core::slice::from_raw_parts(place.as_ptr(), layout.size()) };
            self.dirty.fetch_add(bytes.iter().filter(|byte| **byte != 0).count(), Ordering::Relaxed);
            // SAFETY: as the caller promises.
            unsafe { self.heap.give_back(place, layout) };
        }

        fn capacity(&self) -> usize {
            self.heap.capacity()
        }
    }

    #[test]
    fn what_is_given_back_is_zeros() {
        static MEMORY: Watched = Watched { heap: Heap::part(1 << 20), dirty: AtomicUsize::new(0) };
        let pool = Pool::new(&MEMORY);
        let blocks: Vec<_> = (0..40).map(|count| Block::new(pool, count, || 0xa5a5_a5a5_u32).unwrap()).collect();
        assert!(blocks.iter().zip(0..).all(|(block, count)| block.values().len() == count));
        drop(blocks);
        let mut bytes = Block::new(pool, 100, || 7u8).unwrap();
        bytes.values_mut().fill(9);
        drop(bytes);
        assert_eq!(MEMORY.dirty.load(Ordering::Relaxed), 0);
        assert!(MEMORY.heap.peak() > 40 * 40 * 4 / 2 && MEMORY.heap.peak().is_multiple_of(LINE));
    }

    #[test]
    fn memory_that_is_used_up_is_an_error_and_nothing_else() {
        static MEMORY: Heap = Heap::part(128);
        let pool = Pool::new(&MEMORY);
        let first = Block::new(pool, 65, || 1u8).unwrap();
        assert!(matches!(Block::new(pool, 1, || 1u8), Err(Exhausted)));
        assert!(matches!(Block::new(pool, usize::MAX, || 1u64), Err(Exhausted)));
        assert!(Block::new(pool, 0, || 1u8).is_ok(), "nothing needs no room");
        drop(first);
        assert!(Block::new(pool, 128, || 1u8).is_ok());
    }
}
