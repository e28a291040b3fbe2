//! What the device does, compared with the same arithmetic in software.

use super::{ATTEMPT, config, device, pin, prepare, token};
use crate::sealed::{normalised, verifies};
use crate::{Device, DeviceError, EpochAttempt, SealedKey, Token, TokenError};
use k256::ecdsa::Signature;
use k256::{ProjectivePoint, Scalar};
use torus_sharing::Point;

fn times(point: &Point, scalar: Scalar) -> Point {
    Point::new(&(point.projective() * scalar)).unwrap()
}

fn generator(scalar: Scalar) -> Point {
    Point::new(&(ProjectivePoint::GENERATOR * scalar)).unwrap()
}

#[test]
fn a_wrong_pin_is_an_error_of_its_own_and_an_open_token_has_one_user() {
    prepare("pins");
    assert!(matches!(Token::open(&config("pins"), &pin("wrong-pin-1")), Err(TokenError::PinRefused { .. })));
    assert!(matches!(Token::open(&config("none"), &pin(super::PIN)), Err(TokenError::NoToken { .. })));
    let opened = Token::open(&config("pins"), &pin(super::PIN)).unwrap();
    assert_eq!(opened.info().unwrap().label, "pins");
    assert!(opened.session().is_ok());
    let exists = Token::prepare(&super::module(), "pins", &pin(super::SO_PIN), &pin(super::PIN));
    assert!(matches!(exists, Err(TokenError::Exists { .. })));
    for label in ["", "with space", &"x".repeat(33)] {
        let refused = Token::prepare(&super::module(), label, &pin(super::SO_PIN), &pin(super::PIN));
        assert!(matches!(refused, Err(TokenError::Label)), "{label:?}");
    }
}

#[test]
fn a_module_that_is_none_is_refused_by_its_path() {
    for path in ["/nonexistent/module.so", "/etc/passwd", "/lib/x86_64-linux-gnu/libm.so.6"] {
        let config = crate::TokenConfig { module: path.into(), label: "x".into() };
        match Token::open(&config, &pin(super::PIN)) {
            Err(TokenError::Module { path: named, .. }) => assert_eq!(named.to_str(), Some(path)),
            Err(other) => panic!("{path}: {other}"),
            Ok(_) => panic!("{path} is no module"),
        }
    }
}

#[test]
fn the_identity_is_made_once_and_signs_low_s_over_any_hash() {
    let token = token("identity");
    let mut one = device(&token);
    assert!(matches!(one.identity(), Err(DeviceError::NoIdentity)));
    assert!(matches!(one.sign_identity(&[1; 32]), Err(DeviceError::NoIdentity)));
    let public = one.generate_identity().unwrap();
    assert!(matches!(one.generate_identity(), Err(DeviceError::IdentityExists)));
    assert_eq!(device(&token).identity().unwrap(), public, "another session sees the same key");
    for round in 0..40u8 {
        let prehash = [round; 32];
        let signature = Signature::from_slice(&one.sign_identity(&prehash).unwrap()).unwrap();
        assert!(signature.normalize_s().is_none(), "low s");
        assert!(verifies(&public, &prehash, &signature));
        assert!(!verifies(&public, &[round ^ 0x80; 32], &signature));
    }
}

#[test]
fn a_high_s_is_brought_down_and_what_is_no_signature_is_refused() {
    let token = token("high-s");
    let mut one = device(&token);
    let public = one.generate_identity().unwrap();
    let prehash = [9; 32];
    let low = Signature::from_slice(&one.sign_identity(&prehash).unwrap()).unwrap();
    let (r, s) = low.split_scalars();
    let high = Signature::from_scalars(r, -s).unwrap();
    assert!(high.normalize_s().is_some());
    let again = normalised(&high.to_bytes()).unwrap();
    assert_eq!(again, low);
    assert!(verifies(&public, &prehash, &again));
    for bad in [&[0u8; 64][..], &[0xff; 64], &[1; 63], &[1; 65], &[]] {
        assert!(normalised(bad).is_none());
    }
}

#[test]
fn an_attempts_keys_are_made_once_found_by_others_and_die_together() {
    let token = token("epochs");
    let mut one = device(&token);
    let mut two = device(&token);
    let next = EpochAttempt { epoch: ATTEMPT.epoch, attempt: ATTEMPT.attempt + 1 };
    assert_eq!(one.epoch_keys(ATTEMPT).unwrap(), None);
    assert!(matches!(one.sign_consensus(ATTEMPT, &[0; 32]), Err(DeviceError::NoKeys(ATTEMPT))));
    let public = one.generate_epoch_keys(ATTEMPT).unwrap();
    let other = one.generate_epoch_keys(next).unwrap();
    assert!(public.consensus != public.envelope && public != other);
    assert!(matches!(two.generate_epoch_keys(ATTEMPT), Err(DeviceError::KeysExist(ATTEMPT))));
    assert_eq!(two.epoch_keys(ATTEMPT).unwrap(), Some(public));
    assert_eq!(two.epochs().unwrap(), [ATTEMPT, next]);
    let signature = Signature::from_slice(&two.sign_consensus(ATTEMPT, &[5; 32]).unwrap()).unwrap();
    assert!(verifies(&public.consensus, &[5; 32], &signature));
    assert!(!verifies(&other.consensus, &[5; 32], &signature));

    one.destroy_epoch_keys(ATTEMPT).unwrap();
    one.destroy_epoch_keys(ATTEMPT).unwrap();
    // The second worker held handles: it finds them to be gone, whatever it asks first.
    assert_eq!(two.epoch_keys(ATTEMPT).unwrap(), None);
    assert!(matches!(two.sign_consensus(ATTEMPT, &[5; 32]), Err(DeviceError::NoKeys(ATTEMPT))));
    assert_eq!(two.epoch_keys(ATTEMPT).unwrap(), None);
    assert_eq!(two.epochs().unwrap(), [next]);
    assert_eq!(two.epoch_keys(next).unwrap(), Some(other));
    let again = one.generate_epoch_keys(ATTEMPT).unwrap();
    assert!(again.consensus != public.consensus && again.envelope != public.envelope);
    assert_eq!(two.epoch_keys(ATTEMPT).unwrap(), Some(again));
}

