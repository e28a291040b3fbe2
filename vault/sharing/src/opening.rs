//! Opening a batch: share commitments V_i from the matrices, and published vectors S_i.
//!
//! Gennaro et al. 1999 with Pedersen commitments: nothing here is computed before the qualified set is fixed.

use alloc::vec::Vec;

use k256::ProjectivePoint;

use crate::point::POINT_BYTES;
use crate::proof::PROOF_BYTES;
use crate::{BatchProof, Budget, Claim, Index, MAX_KEYS, Matrix, Point, Sizes, normalise, small_multiple};

/// Why a batch cannot be opened with these inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpeningError {
    /// A vector or matrix of another batch size or degree, or not k vectors.
    #[error("vectors, matrices and batch differ in size")]
    Shape,
    /// A commitment, share commitment or key came out as the identity.
    #[error("a commitment is the identity")]
    Identity,
    /// Members repeated, out of order or outside the committee.
    #[error("the members of the vectors are no set")]
    Members,
    /// A point or a response is not canonical.
    #[error("malformed vector")]
    Malformed,
}

/// V_i = sum over Q of prod_j (C_j0)^(i^j), for each member and key: Pedersen commitments to (s_i, s'_i).
pub struct ShareCommitments {
    keys: usize,
    /// By member, then key.
    points: Vec<Point>,
}

impl ShareCommitments {
    /// From the matrices of exactly the dealings in Q, each checked against its digest.
    pub fn sum(sizes: Sizes, matrices: &[&Matrix]) -> Result<Self, OpeningError> {
        let mut budget = Budget::unlimited();
        let mut sum = CommitmentSum::new(sizes, matrices.first().map_or(0, |matrix| matrix.keys()));
        for matrix in matrices {
            sum.add(matrix, &mut budget)?;
        }
        sum.advance(&mut budget)?.ok_or(OpeningError::Shape)
    }

    /// One member's commitments, one for each key; empty for a stranger.
    pub fn of(&self, member: Index) -> &[Point] {
        self.points.chunks_exact(self.keys.max(1)).nth(member.slot()).unwrap_or(&[])
    }
}

/// The way to the share commitments, in pieces: the matrices are summed, then evaluated at every member.
pub struct CommitmentSum {
    n: usize,
    k: usize,
    keys: usize,
    sums: Vec<ProjectivePoint>,
    /// By member, then key; filled key by key.
    values: Vec<ProjectivePoint>,
    evaluated: usize,
}

impl CommitmentSum {
    /// Of a batch of so many keys.
    pub fn new(sizes: Sizes, keys: usize) -> Self {
        let (n, k) = (sizes.n(), sizes.k());
        let sums = alloc::vec![ProjectivePoint::IDENTITY; keys * k];
        let values = alloc::vec![ProjectivePoint::IDENTITY; keys * n];
        Self { n, k, keys, sums, values, evaluated: 0 }
    }

    /// Adds one dealing. The caller adds exactly the matrices of Q, each checked against its digest, and all of them
    /// before `advance`.
    pub fn add(&mut self, matrix: &Matrix, budget: &mut Budget) -> Result<(), OpeningError> {
        if matrix.keys() != self.keys || matrix.k() != self.k || self.evaluated != 0 {
            return Err(OpeningError::Shape);
        }
        budget.spend(self.sums.len());
        for (sum, point) in self.sums.iter_mut().zip(matrix.share_polynomials().flatten()) {
            *sum += *point;
        }
        Ok(())
    }

    /// Evaluates until the budget is spent; the commitments once all are there.
    pub fn advance(&mut self, budget: &mut Budget) -> Result<Option<ShareCommitments>, OpeningError> {
        for polynomial in self.sums.chunks_exact(self.k).skip(self.evaluated) {
            if budget.is_spent() {
                return Ok(None);
            }
            // Each difference takes some doublings; each value as many additions as there are differences.
            budget.spend(self.k * self.k * 4 + self.n * self.k);
            let mut differences = differences(polynomial);
            for value in self.values.iter_mut().skip(self.evaluated).step_by(self.keys) {
                advance(&mut differences);
                if let Some(at) = differences.first() {
                    *value = *at;
                }
            }
            self.evaluated += 1;
        }
        if budget.is_spent() {
            return Ok(None);
        }
        budget.spend(self.values.len());
        let points = normalise(&self.values).into_iter().map(Point::from_affine).collect::<Result<_, _>>();
        Ok(Some(ShareCommitments { keys: self.keys, points: points.map_err(|_| OpeningError::Identity)? }))
    }
}

