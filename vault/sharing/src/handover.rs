//! Handing a batch over: which dealings of the old committee count, and the new share commitments that follow from them.
//!
//! Proactive secret sharing after Herzberg et al. 1995 over the sharing of Cachin et al. 2002, section 5: each old member
//! shares its share anew, and the new share is the interpolation at zero of what k of them dealt. The constants of the
//! matrices are the certified share commitments, so that the key cannot change and nothing has to be opened afterwards.
//!
//! k+t dealings are fixed, of which k count: the first k of them, in order, that make no new commitment the identity. A
//! dealer who colludes with a receiver can make that receiver's vanish, for every k of which he is one; k of the k+t are
//! honest. Which k count follows from public points alone, so that all choose alike (ADR 5 in `vault/docs`).

use alloc::vec::Vec;

use k256::{AffinePoint, ProjectivePoint};

use crate::interpolation::Coefficients;
use crate::opening::{advance, differences};
use crate::{
    Budget, Digest, Index, IndexSet, Matrix, OpeningError, Point, PublishedKey, PublishedKeys, Sizes, normalise,
};

/// Exactly k+t distinct dealers of the old committee in ascending order, each with the digest of its matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOverSet {
    old: Sizes,
    dealings: Vec<(Index, Digest)>,
}

/// Why a list of dealers hands nothing over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHandOver {
    /// Of fewer, hostile ones could spoil it; more is another format.
    #[error("a hand-over has exactly k+t dealers of the old committee")]
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
        if dealings.len() != Self::size(old) {
            return Err(BadHandOver::Count);
        }
        let members = dealings.iter().map(|(dealer, _)| *dealer).collect();
        IndexSet::new(old, members).map_err(|_| BadHandOver::Dealers)?;
        Ok(Self { old, dealings: dealings.to_vec() })
    }

    /// How many dealings of an old committee of these sizes are fixed. There are as many honest members.
    pub const fn size(old: Sizes) -> usize {
        old.k() + old.t()
    }

    /// The dealings in order of their dealers.
    pub fn dealings(&self) -> &[(Index, Digest)] {
        &self.dealings
    }

    /// The digest that the set names for a dealer, if it names him.
    pub fn digest_of(&self, dealer: Index) -> Option<Digest> {
        self.dealings.iter().find(|(named, _)| *named == dealer).map(|(_, digest)| *digest)
    }

    /// The dealers at these places, in their order.
    fn at(&self, places: &[usize]) -> Option<IndexSet> {
        let dealers = places.iter().filter_map(|place| self.dealings.get(*place).map(|(dealer, _)| *dealer)).collect();
        IndexSet::new(self.old, dealers).ok()
    }
}

/// The way to the new commitments of a batch, in pieces: of each key the polynomials of k dealers are combined in the
/// exponent, and the result evaluated at every new member; with the next k, if one vanishes.
pub struct HandOverKeys {
    set: HandOverSet,
    n: usize,
    k: usize,
    publics: Vec<Point>,
    /// By dealer: C_j0 of each key, key by key.
    columns: Vec<Vec<AffinePoint>>,
    choice: Option<Choice>,
}

/// k of the dealings, and what follows from them.
struct Choice {
    /// Their places in the set, rising.
    places: Vec<usize>,
    dealers: IndexSet,
    coefficients: Coefficients,
    /// By key, then member; filled key by key.
    values: Vec<ProjectivePoint>,
}

impl Choice {
    fn of(set: &HandOverSet, places: Vec<usize>) -> Option<Self> {
        let dealers = set.at(&places)?;
        let coefficients = Coefficients::at(&dealers, 0);
        Some(Self { places, dealers, coefficients, values: Vec::new() })
    }

    /// The k places after these, of `of`; `None` after the last.
    fn next(&self, of: usize) -> Option<Vec<usize>> {
        let mut places = self.places.clone();
        let count = places.len();
        let movable = places.iter().enumerate().rev().find(|(at, place)| **place + count < of + at)?.0;
        let first = places.get(movable)? + 1;
        places.iter_mut().skip(movable).zip(first..).for_each(|(place, next)| *place = next);
        Some(places)
    }
}

