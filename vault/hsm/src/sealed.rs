//! The device that is a PKCS#11 token: keys inside, arithmetic outside, data keys sealed by the token.

use crate::counter;
use crate::device::{Device, EpochAttempt, EpochPublic};
use crate::error::DeviceError;
use crate::fault::Fault;
use crate::objects::{self, Kind, Name, Strictness, Use};
use crate::raw::ROOM;
use crate::sealed_key::SealedKey;
use crate::session::Session;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::elliptic_curve::{EcKdf, Ecdh1DeriveParams};
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use k256::ecdsa::signature::hazmat::PrehashVerifier;
use k256::ecdsa::{Signature, VerifyingKey};
use k256::{ProjectivePoint, Scalar};
use std::collections::BTreeMap;
use torus_sharing::Point;
use zeroize::{Zeroize, Zeroizing};

const DOMAIN: &[u8] = b"torus/data-key/v1\0";
const MAX_AAD: usize = 1024;
const TAG_BITS: u64 = 128;

/// A worker's view of the token's keys: a session, and the handles found so far.
///
/// A lost session is opened again once per operation and the handles are found again; the login is not repeated.
pub struct SealedDevice {
    session: Session,
    identity: Option<EcKey>,
    epochs: BTreeMap<EpochAttempt, EpochKeys>,
    revision: u64,
}

#[derive(Clone, Copy)]
struct EcKey {
    private: ObjectHandle,
    public: Point,
}

#[derive(Clone, Copy)]
struct EpochKeys {
    consensus: EcKey,
    envelope: EcKey,
    share: ObjectHandle,
}

impl SealedDevice {
    /// A device over one session. Nothing is asked of the token yet.
    pub fn new(session: Session) -> Self {
        let revision = session.token().revision();
        Self { session, identity: None, epochs: BTreeMap::new(), revision }
    }

    #[cfg(test)]
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Runs an operation, and once more on a fresh session if the first was lost.
    fn run<T>(&mut self, mut operation: impl FnMut(&mut Self) -> Result<T, Fault>) -> Result<T, DeviceError> {
        let revision = self.session.token().revision();
        if self.revision != revision {
            self.forget();
            self.revision = revision;
        }
        let mut result = operation(self);
        if result.as_ref().is_err_and(Fault::session_lost) {
            self.forget();
            result = self.session.reopen().and_then(|()| operation(self));
        }
        result.map_err(|fault| fault.told(self.session.token().label()))
    }

    fn forget(&mut self) {
        self.identity = None;
        self.epochs.clear();
    }

    fn identity_key(&mut self) -> Result<EcKey, Fault> {
        if self.identity.is_none() {
            self.identity = load_pair(&self.session, &Name::identity(), Use::Sign)?;
        }
        self.identity.ok_or_else(|| DeviceError::NoIdentity.into())
    }

    fn keys(&mut self, attempt: EpochAttempt) -> Result<EpochKeys, Fault> {
        self.find_keys(attempt)?.ok_or_else(|| DeviceError::NoKeys(attempt).into())
    }

    fn find_keys(&mut self, attempt: EpochAttempt) -> Result<Option<EpochKeys>, Fault> {
        if let Some(keys) = self.epochs.get(&attempt) {
            return Ok(Some(*keys));
        }
        let consensus = load_pair(&self.session, &Name::of(Kind::Consensus, attempt), Use::Sign)?;
        let envelope = load_pair(&self.session, &Name::of(Kind::Envelope, attempt), Use::Derive)?;
        let share = objects::find_share(self.session.handle(), &Name::of(Kind::Share, attempt))?;
        match (consensus, envelope, share) {
            (Some(consensus), Some(envelope), Some(share)) => {
                let keys = EpochKeys { consensus, envelope, share };
                self.epochs.insert(attempt, keys);
                Ok(Some(keys))
            }
            (None, None, None) => Ok(None),
            (consensus, envelope, share) => {
                let found =
                    usize::from(consensus.is_some()) + usize::from(envelope.is_some()) + usize::from(share.is_some());
                Err(DeviceError::Incomplete { attempt, found }.into())
            }
        }
    }

