//! A batch from opening to the last acknowledgement, and what the log's facts may and may not bring about.

use std::collections::BTreeMap;
use std::time::Duration;

use k256::elliptic_curve::PrimeField;
use k256::{ProjectivePoint, Scalar};
use torus_ipc::deny::Deny;
use torus_sharing::{IndexSet, PublishedKeys};
use torus_statement::dkg::{Attempt, KeyIndex};
use torus_statement::envelope::Kind;
use torus_statement::state::Phase;

use super::world::{KEYS, World, index};
use crate::keygen::MAX_MAKING;

/// Opens every member's share of a batch against the certified keys and reconstructs from k of them.
pub(super) fn check_shares(world: &mut World, batch: u64, members: &[u8]) {
    let config = world.config.clone();
    let published = PublishedKeys::parse(config.sizes(), KEYS.into(), &world.keys[&batch]).unwrap();
    let mut members = members.to_vec();
    members.sort_unstable();
    for (position, key) in (0..).zip(&published.keys) {
        let mut scalars = Vec::new();
        for i in &members {
            let store = world.shares(*i);
            let commitment = &key.commitments[usize::from(*i) - 1];
            let mut out = [0; 32];
            let named = KeyIndex::new(batch, position).unwrap();
            let mut device = world.member(*i).device.clone();
            store.open(&config, named, commitment, &mut device, &mut out).unwrap();
            scalars.push(Scalar::from_repr(out.into()).unwrap());
        }
        let first: Vec<_> = members[..3].iter().map(|i| index(*i)).collect();
        let set = IndexSet::new(config.sizes(), first).unwrap();
        let secret: Scalar = set.coefficients(0).iter().zip(&scalars).map(|(l, s)| *l * s).sum();
        assert_eq!(ProjectivePoint::GENERATOR * secret, key.public.projective());
    }
}

#[test]
fn five_vaults_make_a_batch_and_every_share_opens_against_its_certified_commitment() {
    let mut world = World::new();
    world.open(0, 0);
    world.run();
    assert_eq!(world.acks(0), 0b11111);
    check_shares(&mut world, 0, &[1, 2, 3, 4, 5]);
    assert_eq!(world.shares(1).count().unwrap(), u64::from(KEYS));
    // Rows are there for a late member until all have acknowledged, then nowhere.
    assert!((1..=5).all(|i| world.rows(i, 0) >= 4));
    world.tell_all(0);
    assert!((1..=5).all(|i| world.rows(i, 0) == 0));
    assert!((1..=5).all(|i| world.keygen(i).under_way() == 0));
    assert!((1..=5).all(|i| world.keygen(i).outbox().acks.is_empty()));
}

#[test]
fn batches_go_on_side_by_side_up_to_a_bound_and_one_more_waits() {
    let mut world = World::new();
    world.qualifies = false;
    let last = MAX_MAKING as u64;
    for batch in 0..last {
        world.open(batch, 0);
    }
    world.carry();
    world.open(last, 0);
    assert_eq!(world.tell(1, last), Err(Deny::Busy));
    world.qualifies = true;
    world.run();
    world.tell_all(last);
    world.run();
    for batch in 0..=last {
        assert_eq!(world.acks(batch), 0b11111, "batch {batch}");
    }
    for batch in [0, 1, last] {
        check_shares(&mut world, batch, &[5, 3, 1]);
    }
}

#[test]
fn a_batch_is_made_without_one_member_who_gets_his_shares_when_he_comes() {
    let mut world = World::new();
    world.kill(5);
    world.open(0, 0);
    world.run();
    assert_eq!(world.acks(0), 0b01111);
    world.tell_all(0);
    assert!((1..=4).all(|i| world.rows(i, 0) >= 4), "kept for the late member");

    world.start(5);
    world.tell(5, 0).unwrap();
    world.run();
    world.give_keys(5, 0).unwrap();
    world.run();
    assert_eq!(world.acks(0), 0b11111);
    check_shares(&mut world, 0, &[5, 1, 2]);
    world.tell_all(0);
    assert!((1..=5).all(|i| world.rows(i, 0) == 0));
}

#[test]
fn a_late_member_stores_only_shares_that_match_the_certified_keys() {
    let mut world = World::new();
    world.kill(5);
    world.open(0, 0);
    world.run();
    world.start(5);
    // Before the certified fact there is nothing to compare keys with.
    assert_eq!(world.give_keys(5, 0), Err(Deny::Attempt));
    world.tell(5, 0).unwrap();
    let attempt = Attempt { batch: 0, attempt: 0 };
    let mut other = world.keys[&0].clone();
    other[40] ^= 1;
    assert_eq!(world.keygen(5).handle_keys(attempt, &other), Err(Deny::Proof));
    world.run();
    assert_eq!(world.shares(5).count().unwrap(), 0);
    world.give_keys(5, 0).unwrap();
    world.run();
    check_shares(&mut world, 0, &[5, 4, 3]);
}

#[test]
fn facts_that_come_again_change_nothing() {
    let mut world = World::new();
    world.open(0, 0);
    world.tell_all(0);
    world.run();
    let queue = world.queue.len();
    for _ in 0..3 {
        world.tell_all(0);
    }
    assert_eq!(world.queue.len(), queue);
    assert_eq!(world.acks(0), 0b11111);
}

