//! The keys of a batch from k verified vectors: interpolation in the exponent (Gennaro et al. 1999, section 4).
//!
//! The Lagrange coefficients are small integers over one small denominator, which is one for consecutive members: mostly
//! no full product is needed.

use alloc::vec::Vec;

use k256::{AffinePoint, ProjectivePoint, Scalar};

use crate::{
    Budget, Index, IndexSet, OpeningError, Point, PublishedKey, PublishedKeys, Sizes, multi_exponentiate, normalise,
};

/// Keys that are interpolated without a look at the budget, and share one inversion.
const PIECE: usize = 8;
/// What a product with a full scalar costs, in additions of points.
const PRODUCT: usize = 256;

/// PK and every S_j of the batch from exactly k verified vectors.
pub fn interpolate_keys(sizes: Sizes, vectors: &[(Index, &[Point])]) -> Result<PublishedKeys, OpeningError> {
    let owned = vectors.iter().map(|(member, vector)| (*member, vector.to_vec())).collect();
    Interpolation::new(sizes, owned)?.advance(&mut Budget::unlimited())?.ok_or(OpeningError::Shape)
}

/// The same in pieces.
pub struct Interpolation {
    set: IndexSet,
    vectors: Vec<(Index, Vec<Point>)>,
    keys: usize,
    n: usize,
    /// PK, then S_1..S_n: those that are whole, and the one in the making.
    columns: Vec<Vec<Point>>,
    column: Vec<Point>,
    coefficients: Option<Coefficients>,
}

impl Interpolation {
    /// From vectors in rising order of their members, all of one length.
    pub fn new(sizes: Sizes, vectors: Vec<(Index, Vec<Point>)>) -> Result<Self, OpeningError> {
        let members: Vec<Index> = vectors.iter().map(|(member, _)| *member).collect();
        let set = IndexSet::new(sizes, members).map_err(|_| OpeningError::Members)?;
        let keys = vectors.first().map_or(0, |(_, vector)| vector.len());
        if vectors.len() != sizes.k() || keys == 0 || vectors.iter().any(|(_, vector)| vector.len() != keys) {
            return Err(OpeningError::Shape);
        }
        let (n, columns, column) = (sizes.n(), Vec::with_capacity(1 + sizes.n()), Vec::with_capacity(keys));
        Ok(Self { set, vectors, keys, n, columns, column, coefficients: None })
    }

    /// Interpolates until the budget is spent; the keys once all are there.
    pub fn advance(&mut self, budget: &mut Budget) -> Result<Option<PublishedKeys>, OpeningError> {
        while self.columns.len() <= self.n {
            let x = u8::try_from(self.columns.len()).map_err(|_| OpeningError::Shape)?;
            // What a member published is its column.
            if let Some((_, vector)) = self.vectors.iter().find(|(member, _)| member.get() == x) {
                self.columns.push(vector.clone());
                continue;
            }
            if budget.is_spent() {
                return Ok(None);
            }
            let coefficients = self.coefficients.get_or_insert_with(|| Coefficients::at(&self.set, x));
            let (from, to) = (self.column.len(), self.keys.min(self.column.len() + PIECE));
            budget.spend((to - from) * (coefficients.cost() + self.set.members().len() * 8));
            let row =
                |b: usize| self.vectors.iter().filter_map(move |(_, row)| row.get(b).map(|point| *point.affine()));
            let values: Vec<_> = (from..to).map(|b| coefficients.combine(&row(b).collect::<Vec<_>>())).collect();
            for value in normalise(&values) {
                self.column.push(Point::from_affine(value).map_err(|_| OpeningError::Identity)?);
            }
            if to == self.keys {
                self.columns.push(core::mem::replace(&mut self.column, Vec::with_capacity(self.keys)));
                self.coefficients = None;
            }
        }
        let Some((publics, columns)) = self.columns.split_first() else { return Err(OpeningError::Shape) };
        let keys = publics.iter().enumerate().map(|(b, public)| PublishedKey {
            public: *public,
            commitments: columns.iter().filter_map(|column| column.get(b).copied()).collect(),
        });
        Ok(Some(PublishedKeys { keys: keys.collect() }))
    }
}

/// The Lagrange coefficients of a set at one place.
pub(crate) enum Coefficients {
    /// Integers, and the inverse of their denominator if it is not one.
    Small(Vec<i128>, Option<Scalar>),
    Full(Vec<Scalar>),
}

impl Coefficients {
    pub(crate) fn at(set: &IndexSet, x: u8) -> Self {
        match set.integers(x) {
            Some((integers, 1)) => Self::Small(integers, None),
            Some((integers, denominator)) => {
                let inverse = Scalar::from(denominator.unsigned_abs()).invert().unwrap_or(Scalar::ONE);
                Self::Small(integers, Some(inverse))
            }
            None => Self::Full(set.coefficients(x)),
        }
    }

    /// What one combination costs beyond its additions.
    pub(crate) fn cost(&self) -> usize {
        match self {
            Self::Small(_, None) => 0,
            Self::Small(_, Some(_)) => PRODUCT,
            Self::Full(scalars) => PRODUCT * scalars.len(),
        }
    }

    /// Sum of L_i(x) S_i.
    pub(crate) fn combine(&self, points: &[AffinePoint]) -> ProjectivePoint {
        match self {
            Self::Small(integers, inverse) => {
                let sum = small_combination(points, integers);
                inverse.map_or(sum, |inverse| sum * inverse)
            }
            Self::Full(scalars) => multi_exponentiate(points, scalars),
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
