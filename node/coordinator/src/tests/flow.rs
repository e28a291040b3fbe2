use proptest::prelude::*;
use torus_ipc::{Deny, Progress};
use torus_statement::dkg::Dealing;
use torus_statement::state::Phase;
use torus_statement::{Body, Wire};

use super::net::{at, attempt, dealing_of, sign};
use super::sim::{Sim, count, envelope, is_vault_batch, ready};
use crate::{Ask, Input, Message, Output, Statement};

fn acks(sim: &Sim, batch: u64) -> u32 {
    match sim.entry(batch).phase {
        Phase::Published { acks, .. } => acks,
        _ => 0,
    }
}

#[test]
fn five_members_fill_the_buffer_and_acknowledge() {
    let mut sim = Sim::new(5, 3, 1);
    sim.run(3_000);
    assert_eq!(sim.supply().unassigned(), 6);
    assert_eq!((acks(&sim, 0), acks(&sim, 1)), (0b11111, 0b11111));
    // Every vault was told each phase, and once more that all have acknowledged; and not again and again.
    for node in &sim.nodes {
        for batch in 0..2 {
            let told: Vec<u8> = node.vault.told.iter().filter(|t| t.0 == batch).map(|t| t.2).collect();
            assert_eq!(told, [0, 1, 2, 2]);
        }
        assert_eq!(node.vault.delivered, 8);
    }
}

#[test]
fn nine_members_with_two_down_fill_the_buffer() {
    let mut sim = Sim::new(9, 5, 2);
    sim.node(1).up = false;
    sim.node(2).up = false;
    sim.run(8_000);
    assert_eq!(sim.supply().unassigned(), 6);
    assert_eq!(acks(&sim, 0), 0b1_1111_1100);
}

#[test]
fn members_take_turns_so_that_one_proposal_comes() {
    let mut sim = Sim::new(5, 3, 1);
    sim.run(250);
    // The first block opened two batches; all statements are there, and only those whose turn it is submit.
    assert_eq!(sim.height, 1);
    let counts = count(&sim.submitted);
    assert_eq!((counts.get(&("propose", 0)), counts.get(&("propose", 1))), (Some(&1), Some(&1)));
}

#[test]
fn when_the_first_in_turn_is_silent_the_next_proposes() {
    let mut sim = Sim::new(5, 3, 1);
    sim.node(1).up = false;
    sim.run(250);
    assert_eq!(count(&sim.submitted).get(&("propose", 0)), None);
    sim.run(1_500);
    assert!(!matches!(sim.entry(0).phase, Phase::Open));
}

#[test]
fn what_did_not_come_into_the_log_is_submitted_again() {
    let mut sim = Sim::new(5, 3, 1);
    sim.run(250);
    sim.submitted.clear();
    for _ in 0..80 {
        sim.now += 250;
        for index in sim.members() {
            sim.input(index, Input::Tick(sim.now));
        }
        sim.deliver();
    }
    // Twenty seconds without blocks: everyone's turn came, and the first ones' came again.
    assert!(count(&sim.submitted)[&("propose", 0)] >= 6);
    sim.block();
    assert!(!matches!(sim.entry(0).phase, Phase::Open));
}

#[test]
fn lost_messages_are_repeated() {
    let mut sim = Sim::new(5, 3, 1);
    sim.loss = 2;
    sim.run(120_000);
    assert_eq!(sim.supply().unassigned(), 6);
}

#[test]
fn a_member_that_lost_its_shares_is_given_the_published_keys() {
    let mut sim = Sim::new(5, 3, 1);
    sim.node(4).vault.lost = true;
    sim.run(2_000);
    assert_eq!(acks(&sim, 0), 0b10111);
    assert_eq!(sim.node(4).vault.given_keys, 0, "not before it had its time");
    sim.run(4_000);
    assert_eq!(sim.node(4).vault.given_keys, 2);
    assert_eq!((acks(&sim, 0), acks(&sim, 1)), (0b11111, 0b11111));
}

#[test]
fn a_node_that_comes_back_asks_the_vault_and_catches_up() {
    let mut sim = Sim::new(5, 3, 1);
    sim.node(5).up = false;
    sim.run(4_000);
    assert_eq!(acks(&sim, 0), 0b01111);
    // The node's process is new and knows nothing; the vault remembers.
    let config = std::sync::Arc::new(sim.net.config.clone());
    *sim.node(5) = super::sim::Node { sequence: 64, ..fresh(config) };
    sim.node(5).vault.stored.extend([attempt(0, 0), attempt(1, 0)]);
    sim.input(at(5), Input::VaultConnected { active: vec![0, 1] });
    sim.run(3_000);
    assert_eq!((acks(&sim, 0), acks(&sim, 1)), (0b11111, 0b11111));
}

fn fresh(config: std::sync::Arc<torus_statement::EpochConfig>) -> super::sim::Node {
    let mut sim = Sim::new(5, 3, 1);
    let mut node = sim.nodes.remove(4);
    node.coordinator = crate::Coordinator::new(config, at(5));
    node
}

