//! Votes through the socket, over kills.

use torus_ipc::{Deny, Request, Response, VoteRequest};
use torus_statement::vote::Step::{Precommit, Prevote};
use torus_statement::vote::{Proposal, SignedVote, Step, Vote};
use torus_statement::{Hash, Index};

use crate::network::{Network, now};
use crate::rig::{Node, Rig};

const A: Hash = [0xa; 32];
const B: Hash = [0xb; 32];

fn vote(step: Step, height: u64, round: u32, block: Option<Hash>) -> Vote {
    Vote { step, height, round, block }
}

fn ask(vote: Vote, evidence: Vec<SignedVote>) -> Request {
    Request::SignVote(VoteRequest { vote, evidence })
}

fn cast(network: &Network, node: &mut Node, wanted: Vote, evidence: Vec<SignedVote>) -> Vote {
    match node.ask(&ask(wanted, evidence)) {
        Response::Vote(signed) => {
            assert!(signed.voter == Index::new(1).unwrap() && signed.verifies(network.config()));
            signed.vote
        }
        other => panic!("{other:?}"),
    }
}

fn polka(network: &Network, wanted: Vote) -> Vec<SignedVote> {
    (2..=4).map(|member| network.vote(member, wanted)).collect()
}

#[test]
fn marks_locks_and_polkas_survive_a_kill() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let genesis = network.file.hash();
    let vault = rig.start(&genesis, None);
    let (mut node, _) = vault.node();

    let prevote = vote(Prevote, 1, 0, Some(A));
    assert_eq!(cast(&network, &mut node, prevote, vec![]), prevote);
    assert_eq!(node.denied(&ask(vote(Prevote, 2, 0, Some(A)), vec![])), Deny::Height);
    assert_eq!(node.denied(&ask(vote(Prevote, 1, 5, Some(B)), vec![])), Deny::Evidence);
    // Votes under other names or keys are no evidence.
    let mut forged = polka(&network, vote(Prevote, 1, 5, Some(B)));
    for vote in &mut forged {
        vote.voter = Index::new(vote.voter.get() % 4 + 2).unwrap();
    }
    assert_eq!(node.denied(&ask(vote(Prevote, 1, 5, Some(B)), forged)), Deny::Evidence);
    let precommit = vote(Precommit, 1, 0, Some(A));
    assert_eq!(cast(&network, &mut node, precommit, polka(&network, prevote)), precommit);
    vault.kill();

    let vault = rig.start(&genesis, None);
    let (mut node, _) = vault.node();
    assert_eq!(cast(&network, &mut node, vote(Prevote, 1, 0, Some(B)), vec![]), prevote);
    assert_eq!(cast(&network, &mut node, vote(Precommit, 1, 0, None), vec![]), precommit);
    // Locked on A; the next round has evidence, B has no polka.
    let seen = polka(&network, vote(Precommit, 1, 0, None));
    assert_eq!(cast(&network, &mut node, vote(Prevote, 1, 1, Some(B)), seen).block, None);
    match node.ask(&Request::HeldVotes) {
        Response::HeldVotes(held) => {
            assert_eq!((held.height, held.own.len(), held.polka.len()), (1, 3, 4));
            assert!(held.own.iter().chain(&held.polka).all(|vote| vote.verifies(network.config())));
        }
        other => panic!("{other:?}"),
    }

    // The height ends; what was cast there is no longer asked for.
    let header = network.certify(network.header(1, network.genesis(), now(), [0; 32]));
    assert_eq!(node.ask(&Request::Advance(Box::new(header.clone()))), Response::Done);
    assert_eq!(node.denied(&ask(prevote, vec![])), Deny::Height);
    let next = vote(Prevote, 2, 0, Some(B));
    assert_eq!(cast(&network, &mut node, next, vec![]), next);
    vault.kill();
    let vault = rig.start(&genesis, None);
    let (mut node, hello) = vault.node();
    assert_eq!(hello.height, 1);
    assert_eq!(cast(&network, &mut node, vote(Prevote, 2, 0, Some(A)), vec![]), next);
}

#[test]
fn a_proposal_is_signed_once_a_round() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let vault = rig.start(&network.file.hash(), None);
    let (mut node, _) = vault.node();
    let proposal = Proposal { height: 1, round: 0, block: A, polka_round: None };
    for _ in 0..2 {
        assert!(matches!(node.ask(&Request::SignProposal(proposal)), Response::Signature(_)));
    }
    assert_eq!(node.denied(&Request::SignProposal(Proposal { block: B, ..proposal })), Deny::NoVote);
    assert_eq!(node.denied(&Request::SignProposal(Proposal { height: 2, ..proposal })), Deny::Height);
    assert!(matches!(
        node.ask(&Request::SignProposal(Proposal { block: B, round: 1, ..proposal })),
        Response::Signature(_)
    ));
    let Response::Signature(proof) = node.ask(&Request::SignProofOfValidator(b"peer".to_vec())) else { panic!() };
    let key = network.config().keys().certificates[0].keys.consensus;
    assert!(proof.verifies(&key, &torus_statement::vote::proof_of_validator(&key.to_compressed(), b"peer")));
}

