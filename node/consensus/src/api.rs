//! The edge: what the engine needs of the chain and of the vault, in our own types. Nothing of Malachite passes it.

use std::ops::RangeInclusive;

use async_trait::async_trait;
use torus_ipc::{HeldVotes, VoteRequest};
use torus_statement::certificate::SignedHeader;
use torus_statement::vote::Proposal;
use torus_statement::{Block, CommitCertificate, Hash, Signature, SignedVote};

/// The chain cannot go on: the disk is full, or what it holds contradicts itself. Ends the engine.
#[derive(Debug, thiserror::Error)]
#[error("the chain failed: {0}")]
pub struct ChainFailed(pub String);

/// A block or transaction is not acceptable, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused: {0}")]
pub struct Refused(pub String);

/// The newest committed block; before the first, genesis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Its height, 0 for genesis.
    pub height: u64,
    /// Its hash: the parent of the next block. At height 0 the chain's id.
    pub hash: Hash,
    /// Its time in milliseconds since 1970.
    pub time: u64,
    /// The header and its certificate; `None` at height 0.
    pub certified: Option<SignedHeader>,
}

/// A block of an undecided height that was proposed and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The round in which it was proposed.
    pub round: u32,
    /// Whether this member proposed it in that round: it must never propose another there.
    pub own: bool,
    /// The block.
    pub block: Block,
}

/// The replicated state and its store. Calls block for as long as the disk takes; they come one at a time from the
/// engine's loop, but for `tip`, `submit` and `has_work`, which come from anywhere.
pub trait Chain: Send + Sync + 'static {
    /// The newest committed block.
    fn tip(&self) -> Tip;

    /// The lowest height whose block is still stored.
    fn min_height(&self) -> u64;

    /// A block on the tip from what waits in the mempool, by this member, with a time above the parent's and as near
    /// to `now` (milliseconds since 1970) as that allows. The post-state root in its header is that of executing it.
    fn build(&self, now: u64) -> Result<Block, ChainFailed>;

    /// Whether the block may follow the tip: chain, epoch, height, parent, config, transactions root, post-state root,
    /// a member as proposer (not necessarily this round's: a block may be proposed again), a time above the parent's
    /// and, with a clock, at most the config's skew above it. Without a clock the block has a certificate already.
    fn check(&self, block: &Block, clock: Option<u64>) -> Result<(), Refused>;

    /// Commits block, certificate and effects in one transaction of the store, and forgets what was kept at its
    /// height. Only blocks that `check` accepted come here, with a certificate that was verified.
    fn commit(&self, block: &Block, certificate: &CommitCertificate) -> Result<(), ChainFailed>;

    /// Committed blocks of a range of heights, in order and without gap, as many as are there.
    fn decided(&self, range: RangeInclusive<u64>) -> Vec<(Block, CommitCertificate)>;

    /// Keeps a block of the height above the tip durably, before anyone votes on it.
    fn keep(&self, kept: &Kept) -> Result<(), ChainFailed>;

    /// What was kept at the height above the tip.
    fn kept(&self) -> Vec<Kept>;

    /// Takes a transaction into the mempool after checking its sender's signature and the mempool's bounds. `true` if
    /// it was not there before.
    fn submit(&self, transaction: &[u8]) -> Result<bool, Refused>;

    /// Whether the mempool holds something that a block can take. What no block can take must not count: heights would
    /// follow each other for nothing.
    fn has_work(&self) -> bool;
}

/// The vault as far as the engine needs it. A fault that passes (a vault that restarts, a slow HSM) is waited for
/// inside; `None` is a refusal for good. The engine waits for each answer.
#[async_trait]
pub trait VoteSigner: Send + Sync + 'static {
    /// Shows the vault the newest certified header; it votes only at the height above.
    async fn show(&self, newest: &SignedHeader);

    /// Asks for a vote. The answer may be another vote of the same height, round and step: nil, or what the vault
    /// recorded when it was asked before.
    async fn sign_vote(&self, request: VoteRequest) -> Option<SignedVote>;

    /// Asks for the signature of a proposal.
    async fn sign_proposal(&self, proposal: Proposal) -> Option<Signature>;

    /// Asks for the engine's proof that this peer is the validator with this (compressed) key.
    async fn sign_proof(&self, public_key: &[u8], peer_id: &[u8]) -> Option<Signature>;

    /// The vault's own votes of the height above its newest certified header, and its lock's polka.
    async fn held(&self) -> Option<HeldVotes>;
}
