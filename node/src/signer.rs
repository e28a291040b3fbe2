//! The engine's view of the vault: votes, proposals and proofs of validator over the IPC link.
//!
//! What passes (a busy vault, a slow HSM) is waited for here, since the engine takes an error for its own end. What
//! does not pass (the vault has gone, or votes no more) is answered with `None`.

use std::time::Duration;

use async_trait::async_trait;
use torus_ipc::{Deny, HeldVotes, Request, Response, VoteRequest};
use torus_statement::certificate::SignedHeader;
use torus_statement::vote::Proposal;
use torus_statement::{Signature, SignedVote};

use crate::vault_link::{LinkError, VaultLink};
use torus_consensus::VoteSigner;

const PAUSE: Duration = Duration::from_millis(100);

/// Signs through the vault.
pub struct VaultSigner {
    link: VaultLink,
}

impl VaultSigner {
    /// A signer over the link.
    pub const fn new(link: VaultLink) -> Self {
        Self { link }
    }

    async fn insist(&self, request: Request) -> Option<Response> {
        loop {
            match self.link.ask(request.clone()).await {
                Ok(Response::Denied(Deny::Busy | Deny::Device | Deny::Store)) | Err(LinkError::Timeout(_)) => {
                    tokio::time::sleep(PAUSE).await;
                }
                Ok(Response::Denied(deny)) => {
                    tracing::warn!(code = deny.code(), "the vault does not sign: {deny}");
                    return None;
                }
                Ok(response) => return Some(response),
                Err(error) => {
                    tracing::error!(%error, "no answer from the vault");
                    return None;
                }
            }
        }
    }
}

#[async_trait]
impl VoteSigner for VaultSigner {
    async fn show(&self, newest: &SignedHeader) {
        self.insist(Request::Advance(Box::new(newest.clone()))).await;
    }

    async fn sign_vote(&self, request: VoteRequest) -> Option<SignedVote> {
        match self.insist(Request::SignVote(request)).await? {
            Response::Vote(vote) => Some(vote),
            _ => None,
        }
    }

    async fn sign_proposal(&self, proposal: Proposal) -> Option<Signature> {
        match self.insist(Request::SignProposal(proposal)).await? {
            Response::Signature(signature) => Some(signature),
            _ => None,
        }
    }

    async fn sign_proof(&self, _public_key: &[u8], peer_id: &[u8]) -> Option<Signature> {
        // The vault puts its own consensus key in: the caller's is not asked for.
        match self.insist(Request::SignProofOfValidator(peer_id.to_vec())).await? {
            Response::Signature(signature) => Some(signature),
            _ => None,
        }
    }

    async fn held(&self) -> Option<HeldVotes> {
        match self.insist(Request::HeldVotes).await? {
            Response::HeldVotes(votes) => Some(votes),
            _ => None,
        }
    }
}
