//! The engine's vocabulary in terms of ours: members, heights, votes over block hashes. It holds no bytes of blocks.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use malachitebft_core_types::{
    Context, LinearTimeouts, NilOrVal, Round, SignedExtension, SigningScheme, VoteType, VotingPower,
};
use torus_statement::{EpochConfig, Hash, Index, Point, Step, Vote, vote::Proposal};

use super::part::Part;

/// The engine's context: one committee.
#[derive(Clone, Debug, Default)]
pub(super) struct Torus;

/// A validator's address: its index, which outlives its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member(pub(super) Index);

/// A height of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Height(pub(super) u64);

/// A block's hash, both value and id: the bytes stay with the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct BlockId(pub(super) Hash);

/// A vote and who cast it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EngineVote {
    pub(super) height: Height,
    pub(super) round: Round,
    pub(super) value: NilOrVal<BlockId>,
    pub(super) kind: VoteType,
    pub(super) voter: Member,
}

/// A proposal and who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EngineProposal {
    pub(super) height: Height,
    pub(super) round: Round,
    pub(super) value: BlockId,
    pub(super) pol_round: Round,
    pub(super) proposer: Member,
}

/// One validator; all have power 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Validator {
    member: Member,
    key: Point,
}

/// The validators of one epoch, in the order of their indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ValidatorSet(Arc<Vec<Validator>>);

/// r | s of ECDSA on secp256k1; all zero stands for "the vault signed nothing" and never verifies nor travels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sig(pub(super) [u8; 64]);

/// ECDSA on secp256k1 over Keccak-256 of our own preimages. It has no private key: that is in the vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scheme;

/// No value: the node holds no key.
#[derive(Clone, Debug)]
pub(super) enum NoKey {}

impl Sig {
    /// The vault refused to sign.
    pub(super) const ABSENT: Self = Self([0; 64]);
}

impl EngineVote {
    /// The vote as we sign and verify it; `None` for rounds that nobody votes in.
    pub(super) fn plain(&self) -> Option<Vote> {
        Some(Vote {
            step: match self.kind {
                VoteType::Prevote => Step::Prevote,
                VoteType::Precommit => Step::Precommit,
            },
            height: self.height.0,
            round: self.round.as_u32()?,
            block: match self.value {
                NilOrVal::Nil => None,
                NilOrVal::Val(id) => Some(id.0),
            },
        })
    }

    /// The engine's form of a vote.
    pub(super) fn new(vote: &Vote, voter: Index) -> Self {
        Self {
            height: Height(vote.height),
            round: Round::new(vote.round),
            value: vote.block.map_or(NilOrVal::Nil, |hash| NilOrVal::Val(BlockId(hash))),
            kind: match vote.step {
                Step::Prevote => VoteType::Prevote,
                Step::Precommit => VoteType::Precommit,
            },
            voter: Member(voter),
        }
    }
}

impl EngineProposal {
    /// The proposal as we sign and verify it.
    pub(super) fn plain(&self) -> Option<Proposal> {
        Some(Proposal {
            height: self.height.0,
            round: self.round.as_u32()?,
            block: self.value.0,
            polka_round: self.pol_round.as_u32(),
        })
    }

    /// The engine's form of a proposal.
    pub(super) fn new(proposal: &Proposal, proposer: Index) -> Self {
        Self {
            height: Height(proposal.height),
            round: Round::new(proposal.round),
            value: BlockId(proposal.block),
            pol_round: proposal.polka_round.map_or(Round::Nil, Round::new),
            proposer: Member(proposer),
        }
    }
}

impl ValidatorSet {
    /// The validators that a config names.
    pub(super) fn new(config: &EpochConfig) -> Self {
        let validators = config.sizes().members().filter_map(|index| {
            config.member(index).map(|keys| Validator { member: Member(index), key: keys.consensus })
        });
        Self(Arc::new(validators.collect()))
    }
}

/// Who proposes in a round: everyone in turn.
pub(super) fn proposer(members: usize, height: u64, round: u32) -> Option<Index> {
    let slot = height.wrapping_add(u64::from(round)).checked_rem(members as u64)?;
    Index::new(u8::try_from(slot).ok()?.checked_add(1)?)
}

