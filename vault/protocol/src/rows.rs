//! One member's rows and columns of one dealing, and the points that it owes and expects.

use alloc::vec::Vec;

use k256::Scalar;
use rand_core::CryptoRngCore;
use torus_memory::{Exhausted, apart};
use torus_sharing::{Index, IndexSet};
use zeroize::Zeroize;

use crate::combination::{Combination, Left, coefficient};
use crate::polynomial::evaluate;
use crate::run::Run;
use crate::secret::{SecretBytes, SecretScalars, read_scalar, write_scalar};
use crate::table::Generators;

const SCALAR: usize = 32;

/// For each key a, a', b, b' with k coefficients each: a(y) = f(i, y), b(x) = f(x, i); without blinding a and b.
pub(crate) struct Rows {
    k: usize,
    width: usize,
    scalars: SecretScalars,
}

impl Rows {
    pub(crate) fn byte_length(run: &Run) -> usize {
        run.keys() * 2 * run.width() * run.sizes().k() * SCALAR
    }

    pub(crate) fn zeros(run: &Run) -> Result<Self, Exhausted> {
        let (k, width) = (run.sizes().k(), run.width());
        Ok(Self { k, width, scalars: SecretScalars::zeros(run.pool(), run.keys() * 2 * width * k)? })
    }

    /// Exactly 4k (or 2k) canonical scalars a key: other degrees have other lengths.
    pub(crate) fn parse(run: &Run, bytes: &[u8]) -> Result<Option<Self>, Exhausted> {
        if bytes.len() != Self::byte_length(run) {
            return Ok(None);
        }
        let mut rows = Self::zeros(run)?;
        let whole = apart(|| {
            let mut places = rows.scalars.as_mut_slice().iter_mut().zip(bytes.chunks_exact(SCALAR));
            places.all(|(scalar, chunk)| {
                read_scalar(chunk).is_some_and(|read| {
                    *scalar = read;
                    true
                })
            })
        });
        Ok(whole.then_some(rows))
    }

    /// The bytes that `parse` takes, into place.
    pub(crate) fn write(&self, out: &mut [u8]) {
        apart(|| {
            for (scalar, chunk) in self.scalars.as_slice().iter().zip(out.chunks_exact_mut(SCALAR)) {
                write_scalar(scalar, chunk);
            }
        });
    }

    pub(crate) fn by_key_mut(&mut self) -> impl Iterator<Item = &mut [Scalar]> {
        let length = 2 * self.width * self.k;
        self.scalars.as_mut_slice().chunks_exact_mut(length)
    }

    fn by_key(&self) -> impl Iterator<Item = &[Scalar]> {
        self.scalars.as_slice().chunks_exact(2 * self.width * self.k)
    }

    /// a(0) of each key: this member's part of the share.
    pub(crate) fn shares(&self) -> impl Iterator<Item = &Scalar> {
        self.by_key().filter_map(<[Scalar]>::first)
    }

    /// a'(0) of each key; nothing where nothing is blinded.
    pub(crate) fn blinds(&self) -> impl Iterator<Item = &Scalar> {
        let blinded = self.width == 2;
        self.by_key().filter_map(move |key| key.get(self.k).filter(|_| blinded))
    }

    /// Cachin's verify-poly for the whole batch as one random combination: every equation has its own fresh 128-bit
    /// coefficient. A wrong row passes with probability 2^-128.
    pub(crate) fn combine(
        &self,
        run: &Run,
        generators: &Generators,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Combination, Exhausted> {
        let k = self.k;
        let powers = powers(run.me(), k);
        let mut left = Left::zero(run)?;
        let mut scalars = Vec::with_capacity(run.keys() * k * k);
        let mut coefficients = Vec::with_capacity(2 * k);
        apart(|| {
            for key in self.by_key() {
                coefficients.clear();
                coefficients.extend((0..2 * k).map(|_| coefficient(rng)));
                let (of_rows, of_columns) = coefficients.split_at_checked(k).unwrap_or_default();
                // The rows come first, each with its blinding, then the columns.
                for (part, values) in key.chunks_exact(k).enumerate() {
                    let weights = if part < self.width { of_rows } else { of_columns };
                    for (weight, value) in weights.iter().zip(values) {
                        left.add(part % self.width, *weight * value);
                    }
                }
                for (power_j, of_column) in powers.iter().zip(of_columns) {
                    for (power_l, of_row) in powers.iter().zip(of_rows) {
                        scalars.push(*of_row * power_j + *of_column * power_l);
                    }
                }
            }
        });
        Ok(Combination::new(generators, left, &scalars))
    }

    /// What this member owes another: alpha = a(m), alpha', beta = b(m), beta' of each key; without blinding alpha, beta.
    pub(crate) fn points_for(&self, run: &Run, member: Index) -> Result<SecretBytes, Exhausted> {
        let at = Scalar::from(u64::from(member.get()));
        let mut out = SecretBytes::zeros(run.pool(), run.keys() * run.point_length())?;
        apart(|| {
            let polynomials = self.scalars.as_slice().chunks_exact(self.k);
            for (polynomial, chunk) in polynomials.zip(out.as_mut_slice().chunks_exact_mut(SCALAR)) {
                if let Some(mut value) = evaluate(polynomial, at) {
                    write_scalar(&value, chunk);
                    value.zeroize();
                }
            }
        });
        Ok(out)
    }

    /// Rows from the verified points of exactly k members: the row from their betas, the column from their alphas.
    pub(crate) fn interpolate(run: &Run, points: &[(Index, &SecretBytes)]) -> Result<Option<Self>, Exhausted> {
        let k = run.sizes().k();
        let set = IndexSet::new(run.sizes(), points.iter().map(|(member, _)| *member).collect()).ok();
        let Some(set) = set.filter(|_| points.len() == k) else { return Ok(None) };
        let basis = set.basis();
        let mut rows = Self::zeros(run)?;
        let whole = apart(|| basis.iter().zip(points).all(|(basis, (_, bytes))| rows.add(basis, bytes)));
        Ok(whole.then_some(rows))
    }

    /// Adds a member's points, each times its coefficients of a basis; false if they are no scalars.
    fn add(&mut self, basis: &[Scalar], points: &SecretBytes) -> bool {
        let (k, width) = (self.k, self.width);
        let received = points.as_slice().chunks_exact(2 * width * SCALAR);
        for (key, point) in self.by_key_mut().zip(received) {
            // alpha, alpha', beta, beta' belong to b, b', a, a'.
            for (position, value) in point.chunks_exact(SCALAR).enumerate() {
                let part = key.chunks_exact_mut(k).nth((position + width) % (2 * width));
                let (Some(mut value), Some(part)) = (read_scalar(value), part) else { return false };
                for (coefficient, factor) in part.iter_mut().zip(basis) {
                    *coefficient += *factor * value;
                }
                value.zeroize();
            }
        }
        true
    }
}

/// i^0 .. i^(k-1).
pub(crate) fn powers(i: Index, k: usize) -> Vec<Scalar> {
    let at = Scalar::from(u64::from(i.get()));
    core::iter::successors(Some(Scalar::ONE), |power| Some(*power * at)).take(k).collect()
}
