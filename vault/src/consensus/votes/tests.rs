//! The vote rule against what hostile nodes can ask, by example, at random and exhaustively in small bounds.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use torus_statement::vote::Step::{Precommit, Prevote};

const A: Hash = [0xa; 32];
const B: Hash = [0xb; 32];
const HEIGHT: u64 = 7;

fn sizes() -> Sizes {
    Sizes::new(5, 3, 1).unwrap()
}

fn member(index: u8) -> Index {
    Index::new(index).unwrap()
}

fn vote(step: Step, round: u32, block: Option<Hash>) -> Vote {
    Vote { step, height: HEIGHT, round, block }
}

fn by(voters: &[u8], vote: Vote) -> Vec<Evidence> {
    voters.iter().map(|voter| Evidence { voter: member(*voter), vote }).collect()
}

/// A vault with index 1 that records what it casts.
struct Vault(Votes);

impl Vault {
    fn new() -> Self {
        Self(Votes::new(HEIGHT))
    }

    fn ask(&mut self, asked: Vote, evidence: &[Evidence]) -> Result<Option<Hash>, Deny> {
        match self.0.decide(member(1), sizes(), &asked, evidence)? {
            Decision::Recorded(vote) => Ok(vote.block),
            Decision::Cast { vote, .. } => {
                self.0.record(&vote);
                Ok(vote.block)
            }
        }
    }
}

#[test]
fn asked_again_the_recorded_vote_is_the_answer_whatever_is_asked() {
    let mut vault = Vault::new();
    assert_eq!(vault.ask(vote(Prevote, 0, Some(A)), &[]), Ok(Some(A)));
    assert_eq!(vault.ask(vote(Prevote, 0, Some(B)), &[]), Ok(Some(A)));
    assert_eq!(vault.ask(vote(Prevote, 0, None), &[]), Ok(Some(A)));
}

#[test]
fn a_precommit_without_its_polka_is_nil() {
    let mut vault = Vault::new();
    vault.ask(vote(Prevote, 0, Some(A)), &[]).unwrap();
    let short = by(&[2, 3], vote(Prevote, 0, Some(A)));
    assert_eq!(vault.ask(vote(Precommit, 0, Some(A)), &short), Ok(None));
    // One voter shown three times, a stranger, another round, another block: none of them makes a polka.
    for evidence in [
        by(&[2, 2, 2, 2], vote(Prevote, 0, Some(A))),
        by(&[2, 3, 6, 77], vote(Prevote, 0, Some(A))),
        by(&[2, 3, 4], vote(Prevote, 1, Some(A))),
        by(&[2, 3, 4], vote(Prevote, 0, Some(B))),
        by(&[2, 3, 4], vote(Precommit, 0, Some(A))),
        by(&[2, 3, 4], Vote { height: HEIGHT + 1, ..vote(Prevote, 0, Some(A)) }),
    ] {
        let mut vault = Vault::new();
        vault.ask(vote(Prevote, 0, Some(A)), &[]).unwrap();
        assert_eq!(vault.ask(vote(Precommit, 0, Some(A)), &evidence), Ok(None));
        assert_eq!(vault.0.lock(), None);
    }
}

#[test]
fn a_precommit_with_its_polka_counts_the_own_prevote_and_locks() {
    let mut vault = Vault::new();
    vault.ask(vote(Prevote, 0, Some(A)), &[]).unwrap();
    let polka = by(&[2, 3, 4], vote(Prevote, 0, Some(A)));
    assert_eq!(vault.ask(vote(Precommit, 0, Some(A)), &polka), Ok(Some(A)));
    assert_eq!(vault.0.lock(), Some((0, A)));
}

fn locked_on_a() -> Vault {
    let mut vault = Vault::new();
    vault.ask(vote(Prevote, 0, Some(A)), &[]).unwrap();
    vault.ask(vote(Precommit, 0, Some(A)), &by(&[2, 3, 4], vote(Prevote, 0, Some(A)))).unwrap();
    vault
}

