//! Public mathematics of the sharing: points, commitment matrices, Lagrange, batch checks.
//!
//! Nothing here is secret and no secret has a type here; secret scalars and polynomials live in `torus-protocol`.
//! Everything may therefore run in variable time. The crate is `no_std` and refuses malformed points and sizes
//! when they are parsed, so that the rest never meets one.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod point;
mod sizes;

pub use point::{BadPoint, Point, scalar_from_bytes};
pub use sizes::{BadSizes, Index, Sizes};
