//! The certified state: the keys and values of its leaves, as nodes keep them and vaults and clients check them.

use alloc::vec::Vec;

use torus_sharing::{Index, Point};

use crate::audit::{Order, SignedAuditHead};
use crate::codec::{Malformed, Reader, Wire, Writer};
use crate::dkg::{Attempt, Dealing, KeyIndex};
use crate::hash::{Hash, sha256};
use crate::merkle::MerkleProof;
use crate::text::{VerifierId, VerifierName};

/// Where each kind of leaf lies. Keys are hashes with a domain each: no personal data is in the log.
pub mod key {
    use super::{Hash, Index, KeyIndex, VerifierId, VerifierName, sha256};

    /// The hash that stands for a user's id in transactions.
    pub fn user(id: &VerifierId) -> Hash {
        sha256("torus/user/v1\0", &[id.as_str().as_bytes()])
    }

    /// `Assignment` of (verifier, user). The state machine sees the verifier and the user's hash apart, so that an
    /// assignment cannot draw on another verifier's allowance.
    pub fn assignment(verifier: &VerifierName, user: &Hash) -> Hash {
        let name = verifier.as_str().as_bytes();
        // A name has at most 128 bytes.
        sha256("torus/state/assignment/v1\0", &[&[name.len() as u8], name, user])
    }

    /// `KeyEntry` of a key.
    pub fn key(index: KeyIndex) -> Hash {
        sha256("torus/state/key/v1\0", &[&index.number().to_be_bytes()])
    }

    /// `Verifier` of a name.
    pub fn verifier(name: &VerifierName) -> Hash {
        sha256("torus/state/verifier/v1\0", &[name.as_str().as_bytes()])
    }

    /// `BatchEntry` of a batch.
    pub fn batch(batch: u64) -> Hash {
        sha256("torus/state/batch/v1\0", &[&batch.to_be_bytes()])
    }

    /// `Supply`: the one leaf of the buffer.
    pub fn supply() -> Hash {
        sha256("torus/state/supply/v1\0", &[])
    }

    /// `Allowance` and sequence of a member.
    pub fn member(index: Index) -> Hash {
        sha256("torus/state/member/v1\0", &[&[index.get()]])
    }

    /// `AuditEntry` of a member.
    pub fn audit(index: Index) -> Hash {
        sha256("torus/state/audit/v1\0", &[&[index.get()]])
    }

    /// `Allowance` of a verifier.
    pub fn verifier_allowance(name: &VerifierName) -> Hash {
        sha256("torus/state/verifier-allowance/v1\0", &[name.as_str().as_bytes()])
    }
}

/// The keys assigned to a user, the lowest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// At least one, at most 8.
    pub keys: Vec<KeyIndex>,
    /// The time of the block that assigned the first, in milliseconds since 1970.
    pub time: u64,
}

/// A published key: its public key, and the public commitment of every member's share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    /// The public key.
    pub public: Point,
    /// S_1..S_n.
    pub commitments: Vec<Point>,
}

/// A batch of keys on its way into the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchEntry {
    /// The attempt in force.
    pub attempt: u32,
    /// Keys of the batch.
    pub keys: u16,
    /// The height that opened the attempt.
    pub height: u64,
    /// The time of that block.
    pub time: u64,
    /// How far it is.
    pub phase: Phase,
}

/// How far a batch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Members deal.
    Open,
    /// The log fixed the dealings that the keys are the sums of: n-t, in rising order of the dealers.
    Qualified {
        /// The qualified set.
        dealings: Vec<Dealing>,
        /// The time of the block that fixed it.
        time: u64,
    },
    /// The keys are in the buffer.
    Published {
        /// Over the public keys and all commitments.
        digest: Hash,
        /// Bit i-1: member i has stored its shares.
        acks: u32,
    },
}

/// The buffer: which batches are under way, and which published keys are not assigned.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Supply {
    /// The next batch to open.
    pub next_batch: u64,
    /// Batches that are open or qualified, in rising order.
    pub pending: Vec<u64>,
    /// Published batches with unassigned keys, in rising order: batch, next position, keys.
    pub available: Vec<(u64, u16, u16)>,
    /// Keys ever assigned.
    pub assigned: u64,
}

/// A member's replay window and allowance.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MemberEntry {
    /// The highest sequence seen.
    pub sequence: u64,
    /// Bit i: `sequence - i` was seen.
    pub window: u128,
    /// What it may still put into blocks.
    pub allowance: Allowance,
}

/// What the log knows of a member's audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// The newest head.
    pub newest: SignedAuditHead,
    /// The newest head that no log with `newest`, or with one before it, can have: this member's log forked or went
    /// back. It stays for good.
    pub contradiction: Option<SignedAuditHead>,
}

/// A token bucket, refilled by header time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Allowance {
    /// Thousandths of an operation left.
    pub milli: u64,
    /// When it was last refilled, in milliseconds since 1970.
    pub time: u64,
}

/// A leaf with the proof that it is in the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven<T> {
    /// The leaf's value.
    pub value: T,
    /// Its place under the root.
    pub proof: MerkleProof,
}

impl<T: Wire> Proven<T> {
    /// The value, if it is stored at `key` under `root`.
    #[must_use]
    pub fn verify(&self, root: &Hash, key: &Hash) -> Option<&T> {
        self.proof.verifies(root, key, &self.value.to_bytes()).then_some(&self.value)
    }
}

