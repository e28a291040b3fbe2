//! Secrets of the user: the temporary key that shares are sealed to, and the rebuilt private key.

use aes::cipher::{BlockDecryptMut, KeyIvInit};
use hmac::{Hmac, Mac};
use k256::elliptic_curve::PrimeField;
use k256::elliptic_curve::point::AffineCoordinates;
use k256::{ProjectivePoint, Scalar, SecretKey};
use sha2::{Digest, Sha256, Sha512};
use torus_sharing::IndexSet;
use torus_statement::{Index, Point};
use zeroize::{Zeroize, Zeroizing};

use crate::error::Error;
use crate::random;

/// A fresh key for one login. Wiped when dropped.
pub struct TemporaryKey {
    secret: SecretKey,
    public: Point,
}

/// A ciphertext as members send it, in the form of eccrypto.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    pub(crate) iv: [u8; 16],
    pub(crate) ephemeral: Point,
    pub(crate) mac: [u8; 32],
    pub(crate) ciphertext: Vec<u8>,
}

/// The user's private key. Wiped when dropped; printed only on request.
pub struct PrivateKey(Zeroizing<[u8; 32]>);

impl TemporaryKey {
    /// Draws one.
    pub fn generate() -> Result<Self, Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        loop {
            random::fill(bytes.as_mut())?;
            // Zero or above the order: once in 2^128 draws.
            if let Ok(secret) = SecretKey::from_slice(bytes.as_ref()) {
                let public = Point::from(secret.public_key());
                return Ok(Self { secret, public });
            }
        }
    }

    /// A key that everybody knows.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn danger_known(secret: SecretKey) -> Self {
        let public = Point::from(secret.public_key());
        Self { secret, public }
    }

    /// What members are told.
    pub fn public(&self) -> &Point {
        &self.public
    }

    /// Opens a ciphertext. The MAC is checked before anything is decrypted.
    pub(crate) fn open(&self, sealed: &Sealed) -> Option<Zeroizing<Vec<u8>>> {
        let mut scalar = *self.secret.to_nonzero_scalar();
        let shared = (sealed.ephemeral.projective() * scalar).to_affine();
        scalar.zeroize();
        let x = Zeroizing::new(<[u8; 32]>::from(shared.x()));
        let keys = Zeroizing::new(<[u8; 64]>::from(Sha512::digest(x.as_ref())));
        let (cipher_key, mac_key) = keys.split_at(32);

        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(mac_key).ok()?;
        mac.update(&sealed.iv);
        mac.update(&[4]);
        mac.update(&sealed.ephemeral.to_xy());
        mac.update(&sealed.ciphertext);
        mac.verify_slice(&sealed.mac).ok()?;

        let mut plain = Zeroizing::new(sealed.ciphertext.clone());
        if plain.is_empty() || !plain.len().is_multiple_of(16) {
            return None;
        }
        let mut cipher = cbc::Decryptor::<aes::Aes256>::new_from_slices(cipher_key, &sealed.iv).ok()?;
        for block in plain.chunks_exact_mut(16) {
            cipher.decrypt_block_mut(block.into());
        }
        // PKCS#7. The MAC stood, so what is told by refusing is told to its maker.
        let padding = usize::from(*plain.last()?);
        let end = plain.len().checked_sub(padding)?;
        let filled = plain.get(end..)?.iter().all(|byte| usize::from(*byte) == padding);
        if padding == 0 || padding > 16 || !filled {
            return None;
        }
        plain.truncate(end);
        Some(plain)
    }
}

/// One member's share, of which the commitment was checked. Wiped when dropped.
pub(crate) struct Share {
    member: Index,
    value: Zeroizing<Scalar>,
}

impl Share {
    /// A share from its bytes, big-endian and at most 32, if it is the one that `commitment` commits to.
    pub(crate) fn checked(member: Index, bytes: &[u8], commitment: &Point) -> Option<Self> {
        let mut padded = Zeroizing::new([0; 32]);
        let from = 32usize.checked_sub(bytes.len())?;
        padded.get_mut(from..)?.copy_from_slice(bytes);
        let value = Zeroizing::new(Option::<Scalar>::from(Scalar::from_repr((*padded).into()))?);
        let point = Point::new(&(ProjectivePoint::GENERATOR * *value)).ok()?;
        (point == *commitment).then_some(Self { member, value })
    }
}

impl PrivateKey {
    /// Interpolates k shares of distinct members at zero; `None` if the result is not the key of `public`.
    pub(crate) fn rebuild(sizes: torus_statement::Sizes, shares: &mut [Share], public: &Point) -> Option<Self> {
        shares.sort_by_key(|share| share.member);
        let shares = shares.get(..sizes.k())?;
        let set = IndexSet::new(sizes, shares.iter().map(|share| share.member).collect()).ok()?;
        let mut key = Zeroizing::new(Scalar::ZERO);
        for (coefficient, share) in set.coefficients(0).iter().zip(shares) {
            let term = Zeroizing::new(*coefficient * *share.value);
            *key += *term;
        }
        let point = Point::new(&(ProjectivePoint::GENERATOR * *key)).ok()?;
        (point == *public).then(|| Self(Zeroizing::new(key.to_bytes().into())))
    }

    /// The 32 bytes, big-endian.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 hex digits.
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0.as_ref()))
    }
}