#[test]
fn two_blocks_at_one_height_over_two_rounds_get_one_vault_only_once() {
    // Rising order: the lock forbids the second block without its polka of a later round.
    let seen = by(&[2, 3, 4], vote(Precommit, 0, None));
    assert_eq!(locked_on_a().ask(vote(Prevote, 1, Some(B)), &seen), Ok(None));
    assert_eq!(locked_on_a().ask(vote(Prevote, 1, Some(A)), &seen), Ok(Some(A)));
    // A polka of the lock's own round or before is not later.
    let early = [seen.clone(), by(&[2, 3, 4, 5], vote(Prevote, 0, Some(B)))].concat();
    assert_eq!(locked_on_a().ask(vote(Prevote, 1, Some(B)), &early), Ok(None));
    // Falling order: below its mark it says nil.
    let mut vault = Vault::new();
    let reached = by(&[2, 3, 4, 5], vote(Prevote, 0, Some(A)));
    assert_eq!(vault.ask(vote(Prevote, 1, Some(B)), &reached), Ok(Some(B)));
    assert_eq!(vault.ask(vote(Prevote, 0, Some(A)), &[]), Ok(None));
    assert_eq!(vault.ask(vote(Precommit, 0, Some(A)), &reached), Ok(None));
}

#[test]
fn a_lock_gives_way_to_a_polka_of_a_later_round() {
    let mut vault = locked_on_a();
    let polka = by(&[2, 3, 4, 5], vote(Prevote, 1, Some(B)));
    assert_eq!(vault.ask(vote(Prevote, 2, Some(B)), &polka), Ok(Some(B)));
    assert_eq!(vault.0.lock(), Some((0, A)));
    let polka = by(&[2, 3, 4], vote(Prevote, 2, Some(B)));
    assert_eq!(vault.ask(vote(Precommit, 2, Some(B)), &polka), Ok(Some(B)));
    assert_eq!(vault.0.lock(), Some((2, B)));
}

#[test]
fn a_vote_far_ahead_is_refused_without_evidence() {
    let mut vault = Vault::new();
    vault.ask(vote(Prevote, 0, Some(A)), &[]).unwrap();
    for round in [1, 2, 1000, u32::MAX] {
        assert_eq!(vault.ask(vote(Prevote, round, Some(B)), &[]), Err(Deny::Evidence));
    }
    // Three others in the round before, and its own vote there.
    assert!(vault.ask(vote(Prevote, 1, Some(B)), &by(&[2, 3, 4], vote(Prevote, 0, None))).is_ok());
    // Its own vote is in round 1 now: three others of round 1 or later count towards round 2, of round 0 do not.
    assert_eq!(vault.ask(vote(Prevote, 2, None), &by(&[2, 3, 4], vote(Prevote, 0, None))), Err(Deny::Evidence));
    // t+1 members in the round itself or later.
    assert_eq!(vault.ask(vote(Prevote, 9, None), &by(&[2], vote(Prevote, 9, None))), Err(Deny::Evidence));
    assert_eq!(vault.ask(vote(Prevote, 9, None), &by(&[2, 3], vote(Prevote, 8, None))), Err(Deny::Evidence));
    assert!(vault.ask(vote(Prevote, 9, None), &by(&[2, 3], vote(Prevote, 9, None))).is_ok());
}

#[test]
fn another_height_is_refused() {
    let mut vault = Vault::new();
    for height in [0, HEIGHT - 1, HEIGHT + 1] {
        assert_eq!(vault.ask(Vote { height, ..vote(Prevote, 0, Some(A)) }, &[]), Err(Deny::Height));
    }
}

