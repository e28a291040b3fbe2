//! Whether the token's secp256k1 is the one that everybody else computes, and each key keeps to its use.

use super::Outcome;
use super::policy::{refused, text};
use super::scratch::{Bench, Scratch};
use crate::fault::Fault;
use crate::{objects, sealed};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::elliptic_curve::{EcKdf, Ecdh1DeriveParams};
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use k256::{ProjectivePoint, Scalar};
use torus_sharing::Point;

pub(super) fn signing_key_only_signs(bench: &Bench) -> Outcome {
    let handle = match bench.signing.handle() {
        Ok(handle) => handle,
        Err(outcome) => return outcome,
    };
    let generator = encoded(&ProjectivePoint::GENERATOR);
    refused(bench, "derive from the signing key", || {
        bench.session.handle().derive_key(
            &Mechanism::Ecdh1Derive(Ecdh1DeriveParams::new(EcKdf::null(), &generator)),
            handle,
            &[
                Attribute::Class(ObjectClass::SECRET_KEY),
                Attribute::KeyType(KeyType::GENERIC_SECRET),
                Attribute::Token(false),
                Attribute::ValueLen(32.into()),
            ],
        )
    })
}

pub(super) fn envelope_key_only_derives(bench: &Bench) -> Outcome {
    match bench.envelope.handle() {
        Ok(handle) => refused(bench, "sign with the envelope key", || {
            bench.session.handle().sign(&Mechanism::Ecdsa, handle, &[7; 32])
        }),
        Err(outcome) => outcome,
    }
}

pub(super) fn signature_verifies(bench: &Bench) -> Outcome {
    let handle = match bench.signing.handle() {
        Ok(handle) => handle,
        Err(outcome) => return outcome,
    };
    let points = match points(bench, &bench.signing) {
        Ok(points) => points,
        Err(outcome) => return outcome,
    };
    let mut prehash = [0; 32];
    for round in 0..4u8 {
        prehash.fill(round);
        match sealed::raw_signature(&bench.session, handle, &prehash) {
            Ok(signature) if points.iter().any(|point| sealed::verifies(point, &prehash, &signature)) => {}
            Ok(_) => return Outcome::fail("a signature does not verify under the token's public key"),
            Err(fault) => return failed(bench, "sign", fault),
        }
    }
    Outcome::pass("ECDSA on secp256k1 verifies")
}

pub(super) fn agreement_equals(bench: &Bench) -> Outcome {
    let handle = match bench.envelope.handle() {
        Ok(handle) => handle,
        Err(outcome) => return outcome,
    };
    let points = match points(bench, &bench.envelope) {
        Ok(points) => points,
        Err(outcome) => return outcome,
    };
    let agrees = |own: &Point| {
        // Also with a peer for whom the shared x begins with a zero byte: some tokens drop it.
        [Some(Scalar::from(0x1234_5678_9abc_def1_u64)), short_secret(own)]
            .into_iter()
            .flatten()
            .map(|scalar| agree(bench, handle, own, scalar))
            .try_fold(true, |all, one| one.map(|one| all & one))
    };
    for own in &points {
        match agrees(own) {
            Ok(true) => return Outcome::pass("ECDH on secp256k1 gives the 32-byte x-coordinate"),
            Ok(false) => {}
            Err(fault) => return failed(bench, "derive", fault),
        }
    }
    Outcome::fail("ECDH does not give the x-coordinate that belongs to the token's public key")
}

pub(super) fn off_curve_point_refused(bench: &Bench) -> Outcome {
    let handle = match bench.envelope.handle() {
        Ok(handle) => handle,
        Err(outcome) => return outcome,
    };
    let mut point = encoded(&ProjectivePoint::GENERATOR);
    if bench.plan.off_curve
        && let Some(last) = point.last_mut()
    {
        *last ^= 1;
    }
    let mut shared = [0; 32];
    match sealed::derive_encoded(&bench.session, handle, &point, &mut shared) {
        Ok(()) => Outcome::fail("the token multiplied its key with a point off the curve: such answers give it away"),
        Err(fault) if fault.session_lost() => failed(bench, "derive", fault),
        Err(fault) => Outcome::pass(format!("refused: {}", fault.told(bench.session.token().label()))),
    }
}

fn agree(bench: &Bench, handle: ObjectHandle, own: &Point, scalar: Scalar) -> Result<bool, Fault> {
    let mut shared = [0; 32];
    let peer = encoded(&(ProjectivePoint::GENERATOR * scalar));
    sealed::derive_encoded(&bench.session, handle, &peer, &mut shared)?;
    let expected = Point::new(&(own.projective() * scalar)).map(|point| point.to_xy());
    Ok(expected.is_ok_and(|xy| xy.starts_with(&shared)))
}

/// The smallest multiplier whose product with the point has an x of 31 bytes; one of 256 has.
fn short_secret(own: &Point) -> Option<Scalar> {
    let mut product = own.projective();
    (1..8192u64).find_map(|multiplier| {
        let short = Point::new(&product).is_ok_and(|point| point.to_xy().starts_with(&[0]));
        product += own.projective();
        short.then(|| Scalar::from(multiplier))
    })
}

fn points(bench: &Bench, key: &Scratch) -> Result<Vec<Point>, Outcome> {
    let of = match (bench.plan.own_public, std::ptr::eq(key, &bench.signing)) {
        (true, _) => key,
        (false, true) => &bench.envelope,
        (false, false) => &bench.signing,
    };
    match objects::public_points(bench.session.handle(), &of.name) {
        Ok(points) if points.is_empty() => Err(Outcome::fail(format!("the {} has no public object", key.kind()))),
        Ok(points) => Ok(points),
        Err(fault) => Err(failed(bench, "read the public point", fault)),
    }
}

fn failed(bench: &Bench, what: &str, fault: Fault) -> Outcome {
    let answer = match fault {
        Fault::Call(error) => text(bench, &error),
        Fault::Device(error) => error.to_string(),
    };
    Outcome::fail(format!("cannot {what}: {answer}"))
}

fn encoded(point: &ProjectivePoint) -> [u8; 65] {
    let mut bytes = [4; 65];
    if let Ok(point) = Point::new(point) {
        let (_, xy) = bytes.split_at_mut(1);
        xy.copy_from_slice(&point.to_xy());
    }
    bytes
}
