//! The objects in the token: their names, their templates, and how they are found again.
//!
//! A key is found only by the whole of its template. An object that bears the name but is less strict, or was left
//! half made by a crash, is no key of ours.

use crate::device::EpochAttempt;
use crate::error::DeviceError;
use crate::fault::Fault;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session as Handle;
use torus_sharing::Point;

/// DER of the object identifier 1.3.132.0.10, secp256k1.
pub(crate) const SECP256K1: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];
const ID_PREFIX: &[u8; 6] = b"torus\x01";

/// What a key is for. It is used for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Identity = 1,
    Consensus = 2,
    Envelope = 3,
    Share = 4,
    Scratch = 255,
}

/// One key's name: CKA_LABEL for people, CKA_ID for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) id: Vec<u8>,
    pub(crate) label: String,
}

/// How strict a template is. The vault's is [`Strictness::FULL`]; anything less exists to show that the start-up gate
/// notices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strictness {
    pub(crate) sensitive: bool,
    pub(crate) extractable: bool,
    pub(crate) modifiable: bool,
    pub(crate) copyable: bool,
    pub(crate) one_mechanism: bool,
    pub(crate) one_use: bool,
}

impl Strictness {
    pub(crate) const FULL: Self = Self {
        sensitive: true,
        extractable: false,
        modifiable: false,
        copyable: false,
        one_mechanism: true,
        one_use: true,
    };
}

/// What an elliptic-curve key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Sign,
    Derive,
}

impl Name {
    pub(crate) fn identity() -> Self {
        Self { id: id(Kind::Identity, 0, 0), label: "torus/identity".into() }
    }

    pub(crate) fn of(kind: Kind, attempt: EpochAttempt) -> Self {
        let word = match kind {
            Kind::Identity => "identity",
            Kind::Consensus => "consensus",
            Kind::Envelope => "envelope",
            Kind::Share => "share",
            Kind::Scratch => "scratch",
        };
        Self {
            id: id(kind, attempt.epoch, attempt.attempt),
            label: format!("torus/{word}/{}/{}", attempt.epoch, attempt.attempt),
        }
    }

    pub(crate) fn scratch(serial: u64, number: u32) -> Self {
        Self::of(Kind::Scratch, EpochAttempt { epoch: serial, attempt: number })
    }

    fn attributes(&self) -> [Attribute; 2] {
        [Attribute::Id(self.id.clone()), Attribute::Label(self.label.clone().into_bytes())]
    }
}

/// "torus", version 1, kind, epoch and attempt big-endian: 19 bytes.
fn id(kind: Kind, epoch: u64, attempt: u32) -> Vec<u8> {
    let mut id = ID_PREFIX.to_vec();
    id.push(kind as u8);
    id.extend(epoch.to_be_bytes());
    id.extend(attempt.to_be_bytes());
    id
}

/// The attempt that an epoch key's CKA_ID names.
fn attempt_of(id: &[u8]) -> Option<EpochAttempt> {
    let (kind, rest) = id.strip_prefix(ID_PREFIX)?.split_first()?;
    if ![Kind::Consensus as u8, Kind::Envelope as u8, Kind::Share as u8].contains(kind) {
        return None;
    }
    let (epoch, attempt) = rest.split_first_chunk::<8>()?;
    Some(EpochAttempt { epoch: u64::from_be_bytes(*epoch), attempt: u32::from_be_bytes(attempt.try_into().ok()?) })
}

/// Makes an AES-256 key for GCM and nothing else.
pub(crate) fn generate_share(session: &Handle, name: &Name, strict: Strictness) -> Result<ObjectHandle, Error> {
    let make = |allowed: bool| {
        let mut template = secret_policy(strict);
        template.extend(share_use(strict));
        template.push(Attribute::ValueLen(32.into()));
        if allowed {
            template.push(Attribute::AllowedMechanisms(vec![MechanismType::AES_GCM]));
        }
        template.extend(name.attributes());
        session.generate_key(&Mechanism::AesKeyGen, &template)
    };
    unless_unknown(strict, make)
}

/// Makes a key pair on secp256k1 for one use; the private handle.
pub(crate) fn generate_pair(
    session: &Handle,
    name: &Name,
    purpose: Use,
    strict: Strictness,
) -> Result<ObjectHandle, Error> {
    let make = |allowed: bool| {
        let mut private = secret_policy(strict);
        private.extend(pair_use(purpose, strict));
        if allowed {
            private.push(Attribute::AllowedMechanisms(vec![mechanism(purpose)]));
        }
        private.extend(name.attributes());
        let mut public = vec![
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::Modifiable(false),
            Attribute::Verify(purpose == Use::Sign),
            Attribute::EcParams(SECP256K1.to_vec()),
        ];
        public.extend(name.attributes());
        session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).map(|(_, private)| private)
    };
    unless_unknown(strict, make)
}