#[test]
fn what_the_vault_repeats_after_a_restart_counts() {
    let mut sim = Sim::new(5, 3, 1);
    // Only readies of the outbox exist: the vault answers nothing to the batch itself.
    sim.run(250);
    let config = std::sync::Arc::new(sim.net.config.clone());
    let outbox = sim.node(2).vault.outbox.clone();
    assert!(!outbox.readies.is_empty());
    let mut node = fresh(config.clone());
    node.coordinator = crate::Coordinator::new(config, at(2));
    node.vault.refuses = Some(Deny::Stale);
    node.vault.outbox = outbox;
    *sim.node(2) = node;
    sim.submitted.clear();
    sim.input(at(2), Input::VaultConnected { active: vec![0, 1] });
    for _ in 0..8 {
        sim.now += 250;
        sim.input(at(2), Input::Tick(sim.now));
    }
    let replayed = sim.node(2).coordinator.handle(Input::Vault { ask: Ask::Outbox, answer: Ok(Progress::default()) });
    assert!(replayed.is_empty());
    sim.deliver();
    // Its own readies count with those of the others that it hears again.
    for member in [1, 3, 4] {
        for dealer in 1..=4 {
            let statement = ready(&sim.net, attempt(0, 0), dealer, member);
            sim.input(at(2), Input::Statement { from: at(member), statement });
        }
    }
    sim.now += 5_000;
    sim.input(at(2), Input::Tick(sim.now));
    assert_eq!(count(&sim.submitted).get(&("propose", 0)), Some(&1));
}

#[test]
fn a_refusal_that_passes_is_asked_again_under_a_newer_header_and_one_for_good_is_not() {
    for (deny, again) in [(Deny::Clock, true), (Deny::Attempt, false)] {
        let mut sim = Sim::new(5, 3, 1);
        sim.node(3).vault.refuses = Some(deny);
        sim.run(500);
        sim.node(3).vault.refuses = None;
        let before = sim.entry(0).phase.clone();
        sim.input(at(3), Input::Tick(sim.now + 40_000));
        let told = sim.node(3).vault.told.iter().any(|t| t.0 == 0);
        assert!(!matches!(before, Phase::Published { .. }));
        assert_eq!(told, again, "{deny}");
    }
}

#[test]
fn forged_statements_count_nothing_and_spoil_nothing() {
    let mut sim = Sim::new(5, 3, 1);
    for member in 2..=5 {
        sim.node(member).vault.refuses = Some(Deny::Attempt);
    }
    sim.run(250);
    let a = attempt(0, 0);
    let submissions = |sim: &mut Sim, from: u8, statement: Statement| {
        sim.input(at(1), Input::Statement { from: at(from), statement });
        sim.now += 10_000;
        sim.input(at(1), Input::Tick(sim.now));
        count(&sim.submitted).get(&("propose", 0)).copied().unwrap_or(0)
    };
    for dealer in 1..=5 {
        for member in 2..=5 {
            // Another member's ready, one over another dealing, one of a stranger: none counts.
            let other = if member == 5 { 2 } else { member + 1 };
            let stolen = ready(&sim.net, a, dealer, other);
            assert_eq!(submissions(&mut sim, member, stolen), 0);
            let dealing = Dealing { digest: [99; 32], ..dealing_of(dealer) };
            let signature = sign(&sim.net.identities[at(member).slot()], b"something else");
            assert_eq!(submissions(&mut sim, member, Statement::Ready { attempt: a, dealing, signature }), 0);
        }
        let own = ready(&sim.net, a, dealer, 1);
        assert_eq!(submissions(&mut sim, 9, own), 0);
    }
    // The true ones still count after all that.
    for dealer in 1..=4 {
        for member in 2..=4 {
            let statement = ready(&sim.net, a, dealer, member);
            sim.input(at(1), Input::Statement { from: at(member), statement });
        }
    }
    sim.input(at(1), Input::Tick(sim.now + 10_000));
    assert_eq!(count(&sim.submitted).get(&("propose", 0)), Some(&1));
}

