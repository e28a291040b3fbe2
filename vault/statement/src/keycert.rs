//! The key certificate: one vault's keys of one epoch and attempt, signed by its identity.
//!
//! A vault accepts an epoch's config only if every member's certificate verifies and its own entry equals its own
//! keys: so no node can slip in an envelope key of its own.

use torus_sharing::Index;

use crate::codec::{Malformed, Reader, Wire, Writer};
use crate::key::{PublicKey, Signature};
use crate::registry::Domain;
use crate::text::NetworkName;

/// Where a vault's shares live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residency {
    /// Sealed under a key of the HSM, opened in the vault's memory.
    Sealed,
    /// Inside the device, which computes on them.
    Firmware,
}

/// One vault's keys, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyCertificate {
    /// What the identity signed.
    pub keys: MemberKeys,
    /// By `keys.identity`.
    pub signature: Signature,
}

/// The signed fields of a key certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberKeys {
    /// The network that the identity belongs to; it joins no other.
    pub network: NetworkName,
    /// The epoch that the keys are for.
    pub epoch: u64,
    /// The attempt to form that epoch's committee.
    pub attempt: u32,
    /// The member's index.
    pub index: Index,
    /// The vault's lasting key, the node's key in the contract.
    pub identity: PublicKey,
    /// Opens envelopes.
    pub envelope: PublicKey,
    /// Signs votes, proposals and the engine's proof of validator.
    pub consensus: PublicKey,
    /// The node's Ed25519 p2p key.
    pub p2p: [u8; 32],
    /// Where the shares live.
    pub residency: Residency,
}

impl MemberKeys {
    /// The bytes that `identity` signs.
    pub fn preimage(&self) -> alloc::vec::Vec<u8> {
        Domain::KeyCertificate.preimage(|w| self.write(w))
    }

    /// What operators compare on another channel: it covers every key and what they are for.
    pub fn fingerprint(&self) -> crate::hash::Hash {
        crate::hash::sha256("torus/fingerprint/v1\0", &[&self.to_bytes()])
    }

    /// The fingerprint as people compare it: 64 hex digits in groups of four.
    pub fn fingerprint_text(&self) -> alloc::string::String {
        let mut text = crate::receipt::hex(&self.fingerprint());
        (1..16).rev().for_each(|group| text.insert(4 * group, ' '));
        text
    }
}

impl KeyCertificate {
    /// Whether the identity in it signed it.
    #[must_use]
    pub fn verifies(&self) -> bool {
        self.signature.verifies(&self.keys.identity, &self.keys.preimage())
    }
}

impl Wire for Residency {
    fn write(&self, w: &mut Writer) {
        w.u8(match self {
            Self::Sealed => 1,
            Self::Firmware => 2,
        });
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        match r.u8()? {
            1 => Ok(Self::Sealed),
            2 => Ok(Self::Firmware),
            _ => Err(Malformed::Field("residency")),
        }
    }
}

impl Wire for MemberKeys {
    fn write(&self, w: &mut Writer) {
        self.network.write(w);
        w.u64(self.epoch).u32(self.attempt).index(self.index);
        w.point(&self.identity).point(&self.envelope).point(&self.consensus).raw(&self.p2p);
        self.residency.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            network: NetworkName::read(r)?,
            epoch: r.u64()?,
            attempt: r.u32()?,
            index: r.index()?,
            identity: r.point()?,
            envelope: r.point()?,
            consensus: r.point()?,
            p2p: r.array()?,
            residency: Residency::read(r)?,
        })
    }
}

impl Wire for KeyCertificate {
    fn write(&self, w: &mut Writer) {
        self.keys.write(w);
        self.signature.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { keys: MemberKeys::read(r)?, signature: Signature::read(r)? })
    }
}
