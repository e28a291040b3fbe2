//! Envelopes from the wrong hands: refused before the device works, and never opened.

use std::sync::atomic::Ordering;

use torus_hsm::Device;
use torus_ipc::deny::Deny;
use torus_statement::config::BadConfig;
use torus_statement::dkg::Attempt;
use torus_statement::envelope::{Envelope, Kind, Session};
use torus_statement::{EpochConfig, Signature};

use super::device::TestDevice;
use super::world::{World, config, index, sign};

/// The first Send of a member to vault 1, and a world in which vault 1 has begun.
fn case() -> (World, Envelope) {
    let mut world = World::new();
    world.open(0, 0);
    let send = |envelope: &&Envelope| {
        envelope.session.sender == index(2)
            && envelope.session.receiver == index(1)
            && envelope.label.kind == Kind::Send
    };
    let envelope = world.queue.iter().find(send).unwrap().clone();
    world.queue.clear();
    (world, envelope)
}

fn agreements(world: &mut World) -> usize {
    world.member(1).device.agreements.load(Ordering::Relaxed)
}

#[test]
fn an_honest_envelope_opens_with_one_operation_a_session() {
    let (mut world, envelope) = case();
    assert!(world.keygen(1).deliver(envelope.clone(), 0).is_ok());
    assert_eq!(agreements(&mut world), 1);
    assert!(world.keygen(1).deliver(envelope, 0).is_ok());
    assert_eq!(agreements(&mut world), 1);
}

#[test]
fn an_envelope_from_a_stranger_is_refused_before_the_device_works() {
    let (mut world, envelope) = case();
    let config = world.config.clone();
    let mut stranger = TestDevice::new(77);
    let preimage = Session::preimage(&config, index(2), index(1), &envelope.session.ephemeral);
    let mut forged = envelope.clone();
    forged.session.signature = sign(&mut stranger, &preimage);
    assert_eq!(world.keygen(1).deliver(forged, 0), Err(Deny::Envelope));
    // Nor does a member's signature for another name count, nor a name above n.
    let mut other = envelope.clone();
    other.session.sender = index(3);
    assert_eq!(world.keygen(1).deliver(other, 0), Err(Deny::Envelope));
    let mut outside = envelope;
    outside.session.sender = index(6);
    assert_eq!(world.keygen(1).deliver(outside, 0), Err(Deny::Envelope));
    assert_eq!(agreements(&mut world), 0);
}

#[test]
fn an_envelope_for_another_receiver_is_refused_before_the_device_works() {
    let (mut world, envelope) = case();
    let count = world.member(3).device.agreements.load(Ordering::Relaxed);
    assert_eq!(world.keygen(3).deliver(envelope.clone(), 0), Err(Deny::Envelope));
    let mut readdressed = envelope;
    readdressed.session.receiver = index(3);
    assert_eq!(world.keygen(3).deliver(readdressed, 0), Err(Deny::Envelope));
    assert_eq!(world.member(3).device.agreements.load(Ordering::Relaxed), count);
}

#[test]
fn an_envelope_of_its_own_sender_or_another_config_is_refused() {
    let (mut world, envelope) = case();
    let mut other = envelope.clone();
    other.session.config[0] ^= 1;
    assert_eq!(world.keygen(1).deliver(other, 0), Err(Deny::Envelope));
    let mut own = envelope;
    own.session.sender = index(1);
    assert_eq!(world.keygen(1).deliver(own, 0), Err(Deny::Envelope));
    assert_eq!(agreements(&mut world), 0);
}

#[test]
fn a_tampered_header_or_ciphertext_does_not_open() {
    let (mut world, envelope) = case();
    let bends: [fn(&mut Envelope); 6] = [
        |e| e.counter += 1,
        |e| e.label.kind = Kind::Echo,
        |e| e.label.dealing.dealer = index(3),
        |e| e.label.dealing.digest[0] ^= 1,
        |e| e.ciphertext[0] ^= 1,
        |e| e.ciphertext.truncate(15),
    ];
    for (i, bend) in bends.into_iter().enumerate() {
        let mut bent = envelope.clone();
        bend(&mut bent);
        assert_eq!(world.keygen(1).deliver(bent, 0), Err(Deny::Envelope), "bend {i}");
    }
    // An attempt that is bent is another attempt: it is held for it, and does not open when that begins.
    let mut bent = envelope.clone();
    bent.label.attempt = Attempt { batch: 1, attempt: 0 };
    assert!(world.keygen(1).deliver(bent, 0).is_ok());
    world.open(1, 0);
    assert!(world.keygen(1).deliver(envelope, 0).is_ok());
}