/// The usable share keys of this name: none or one.
pub(crate) fn find_share(session: &Handle, name: &Name) -> Result<Option<ObjectHandle>, Fault> {
    let mut template = vec![Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(KeyType::AES)];
    template.extend(secret_policy(Strictness::FULL));
    template.extend(share_use(Strictness::FULL));
    find_one(session, name, template)
}

/// The usable private keys of this name and use: none or one.
pub(crate) fn find_private(session: &Handle, name: &Name, purpose: Use) -> Result<Option<ObjectHandle>, Fault> {
    let mut template = vec![Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::KeyType(KeyType::EC)];
    template.extend(secret_policy(Strictness::FULL));
    template.extend(pair_use(purpose, Strictness::FULL));
    find_one(session, name, template)
}

/// The points of all public objects of this name. They are not protected: which one is the key's must be proven.
pub(crate) fn public_points(session: &Handle, name: &Name) -> Result<Vec<Point>, Fault> {
    let mut points = Vec::new();
    for handle in publics(session, name)? {
        let attributes = session.get_attributes(handle, &[AttributeType::EcPoint])?;
        points.extend(attributes.iter().filter_map(|attribute| match attribute {
            Attribute::EcPoint(bytes) => parse_point(bytes),
            _ => None,
        }));
    }
    Ok(points)
}

/// Destroys the public objects of a name that has no private key: what an interrupted generation left.
pub(crate) fn sweep_publics(session: &Handle, name: &Name) -> Result<(), Fault> {
    for handle in publics(session, name)? {
        session.destroy_object(handle)?;
    }
    Ok(())
}

/// All objects of a name, usable or not.
pub(crate) fn all(session: &Handle, name: &Name) -> Result<Vec<ObjectHandle>, Fault> {
    let mut template = vec![Attribute::Token(true)];
    template.extend(name.attributes());
    Ok(session.find_objects(&template)?)
}

