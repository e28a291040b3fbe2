//! Votes and proposals on record and signed: a durable record precedes every answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use torus_audit::Event;
use torus_hsm::Device;
use torus_ipc::{Deny, HeldVotes, VoteRequest};
use torus_statement::codec::Wire;
use torus_statement::vote::{Proposal, SignedVote, Step, Vote, proof_of_validator};
use torus_statement::{Signature, keccak256};

use crate::member::Member;
use crate::signing::consensus;
use crate::store::{Change, Store, StoreError, Table};
use crate::votes::{Decision, Evidence, Slot, Votes};

const HEIGHT: &[u8] = b"vote-height";
const LOCK: &[u8] = b"vote-lock";
/// From this height on the vault votes: its operator's word after the store was lost.
pub(crate) const FROM: &[u8] = b"vote-from";
/// Most votes that are handed back to a node.
const HELD: usize = 256;
/// Proposals of this many rounds of a height are kept; below them none is signed again.
const PROPOSALS: usize = 1024;

/// The voter of a vault: one thread has it.
pub struct Voter {
    member: Arc<Member>,
    device: Box<dyn Device>,
    tables: Tables,
    votes: Votes,
    signed: BTreeMap<Slot, SignedVote>,
    polka: Vec<SignedVote>,
    from: u64,
}

#[derive(Clone, Copy)]
struct Tables {
    votes: Table,
    proposals: Table,
}

impl Voter {
    /// Reads back what was cast at the height on record.
    ///
    /// # Errors
    /// The store fails or is damaged.
    pub fn new(member: Arc<Member>, device: Box<dyn Device>) -> Result<Self, StoreError> {
        let store = member.store.clone();
        let tables = Tables { votes: store.table("votes")?, proposals: store.table("proposals")? };
        let damaged = || StoreError::Damaged("votes");
        let (height, from) = (number(&store, HEIGHT)?, from_height(&store)?);
        store.read(|view| {
            let mut votes = Votes::new(height);
            let mut signed = BTreeMap::new();
            view.each(tables.votes, &[], |_, value| {
                let vote = SignedVote::from_bytes(value).map_err(|_| damaged())?;
                votes.record(&vote.vote);
                signed.insert((vote.vote.round, vote.vote.step), vote);
                Ok::<_, StoreError>(true)
            })?;
            let polka = match view.get(store.meta(), LOCK)? {
                None => Vec::new(),
                Some(bytes) => polka_from(bytes).ok_or_else(damaged)?,
            };
            Ok(Self { member, device, tables, votes, signed, polka, from })
        })
    }

    /// Casts a vote by the vote rule; the answer may differ from what was asked.
    ///
    /// # Errors
    /// Those of the rule; [`Deny::NoVote`] if the vault does not vote; device or store fails.
    pub fn vote(&mut self, request: &VoteRequest) -> Result<SignedVote, Deny> {
        self.turn()?;
        let asked = &request.vote;
        if asked.height != self.votes.height() {
            return Err(Deny::Height);
        }
        if let Some(recorded) = self.signed.get(&(asked.round, asked.step)) {
            return Ok(recorded.clone());
        }
        let shown = self.checked(asked, &request.evidence)?;
        let evidence: Vec<Evidence> =
            shown.iter().map(|shown| Evidence { voter: shown.voter, vote: shown.vote }).collect();
        let (me, sizes) = (self.member.index, self.member.config.sizes());
        match self.votes.decide(me, sizes, asked, &evidence)? {
            // The signed record is the one above; a record without it cannot be.
            Decision::Recorded(_) => Err(Deny::Store),
            Decision::Cast { vote, locks } => self.cast(vote, locks.then(|| self.polka_of(&vote, &shown))),
        }
    }

