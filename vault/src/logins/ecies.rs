//! Encryption to a user's temporary key in the form that eccrypto opens (AES-256-CBC, HMAC-SHA256, SHA-512 of Z).
//!
//! The ephemeral key is drawn again until the first byte of Z is not zero: some clients hash Z without leading zeros,
//! and so all of them derive the same keys.

use aes::Aes256;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockEncryptMut, KeyIvInit};
use hmac::{Hmac, Mac};
use k256::elliptic_curve::point::AffineCoordinates;
use k256::{NonZeroScalar, ProjectivePoint};
use rand_core::{CryptoRng, RngCore};
use sha2::{Digest, Sha256, Sha512};
use torus_ipc::{Deny, Ecies};
use torus_memory::{Pool, Secret, apart};
use torus_statement::Point;
use zeroize::Zeroize;

use crate::secrets::busy;

/// Encrypts `plain` so that only the holder of `to` reads it.
///
/// # Errors
/// [`Deny::Busy`] if the pool for its keys has no room; [`Deny::Device`] if the generator gives nothing usable, which does
/// not happen.
pub fn seal(rng: &mut (impl CryptoRng + RngCore), to: &Point, plain: &[u8], pool: Pool) -> Result<Ecies, Deny> {
    let (z, keys) = (Secret::zeros(pool).map_err(busy)?, Secret::zeros(pool).map_err(busy)?);
    apart(|| seal_apart(rng, to, plain, (z, keys)))
}

fn seal_apart(
    rng: &mut (impl CryptoRng + RngCore),
    to: &Point,
    plain: &[u8],
    (mut z, mut keys): (Secret<32>, Secret<64>),
) -> Result<Ecies, Deny> {
    let ephemeral = loop {
        let mut secret = NonZeroScalar::random(rng);
        let mut shared = (to.projective() * *secret).to_affine();
        z.as_mut_bytes().copy_from_slice(&shared.x());
        let public = ProjectivePoint::GENERATOR * *secret;
        secret.zeroize();
        shared.zeroize();
        if z.as_bytes().first().is_some_and(|byte| *byte != 0) {
            break Point::new(&public).map_err(|_| Deny::Device)?;
        }
    };
    Sha512::new_with_prefix(z.as_bytes()).finalize_into(keys.as_mut_bytes().into());
    let (key, mac_key) = keys.as_bytes().split_at(32);
    let mut iv = [0; 16];
    rng.fill_bytes(&mut iv);
    let cipher = cbc::Encryptor::<Aes256>::new_from_slices(key, &iv).map_err(|_| Deny::Device)?;
    let ciphertext = cipher.encrypt_padded_vec_mut::<Pkcs7>(plain);
    let ephemeral = ephemeral.to_xy();
    let mut mac = Hmac::<Sha256>::new_from_slice(mac_key).map_err(|_| Deny::Device)?;
    for part in [iv.as_slice(), &[4], &ephemeral, &ciphertext] {
        mac.update(part);
    }
    Ok(Ecies { iv, ephemeral, ciphertext, mac: mac.finalize().into_bytes().into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cbc::cipher::BlockDecryptMut;
    use k256::Scalar;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;
    use torus_memory::Heap;

    /// As eccrypto decrypts: MAC first.
    fn open(secret: &Scalar, sealed: &Ecies) -> Option<Vec<u8>> {
        let shared = (Point::from_xy(&sealed.ephemeral).ok()?.projective() * secret).to_affine();
        assert_ne!(shared.x()[0], 0, "a Z that clients may hash without its first byte");
        let keys = Sha512::digest(shared.x());
        let mut mac = Hmac::<Sha256>::new_from_slice(&keys[32..]).ok()?;
        mac.update(&[&sealed.iv[..], &[4], &sealed.ephemeral, &sealed.ciphertext].concat());
        mac.verify_slice(&sealed.mac).ok()?;
        let cipher = cbc::Decryptor::<Aes256>::new_from_slices(&keys[..32], &sealed.iv).ok()?;
        cipher.decrypt_padded_vec_mut::<Pkcs7>(&sealed.ciphertext).ok()
    }

    #[test]
    fn only_the_temporary_key_opens_it_and_only_unaltered() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let secret = Scalar::from(7u64);
        let to = Point::new(&(ProjectivePoint::GENERATOR * secret)).unwrap();
        for plain in [&[9u8; 32][..], &[], b"a session token"] {
            let sealed = seal(&mut rng, &to, plain, Heap::pool()).unwrap();
            assert_eq!(open(&secret, &sealed).as_deref(), Some(plain));
            assert_eq!(open(&Scalar::from(8u64), &sealed), None);
            let altered = Ecies { iv: [0; 16], ..sealed };
            assert_eq!(open(&secret, &altered), None);
        }
    }

    #[test]
    fn what_is_sealed_to_a_user_has_its_known_bytes() {
        let to = Point::new(&(ProjectivePoint::GENERATOR * Scalar::from(7u64))).unwrap();
        let Ecies { iv, ephemeral, ciphertext, mac } =
            seal(&mut ChaCha20Rng::seed_from_u64(3), &to, &[9; 32], Heap::pool()).unwrap();
        crate::known::is_known("share sealed to a user", &[&iv[..], &ephemeral, &ciphertext, &mac].concat());
    }

    #[test]
    fn z_never_begins_with_zero() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let secret = Scalar::from(3u64);
        let to = Point::new(&(ProjectivePoint::GENERATOR * secret)).unwrap();
        for _ in 0..1500 {
            assert!(open(&secret, &seal(&mut rng, &to, &[1; 32], Heap::pool()).unwrap()).is_some());
        }
    }
}
