//! Whether the token holds to the attributes of its keys: nothing gets out, nothing is loosened.

use super::Outcome;
use super::scratch::{Bench, Scratch};
use super::sealing::KNOWN_KEY;
use crate::fault::{Fault, told};
use crate::objects;
use cryptoki::error::Error;
use cryptoki::mechanism::ekdf::AesCbcDeriveParams;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};

pub(super) fn keys_generated(bench: &Bench) -> Outcome {
    each(bench, |key, _| Outcome::pass(format!("{} made in the token", key.kind())))
}

pub(super) fn attributes_kept(bench: &Bench) -> Outcome {
    let expected = [
        &objects::provenance()[..],
        &[
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Modifiable(false),
        ],
    ]
    .concat();
    each(bench, |key, handle| {
        let missing: Vec<_> = expected
            .iter()
            .filter(|attribute| !has(bench, handle, attribute))
            .map(|attribute| format!("{attribute:?}"))
            .collect();
        if missing.is_empty() {
            Outcome::pass("local, always sensitive, never extractable, not modifiable, not copyable")
        } else {
            Outcome::fail(format!("{} lacks {}", key.kind(), missing.join(", ")))
        }
    })
}

pub(super) fn share_key_unreadable(bench: &Bench) -> Outcome {
    unreadable(bench, &bench.share)
}

pub(super) fn private_keys_unreadable(bench: &Bench) -> Outcome {
    Outcome::worst([unreadable(bench, &bench.signing), unreadable(bench, &bench.envelope)])
}

pub(super) fn sensitive_stays(bench: &Bench) -> Outcome {
    stays(bench, Attribute::Sensitive(false), Attribute::Sensitive(true))
}

pub(super) fn extractable_stays_off(bench: &Bench) -> Outcome {
    stays(bench, Attribute::Extractable(true), Attribute::Extractable(false))
}

pub(super) fn modification_refused(bench: &Bench) -> Outcome {
    each(bench, |key, handle| {
        let label = Attribute::Label(key.name.label.clone().into_bytes());
        refused(bench, &format!("set a label on the {}", key.kind()), || {
            bench.session.handle().update_attributes(handle, &[label])
        })
    })
}

pub(super) fn copy_refused(bench: &Bench) -> Outcome {
    let templates = [
        vec![Attribute::Token(false)],
        vec![Attribute::Token(false), Attribute::Extractable(true)],
        vec![Attribute::Token(false), Attribute::Sensitive(false)],
        vec![Attribute::Token(false), Attribute::Modifiable(true)],
    ];
    each(bench, |key, handle| {
        Outcome::worst(templates.iter().map(|template| {
            refused(bench, &format!("copy the {} as {template:?}", key.kind()), || {
                bench.session.handle().copy_object(handle, template)
            })
        }))
    })
}

pub(super) fn wrapping_refused(bench: &Bench) -> Outcome {
    let wrapper = match session_key(bench, &[Attribute::Wrap(true), Attribute::Encrypt(true)]) {
        Ok(wrapper) => wrapper,
        Err(error) => return Outcome::pass(format!("the token makes no wrapping key: {}", text(bench, &error))),
    };
    each(bench, |key, handle| {
        Outcome::worst(wrappings().iter().map(|mechanism| {
            refused(bench, &format!("wrap the {} by {}", key.kind(), named(mechanism)), || {
                bench.session.handle().wrap_key(mechanism, wrapper, handle)
            })
        }))
    })
}

pub(super) fn mechanisms_bounded(bench: &Bench) -> Outcome {
    let handle = match bench.share.handle() {
        Ok(handle) => handle,
        Err(outcome) => return outcome,
    };
    // Widening is tried first; what it answers is in `modification-refused`, what counts here is the effect.
    let wider = Attribute::AllowedMechanisms(vec![MechanismType::AES_GCM, MechanismType::AES_CBC]);
    let _ = bench.session.handle().update_attributes(handle, &[wider]);
    Outcome::worst([Mechanism::AesCbc([0; 16]), Mechanism::AesCbcPad([0; 16]), Mechanism::AesEcb].iter().map(
        |mechanism| {
            refused(bench, &format!("encrypt under the share key by {}", named(mechanism)), || {
                bench.session.handle().encrypt(mechanism, handle, &[0; 32])
            })
        },
    ))
}

