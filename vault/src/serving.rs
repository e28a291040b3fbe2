//! What each worker does with its requests.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rand_chacha::ChaCha20Rng;
use torus_hsm::Device;
use torus_ipc::{Deny, LoginProof, Progress, Request, Response};
use torus_statement::certificate::Certified;

use crate::clock::Now;
use crate::commit::{self, Ask, Commits, Entry};
use crate::connection::Reply;
use crate::keygen::{Keygen, ShareStore, fit};
use crate::member::Member;
use crate::reveal::{Asked, committed_hash, reveal};
use crate::store::StoreError;
use crate::voting::Voter;
use crate::workers::{Answer, AnswerGroup, Job};

/// Votes, proposals and certified headers.
pub struct Votes {
    /// Who.
    pub member: Arc<Member>,
    /// The vote rule and its record.
    pub voter: Voter,
}

impl Answer for Votes {
    fn answer(&mut self, request: Request) -> Result<Response, Deny> {
        match request {
            Request::Advance(header) => {
                self.member.chain.observe(&header)?;
                // The guards of a start or an epoch begin with the first believed time, not with the first login.
                let _ = self.member.keeper.now(self.member.chain.stand().time);
                Ok(Response::Done)
            }
            Request::SignVote(request) => self.voter.vote(&request).map(Response::Vote),
            Request::SignProposal(proposal) => self.voter.propose(&proposal).map(Response::Signature),
            Request::SignProofOfValidator(peer) => self.voter.prove(&peer).map(Response::Signature),
            Request::HeldVotes => self.voter.held().map(Response::HeldVotes),
            _ => Err(Deny::Malformed),
        }
    }
}

/// Key generation.
pub struct Generation {
    member: Arc<Member>,
    keygen: Keygen,
    shares: ShareStore,
    /// What key generation had to say when it took up what was durable: leaves with the next answer.
    first: Progress,
    began: Instant,
}

impl Generation {
    /// A worker that has taken up what was durable.
    ///
    /// # Errors
    /// The store fails.
    pub fn new(
        member: Arc<Member>,
        (keygen, first): (Keygen, Progress),
        shares: ShareStore,
    ) -> Result<Self, StoreError> {
        let generation = Self { member, keygen, shares, first, began: Instant::now() };
        generation.count()?;
        Ok(generation)
    }

    fn count(&self) -> Result<(), StoreError> {
        self.member.health.shares.store(self.shares.count()?, Ordering::Relaxed);
        let under_way = u32::try_from(self.keygen.under_way()).unwrap_or(u32::MAX);
        self.member.health.batches.store(under_way, Ordering::Relaxed);
        Ok(())
    }

    fn progress(&mut self, request: Request) -> Result<Progress, Deny> {
        match request {
            Request::Batch { header, batch, entry } => {
                let certified = self.member.chain.observe(&header)?;
                self.keygen.handle_batch(&certified, batch, &entry)
            }
            Request::Keys { attempt, published } => self.keygen.handle_keys(attempt, &published),
            Request::Deliver(envelope) => {
                let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
                self.keygen.deliver(*envelope, now)
            }
            Request::Outbox => Ok(self.keygen.outbox()),
            _ => Err(Deny::Malformed),
        }
    }
}

impl Answer for Generation {
    fn answer(&mut self, request: Request) -> Result<Response, Deny> {
        let counts = !matches!(request, Request::Deliver(_));
        let mut progress = self.progress(request)?;
        if counts || !progress.acks.is_empty() {
            self.count().map_err(|_| Deny::Store)?;
        }
        let first = std::mem::take(&mut self.first);
        progress.envelopes.extend(first.envelopes);
        progress.readies.extend(first.readies);
        progress.keys.extend(first.keys);
        progress.acks.extend(first.acks);
        fit(&mut progress);
        Ok(Response::Progress(progress))
    }
}

/// Commits and reveals.
pub struct Users {
    /// Who.
    pub member: Arc<Member>,
    /// This worker's session.
    pub device: Box<dyn Device>,
    /// This worker's generator.
    pub rng: ChaCha20Rng,
    /// The commit table.
    pub commits: Commits,
    /// The shares.
    pub shares: ShareStore,
}

/// A reveal that waits for the group's write.
struct Waiting {
    proof: Box<LoginProof>,
    header: Result<Certified, Deny>,
    reply: Reply,
}

impl AnswerGroup for Users {
    fn answer(&mut self, group: Vec<Job>) {
        let mut asks = Vec::new();
        let mut waiting = Vec::new();
        for Job { request, reply } in group {
            match request {
                Request::Commit { token, temporary, verifier } => {
                    asks.push((Ask { token, temporary, verifier }, reply));
                }
                Request::Release(proof) => {
                    // A newer header moves the vault forward before the time is read: it bounds the clock.
                    let header = self.member.chain.observe(&proof.header);
                    waiting.push(Waiting { proof, header, reply });
                }
                _ => reply.send(Err(Deny::Malformed)),
            }
        }
        match self.decide(&asks) {
            Err(deny) => {
                asks.into_iter().for_each(|(_, reply)| reply.send(Err(deny)));
                waiting.into_iter().for_each(|waiting| waiting.reply.send(Err(deny)));
            }
            Ok((now, entries)) => {
                for ((ask, reply), entry) in asks.into_iter().zip(entries) {
                    let receipt =
                        entry.and_then(|entry| commit::receipt(&self.member, self.device.as_mut(), &ask, &entry));
                    reply.send(receipt.map(Response::Receipt));
                }
                for Waiting { proof, header, reply } in waiting {
                    let share = header.and_then(|header| self.reveal(&proof, &header, &now));
                    reply.send(share);
                }
            }
        }
    }
}

impl Users {
    /// Writes the group's commitments in one transaction. What comes back is durable.
    fn decide(&self, asks: &[(Ask, Reply)]) -> Result<(Now, Vec<Result<Entry, Deny>>), Deny> {
        let member = &self.member;
        member.serves()?;
        let now = member.keeper.now(member.chain.stand().time)?;
        let written: Result<_, StoreError> = member.store.write(|change| {
            self.commits.drop_expired(change, &now)?;
            let mut entries = Vec::with_capacity(asks.len());
            for (ask, _) in asks {
                entries.push(match member.verifier(&ask.verifier) {
                    Some(_) => self.commits.commit(change, ask, &now)?,
                    None => Err(Deny::Verifier),
                });
            }
            member.keeper.keep(change, &now.guards)?;
            Ok(entries)
        });
        let entries = written.map_err(|error| {
            crate::alarm!("commitments cannot be kept, so none is answered: {error}");
            Deny::Store
        })?;
        Ok((now, entries))
    }

    fn reveal(&mut self, proof: &LoginProof, header: &Certified, now: &Now) -> Result<Response, Deny> {
        let token = committed_hash(proof);
        let commitment = self.member.store.read(|view| self.commits.find(view, &token)).map_err(|error| {
            crate::alarm!("a commitment cannot be read: {error}");
            Deny::Store
        })?;
        let asked = Asked { proof, header, commitment, now };
        let share = reveal(&self.member, self.device.as_mut(), &mut self.rng, &self.shares, &asked)?;
        crate::info!("released a share of key {}", share.key.number());
        Ok(Response::Share(Box::new(share)))
    }
}
