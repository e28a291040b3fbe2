//! Places for secrets: filled where they lie, wiped when they are left, impossible to print, clone, compare or serialise.
//!
//! A place is taken of a [`Pool`], which whoever holds secrets is given by its caller: the vault's is locked memory of a
//! fixed size, a device's its own memory. A pool that has no room left says so ([`Exhausted`]); nothing here falls back to
//! other memory, and nothing grows or moves.
//!
//! The caller guarantees: that a secret is computed into its place and not brought there by value (the stack on which that
//! is done is the caller's to wipe, and [`apart`] wipes what lies about on it meanwhile), and that no copy is made of what is lent.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;

mod apart;
mod block;
mod heap;
mod pool;
mod secret;
mod wipe;

pub use apart::apart;
pub use heap::Heap;
pub use pool::{Exhausted, Memory, Pool};
pub use secret::{Kept, Secret, Secrets};
pub use wipe::wipe;
