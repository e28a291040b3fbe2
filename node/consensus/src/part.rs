//! What nodes send each other beside votes, on the engine's topic for proposal parts.

use bytes::Bytes;
use malachitebft_core_types::SignedProposal;
use torus_statement::block::MAX_BLOCK;

use super::context::Torus;

/// Most transactions of one message.
pub(super) const MAX_TRANSACTIONS: usize = 1024;
/// Most bytes of one message's transactions.
pub(super) const MAX_TRANSACTIONS_BYTES: usize = 1 << 20;
/// Most bytes of one message: a block and its proposal.
pub(super) const MAX_PART: usize = MAX_BLOCK + 1024;

/// A message on the engine's topic for proposal parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A whole block behind the signed proposal that it belongs to: strangers can make nobody store bytes.
    Block {
        /// The proposer's word that he proposes this block in this round.
        proposal: SignedProposal<Torus>,
        /// The block's encoding.
        block: Bytes,
    },
    /// Transactions for the mempools of others.
    Transactions(Vec<Bytes>),
    /// The sender works at this height: whoever rests below it should wake.
    At(u64),
}

impl malachitebft_core_types::ProposalPart<Torus> for Part {
    fn is_first(&self) -> bool {
        true
    }

    fn is_last(&self) -> bool {
        true
    }
}