#[test]
fn a_hostile_node_cannot_use_up_the_proposals_of_rounds_to_come() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let vault = rig.start(&network.file.hash(), None);
    let (mut node, _) = vault.node();
    let proposal = |round, block| Request::SignProposal(Proposal { height: 1, round, block, polka_round: None });
    for round in [2, 3, u32::MAX] {
        assert_eq!(node.denied(&proposal(round, A)), Deny::Evidence);
    }
    for round in [0, 1] {
        assert!(matches!(node.ask(&proposal(round, A)), Response::Signature(_)));
    }
    // The network comes to round 2: an honest node finds it free.
    cast(&network, &mut node, vote(Precommit, 1, 0, None), vec![]);
    cast(&network, &mut node, vote(Precommit, 1, 1, None), polka(&network, vote(Precommit, 1, 0, None)));
    assert!(matches!(node.ask(&proposal(2, B)), Response::Signature(_)));
}

#[test]
fn two_certified_headers_of_one_height_stop_the_vault_for_good() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let genesis = network.file.hash();
    let vault = rig.start(&genesis, None);
    let (mut node, _) = vault.node();
    let time = now();
    let [one, other] =
        [[1; 32], [2; 32]].map(|state| network.certify(network.header(1, network.genesis(), time, state)));
    // Uncertified, of a wrong parent, of no later time: refused without consequence.
    let mut short = other.clone();
    short.certificate.signatures.pop();
    let stray = network.certify(network.header(1, [9; 32], time, [1; 32]));
    for bad in [short, stray] {
        assert_eq!(node.denied(&Request::Advance(Box::new(bad))), Deny::Header);
    }
    assert_eq!(node.ask(&Request::Advance(Box::new(one.clone()))), Response::Done);
    assert_eq!(node.ask(&Request::Advance(Box::new(one.clone()))), Response::Done);
    let next = network.certify(network.header(2, one.header.hash(), time + 1, [1; 32]));
    assert_eq!(node.ask(&Request::Advance(Box::new(next))), Response::Done);
    assert_eq!(node.denied(&Request::Advance(Box::new(one))), Deny::Stale);
    assert!(matches!(node.ask(&Request::HeldVotes), Response::HeldVotes(_)));

    assert_eq!(node.denied(&Request::Advance(Box::new(other))), Deny::Header);
    assert_eq!(node.denied(&Request::HeldVotes), Deny::NoVote);
    assert_eq!(node.denied(&ask(vote(Prevote, 3, 0, None), vec![])), Deny::NoVote);
    assert_eq!(node.denied(&crate::commits::ask([1; 32], 1, "demo")), Deny::Frozen);
    assert_eq!(node.denied(&Request::Outbox), Deny::Frozen);
    vault.stop();
    let vault = rig.start(&genesis, None);
    let (mut node, _) = vault.node();
    assert_eq!(node.denied(&Request::HeldVotes), Deny::NoVote);
    assert!(vault.log().contains("two certified headers of height 1"));
}

#[test]
fn a_store_copied_back_over_the_same_start_is_found_out_by_the_first_certified_vote_that_it_forgot() {
    for rolled_back in [false, true] {
        let (rig, own) = Rig::made();
        let network = Network::found(&rig, own);
        let genesis = network.file.hash();
        let vault = rig.start(&genesis, None);
        let (mut node, _) = vault.node();
        // The token's counter ticked at the start: it says nothing against a copy that was made later.
        rig.copy_store("data", "copy");
        let header = network.header(1, network.genesis(), now(), [1; 32]);
        let block = Some(header.hash());
        let prevote = vote(Prevote, 1, 0, block);
        cast(&network, &mut node, prevote, vec![]);
        let precommit = ask(vote(Precommit, 1, 0, block), polka(&network, prevote));
        let Response::Vote(own) = node.ask(&precommit) else { panic!() };
        let mut certified = network.certify(header);
        certified.certificate.signatures[3] = (own.voter, own.signature);
        certified.certificate.signatures.sort_by_key(|(voter, _)| *voter);
        vault.kill();
        if rolled_back {
            rig.copy_store("copy", "data");
        }
        let vault = rig.start(&genesis, None);
        let (mut node, _) = vault.node();
        let advance = Request::Advance(Box::new(certified));
        if !rolled_back {
            assert_eq!(node.ask(&advance), Response::Done);
            continue;
        }
        assert_eq!(node.denied(&advance), Deny::Frozen);
        assert_eq!(node.denied(&ask(prevote, vec![])), Deny::NoVote);
        assert_eq!(node.denied(&Request::Outbox), Deny::Frozen);
        assert_eq!(node.denied(&crate::commits::ask([1; 32], 1, "demo")), Deny::Frozen);
        assert!(vault.log().contains("the store is an old copy"), "{}", vault.log());
        // Its operator accepts it: it begins as after a kill, with a new not-before, and votes from his height on.
        vault.stop();
        assert!(rig.command("accept-store").args(["--from-height", "2"]).status().unwrap().success());
        let vault = rig.start(&genesis, None);
        let (mut node, _) = vault.node();
        assert_eq!(node.denied(&crate::commits::ask([1; 32], 1, "demo")), Deny::Settling);
        assert_eq!(node.denied(&ask(prevote, vec![])), Deny::NoVote);
        assert_eq!(node.ask(&advance), Response::Done);
        assert!(matches!(node.ask(&Request::HeldVotes), Response::HeldVotes(_)));
    }
}