    /// Signs a proposal, once per round; the same again gets a signature again.
    ///
    /// # Errors
    /// [`Deny::NoVote`] for another proposal of a round, [`Deny::Evidence`] for a round beyond the one after the vault's
    /// own; else as [`Voter::vote`].
    pub fn propose(&mut self, proposal: &Proposal) -> Result<Signature, Deny> {
        self.turn()?;
        if proposal.height != self.votes.height() {
            return Err(Deny::Height);
        }
        // What is signed for a round is signed for good: rounds far ahead would be used up before anybody is there.
        let own = self.votes.mark().map_or(0, |(round, _)| round);
        if proposal.round > own.saturating_add(1) {
            return Err(Deny::Evidence);
        }
        let signature = self.sign(&proposal.preimage(&self.member.config))?;
        let (store, table, bytes) = (self.member.store.clone(), self.tables.proposals, proposal.to_bytes());
        let key = proposal.round.to_be_bytes();
        let fresh = store.write(|change| {
            self.turn_record(change)?;
            match change.get(table, &key)? {
                Some(recorded) => return Ok(recorded == bytes),
                None if change.len(table)? as usize >= PROPOSALS => {
                    let mut lowest = None;
                    change.each(table, &[], |key, _| {
                        lowest = Some(key.to_vec());
                        Ok::<_, StoreError>(false)
                    })?;
                    match lowest {
                        Some(lowest) if lowest.as_slice() < key.as_slice() => change.delete(table, &lowest)?,
                        _ => return Ok(false),
                    };
                }
                None => {}
            }
            change.put(table, &key, &bytes).map(|()| true)
        });
        if fresh.map_err(|error| refused(&error))? { Ok(signature) } else { Err(Deny::NoVote) }
    }

    /// Signs the engine's proof that a peer of this id is this validator.
    ///
    /// # Errors
    /// The device fails.
    pub fn prove(&mut self, peer: &[u8]) -> Result<Signature, Deny> {
        let key = self.member.keys.consensus.to_compressed();
        self.sign(&proof_of_validator(&key, peer))
    }

    /// The vault's own votes of the height above its certified header, and its lock's polka.
    ///
    /// # Errors
    /// [`Deny::NoVote`] if the vault does not vote.
    pub fn held(&mut self) -> Result<HeldVotes, Deny> {
        self.turn()?;
        let mut own: Vec<SignedVote> = self.signed.values().rev().take(HELD).cloned().collect();
        own.reverse();
        Ok(HeldVotes { height: self.votes.height(), own, polka: self.polka.clone() })
    }

    /// The device of this thread.
    pub fn device(&mut self) -> &mut dyn Device {
        self.device.as_mut()
    }

    /// Turns to the height above the newest certified header, in memory; the record follows with the next vote.
    fn turn(&mut self) -> Result<(), Deny> {
        let place = self.member.chain.stand();
        let height = place.height.saturating_add(1);
        if place.frozen || place.ended || self.member.behind || height < self.from {
            return Err(Deny::NoVote);
        }
        if self.votes.height() != height {
            self.votes = Votes::new(height);
            self.signed.clear();
            self.polka.clear();
        }
        Ok(())
    }

    /// What of the evidence matters for this request and is signed by its voters; each slot of a voter once.
    fn checked(&self, asked: &Vote, evidence: &[SignedVote]) -> Result<Vec<SignedVote>, Deny> {
        let own = self.votes.mark().map_or(0, |(round, _)| round);
        let mut checked: BTreeMap<_, SignedVote> = BTreeMap::new();
        for shown in evidence.iter().filter(|shown| shown.vote.height == asked.height) {
            let near = asked.round > own && shown.vote.round.saturating_add(1) >= asked.round;
            let polka = asked.block.is_some() && shown.vote.step == Step::Prevote && shown.vote.block == asked.block;
            let place = (shown.voter, shown.vote.round, shown.vote.step, shown.vote.block);
            if (near || polka) && !checked.contains_key(&place) && shown.verifies(&self.member.config) {
                let forgotten = shown.voter == self.member.index
                    && self.votes.cast((shown.vote.round, shown.vote.step)) != Some(shown.vote.block);
                if forgotten {
                    self.member
                        .chain
                        .stop("a vote signed by this vault is not on its record: the store is an old copy");
                    return Err(Deny::NoVote);
                }
                checked.insert(place, shown.clone());
            }
        }
        Ok(checked.into_values().collect())
    }

