//! Deaths at every moment: no second dealing, no broken promise, no lost batch.

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use torus_statement::envelope::Kind;
use torus_statement::state::Phase;

use super::generation::check_shares;
use super::world::{World, index};

#[test]
fn all_vaults_killed_between_q_and_the_first_acknowledgement_still_publish_the_batch() {
    // Killed right after the log fixed Q, after shares were stored, and after keys were signed.
    for moment in 0..3 {
        let mut world = World::new();
        world.qualifies = false;
        world.open(0, 0);
        world.run();
        world.qualifies = true;
        world.run_log_only();
        assert!(matches!(world.entries[&0].phase, Phase::Qualified { .. }));
        match moment {
            0 => {}
            1 => {
                // Some got the vectors of others, not enough for keys.
                world.queue.truncate(1);
                world.carry();
            }
            _ => {
                // One derived the keys and told the log, which has too few signatures.
                world.queue.retain(|envelope| envelope.session.receiver == index(1));
                world.carry();
            }
        }
        world.queue.clear();
        for i in 1..=5 {
            world.kill(i);
        }
        for i in 1..=5 {
            world.start(i);
        }
        world.tell_all(0);
        world.run();
        assert_eq!(world.acks(0), 0b11111, "moment {moment}");
        check_shares(&mut world, 0, &[2, 3, 4, 5, 1]);
    }
}

#[test]
fn all_vaults_killed_after_the_first_acknowledgement_acknowledge_the_rest() {
    let mut world = World::new();
    world.counts = false;
    world.open(0, 0);
    world.run();
    for i in 1..=5 {
        world.kill(i);
    }
    world.queue.clear();
    world.counts = true;
    for i in 1..=5 {
        world.start(i);
    }
    world.tell_all(0);
    assert_eq!(world.acks(0), 0b11111);
    check_shares(&mut world, 0, &[5, 4, 3]);
}

#[test]
fn a_vault_killed_at_any_moment_never_deals_twice_and_the_batch_is_made() {
    for steps in [0, 1, 4, 9, 17, 30, 60, 120] {
        let mut world = World::new();
        world.open(0, 0);
        for _ in 0..steps {
            world.carry_one();
        }
        world.kill(2);
        world.start(2);
        let before = world.queue.len();
        let _denied = world.tell(2, 0);
        let again = world.queue.iter().skip(before).filter(|envelope| envelope.session.sender == index(2));
        assert_eq!(again.filter(|envelope| envelope.label.kind == Kind::Send).count(), 0, "after {steps} steps");
        world.run();
        if matches!(world.entries[&0].phase, Phase::Published { .. }) && world.acks(0) != 0b11111 {
            world.give_keys(2, 0).ok();
            world.run();
        }
        assert_eq!(world.acks(0), 0b11111, "after {steps} steps");
        check_shares(&mut world, 0, &[2, 1, 3]);
    }
}

#[test]
fn a_vault_does_not_deal_in_an_attempt_that_was_opened_before_its_start() {
    let mut world = World::new();
    world.kill(3);
    world.open(0, 0);
    world.queue.clear();
    // It was down when the attempt began; whether it dealt before its database was lost, nobody knows.
    world.start(3);
    world.tell(3, 0).unwrap();
    assert!(world.queue.iter().all(|envelope| envelope.label.kind != Kind::Send));
    // The next attempt is after its start.
    world.open(0, 1);
    assert!(world.queue.iter().any(|e| e.session.sender == index(3) && e.label.kind == Kind::Send));
}

#[test]
fn a_promise_is_repeated_after_a_restart() {
    let mut world = World::new();
    world.qualifies = false;
    world.open(0, 0);
    world.run();
    let promised = world.rows(4, 0);
    assert!(promised >= 4);
    world.kill(4);
    world.queue.clear();
    world.start(4);
    let dealers: std::collections::BTreeSet<u8> = world
        .queue
        .iter()
        .filter(|envelope| envelope.session.sender == index(4) && envelope.label.kind == Kind::Ready)
        .map(|envelope| envelope.label.dealing.dealer.get())
        .collect();
    assert_eq!(dealers.len(), promised);
    assert_eq!(world.keygen(4).outbox().readies.len(), promised);
}

#[test]
fn a_restarted_vault_seals_under_other_keys_than_before() {
    let mut world = World::new();
    world.open(0, 0);
    let ephemeral = |world: &World| {
        let of = |e: &&torus_statement::envelope::Envelope| e.session.sender == index(1);
        world.queue.iter().find(of).map(|envelope| envelope.session.ephemeral)
    };
    let before = ephemeral(&world).unwrap();
    world.run();
    world.kill(1);
    world.queue.clear();
    world.start(1);
    world.open(1, 0);
    assert_ne!(ephemeral(&world).unwrap(), before);
}

#[test]
fn a_late_member_learns_the_set_also_from_members_that_lack_some_rows() {
    let mut world = World::new();
    world.kill(5);
    world.open(0, 0);
    world.run();
    // Each of three members lost the rows of another dealing: none can make its vector any more.
    for (member, dealer) in [(1, 2), (2, 3), (3, 4)] {
        world.kill(member);
        let store = world.member(member).store.clone();
        let table = store.table("keygen-rows").unwrap();
        let key = [&[0; 12][..], &[dealer]].concat();
        assert!(store.write(|change| change.delete(table, &key)).unwrap());
        world.start(member);
    }
    world.start(5);
    world.tell(5, 0).unwrap();
    world.run();
    world.give_keys(5, 0).unwrap();
    world.run();
    assert_eq!(world.acks(0), 0b11111);
    check_shares(&mut world, 0, &[5, 1, 2]);
}

/// The relay checks every message for the record it stands on, and that no dealer ever has two commitments.
#[test]
fn in_any_order_with_repetitions_and_deaths_the_batch_is_made() {
    for seed in 0..8 {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut world = World::new();
        world.open(0, 0);
        let deaths = seed % 4;
        let mut moments: Vec<u64> = (0..deaths).map(|_| u64::from(rng.next_u32() % 250)).collect();
        for step in 0..300 {
            world.carry_any(&mut rng);
            while let Some(at) = moments.iter().position(|moment| *moment == step) {
                moments.remove(at);
                let victim = (rng.next_u32() % 5 + 1) as u8;
                world.kill(victim);
                world.start(victim);
                let _denied = world.tell(victim, 0);
            }
        }
        world.run();
        if matches!(world.entries[&0].phase, Phase::Open) {
            // Too many forgot: the log abandons the attempt.
            assert!(deaths > 1, "seed {seed}");
            world.open(0, 1);
            world.run();
        }
        for i in 1..=5 {
            if world.acks(0) >> (i - 1) & 1 == 0 {
                world.tell(i, 0).unwrap();
                world.run();
                let _over = world.give_keys(i, 0);
                world.run();
            }
        }
        assert_eq!(world.acks(0), 0b11111, "seed {seed}");
        check_shares(&mut world, 0, &[1, 2, 3, 4, 5]);
    }
}