/// The forward differences at zero of a polynomial given by its coefficients: the m-th is the sum over j of
/// m! S(j, m) times the j-th coefficient, S the Stirling numbers of the second kind.
pub(crate) fn differences(polynomial: &[ProjectivePoint]) -> Vec<ProjectivePoint> {
    let mut factors: Vec<u128> = alloc::vec![0; polynomial.len()];
    let mut out = alloc::vec![ProjectivePoint::IDENTITY; polynomial.len()];
    for (j, coefficient) in polynomial.iter().enumerate() {
        // m! S(j, m) = m ((m-1)! S(j-1, m-1) + m! S(j-1, m)), from the top down in place.
        let mut previous = if j == 0 { 1 } else { 0 };
        for (m, factor) in (0u128..).zip(&mut factors) {
            let old = *factor;
            *factor = if j == 0 { previous } else { m * (previous + old) };
            previous = if j == 0 { 0 } else { old };
        }
        for (sum, factor) in out.iter_mut().zip(&factors).filter(|(_, factor)| **factor != 0) {
            *sum += small_multiple(coefficient, *factor);
        }
    }
    out
}

/// From the differences at x to those at x + 1, one addition each; the first is the value.
pub(crate) fn advance(differences: &mut [ProjectivePoint]) {
    let mut rest = differences;
    while let [first, others @ ..] = rest {
        if let Some(next) = others.first() {
            *first += *next;
        }
        rest = others;
    }
}

/// What a member publishes: S_b = s_b G for each key and one proof for all. Bytes: 64 a key, then the proof's 192.
#[derive(Clone)]
pub struct ShareVector {
    /// S_b in the order of the keys.
    pub points: Vec<Point>,
    /// Knowledge of all s_b and s'_b.
    pub proof: BatchProof,
}

impl ShareVector {
    /// The exact number of bytes for a batch of so many keys.
    pub const fn byte_length(keys: usize) -> usize {
        POINT_BYTES * if keys > MAX_KEYS { MAX_KEYS } else { keys } + PROOF_BYTES
    }

    /// Parses exactly `byte_length(keys)` bytes.
    pub fn parse(keys: usize, bytes: &[u8]) -> Result<Self, OpeningError> {
        if keys == 0 || keys > MAX_KEYS || bytes.len() != Self::byte_length(keys) {
            return Err(OpeningError::Shape);
        }
        let (vector, proof) = bytes.split_at_checked(keys * POINT_BYTES).ok_or(OpeningError::Shape)?;
        let mut points = Vec::with_capacity(keys);
        for chunk in vector.chunks_exact(POINT_BYTES) {
            let xy = chunk.try_into().map_err(|_| OpeningError::Shape)?;
            points.push(Point::from_xy(xy).map_err(|_| OpeningError::Malformed)?);
        }
        Ok(Self { points, proof: BatchProof::parse(proof).map_err(|_| OpeningError::Malformed)? })
    }

    /// The bytes that `parse` takes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::byte_length(self.points.len()));
        for point in &self.points {
            bytes.extend_from_slice(&point.to_xy());
        }
        bytes.extend_from_slice(&self.proof.to_bytes());
        bytes
    }

    /// Whether the proof holds for this session, member and qualified set. `index` is the authenticated sender.
    pub fn verify(&self, claim: &Claim<'_>) -> bool {
        claim.vector == self.points && self.proof.verify(claim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k256::Scalar;

    #[test]
    fn differences_evaluate_as_horner_does() {
        for k in 1..=16u64 {
            let scalars: Vec<Scalar> = (0..k).map(|j| Scalar::from(j * j + 3)).collect();
            let points: Vec<_> = scalars.iter().map(|s| ProjectivePoint::GENERATOR * s).collect();
            let mut differences = differences(&points);
            for x in 1..=30u64 {
                advance(&mut differences);
                let value = scalars.iter().rev().fold(Scalar::ZERO, |sum, c| sum * Scalar::from(x) + c);
                assert_eq!(differences[0], ProjectivePoint::GENERATOR * value, "k = {k}, x = {x}");
            }
        }
    }
}
