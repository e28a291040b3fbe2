//! Blocks that were decided already: given to a peer who catches up, and taken from one.

use malachitebft_app::engine::host::SyncedValueOutcome;
use malachitebft_core_consensus::ProposedValue;
use malachitebft_core_types::{
    CommitCertificate as EngineCertificate, CommitSignature, ExtendedCommitCertificate, Round, VoteExtensions,
};
use malachitebft_sync::RawDecidedValue;
use torus_statement::{Block, CommitCertificate, Wire};

use super::App;
use crate::codec::MAX_SYNCED;
use crate::context::{BlockId, Height, Member, Sig, Torus};
use crate::failure::Stopped;

/// Most bytes of blocks in one answer.
const SYNC_BYTES: usize = 8 << 20;

impl App {
    /// As many of these heights' blocks as one answer holds.
    pub(super) fn stored(&self, start: u64, end: u64) -> Vec<RawDecidedValue<Torus>> {
        let end = end.min(self.chain.tip().height).min(start.saturating_add(MAX_SYNCED as u64).saturating_sub(1));
        if start == 0 || start > end {
            return Vec::new();
        }
        let mut size = 0usize;
        let blocks = self.chain.decided(start..=end).into_iter();
        blocks
            .map(|(block, certificate)| raw(&block, &certificate))
            .take_while(|value| {
                size = size.saturating_add(value.value_bytes.len());
                size <= SYNC_BYTES
            })
            .collect()
    }

    /// A block from a peer's store: judged as any other, but without the clock.
    pub(super) fn synced(
        &mut self,
        height: Height,
        round: Round,
        proposer: Member,
        bytes: &[u8],
    ) -> Result<SyncedValueOutcome<Torus>, Stopped> {
        if self.chain.tip().height.checked_add(1) != Some(height.0) {
            return Ok(SyncedValueOutcome::LocalTransientError);
        }
        let Some((hash, validity)) = self.blocks.synced(round.as_u32().unwrap_or(0), bytes)? else {
            return Ok(SyncedValueOutcome::PeerFault);
        };
        self.state.fetched = Some(hash);
        let value = BlockId(hash);
        Ok(SyncedValueOutcome::Verdict(ProposedValue {
            height,
            round,
            valid_round: Round::Nil,
            proposer,
            value,
            validity,
        }))
    }
}

/// A stored block as the engine sends it to those who catch up.
fn raw(block: &Block, certificate: &CommitCertificate) -> RawDecidedValue<Torus> {
    let signatures = certificate.signatures.iter();
    let certificate = EngineCertificate {
        height: Height(block.header.height),
        round: Round::new(certificate.round),
        value_id: BlockId(block.header.hash()),
        commit_signatures: signatures
            .map(|(index, signature)| CommitSignature::new(Member(*index), Sig(signature.to_bytes())))
            .collect(),
    };
    let extended =
        ExtendedCommitCertificate::from_commit_certificate_and_extensions(certificate, VoteExtensions::default());
    RawDecidedValue::new(block.to_bytes().into(), extended)
}
