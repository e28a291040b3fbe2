//! Between two pieces of work: other requests are served, a vault may die, and a device or a disk may fail.

use std::sync::atomic::Ordering;
use std::time::Duration;

use torus_ipc::deny::Deny;
use torus_ipc::response::Progress;
use torus_statement::dkg::Attempt;
use torus_statement::envelope::{Envelope, Kind};

use super::generation::check_shares;
use super::world::{KEYS, World, index};
use crate::keygen::{Answers, Call};

impl World {
    fn call(&self, batch: u64) -> Call {
        let (header, proven) = self.header(batch, &self.entries[&batch]);
        Call::Batch { header: Box::new(header), batch, entry: Box::new(proven) }
    }

    /// One piece of a vault's work.
    fn piece(&mut self, i: u8) -> Answers {
        self.keygen(i).slice(Duration::ZERO)
    }

    /// So many pieces, unless it is answered before; whether it was.
    fn pieces(&mut self, i: u8, count: usize) -> bool {
        (0..count).any(|_| !self.piece(i).is_empty())
    }

    /// What a vault has on disk of a batch: record, stored shares, echoes and promised rows.
    fn durable(&mut self, i: u8, batch: u64) -> String {
        let records = crate::keygen::records::Records::open(&self.member(i).store).unwrap();
        let attempt = Attempt { batch, attempt: 0 };
        let echoes: Vec<u8> = (1..=5).filter(|d| records.echo(attempt, index(*d)).unwrap().is_some()).collect();
        let rows: Vec<u8> = records.rows(attempt).unwrap().iter().map(|(dealer, _)| dealer.get()).collect();
        let (record, shares) = (records.batch(batch).unwrap(), records.count_shares().unwrap());
        format!("{record:?}, {shares} shares, echoes {echoes:?}, rows {rows:?}")
    }
}

fn sends(progress: &Progress) -> usize {
    progress.envelopes.iter().filter(|envelope| envelope.label.kind == Kind::Send).count()
}

fn deliver(envelope: &Envelope) -> Call {
    Call::Envelope { envelope: Box::new(envelope.clone()), now: 0 }
}

#[test]
fn requests_of_another_batch_are_answered_while_a_long_dealing_goes_on() {
    let mut world = World::new();
    world.kill(1);
    world.batch_keys = 128;
    world.open(0, 0);
    world.batch_keys = KEYS;
    world.open(1, 0);
    world.queue.clear();
    world.start(1);
    // Opened again after its start, so that it may deal.
    for batch in [0, 1] {
        world.height += 1;
        let height = world.height;
        world.entries.get_mut(&batch).unwrap().height = height;
    }
    let (long, short) = (world.call(0), world.call(1));
    world.keygen(1).ask(10, long);
    assert!(!world.pieces(1, 3), "a dealing of 128 keys takes more than three pieces");
    world.keygen(1).ask(11, short);
    world.keygen(1).ask(12, Call::Outbox);
    let mut order = Vec::new();
    let mut pieces = 0;
    while world.keygen(1).has_work() {
        order.extend(world.piece(1));
        pieces += 1;
    }
    assert!(pieces > 30, "all of it in {pieces} pieces");
    let numbers: Vec<u64> = order.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [11, 10, 12], "the short one first, the outbox after all that was asked before it");
    let answers: Vec<Progress> = order.into_iter().map(|(_, answer)| answer.unwrap()).collect();
    assert_eq!((sends(&answers[0]), sends(&answers[1]), sends(&answers[2])), (4, 4, 8));
    let of = |answer: usize, batch| answers[answer].envelopes.iter().all(|e| e.label.attempt.batch == batch);
    assert!(of(0, 1) && of(1, 0), "each answer has what its own request brought about");
}

