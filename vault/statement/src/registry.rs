//! The registry of every preimage that a vault key ever signs, and of the key that signs it.
//!
//! No two kinds can share bytes: receipts begin with `mug00`, session tokens with `eyJ`, the engine's proof of
//! validator with `PoV`, EIP-712 with 0x1901, and all else with its own `torus/<kind>/v1` and NUL.

use alloc::vec::Vec;

use crate::codec::Writer;

/// The key of a vault that signs a kind of preimage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningKey {
    /// The vault's lasting key.
    Identity,
    /// The epoch's key for votes.
    Consensus,
}

/// Every kind of preimage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// A commitment receipt.
    Receipt,
    /// A session token.
    SessionToken,
    /// Typed data for the contract (EIP-712).
    Contract,
    /// The engine's proof that a peer is a validator.
    ProofOfValidator,
    /// A key certificate.
    KeyCertificate,
    /// A vote of the engine.
    Vote,
    /// A proposal of the engine.
    Proposal,
    /// An envelope session's ephemeral key.
    EnvelopeSession,
    /// A promise to finish a dealing.
    Ready,
    /// The keys of a batch, derived and checked.
    Keys,
    /// The shares of a batch are stored.
    Ack,
    /// How far the audit log has come.
    AuditHead,
}

impl Domain {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::Receipt,
        Self::SessionToken,
        Self::Contract,
        Self::ProofOfValidator,
        Self::KeyCertificate,
        Self::Vote,
        Self::Proposal,
        Self::EnvelopeSession,
        Self::Ready,
        Self::Keys,
        Self::Ack,
        Self::AuditHead,
    ];

    /// What every preimage of this kind begins with.
    pub const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Receipt => b"mug00\x1c",
            Self::SessionToken => b"eyJ",
            Self::Contract => b"\x19\x01",
            Self::ProofOfValidator => b"PoV",
            Self::KeyCertificate => b"torus/key-certificate/v1\0",
            Self::Vote => b"torus/vote/v1\0",
            Self::Proposal => b"torus/proposal/v1\0",
            Self::EnvelopeSession => b"torus/envelope-session/v1\0",
            Self::Ready => b"torus/ready/v1\0",
            Self::Keys => b"torus/keys/v1\0",
            Self::Ack => b"torus/ack/v1\0",
            Self::AuditHead => b"torus/audit-head/v1\0",
        }
    }

    /// The key that signs it.
    pub const fn key(self) -> SigningKey {
        match self {
            Self::Vote | Self::Proposal | Self::ProofOfValidator => SigningKey::Consensus,
            _ => SigningKey::Identity,
        }
    }

    /// A preimage of this kind: the prefix, then the fields.
    pub fn preimage(self, fields: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut w = Writer::default();
        w.raw(self.prefix());
        fields(&mut w);
        w.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_preimage_can_be_of_two_kinds() {
        for a in Domain::ALL {
            for b in Domain::ALL {
                let (pa, pb) = (a.prefix(), b.prefix());
                assert!(a == b || !pa.starts_with(pb), "{a:?} begins like {b:?}");
            }
        }
    }
}
