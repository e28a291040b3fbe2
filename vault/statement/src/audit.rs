//! Heads of vaults' audit logs: signed by the vault, certified by the log, held by its peers.
//!
//! A head stands for every record before it. Of one vault the certified state keeps the newest head, and the newest one
//! that contradicts it: a log that was cut, rewritten or rolled back cannot be shown as the one that peers hold.

use alloc::vec::Vec;

use torus_sharing::Index;

use crate::codec::{Malformed, Reader, Wire, Writer};
use crate::config::EpochConfig;
use crate::hash::Hash;
use crate::key::{PublicKey, Signature};
use crate::registry::Domain;

/// How far a vault's audit log had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// The token's counter at the vault's start: it rises with every start.
    pub start: u64,
    /// Records before this head: it rises with every record and over all starts.
    pub count: u64,
    /// The link of the last of them.
    pub link: Hash,
    /// The vault's time in milliseconds since 1970.
    pub time: u64,
}

/// A head and its vault's signature. Untrusted until `verifies`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedAuditHead {
    /// The head.
    pub head: AuditHead,
    /// By the vault's identity over `AuditHead::preimage`.
    pub signature: Signature,
}

/// How two signed heads of one vault stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The other is later, and may well follow.
    Later,
    /// The other is earlier, or the same: both may be of one log.
    Earlier,
    /// No one log has both: it forked, or went back.
    Contradiction,
}

impl AuditHead {
    /// The bytes that `identity` signs: the chain and the member bind the head to one vault of one network.
    pub fn preimage(&self, chain: &Hash, member: Index) -> Vec<u8> {
        Domain::AuditHead.preimage(|w| {
            w.raw(chain).index(member);
            self.write(w);
        })
    }

    /// How `other` stands to this one. A log grows at every start, so a later start has a higher count.
    pub fn order(&self, other: &Self) -> Order {
        use core::cmp::Ordering as O;
        match (other.start.cmp(&self.start), other.count.cmp(&self.count)) {
            (O::Equal, O::Equal) if other.link == self.link => Order::Earlier,
            (O::Equal | O::Greater, O::Greater) => Order::Later,
            (O::Equal | O::Less, O::Less) => Order::Earlier,
            _ => Order::Contradiction,
        }
    }
}

impl SignedAuditHead {
    /// Whether this member's identity signed it.
    #[must_use]
    pub fn verifies(&self, config: &EpochConfig, member: Index) -> bool {
        config.member(member).is_some_and(|keys| self.signed_by(&keys.identity, &config.committee().chain, member))
    }

    /// Whether this key signed it as the member's of a chain.
    #[must_use]
    pub fn signed_by(&self, identity: &PublicKey, chain: &Hash, member: Index) -> bool {
        self.signature.verifies(identity, &self.head.preimage(chain, member))
    }
}

impl Wire for AuditHead {
    fn write(&self, w: &mut Writer) {
        w.u64(self.start).u64(self.count).raw(&self.link).u64(self.time);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { start: r.u64()?, count: r.u64()?, link: r.array()?, time: r.u64()? })
    }
}

impl Wire for SignedAuditHead {
    fn write(&self, w: &mut Writer) {
        self.head.write(w);
        self.signature.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { head: AuditHead::read(r)?, signature: Signature::read(r)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(start: u64, count: u64, link: u8) -> AuditHead {
        AuditHead { start, count, link: [link; 32], time: 0 }
    }

    #[test]
    fn a_head_goes_forward_or_is_old_or_contradicts() {
        let known = head(5, 100, 1);
        for (other, expected) in [
            (head(5, 101, 2), Order::Later),
            (head(6, 101, 2), Order::Later),
            (head(5, 100, 1), Order::Earlier),
            (head(5, 99, 2), Order::Earlier),
            (head(4, 99, 2), Order::Earlier),
            // Another history of the same length, the same history over a start that left no record, and logs that
            // grew before an older start or shrank over a newer one.
            (head(5, 100, 2), Order::Contradiction),
            (head(6, 100, 1), Order::Contradiction),
            (head(4, 100, 1), Order::Contradiction),
            (head(4, 101, 2), Order::Contradiction),
            (head(6, 99, 2), Order::Contradiction),
        ] {
            assert_eq!(known.order(&other), expected, "{other:?}");
        }
    }
}