#[test]
fn a_height_whose_polka_only_a_killed_node_held_still_ends() {
    // Three vaults locked on A in round 0; their nodes lost everything. Vault 4 and 5 never saw the polka.
    let mut vaults: Vec<(u8, Votes)> = (1..=5).map(|index| (index, Votes::new(HEIGHT))).collect();
    let ask = |(index, votes): &mut (u8, Votes), asked: Vote, shown: &[Evidence]| match votes.decide(
        member(*index),
        sizes(),
        &asked,
        shown,
    ) {
        Ok(Decision::Cast { vote, .. }) => votes.record(&vote),
        Ok(Decision::Recorded(_)) => {}
        Err(deny) => panic!("{deny}"),
    };
    for vault in vaults.iter_mut().take(4) {
        ask(vault, vote(Prevote, 0, Some(A)), &[]);
    }
    ask(&mut vaults[4], vote(Prevote, 0, None), &[]);
    let polka = by(&[1, 2, 3, 4], vote(Prevote, 0, Some(A)));
    for vault in vaults.iter_mut().take(3) {
        ask(vault, vote(Precommit, 0, Some(A)), &polka);
    }
    for vault in vaults.iter_mut().skip(3) {
        ask(vault, vote(Precommit, 0, None), &[]);
    }
    // What vaults hold for their nodes: own votes and the lock's polka. With it the next round proposes A again.
    let held: Vec<Evidence> = polka.into_iter().chain(by(&[1, 2, 3], vote(Precommit, 0, Some(A)))).collect();
    for vault in &mut vaults {
        ask(vault, vote(Prevote, 1, Some(A)), &held);
    }
    let polka = by(&[1, 2, 3, 4, 5], vote(Prevote, 1, Some(A)));
    let mut decided = 0;
    for vault in &mut vaults {
        ask(vault, vote(Precommit, 1, Some(A)), &polka);
        decided += usize::from(vault.1.cast((1, Precommit)) == Some(Some(A)));
    }
    assert!(decided >= sizes().engine_quorum());
}

/// The blocks that the engine's quorum precommitted, in whatever rounds.
fn certified(vaults: &[Votes], rounds: u32) -> Vec<Hash> {
    let quorum = |round: u32, block: Hash| {
        vaults.iter().filter(|votes| votes.cast((round, Precommit)) == Some(Some(block))).count()
            >= sizes().engine_quorum()
    };
    [A, B].into_iter().filter(|block| (0..rounds).any(|round| quorum(round, *block))).collect()
}

/// Everything that any vault ever signed: hostile nodes show all of it.
fn everything(vaults: &[(u8, Votes)]) -> Vec<Evidence> {
    vaults
        .iter()
        .flat_map(|(index, votes)| {
            votes
                .cast
                .iter()
                .map(|((round, step), block)| Evidence { voter: member(*index), vote: vote(*step, *round, *block) })
        })
        .collect()
}

#[test]
fn no_order_of_requests_certifies_two_blocks_at_one_height() {
    let found = search(3, |votes| votes.clone());
    assert!(found.fork.is_none(), "a fork: {:#?}", found.fork);
    // The search did reach decisions on either block.
    assert!(found.decided.iter().all(|count| *count > 0) && found.states > 1000, "{found:?}");
    println!("{} states, {:?} with a decision", found.states, found.decided);
}

#[test]
fn the_search_finds_a_fork_where_vaults_forget_their_locks() {
    let forgetful = |votes: &Votes| Votes { lock: None, ..votes.clone() };
    assert!(search(2, forgetful).fork.is_some());
}

#[derive(Debug)]
struct Search {
    states: usize,
    decided: [usize; 2],
    fork: Option<Vec<Votes>>,
}

