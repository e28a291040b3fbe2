//! The numbers of a committee: n members, t Byzantine, k to reconstruct, one quorum q.

use core::num::NonZeroU8;

/// A member's fixed index, 1..=n: its abscissa in every sharing. Zero, the abscissa of the secret, has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(NonZeroU8);

impl Index {
    /// An index, or `None` for zero. Whether it is a member's is `Sizes::member`'s to say.
    pub const fn new(value: u8) -> Option<Self> {
        match NonZeroU8::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// 1..=255.
    pub const fn get(self) -> u8 {
        self.0.get()
    }

    /// The position in a vector of members, from 0.
    pub const fn slot(self) -> usize {
        (self.0.get() as usize).saturating_sub(1)
    }
}

impl core::fmt::Display for Index {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// Committee sizes that the protocol is sound for: every rule below holds for a value of this type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sizes {
    n: u8,
    k: u8,
    t: u8,
}

/// Which rule a set of sizes breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSizes {
    /// The client interpolates exactly floor(n/2)+1 shares.
    #[error("k must be floor(n/2) + 1")]
    Threshold,
    /// Asynchronous verifiable secret sharing with two thresholds.
    #[error("n must be at least k + 2t")]
    Liveness,
    /// Byzantine agreement.
    #[error("n must be more than 3t")]
    Byzantine,
    /// Two of the engine's quorums (more than 2n/3) must share k members.
    #[error("the engine's quorums must intersect in k members: 2*(floor(2n/3)+1) - n >= k")]
    EngineQuorum,
    /// t = 0 tolerates nobody and n is bounded by the formats.
    #[error("n must be 4 to 30 and t at least 1")]
    Range,
}

impl Sizes {
    /// Checks every rule of the protocol; refused sizes are named by the rule that they break.
    pub const fn new(n: u8, k: u8, t: u8) -> Result<Self, BadSizes> {
        if n < 4 || n > 30 || t == 0 || t > 10 {
            return Err(BadSizes::Range);
        }
        if k != n / 2 + 1 {
            return Err(BadSizes::Threshold);
        }
        if n < k + 2 * t {
            return Err(BadSizes::Liveness);
        }
        if n <= 3 * t {
            return Err(BadSizes::Byzantine);
        }
        let engine = 2 * n / 3 + 1;
        if 2 * engine < n + k {
            return Err(BadSizes::EngineQuorum);
        }
        Ok(Self { n, k, t })
    }

    /// Members.
    pub const fn n(self) -> usize {
        self.n as usize
    }

    /// Shares that reconstruct; k-1 learn nothing.
    pub const fn k(self) -> usize {
        self.k as usize
    }

    /// Byzantine members tolerated for liveness and integrity.
    pub const fn t(self) -> usize {
        self.t as usize
    }

    /// The one quorum ceil((n+k)/2): any two share k members, so one honest even against k-1 colluders.
    pub const fn q(self) -> usize {
        (self.n() + self.k()).div_ceil(2)
    }

    /// More than two thirds: what the BFT engine counts.
    pub const fn engine_quorum(self) -> usize {
        2 * self.n() / 3 + 1
    }

    /// Size of a qualified set: n-t dealers.
    pub const fn qualified(self) -> usize {
        self.n() - self.t()
    }

    /// A member's index from a byte, refused outside 1..=n.
    pub const fn member(self, value: u8) -> Option<Index> {
        if value > self.n { None } else { Index::new(value) }
    }

    /// All members in order.
    pub fn members(self) -> impl DoubleEndedIterator<Item = Index> + Clone {
        (1..=self.n).filter_map(Index::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sizes_of_the_architecture_hold_and_their_quorums_are_as_it_says() {
        for (n, k, t, q) in [(5, 3, 1, 4), (6, 4, 1, 5), (9, 5, 2, 7)] {
            let sizes = Sizes::new(n, k, t).map(Sizes::q);
            assert_eq!(sizes, Ok(q), "({n},{k},{t})");
        }
    }

    #[test]
    fn sizes_outside_are_refused_by_the_name_of_the_rule() {
        assert_eq!(Sizes::new(5, 2, 1), Err(BadSizes::Threshold));
        assert_eq!(Sizes::new(5, 3, 2), Err(BadSizes::Liveness));
        assert_eq!(Sizes::new(4, 3, 1), Err(BadSizes::Liveness));
        assert_eq!(Sizes::new(0, 1, 0), Err(BadSizes::Range));
        assert_eq!(Sizes::new(255, 128, 1), Err(BadSizes::Range));
        for n in 4..=30u8 {
            for t in 1..=10u8 {
                if let Ok(sizes) = Sizes::new(n, n / 2 + 1, t) {
                    assert!(2 * sizes.q() >= sizes.n() + sizes.k(), "two quorums share k members");
                    assert!(2 * sizes.engine_quorum() >= sizes.n() + sizes.k());
                    assert!(sizes.qualified() >= sizes.q(), "n-t honest members fill a quorum");
                }
            }
        }
    }

    #[test]
    fn an_index_is_never_zero_and_never_above_n() {
        let sizes = Sizes::new(5, 3, 1).ok();
        let member = |value| sizes.and_then(|sizes| sizes.member(value));
        assert!(member(0).is_none() && member(6).is_none() && member(5).is_some());
    }
}
