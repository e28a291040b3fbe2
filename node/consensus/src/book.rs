//! The vote book: every verified vote of the current height, so that the vault can be shown what its rule asks for.
//!
//! Sans-IO. It believes its caller that votes verify, and refuses nothing but other heights.

use std::collections::BTreeMap;

use torus_statement::{Hash, Index, SignedVote, Sizes, Step, Vote};

/// Most votes of one height; the lowest rounds go first. 30 members, 2 steps and 30 rounds fit.
const MAX_VOTES: usize = 2048;
/// Most different votes of one member in one step: two prove that he lies, more prove nothing.
const MAX_VARIANTS: usize = 3;

/// Verified votes of one height.
pub(super) struct Book {
    sizes: Sizes,
    height: u64,
    votes: BTreeMap<(u32, Step, Index), Vec<SignedVote>>,
    count: usize,
    polka: Option<Polka>,
}

/// A quorum of prevotes for one block in one round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Polka {
    pub(super) round: u32,
    pub(super) block: Hash,
    pub(super) votes: Vec<SignedVote>,
}

impl Book {
    /// An empty book.
    pub(super) fn new(sizes: Sizes) -> Self {
        Self { sizes, height: 0, votes: BTreeMap::new(), count: 0, polka: None }
    }

    /// Writes down a verified vote. One of a higher height begins a new page, one of a lower is left out.
    pub(super) fn record(&mut self, vote: SignedVote) {
        let v = vote.vote;
        if v.height < self.height {
            return;
        }
        if v.height > self.height {
            *self = Self { height: v.height, ..Self::new(self.sizes) };
        }
        let variants = self.votes.entry((v.round, v.step, vote.voter)).or_default();
        if variants.len() >= MAX_VARIANTS || variants.iter().any(|known| known.vote == v) {
            return;
        }
        variants.push(vote);
        self.count = self.count.saturating_add(1);
        if let (Step::Prevote, Some(block)) = (v.step, v.block) {
            self.note_polka(v.round, block);
        }
        while self.count > MAX_VOTES {
            let Some((_, dropped)) = self.votes.pop_first() else { break };
            self.count = self.count.saturating_sub(dropped.len());
        }
    }

    /// The polka of the highest round at a height.
    pub(super) fn polka(&self, height: u64) -> Option<&Polka> {
        self.polka.as_ref().filter(|_| height == self.height)
    }

    /// A member's votes of a height, in the order of rounds.
    pub(super) fn of(&self, height: u64, member: Index) -> Vec<SignedVote> {
        let of_member = |((_, _, voter), variants): (&(u32, Step, Index), &Vec<SignedVote>)| {
            if *voter == member { variants.first().cloned() } else { None }
        };
        if height == self.height { self.votes.iter().filter_map(of_member).collect() } else { Vec::new() }
    }

    /// What a vault may ask for before it casts this vote: the polka of its block, and for a round above 0 the newest
    /// vote of each member from the round before on.
    pub(super) fn evidence(&self, vote: &Vote) -> Vec<SignedVote> {
        if vote.height != self.height {
            return Vec::new();
        }
        let mut evidence = vote.block.map_or_else(Vec::new, |block| self.polka_of(block, vote.round));
        if vote.round > 0 {
            let mut newest: BTreeMap<Index, &SignedVote> = BTreeMap::new();
            for ((_, _, voter), variants) in self.votes.range((vote.round.saturating_sub(1), Step::Prevote, LOWEST)..) {
                if let Some(variant) = variants.first() {
                    newest.insert(*voter, variant);
                }
            }
            for vote in newest.into_values() {
                if !evidence.contains(vote) {
                    evidence.push(vote.clone());
                }
            }
        }
        evidence
    }

    /// The newest polka of a block up to a round.
    fn polka_of(&self, block: Hash, round: u32) -> Vec<SignedVote> {
        if let Some(polka) = self.polka.as_ref().filter(|polka| polka.block == block && polka.round <= round) {
            return polka.votes.clone();
        }
        let mut rounds: Vec<u32> = self.votes.keys().map(|(r, _, _)| *r).filter(|r| *r <= round).collect();
        rounds.dedup();
        rounds.into_iter().rev().find_map(|round| self.quorum(round, block)).unwrap_or_default()
    }

    fn note_polka(&mut self, round: u32, block: Hash) {
        if self.polka.as_ref().is_some_and(|polka| polka.round > round) {
            return;
        }
        if let Some(votes) = self.quorum(round, block) {
            self.polka = Some(Polka { round, block, votes });
        }
    }

