//! Public mathematics of the sharing: points, commitment matrices, Lagrange, batch checks.
//!
//! Nothing here is secret and no secret has a type here; secret scalars and polynomials live in `torus-protocol`.
//! Everything may therefore run in variable time. The crate is `no_std` and refuses malformed points and sizes
//! when they are parsed, so that the rest never meets one.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod budget;
mod generator;
mod handover;
mod interpolation;
mod keys;
mod lagrange;
mod matrix;
mod msm;
mod opening;
mod point;
mod proof;
mod qualified;
mod sizes;
#[cfg(test)]
mod tests;

pub use budget::Budget;
pub use generator::second_generator;
pub use handover::{BadHandOver, HandOverKeys, HandOverSet};
pub use interpolation::{Interpolation, interpolate_keys};
pub use keys::{BadKeys, KeysReader, PublishedKey, PublishedKeys};
pub use lagrange::{BadSet, IndexSet};
pub use matrix::{BadMatrix, Matrix, MatrixReader, MatrixWriter};
pub use msm::{Products, multi_exponentiate, normalise, small_multiple};
pub use opening::{CommitmentSum, OpeningError, ShareCommitments, ShareVector};
pub use point::{BadPoint, Point, scalar_from_bytes};
pub use proof::{BadProof, BatchProof, Claim};
pub use qualified::{BadQualified, QualifiedSet};
pub use sizes::{BadSizes, Index, Sizes};

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// The most keys that one batch may hold; every length in this crate is bounded by it before anything is allocated.
pub const MAX_KEYS: usize = 256;
