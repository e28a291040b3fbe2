//! Votes and headers: three hostile nodes ask their vaults to vote for what they like, round after round.

use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use torus_ipc::{Deny, Request, Response, VoteRequest};
use torus_statement::certificate::{CommitCertificate, SignedHeader};
use torus_statement::vote::Proposal;
use torus_statement::{EpochConfig, Hash, Header, Index, SignedVote, Step, Vote};

use crate::forge::{Own, index, strangers};
use crate::siege::{Held, Siege, below, status};

/// Rounds that are tried at one height.
const ROUNDS: u32 = 12;
/// Votes that a request shows, the newest first: below what it may bring.
const EVIDENCE: usize = 200;

/// A block on top of the newest certified one, as only a liar would propose it.
pub(crate) fn made_up(siege: &Siege, held: &Held, state: Hash) -> Header {
    let newest = held.store.snapshot().expect("a snapshot").header().expect("a sound store").expect("a header");
    on_top_of(&newest.header, state, siege)
}

/// A block on top of another.
pub(crate) fn on_top_of(parent: &Header, state: Hash, siege: &Siege) -> Header {
    let config = siege.file.config.hash();
    Header {
        height: parent.height + 1,
        parent: parent.hash(),
        time: parent.time.max(torus_tests::issuer::now() * 1000) + 1,
        proposer: index(1),
        transactions: [0; 32],
        state,
        config,
        next_config: config,
        ..parent.clone()
    }
}

/// A request for a vote.
pub(crate) fn ask(step: Step, height: u64, round: u32, block: Option<Hash>, evidence: Vec<SignedVote>) -> Request {
    Request::SignVote(VoteRequest { vote: Vote { step, height, round, block }, evidence })
}

/// The header with whatever precommits of one round are known, however few.
pub(crate) fn certificate(header: &Header, round: u32, votes: &[SignedVote]) -> SignedHeader {
    let wanted = Vote { step: Step::Precommit, height: header.height, round, block: Some(header.hash()) };
    let mut signatures: Vec<_> =
        votes.iter().filter(|signed| signed.vote == wanted).map(|signed| (signed.voter, signed.signature)).collect();
    signatures.sort_by_key(|(voter, _)| *voter);
    signatures.dedup_by_key(|(voter, _)| *voter);
    SignedHeader { header: header.clone(), certificate: CommitCertificate { round, signatures } }
}