impl HandOverKeys {
    /// To a committee of these sizes, of keys that are known.
    pub fn new(new: Sizes, set: HandOverSet, publics: Vec<Point>) -> Self {
        let choice = Choice::of(&set, (0..set.old.k()).collect());
        Self { n: new.n(), k: new.k(), publics, columns: Vec::with_capacity(set.dealings.len()), choice, set }
    }

    /// Adds the next dealing of the set, in its order. The caller has checked each matrix against its digest, and its
    /// constants against the certified commitments of its dealer.
    ///
    /// # Errors
    /// The matrix is of another batch size or degree, or there are enough.
    pub fn add(&mut self, matrix: &Matrix) -> Result<(), OpeningError> {
        let enough = self.columns.len() == self.set.dealings.len();
        if matrix.keys() != self.publics.len() || matrix.k() != self.k || enough {
            return Err(OpeningError::Shape);
        }
        self.columns.push(matrix.share_polynomials().flatten().copied().collect());
        Ok(())
    }

    /// Works until the budget is spent; the public keys, unchanged, with the new commitments, and the k dealers that
    /// count: a new share is the sum over them of L_d(0) times what d dealt. After that, or an error, it is of no use.
    ///
    /// # Errors
    /// Dealings are missing; the dealt constants do not give a public key, which certified commitments always do; with
    /// every k a new commitment is the identity, for which more than t dealers must be hostile.
    pub fn advance(&mut self, budget: &mut Budget) -> Result<Option<(PublishedKeys, IndexSet)>, OpeningError> {
        if self.columns.len() != self.set.dealings.len() {
            return Err(OpeningError::Shape);
        }
        loop {
            let choice = self.choice.as_mut().ok_or(OpeningError::Identity)?;
            let done = choice.values.len() / self.n;
            let Some(public) = self.publics.get(done) else { break };
            if budget.is_spent() {
                return Ok(None);
            }
            let dealers = choice.places.len();
            budget.spend(self.k * (choice.coefficients.cost() + dealers * 8 + self.k * 4) + self.n * self.k);
            let coefficient = |j: usize| {
                let columns = choice.places.iter().filter_map(|place| self.columns.get(*place));
                let points = columns.filter_map(|column| column.get(done * self.k + j).copied());
                choice.coefficients.combine(&points.collect::<Vec<_>>())
            };
            let polynomial: Vec<ProjectivePoint> = (0..self.k).map(coefficient).collect();
            if polynomial.first().is_none_or(|constant| *constant != ProjectivePoint::from(*public.affine())) {
                return Err(OpeningError::Shape);
            }
            let mut differences = differences(&polynomial);
            for _ in 0..self.n {
                advance(&mut differences);
                choice.values.extend(differences.first());
            }
            if choice.values.iter().rev().take(self.n).any(|value| *value == ProjectivePoint::IDENTITY) {
                let next = choice.next(self.set.dealings.len());
                self.choice = next.and_then(|places| Choice::of(&self.set, places));
            }
        }
        if budget.is_spent() {
            return Ok(None);
        }
        let choice = self.choice.take().ok_or(OpeningError::Identity)?;
        budget.spend(choice.values.len());
        let points: Result<Vec<Point>, _> = normalise(&choice.values).into_iter().map(Point::from_affine).collect();
        let points = points.map_err(|_| OpeningError::Identity)?;
        let keys = self.publics.iter().zip(points.chunks_exact(self.n));
        let keys = keys.map(|(public, own)| PublishedKey { public: *public, commitments: own.to_vec() });
        Ok(Some((PublishedKeys { keys: keys.collect() }, choice.dealers)))
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
        assert_eq!(new(&[1, 2, 3, 5]), Ok(()));
        assert_eq!(new(&[1, 2, 3]), Err(BadHandOver::Count));
        assert_eq!(new(&[1, 2, 3, 4, 5]), Err(BadHandOver::Count));
        assert_eq!(new(&[1, 2, 2, 3]), Err(BadHandOver::Dealers));
        assert_eq!(new(&[2, 1, 3, 4]), Err(BadHandOver::Dealers));
        assert_eq!(new(&[1, 2, 3, 6]), Err(BadHandOver::Dealers));
    }

    /// What an old committee dealt to a new one, all of it known.
    struct Dealt {
        new: Sizes,
        set: HandOverSet,
        secrets: Vec<Scalar>,
        /// By dealer, then key: k x k coefficients, the share first.
        polynomials: Vec<Vec<Vec<Scalar>>>,
    }

