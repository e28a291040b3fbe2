//! Opening a batch: share commitments V_i from the matrices, published vectors S_i, and the keys that k of them give.
//!
//! Gennaro et al. 1999 with Pedersen commitments: nothing here is computed before the qualified set is fixed.

use alloc::vec::Vec;

use k256::{AffinePoint, ProjectivePoint, Scalar};

use crate::point::POINT_BYTES;
use crate::proof::PROOF_BYTES;
use crate::{
    BatchProof, Claim, Index, IndexSet, MAX_KEYS, Matrix, Point, PublishedKey, PublishedKeys, Sizes, normalise,
    small_multiple,
};

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
    /// Sums the qualified dealings' matrices and evaluates at every member. The caller passes exactly the matrices
    /// of Q, each checked against its digest.
    pub fn sum(sizes: Sizes, matrices: &[&Matrix]) -> Result<Self, OpeningError> {
        let keys = matrices.first().map_or(0, |matrix| matrix.keys());
        let mut sums = alloc::vec![ProjectivePoint::IDENTITY; keys * sizes.k()];
        for matrix in matrices {
            if matrix.keys() != keys || matrix.k() != sizes.k() {
                return Err(OpeningError::Shape);
            }
            for (sum, point) in sums.iter_mut().zip(matrix.share_polynomials().flatten()) {
                *sum += *point;
            }
        }
        // By member, then key: filled key by key.
        let mut values = alloc::vec![ProjectivePoint::IDENTITY; sizes.n() * keys];
        for (b, polynomial) in sums.chunks_exact(sizes.k()).enumerate() {
            let mut differences = differences(polynomial);
            for value in values.iter_mut().skip(b).step_by(keys) {
                advance(&mut differences);
                if let Some(at) = differences.first() {
                    *value = *at;
                }
            }
        }
        let points = normalise(&values).into_iter().map(Point::from_affine).collect::<Result<_, _>>();
        Ok(Self { keys, points: points.map_err(|_| OpeningError::Identity)? })
    }

    /// One member's commitments, one for each key; empty for a stranger.
    pub fn of(&self, member: Index) -> &[Point] {
        self.points.chunks_exact(self.keys.max(1)).nth(member.slot()).unwrap_or(&[])
    }
}

/// The forward differences at zero of a polynomial given by its coefficients: the m-th is the sum over j of
/// m! S(j, m) times the j-th coefficient, S the Stirling numbers of the second kind.
fn differences(polynomial: &[ProjectivePoint]) -> Vec<ProjectivePoint> {
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
fn advance(differences: &mut [ProjectivePoint]) {
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

/// PK and every S_j of the batch from exactly k verified vectors, by interpolation in the exponent.
pub fn interpolate_keys(sizes: Sizes, vectors: &[(Index, &[Point])]) -> Result<PublishedKeys, OpeningError> {
    let members: Vec<Index> = vectors.iter().map(|(member, _)| *member).collect();
    let set = IndexSet::new(sizes, members).map_err(|_| OpeningError::Members)?;
    let keys = vectors.first().map_or(0, |(_, vector)| vector.len());
    if vectors.len() != sizes.k() || keys == 0 || vectors.iter().any(|(_, vector)| vector.len() != keys) {
        return Err(OpeningError::Shape);
    }
    let rows: Vec<&[Point]> = vectors.iter().map(|(_, vector)| *vector).collect();
    let publics = to_points(&interpolate(&set, &rows, 0))?;
    let mut columns: Vec<Vec<Point>> = Vec::with_capacity(sizes.n());
    for member in sizes.members() {
        columns.push(match vectors.iter().find(|(named, _)| *named == member) {
            Some((_, vector)) => vector.to_vec(),
            None => to_points(&interpolate(&set, &rows, member.get()))?,
        });
    }
    let keys = publics.into_iter().enumerate().map(|(b, public)| PublishedKey {
        public,
        commitments: columns.iter().filter_map(|column| column.get(b).copied()).collect(),
    });
    Ok(PublishedKeys { keys: keys.collect() })
}

fn to_points(points: &[ProjectivePoint]) -> Result<Vec<Point>, OpeningError> {
    let affine = normalise(points).into_iter().map(Point::from_affine);
    affine.collect::<Result<_, _>>().map_err(|_| OpeningError::Identity)
}

/// Sum of L_i(x) S_i for every key. The coefficients are small integers over one small denominator, which is one for
/// consecutive members: mostly no full product is needed.
fn interpolate(set: &IndexSet, rows: &[&[Point]], x: u8) -> Vec<ProjectivePoint> {
    let keys = rows.first().map_or(0, |row| row.len());
    let column = |b: usize| rows.iter().filter_map(move |row| row.get(b).map(|point| *point.affine()));
    match set.integers(x) {
        Some((integers, denominator)) => {
            let inverse = Scalar::from(denominator.unsigned_abs()).invert().unwrap_or(Scalar::ONE);
            let sum = |b| {
                let sum = small_combination(&column(b).collect::<Vec<_>>(), &integers);
                if denominator == 1 { sum } else { sum * inverse }
            };
            (0..keys).map(sum).collect()
        }
        None => {
            let scalars = set.coefficients(x);
            (0..keys).map(|b| crate::multi_exponentiate(&column(b).collect::<Vec<_>>(), &scalars)).collect()
        }
    }
}

/// Sum of integer * point, with doublings shared.
fn small_combination(points: &[AffinePoint], integers: &[i128]) -> ProjectivePoint {
    let top = integers.iter().map(|c| 128 - c.unsigned_abs().leading_zeros()).max().unwrap_or(0);
    let mut sum = ProjectivePoint::IDENTITY;
    for bit in (0..top).rev() {
        sum = sum.double();
        for (point, integer) in points.iter().zip(integers) {
            if integer.unsigned_abs() >> bit & 1 == 1 {
                if *integer < 0 { sum -= *point } else { sum += *point }
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn any_k_vectors_give_the_same_keys_and_other_counts_are_refused() {
        let sizes = Sizes::new(9, 5, 2).unwrap();
        let polynomial: Vec<Scalar> = (11u64..16).map(Scalar::from).collect();
        let at = |x: u8| polynomial.iter().rev().fold(Scalar::ZERO, |acc, c| acc * Scalar::from(u64::from(x)) + c);
        let point = |x: u8| Point::new(&(ProjectivePoint::GENERATOR * at(x))).unwrap();
        let vectors: Vec<[Point; 1]> = (1..=9).map(|i| [point(i)]).collect();
        let take = |members: &[u8]| {
            let list: Vec<_> =
                members.iter().map(|i| (Index::new(*i).unwrap(), vectors[usize::from(*i) - 1].as_slice())).collect();
            interpolate_keys(sizes, &list)
        };
        for members in [[1, 2, 3, 4, 5], [5, 6, 7, 8, 9], [1, 3, 4, 6, 9]] {
            let keys = take(&members).unwrap();
            assert_eq!(keys.keys[0].public, point(0));
            assert_eq!(keys.keys[0].commitments, (1..=9).map(point).collect::<Vec<_>>());
        }
        assert_eq!(take(&[1, 2, 3, 4]).err(), Some(OpeningError::Shape));
        assert_eq!(take(&[1, 2, 3, 4, 5, 6]).err(), Some(OpeningError::Shape));
        assert_eq!(take(&[1, 2, 3, 5, 4]).err(), Some(OpeningError::Members));
        assert_eq!(take(&[1, 2, 3, 3, 4]).err(), Some(OpeningError::Members));
    }
}
