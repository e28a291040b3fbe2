//! Signatures of the engine: verified here, made by the vault. This module hides every answer that the engine could
//! not bear: a refusal becomes a vote without a signature, which the codec sends nowhere, never an error.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use malachitebft_core_types::{
    SignedExtension, SignedMessage, SignedProposal, SignedVote, ValidatorProof, VoteExtensionScope,
};
use malachitebft_signing::{Error, Signer, VerificationResult, Verifier};
use torus_ipc::VoteRequest;
use torus_statement::{EpochConfig, Index, Point, Signature, vote::proof_of_validator};
use tracing::{error, warn};

use super::api::{Chain, VoteSigner};
use super::book::Book;
use super::context::{EngineProposal, EngineVote, Sig, Torus};
use super::marker::Marker;

/// The vote book, shared by the verifier, which fills it, and the signer, which reads it.
#[derive(Clone)]
pub(super) struct SharedBook(Arc<Mutex<Book>>);

/// Verifies votes and proposals, and writes every verified vote into the book.
pub(super) struct TorusVerifier {
    config: Arc<EpochConfig>,
    book: SharedBook,
}

/// Has the vault sign, with the evidence that its rule asks for.
pub(super) struct VaultSigner {
    pub(super) config: Arc<EpochConfig>,
    pub(super) index: Index,
    pub(super) vault: Arc<dyn VoteSigner>,
    pub(super) book: SharedBook,
    pub(super) marker: Arc<Marker>,
    pub(super) shown: Arc<Shown>,
}

/// Shows the vault the newest certified header, once.
pub(super) struct Shown {
    chain: Arc<dyn Chain>,
    vault: Arc<dyn VoteSigner>,
    height: tokio::sync::Mutex<u64>,
}

impl SharedBook {
    pub(super) fn new(book: Book) -> Self {
        Self(Arc::new(Mutex::new(book)))
    }

    /// Reads or writes the book.
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Book) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl TorusVerifier {
    pub(super) fn new(config: Arc<EpochConfig>, book: SharedBook) -> Self {
        Self { config, book }
    }
}

/// Whether a proposal is signed by the member that it names.
pub(super) fn proposal_verifies(config: &EpochConfig, proposal: &SignedProposal<Torus>) -> bool {
    config
        .member(proposal.message.proposer.0)
        .is_some_and(|keys| signed_proposal(config, &proposal.message, &proposal.signature, &keys.consensus))
}

fn signed_proposal(config: &EpochConfig, proposal: &EngineProposal, signature: &Sig, key: &Point) -> bool {
    let (Some(plain), Some(signature)) = (proposal.plain(), Signature::from_bytes(&signature.0)) else { return false };
    signature.verifies(key, &plain.preimage(config))
}

#[async_trait]
impl Verifier<Torus> for TorusVerifier {
    async fn verify_signed_vote(
        &self,
        vote: &EngineVote,
        signature: &Sig,
        key: &Point,
    ) -> Result<VerificationResult, Error> {
        let (Some(plain), Some(signature)) = (vote.plain(), Signature::from_bytes(&signature.0)) else {
            return Ok(VerificationResult::Invalid);
        };
        let valid = signature.verifies(key, &plain.preimage(&self.config));
        if valid {
            let vote = torus_statement::SignedVote { vote: plain, voter: vote.voter.0, signature };
            self.book.with(|book| book.record(vote));
        }
        Ok(VerificationResult::from_bool(valid))
    }

    async fn verify_signed_proposal(
        &self,
        proposal: &EngineProposal,
        signature: &Sig,
        key: &Point,
    ) -> Result<VerificationResult, Error> {
        Ok(VerificationResult::from_bool(signed_proposal(&self.config, proposal, signature, key)))
    }

    async fn verify_signed_vote_extension(
        &self,
        _scope: &VoteExtensionScope<Torus>,
        _extension: &Bytes,
        _signature: &Sig,
        _key: &Point,
    ) -> Result<VerificationResult, Error> {
        // Nobody signs extensions here.
        Ok(VerificationResult::Invalid)
    }

