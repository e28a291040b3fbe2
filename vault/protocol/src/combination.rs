//! One random combination of many equations on the committed points, checked in pieces.
//!
//! The left side is of secret scalars on the two generators, in constant time; the right side of public points by
//! scalars that tell nothing, in variable time.

use k256::{ProjectivePoint, Scalar};
use rand_core::CryptoRngCore;
use torus_memory::{Exhausted, apart};
use torus_sharing::{Budget, Matrix, Products};

use crate::run::Run;
use crate::secret::SecretScalars;
use crate::table::Generators;

/// A fresh private 128-bit coefficient.
pub(crate) fn coefficient(rng: &mut dyn CryptoRngCore) -> Scalar {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    Scalar::from(u128::from_be_bytes(bytes))
}

/// What the equations say on G and, where something blinds, on H.
pub(crate) struct Left(SecretScalars);

impl Left {
    pub(crate) fn zero(run: &Run) -> Result<Self, Exhausted> {
        SecretScalars::zeros(run.pool(), run.width()).map(Self)
    }

    /// Adds a weighted value of a polynomial (0), or of its blinding one (1).
    pub(crate) fn add(&mut self, polynomial: usize, value: Scalar) {
        if let Some(sum) = self.0.as_mut_slice().get_mut(polynomial) {
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
            [value] => apart(|| generators.mul_g(value)),
            _ => ProjectivePoint::IDENTITY,
        };
        Self { left, right: Products::new(scalars) }
    }

    /// Adds until the budget is spent; whether the sides are equal once the sum is complete.
    pub(crate) fn advance(&mut self, matrix: &Matrix, budget: &mut Budget) -> Option<bool> {
        self.right.advance(matrix.points(), budget).map(|right| right == self.left)
    }
}
