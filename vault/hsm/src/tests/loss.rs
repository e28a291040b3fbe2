//! Lost sessions, interrupted writes, objects that are not ours.

use super::{ATTEMPT, device, token};
use crate::objects::{self, Kind, Name, Strictness, Use};
use crate::{Device, DeviceError};
use cryptoki::object::{Attribute, AttributeType, ObjectClass};

/// Strict but for one attribute: what somebody else's tool, or a token that ignores it, would leave.
fn weaker() -> [Strictness; 4] {
    let full = Strictness::FULL;
    [
        Strictness { sensitive: false, ..full },
        Strictness { extractable: true, ..full },
        Strictness { modifiable: true, ..full },
        Strictness { copyable: true, ..full },
    ]
}

fn counter_objects(session: &crate::Session) -> usize {
    let template = [Attribute::Class(ObjectClass::DATA), Attribute::Label(b"torus/counter".to_vec())];
    session.handle().find_objects(&template).unwrap().len()
}

fn data(session: &crate::Session, value: &[u8]) {
    session
        .handle()
        .create_object(&[
            Attribute::Class(ObjectClass::DATA),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Label(b"torus/counter".to_vec()),
            Attribute::Value(value.to_vec()),
        ])
        .unwrap();
}

fn counter_value(value: u64) -> Vec<u8> {
    [&[1][..], &value.to_be_bytes(), &(!value).to_be_bytes()].concat()
}

#[test]
fn a_lost_session_is_opened_again_and_its_keys_are_found_again() {
    let token = token("reopen");
    let mut one = crate::SealedDevice::new(token.session().unwrap());
    one.generate_identity().unwrap();
    let public = one.generate_epoch_keys(ATTEMPT).unwrap();
    let sealed = one.seal(ATTEMPT, b"x", &[7; 32]).unwrap();
    let mut out = [0; 32];
    let lose = |one: &crate::SealedDevice| token.raw().lose(one.session().handle());
    lose(&one);
    one.open(ATTEMPT, b"x", &sealed, &mut out).unwrap();
    assert_eq!(out, [7; 32]);
    lose(&one);
    one.sign_identity(&[1; 32]).unwrap();
    lose(&one);
    one.tick().unwrap();
    lose(&one);
    one.agree(ATTEMPT, &public.consensus, &mut out).unwrap();
    lose(&one);
    assert_eq!(one.epoch_keys(ATTEMPT).unwrap(), Some(public));
}

#[test]
fn a_key_that_is_less_strict_than_its_template_is_no_key_of_ours() {
    let token = token("weaker");
    let session = token.session().unwrap();
    let share = Name::of(Kind::Share, ATTEMPT);
    let consensus = Name::of(Kind::Consensus, ATTEMPT);
    for strict in weaker() {
        objects::generate_share(session.handle(), &share, strict).unwrap();
        objects::generate_pair(session.handle(), &consensus, Use::Sign, strict).unwrap();
        objects::generate_pair(session.handle(), &Name::identity(), Use::Sign, strict).unwrap();
    }
    let loose = Strictness { one_use: false, one_mechanism: false, ..Strictness::FULL };
    objects::generate_pair(session.handle(), &consensus, Use::Sign, loose).unwrap();
    objects::generate_share(session.handle(), &share, loose).unwrap();
    let mut one = device(&token);
    assert!(matches!(one.identity(), Err(DeviceError::NoIdentity)));
    assert_eq!(one.epoch_keys(ATTEMPT).unwrap(), None);
    // They do not stand in the way of the real ones, and go with them.
    one.generate_identity().unwrap();
    let public = one.generate_epoch_keys(ATTEMPT).unwrap();
    assert_eq!(device(&token).epoch_keys(ATTEMPT).unwrap(), Some(public));
    one.destroy_epoch_keys(ATTEMPT).unwrap();
    assert!(objects::all(session.handle(), &share).unwrap().is_empty());
    assert!(objects::all(session.handle(), &consensus).unwrap().is_empty());
}

