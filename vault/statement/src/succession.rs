//! How one epoch's config follows another: the last block of an epoch names the config of the next.
//!
//! A vault trusts the config that its operator approved for the network's first epoch, and from there on what follows by
//! these rules and was approved as well. Nothing here judges who the members are: that is for the operators.

use crate::certificate::Certified;
use crate::config::{Committee, EpochConfig};
use crate::hash::Hash;

/// Why a config is not the one that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotNext {
    /// The header is not the last of the epoch before, or names another config.
    #[error("the epoch's last block names another config")]
    NotNamed,
    /// It is not the epoch after, or says that it follows another config.
    #[error("it does not follow the config in force")]
    Order,
    /// It changes what is fixed when a network is founded: name, chain, genesis or the members' durations.
    #[error("it changes what is fixed for the network")]
    Fixed,
    /// Its end is not after the block that it follows.
    #[error("it ends before it begins")]
    Over,
}

/// Whether `next` may come after the committee `before`, whose whole config has the hash `config`: the next epoch of the
/// same network.
///
/// # Errors
/// [`NotNext::Order`] and [`NotNext::Fixed`].
pub fn may_follow(next: &Committee, before: &Committee, config: &Hash) -> Result<(), NotNext> {
    if before.epoch.checked_add(1) != Some(next.epoch) || next.predecessor != *config {
        return Err(NotNext::Order);
    }
    // The durations, too: a commitment is kept for as long as the network's oldest token may live, over all epochs.
    let same = next.network == before.network
        && next.chain == before.chain
        && next.genesis_time == before.genesis_time
        && next.genesis_root == before.genesis_root
        && next.times == before.times;
    if same { Ok(()) } else { Err(NotNext::Fixed) }
}

/// Whether `next` is the config that comes after `before`, as the last block of that epoch says. The caller's
/// obligations: it trusts `before`, verified `last` under it, and, if it is a vault, has its operator's approval of the
/// committee.
///
/// # Errors
/// See [`NotNext`].
pub fn follows(next: &EpochConfig, before: &EpochConfig, last: &Certified) -> Result<(), NotNext> {
    let header = last.header();
    if header.config != before.hash() || header.next_config != next.hash() || next.hash() == before.hash() {
        return Err(NotNext::NotNamed);
    }
    may_follow(next.committee(), before.committee(), &before.hash())?;
    if next.committee().end > header.time { Ok(()) } else { Err(NotNext::Over) }
}
