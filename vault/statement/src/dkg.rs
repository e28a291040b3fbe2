//! What vaults sign about key generation: readies, the derived keys of a batch, and that its shares are stored.

use alloc::vec::Vec;

use torus_sharing::Index;

use crate::codec::{Malformed, Reader, Wire, Writer};
use crate::config::EpochConfig;
use crate::hash::{Hash, sha256};
use crate::key::Signature;
use crate::registry::Domain;

/// One attempt at one batch of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    /// The batch, from 0.
    pub batch: u64,
    /// From 0; the log abandons an attempt by opening the next.
    pub attempt: u32,
}

/// One key of a network: its batch and its position in the batch, as one number (batch * 256 + position).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyIndex(u64);

/// A dealing: who dealt, and the digest of his commitment for the whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dealing {
    /// The dealer.
    pub dealer: Index,
    /// The digest of his matrices.
    pub digest: Hash,
}

/// A dealing with the signed readies of a quorum: it will be complete at every honest member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedDealing {
    /// The dealing.
    pub dealing: Dealing,
    /// Members' signatures over `ready`, in rising order.
    pub readies: Vec<(Index, Signature)>,
}

impl Attempt {
    /// The session that everything of this attempt is bound to: network, epoch and config by the config's hash.
    pub fn session(&self, config: &EpochConfig) -> Hash {
        sha256(
            "torus/session/v1\0",
            &[
                &config.committee().chain,
                &config.committee().epoch.to_be_bytes(),
                &config.hash(),
                &self.batch.to_be_bytes(),
                &self.attempt.to_be_bytes(),
            ],
        )
    }

    /// Identity's preimage of a ready: a promise to finish this dealing.
    pub fn ready(&self, config: &EpochConfig, dealing: &Dealing) -> Vec<u8> {
        Domain::Ready.preimage(|w| {
            w.raw(&self.session(config));
            dealing.write(w);
        })
    }

    /// Identity's preimage for the keys of a batch: `published` is the digest of all public keys and commitments.
    pub fn keys(&self, config: &EpochConfig, published: &Hash) -> Vec<u8> {
        Domain::Keys.preimage(|w| {
            w.raw(&self.session(config)).raw(published);
        })
    }

    /// Identity's preimage of an acknowledgement: this member's shares of the published batch are stored.
    pub fn ack(&self, config: &EpochConfig, published: &Hash) -> Vec<u8> {
        Domain::Ack.preimage(|w| {
            w.raw(&self.session(config)).raw(published);
        })
    }
}

/// The digest of a batch's published keys (their canonical bytes, public keys and all commitments).
pub fn published_digest(bytes: &[u8]) -> Hash {
    sha256("torus/published-keys/v1\0", &[bytes])
}

/// Whether at least a quorum of distinct members signed `preimage` with their identities; the list must rise.
#[must_use]
pub fn quorum_signed(config: &EpochConfig, preimage: &[u8], signatures: &[(Index, Signature)]) -> bool {
    signatures.len() >= config.sizes().q()
        && signatures.is_sorted_by(|(a, _), (b, _)| a < b)
        && signatures.iter().all(|(index, signature)| {
            config.member(*index).is_some_and(|keys| signature.verifies(&keys.identity, preimage))
        })
}

impl KeyIndex {
    /// The key at a position of a batch; `None` above 255 or if the batch number leaves no room.
    pub fn new(batch: u64, position: u16) -> Option<Self> {
        let position = u64::from(u8::try_from(position).ok()?);
        batch.checked_mul(256).and_then(|base| base.checked_add(position)).map(Self)
    }

    /// From its number; every number is some position of some batch.
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// As a number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The batch.
    pub const fn batch(self) -> u64 {
        self.0 / 256
    }

    /// The position in the batch.
    pub const fn position(self) -> u16 {
        (self.0 % 256) as u16
    }
}

impl Wire for Attempt {
    fn write(&self, w: &mut Writer) {
        w.u64(self.batch).u32(self.attempt);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { batch: r.u64()?, attempt: r.u32()? })
    }
}

impl Wire for Dealing {
    fn write(&self, w: &mut Writer) {
        w.index(self.dealer).raw(&self.digest);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { dealer: r.index()?, digest: r.array()? })
    }
}

impl Wire for CertifiedDealing {
    fn write(&self, w: &mut Writer) {
        self.dealing.write(w);
        write_signatures(w, &self.readies);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { dealing: Dealing::read(r)?, readies: read_signatures(r)? })
    }
}

pub(crate) fn write_signatures(w: &mut Writer, signatures: &[(Index, Signature)]) {
    w.list(signatures, |w, (index, signature)| {
        w.index(*index);
        signature.write(w);
    });
}

pub(crate) fn read_signatures(r: &mut Reader<'_>) -> Result<Vec<(Index, Signature)>, Malformed> {
    r.list(30, |r| Ok((r.index()?, Signature::read(r)?)))
}