#[test]
fn an_interrupted_generation_is_named_and_never_completed_by_itself() {
    let token = token("half");
    let session = token.session().unwrap();
    let consensus = Name::of(Kind::Consensus, ATTEMPT);
    objects::generate_pair(session.handle(), &consensus, Use::Sign, Strictness::FULL).unwrap();
    let mut one = device(&token);
    assert!(matches!(one.epoch_keys(ATTEMPT), Err(DeviceError::Incomplete { found: 1, .. })));
    assert!(matches!(one.generate_epoch_keys(ATTEMPT), Err(DeviceError::Incomplete { found: 1, .. })));
    assert_eq!(one.epochs().unwrap(), [ATTEMPT]);
    one.destroy_epoch_keys(ATTEMPT).unwrap();
    one.generate_epoch_keys(ATTEMPT).unwrap();
}

#[test]
fn keys_that_another_process_destroyed_are_found_to_be_gone() {
    let token = token("elsewhere");
    let session = token.session().unwrap();
    let mut one = device(&token);
    let sealed = one.generate_epoch_keys(ATTEMPT).and_then(|_| one.seal(ATTEMPT, b"", &[1; 32])).unwrap();
    // Without the device: nothing in this process says that its handles are dead.
    for kind in [Kind::Share, Kind::Envelope, Kind::Consensus] {
        for object in objects::all(session.handle(), &Name::of(kind, ATTEMPT)).unwrap() {
            session.handle().destroy_object(object).unwrap();
        }
    }
    let mut out = [0; 32];
    assert!(matches!(one.open(ATTEMPT, b"", &sealed, &mut out), Err(DeviceError::NoKeys(ATTEMPT))));
}

#[test]
fn two_keys_of_one_name_are_refused() {
    let token = token("twice");
    let session = token.session().unwrap();
    for _ in 0..2 {
        objects::generate_pair(session.handle(), &Name::identity(), Use::Sign, Strictness::FULL).unwrap();
    }
    assert!(matches!(device(&token).identity(), Err(DeviceError::Duplicate { count: 2, .. })));
}

#[test]
fn a_public_object_that_was_put_there_by_another_is_not_believed() {
    let token = token("public");
    let session = token.session().unwrap();
    let mut one = device(&token);
    let identity = one.generate_identity().unwrap();
    let epoch = one.generate_epoch_keys(ATTEMPT).unwrap();
    for (name, other) in [(Name::identity(), epoch.envelope), (Name::of(Kind::Envelope, ATTEMPT), identity)] {
        let mut point = vec![4, 0x41, 4];
        point.extend(other.to_xy());
        let template = [
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::KeyType(cryptoki::object::KeyType::EC),
            Attribute::Token(true),
            Attribute::EcParams(objects::SECP256K1.to_vec()),
            Attribute::EcPoint(point),
            Attribute::Id(name.id.clone()),
            Attribute::Label(name.label.clone().into_bytes()),
        ];
        session.handle().create_object(&template).unwrap();
        assert_eq!(objects::public_points(session.handle(), &name).unwrap().len(), 2);
    }
    let mut fresh = device(&token);
    assert_eq!(fresh.identity().unwrap(), identity);
    assert_eq!(fresh.epoch_keys(ATTEMPT).unwrap(), Some(epoch));
    // And with the true one gone, there is none.
    let name = Name::identity();
    for object in objects::all(session.handle(), &name).unwrap() {
        let class = session.handle().get_attributes(object, &[AttributeType::Class, AttributeType::EcPoint]).unwrap();
        let own = class.iter().any(|attribute| match attribute {
            Attribute::EcPoint(bytes) => objects::parse_point(bytes) == Some(identity),
            _ => false,
        });
        if own && class.contains(&Attribute::Class(ObjectClass::PUBLIC_KEY)) {
            session.handle().destroy_object(object).unwrap();
        }
    }
    assert!(matches!(device(&token).identity(), Err(DeviceError::PublicKey { .. })));
}

