//! Owners of places. They lend what they hold through methods only: a type that dereferences would lend its content's own
//! `clone`, `==` and `{:?}`.
//!
//! ```
//! fn key(secret: &torus_memory::Secret<32>) -> &[u8; 32] { secret.as_bytes() }
//! fn words(secrets: &torus_memory::Secrets<u64>) -> &[u64] { secrets.as_slice() }
//! ```
//! ```compile_fail,E0277
//! fn print(secret: &torus_memory::Secret<32>) -> String { format!("{secret:?}") }
//! ```
//! ```compile_fail,E0599
//! fn copy(secret: &torus_memory::Secret<32>) -> torus_memory::Secret<32> { torus_memory::Secret::clone(secret) }
//! ```
//! ```compile_fail,E0369
//! fn same(a: &torus_memory::Secret<32>, b: &torus_memory::Secret<32>) -> bool { a == b }
//! ```
//! ```compile_fail,E0614
//! fn bytes(secret: &torus_memory::Secret<32>) -> [u8; 32] { **secret }
//! ```
//! ```compile_fail,E0277
//! fn print(secrets: &torus_memory::Secrets<u64>) -> String { format!("{secrets:?}") }
//! ```
//! ```compile_fail,E0599
//! use torus_memory::Secrets;
//! fn copy(secrets: &Secrets<u64>) -> Secrets<u64> { Secrets::clone(secrets) }
//! ```
//! ```compile_fail,E0369
//! fn same(a: &torus_memory::Secrets<u64>, b: &torus_memory::Secrets<u64>) -> bool { a == b }
//! ```
//! ```compile_fail,E0277
//! fn print(kept: &torus_memory::Kept<u64>) -> String { format!("{kept:?}") }
//! ```
//! ```compile_fail,E0599
//! fn copy(kept: &torus_memory::Kept<u64>) -> torus_memory::Kept<u64> { torus_memory::Kept::clone(kept) }
//! ```

use crate::block::Block;
use crate::pool::{Exhausted, Pool};

/// So many secret bytes.
pub struct Secret<const N: usize>(Kept<[u8; N]>);

impl<const N: usize> Secret<N> {
    /// Zeros, to be filled in place.
    ///
    /// # Errors
    /// The pool has no room.
    pub fn zeros(pool: Pool) -> Result<Self, Exhausted> {
        Kept::new(pool, || [0; N]).map(Self)
    }

    /// To read.
    pub const fn as_bytes(&self) -> &[u8; N] {
        self.0.get()
    }

    /// To fill in place.
    pub const fn as_mut_bytes(&mut self) -> &mut [u8; N] {
        self.0.get_mut()
    }
}

/// A run of secret values, of a length fixed when it is taken.
pub struct Secrets<T>(Block<T>);

impl<T: Copy> Secrets<T> {
    /// So many times the same, to be filled in place.
    ///
    /// # Errors
    /// The pool has no room.
    pub fn filled(pool: Pool, count: usize, value: T) -> Result<Self, Exhausted> {
        Block::new(pool, count, || value).map(Self)
    }

    /// None at all, for which no room is needed.
    pub const fn none(pool: Pool) -> Self {
        Self(Block::none(pool))
    }

    /// To read.
    pub const fn as_slice(&self) -> &[T] {
        self.0.values()
    }

    /// To fill in place.
    pub const fn as_mut_slice(&mut self) -> &mut [T] {
        self.0.values_mut()
    }
}

/// One value with secrets in it, as a generator's state.
pub struct Kept<T>(Block<T>);

impl<T> Kept<T> {
    /// The value that `make` gives. It is made on the stack, which is the caller's to wipe.
    ///
    /// # Errors
    /// The pool has no room.
    pub fn new(pool: Pool, make: impl FnMut() -> T) -> Result<Self, Exhausted> {
        Block::new(pool, 1, make).map(Self)
    }

    /// To read.
    pub const fn get(&self) -> &T {
        match self.0.values() {
            [value] => value,
            _ => unreachable!(),
        }
    }

    /// To change in place.
    pub const fn get_mut(&mut self) -> &mut T {
        match self.0.values_mut() {
            [value] => value,
            _ => unreachable!(),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::Heap;
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_dropped_secret_leaves_nothing_of_itself() {
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        let mut secret = Secret::<4096>::zeros(Heap::pool()).unwrap();
        secret.as_mut_bytes().fill(0xd7);
        let place = secret.as_bytes().as_ptr() as u64;
        let mut found = [0; 4096];
        let mut left = || {
            // Memory that was given back to the system holds nothing.
            found.fill(0);
            let _ = memory.read_exact_at(&mut found, place);
            found.iter().filter(|byte| **byte == 0xd7).count()
        };
        assert_eq!(left(), 4096, "the control finds nothing: this test would show nothing");
        drop(secret);
        assert_eq!(left(), 0);
    }

    #[test]
    fn a_kept_value_is_the_one_that_was_made_and_changes_in_place() {
        let mut kept = Kept::new(Heap::pool(), || 7u32).unwrap();
        *kept.get_mut() += 1;
        assert_eq!(*kept.get(), 8);
        assert!(Secrets::filled(Heap::pool(), 0, 1u8).unwrap().as_slice().is_empty());
    }
}