impl BatchEntry {
    /// The attempt in force as statements name it.
    pub const fn attempt_of(&self, batch: u64) -> Attempt {
        Attempt { batch, attempt: self.attempt }
    }
}

impl AuditEntry {
    /// With a further head of the same member, whose signature the caller has checked; `None` if that is no news. Of the
    /// heads that contradict, too, the newest is kept.
    #[must_use]
    pub fn with(self, head: SignedAuditHead) -> Option<Self> {
        let place = |signed: &SignedAuditHead| (signed.head.start, signed.head.count);
        match self.newest.head.order(&head.head) {
            Order::Later => Some(Self { newest: head, ..self }),
            Order::Earlier => None,
            Order::Contradiction if self.contradiction.is_some_and(|known| place(&head) <= place(&known)) => None,
            Order::Contradiction => Some(Self { contradiction: Some(head), ..self }),
        }
    }
}

impl Supply {
    /// Published keys that nobody has.
    pub fn unassigned(&self) -> u64 {
        self.available.iter().map(|(_, next, keys)| u64::from(keys.saturating_sub(*next))).sum()
    }
}

impl<T: Wire> Wire for Proven<T> {
    fn write(&self, w: &mut Writer) {
        self.value.write(w);
        self.proof.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { value: T::read(r)?, proof: MerkleProof::read(r)? })
    }
}

impl Wire for Assignment {
    fn write(&self, w: &mut Writer) {
        w.u8(1).list(&self.keys, |w, key| {
            w.u64(key.number());
        });
        w.u64(self.time);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if r.u8()? != 1 {
            return Err(Malformed::Version);
        }
        let keys = r.list(8, |r| r.u64().map(KeyIndex::from_number))?;
        if keys.is_empty() || !keys.is_sorted_by(|a, b| a < b) {
            return Err(Malformed::Field("assigned keys"));
        }
        Ok(Self { keys, time: r.u64()? })
    }
}

impl Wire for KeyEntry {
    fn write(&self, w: &mut Writer) {
        w.u8(1).point(&self.public).list(&self.commitments, |w, commitment| {
            w.point(commitment);
        });
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if r.u8()? != 1 {
            return Err(Malformed::Version);
        }
        Ok(Self { public: r.point()?, commitments: r.list(30, Reader::point)? })
    }
}

impl Wire for BatchEntry {
    fn write(&self, w: &mut Writer) {
        w.u8(1).u32(self.attempt).u16(self.keys).u64(self.height).u64(self.time);
        match &self.phase {
            Phase::Open => {
                w.u8(1);
            }
            Phase::Qualified { dealings, time } => {
                w.u8(2).list(dealings, |w, dealing| dealing.write(w)).u64(*time);
            }
            Phase::Published { digest, acks } => {
                w.u8(3).raw(digest).u32(*acks);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if r.u8()? != 1 {
            return Err(Malformed::Version);
        }
        let (attempt, keys, height, time) = (r.u32()?, r.u16()?, r.u64()?, r.u64()?);
        let phase = match r.u8()? {
            1 => Phase::Open,
            2 => {
                let dealings = r.list(30, Dealing::read)?;
                if !dealings.is_sorted_by(|a, b| a.dealer < b.dealer) {
                    return Err(Malformed::Field("qualified set"));
                }
                Phase::Qualified { dealings, time: r.u64()? }
            }
            3 => Phase::Published { digest: r.array()?, acks: r.u32()? },
            _ => return Err(Malformed::Field("phase")),
        };
        Ok(Self { attempt, keys, height, time, phase })
    }
}

impl Wire for Supply {
    fn write(&self, w: &mut Writer) {
        w.u8(1).u64(self.next_batch).list(&self.pending, |w, batch| {
            w.u64(*batch);
        });
        w.list(&self.available, |w, (batch, next, keys)| {
            w.u64(*batch).u16(*next).u16(*keys);
        });
        w.u64(self.assigned);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if r.u8()? != 1 {
            return Err(Malformed::Version);
        }
        Ok(Self {
            next_batch: r.u64()?,
            pending: r.list(1024, Reader::u64)?,
            available: r.list(65_536, |r| Ok((r.u64()?, r.u16()?, r.u16()?)))?,
            assigned: r.u64()?,
        })
    }
}

impl Wire for AuditEntry {
    fn write(&self, w: &mut Writer) {
        w.u8(1);
        self.newest.write(w);
        w.option(self.contradiction.as_ref(), |w, head| head.write(w));
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if r.u8()? != 1 {
            return Err(Malformed::Version);
        }
        Ok(Self { newest: SignedAuditHead::read(r)?, contradiction: r.option(SignedAuditHead::read)? })
    }
}

impl Wire for Allowance {
    fn write(&self, w: &mut Writer) {
        w.u64(self.milli).u64(self.time);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { milli: r.u64()?, time: r.u64()? })
    }
}

impl Wire for MemberEntry {
    fn write(&self, w: &mut Writer) {
        w.u8(1).u64(self.sequence).u128(self.window);
        self.allowance.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if r.u8()? != 1 {
            return Err(Malformed::Version);
        }
        Ok(Self { sequence: r.u64()?, window: r.u128()?, allowance: Allowance::read(r)? })
    }
}
