//! One random combination of many equations on the committed points, checked in pieces.
//!
//! The left side is of secret scalars on the two generators, in constant time; the right side of public points by
//! scalars that tell nothing, in variable time.

use k256::{ProjectivePoint, Scalar};
use rand_core::CryptoRngCore;
use torus_memory::{Exhausted, Pool, apart};
use torus_sharing::{Budget, Matrix, Products};

use crate::secret::SecretScalars;
use crate::table::Generators;

/// A fresh private 128-bit coefficient.
pub(crate) fn coefficient(rng: &mut dyn CryptoRngCore) -> Scalar {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    Scalar::from(u128::from_be_bytes(bytes))
}

/// What the equations say on G and on H.
pub(crate) struct Left(SecretScalars);

impl Left {
    pub(crate) fn zero(pool: Pool) -> Result<Self, Exhausted> {
        SecretScalars::zeros(pool, 2).map(Self)
    }

    /// Adds a weighted value of a polynomial, or of its blinding one.
    pub(crate) fn add(&mut self, blinding: bool, value: Scalar) {
        if let Some(sum) = self.0.as_mut_slice().get_mut(usize::from(blinding)) {
            *sum += value;
        }
    }
}

/// The combination, whose right side is still to be summed.
pub(crate) struct Combination {
    left: ProjectivePoint,
    right: Products,
}

impl Combination {
    /// `scalars` in the order of the matrix's points.
    pub(crate) fn new(generators: &Generators, left: Left, scalars: &[Scalar]) -> Self {
        let left = match left.0.as_slice() {
            [value, blind] => apart(|| generators.pedersen(value, blind)),
            _ => ProjectivePoint::IDENTITY,
        };
        Self { left, right: Products::new(scalars) }
    }

    /// Adds until the budget is spent; whether the sides are equal once the sum is complete.
    pub(crate) fn advance(&mut self, matrix: &Matrix, budget: &mut Budget) -> Option<bool> {
        self.right.advance(matrix.points(), budget).map(|right| right == self.left)
    }
}
