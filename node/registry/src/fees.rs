//! What a transaction may cost: estimated from what a quorum of endpoints sees, within what the operator allows.

use serde_json::{Value, json};

use crate::quorum::{Quorum, QuorumError, plain};
use crate::rpc::{RpcError, short_in};

/// A tip for chains whose endpoints suggest none: one gwei.
const USUAL_TIP: u64 = 1_000_000_000;

/// Fees in wei for each unit of gas (EIP-1559).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fees {
    /// For the block's maker.
    pub(crate) tip: u64,
    /// At most, with the tip.
    pub(crate) most: u64,
}

/// The fees of now, and whether the operator's cap lets a transaction through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Estimate {
    /// What every transaction pays.
    pub(crate) base: u64,
    /// With room for the base fee to double.
    pub(crate) fees: Fees,
}

impl Estimate {
    /// Asks what gas costs now.
    pub(crate) async fn ask(quorum: &Quorum) -> Result<Self, QuorumError> {
        let base = |header: Value| {
            let base = header.get("baseFeePerGas").ok_or("its newest block has no base fee (EIP-1559)")?;
            short_in(base)
        };
        let params = json!(["latest", false]);
        let base =
            quorum.reached("the base fee", "eth_getBlockByNumber", params, |answer| base(plain(answer)?)).await?;
        let tip = |answer| match answer {
            // Not every chain has the method.
            Err(RpcError::Refused { .. }) => Ok(USUAL_TIP),
            other => short_in(&plain(other)?),
        };
        let tip = quorum.reached("the tip", "eth_maxPriorityFeePerGas", json!([]), tip).await?;
        Ok(Self::new(base, tip))
    }

    fn new(base: u64, tip: u64) -> Self {
        let most = base.saturating_mul(2).saturating_add(tip);
        Self { base, fees: Fees { tip, most } }
    }
}

impl Fees {
    /// These fees within a cap.
    pub(crate) fn within(self, cap: u64) -> Self {
        let most = self.most.min(cap);
        Self { tip: self.tip.min(most), most }
    }

    /// Fees that replace these in every pool, which wants a tenth more of both; at least those of now. `None` above the cap.
    pub(crate) fn replaced(self, now: Self, cap: u64) -> Option<Self> {
        let more = |fee: u64| fee.saturating_add(fee / 8).saturating_add(1);
        let (tip, most) = (more(self.tip), more(self.most));
        let fees = Self { tip, most: most.max(tip) };
        // The estimate counts as far as the cap lets it; the least that replaces must fit as it is.
        (fees.most <= cap).then(|| {
            let now = now.within(cap);
            let most = fees.most.max(now.most);
            Self { tip: fees.tip.max(now.tip).min(most), most }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_base_fee_may_double_before_a_transaction_waits() {
        assert_eq!(Estimate::new(30, 2).fees, Fees { tip: 2, most: 62 });
        assert_eq!(Estimate::new(u64::MAX, 2).fees.most, u64::MAX);
    }

    #[test]
    fn the_operators_cap_bounds_both() {
        assert_eq!(Fees { tip: 50, most: 100 }.within(30), Fees { tip: 30, most: 30 });
        assert_eq!(Fees { tip: 50, most: 100 }.within(100), Fees { tip: 50, most: 100 });
    }

    proptest! {
        #[test]
        fn a_replacement_is_a_tenth_more_within_the_cap_or_none(tip: u64, most: u64, now_tip: u64, now_most: u64, cap: u64) {
            let old = Fees { tip: tip.min(most), most };
            let now = Fees { tip: now_tip.min(now_most), most: now_most };
            if let Some(new) = old.replaced(now, cap) {
                prop_assert!(new.most <= cap && new.tip <= new.most);
                let enough = |new: u64, old: u64| u128::from(new) * 10 >= u128::from(old) * 11 && new > old;
                prop_assert!(enough(new.most, old.most) && enough(new.tip, old.tip), "{old:?} {new:?}");
            }
        }
    }
}
