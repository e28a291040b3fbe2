//! The qualified set: the n-t dealings whose sum is the batch, as the log fixed it.

use alloc::vec::Vec;

use crate::{Digest, Index, Sizes};

/// Exactly n-t distinct dealers in ascending order, each with the digest of its matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QualifiedSet(Vec<(Index, Digest)>);

/// Why a list of dealers is no qualified set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadQualified {
    /// Fewer would let colluders choose the key; more is another format.
    #[error("a qualified set has exactly n-t dealers")]
    Count,
    /// A dealer named twice, or out of order.
    #[error("dealers are not strictly ascending")]
    Order,
    /// A dealer above n.
    #[error("dealer outside the committee")]
    Outside,
}

impl QualifiedSet {
    /// Checks count, order and membership; that q readies certify each entry is the caller's to check.
    pub fn new(sizes: Sizes, dealings: &[(Index, Digest)]) -> Result<Self, BadQualified> {
        if dealings.len() != sizes.qualified() {
            return Err(BadQualified::Count);
        }
        if dealings.iter().any(|(dealer, _)| sizes.member(dealer.get()).is_none()) {
            return Err(BadQualified::Outside);
        }
        if dealings.iter().zip(dealings.iter().skip(1)).any(|((a, _), (b, _))| a >= b) {
            return Err(BadQualified::Order);
        }
        Ok(Self(dealings.to_vec()))
    }

    /// The dealings in order of their dealers.
    pub fn dealings(&self) -> &[(Index, Digest)] {
        &self.0
    }

    /// The digest that the set names for a dealer, if it names him.
    pub fn digest_of(&self, dealer: Index) -> Option<Digest> {
        self.0.iter().find(|(named, _)| *named == dealer).map(|(_, digest)| *digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_with_fewer_more_repeated_or_foreign_dealers_is_refused() {
        let sizes = Sizes::new(5, 3, 1).unwrap();
        let new = |dealers: &[u8]| {
            let list: Vec<_> = dealers.iter().filter_map(|d| Index::new(*d)).map(|d| (d, [d.get(); 32])).collect();
            QualifiedSet::new(sizes, &list).map(|_| ())
        };
        assert_eq!(new(&[1, 2, 3, 4]), Ok(()));
        assert_eq!(new(&[1, 2, 3]), Err(BadQualified::Count));
        assert_eq!(new(&[1, 2, 3, 4, 5]), Err(BadQualified::Count));
        assert_eq!(new(&[1, 2, 2, 4]), Err(BadQualified::Order));
        assert_eq!(new(&[2, 1, 3, 4]), Err(BadQualified::Order));
        assert_eq!(new(&[1, 2, 3, 6]), Err(BadQualified::Outside));
    }
}