    fn make_epoch_keys(&mut self, attempt: EpochAttempt) -> Result<EpochKeys, Fault> {
        let handle = self.session.handle();
        for (kind, purpose) in [(Kind::Consensus, Use::Sign), (Kind::Envelope, Use::Derive)] {
            let name = Name::of(kind, attempt);
            objects::sweep_publics(handle, &name)?;
            objects::generate_pair(handle, &name, purpose, Strictness::FULL)?;
        }
        objects::generate_share(handle, &Name::of(Kind::Share, attempt), Strictness::FULL)?;
        self.keys(attempt)
    }

    fn destroy(&mut self, attempt: EpochAttempt) -> Result<(), Fault> {
        self.epochs.remove(&attempt);
        self.session.token().revised();
        let handle = self.session.handle();
        let names = [Kind::Share, Kind::Envelope, Kind::Consensus].map(|kind| Name::of(kind, attempt));
        for name in &names {
            for object in objects::all(handle, name)? {
                handle.destroy_object(object)?;
            }
        }
        let mut count = 0;
        for name in &names {
            count += objects::all(handle, name)?.len();
        }
        if count == 0 { Ok(()) } else { Err(DeviceError::Remains { attempt, count }.into()) }
    }
}

impl Device for SealedDevice {
    fn identity(&mut self) -> Result<Point, DeviceError> {
        self.run(|device| device.identity_key().map(|key| key.public))
    }

    fn epoch_keys(&mut self, attempt: EpochAttempt) -> Result<Option<EpochPublic>, DeviceError> {
        self.run(|device| Ok(device.find_keys(attempt)?.map(EpochKeys::public)))
    }

    fn epochs(&mut self) -> Result<Vec<EpochAttempt>, DeviceError> {
        self.run(|device| objects::attempts(device.session.handle()))
    }

    fn generate_identity(&mut self) -> Result<Point, DeviceError> {
        self.run(|device| {
            let token = device.session.token().clone();
            let _writing = token.writing();
            let name = Name::identity();
            let handle = device.session.handle();
            if objects::find_private(handle, &name, Use::Sign)?.is_some() {
                return Err(DeviceError::IdentityExists.into());
            }
            objects::sweep_publics(handle, &name)?;
            objects::generate_pair(handle, &name, Use::Sign, Strictness::FULL)?;
            device.identity_key().map(|key| key.public)
        })
    }

    fn generate_epoch_keys(&mut self, attempt: EpochAttempt) -> Result<EpochPublic, DeviceError> {
        self.run(|device| {
            let token = device.session.token().clone();
            let _writing = token.writing();
            if device.find_keys(attempt)?.is_some() {
                return Err(DeviceError::KeysExist(attempt).into());
            }
            let made = device.make_epoch_keys(attempt);
            if made.is_err() {
                // Nobody has seen these keys. What cannot be removed now shows as incomplete later.
                let _ = device.destroy(attempt);
            }
            made.map(EpochKeys::public)
        })
    }

    fn destroy_epoch_keys(&mut self, attempt: EpochAttempt) -> Result<(), DeviceError> {
        self.run(|device| {
            let token = device.session.token().clone();
            let _writing = token.writing();
            device.destroy(attempt)
        })
    }

    fn sign_identity(&mut self, prehash: &[u8; 32]) -> Result<[u8; 64], DeviceError> {
        self.run(|device| {
            let key = device.identity_key()?;
            sign(&device.session, key, prehash)
        })
    }

    fn sign_consensus(&mut self, attempt: EpochAttempt, prehash: &[u8; 32]) -> Result<[u8; 64], DeviceError> {
        self.run(|device| {
            let key = device.keys(attempt)?.consensus;
            sign(&device.session, key, prehash)
        })
    }

    fn agree(&mut self, attempt: EpochAttempt, peer: &Point, shared: &mut [u8; 32]) -> Result<(), DeviceError> {
        shared.zeroize();
        self.run(|device| {
            let key = device.keys(attempt)?.envelope.private;
            derive(&device.session, key, peer, shared)
        })
    }