#[test]
fn two_digests_of_a_lying_dealer_never_mix() {
    let mut sim = Sim::new(5, 3, 1);
    sim.node(1).vault.refuses = Some(Deny::Attempt);
    for member in 2..=5 {
        sim.node(member).up = false;
    }
    sim.run(250);
    let a = attempt(0, 0);
    for dealer in 1..=4 {
        for member in 2..=5 {
            // Of dealer 4, half the members were shown another digest.
            let mut dealing = dealing_of(dealer);
            if dealer == 4 && member > 3 {
                dealing.digest = [44; 32];
            }
            let signature = sign(&sim.net.identities[at(member).slot()], &a.ready(&sim.net.config, &dealing));
            sim.input(
                at(1),
                Input::Statement { from: at(member), statement: Statement::Ready { attempt: a, dealing, signature } },
            );
        }
    }
    sim.input(at(1), Input::Tick(sim.now + 10_000));
    assert!(count(&sim.submitted).is_empty(), "three certified dealings are too few");
    for member in 2..=5 {
        let statement = ready(&sim.net, a, 5, member);
        sim.input(at(1), Input::Statement { from: at(member), statement });
    }
    sim.input(at(1), Input::Tick(sim.now + 20_000));
    let [(_, Body::Propose { dealings, .. })] = &sim.submitted[..] else { panic!("one proposal") };
    assert_eq!(dealings.iter().map(|d| d.dealing.dealer.get()).collect::<Vec<_>>(), [1, 2, 3, 5]);
    sim.block();
    assert!(matches!(sim.entry(0).phase, Phase::Qualified { .. }), "the log takes it");
}

#[test]
fn early_statements_are_kept_in_bounds_and_count_when_the_log_is_there() {
    let mut sim = Sim::new(5, 3, 1);
    let a = attempt(0, 0);
    // Before any block: statements of the attempt to come, and a flood about others from one member.
    for member in 2..=4 {
        for dealer in 1..=4 {
            let statement = ready(&sim.net, a, dealer, member);
            sim.input(at(1), Input::Statement { from: at(member), statement });
        }
    }
    let template = ready(&sim.net, a, 1, 5);
    for batch in 0..5_000u64 {
        let Statement::Ready { dealing, signature, .. } = template.clone() else { panic!() };
        let statement = Statement::Ready { attempt: attempt(batch + 9, 0), dealing, signature };
        sim.input(at(1), Input::Statement { from: at(5), statement });
    }
    for member in 2..=5 {
        sim.node(member).up = false;
    }
    sim.run(250);
    assert_eq!(count(&sim.submitted).get(&("propose", 0)), Some(&1), "with its own ready they are four");
}

#[test]
fn envelopes_for_others_or_of_another_config_never_reach_the_vault() {
    let mut sim = Sim::new(5, 3, 1);
    let a = attempt(0, 0);
    let good = envelope(&sim.net, at(2), at(1), a);
    let mut deliver = |envelope| sim.node(1).coordinator.handle(Input::Envelope(Box::new(envelope))).len();
    assert_eq!(deliver(good.clone()), 1);
    let mut foreign = good.clone();
    foreign.session.config = [0; 32];
    assert_eq!(deliver(foreign), 0);
    let mut other = good.clone();
    other.session.receiver = at(3);
    assert_eq!(deliver(other), 0);
    let mut own = good;
    own.session.sender = at(1);
    assert_eq!(deliver(own), 0);
}

#[test]
fn an_abandoned_attempt_leaves_nothing_to_the_next() {
    let mut sim = Sim::new(5, 3, 1);
    for member in 4..=5 {
        sim.node(member).up = false;
    }
    sim.run(2_000);
    assert!(matches!(sim.entry(0).phase, Phase::Open), "three are no quorum");
    sim.now += 600_000;
    sim.block();
    assert_eq!(sim.entry(0).attempt, 1);
    sim.node(4).up = true;
    sim.input(at(4), Input::VaultConnected { active: vec![0, 1] });
    sim.run(8_000);
    assert_eq!(sim.supply().unassigned(), 6);
    assert_eq!(sim.entry(0).attempt, 1);
}

#[test]
fn messages_have_one_form() {
    let sim = Sim::new(5, 3, 1);
    let a = attempt(3, 2);
    let statement = ready(&sim.net, a, 4, 2);
    let Statement::Ready { signature, .. } = statement.clone() else { panic!() };
    for message in [
        Message::Statement(statement),
        Message::Statement(Statement::Keys { attempt: a, digest: [5; 32], signature }),
        Message::Envelope(Box::new(envelope(&sim.net, at(2), at(1), a))),
    ] {
        let bytes = message.to_bytes();
        assert_eq!(Message::from_bytes(&bytes), Ok(message));
        assert!(Message::from_bytes(&bytes[..bytes.len() - 1]).is_err());
        assert!(Message::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
        for version in [0, 2] {
            assert!(Message::from_bytes(&[&[version], &bytes[1..]].concat()).is_err());
        }
    }
    assert!(!is_vault_batch(&Output::Prove(1)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn with_one_member_down_and_messages_lost_the_buffer_still_fills(down in 1u8..=5, loss in 3usize..9, lost in 1u8..=5) {
        let mut sim = Sim::new(5, 3, 1);
        sim.loss = loss;
        sim.node(down).up = false;
        sim.run(500);
        sim.node(down).up = true;
        sim.input(at(down), Input::VaultConnected { active: vec![0, 1] });
        let other = if lost == down { 1 + down % 5 } else { lost };
        sim.node(other).up = false;
        sim.run(150_000);
        prop_assert_eq!(sim.supply().unassigned(), 6);
    }
}
