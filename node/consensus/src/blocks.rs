//! Blocks of the height above the tip that were proposed: kept durably before anyone votes on them, offered to the
//! engine with a verdict. Only a proposer's signature makes room here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use malachitebft_core_consensus::ProposedValue;
use malachitebft_core_types::{Round, SignedProposal, Validity};
use torus_statement::{Block, EpochConfig, Hash, Index, Wire};
use tracing::warn;

use super::api::{Chain, ChainFailed, Kept};
use super::context::{BlockId, Height, Member, Torus, proposer};
use super::signing::proposal_verifies;

/// Most blocks that one proposer may offer in one round: two prove that he lies.
const PER_ROUND: usize = 2;
/// Most blocks, valid or not, that are judged in one round.
const TRIES_PER_ROUND: u8 = 4;
/// Most blocks of one height.
const PER_HEIGHT: usize = 64;
/// Most blocks of one proposer that are held for the height after this one; those of later heights are not held.
const AHEAD: usize = 2;

/// A valid block of the height above the tip.
pub(super) struct Known {
    pub(super) block: Block,
    pub(super) bytes: Bytes,
}

/// What a block part led to.
pub(super) enum Offered {
    /// For the engine.
    Value(ProposedValue<Torus>),
    /// A height that this node has not reached: its proposer is ahead.
    Ahead,
    /// Not a proposer's, of the past, or one too many.
    Refused,
}

/// The blocks of the height above the tip.
pub(super) struct Blocks {
    chain: Arc<dyn Chain>,
    config: Arc<EpochConfig>,
    height: u64,
    known: HashMap<Hash, Known>,
    rounds: BTreeMap<u32, Vec<Hash>>,
    tries: BTreeMap<u32, u8>,
    own: BTreeMap<u32, Hash>,
    ahead: Vec<(SignedProposal<Torus>, Bytes)>,
}

impl Blocks {
    /// What was kept before the last stop.
    pub(super) fn load(chain: Arc<dyn Chain>, config: Arc<EpochConfig>) -> Self {
        let mut blocks = Self {
            height: 0,
            known: HashMap::new(),
            rounds: BTreeMap::new(),
            tries: BTreeMap::new(),
            own: BTreeMap::new(),
            ahead: Vec::new(),
            chain,
            config,
        };
        blocks.next_height();
        blocks
    }

    /// Begins the height above the tip.
    pub(super) fn next_height(&mut self) {
        self.height = self.chain.tip().height.saturating_add(1);
        self.known.clear();
        self.rounds.clear();
        self.tries.clear();
        self.own.clear();
        for kept in self.chain.kept() {
            if kept.block.header.height == self.height {
                self.remember(kept.round, kept.own, kept.block);
            }
        }
    }

    /// The block of a hash.
    pub(super) fn get(&self, hash: &Hash) -> Option<&Known> {
        self.known.get(hash)
    }

    /// The block that this member proposed in a round.
    pub(super) fn own(&self, round: u32) -> Option<Hash> {
        self.own.get(&round).copied()
    }

    /// Whether the rightful proposer of this height was heard before it began.
    pub(super) fn awaited(&self) -> bool {
        self.ahead.iter().any(|(proposal, _)| proposal.message.height.0 == self.height)
    }

    /// All blocks of the height, as the engine wants to hear of them when a round starts. Those that came before their
    /// height are judged now.
    pub(super) fn values(&mut self, now: u64) -> Result<Vec<ProposedValue<Torus>>, ChainFailed> {
        let height = self.height;
        let due: Vec<_> = self.ahead.extract_if(.., |(proposal, _)| proposal.message.height.0 <= height).collect();
        for (proposal, bytes) in due {
            self.offer(proposal, bytes, now)?;
        }
        Ok(self
            .rounds
            .iter()
            .flat_map(|(round, hashes)| hashes.iter().map(|hash| (*round, *hash)))
            .filter_map(|(round, hash)| self.value(round, hash, Validity::Valid))
            .collect())
    }

