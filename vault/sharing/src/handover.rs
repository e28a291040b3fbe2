//! Handing a batch over: which dealings of the old committee count, and the new share commitments that follow from them.
//!
//! Proactive secret sharing after Herzberg et al. 1995 over the sharing of Cachin et al. 2002, section 5: each old member
//! shares its share anew, and the new share is the interpolation at zero of what k of them dealt. The constants of the
//! matrices are the certified share commitments, so that the key cannot change and nothing has to be opened afterwards.
//!
//! Open: the last of the chosen dealers, if he colludes with a receiver, can make that receiver's new commitment the
//! identity, which nobody takes: the attempt is lost to all. The log will have to name more dealings than k, of which the
//! first k that fit count.

use alloc::vec::Vec;

use k256::{AffinePoint, ProjectivePoint};

use crate::interpolation::Coefficients;
use crate::opening::{advance, differences};
use crate::{
    Budget, Digest, Index, IndexSet, Matrix, OpeningError, Point, PublishedKey, PublishedKeys, Sizes, normalise,
};

/// Exactly k distinct dealers of the old committee in ascending order, each with the digest of its matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOverSet {
    dealings: Vec<(Index, Digest)>,
    dealers: IndexSet,
}

/// Why a list of dealers hands nothing over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHandOver {
    /// Fewer do not determine the key; more is another format.
    #[error("a hand-over has exactly k dealers of the old committee")]
    Count,
    /// A dealer named twice, out of order, or above the old n.
    #[error("the dealers are no set of the old committee's members")]
    Dealers,
}

impl HandOverSet {
    /// Checks count, order and membership; that a quorum of the new committee certifies each entry is the caller's to
    /// check.
    ///
    /// # Errors
    /// See [`BadHandOver`].
    pub fn new(old: Sizes, dealings: &[(Index, Digest)]) -> Result<Self, BadHandOver> {
        if dealings.len() != old.k() {
            return Err(BadHandOver::Count);
        }
        let members = dealings.iter().map(|(dealer, _)| *dealer).collect();
        let dealers = IndexSet::new(old, members).map_err(|_| BadHandOver::Dealers)?;
        Ok(Self { dealings: dealings.to_vec(), dealers })
    }

    /// The dealings in order of their dealers.
    pub fn dealings(&self) -> &[(Index, Digest)] {
        &self.dealings
    }

    /// The digest that the set names for a dealer, if it names him.
    pub fn digest_of(&self, dealer: Index) -> Option<Digest> {
        self.dealings.iter().find(|(named, _)| *named == dealer).map(|(_, digest)| *digest)
    }

    /// The dealers: a new share is the sum over them of L_d(0) times what d dealt.
    pub fn dealers(&self) -> &IndexSet {
        &self.dealers
    }
}

/// The way to the new commitments of a batch, in pieces: of each key the dealt polynomials are combined in the exponent,
/// and the result evaluated at every new member.
pub struct HandOverKeys {
    n: usize,
    k: usize,
    publics: Vec<Point>,
    coefficients: Coefficients,
    /// By dealer: C_j0 of each key, key by key.
    columns: Vec<Vec<AffinePoint>>,
    dealers: usize,
    /// By key, then member; filled key by key.
    values: Vec<ProjectivePoint>,
}

impl HandOverKeys {
    /// To a committee of these sizes, of keys that are known.
    pub fn new(new: Sizes, set: &HandOverSet, publics: Vec<Point>) -> Self {
        let values = Vec::with_capacity(publics.len() * new.n());
        let coefficients = Coefficients::at(set.dealers(), 0);
        let dealers = set.dealings().len();
        Self { n: new.n(), k: new.k(), publics, coefficients, columns: Vec::new(), dealers, values }
    }

