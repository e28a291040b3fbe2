//! Whether the token's AES-256-GCM is authenticated, and the one that everybody else computes.

use super::Outcome;
use super::policy::{known_key, text};
use super::scratch::Bench;
use crate::fault::Fault;
use crate::raw::ROOM;
use crate::sealed_key::SealedKey;
use cryptoki::object::ObjectHandle;

pub(crate) const KNOWN_KEY: [u8; 32] = [0x42; 32];
pub(crate) const KNOWN_IV: [u8; 12] = [0x24; 12];
pub(crate) const KNOWN_PLAIN: [u8; 32] = [0x17; 32];
pub(crate) const KNOWN_BODY: [u8; 48] = [
    0x02, 0x86, 0xd3, 0x56, 0xfe, 0xd1, 0xd1, 0x29, 0x31, 0xff, 0x35, 0xbd, 0xaa, 0x25, 0x84, 0xb1, 0x7b, 0xec, 0x24,
    0x67, 0xa1, 0xbc, 0x47, 0x7a, 0xa7, 0xb3, 0xdb, 0x4d, 0x41, 0xd2, 0xf0, 0x04, 0x23, 0x8c, 0x21, 0x54, 0x4b, 0x90,
    0x6f, 0x32, 0x2b, 0x15, 0xa1, 0x3e, 0xa4, 0xf7, 0xe9, 0x69,
];
pub(crate) const AAD: &[u8] = b"torus/conformance/v1";

pub(super) fn sealing_opens(bench: &Bench) -> Outcome {
    with_sealed(bench, |handle, sealed| {
        let (iv, body) = sealed.parts();
        let mut room = [0; ROOM];
        match bench.open(handle, iv, AAD, 128, &body, &mut room) {
            Ok(32) if room.starts_with(&KNOWN_PLAIN) && body.get(..32) != Some(&KNOWN_PLAIN[..]) => {
                Outcome::pass("what was sealed opens")
            }
            Ok(_) => Outcome::fail("what was sealed opens to something else"),
            Err(fault) => failed(bench, "open what it sealed", fault),
        }
    })
}

pub(super) fn known_answer(bench: &Bench) -> Outcome {
    let handle = match known_key(bench) {
        Ok(handle) => handle,
        Err(error) => {
            return Outcome::warn(format!("the token imports no key to compare with: {}", text(bench, &error)));
        }
    };
    let mut room = [0; ROOM];
    match bench.open(handle, KNOWN_IV, AAD, 128, &KNOWN_BODY, &mut room) {
        Ok(32) if room.starts_with(&KNOWN_PLAIN) => Outcome::pass("AES-256-GCM opens a message sealed elsewhere"),
        Ok(_) => Outcome::fail("a message sealed elsewhere opens to something else"),
        Err(fault) => failed(bench, "open a message sealed elsewhere", fault),
    }
}

pub(super) fn altered_refused(bench: &Bench) -> Outcome {
    with_sealed(bench, |handle, sealed| {
        // One bit of the nonce, of the ciphertext at both ends, and of the tag at both ends.
        Outcome::worst([0usize, 12, 43, 44, 59].into_iter().map(|position| {
            let (mut iv, mut body) = sealed.parts();
            if let Some(byte) = iv.iter_mut().chain(body.iter_mut()).nth(position) {
                *byte ^= 1;
            }
            refused_opening(bench, handle, iv, AAD, &body, &format!("a bit of byte {position} flipped"))
        }))
    })
}

pub(super) fn altered_aad_refused(bench: &Bench) -> Outcome {
    with_sealed(bench, |handle, sealed| {
        let (iv, body) = sealed.parts();
        let altered: [&[u8]; 4] = [b"", b"torus/conformance/v2", b"torus/conformance/v", b"torus/conformance/v1\0"];
        Outcome::worst(altered.into_iter().map(|aad| {
            refused_opening(bench, handle, iv, aad, &body, &format!("additional data of {} bytes", aad.len()))
        }))
    })
}

pub(super) fn truncated_tag_refused(bench: &Bench) -> Outcome {
    with_sealed(bench, |handle, sealed| {
        let (iv, body) = sealed.parts();
        let lengths = [47usize, 44, 40, 36, 33, 32];
        let truncated = Outcome::worst(lengths.into_iter().map(|length| {
            let short = body.get(..length).unwrap_or_default();
            refused_opening(bench, handle, iv, AAD, short, &format!("{length} of 48 bytes"))
        }));
        // Who can ask for a short tag holds a session and can open anything; but it is not as it should be.
        let mut room = [0; ROOM];
        let asked = match bench.open(handle, iv, AAD, 32, body.get(..36).unwrap_or_default(), &mut room) {
            Ok(_) => Outcome::warn("a tag of 32 bits is accepted from a caller who asks for it; the vault never does"),
            Err(_) => Outcome::pass("short tags are refused even to a caller who asks for them"),
        };
        Outcome::worst([truncated, asked])
    })
}

pub(super) fn random_varies(bench: &Bench) -> Outcome {
    let mut draws = [[0u8; 32]; 4];
    for draw in &mut draws {
        if let Err(error) = (bench.plan.random)(&bench.session, draw) {
            return Outcome::fail(format!("no randomness: {}", text(bench, &error)));
        }
    }
    let mut sorted = draws.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() == draws.len() && draws.iter().all(|draw| draw != &[0; 32]) {
        Outcome::pass("four draws of 32 bytes differ")
    } else {
        Outcome::fail("the generator repeats itself or gives zeros")
    }
}

fn with_sealed(bench: &Bench, check: impl FnOnce(ObjectHandle, SealedKey) -> Outcome) -> Outcome {
    let handle = match bench.share.handle() {
        Ok(handle) => handle,
        Err(outcome) => return outcome,
    };
    match bench.seal(handle, AAD, &KNOWN_PLAIN) {
        Ok(sealed) => check(handle, sealed),
        Err(fault) => failed(bench, "seal", fault),
    }
}

fn refused_opening(bench: &Bench, key: ObjectHandle, iv: [u8; 12], aad: &[u8], body: &[u8], what: &str) -> Outcome {
    let mut room = [0; ROOM];
    match bench.open(key, iv, aad, 128, body, &mut room) {
        Ok(_) => Outcome::fail(format!("opened with {what}")),
        Err(fault) if fault.refused_ciphertext() => Outcome::pass("refused whatever was altered"),
        Err(fault) => failed(bench, &format!("tell a forgery with {what} from a fault"), fault),
    }
}

fn failed(bench: &Bench, what: &str, fault: Fault) -> Outcome {
    Outcome::fail(format!("cannot {what}: {}", fault.told(bench.session.token().label())))
}
