//! What the workers of votes and of key generation do with their requests.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use torus_ipc::{Deny, Progress, Request, Response};

use crate::audit::seen;
use crate::keygen::{Call, Keygen, ShareStore, fit};
use crate::listing;
use crate::member::Member;
use crate::next_keys;
use crate::store::StoreError;
use crate::succession::take_up;
use crate::voting::Voter;
use crate::workers::{Answer, AnswerInSlices};

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
            Request::AuditHead(shown) => {
                shown.map_or(Ok(()), |shown| seen::take_notice(&self.member, &shown))?;
                Ok(Response::AuditHead(self.member.audit.newest()))
            }
            Request::HeldVotes => self.voter.held().map(Response::HeldVotes),
            Request::NextKeys { committee, attempt, p2p } => {
                next_keys::certify(&self.member, self.voter.device(), &committee, (attempt, p2p))
            }
            Request::List(listing) => listing::sign(&self.member, self.voter.device(), &listing),
            Request::NextEpoch(config) => take_up(&self.member, self.voter.device(), &config),
            _ => Err(Deny::Malformed),
        }
    }
}

/// How long a slice of key generation works: a fourth of what it may take, which leaves room for one operation of a
/// slow device, or one write to a slow disk.
const SLICE: Duration = Duration::from_millis(5);

/// Key generation.
pub struct Generation {
    member: Arc<Member>,
    keygen: Keygen,
    shares: ShareStore,
    /// Requests that are not looked at yet.
    fresh: VecDeque<(u64, Request)>,
    began: Instant,
}

impl Generation {
    /// A worker that goes on with what was durable.
    ///
    /// # Errors
    /// The store fails.
    pub fn new(member: Arc<Member>, keygen: Keygen, shares: ShareStore) -> Result<Self, StoreError> {
        let generation = Self { member, keygen, shares, fresh: VecDeque::new(), began: Instant::now() };
        generation.count()?;
        Ok(generation)
    }

    fn count(&self) -> Result<(), StoreError> {
        self.member.health.shares.store(self.shares.count()?, Ordering::Relaxed);
        let under_way = u32::try_from(self.keygen.under_way()).unwrap_or(u32::MAX);
        self.member.health.batches.store(under_way, Ordering::Relaxed);
        Ok(())
    }

    fn begin(&mut self, number: u64, request: Request) -> Result<(), Deny> {
        self.sound()?;
        let call = match request {
            Request::Batch { header, batch, entry } => {
                let header = Box::new(self.member.chain.observe(&header)?);
                Call::Batch { header, batch, entry: Box::new(entry) }
            }
            Request::Keys { attempt, published } => Call::Keys { attempt, published },
            Request::Deliver(envelope) => {
                let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
                Call::Envelope { envelope, now }
            }
            Request::Outbox => Call::Outbox,
            _ => return Err(Deny::Malformed),
        };
        self.keygen.ask(number, call);
        Ok(())
    }

    /// A vault that contradicts itself deals, echoes and promises nothing: it may have forgotten what it said.
    fn sound(&self) -> Result<(), Deny> {
        if self.member.chain.stand().frozen { Err(Deny::Frozen) } else { Ok(()) }
    }

    fn say(&self, mut progress: Progress) -> Result<Response, Deny> {
        self.sound()?;
        self.count().map_err(|_| Deny::Store)?;
        fit(&mut progress);
        Ok(Response::Progress(progress))
    }
}

impl AnswerInSlices for Generation {
    fn take(&mut self, number: u64, request: Request) {
        self.fresh.push_back((number, request));
    }

    fn has_work(&self) -> bool {
        !self.fresh.is_empty() || self.keygen.has_work()
    }

    fn turn(&self) -> Option<u64> {
        self.fresh.front().map_or_else(|| self.keygen.turn(), |(number, _)| Some(*number))
    }

    fn slice(&mut self) -> Vec<(u64, Result<Response, Deny>)> {
        let answers = match self.fresh.pop_front() {
            Some((number, request)) => {
                self.begin(number, request).err().map(|deny| (number, Err(deny))).into_iter().collect()
            }
            None => self.keygen.slice(SLICE),
        };
        answers.into_iter().map(|(number, answer)| (number, answer.and_then(|progress| self.say(progress)))).collect()
    }
}