    /// A block part of a peer.
    pub(super) fn offer(
        &mut self,
        proposal: SignedProposal<Torus>,
        bytes: Bytes,
        now: u64,
    ) -> Result<Offered, ChainFailed> {
        let (height, value) = (proposal.message.height.0, proposal.message.value.0);
        let Some(round) = proposal.message.round.as_u32() else { return Ok(Offered::Refused) };
        let due = proposer(self.config.sizes().n(), height, round);
        if height < self.height || due != Some(proposal.message.proposer.0) {
            return Ok(Offered::Refused);
        }
        if !proposal_verifies(&self.config, &proposal) {
            warn!(height, round, "a block whose proposal does not verify");
            return Ok(Offered::Refused);
        }
        if height > self.height {
            let by_him = self.ahead.iter().filter(|(other, _)| other.message.proposer == proposal.message.proposer);
            let known = by_him.clone().any(|(other, _)| other.message == proposal.message);
            if !known && by_him.count() < AHEAD && height == self.height.saturating_add(1) {
                self.ahead.push((proposal, bytes));
            }
            return Ok(Offered::Ahead);
        }
        if !self.known.contains_key(&value) {
            let offered = self.rounds.get(&round).map_or(0, Vec::len);
            let tries = self.tries.entry(round).or_default();
            *tries = tries.saturating_add(1);
            if *tries > TRIES_PER_ROUND || offered >= PER_ROUND || self.known.len() >= PER_HEIGHT {
                warn!(height, round, "too many blocks in one round");
                return Ok(Offered::Refused);
            }
            let Some(block) = parse(&bytes, value) else {
                warn!(height, round, "a block that is not the proposed one");
                return Ok(Offered::Refused);
            };
            if let Err(refused) = self.chain.check(&block, Some(now)) {
                warn!(height, round, %refused, "a proposed block is not valid");
                return Ok(self.value(round, value, Validity::Invalid).map_or(Offered::Refused, Offered::Value));
            }
            self.keep(round, false, block)?;
        } else if !self.rounds.get(&round).is_some_and(|hashes| hashes.contains(&value)) {
            self.rounds.entry(round).or_default().push(value);
        }
        Ok(self.value(round, value, Validity::Valid).map_or(Offered::Refused, Offered::Value))
    }

    /// A block that came with a verified certificate: its time was judged by those who voted.
    pub(super) fn synced(&mut self, round: u32, bytes: &[u8]) -> Result<Option<(Hash, Validity)>, ChainFailed> {
        let Ok(block) = Block::from_bytes(bytes) else { return Ok(None) };
        let hash = block.header.hash();
        if block.header.height != self.height {
            return Ok(None);
        }
        if !self.known.contains_key(&hash) {
            if let Err(refused) = self.chain.check(&block, None) {
                warn!(height = self.height, %refused, "a certified block is not valid here");
                return Ok(Some((hash, Validity::Invalid)));
            }
            self.keep(round, false, block)?;
        }
        Ok(Some((hash, Validity::Valid)))
    }

    /// A block of this member's own.
    pub(super) fn propose(&mut self, round: u32, block: Block) -> Result<Hash, ChainFailed> {
        let hash = block.header.hash();
        self.keep(round, true, block)?;
        Ok(hash)
    }

    fn keep(&mut self, round: u32, own: bool, block: Block) -> Result<(), ChainFailed> {
        let kept = Kept { round, own, block };
        self.chain.keep(&kept)?;
        self.remember(kept.round, kept.own, kept.block);
        Ok(())
    }

    fn remember(&mut self, round: u32, own: bool, block: Block) {
        let hash = block.header.hash();
        let hashes = self.rounds.entry(round).or_default();
        if !hashes.contains(&hash) {
            hashes.push(hash);
        }
        if own {
            self.own.insert(round, hash);
        }
        let bytes = Bytes::from(block.to_bytes());
        self.known.insert(hash, Known { block, bytes });
    }

    fn value(&self, round: u32, hash: Hash, validity: Validity) -> Option<ProposedValue<Torus>> {
        Some(ProposedValue {
            height: Height(self.height),
            round: Round::new(round),
            valid_round: Round::Nil,
            proposer: Member(self.due(round)?),
            value: BlockId(hash),
            validity,
        })
    }

    fn due(&self, round: u32) -> Option<Index> {
        proposer(self.config.sizes().n(), self.height, round)
    }
}

/// The block with this hash, whose transactions are those that its header names.
fn parse(bytes: &[u8], hash: Hash) -> Option<Block> {
    let block = Block::from_bytes(bytes).ok()?;
    let named = torus_statement::block::transactions_root(&block.transactions);
    (block.header.hash() == hash && block.header.transactions == named).then_some(block)
}
