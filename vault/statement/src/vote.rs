//! Votes and proposals of the BFT engine, as the vault builds and signs them from typed fields.

use alloc::vec::Vec;

use torus_sharing::Index;

use crate::codec::{Malformed, Reader, Wire, Writer};
use crate::config::EpochConfig;
use crate::hash::Hash;
use crate::key::Signature;
use crate::registry::Domain;

/// The step of a round that a vote belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// First vote of a round.
    Prevote,
    /// Second vote of a round: a quorum of these for one block decides it.
    Precommit,
}

/// A vote: for a block's hash, or for nil.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vote {
    /// The step.
    pub step: Step,
    /// The height.
    pub height: u64,
    /// The round, from 0.
    pub round: u32,
    /// The block, or `None` for nil.
    pub block: Option<Hash>,
}

/// A proposal of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// The height.
    pub height: u64,
    /// The round, from 0.
    pub round: u32,
    /// The block.
    pub block: Hash,
    /// The round whose polka justifies proposing the block again.
    pub polka_round: Option<u32>,
}

/// A vote, who cast it, and his signature. Untrusted until `verifies`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedVote {
    /// The vote.
    pub vote: Vote,
    /// The voter.
    pub voter: Index,
    /// By the voter's consensus key.
    pub signature: Signature,
}

impl Vote {
    /// The bytes that the consensus key signs: the chain, epoch and config bind the vote to one committee.
    pub fn preimage(&self, config: &EpochConfig) -> Vec<u8> {
        Domain::Vote.preimage(|w| {
            bind(w, config);
            self.write(w);
        })
    }
}

impl Proposal {
    /// The bytes that the consensus key signs.
    pub fn preimage(&self, config: &EpochConfig) -> Vec<u8> {
        Domain::Proposal.preimage(|w| {
            bind(w, config);
            self.write(w);
        })
    }
}

impl SignedVote {
    /// Whether the voter, a member of the config, signed this vote.
    #[must_use]
    pub fn verifies(&self, config: &EpochConfig) -> bool {
        config
            .member(self.voter)
            .is_some_and(|keys| self.signature.verifies(&keys.consensus, &self.vote.preimage(config)))
    }
}

/// The bytes by which the engine proves that a peer is a validator (its own layout, without a domain of ours).
pub fn proof_of_validator(public_key: &[u8], peer_id: &[u8]) -> Vec<u8> {
    Domain::ProofOfValidator.preimage(|w| {
        w.bytes(public_key).bytes(peer_id);
    })
}

fn bind(w: &mut Writer, config: &EpochConfig) {
    let committee = config.committee();
    w.raw(&committee.chain).u64(committee.epoch).raw(&config.hash());
}

impl Wire for Step {
    fn write(&self, w: &mut Writer) {
        w.u8(match self {
            Self::Prevote => 1,
            Self::Precommit => 2,
        });
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        match r.u8()? {
            1 => Ok(Self::Prevote),
            2 => Ok(Self::Precommit),
            _ => Err(Malformed::Field("step")),
        }
    }
}

impl Wire for Vote {
    fn write(&self, w: &mut Writer) {
        self.step.write(w);
        w.u64(self.height).u32(self.round).option(self.block.as_ref(), |w, block| {
            w.raw(block);
        });
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { step: Step::read(r)?, height: r.u64()?, round: r.u32()?, block: r.option(Reader::array)? })
    }
}

impl Wire for Proposal {
    fn write(&self, w: &mut Writer) {
        w.u64(self.height).u32(self.round).raw(&self.block).option(self.polka_round.as_ref(), |w, round| {
            w.u32(*round);
        });
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { height: r.u64()?, round: r.u32()?, block: r.array()?, polka_round: r.option(Reader::u32)? })
    }
}

impl Wire for SignedVote {
    fn write(&self, w: &mut Writer) {
        self.vote.write(w);
        w.index(self.voter);
        self.signature.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { vote: Vote::read(r)?, voter: r.index()?, signature: Signature::read(r)? })
    }
}
