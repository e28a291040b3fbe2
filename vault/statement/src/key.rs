//! Public keys and signatures of vaults: ECDSA on secp256k1 over Keccak-256, low-s only.

use k256::ecdsa::signature::hazmat::PrehashVerifier;
use k256::ecdsa::{RecoveryId, VerifyingKey};
use torus_sharing::Point;

use crate::codec::{Malformed, Reader, Wire, Writer};
use crate::hash::{Hash, keccak256};

/// A vault's verification key.
pub type PublicKey = Point;

/// r | s, 32 bytes each, both canonical and not zero, s in the lower half: a signature has no twin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(k256::ecdsa::Signature);

impl Signature {
    /// Parses r | s; zero, overflowing and high-s values are refused.
    pub fn from_bytes(bytes: &[u8; 64]) -> Option<Self> {
        let signature = k256::ecdsa::Signature::from_slice(bytes).ok()?;
        if signature.normalize_s().is_some() {
            return None;
        }
        Some(Self(signature))
    }

    /// r | s.
    pub fn to_bytes(&self) -> [u8; 64] {
        self.0.to_bytes().into()
    }

    /// Whether `key` signed `preimage` (hashed with Keccak-256).
    #[must_use]
    pub fn verifies(&self, key: &PublicKey, preimage: &[u8]) -> bool {
        self.verifies_prehash(key, &keccak256(preimage))
    }

    /// Whether `key` signed the digest.
    #[must_use]
    pub fn verifies_prehash(&self, key: &PublicKey, prehash: &Hash) -> bool {
        VerifyingKey::from_affine(*key.affine()).is_ok_and(|key| key.verify_prehash(prehash, &self.0).is_ok())
    }

    /// r | s | v with v = 27 or 28, as Ethereum's tools recover from; `None` if `key` did not sign the digest.
    pub fn with_recovery(&self, key: &PublicKey, prehash: &Hash) -> Option<[u8; 65]> {
        let verifying = VerifyingKey::from_affine(*key.affine()).ok()?;
        let id = RecoveryId::trial_recovery_from_prehash(&verifying, prehash, &self.0).ok()?;
        let mut out = [0; 65];
        let (rs, v) = out.split_at_mut(64);
        rs.copy_from_slice(&self.to_bytes());
        if let Some(v) = v.first_mut() {
            *v = id.to_byte().checked_add(27)?;
        }
        Some(out)
    }
}

impl core::fmt::Debug for Signature {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Signature")
    }
}

impl Wire for Signature {
    fn write(&self, w: &mut Writer) {
        w.raw(&self.to_bytes());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::from_bytes(&r.array()?).ok_or(Malformed::Field("signature"))
    }
}