/// Every state that hostile nodes can bring honest vaults into. All nodes are hostile: every vault may be asked for
/// every vote at any time, with everything that was ever signed as evidence (more evidence never allows less). Vaults
/// are alike, so states are kept sorted. An adversary never gains by asking for nil, nor by a precommit that becomes
/// nil: as evidence of a round any prevote does as well.
fn search(rounds: u32, decides_as: impl Fn(&Votes) -> Votes) -> Search {
    let slots: Vec<Slot> = (0..rounds).flat_map(|round| [(round, Prevote), (round, Precommit)]).collect();
    let mut seen: HashSet<u64> = HashSet::from([0]);
    let mut frontier = vec![0u64];
    let mut decided = [0, 0];
    while let Some(code) = frontier.pop() {
        let vaults: Vec<(u8, Votes)> = (1..=5).map(|index| (index, decode(&slots, code, index))).collect();
        let evidence = everything(&vaults);
        for (at, (index, votes)) in vaults.iter().enumerate() {
            if at > 0 && vaults[at - 1].1 == *votes {
                continue;
            }
            let deciding = decides_as(votes);
            for slot in slots.iter().copied().filter(|slot| votes.cast(*slot).is_none()) {
                for block in [A, B] {
                    let asked = vote(slot.1, slot.0, Some(block));
                    let decision = deciding.decide(member(*index), sizes(), &asked, &evidence);
                    let Ok(Decision::Cast { vote, .. }) = decision else { continue };
                    let below = votes.mark().is_some_and(|mark| slot < mark);
                    if vote.block.is_none() && (below || slot.1 == Precommit) {
                        continue;
                    }
                    let mut next: Vec<Votes> = vaults.iter().map(|(_, votes)| votes.clone()).collect();
                    next[at].record(&vote);
                    let code = encode(&slots, &next);
                    if seen.insert(code) {
                        let blocks = certified(&next, rounds);
                        if blocks.len() > 1 {
                            return Search { states: seen.len(), decided, fork: Some(next) };
                        }
                        if let Some(block) = blocks.first() {
                            decided[usize::from(*block == B)] += 1;
                        }
                        frontier.push(code);
                    }
                }
            }
        }
    }
    Search { states: seen.len(), decided, fork: None }
}

/// Two bits a slot, vaults in rising order; three rounds fill 60 bits.
fn encode(slots: &[Slot], vaults: &[Votes]) -> u64 {
    let mut codes: Vec<u64> = vaults
        .iter()
        .map(|votes| {
            slots.iter().fold(0, |code, slot| {
                let cast = match votes.cast(*slot) {
                    None => 0,
                    Some(None) => 1,
                    Some(Some(block)) => 2 + u64::from(block == B),
                };
                code << 2 | cast
            })
        })
        .collect();
    codes.sort_unstable();
    codes.iter().fold(0, |all, code| all << (2 * slots.len()) | code)
}

fn decode(slots: &[Slot], code: u64, index: u8) -> Votes {
    let bits = 2 * slots.len();
    let mine = code >> (bits * (5 - usize::from(index)));
    let mut votes = Votes::new(HEIGHT);
    for (at, slot) in slots.iter().enumerate() {
        match mine >> (bits - 2 - 2 * at) & 3 {
            0 => {}
            cast => votes.record(&vote(slot.1, slot.0, [None, Some(A), Some(B)][cast as usize - 1])),
        }
    }
    votes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Random hostile schedules over four rounds, with evidence withheld at random.
    #[test]
    fn no_random_schedule_forks_or_changes_a_cast_vote(
        steps in proptest::collection::vec((1u8..=5, 0u32..4, any::<bool>(), 0u8..8, any::<u64>()), 1..200)
    ) {
        let mut vaults: Vec<(u8, Votes)> = (1..=5).map(|index| (index, Votes::new(HEIGHT))).collect();
        for (index, round, precommit, block, mask) in steps {
            let block = match block { 0 => None, 1..=4 => Some(A), _ => Some(B) };
            let shown: Vec<Evidence> = everything(&vaults)
                .into_iter()
                .enumerate()
                .filter(|(at, _)| mask >> (at % 64) & 3 != 0)
                .map(|(_, shown)| shown)
                .collect();
            let asked = vote(if precommit { Precommit } else { Prevote }, round, block);
            let (_, votes) = &mut vaults[usize::from(index) - 1];
            let before = votes.cast((round, asked.step));
            match votes.decide(member(index), sizes(), &asked, &shown) {
                Ok(Decision::Recorded(vote)) => prop_assert_eq!(before, Some(vote.block)),
                Ok(Decision::Cast { vote, locks }) => {
                    prop_assert_eq!(before, None);
                    prop_assert!(vote.block.is_none() || vote.block == block);
                    prop_assert_eq!(locks, precommit && vote.block.is_some());
                    votes.record(&vote);
                }
                Err(deny) => prop_assert_eq!(deny, Deny::Evidence),
            }
            let states: Vec<Votes> = vaults.iter().map(|(_, votes)| votes.clone()).collect();
            prop_assert!(certified(&states, 4).len() < 2);
        }
    }
}