    fn seal(&mut self, attempt: EpochAttempt, aad: &[u8], data_key: &[u8; 32]) -> Result<SealedKey, DeviceError> {
        let aad = bound(attempt, aad)?;
        self.run(|device| {
            let key = device.keys(attempt)?.share;
            seal(&device.session, key, &aad, data_key)
        })
    }

    fn open(
        &mut self,
        attempt: EpochAttempt,
        aad: &[u8],
        sealed: &SealedKey,
        out: &mut [u8; 32],
    ) -> Result<(), DeviceError> {
        out.zeroize();
        let aad = bound(attempt, aad)?;
        self.run(|device| {
            let key = device.keys(attempt)?.share;
            open(&device.session, key, &aad, sealed, out)
        })
    }

    fn counter(&mut self) -> Result<u64, DeviceError> {
        self.run(|device| counter::read(&device.session))
    }

    fn tick(&mut self) -> Result<u64, DeviceError> {
        self.run(|device| counter::tick(&device.session))
    }

    fn random(&mut self, out: &mut [u8]) -> Result<(), DeviceError> {
        self.run(|device| Ok(device.session.random(out)?))
    }
}

impl EpochKeys {
    fn public(self) -> EpochPublic {
        EpochPublic { consensus: self.consensus.public, envelope: self.envelope.public }
    }
}

/// Finds a private key and, among the unprotected public objects of its name, the point that it proves to be its own.
fn load_pair(session: &Session, name: &Name, purpose: Use) -> Result<Option<EcKey>, Fault> {
    let Some(private) = objects::find_private(session.handle(), name, purpose)? else {
        return Ok(None);
    };
    let candidates = objects::public_points(session.handle(), name)?;
    let public = match purpose {
        Use::Sign => {
            let mut challenge = [0; 32];
            session.random(&mut challenge)?;
            let signature = raw_signature(session, private, &challenge)?;
            candidates.into_iter().find(|point| verifies(point, &challenge, &signature))
        }
        Use::Derive => {
            let multiplier = Scalar::from(7u64);
            let peer = Point::new(&(ProjectivePoint::GENERATOR * multiplier)).ok();
            // No secret: anybody multiplies the public key by seven.
            let mut shared = [0; 32];
            if let Some(peer) = peer {
                derive(session, private, &peer, &mut shared)?;
            }
            let fits = |point: &Point| {
                Point::new(&(point.projective() * multiplier)).is_ok_and(|point| point.to_xy().starts_with(&shared))
            };
            candidates.into_iter().find(fits)
        }
    };
    let public = public.ok_or_else(|| DeviceError::PublicKey { name: name.label.clone() })?;
    Ok(Some(EcKey { private, public }))
}

/// A signature that the vault may let out: low s, and good under the public key.
fn sign(session: &Session, key: EcKey, prehash: &[u8; 32]) -> Result<[u8; 64], Fault> {
    let signature = raw_signature(session, key.private, prehash)?;
    if verifies(&key.public, prehash, &signature) {
        Ok(signature.to_bytes().into())
    } else {
        Err(DeviceError::BadSignature.into())
    }
}

pub(crate) fn raw_signature(session: &Session, key: ObjectHandle, prehash: &[u8; 32]) -> Result<Signature, Fault> {
    let bytes = session.handle().sign(&Mechanism::Ecdsa, key, prehash)?;
    normalised(&bytes).ok_or_else(|| DeviceError::BadSignature.into())
}

/// r | s with 0 < r, s < n and s made low: both s and n-s verify, and only one of them is a signature of ours.
pub(crate) fn normalised(bytes: &[u8]) -> Option<Signature> {
    let signature = Signature::from_slice(bytes).ok()?;
    Some(signature.normalize_s().unwrap_or(signature))
}

pub(crate) fn verifies(point: &Point, prehash: &[u8; 32], signature: &Signature) -> bool {
    VerifyingKey::from_affine(*point.affine()).is_ok_and(|key| key.verify_prehash(prehash, signature).is_ok())
}

