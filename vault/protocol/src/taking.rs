//! After the dealings that hand a batch over are fixed: this member's new shares of the same keys.
//!
//! s'_j = sum over the dealers d that count of L_d(0) f^d(j, 0). Nothing is opened: the public keys are known, and every new share
//! commitment follows from the matrices. The own shares are checked against theirs before anybody hears of them.

use alloc::vec::Vec;

use k256::ProjectivePoint;
use torus_memory::{Exhausted, apart};
use torus_sharing::{Budget, HandOverKeys, HandOverSet, Index, IndexSet, Matrix, OpeningError, Point, PublishedKeys};

use crate::message::Shares;
use crate::rows::Rows;
use crate::run::Run;
use crate::secret::SecretScalars;
use crate::table::Generators;

/// The way to the new shares, in pieces: first the public part, which says whose dealings count.
pub(crate) struct Taking {
    set: HandOverSet,
    keys: HandOverKeys,
    /// Matrices of the set that are added.
    added: usize,
    whole: Option<(PublishedKeys, IndexSet)>,
    shares: SecretScalars,
    /// Dealers whose parts are in the shares.
    summed: usize,
    own: Vec<Point>,
}

impl Taking {
    /// From the dealings of a set, of keys that are known.
    pub(crate) fn new(run: &Run, set: HandOverSet, publics: Vec<Point>) -> Result<Self, Exhausted> {
        let shares = SecretScalars::zeros(run.pool(), run.keys())?;
        let keys = HandOverKeys::new(run.sizes(), set.clone(), publics);
        Ok(Self { set, keys, added: 0, whole: None, shares, summed: 0, own: Vec::with_capacity(run.keys()) })
    }

    /// Adds until the budget is spent; the shares and the keys once both are whole. `dealing` gives the rows and the
    /// matrix of each dealer in the set; after an error the sum is of no use.
    pub(crate) fn advance<'a>(
        &mut self,
        run: &Run,
        dealing: impl Fn(Index) -> Option<(&'a Rows, &'a Matrix)>,
        generators: &Generators,
        budget: &mut Budget,
    ) -> Result<Option<(Shares, PublishedKeys)>, OpeningError> {
        for (dealer, _) in self.set.dealings().iter().skip(self.added) {
            if budget.is_spent() {
                return Ok(None);
            }
            let (_, matrix) = dealing(*dealer).ok_or(OpeningError::Shape)?;
            budget.spend(matrix.points().len() / matrix.k().max(1));
            self.keys.add(matrix)?;
            self.added += 1;
        }
        if self.whole.is_none() {
            self.whole = self.keys.advance(budget)?;
        }
        let Some((whole, chosen)) = &self.whole else { return Ok(None) };
        for (dealer, coefficient) in chosen.members().iter().zip(chosen.coefficients(0)).skip(self.summed) {
            if budget.is_spent() {
                return Ok(None);
            }
            let (rows, _) = dealing(*dealer).ok_or(OpeningError::Shape)?;
            apart(|| {
                let parts = self.shares.as_mut_slice().iter_mut().zip(rows.shares());
                parts.for_each(|(share, part)| *share += coefficient * part);
            });
            budget.spend(run.keys());
            self.summed += 1;
        }
        while self.own.len() < self.shares.len() {
            if budget.is_spent() {
                return Ok(None);
            }
            let products = generators.next_products(self.shares.as_slice(), self.own.len(), budget);
            for (product, own) in products.iter().zip(whole.of(run.me()).skip(self.own.len()).collect::<Vec<_>>()) {
                let own = own.filter(|own| ProjectivePoint::from(*own.affine()) == *product);
                self.own.push(*own.ok_or(OpeningError::Shape)?);
            }
        }
        let Some((keys, _)) = self.whole.take() else { return Ok(None) };
        let scalars = core::mem::replace(&mut self.shares, SecretScalars::none(run.pool()));
        Ok(Some((Shares { scalars, commitments: core::mem::take(&mut self.own) }, keys)))
    }
}