#[test]
fn of_several_counters_the_highest_counts_and_a_tick_leaves_it_and_its_successor() {
    let token = token("two-counters");
    let session = token.session().unwrap();
    let mut one = device(&token);
    data(&session, &counter_value(5));
    data(&session, &counter_value(7));
    data(&session, &counter_value(6));
    assert_eq!(one.counter().unwrap(), 7);
    assert_eq!(one.tick().unwrap(), 8);
    assert_eq!(counter_objects(&session), 2);
    assert_eq!(device(&token).counter().unwrap(), 8);
}

#[test]
fn a_half_made_counter_is_passed_over_and_a_lone_damaged_one_is_an_error() {
    let token = token("damaged");
    let session = token.session().unwrap();
    let mut one = device(&token);
    data(&session, b"");
    assert!(matches!(one.counter(), Err(DeviceError::CounterDamaged(1))));
    assert!(matches!(one.tick(), Err(DeviceError::CounterDamaged(1))));
    data(&session, &counter_value(4));
    assert_eq!(one.tick().unwrap(), 5);
    assert_eq!(counter_objects(&session), 2);
    data(&session, &counter_value(u64::MAX));
    assert!(matches!(one.tick(), Err(DeviceError::CounterStuck(u64::MAX))));
    assert_eq!(one.counter().unwrap(), u64::MAX);
}

/// Lets another process open a token of ours, through a shell that prepares it; what it printed.
fn another_process(label: &str, work: &str, shell: &str) -> String {
    let output = std::process::Command::new("sh")
        .args(["-c", &format!("{shell} exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "tests::loss::as_another_process", "--nocapture", "--test-threads=1"])
        .env("TORUS_HSM_STORED", super::directory())
        .env("TORUS_HSM_WORK", format!("{label} {work}"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Only does something as a child of the tests below.
#[test]
fn as_another_process() {
    let Ok(work) = std::env::var("TORUS_HSM_WORK") else { return };
    let (label, work) = work.split_once(' ').unwrap();
    let token = crate::Token::open(&super::config(label), &super::pin(super::PIN)).unwrap();
    let mut one = device(&token);
    if work == "tick-on-full-disk" {
        // The token must be read to be opened, and SoftHSM writes even then: so the disk is full only from here.
        let limit = format!("prlimit --fsize=0 --pid {}", std::process::id());
        assert!(std::process::Command::new("sh").args(["-c", &limit]).status().unwrap().success());
        assert!(std::fs::write(super::directory().join("no-room"), "x").is_err());
    }
    if work.starts_with("tick") {
        println!("ticked {:?}", one.tick());
    }
    println!("counter {} identity {:?}", one.counter().unwrap(), one.identity().unwrap().to_compressed());
}

#[test]
fn a_counter_and_keys_are_there_for_another_process() {
    // SoftHSM answers a process from its own memory: only another one sees what was stored.
    let token = token("stored");
    let mut one = device(&token);
    let identity = one.generate_identity().unwrap();
    one.tick().unwrap();
    one.tick().unwrap();
    let text = another_process("stored", "read", "");
    let expected = format!("counter 2 identity {:?}", identity.to_compressed());
    assert!(text.contains(&expected), "{text}");
}

#[test]
fn a_tick_on_a_full_disk_never_loses_the_counter() {
    let token = token("full");
    let mut one = device(&token);
    one.generate_identity().unwrap();
    (1..=3).for_each(|value| assert_eq!(one.tick().unwrap(), value));
    // Every write to a file fails, as on a full disk; what the token answers is not to be believed.
    let text = another_process("full", "tick-on-full-disk", "trap '' XFSZ;");
    assert!(text.contains("ticked "), "{text}");
    let after = another_process("full", "read", "");
    assert!(after.contains("counter 3 ") || after.contains("counter 4 "), "{text}{after}");
    let after = another_process("full", "tick", "");
    assert!(after.contains("ticked Ok(4)") || after.contains("ticked Ok(5)"), "{after}");
}
