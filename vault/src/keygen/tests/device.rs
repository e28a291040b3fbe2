//! A device in software for tests: keys from a seed, every operation counted, failing when told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use k256::SecretKey;
use k256::ecdsa::SigningKey;
use k256::elliptic_curve::point::AffineCoordinates;
use torus_hsm::{Device, DeviceError, EpochAttempt, EpochPublic, SealedKey};
use torus_statement::Point;

#[derive(Clone)]
pub(crate) struct TestDevice {
    member: u8,
    nonces: u64,
    pub(super) agreements: Arc<AtomicUsize>,
    pub(crate) signatures: Arc<AtomicUsize>,
    pub(crate) broken: Arc<AtomicBool>,
    /// What happens while it signs for the time that this says, from 1.
    pub(crate) while_signing: Option<Hook>,
}

pub(crate) type Hook = Arc<dyn Fn(usize) + Send + Sync>;

fn secret(member: u8, purpose: u8) -> SecretKey {
    let mut bytes = [purpose; 32];
    bytes[31] = member;
    SecretKey::from_slice(&bytes).unwrap()
}

fn public(key: &SecretKey) -> Point {
    key.public_key().into()
}

impl TestDevice {
    pub(crate) fn new(member: u8) -> Self {
        let (agreements, signatures, broken) = Default::default();
        Self { member, nonces: 0, agreements, signatures, broken, while_signing: None }
    }

    fn key(&self, purpose: u8) -> SecretKey {
        secret(self.member, purpose)
    }

    fn check(&self) -> Result<(), DeviceError> {
        if self.broken.load(Ordering::Relaxed) { Err(DeviceError::BadSignature) } else { Ok(()) }
    }

    fn sign(&self, purpose: u8, prehash: &[u8; 32]) -> Result<[u8; 64], DeviceError> {
        self.check()?;
        let before = self.signatures.fetch_add(1, Ordering::Relaxed);
        if let Some(hook) = &self.while_signing {
            hook(before + 1);
        }
        let (signature, _) = SigningKey::from(self.key(purpose)).sign_prehash_recoverable(prehash).unwrap();
        Ok(signature.to_bytes().into())
    }

    fn cipher(&self, attempt: EpochAttempt) -> Aes256Gcm {
        let mut key = [self.member; 32];
        key[..8].copy_from_slice(&attempt.epoch.to_be_bytes());
        Aes256Gcm::new(&key.into())
    }
}

impl Device for TestDevice {
    fn identity(&mut self) -> Result<Point, DeviceError> {
        Ok(public(&self.key(1)))
    }

    fn epoch_keys(&mut self, _: EpochAttempt) -> Result<Option<EpochPublic>, DeviceError> {
        Ok(Some(EpochPublic { consensus: public(&self.key(3)), envelope: public(&self.key(2)) }))
    }

    fn epochs(&mut self) -> Result<Vec<EpochAttempt>, DeviceError> {
        Ok(Vec::new())
    }

    fn generate_identity(&mut self) -> Result<Point, DeviceError> {
        Err(DeviceError::IdentityExists)
    }

    fn generate_epoch_keys(&mut self, attempt: EpochAttempt) -> Result<EpochPublic, DeviceError> {
        Err(DeviceError::KeysExist(attempt))
    }

    fn destroy_epoch_keys(&mut self, _: EpochAttempt) -> Result<(), DeviceError> {
        Ok(())
    }

    fn sign_identity(&mut self, prehash: &[u8; 32]) -> Result<[u8; 64], DeviceError> {
        self.sign(1, prehash)
    }

    fn sign_consensus(&mut self, _: EpochAttempt, prehash: &[u8; 32]) -> Result<[u8; 64], DeviceError> {
        self.sign(3, prehash)
    }

    fn agree(&mut self, _: EpochAttempt, peer: &Point, shared: &mut [u8; 32]) -> Result<(), DeviceError> {
        self.check()?;
        self.agreements.fetch_add(1, Ordering::Relaxed);
        let product = peer.projective() * *self.key(2).to_nonzero_scalar();
        shared.copy_from_slice(&product.to_affine().x());
        Ok(())
    }

    fn seal(&mut self, attempt: EpochAttempt, aad: &[u8], data_key: &[u8; 32]) -> Result<SealedKey, DeviceError> {
        self.check()?;
        self.nonces += 1;
        let mut iv = [0; 12];
        iv[4..].copy_from_slice(&self.nonces.to_be_bytes());
        let body = self.cipher(attempt).encrypt(&iv.into(), Payload { msg: data_key, aad }).unwrap();
        let bytes = [&[1][..], &iv, &body].concat();
        Ok(SealedKey::from_bytes(&bytes).unwrap())
    }

    fn open(
        &mut self,
        attempt: EpochAttempt,
        aad: &[u8],
        sealed: &SealedKey,
        out: &mut [u8; 32],
    ) -> Result<(), DeviceError> {
        self.check()?;
        let (iv, body) = sealed.as_bytes()[1..].split_at(12);
        let opened = self.cipher(attempt).decrypt(iv.into(), Payload { msg: body, aad });
        out.copy_from_slice(&opened.map_err(|_| DeviceError::Authentication)?);
        Ok(())
    }

    fn counter(&mut self) -> Result<u64, DeviceError> {
        Ok(0)
    }

    fn tick(&mut self) -> Result<u64, DeviceError> {
        Ok(1)
    }

    fn random(&mut self, out: &mut [u8]) -> Result<(), DeviceError> {
        self.check()?;
        getrandom::getrandom(out).map_err(|_| DeviceError::Randomness)
    }
}
