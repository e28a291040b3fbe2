//! A vault's vote rule over a key in memory, whose record outlives its node. It fails the test if it would ever sign
//! two votes for one step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use torus_ipc::{HeldVotes, VoteRequest};
use torus_statement::certificate::SignedHeader;
use torus_statement::vote::{Proposal, proof_of_validator};
use torus_statement::{EpochConfig, Hash, Index, Signature, SignedVote, Step, Vote};

use super::kit::{Use, key, sign};
use crate::VoteSigner;

/// What a test asks a vault to do beside the rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mood {
    /// Nil in rounds below this, whatever is asked.
    pub(super) nil_below: u32,
    /// Nil for every block.
    pub(super) nil_always: bool,
    /// No precommits at all.
    pub(super) no_precommit: bool,
}

pub(super) struct RuleVault {
    config: Arc<EpochConfig>,
    index: Index,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    certified: u64,
    votes: BTreeMap<(u32, Step), SignedVote>,
    lock: Option<(u32, Hash, Vec<SignedVote>)>,
    proposals: BTreeMap<(u64, u32), Proposal>,
    mood: Mood,
    differed: u32,
    refused: u32,
}

impl RuleVault {
    pub(super) fn new(config: Arc<EpochConfig>, index: Index) -> Self {
        Self { config, index, state: Mutex::default() }
    }

    pub(super) fn mood(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    /// Makes the vault remember votes, and a lock with its polka.
    pub(super) fn plant(&self, votes: &[SignedVote], polka: &[SignedVote]) {
        let mut state = self.state.lock().unwrap();
        for vote in votes {
            state.votes.insert((vote.vote.round, vote.vote.step), vote.clone());
        }
        if let Some(first) = polka.first() {
            state.lock = Some((first.vote.round, first.vote.block.unwrap(), polka.to_vec()));
        }
    }

    /// A vote of this vault's key.
    pub(super) fn vote(&self, vote: Vote) -> SignedVote {
        let signature = sign(&key(self.index.get(), Use::Consensus), &vote.preimage(&self.config));
        SignedVote { vote, voter: self.index, signature }
    }

    /// Votes of the height in progress.
    pub(super) fn votes(&self) -> Vec<Vote> {
        self.state.lock().unwrap().votes.values().map(|vote| vote.vote).collect()
    }

    pub(super) fn certified(&self) -> u64 {
        self.state.lock().unwrap().certified
    }

    pub(super) fn lock(&self) -> Option<Hash> {
        self.state.lock().unwrap().lock.as_ref().map(|(_, block, _)| *block)
    }

    /// Answers that differed from what was asked, and refusals.
    pub(super) fn odd_answers(&self) -> (u32, u32) {
        let state = self.state.lock().unwrap();
        (state.differed, state.refused)
    }

    fn cast(&self, state: &mut State, request: &VoteRequest) -> Option<SignedVote> {
        let asked = request.vote;
        if asked.height != state.certified + 1 {
            return None;
        }
        if let Some(recorded) = state.votes.get(&(asked.round, asked.step)) {
            return Some(recorded.clone());
        }
        let evidence: Vec<&SignedVote> = request
            .evidence
            .iter()
            .inspect(|vote| assert!(vote.verifies(&self.config), "evidence verifies"))
            .filter(|vote| vote.vote.height == asked.height)
            .collect();
        let mark = state.votes.keys().next_back().copied();
        let own_round = mark.map_or(0, |(round, _)| round);
        if asked.round > own_round && !self.may_jump(state, &evidence, asked.round) {
            return None;
        }
        if state.mood.no_precommit && asked.step == Step::Precommit {
            return None;
        }
        let below = mark.is_some_and(|mark| (asked.round, asked.step) < mark);
        let moody = state.mood.nil_always || asked.round < state.mood.nil_below;
        let block = asked.block.filter(|block| !below && !moody && self.allows(state, &evidence, &asked, *block));
        let vote = Vote { block, ..asked };
        let signed = self.vote(vote);
        if let (Step::Precommit, Some(block)) = (vote.step, vote.block) {
            let polka = evidence.into_iter().filter(|vote| is_prevote(vote, asked.round, block)).cloned().collect();
            state.lock = Some((vote.round, block, polka));
        }
        let before = state.votes.insert((vote.round, vote.step), signed.clone());
        assert_eq!(before, None, "one vote a step");
        Some(signed)
    }

    fn may_jump(&self, state: &State, evidence: &[&SignedVote], round: u32) -> bool {
        let members = |from: u32| {
            let mut members: BTreeSet<Index> =
                evidence.iter().filter(|vote| vote.vote.round >= from).map(|vote| vote.voter).collect();
            if state.votes.keys().any(|(round, _)| *round >= from) {
                members.insert(self.index);
            }
            members.len()
        };
        let sizes = self.config.sizes();
        members(round - 1) >= sizes.q() || members(round) > sizes.t()
    }

    fn allows(&self, state: &State, evidence: &[&SignedVote], asked: &Vote, block: Hash) -> bool {
        let quorum = self.config.sizes().engine_quorum();
        let polka = |round: u32| {
            let voters: BTreeSet<Index> =
                evidence.iter().filter(|vote| is_prevote(vote, round, block)).map(|vote| vote.voter).collect();
            voters.len() >= quorum
        };
        match (asked.step, &state.lock) {
            (Step::Precommit, _) => polka(asked.round),
            (Step::Prevote, Some((locked, other, _))) if *other != block => (locked + 1..asked.round).any(polka),
            (Step::Prevote, _) => true,
        }
    }
}

fn is_prevote(vote: &SignedVote, round: u32, block: Hash) -> bool {
    (vote.vote.step, vote.vote.round, vote.vote.block) == (Step::Prevote, round, Some(block))
}

#[async_trait]
impl VoteSigner for RuleVault {
    async fn show(&self, newest: &SignedHeader) {
        let certified = newest.verify(&self.config).unwrap();
        let mut state = self.state.lock().unwrap();
        if certified.header().height > state.certified {
            state.certified = certified.header().height;
            state.votes.clear();
            state.lock = None;
        }
    }

    async fn sign_vote(&self, request: VoteRequest) -> Option<SignedVote> {
        let mut state = self.state.lock().unwrap();
        let cast = self.cast(&mut state, &request);
        match &cast {
            Some(cast) if cast.vote != request.vote => state.differed += 1,
            Some(_) => {}
            None => state.refused += 1,
        }
        cast
    }

    async fn sign_proposal(&self, proposal: Proposal) -> Option<Signature> {
        let mut state = self.state.lock().unwrap();
        let first = *state.proposals.entry((proposal.height, proposal.round)).or_insert(proposal);
        let signed = || sign(&key(self.index.get(), Use::Consensus), &proposal.preimage(&self.config));
        (first == proposal).then(signed)
    }

    async fn sign_proof(&self, public_key: &[u8], peer_id: &[u8]) -> Option<Signature> {
        Some(sign(&key(self.index.get(), Use::Consensus), &proof_of_validator(public_key, peer_id)))
    }

    async fn held(&self) -> Option<HeldVotes> {
        let state = self.state.lock().unwrap();
        Some(HeldVotes {
            height: state.certified + 1,
            own: state.votes.values().cloned().collect(),
            polka: state.lock.as_ref().map(|(_, _, polka)| polka.clone()).unwrap_or_default(),
        })
    }
}