#[test]
fn a_second_qualified_set_of_an_attempt_is_refused() {
    let mut world = World::new();
    world.kill(5);
    world.open(0, 0);
    world.qualifies = false;
    world.run();
    world.qualifies = true;
    // The log fixes the set; nothing is carried, so the attempt stays there.
    world.run_log_only();
    let mut entry = world.entries[&0].clone();
    let Phase::Qualified { dealings, .. } = &mut entry.phase else { panic!("qualified") };
    dealings[0].digest[0] ^= 1;
    let (header, proven) = world.header(0, &entry);
    assert_eq!(world.keygen(1).handle_batch(&header, 0, &proven), Err(Deny::Attempt));
    // Also after a restart: the set is durable.
    world.kill(1);
    world.start(1);
    assert_eq!(world.keygen(1).handle_batch(&header, 0, &proven), Err(Deny::Attempt));
}

#[test]
fn a_fact_is_believed_only_under_its_certified_root_and_config() {
    let mut world = World::new();
    world.height += 1;
    world.open(0, 0);
    let entry = world.entries[&0].clone();
    let (header, mut proven) = world.header(0, &entry);
    proven.value.attempt = 7;
    assert_eq!(world.keygen(1).handle_batch(&header, 0, &proven), Err(Deny::Proof));
    let (header, proven) = world.header(0, &entry);
    assert_eq!(world.keygen(1).handle_batch(&header, 1, &proven), Err(Deny::Proof));
}

#[test]
fn an_attempt_abandoned_after_its_shares_were_stored_leaves_none() {
    let mut world = World::new();
    world.qualifies = false;
    world.open(0, 0);
    world.run();
    world.qualifies = true;
    world.run_log_only();
    assert_eq!(world.shares(1).count().unwrap(), u64::from(KEYS));
    world.queue.clear();
    world.open(0, 1);
    assert_eq!(world.shares(1).count().unwrap(), 0);
    world.run();
    assert_eq!(world.acks(0), 0b11111);
    assert_eq!(world.shares(1).count().unwrap(), u64::from(KEYS));
    check_shares(&mut world, 0, &[3, 4, 5]);
}

#[test]
fn an_abandoned_attempt_is_destroyed_and_does_not_come_back() {
    let mut world = World::new();
    world.qualifies = false;
    world.open(0, 0);
    world.run();
    assert!(world.rows(1, 0) > 0);
    let old = world.entries[&0].clone();
    world.qualifies = true;
    world.open(0, 1);
    world.run();
    assert_eq!(world.acks(0), 0b11111);
    let first = crate::keygen::records::Records::open(&world.member(1).store).unwrap();
    assert!(first.rows(Attempt { batch: 0, attempt: 0 }).unwrap().is_empty());
    check_shares(&mut world, 0, &[1, 2, 3]);
    assert_eq!(world.shares(1).count().unwrap(), u64::from(KEYS));
    let (header, proven) = world.header(0, &old);
    assert_eq!(world.keygen(1).handle_batch(&header, 0, &proven), Err(Deny::Stale));
}

#[test]
fn messages_that_come_before_the_fact_wait_for_it() {
    let mut world = World::new();
    world.height += 1;
    let entry = torus_statement::state::BatchEntry {
        attempt: 0,
        keys: KEYS,
        height: world.height,
        time: 0,
        phase: Phase::Open,
    };
    world.entries.insert(0, entry);
    for i in 1..=4 {
        world.tell(i, 0).unwrap();
    }
    world.carry();
    world.tell(5, 0).unwrap();
    world.run();
    assert_eq!(world.acks(0), 0b11111);
    assert!(world.rows(5, 0) >= 4, "the fifth promised too");
}

#[test]
fn the_outbox_repeats_the_bytes_that_were_sent() {
    let mut world = World::new();
    world.open(0, 0);
    let sent: Vec<_> = world.queue.iter().filter(|envelope| envelope.session.sender == index(1)).cloned().collect();
    assert!(sent.iter().any(|envelope| envelope.label.kind == Kind::Send));
    let outbox = world.keygen(1).outbox();
    assert!(sent.iter().all(|envelope| outbox.envelopes.contains(envelope)));
    // A node that lost everything gets the batch made from outboxes alone.
    world.queue.clear();
    for _ in 0..6 {
        for i in 1..=5 {
            let outbox = world.keygen(i).outbox();
            world.absorb(i, outbox);
        }
        world.carry();
        world.queue.clear();
        world.run_log_only();
    }
    assert_eq!(world.acks(0), 0b11111);
}

/// Not a test of time: it prints what one piece takes at most, in the quietest of five batches, for
/// `vault/docs/shares-at-rest.md`.
#[test]
#[ignore = "prints figures"]
fn the_longest_pieces_of_a_batch_of_128() {
    let mut least: BTreeMap<&'static str, Duration> = BTreeMap::new();
    for _ in 0..5 {
        let mut world = World::new();
        world.batch_keys = 128;
        world.qualifies = false;
        world.open(0, 0);
        world.run();
        // Taken up again with all its promises.
        world.kill(1);
        world.start(1);
        world.qualifies = true;
        world.run();
        assert_eq!(world.acks(0), 0b11111);
        for (work, time) in world.longest {
            let least = least.entry(work).or_insert(time);
            *least = (*least).min(time);
        }
    }
    for (work, time) in least {
        println!("{:>8} us  {work}", time.as_micros());
    }
}