pub(super) fn share_key_only_seals(bench: &Bench) -> Outcome {
    let handle = match bench.share.handle() {
        Ok(handle) => handle,
        Err(outcome) => return outcome,
    };
    let derive = refused(bench, "derive a key from the share key", || {
        bench.session.handle().derive_key(
            &Mechanism::AesCbcEncryptData(AesCbcDeriveParams::new([0; 16], &[0; 32])),
            handle,
            &[
                Attribute::Class(ObjectClass::SECRET_KEY),
                Attribute::KeyType(KeyType::GENERIC_SECRET),
                Attribute::Token(false),
                Attribute::Sensitive(false),
                Attribute::Extractable(true),
                Attribute::ValueLen(32.into()),
            ],
        )
    });
    let wrap = session_key(bench, &[Attribute::Extractable(true)]).map(|other| {
        Outcome::worst(wrappings().iter().map(|mechanism| {
            refused(bench, &format!("wrap under the share key by {}", named(mechanism)), || {
                bench.session.handle().wrap_key(mechanism, handle, other)
            })
        }))
    });
    match wrap {
        Ok(wrap) => Outcome::worst([derive, wrap]),
        // A token that makes no extractable key has nothing that could be wrapped.
        Err(_) => derive,
    }
}

pub(super) fn no_equality_oracle(bench: &Bench) -> Outcome {
    let session = bench.session.handle();
    let value = Attribute::Value(KNOWN_KEY.to_vec());
    if let Err(error) = known_key(bench) {
        return Outcome::pass(format!("the token imports no key to try it with: {}", text(bench, &error)));
    }
    match session.find_objects(&[Attribute::Class(ObjectClass::SECRET_KEY), value]) {
        Ok(found) if found.is_empty() => Outcome::pass("a sensitive value cannot be searched for"),
        Ok(_) => Outcome::warn(
            "a search by CKA_VALUE finds sensitive keys: guesses can be confirmed (harmless for 256-bit random keys)",
        ),
        Err(error) => Outcome::pass(format!("refused: {}", text(bench, &error))),
    }
}

/// An imported session key whose value everybody knows.
pub(super) fn known_key(bench: &Bench) -> Result<ObjectHandle, Error> {
    bench.session.handle().create_object(&[
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Value(KNOWN_KEY.to_vec()),
    ])
}

/// The check passes if the token refuses. A broken session is no refusal.
pub(super) fn refused<T>(bench: &Bench, what: &str, attempt: impl FnOnce() -> Result<T, Error>) -> Outcome {
    match attempt() {
        Ok(_) => Outcome::fail(format!("the token did {what}")),
        Err(error) => {
            let answer = text(bench, &error);
            if Fault::from(error).session_lost() {
                Outcome::fail(format!("could not try to {what}: {answer}"))
            } else {
                Outcome::pass(format!("refused to {what}: {answer}"))
            }
        }
    }
}

pub(super) fn text(bench: &Bench, error: &Error) -> String {
    told(error, bench.session.token().label()).to_string()
}

fn each(bench: &Bench, check: impl Fn(&Scratch, ObjectHandle) -> Outcome) -> Outcome {
    Outcome::worst(bench.keys().into_iter().map(|key| match key.handle() {
        Ok(handle) => check(key, handle),
        Err(outcome) => outcome,
    }))
}

fn unreadable(bench: &Bench, key: &Scratch) -> Outcome {
    let handle = match key.handle() {
        Ok(handle) => handle,
        Err(outcome) => return outcome,
    };
    // Should it come out, it is a scratch key's.
    let mut value = [0; 512];
    refused(bench, &format!("give out the value of the {}", key.kind()), || {
        bench.session.raw().value(bench.session.handle(), handle, &mut value)
    })
}

/// Whatever the token answers to the attempt, the attribute must be as before.
fn stays(bench: &Bench, loosened: Attribute, kept: Attribute) -> Outcome {
    each(bench, |key, handle| {
        let answer = match bench.session.handle().update_attributes(handle, std::slice::from_ref(&loosened)) {
            Ok(()) => "accepted".to_owned(),
            Err(error) => text(bench, &error),
        };
        if has(bench, handle, &kept) {
            Outcome::pass(format!("{kept:?} stays on the {}: {answer}", key.kind()))
        } else {
            Outcome::fail(format!("{kept:?} is not kept on the {}: {answer}", key.kind()))
        }
    })
}

fn has(bench: &Bench, handle: ObjectHandle, attribute: &Attribute) -> bool {
    objects::has(bench.session.handle(), handle, std::slice::from_ref(attribute)).unwrap_or(false)
}

fn session_key(bench: &Bench, uses: &[Attribute]) -> Result<ObjectHandle, Error> {
    let mut template = vec![Attribute::Token(false), Attribute::Private(true), Attribute::ValueLen(32.into())];
    template.extend_from_slice(uses);
    bench.session.handle().generate_key(&Mechanism::AesKeyGen, &template)
}

fn wrappings() -> [Mechanism<'static>; 4] {
    [Mechanism::AesKeyWrap, Mechanism::AesKeyWrapPad, Mechanism::AesCbcPad([0; 16]), Mechanism::AesCbc([0; 16])]
}

fn named(mechanism: &Mechanism) -> String {
    mechanism.mechanism_type().to_string()
}