/// The attempts that any key object of the token names, in order.
pub(crate) fn attempts(session: &Handle) -> Result<Vec<EpochAttempt>, Fault> {
    let mut found = Vec::new();
    for class in [ObjectClass::SECRET_KEY, ObjectClass::PRIVATE_KEY] {
        for (_, id) in identified(session, class)? {
            found.extend(attempt_of(&id));
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// All key objects of one kind, of whatever attempt.
pub(crate) fn of_kind(session: &Handle, kind: Kind) -> Result<Vec<ObjectHandle>, Fault> {
    let mut found = Vec::new();
    for class in [ObjectClass::SECRET_KEY, ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
        let ours = |id: &[u8]| id.strip_prefix(ID_PREFIX).and_then(<[u8]>::first) == Some(&(kind as u8));
        found.extend(identified(session, class)?.into_iter().filter(|(_, id)| ours(id)).map(|(handle, _)| handle));
    }
    Ok(found)
}

/// The token's objects of a class that have a readable CKA_ID.
fn identified(session: &Handle, class: ObjectClass) -> Result<Vec<(ObjectHandle, Vec<u8>)>, Fault> {
    let mut found = Vec::new();
    for handle in session.find_objects(&[Attribute::Class(class), Attribute::Token(true)])? {
        match session.get_attributes(handle, &[AttributeType::Id]).map_err(Fault::from) {
            Ok(attributes) => found.extend(attributes.into_iter().find_map(|attribute| match attribute {
                Attribute::Id(id) => Some((handle, id)),
                _ => None,
            })),
            // A half-made object.
            Err(fault) if !fault.session_lost() => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(found)
}

/// CKA_EC_POINT: a DER octet string around the uncompressed point; some tokens leave the wrapping away.
pub(crate) fn parse_point(bytes: &[u8]) -> Option<Point> {
    let point = if bytes.len() == 67 { bytes.strip_prefix(&[0x04, 0x41])? } else { bytes };
    let xy: &[u8; 64] = point.strip_prefix(&[0x04])?.try_into().ok()?;
    Point::from_xy(xy).ok()
}

/// The attributes that a key has only if the token made it and never let it out.
pub(crate) fn provenance() -> [Attribute; 4] {
    [
        Attribute::Local(true),
        Attribute::AlwaysSensitive(true),
        Attribute::NeverExtractable(true),
        Attribute::Copyable(false),
    ]
}

/// Whether an object has exactly these attributes. An object that cannot be read has not.
pub(crate) fn has(session: &Handle, object: ObjectHandle, expected: &[Attribute]) -> Result<bool, Fault> {
    let types: Vec<_> = expected.iter().map(Attribute::attribute_type).collect();
    match session.get_attributes(object, &types) {
        Ok(found) => Ok(expected.iter().all(|attribute| found.contains(attribute))),
        Err(error) => {
            let fault = Fault::from(error);
            if fault.session_lost() { Err(fault) } else { Ok(false) }
        }
    }
}

fn publics(session: &Handle, name: &Name) -> Result<Vec<ObjectHandle>, Fault> {
    let mut template =
        vec![Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::KeyType(KeyType::EC), Attribute::Token(true)];
    template.extend(name.attributes());
    Ok(session.find_objects(&template)?)
}

fn find_one(session: &Handle, name: &Name, mut template: Vec<Attribute>) -> Result<Option<ObjectHandle>, Fault> {
    template.retain(|attribute| !matches!(attribute, Attribute::Copyable(_)));
    template.extend(name.attributes());
    let mut usable = Vec::new();
    for handle in session.find_objects(&template)? {
        if has(session, handle, &provenance())? {
            usable.push(handle);
        }
    }
    match usable.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        several => Err(DeviceError::Duplicate { name: name.label.clone(), count: several.len() }.into()),
    }
}

fn secret_policy(strict: Strictness) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(strict.sensitive),
        Attribute::Extractable(strict.extractable),
        Attribute::Modifiable(strict.modifiable),
        Attribute::Copyable(strict.copyable),
    ]
}

fn share_use(strict: Strictness) -> Vec<Attribute> {
    vec![
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(!strict.one_use),
        Attribute::Unwrap(!strict.one_use),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Derive(!strict.one_use),
    ]
}

fn pair_use(purpose: Use, strict: Strictness) -> Vec<Attribute> {
    vec![
        Attribute::Sign(purpose == Use::Sign || !strict.one_use),
        Attribute::Derive(purpose == Use::Derive || !strict.one_use),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
        Attribute::SignRecover(false),
    ]
}

fn mechanism(purpose: Use) -> MechanismType {
    match purpose {
        Use::Sign => MechanismType::ECDSA,
        Use::Derive => MechanismType::ECDH1_DERIVE,
    }
}

/// Tries with CKA_ALLOWED_MECHANISMS, and without only if the token does not know the attribute. Whether such a token
/// is good enough is the start-up gate's to say.
fn unless_unknown<T>(strict: Strictness, make: impl Fn(bool) -> Result<T, Error>) -> Result<T, Error> {
    match make(strict.one_mechanism) {
        Err(Error::Pkcs11(RvError::AttributeTypeInvalid, _)) if strict.one_mechanism => make(false),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_by_kind_epoch_and_attempt_and_are_read_back() {
        let mut seen = std::collections::BTreeSet::new();
        for kind in [Kind::Consensus, Kind::Envelope, Kind::Share] {
            for epoch in [0, 1, 256, u64::MAX] {
                for attempt in [0, 1, u32::MAX] {
                    let attempt = EpochAttempt { epoch, attempt };
                    let name = Name::of(kind, attempt);
                    assert_eq!(name.id.len(), 19);
                    assert_eq!(attempt_of(&name.id), Some(attempt));
                    assert!(seen.insert(name.id) & seen.insert(name.label.into_bytes()));
                }
            }
        }
        for other in [Name::identity().id, b"torus\x01".to_vec(), b"other".to_vec(), vec![], vec![0; 19]] {
            assert_eq!(attempt_of(&other), None);
        }
    }

    #[test]
    fn a_public_point_is_read_wrapped_or_bare_and_only_if_it_is_one() {
        let point = Point::new(&k256::ProjectivePoint::GENERATOR).unwrap();
        let mut bare = vec![4];
        bare.extend(point.to_xy());
        let mut wrapped = vec![4, 0x41];
        wrapped.extend(&bare);
        assert_eq!(parse_point(&bare), Some(point));
        assert_eq!(parse_point(&wrapped), Some(point));
        for length in 0..wrapped.len() {
            assert!(length == 65 || parse_point(&wrapped[..length]).is_none(), "{length}");
        }
        wrapped[66] ^= 1;
        assert_eq!(parse_point(&wrapped), None);
    }
}
