//! Public keys and signatures of vaults: ECDSA on secp256k1 over Keccak-256, low-s only.

use k256::ecdsa::VerifyingKey;
use k256::ecdsa::signature::hazmat::PrehashVerifier;
use k256::elliptic_curve::ops::{Invert, LinearCombination, Reduce};
use k256::elliptic_curve::point::AffineCoordinates;
use k256::{AffinePoint, ProjectivePoint, Scalar, U256};
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

    /// r | s | v with v = 27 or 28, as Ethereum's tools recover from (SEC 1, section 4.1.6); `None` if `key` did not sign
    /// the digest. This is the verification itself, which has the point whose parity v names: nothing is tried out.
    pub fn with_recovery(&self, key: &PublicKey, prehash: &Hash) -> Option<[u8; 65]> {
        let (r, s) = self.0.split_scalars();
        let inverse = *s.invert_vartime();
        let z = <Scalar as Reduce<U256>>::reduce_bytes(prehash.into());
        let nonce =
            ProjectivePoint::lincomb(&ProjectivePoint::GENERATOR, &(z * inverse), &key.projective(), &(*r * inverse))
                .to_affine();
        // An abscissa at or above the group's order would need another v; it is as rare as a guessed key.
        if nonce == AffinePoint::IDENTITY || nonce.x() != r.to_bytes() {
            return None;
        }
        let mut out = [0; 65];
        let (rs, v) = out.split_at_mut(64);
        rs.copy_from_slice(&self.to_bytes());
        if let Some(v) = v.first_mut() {
            *v = 27 + nonce.y_is_odd().unwrap_u8();
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