    fn point(scalar: &Scalar) -> Point {
        Point::new(&(ProjectivePoint::GENERATOR * scalar)).unwrap()
    }

    fn value(polynomial: &[Scalar], x: u8) -> Scalar {
        polynomial.iter().rev().fold(Scalar::ZERO, |sum, c| sum * Scalar::from(u64::from(x)) + c)
    }

    impl Dealt {
        fn new(old: Sizes, new: Sizes, dealers: &[u8], batch: u64) -> Self {
            let sharing =
                |b: u64| -> Vec<Scalar> { (0..old.k() as u64).map(|j| Scalar::from(1000 * (b + 1) + 7 * j)).collect() };
            let of = |dealer: u8, b: u64| {
                let coefficient = |i: u64| Scalar::from(u64::from(dealer) * 100 + 10_000 * b + i + 1);
                let mut f: Vec<Scalar> = (0..(new.k() * new.k()) as u64).map(coefficient).collect();
                f[0] = value(&sharing(b), dealer);
                f
            };
            let list: Vec<_> = dealers.iter().map(|d| (Index::new(*d).unwrap(), [*d; 32])).collect();
            Self {
                new,
                set: HandOverSet::new(old, &list).unwrap(),
                secrets: (0..batch).map(|b| sharing(b)[0]).collect(),
                polynomials: dealers.iter().map(|d| (0..batch).map(|b| of(*d, b)).collect()).collect(),
            }
        }

        /// f(x, 0) of a dealer, as shared among the new members.
        fn column(&self, dealer: usize, b: usize) -> Vec<Scalar> {
            self.polynomials[dealer][b].iter().step_by(self.new.k()).copied().collect()
        }

        fn begun(&self) -> HandOverKeys {
            let mut keys = HandOverKeys::new(self.new, self.set.clone(), self.secrets.iter().map(point).collect());
            for dealer in &self.polynomials {
                let points = dealer.iter().flatten().map(|c| (ProjectivePoint::GENERATOR * c).to_affine()).collect();
                keys.add(&Matrix::from_points(self.new, self.secrets.len(), points).unwrap()).unwrap();
            }
            keys
        }

        /// Makes the new commitment of a member vanish for one key, where these dealers count, by the last one's doing.
        fn spoil(&mut self, places: &[usize], b: usize, member: u8) {
            let (last, k) = (*places.last().unwrap(), self.new.k());
            let coefficients = self.set.at(places).unwrap().coefficients(0);
            let sum = |this: &Self| -> Scalar {
                let parts = places.iter().zip(&coefficients);
                parts.map(|(place, l)| *l * value(&this.column(*place, b), member)).sum()
            };
            // What is missing goes into the coefficient of x.
            let missing = -sum(self) * coefficients.last().unwrap().invert().unwrap();
            self.polynomials[last][b][k] += missing * Scalar::from(u64::from(member)).invert().unwrap();
            assert_eq!(sum(self), Scalar::ZERO);
        }

        /// That keys and commitments are right, and which dealers count.
        fn check(&self) -> Vec<u8> {
            let (keys, chosen) = self.begun().advance(&mut Budget::unlimited()).unwrap().unwrap();
            let place = |dealer: &Index| self.set.dealings.iter().position(|(named, _)| named == dealer).unwrap();
            for (b, key) in keys.keys.iter().enumerate() {
                assert_eq!(key.public, point(&self.secrets[b]));
                for member in self.new.members() {
                    let parts = chosen.members().iter().zip(chosen.coefficients(0));
                    let share: Scalar =
                        parts.map(|(dealer, l)| l * value(&self.column(place(dealer), b), member.get())).sum();
                    assert_eq!(key.commitments[member.slot()], point(&share), "key {b}, member {member}");
                }
            }
            chosen.members().iter().map(|dealer| dealer.get()).collect()
        }
    }

