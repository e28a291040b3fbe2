//! What places are taken of.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;

/// Memory that secrets may lie in, for as long as the process lives.
///
/// # Safety
/// What `take` gives is valid for reads and writes of the layout's size, aligned as it says, all zeros, and nobody else's
/// until it is given back.
pub unsafe trait Memory: Sync {
    /// Room of the layout, whose size is not zero; `None` if there is none.
    fn take(&self, layout: Layout) -> Option<NonNull<u8>>;

    /// Takes room back.
    ///
    /// # Safety
    /// `place` came from `take` of this memory with this layout, was not given back since, is all zeros again, and nobody
    /// uses it any more.
    unsafe fn give_back(&self, place: NonNull<u8>, layout: Layout);

    /// How many bytes there are in all, taken or not.
    fn capacity(&self) -> usize;
}

/// A handle on memory for secrets; copies are the same memory.
#[derive(Clone, Copy)]
pub struct Pool(pub(crate) &'static dyn Memory);

/// The memory for secrets is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the memory for secrets is used up")]
pub struct Exhausted;

impl Pool {
    /// The pool of a memory.
    pub const fn new(memory: &'static dyn Memory) -> Self {
        Self(memory)
    }

    /// How many bytes there are in all, taken or not.
    pub fn capacity(self) -> usize {
        self.0.capacity()
    }
}