/// ECDH with the raw x-coordinate as its result. The derived object lives for the two calls between.
pub(crate) fn derive(session: &Session, key: ObjectHandle, peer: &Point, shared: &mut [u8; 32]) -> Result<(), Fault> {
    let mut encoded = [4; 65];
    let (_, xy) = encoded.split_at_mut(1);
    xy.copy_from_slice(&peer.to_xy());
    derive_encoded(session, key, &encoded, shared)
}

/// As [`derive`], for a point that nobody has checked.
pub(crate) fn derive_encoded(
    session: &Session,
    key: ObjectHandle,
    peer: &[u8; 65],
    shared: &mut [u8; 32],
) -> Result<(), Fault> {
    let mechanism = Mechanism::Ecdh1Derive(Ecdh1DeriveParams::new(EcKdf::null(), peer));
    let derived = session.handle().derive_key(
        &mechanism,
        key,
        &[
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::Token(false),
            Attribute::Private(true),
            Attribute::Sensitive(false),
            Attribute::Extractable(true),
            Attribute::ValueLen(32.into()),
        ],
    )?;
    let read = session.raw().value(session.handle(), derived, shared);
    let destroyed = session.handle().destroy_object(derived);
    let result = match (read, destroyed) {
        (Ok(32), Ok(())) => return Ok(()),
        (Ok(32), Err(error)) | (Err(error), _) => Err(error.into()),
        (Ok(length), _) => Err(DeviceError::BadDerivation(length).into()),
    };
    shared.zeroize();
    result
}

pub(crate) fn seal(session: &Session, key: ObjectHandle, aad: &[u8], data_key: &[u8; 32]) -> Result<SealedKey, Fault> {
    // The token may write a nonce of its own back: whatever it used is read from here.
    let mut iv = session.nonce()?;
    let body = {
        let parameters = GcmParams::new(&mut iv, aad, TAG_BITS.into())?;
        session.handle().encrypt(&Mechanism::AesGcm(parameters), key, data_key)?
    };
    let body: &[u8; SealedKey::BODY] = body.as_slice().try_into().map_err(|_| DeviceError::BadSealing(body.len()))?;
    Ok(SealedKey::new(&iv, body))
}

pub(crate) fn open(
    session: &Session,
    key: ObjectHandle,
    aad: &[u8],
    sealed: &SealedKey,
    out: &mut [u8; 32],
) -> Result<(), Fault> {
    let (iv, body) = sealed.parts();
    // On the stack, which is the caller's to wipe; wiped here in any case.
    let mut room = Zeroizing::new([0; ROOM]);
    let opened = session.raw().gcm_open(session.handle(), key, iv, aad, TAG_BITS, &body, &mut room);
    match opened.map_err(Fault::from) {
        Ok(32) => {
            let (plain, _) = room.split_at(32);
            out.copy_from_slice(plain);
            Ok(())
        }
        Ok(_) => Err(DeviceError::Authentication.into()),
        Err(fault) if fault.refused_ciphertext() => Err(DeviceError::Authentication.into()),
        Err(fault) => Err(fault),
    }
}

/// The additional data that the token sees: our domain and the attempt before the caller's.
fn bound(attempt: EpochAttempt, aad: &[u8]) -> Result<Vec<u8>, DeviceError> {
    if aad.len() > MAX_AAD {
        return Err(DeviceError::AadLength);
    }
    let mut bytes = DOMAIN.to_vec();
    bytes.extend(attempt.epoch.to_be_bytes());
    bytes.extend(attempt.attempt.to_be_bytes());
    bytes.extend(aad);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_key_is_bound_to_known_bytes() {
        let bytes = bound(EpochAttempt { epoch: 3, attempt: 1 }, b"the caller's").unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let known = include_str!("../../../tests/vectors/vault.txt");
        let line = format!("{hex} data key AAD in the device");
        assert!(known.lines().any(|known| known == line), "not in vault.txt:\n{line}");
    }
}