    #[test]
    fn the_new_commitments_are_those_of_the_new_shares_and_the_key_is_the_old_one() {
        for (old, new, dealers) in [
            (sizes(5, 3, 1), sizes(9, 5, 2), [1, 2, 4, 5].as_slice()),
            (sizes(9, 5, 2), sizes(5, 3, 1), &[1, 3, 4, 5, 7, 8, 9]),
            (sizes(5, 3, 1), sizes(6, 4, 1), &[2, 3, 4, 5]),
            (sizes(6, 4, 1), sizes(6, 4, 1), &[1, 2, 3, 5, 6]),
        ] {
            assert_eq!(Dealt::new(old, new, dealers, 2).check(), dealers[..old.k()], "the first k");
        }
    }

    #[test]
    fn a_dealer_who_makes_a_members_commitment_vanish_is_passed_over_whatever_he_spoils() {
        let (old, new) = (sizes(5, 3, 1), sizes(5, 3, 1));
        let mut dealt = Dealt::new(old, new, &[1, 2, 3, 5], 3);
        dealt.spoil(&[0, 1, 2], 0, 4);
        assert_eq!(dealt.check(), [1, 2, 5], "the next three");
        // One key for each three that he is one of: what is left are the others.
        let last = dealt.set.dealings.len() - 1;
        let mut dealt = Dealt::new(old, new, &[1, 2, 3, 5], 3);
        dealt.spoil(&[0, 1, last], 0, 1);
        dealt.spoil(&[0, 2, last], 1, 1);
        dealt.spoil(&[1, 2, last], 2, 5);
        assert_eq!(dealt.check(), [1, 2, 3]);
        // Two of them spoil all: more than t.
        dealt.spoil(&[0, 1, 2], 0, 3);
        assert_eq!(dealt.begun().advance(&mut Budget::unlimited()).err(), Some(OpeningError::Identity));
    }

    #[test]
    fn every_k_of_the_set_have_their_turn_once() {
        let set = Dealt::new(sizes(9, 5, 2), sizes(5, 3, 1), &[1, 2, 3, 4, 5, 6, 7], 1).set;
        let mut choice = Choice::of(&set, (0..5).collect());
        let mut seen = Vec::new();
        while let Some(now) = choice {
            assert!(seen.last() < Some(&now.places), "rising");
            choice = now.next(7).and_then(|places| Choice::of(&set, places));
            seen.push(now.places);
        }
        assert_eq!(seen.len(), 21);
    }

    #[test]
    fn in_pieces_it_is_the_same_and_what_does_not_fit_is_refused() {
        let dealt = Dealt::new(sizes(5, 3, 1), sizes(5, 3, 1), &[1, 2, 4, 5], 1);
        let whole = dealt.begun().advance(&mut Budget::unlimited()).unwrap();
        let mut pieces = dealt.begun();
        let mut calls = 0;
        let piecewise = loop {
            calls += 1;
            if let Some(keys) = pieces.advance(&mut Budget::new(1)).unwrap() {
                break keys;
            }
        };
        assert_eq!((Some(piecewise), calls), (whole, 2));

        let points = |dealer: usize| -> Vec<AffinePoint> {
            let all = dealt.polynomials[dealer].iter().flatten();
            all.map(|c| (ProjectivePoint::GENERATOR * c).to_affine()).collect()
        };
        let matrix = Matrix::from_points(dealt.new, 1, points(0)).unwrap();
        let other = vec_of(ProjectivePoint::GENERATOR);
        let mut keys = HandOverKeys::new(dealt.new, dealt.set.clone(), other);
        (0..4).for_each(|at| keys.add(&Matrix::from_points(dealt.new, 1, points(at)).unwrap()).unwrap());
        assert_eq!(keys.advance(&mut Budget::unlimited()).err(), Some(OpeningError::Shape), "another key");
        let mut few = HandOverKeys::new(dealt.new, dealt.set.clone(), vec_of(ProjectivePoint::GENERATOR));
        few.add(&matrix).unwrap();
        assert_eq!(few.advance(&mut Budget::unlimited()).err(), Some(OpeningError::Shape), "dealings are missing");
        assert_eq!(dealt.begun().add(&matrix), Err(OpeningError::Shape), "one too many");
        let mut wider = HandOverKeys::new(sizes(6, 4, 1), dealt.set.clone(), vec_of(ProjectivePoint::GENERATOR));
        assert_eq!(wider.add(&matrix), Err(OpeningError::Shape), "another degree");
    }

    fn vec_of(point: ProjectivePoint) -> Vec<Point> {
        alloc::vec![Point::new(&point).unwrap()]
    }
}
