//! The vote rule, as a pure decision: what the vault casts when it is asked for a vote of one height.
//!
//! Asked again it answers what it cast. Below its mark, where its lock forbids the block, or for a precommit without
//! that round's polka it casts nil. It refuses only a round above its own without evidence that the network got there.
//! So hostile nodes can neither fork the log through honest vaults, nor leave a height waiting for votes that nobody
//! casts. Whether evidence is signed is the caller's to check.

use std::collections::BTreeMap;

use torus_ipc::Deny;
use torus_statement::vote::{Step, Vote};
use torus_statement::{Hash, Index, Sizes};

/// A place in a height: round, then step.
pub type Slot = (u32, Step);

/// A vote that a member is known to have cast at this height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Who.
    pub voter: Index,
    /// What.
    pub vote: Vote,
}

/// Everything that one vault cast at one height, over all epochs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Votes {
    height: u64,
    cast: BTreeMap<Slot, Option<Hash>>,
    lock: Option<(u32, Hash)>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It was cast before: answer it again, whatever was asked now.
    Recorded(Vote),
    /// Cast this, after it is on record. It may differ from what was asked.
    Cast {
        /// The vote.
        vote: Vote,
        /// It locks the vault on its block: the round's polka is kept with it.
        locks: bool,
    },
}

impl Votes {
    /// A height at which nothing was cast.
    pub const fn new(height: u64) -> Self {
        Self { height, cast: BTreeMap::new(), lock: None }
    }

    /// The height.
    pub const fn height(&self) -> u64 {
        self.height
    }

    /// What was cast in a slot; `None` if nothing.
    pub fn cast(&self, slot: Slot) -> Option<Option<Hash>> {
        self.cast.get(&slot).copied()
    }

    /// The highest slot that was voted in.
    pub fn mark(&self) -> Option<Slot> {
        self.cast.last_key_value().map(|(slot, _)| *slot)
    }

    /// The round and block of the newest precommit for a block.
    pub const fn lock(&self) -> Option<(u32, Hash)> {
        self.lock
    }

    /// Puts a vote on record.
    pub fn record(&mut self, vote: &Vote) {
        self.cast.insert((vote.round, vote.step), vote.block);
        if let (Step::Precommit, Some(block)) = (vote.step, vote.block)
            && self.lock.is_none_or(|(round, _)| vote.round > round)
        {
            self.lock = Some((vote.round, block));
        }
    }

    /// Decides on a request of the engine.
    ///
    /// # Errors
    /// [`Deny::Height`] for another height; [`Deny::Evidence`] for a round above the vault's own that nothing shows
    /// the network to be near.
    pub fn decide(&self, me: Index, sizes: Sizes, asked: &Vote, evidence: &[Evidence]) -> Result<Decision, Deny> {
        if asked.height != self.height {
            return Err(Deny::Height);
        }
        let slot = (asked.round, asked.step);
        if let Some(block) = self.cast(slot) {
            return Ok(Decision::Recorded(Vote { block, ..*asked }));
        }
        let own = self.mark().map_or(0, |(round, _)| round);
        if asked.round > own && !self.reached(me, sizes, asked.round, evidence) {
            return Err(Deny::Evidence);
        }
        let below = self.mark().is_some_and(|mark| slot < mark);
        let block = asked.block.filter(|block| {
            !below
                && match asked.step {
                    Step::Prevote => self.may_prevote(me, sizes, block, evidence),
                    Step::Precommit => self.polka(me, sizes, asked.round, block, evidence),
                }
        });
        let locks = asked.step == Step::Precommit && block.is_some();
        Ok(Decision::Cast { vote: Vote { block, ..*asked }, locks })
    }

    /// Whether evidence shows the network near a round: q members voted in the round before or later, or t+1 in it or
    /// later.
    fn reached(&self, me: Index, sizes: Sizes, round: u32, evidence: &[Evidence]) -> bool {
        let voters = |from: u32| {
            let shown = evidence.iter().filter(|shown| self.is_here(sizes, shown) && shown.vote.round >= from);
            let own = self.mark().is_some_and(|(mark, _)| mark >= from);
            shown.fold(if own { bit(me) } else { 0 }, |voters, shown| voters | bit(shown.voter)).count_ones() as usize
        };
        voters(round.saturating_sub(1)) >= sizes.q() || voters(round) > sizes.t()
    }

    /// After a precommit for a block, another needs its polka of a later round.
    fn may_prevote(&self, me: Index, sizes: Sizes, block: &Hash, evidence: &[Evidence]) -> bool {
        let Some((locked, held)) = self.lock else { return true };
        let later = |shown: &&Evidence| shown.vote.round > locked;
        held == *block
            || evidence.iter().filter(later).any(|shown| self.polka(me, sizes, shown.vote.round, block, evidence))
    }

    /// Whether the engine's quorum prevoted for the block in the round, own record included.
    fn polka(&self, me: Index, sizes: Sizes, round: u32, block: &Hash, evidence: &[Evidence]) -> bool {
        let wanted = Vote { step: Step::Prevote, height: self.height, round, block: Some(*block) };
        let shown = evidence.iter().filter(|shown| self.is_here(sizes, shown) && shown.vote == wanted);
        let own = if self.cast((round, Step::Prevote)) == Some(Some(*block)) { bit(me) } else { 0 };
        shown.fold(own, |voters, shown| voters | bit(shown.voter)).count_ones() as usize >= sizes.engine_quorum()
    }

    fn is_here(&self, sizes: Sizes, shown: &Evidence) -> bool {
        shown.vote.height == self.height && sizes.member(shown.voter.get()).is_some()
    }
}

// A committee has at most 30 members.
const fn bit(member: Index) -> u64 {
    1 << (member.get() % 64)
}

#[cfg(test)]
mod tests;
