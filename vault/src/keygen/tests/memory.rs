//! Memory for secrets that is used up: refused as busy, nothing that was promised is lost, and nothing is put elsewhere.

use torus_ipc::deny::Deny;
use torus_memory::{Heap, Pool};
use torus_protocol::{SecretBytes, room};

use super::generation::check_shares;
use super::world::{KEYS, World};

/// A world whose first vault has memory for so many attempts.
fn world(attempts: usize) -> (World, Pool, &'static Heap) {
    let mut world = World::new();
    let memory: &'static Heap = Box::leak(Box::new(Heap::part(attempts * room(world.config.sizes(), KEYS.into()))));
    world.kill(1);
    world.member(1).memory = Pool::new(memory);
    world.start(1);
    (world, Pool::new(memory), memory)
}

#[test]
fn a_batch_that_there_is_no_memory_for_waits_and_is_made_when_there_is() {
    let (mut world, _, memory) = world(2);
    for batch in 0..3 {
        world.open(batch, 0);
    }
    assert_eq!(world.tell(1, 2), Err(Deny::Busy), "two are under way");
    assert_eq!(world.keygen(1).live.len(), 2);
    world.run();
    assert_eq!((world.acks(0), world.acks(1)), (0b11111, 0b11111));
    // Those two have left memory: it deals in the third now, or helps to finish it.
    let _published = world.tell(1, 2);
    world.run();
    if world.acks(2) != 0b11111 {
        world.give_keys(1, 2).unwrap();
        world.run();
    }
    assert_eq!(world.acks(2), 0b11111);
    check_shares(&mut world, 2, &[1, 2, 3]);
    assert!(memory.peak() > 0, "its secrets lie there");
}

#[test]
fn an_attempt_whose_memory_is_used_up_in_the_midst_is_given_up_and_begun_again_from_what_is_durable() {
    let mut refused = 0;
    for steps in [0, 1, 2, 5, 11, 23, 47, 80] {
        let (mut world, pool, memory) = world(1);
        world.open(0, 0);
        for _ in 0..steps {
            world.carry_one();
        }
        // Somebody else holds all that is left.
        let others: Vec<SecretBytes> = [4096, 1024, 64]
            .into_iter()
            .flat_map(|size| std::iter::from_fn(move || SecretBytes::zeros(pool, size).ok()))
            .collect();
        // Its envelopes are refused as busy, and its node tries again.
        for _ in 0..8 {
            world.carry();
            world.run_log_only();
        }
        assert_eq!(world.acks(0) & 0b11110, 0b11110, "the others make the batch, after {steps} steps");
        refused += u32::from(world.acks(0) & 1 == 0);
        drop(others);
        world.tell(1, 0).unwrap();
        world.run();
        if world.acks(0) != 0b11111 {
            world.give_keys(1, 0).unwrap();
            world.run();
        }
        assert_eq!(world.acks(0), 0b11111, "after {steps} steps");
        check_shares(&mut world, 0, &[1, 4, 5]);
        world.kill(1);
        let whole = SecretBytes::zeros(pool, memory_of(memory));
        assert!(whole.is_ok(), "all of it came back");
    }
    assert!(refused >= 4, "it was given up {refused} times: this test would show little");
}

fn memory_of(memory: &'static Heap) -> usize {
    Pool::new(memory).capacity() / 64 * 64
}