    /// Adds the next dealing of the set, in its order. The caller has checked each matrix against its digest, and its
    /// constants against the certified commitments of its dealer.
    ///
    /// # Errors
    /// The matrix is of another batch size or degree, or there are enough.
    pub fn add(&mut self, matrix: &Matrix) -> Result<(), OpeningError> {
        if matrix.keys() != self.publics.len() || matrix.k() != self.k || self.columns.len() == self.dealers {
            return Err(OpeningError::Shape);
        }
        self.columns.push(matrix.share_polynomials().flatten().copied().collect());
        Ok(())
    }

    /// Works until the budget is spent; the public keys, unchanged, with the new commitments once all are there. After
    /// that, or an error, it is of no use.
    ///
    /// # Errors
    /// Dealings are missing; the dealt constants do not give a public key, which certified commitments always do; a new
    /// share commitment is the identity.
    pub fn advance(&mut self, budget: &mut Budget) -> Result<Option<PublishedKeys>, OpeningError> {
        if self.columns.len() != self.dealers {
            return Err(OpeningError::Shape);
        }
        for (b, public) in self.publics.iter().enumerate().skip(self.values.len() / self.n) {
            if budget.is_spent() {
                return Ok(None);
            }
            budget.spend(self.k * (self.coefficients.cost() + self.dealers * 8 + self.k * 4) + self.n * self.k);
            let coefficient = |j: usize| {
                let points = self.columns.iter().filter_map(|column| column.get(b * self.k + j).copied());
                self.coefficients.combine(&points.collect::<Vec<_>>())
            };
            let polynomial: Vec<ProjectivePoint> = (0..self.k).map(coefficient).collect();
            if polynomial.first().is_none_or(|constant| *constant != ProjectivePoint::from(*public.affine())) {
                return Err(OpeningError::Shape);
            }
            let mut differences = differences(&polynomial);
            for _ in 0..self.n {
                advance(&mut differences);
                self.values.extend(differences.first());
            }
        }
        if budget.is_spent() {
            return Ok(None);
        }
        budget.spend(self.values.len());
        let points: Result<Vec<Point>, _> = normalise(&self.values).into_iter().map(Point::from_affine).collect();
        let points = points.map_err(|_| OpeningError::Identity)?;
        let keys = self.publics.iter().zip(points.chunks_exact(self.n));
        let keys = keys.map(|(public, own)| PublishedKey { public: *public, commitments: own.to_vec() });
        Ok(Some(PublishedKeys { keys: keys.collect() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k256::Scalar;

    fn sizes(n: u8, k: u8, t: u8) -> Sizes {
        Sizes::new(n, k, t).unwrap()
    }

    #[test]
    fn a_set_with_fewer_more_repeated_or_foreign_dealers_is_refused() {
        let new = |dealers: &[u8]| {
            let list: Vec<_> = dealers.iter().filter_map(|d| Index::new(*d)).map(|d| (d, [d.get(); 32])).collect();
            HandOverSet::new(sizes(5, 3, 1), &list).map(|_| ())
        };
        assert_eq!(new(&[1, 3, 5]), Ok(()));
        assert_eq!(new(&[1, 2]), Err(BadHandOver::Count));
        assert_eq!(new(&[1, 2, 3, 4]), Err(BadHandOver::Count));
        assert_eq!(new(&[1, 2, 2]), Err(BadHandOver::Dealers));
        assert_eq!(new(&[2, 1, 3]), Err(BadHandOver::Dealers));
        assert_eq!(new(&[1, 2, 6]), Err(BadHandOver::Dealers));
    }

    /// A key's polynomial, and of each dealer a k x k matrix of which (0, 0) is its share.
    fn dealt(old: Sizes, new: Sizes, dealers: &[u8]) -> (HandOverSet, Scalar, Vec<(Matrix, Vec<Scalar>)>) {
        let polynomial: Vec<Scalar> = (0..old.k() as u64).map(|j| Scalar::from(1000 + 7 * j)).collect();
        let at = |x: u8| polynomial.iter().rev().fold(Scalar::ZERO, |sum, c| sum * Scalar::from(u64::from(x)) + c);
        let matrices = dealers.iter().map(|dealer| {
            let mut f: Vec<Scalar> =
                (0..new.k() * new.k()).map(|i| Scalar::from(u64::from(*dealer) * 100 + i as u64 + 1)).collect();
            f[0] = at(*dealer);
            let points = f.iter().map(|c| (ProjectivePoint::GENERATOR * c).to_affine()).collect();
            (Matrix::from_points(new, 1, points).unwrap(), f)
        });
        let list: Vec<_> = dealers.iter().map(|d| (Index::new(*d).unwrap(), [*d; 32])).collect();
        (HandOverSet::new(old, &list).unwrap(), polynomial[0], matrices.collect())
    }

    #[test]
    fn the_new_commitments_are_those_of_the_new_shares_and_the_key_is_the_old_one() {
        for (old, new) in
            [(sizes(5, 3, 1), sizes(9, 5, 2)), (sizes(9, 5, 2), sizes(5, 3, 1)), (sizes(5, 3, 1), sizes(6, 4, 1))]
        {
            let all: Vec<u8> = old.members().map(Index::get).collect();
            for dealers in
                all.windows(old.k()).chain([&[[1, 2].as_slice(), &all[all.len() + 2 - old.k()..]].concat()[..]])
            {
                let (set, secret, dealt) = dealt(old, new, dealers);
                let public = Point::new(&(ProjectivePoint::GENERATOR * secret)).unwrap();
                let mut keys = HandOverKeys::new(new, &set, alloc::vec![public]);
                for (matrix, _) in &dealt {
                    keys.add(matrix).unwrap();
                }
                let keys = keys.advance(&mut Budget::unlimited()).unwrap().unwrap();
                assert_eq!(keys.keys[0].public, public);
                let lambda = set.dealers().coefficients(0);
                for member in new.members() {
                    let x = Scalar::from(u64::from(member.get()));
                    let row = |f: &[Scalar]| f.iter().step_by(new.k()).rev().fold(Scalar::ZERO, |sum, c| sum * x + c);
                    let share: Scalar = lambda.iter().zip(&dealt).map(|(l, (_, f))| *l * row(f)).sum();
                    let commitment = Point::new(&(ProjectivePoint::GENERATOR * share)).unwrap();
                    assert_eq!(keys.keys[0].commitments[member.slot()], commitment, "member {member}");
                }
            }
        }
    }

    #[test]
    fn in_pieces_it_is_the_same_and_what_does_not_fit_is_refused() {
        let (old, new) = (sizes(5, 3, 1), sizes(5, 3, 1));
        let (set, secret, dealt) = dealt(old, new, &[2, 4, 5]);
        let public = Point::new(&(ProjectivePoint::GENERATOR * secret)).unwrap();
        let begun = |public| {
            let mut keys = HandOverKeys::new(new, &set, alloc::vec![public]);
            dealt.iter().for_each(|(matrix, _)| keys.add(matrix).unwrap());
            keys
        };
        let whole = begun(public).advance(&mut Budget::unlimited()).unwrap();
        let mut pieces = begun(public);
        let mut calls = 0;
        let piecewise = loop {
            calls += 1;
            if let Some(keys) = pieces.advance(&mut Budget::new(1)).unwrap() {
                break keys;
            }
        };
        assert_eq!((Some(piecewise), calls), (whole, 2));

        let other = Point::new(&ProjectivePoint::GENERATOR).unwrap();
        assert_eq!(begun(other).advance(&mut Budget::unlimited()), Err(OpeningError::Shape), "another key");
        let mut few = HandOverKeys::new(new, &set, alloc::vec![public]);
        few.add(&dealt[0].0).unwrap();
        assert_eq!(few.advance(&mut Budget::unlimited()), Err(OpeningError::Shape), "dealings are missing");
        assert_eq!(begun(public).add(&dealt[0].0), Err(OpeningError::Shape), "one too many");
        let wider = HandOverKeys::new(sizes(6, 4, 1), &set, alloc::vec![public]).add(&dealt[0].0);
        assert_eq!(wider, Err(OpeningError::Shape), "another degree");
    }
}