#[test]
fn an_envelope_replayed_into_another_session_does_not_open() {
    let (mut world, envelope) = case();
    world.keygen(1).deliver(envelope.clone(), 0).unwrap();
    // The sender restarts: a new session, whose key is another.
    world.kill(2);
    world.start(2);
    world.queue.clear();
    world.open(1, 0);
    let newer = world.queue.iter().find(|e| e.session.sender == index(2) && e.session.receiver == index(1)).unwrap();
    let mut moved = envelope;
    moved.session = newer.session.clone();
    assert_eq!(world.keygen(1).deliver(moved, 0), Err(Deny::Envelope));
}

#[test]
fn a_session_with_its_signature_rewritten_is_another_session_and_opens_nothing() {
    let (mut world, envelope) = case();
    world.keygen(1).deliver(envelope.clone(), 0).unwrap();
    let mut device = TestDevice::new(2);
    let preimage = Session::preimage(&world.config, index(2), index(1), &envelope.session.ephemeral);
    let mut resigned = envelope;
    // Any other valid signature of the same key: the header is authenticated whole.
    resigned.session.signature = sign(&mut device, &[&preimage[..], b"x"].concat());
    assert_eq!(world.keygen(1).deliver(resigned, 0), Err(Deny::Envelope));
}

#[test]
fn a_sender_that_begins_sessions_without_end_is_slowed_down() {
    let (mut world, envelope) = case();
    let config = world.config.clone();
    let mut device = TestDevice::new(2);
    let begin = |device: &mut TestDevice, seed: u8| {
        let mut forged = envelope.clone();
        forged.session.ephemeral = TestDevice::new(seed).identity().unwrap();
        let preimage = Session::preimage(&config, index(2), index(1), &forged.session.ephemeral);
        forged.session.signature = sign(device, &preimage);
        forged
    };
    for seed in 0..4 {
        let forged = begin(&mut device, 100 + seed);
        assert_eq!(world.keygen(1).deliver(forged, 1_000), Err(Deny::Envelope));
    }
    let forged = begin(&mut device, 110);
    assert_eq!(world.keygen(1).deliver(forged.clone(), 1_000), Err(Deny::Busy));
    assert_eq!(agreements(&mut world), 4);
    assert_eq!(world.keygen(1).deliver(forged, 20_000), Err(Deny::Envelope));
    assert_eq!(agreements(&mut world), 5);
}

#[test]
fn a_node_that_lists_its_own_envelope_key_makes_no_config() {
    let mut devices: Vec<Box<dyn Device>> = (1..=5).map(|i| Box::new(TestDevice::new(i)) as Box<dyn Device>).collect();
    let honest = config(&mut devices, 1);
    let mut keys = honest.keys().clone();
    keys.certificates[2].keys.envelope = TestDevice::new(99).identity().unwrap();
    let refused = EpochConfig::new(honest.committee().clone(), keys.clone());
    assert_eq!(refused.err(), Some(BadConfig::Signature(index(3))));
    // Signed by a key of the node's own it is not the member's either.
    let mut node = TestDevice::new(98);
    let preimage = keys.certificates[2].keys.preimage();
    let bytes: Signature = sign(&mut node, &preimage);
    keys.certificates[2].signature = bytes;
    assert_eq!(EpochConfig::new(honest.committee().clone(), keys).err(), Some(BadConfig::Signature(index(3))));
}

#[test]
fn early_envelopes_are_held_only_within_bounds_and_only_of_members() {
    let (mut world, envelope) = case();
    let mut early = envelope.clone();
    early.label.attempt.batch = 9;
    early.ciphertext = vec![0; 4 << 20];
    assert!(world.keygen(1).deliver(early.clone(), 0).is_ok());
    early.counter += 1;
    assert_eq!(world.keygen(1).deliver(early.clone(), 0), Err(Deny::Busy));
    early.ciphertext.truncate(16);
    for counter in 2..200 {
        early.counter = counter;
        let expected = if counter < 129 { Ok(Default::default()) } else { Err(Deny::Busy) };
        assert_eq!(world.keygen(1).deliver(early.clone(), 0), expected, "{counter}");
    }
    assert_eq!(agreements(&mut world), 0);
}