    async fn verify_validator_proof(&self, proof: &ValidatorProof<Torus>) -> Result<VerificationResult, Error> {
        let key =
            <[u8; 33]>::try_from(proof.public_key.as_slice()).ok().and_then(|key| Point::from_compressed(&key).ok());
        let valid = key.zip(Signature::from_bytes(&proof.signature.0)).is_some_and(|(key, signature)| {
            signature.verifies(&key, &proof_of_validator(&proof.public_key, &proof.peer_id))
        });
        Ok(VerificationResult::from_bool(valid))
    }
}

#[async_trait]
impl Signer<Torus> for VaultSigner {
    async fn sign_vote(&self, vote: EngineVote) -> Result<SignedVote<Torus>, Error> {
        let Some(asked) = vote.plain() else { return Ok(SignedMessage::new(vote, Sig::ABSENT)) };
        self.shown.now().await;
        let evidence = self.book.with(|book| book.evidence(&asked));
        let Some(cast) = self.vault.sign_vote(VoteRequest { vote: asked, evidence }).await else {
            warn!(height = asked.height, round = asked.round, step = ?asked.step, "the vault refused to vote");
            return Ok(SignedMessage::new(vote, Sig::ABSENT));
        };
        let same = |a: &torus_statement::Vote, b: &torus_statement::Vote| {
            (a.height, a.round, a.step) == (b.height, b.round, b.step)
        };
        if cast.voter != self.index || !same(&cast.vote, &asked) || !cast.verifies(&self.config) {
            error!(height = asked.height, round = asked.round, "the vault answered with something else than its vote");
            return Ok(SignedMessage::new(vote, Sig::ABSENT));
        }
        if cast.vote != asked {
            warn!(height = asked.height, round = asked.round, step = ?asked.step, "the vault cast another vote");
            // Before the engine writes the answer into its log: a replay would derive the vote that was asked for.
            self.marker.set(asked.height);
        }
        Ok(SignedMessage::new(EngineVote::new(&cast.vote, cast.voter), Sig(cast.signature.to_bytes())))
    }

    async fn sign_proposal(&self, proposal: EngineProposal) -> Result<SignedProposal<Torus>, Error> {
        let signature = match proposal.plain() {
            Some(plain) => {
                self.shown.now().await;
                self.vault.sign_proposal(plain).await
            }
            None => None,
        };
        if signature.is_none() {
            warn!(height = proposal.height.0, round = ?proposal.round, "the vault refused to propose");
        }
        Ok(SignedMessage::new(proposal, signature.map_or(Sig::ABSENT, |signature| Sig(signature.to_bytes()))))
    }

    async fn sign_vote_extension(
        &self,
        _scope: VoteExtensionScope<Torus>,
        extension: Bytes,
    ) -> Result<SignedExtension<Torus>, Error> {
        Ok(SignedMessage::new(extension, Sig::ABSENT))
    }

    async fn sign_validator_proof(&self, key: Vec<u8>, peer: Vec<u8>) -> Result<ValidatorProof<Torus>, Error> {
        let signature = self.vault.sign_proof(&key, &peer).await.ok_or_else(Error::new)?;
        Ok(ValidatorProof::new(key, peer, Sig(signature.to_bytes())))
    }
}

impl Shown {
    pub(super) fn new(chain: Arc<dyn Chain>, vault: Arc<dyn VoteSigner>) -> Self {
        Self { chain, vault, height: tokio::sync::Mutex::new(0) }
    }

    /// Returns when the vault has seen the newest header.
    pub(super) async fn now(&self) {
        let mut height = self.height.lock().await;
        let tip = self.chain.tip();
        if tip.height > *height
            && let Some(newest) = &tip.certified
        {
            self.vault.show(newest).await;
            *height = tip.height;
        }
    }
}