impl Context for Torus {
    type Address = Member;
    type Height = Height;
    type ProposalPart = Part;
    type Proposal = EngineProposal;
    type Validator = Validator;
    type ValidatorSet = ValidatorSet;
    type Timeouts = LinearTimeouts;
    type Value = BlockId;
    type Vote = EngineVote;
    type Extension = Bytes;
    type SigningScheme = Scheme;

    #[allow(clippy::expect_used)] // The engine refuses to start a height with an empty set.
    fn select_proposer<'a>(&self, set: &'a ValidatorSet, height: Height, round: Round) -> &'a Validator {
        let round = round.as_u32().unwrap_or(0);
        proposer(set.0.len(), height.0, round)
            .and_then(|index| set.0.get(index.slot()))
            .expect("a validator set is never empty")
    }

    fn new_proposal(
        &self,
        height: Height,
        round: Round,
        value: BlockId,
        pol_round: Round,
        proposer: Member,
    ) -> EngineProposal {
        EngineProposal { height, round, value, pol_round, proposer }
    }

    fn new_prevote(&self, height: Height, round: Round, value: NilOrVal<BlockId>, voter: Member) -> EngineVote {
        EngineVote { height, round, value, kind: VoteType::Prevote, voter }
    }

    fn new_precommit(&self, height: Height, round: Round, value: NilOrVal<BlockId>, voter: Member) -> EngineVote {
        EngineVote { height, round, value, kind: VoteType::Precommit, voter }
    }
}

impl malachitebft_core_types::Address for Member {}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member {}", self.0)
    }
}

impl malachitebft_core_types::Height for Height {
    const ZERO: Self = Self(0);
    const INITIAL: Self = Self(1);

    fn increment_by(&self, n: u64) -> Self {
        Self(self.0.saturating_add(n))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.checked_sub(n).map(Self)
    }

    fn as_u64(&self) -> u64 {
        self.0
    }
}

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl malachitebft_core_types::Value for BlockId {
    type Id = Self;

    fn id(&self) -> Self {
        *self
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl malachitebft_core_types::Vote<Torus> for EngineVote {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<BlockId> {
        &self.value
    }

    fn take_value(self) -> NilOrVal<BlockId> {
        self.value
    }

    fn vote_type(&self) -> VoteType {
        self.kind
    }

    fn validator_address(&self) -> &Member {
        &self.voter
    }

    fn extension(&self) -> Option<&SignedExtension<Torus>> {
        None
    }

    fn take_extension(&mut self) -> Option<SignedExtension<Torus>> {
        None
    }

    fn extend(self, _extension: SignedExtension<Torus>) -> Self {
        // Extensions are switched off: the engine never asks for one.
        self
    }
}

impl malachitebft_core_types::Proposal<Torus> for EngineProposal {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &BlockId {
        &self.value
    }

    fn take_value(self) -> BlockId {
        self.value
    }

    fn pol_round(&self) -> Round {
        self.pol_round
    }

    fn validator_address(&self) -> &Member {
        &self.proposer
    }
}

impl malachitebft_core_types::Validator<Torus> for Validator {
    fn address(&self) -> &Member {
        &self.member
    }

    fn public_key(&self) -> &Point {
        &self.key
    }

    fn voting_power(&self) -> VotingPower {
        1
    }
}

impl malachitebft_core_types::ValidatorSet<Torus> for ValidatorSet {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn total_voting_power(&self) -> VotingPower {
        self.0.len() as u64
    }

    fn get_by_address(&self, member: &Member) -> Option<&Validator> {
        self.0.get(member.0.slot())
    }

    fn get_by_index(&self, slot: usize) -> Option<&Validator> {
        self.0.get(slot)
    }
}

impl fmt::Debug for Sig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sig")
    }
}

impl SigningScheme for Scheme {
    type DecodingError = &'static str;
    type Signature = Sig;
    type PublicKey = Point;
    type PrivateKey = NoKey;

    fn decode_signature(bytes: &[u8]) -> Result<Sig, Self::DecodingError> {
        bytes.try_into().map(Sig).map_err(|_| "a signature has 64 bytes")
    }

    fn encode_signature(signature: &Sig) -> Vec<u8> {
        signature.0.to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<Point, Self::DecodingError> {
        let bytes = bytes.try_into().map_err(|_| "a public key has 33 bytes")?;
        Point::from_compressed(bytes).map_err(|_| "not a public key")
    }

    fn encode_public_key(key: &Point) -> Vec<u8> {
        key.to_compressed().to_vec()
    }
}
