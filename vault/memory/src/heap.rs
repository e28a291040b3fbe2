//! The ordinary heap, or a part of it.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::pool::{Memory, Pool};

/// So much of the ordinary heap: for a device whose whole memory is its own, and for tests. The vault keeps no secret here.
pub struct Heap {
    most: usize,
    taken: AtomicUsize,
    peak: AtomicUsize,
}

static ALL: Heap = Heap::part(usize::MAX);

impl Heap {
    /// The pool of all of it.
    pub const fn pool() -> Pool {
        Pool::new(&ALL)
    }

    /// At most so many bytes.
    pub const fn part(most: usize) -> Self {
        Self { most, taken: AtomicUsize::new(0), peak: AtomicUsize::new(0) }
    }

    /// The most bytes that were taken at a time.
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }
}

// SAFETY: the global allocator gives what the trait promises, zeroed by `alloc_zeroed`.
unsafe impl Memory for Heap {
    fn take(&self, layout: Layout) -> Option<NonNull<u8>> {
        let taken = self.taken.fetch_add(layout.size(), Ordering::Relaxed).saturating_add(layout.size());
        let place = if taken <= self.most {
            self.peak.fetch_max(taken, Ordering::Relaxed);
            // SAFETY: the layout's size is not zero, as the trait says.
            NonNull::new(unsafe { alloc::alloc::alloc_zeroed(layout) })
        } else {
            None
        };
        if place.is_none() {
            self.taken.fetch_sub(layout.size(), Ordering::Relaxed);
        }
        place
    }

    unsafe fn give_back(&self, place: NonNull<u8>, layout: Layout) {
        self.taken.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller took it here with this layout.
        unsafe { alloc::alloc::dealloc(place.as_ptr(), layout) };
    }

    fn capacity(&self) -> usize {
        self.most
    }
}
