//! Counts the memory that a thread holds, so that a decoder which reserves what a length claims is found even where the
//! system gives memory that is never touched for nothing.
#![allow(unsafe_code, reason = "an allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Meter;

#[global_allocator]
static METER: Meter = Meter;

thread_local! {
    // Constant and without a destructor: using them allocates nothing.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// The result of `body`, which may hold at most so many bytes more than were held before it.
pub(crate) fn bounded<T>(limit: usize, body: impl FnOnce() -> T) -> T {
    let before = HELD.get();
    PEAK.set(before);
    let result = body();
    let held = PEAK.get().saturating_sub(before);
    assert!(held <= isize::try_from(limit).unwrap_or(isize::MAX), "{held} bytes of memory, {limit} are allowed");
    result
}

fn count(change: isize) {
    // A thread that ends has no counter any more, and nothing to bound.
    let _ = HELD.try_with(|held| {
        held.set(held.get().saturating_add(change));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every call goes to the system's allocator as it came; counting touches no memory but its own two cells.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `dealloc`, and the block came from the system's allocator.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old block is held until the new one is there.
        count(size as isize);
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `realloc`, and the block came from the system's allocator.
        unsafe { System.realloc(place, layout, size) }
    }
}