#[test]
fn agreement_is_the_x_coordinate_that_the_peer_computes_also_when_it_is_short() {
    let token = token("agree");
    let mut one = device(&token);
    let public = one.generate_epoch_keys(ATTEMPT).unwrap().envelope;
    let mut scalars: Vec<Scalar> = (2..12u64).map(|n| Scalar::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let short = (1..20_000u64).map(Scalar::from).find(|scalar| times(&public, *scalar).to_xy()[0] == 0);
    scalars.push(short.unwrap());
    for scalar in scalars {
        let mut shared = [0xaa; 32];
        one.agree(ATTEMPT, &generator(scalar), &mut shared).unwrap();
        assert_eq!(shared, times(&public, scalar).to_xy()[..32]);
    }
    let mut shared = [0xaa; 32];
    let gone = EpochAttempt { epoch: 99, attempt: 0 };
    assert!(one.agree(gone, &generator(Scalar::from(2u64)), &mut shared).is_err());
    assert_eq!(shared, [0; 32], "a failed agreement leaves nothing");
}

#[test]
fn a_sealed_key_opens_only_whole_with_its_data_under_its_attempt() {
    let token = token("seal");
    let mut one = device(&token);
    let other = EpochAttempt { epoch: ATTEMPT.epoch + 1, attempt: 0 };
    one.generate_epoch_keys(ATTEMPT).unwrap();
    one.generate_epoch_keys(other).unwrap();
    let secret = [0x5a; 32];
    let mut out = [0; 32];
    for aad in [&b""[..], b"batch 7", &[1; 1024]] {
        let sealed = one.seal(ATTEMPT, aad, &secret).unwrap();
        device(&token).open(ATTEMPT, aad, &sealed, &mut out).unwrap();
        assert_eq!(out, secret);
    }
    assert!(matches!(one.seal(ATTEMPT, &[1; 1025], &secret), Err(DeviceError::AadLength)));

    let sealed = one.seal(ATTEMPT, b"batch 7", &secret).unwrap();
    assert_ne!(sealed, one.seal(ATTEMPT, b"batch 7", &secret).unwrap(), "a nonce is not repeated");
    let mut refuse = |attempt, aad: &[u8], sealed: &SealedKey, what: &str| {
        out = [0xaa; 32];
        assert!(matches!(one.open(attempt, aad, sealed, &mut out), Err(DeviceError::Authentication)), "{what}");
        assert_eq!(out, [0; 32], "{what}: nothing is left");
    };
    for aad in [&b""[..], b"batch 8", b"batch 7\0", b"batch "] {
        refuse(ATTEMPT, aad, &sealed, "other data");
    }
    refuse(other, b"batch 7", &sealed, "another attempt's key");
    for bit in 8..SealedKey::LENGTH * 8 {
        let mut bytes = *sealed.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        refuse(ATTEMPT, b"batch 7", &SealedKey::from_bytes(&bytes).unwrap(), "a flipped bit");
    }
    one.open(ATTEMPT, b"batch 7", &sealed, &mut out).unwrap();
    assert_eq!(out, secret, "refusals harm nothing");
    one.destroy_epoch_keys(ATTEMPT).unwrap();
    assert!(matches!(one.open(ATTEMPT, b"batch 7", &sealed, &mut out), Err(DeviceError::NoKeys(ATTEMPT))));
}

#[test]
fn a_tick_is_seen_by_all_sessions_and_many_threads_lose_none() {
    let token = token("counter");
    assert_eq!(device(&token).counter().unwrap(), 0);
    assert_eq!(device(&token).tick().unwrap(), 1);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut own = device(&token);
                (0..5).for_each(|_| assert!(own.tick().is_ok()));
            });
        }
    });
    assert_eq!(device(&token).counter().unwrap(), 21);
}

#[test]
fn random_bytes_come_from_the_token() {
    let token = token("random");
    let mut draws = [[0; 32]; 2];
    let mut one = device(&token);
    draws.iter_mut().for_each(|draw| one.random(draw).unwrap());
    assert!(draws[0] != draws[1] && draws[0] != [0; 32]);
}