    /// All prevotes for a block in a round, if they are a quorum.
    fn quorum(&self, round: u32, block: Hash) -> Option<Vec<SignedVote>> {
        let votes: Vec<SignedVote> = self
            .votes
            .range((round, Step::Prevote, LOWEST)..(round, Step::Precommit, LOWEST))
            .flat_map(|(_, variants)| variants)
            .filter(|vote| vote.vote.block == Some(block))
            .cloned()
            .collect();
        (votes.len() >= self.sizes.engine_quorum()).then_some(votes)
    }
}

/// Below or equal to every index.
const LOWEST: Index = match Index::new(1) {
    Some(index) => index,
    None => unreachable!(),
};

#[cfg(test)]
mod tests {
    use torus_statement::Signature;

    use super::*;

    fn cast(height: u64, round: u32, step: Step, voter: u8, block: Option<Hash>) -> SignedVote {
        let mut one = [0; 64];
        one[31] = 1;
        one[63] = 1;
        SignedVote {
            vote: Vote { step, height, round, block },
            voter: Index::new(voter).unwrap(),
            signature: Signature::from_bytes(&one).unwrap(),
        }
    }

    fn book() -> Book {
        Book::new(Sizes::new(5, 3, 1).unwrap())
    }

    const A: Option<Hash> = Some([1; 32]);
    const B: Option<Hash> = Some([2; 32]);

    #[test]
    fn a_precommit_is_asked_with_its_polka_and_a_polka_is_a_quorum() {
        let mut book = book();
        for voter in 1..=3 {
            book.record(cast(4, 0, Step::Prevote, voter, A));
        }
        let precommit = Vote { step: Step::Precommit, height: 4, round: 0, block: A };
        assert_eq!(book.polka(4), None);
        assert!(book.evidence(&precommit).is_empty());
        book.record(cast(4, 0, Step::Prevote, 4, A));
        assert_eq!(book.evidence(&precommit).len(), 4);
        assert_eq!(book.polka(4).map(|polka| polka.round), Some(0));
        assert_eq!(book.polka(5), None);
        // A liar's second vote does not take his first away.
        book.record(cast(4, 0, Step::Prevote, 4, B));
        assert_eq!(book.evidence(&precommit).len(), 4);
    }

    #[test]
    fn a_later_round_is_asked_with_each_members_newest_vote() {
        let mut book = book();
        for voter in 1..=4 {
            book.record(cast(4, 0, Step::Prevote, voter, None));
            book.record(cast(4, 1, Step::Prevote, voter, None));
        }
        book.record(cast(4, 6, Step::Precommit, 2, None));
        let evidence = book.evidence(&Vote { step: Step::Prevote, height: 4, round: 2, block: None });
        assert_eq!(evidence.len(), 4);
        assert!(evidence.iter().all(|vote| vote.vote.round >= 1));
        assert!(evidence.iter().any(|vote| vote.vote.round == 6));
        assert!(book.evidence(&Vote { step: Step::Prevote, height: 4, round: 0, block: None }).is_empty());
    }

    #[test]
    fn a_change_of_lock_is_asked_with_the_polka_of_the_new_block_even_below_a_newer_one() {
        let mut book = book();
        for voter in 1..=4 {
            book.record(cast(4, 1, Step::Prevote, voter, B));
            book.record(cast(4, 3, Step::Prevote, voter, A));
        }
        let evidence = book.evidence(&Vote { step: Step::Prevote, height: 4, round: 2, block: B });
        assert_eq!(evidence.iter().filter(|vote| vote.vote.block == B).count(), 4);
        assert_eq!(book.polka(4).map(|polka| polka.block), A);
    }

    #[test]
    fn a_new_height_begins_a_new_page_and_a_flood_of_rounds_is_bounded() {
        let mut book = book();
        book.record(cast(4, 0, Step::Prevote, 1, A));
        book.record(cast(5, 0, Step::Prevote, 1, A));
        book.record(cast(4, 9, Step::Prevote, 1, A));
        assert_eq!(book.count, 1);
        for round in 0..5000 {
            book.record(cast(5, round, Step::Prevote, 2, A));
        }
        assert!(book.count <= MAX_VOTES);
        assert!(book.votes.contains_key(&(4999, Step::Prevote, Index::new(2).unwrap())));
    }
}
