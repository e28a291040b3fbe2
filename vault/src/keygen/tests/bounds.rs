//! What others and a hostile node can make of this vault's memory, answers and records.

use torus_ipc::deny::Deny;

use super::world::{World, index};
use crate::keygen::{MAX_LATE, MAX_MAKING};

#[test]
fn outboxes_of_many_batches_fit_a_message_each_and_together_repeat_everything() {
    let mut world = World::new();
    for i in 2..=5 {
        world.kill(i);
    }
    for batch in 0..4 {
        world.open(batch, 0);
    }
    let sent: Vec<_> = world.queue.drain(..).filter(|envelope| envelope.session.sender == index(1)).collect();
    let bytes = |batch: u64| {
        let of = sent.iter().filter(|envelope| envelope.label.attempt.batch == batch);
        of.map(|envelope| envelope.ciphertext.len()).sum::<usize>()
    };
    // Room for one batch and a part of the next.
    let room = bytes(0) * 3 / 2;
    let mut repeated = Vec::new();
    for _ in 0..4 {
        let outbox = world.keygen(1).outbox_within(room);
        assert!(outbox.envelopes.iter().map(|envelope| envelope.ciphertext.len()).sum::<usize>() <= room);
        repeated.extend(outbox.envelopes);
    }
    assert!(sent.iter().all(|envelope| repeated.contains(envelope)));
    // With room for all, one answer has everything.
    let all = world.keygen(1).outbox();
    assert!(sent.iter().all(|envelope| all.envelopes.contains(envelope)));
}

#[test]
fn batches_that_others_publish_without_this_vault_do_not_fill_its_memory() {
    let mut world = World::new();
    for batch in 0..(MAX_MAKING + MAX_LATE + 3) as u64 {
        world.open(batch, 0);
        // Its node shows it every fact and hands it no envelope.
        for _ in 0..200 {
            world.queue.retain(|envelope| envelope.session.receiver != index(5));
            if world.queue.is_empty() && world.acks(batch) == 0b1111 {
                break;
            }
            world.carry_one();
        }
        for _ in 0..4 {
            world.queue.retain(|envelope| envelope.session.receiver != index(5));
            world.carry();
            world.run_log_only();
        }
        assert_eq!(world.acks(batch), 0b1111, "the others need it not");
        assert!(world.keygen(5).live.len() <= MAX_MAKING, "after batch {batch}");
    }
    assert_eq!(world.tell(5, (MAX_MAKING + MAX_LATE) as u64), Err(Deny::Busy));
}

#[test]
fn a_batch_that_cannot_be_begun_is_not_noted_and_keeps_no_vault_from_starting() {
    let mut world = World::new();
    world.kill(1);
    world.batch_keys = 0;
    world.open(0, 0);
    // Not dealt in, for it was opened before this start: it would only be watched.
    world.start(1);
    assert_eq!(world.tell(1, 0), Err(Deny::Attempt));
    world.kill(1);
    world.start(1);
    world.batch_keys = super::world::KEYS;
    world.open(1, 0);
    world.run();
    assert_eq!(world.acks(1), 0b11111);
}