    fn polka_of(&self, vote: &Vote, shown: &[SignedVote]) -> Vec<SignedVote> {
        let own = self.signed.get(&(vote.round, Step::Prevote)).into_iter();
        let wanted = |shown: &&SignedVote| {
            shown.vote.step == Step::Prevote && shown.vote.round == vote.round && shown.vote.block == vote.block
        };
        let others = shown.iter().filter(|shown| shown.voter != self.member.index);
        own.chain(others).filter(wanted).cloned().collect()
    }

    fn cast(&mut self, vote: Vote, polka: Option<Vec<SignedVote>>) -> Result<SignedVote, Deny> {
        let signature = self.sign(&vote.preimage(&self.member.config))?;
        let signed = SignedVote { vote, voter: self.member.index, signature };
        let store = self.member.store.clone();
        let audit = &self.member.audit;
        let kept: Result<(), StoreError> = audit.write(|change| {
            self.turn_record(change)?;
            change.put(self.tables.votes, &slot_key(&vote), &signed.to_bytes())?;
            let (Some(polka), Some(block)) = (&polka, vote.block) else { return Ok(()) };
            change.put(store.meta(), LOCK, &polka_bytes(polka))?;
            audit.append(change, Event::Lock { height: vote.height, round: vote.round, block }).map(|_| ())
        });
        kept.map_err(|error| refused(&error))?;
        self.votes.record(&vote);
        self.signed.insert((vote.round, vote.step), signed.clone());
        if let Some(polka) = polka {
            self.polka = polka;
        }
        Ok(signed)
    }

    /// Moves the record to this height, if it is at another.
    fn turn_record(&self, change: &mut Change<'_>) -> Result<(), StoreError> {
        let (meta, height) = (self.member.store.meta(), self.votes.height().to_be_bytes());
        if change.get(meta, HEIGHT)? == Some(&height) {
            return Ok(());
        }
        change.clear(self.tables.votes)?;
        change.clear(self.tables.proposals)?;
        change.delete(meta, LOCK)?;
        change.put(meta, HEIGHT, &height)
    }

    fn sign(&mut self, preimage: &[u8]) -> Result<Signature, Deny> {
        let signed = consensus(self.device.as_mut(), self.member.attempt, &keccak256(preimage));
        self.member.health.device(signed)
    }
}

/// The height from which on the vault votes by its operator's word; 0 if he never had to give it.
///
/// # Errors
/// The store fails or is damaged.
pub fn from_height(store: &Store) -> Result<u64, StoreError> {
    number(store, FROM)
}

/// Whether this vote is on record. The record is that of one height: the last that the vault voted at.
///
/// # Errors
/// The store fails.
pub fn remembers(store: &Store, vote: &Vote) -> Result<bool, StoreError> {
    let table = store.table("votes")?;
    store.read(|view| {
        let here = view.get(store.meta(), HEIGHT)? == Some(&vote.height.to_be_bytes());
        let cast = view.get(table, &slot_key(vote))?.and_then(|bytes| SignedVote::from_bytes(bytes).ok());
        Ok(here && cast.is_some_and(|cast| cast.vote == *vote))
    })
}

fn number(store: &Store, key: &[u8]) -> Result<u64, StoreError> {
    store.read(|view| match view.get(store.meta(), key)? {
        None => Ok(0),
        Some(bytes) => bytes.try_into().map(u64::from_be_bytes).map_err(|_| StoreError::Damaged("votes")),
    })
}

fn refused(error: &StoreError) -> Deny {
    crate::alarm!("a vote cannot be kept, so it is not cast: {error}");
    Deny::Store
}

fn slot_key(vote: &Vote) -> Vec<u8> {
    let mut key = vote.round.to_be_bytes().to_vec();
    key.extend(vote.step.to_bytes());
    key
}

fn polka_bytes(polka: &[SignedVote]) -> Vec<u8> {
    let mut w = torus_statement::Writer::default();
    w.list(polka, |w, vote| vote.write(w));
    w.into_bytes()
}

fn polka_from(bytes: &[u8]) -> Option<Vec<SignedVote>> {
    let mut r = torus_statement::Reader::new(bytes);
    let polka = r.list(HELD, SignedVote::read).ok()?;
    r.finish().ok().map(|()| polka)
}
