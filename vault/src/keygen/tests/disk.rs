//! Refused writes and a broken device: nothing leaves, and nothing acknowledged is missing later.

use std::sync::atomic::Ordering;

use torus_ipc::deny::Deny;
use torus_ipc::response::Progress;

use super::generation::check_shares;
use super::world::World;

#[test]
fn a_dealing_that_cannot_be_recorded_does_not_leave() {
    let mut world = World::new();
    world.full(1, true);
    world.open(0, 0);
    assert!(world.queue.iter().all(|envelope| envelope.session.sender.get() != 1));
    assert_eq!(world.tell(1, 0), Err(Deny::Store));
    assert_eq!(world.keygen(1).outbox(), Progress::default());
    // Nothing has left, so that it may still deal.
    world.full(1, false);
    world.tell(1, 0).unwrap();
    world.run();
    assert_eq!(world.acks(0), 0b11111);
    check_shares(&mut world, 0, &[1, 2, 3]);
}

#[test]
fn echoes_promises_and_shares_that_cannot_be_stored_do_not_leave() {
    // The disk fills up after some messages; from then on this vault sends nothing new.
    for steps in [0, 2, 5, 11, 23, 47, 80] {
        let mut world = World::new();
        world.open(0, 0);
        for _ in 0..steps {
            world.carry_one();
        }
        world.full(1, true);
        // What leaves from here on stands on records from before: the relay checks each message for that.
        world.run();
        assert_eq!(world.acks(0) & 0b11110, 0b11110, "the others make the batch, after {steps} steps");
        // There is room again: what it promised it keeps.
        world.full(1, false);
        world.tell(1, 0).unwrap();
        world.run();
        if world.acks(0) != 0b11111 {
            world.give_keys(1, 0).unwrap();
            world.run();
        }
        assert_eq!(world.acks(0), 0b11111, "after {steps} steps");
        check_shares(&mut world, 0, &[1, 4, 5]);
    }
}

#[test]
fn an_acknowledgement_that_cannot_be_recorded_does_not_leave() {
    let mut world = World::new();
    world.qualifies = false;
    world.open(0, 0);
    world.run();
    world.qualifies = true;
    world.run_log_only();
    world.carry();
    world.full(1, true);
    world.run();
    assert_eq!(world.acks(0) & 1, 0);
    assert_eq!(world.tell(1, 0), Err(Deny::Store));
    world.full(1, false);
    world.tell(1, 0).unwrap();
    world.run();
    assert_eq!(world.acks(0), 0b11111);
}

#[test]
fn a_device_that_fails_lets_nothing_out_and_the_batch_is_made_without_it() {
    let mut world = World::new();
    world.member(1).device.broken.store(true, Ordering::Relaxed);
    world.open(0, 0);
    assert!(world.queue.iter().all(|envelope| envelope.session.sender.get() != 1));
    assert_eq!(world.keygen(1).outbox(), Progress::default());
    // Its dealing is noted and lost with its memory: it deals no second time.
    world.run();
    assert_eq!(world.acks(0), 0b11110);
    world.member(1).device.broken.store(false, Ordering::Relaxed);
    world.tell(1, 0).unwrap();
    world.run();
    world.give_keys(1, 0).unwrap();
    world.run();
    assert_eq!(world.acks(0), 0b11111);
    check_shares(&mut world, 0, &[1, 2, 5]);
}