#[test]
fn what_comes_for_a_batch_that_is_worked_on_waits_and_is_not_lost() {
    let mut world = World::new();
    world.kill(1);
    world.open(0, 0);
    let for_first: Vec<_> = world.queue.iter().filter(|e| e.session.receiver == index(1)).cloned().collect();
    assert_eq!(for_first.len(), 8, "four dealings and four echoes");
    world.queue.retain(|envelope| envelope.session.receiver != index(1));
    world.start(1);
    world.height += 1;
    let height = world.height;
    world.entries.get_mut(&0).unwrap().height = height;
    // The first four come first, then the fact that they wait for, then the rest in the middle of it.
    for (number, envelope) in (0..).zip(&for_first[..4]) {
        world.keygen(1).ask(number, deliver(envelope));
    }
    let call = world.call(0);
    world.keygen(1).ask(4, call);
    let mut order = Vec::new();
    for _ in 0..6 {
        order.extend(world.piece(1));
    }
    for (number, envelope) in (5..).zip(&for_first[4..]) {
        world.keygen(1).ask(number, deliver(envelope));
    }
    while world.keygen(1).has_work() {
        order.extend(world.piece(1));
    }
    assert_eq!(order.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
    for (_, answer) in order {
        world.absorb(1, answer.unwrap());
    }
    world.run();
    assert!(world.rows(1, 0) >= 4, "it promised every dealing");
}

/// Kills a vault after every number of pieces of one request. `states` are what may be on disk then, in order.
fn dies_between_pieces(prepare: impl Fn(&mut World), states: usize) {
    let mut seen: Vec<String> = Vec::new();
    for count in 0.. {
        let mut world = World::new();
        prepare(&mut world);
        let call = world.call(0);
        world.keygen(2).ask(1, call);
        let answered = world.pieces(2, count);
        let state = world.durable(2, 0);
        if seen.last() != Some(&state) {
            assert!(!seen.contains(&state), "what was durable is gone after {count} pieces");
            seen.push(state);
        }
        // What was not answered has not left.
        world.kill(2);
        world.start(2);
        let before = world.queue.len();
        let _denied = world.tell(2, 0);
        let dealt = world.queue.iter().skip(before);
        let dealt = dealt.filter(|e| e.session.sender == index(2) && e.label.kind == Kind::Send).count();
        assert_eq!(dealt, 0, "a second dealing after {count} pieces");
        world.run();
        if world.acks(0) != 0b11111 {
            world.tell(2, 0).unwrap();
            world.run();
            world.give_keys(2, 0).unwrap();
            world.run();
        }
        assert_eq!(world.acks(0), 0b11111, "after {count} pieces");
        check_shares(&mut world, 0, &[2, 1, 3]);
        if answered {
            assert!(count > 5, "answered in {count} pieces");
            break;
        }
    }
    // One transaction after another, and nothing between them: as if requests were not cut.
    assert_eq!(seen.len(), states, "{seen:#?}");
}

#[test]
fn a_vault_killed_between_any_two_pieces_of_a_dealing_has_dealt_or_not() {
    let prepare = |world: &mut World| {
        // The four others hear of the attempt; the second has not been told.
        let second = world.member(2).keygen.take();
        world.open(0, 0);
        world.member(2).keygen = second;
    };
    // Nothing; its record with the own echo.
    dies_between_pieces(prepare, 2);
}

#[test]
fn a_vault_killed_between_any_two_pieces_of_an_opening_has_stored_its_shares_or_not() {
    let prepare = |world: &mut World| {
        world.qualifies = false;
        world.open(0, 0);
        world.run();
        world.qualifies = true;
        let second = world.member(2).keygen.take();
        world.run_log_only();
        world.member(2).keygen = second;
    };
    // Promised; the set; the shares.
    dies_between_pieces(prepare, 3);
}

#[test]
fn a_device_or_a_disk_that_fails_between_two_pieces_lets_nothing_out() {
    for full in [false, true] {
        for count in 1.. {
            let mut world = World::new();
            let second = world.member(2).keygen.take();
            world.open(0, 0);
            world.member(2).keygen = second;
            let call = world.call(0);
            world.keygen(2).ask(1, call);
            if world.pieces(2, count) {
                assert!(count > 5, "answered in {count} pieces");
                break;
            }
            if full {
                world.full(2, true);
            } else {
                world.member(2).device.broken.store(true, Ordering::Relaxed);
            }
            let mut answers = Answers::new();
            while world.keygen(2).has_work() {
                answers.extend(world.piece(2));
            }
            let (number, answer) = answers.pop().unwrap();
            assert!(number == 1 && answers.is_empty());
            match answer {
                Err(deny) => {
                    assert_eq!(deny, if full { Deny::Store } else { Deny::Device });
                    assert_eq!(world.keygen(2).outbox(), Progress::default(), "after {count} pieces");
                    assert_eq!(world.keygen(2).under_way(), 0);
                }
                // Nothing that was left to do needed it.
                Ok(progress) => assert_eq!(sends(&progress), 4),
            }
            world.full(2, false);
            world.member(2).device.broken.store(false, Ordering::Relaxed);
            let _denied = world.tell(2, 0);
            world.run();
            if world.acks(0) != 0b11111 {
                world.tell(2, 0).unwrap();
                world.run();
                world.give_keys(2, 0).unwrap();
                world.run();
            }
            assert_eq!(world.acks(0), 0b11111, "after {count} pieces");
        }
    }
}