/// Presses for all of the blocks: in each round mostly for one of them, with other requests in between, for any round and
/// any block; each with all votes that are known, to which those of earlier rounds belong. Says which of the blocks were
/// certified.
pub(crate) fn press(
    held: &mut Held,
    config: &EpochConfig,
    blocks: &[Header],
    rounds: Range<u32>,
    known: &mut Vec<SignedVote>,
    rng: &mut ChaCha8Rng,
) -> Vec<SignedHeader> {
    let height = blocks[0].height;
    let hashes: Vec<Option<Hash>> = blocks.iter().map(|block| Some(block.hash())).chain([None]).collect();
    for round in rounds.clone() {
        let favourite = hashes[below(rng, blocks.len())];
        for step in [Step::Prevote, Step::Precommit] {
            let mut order: Vec<usize> = (0..held.vaults.len()).collect();
            while let Some(at) = (!order.is_empty()).then(|| order.swap_remove(below(rng, order.len()))) {
                let mut asked = vec![(step, round, favourite)];
                while below(rng, 3) == 0 {
                    let any = [Step::Prevote, Step::Precommit][below(rng, 2)];
                    asked.insert(0, (any, below(rng, rounds.end as usize) as u32, hashes[below(rng, hashes.len())]));
                }
                for (step, round, block) in asked {
                    match held.vaults[at].ask(&ask(
                        step,
                        height,
                        round,
                        block,
                        known.iter().take(EVIDENCE).cloned().collect(),
                    )) {
                        Response::Vote(vote) if !known.contains(&vote) => known.insert(0, vote),
                        Response::Vote(_) | Response::Denied(Deny::Evidence) => {}
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
    }
    let all = blocks.iter().flat_map(|block| (0..rounds.end).map(move |round| (block, round)));
    all.map(|(block, round)| certificate(block, round, known)).filter(|signed| signed.verify(config).is_ok()).collect()
}

pub(crate) fn three_hostile_nodes_certify_no_block_and_get_no_second_vote(siege: &mut Siege) {
    let mut held = siege.besiege(&[1, 2, 3]);
    let config = siege.file.config.clone();
    let blocks = [[0xa; 32], [0xb; 32]].map(|state| made_up(siege, &held, state));
    let [a, b] = &blocks;
    let height = a.height;
    let (before, asked) = (siege.loot.borrow().votes(), [Some(a.hash()), Some(b.hash()), None]);

    for vault in &mut held.vaults {
        let me = vault.member;
        let forged = |member: Index, round: u32| {
            let vote = Vote { step: Step::Prevote, height, round, block: Some(a.hash()) };
            SignedVote { vote, voter: member, signature: strangers(&vote.preimage(&config)) }
        };
        // Evidence that nobody signed, a round far ahead, other heights, another epoch's votes.
        let crowd: Vec<SignedVote> = config.sizes().members().map(|member| forged(member, 4)).collect();
        vault.refuses(&ask(Step::Prevote, height, 4, Some(a.hash()), crowd), Deny::Evidence, "forged votes");
        let foreign = Own::of(&config, 2).certify(a.clone()).certificate.signatures;
        let foreign = foreign.into_iter().map(|(voter, signature)| {
            let vote = Vote { step: Step::Precommit, height, round: 4, block: Some(a.hash()) };
            SignedVote { vote, voter, signature }
        });
        let foreign = foreign.collect();
        vault.refuses(&ask(Step::Prevote, height, 4, None, foreign), Deny::Evidence, "votes of another epoch");
        vault.refuses(&ask(Step::Prevote, height, u32::MAX, None, vec![]), Deny::Evidence, "the last round of all");
        for other in [0, height - 1, height + 1, u64::MAX] {
            vault.refuses(&ask(Step::Prevote, other, 0, None, vec![]), Deny::Height, "another height");
        }
        // The control: a vault votes for whatever its node proposes, once; asked again it says the same.
        let mut cast = asked.iter().map(|block| match vault.ask(&ask(Step::Prevote, height, 0, *block, vec![])) {
            Response::Vote(signed) if signed.voter == me && signed.verifies(&config) => signed.vote,
            other => panic!("{other:?}"),
        });
        let first = cast.next().expect("a vote");
        assert!(cast.all(|vote| vote == first));
        // Without a polka a precommit is nil, unless the engine had one cast before it was stopped.
        let precommit = vault.ask(&ask(Step::Precommit, height, 0, Some(b.hash()), vec![]));
        assert!(matches!(&precommit, Response::Vote(signed) if signed.vote.block != Some(b.hash())), "{precommit:?}");
    }
    let mut rng = siege.rng("votes");
    let certified = press(&mut held, &config, &blocks, 0..ROUNDS, &mut Vec::new(), &mut rng);
    assert_eq!(certified, Vec::new());
    assert!(siege.loot.borrow().votes() > before + 5, "the vaults did not vote at all");

    // What three precommits make of a header moves no vault.
    let votes = held.vaults.iter_mut().flat_map(|vault| match vault.ask(&Request::HeldVotes) {
        Response::HeldVotes(votes) => votes.own,
        other => panic!("{other:?}"),
    });
    let votes: Vec<SignedVote> = votes.collect();
    let own = Own::of(&config, 1);
    for vault in &mut held.vaults {
        for block in &blocks {
            let mut short = certificate(block, 0, &votes);
            vault.refuses(&Request::Advance(Box::new(short.clone())), Deny::Header, "the votes that there are");
            let preimage =
                Vote { step: Step::Precommit, height, round: 0, block: Some(block.hash()) }.preimage(&config);
            short.certificate.signatures = config.sizes().members().map(|m| (m, strangers(&preimage))).collect();
            vault.refuses(&Request::Advance(Box::new(short)), Deny::Header, "a forged certificate");
            let theirs = Request::Advance(Box::new(own.certify(block.clone())));
            vault.refuses(&theirs, Deny::Header, "a committee of their own");
        }
        assert_eq!(status(vault).height, height - 1);
    }
    siege.nothing_was_got(&mut held);
    siege.lift(held);
    siege.the_next_login_is_served();
    siege.no_fork();
    siege.the_next_login_is_served();
}

pub(crate) fn proposals_over_several_rounds_are_one_a_round_and_use_up_none_to_come(siege: &mut Siege) {
    let mut held = siege.besiege(&[1, 2, 3]);
    let [a, b] = [[0xc; 32], [0xd; 32]].map(|state| made_up(siege, &held, state));
    let proposal = |block: &Header, round, polka_round| {
        Request::SignProposal(Proposal { height: a.height, round, block: block.hash(), polka_round })
    };
    let before = siege.loot.borrow().proposals();
    for vault in &mut held.vaults {
        for round in [0, 1] {
            // Unless the engine had one signed before it was stopped, the first that is asked for is signed.
            let first = vault.ask(&proposal(&a, round, None));
            let taken = matches!(first, Response::Denied(Deny::NoVote));
            assert!(taken || matches!(first, Response::Signature(_)), "{first:?}");
            for other in [proposal(&b, round, None), proposal(&a, round, Some(0)), proposal(&b, round, Some(0))] {
                vault.refuses(&other, Deny::NoVote, "a second proposal of a round");
            }
            let again = vault.ask(&proposal(&a, round, None));
            assert_eq!(taken, matches!(again, Response::Denied(Deny::NoVote)), "{again:?}");
        }
        for round in [2, 3, 100, u32::MAX] {
            vault.refuses(&proposal(&a, round, None), Deny::Evidence, "a round to come");
        }
        for height in [a.height - 1, a.height + 1] {
            let other = Proposal { height, round: 0, block: a.hash(), polka_round: None };
            vault.refuses(&Request::SignProposal(other), Deny::Height, "another height");
        }
    }
    assert!(siege.loot.borrow().proposals() > before + 3, "hardly a proposal was signed");
    siege.nothing_was_got(&mut held);
    siege.lift(held);
    siege.the_next_login_is_served();
}

pub(crate) fn replayed_and_stale_headers_move_no_vault_and_stop_none(siege: &mut Siege) {
    let mut held = siege.besiege(&[1, 2, 3]);
    let newest = made_up(siege, &held, [0; 32]).height - 1;
    let snapshot = held.store.snapshot().expect("a snapshot");
    let all: Vec<SignedHeader> =
        (1..=newest).map(|height| snapshot.header_at(height).expect("a sound store").expect("a header")).collect();
    drop(snapshot);
    let own = Own::of(&siege.file.config, 2);
    for vault in &mut held.vaults {
        let at = status(vault).height;
        for signed in all.iter().rev().chain(&all) {
            let height = signed.header.height;
            let shown = vault.ask(&Request::Advance(Box::new(signed.clone())));
            let expected = if height < at { Response::Denied(Deny::Stale) } else { Response::Done };
            assert_eq!(shown, expected, "height {height}, the vault's is {at}");
            // The same height with another content, under the same signatures and under those of strangers.
            let mut other = signed.clone();
            other.header.state[0] ^= 1;
            vault.refuses(&Request::Advance(Box::new(other.clone())), Deny::Header, "another state");
            let theirs = Request::Advance(Box::new(own.certify(other.header)));
            vault.refuses(&theirs, Deny::Header, "another committee's");
        }
        assert!(status(vault).height >= at);
    }
    siege.nothing_was_got(&mut held);
    siege.lift(held);
    siege.the_next_login_is_served();
}
