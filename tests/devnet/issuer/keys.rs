//! The issuer's signing keys: made once, kept in files of its own, published as a key set.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::plan::{private_dir, write_whole};
use crate::trouble::Naming;
use crate::{Result, Trouble};

/// The order of P-256, big-endian (SEC 2, section 2.4.2).
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// A signature algorithm of JWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// ECDSA on P-256.
    Es256,
    /// RSA with PKCS #1 v1.5, 2048 bits.
    Rs256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Its name in a token's header.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Es256, Self::Rs256, Self::EdDsa].into_iter().find(|a| a.name() == name)
    }
}

/// Which of the two values of s an ECDSA signature carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HalfOfS {
    /// At most half the order: the form that has no twin under a careful verifier.
    Low,
    /// The other.
    High,
}

/// All signing keys of the issuer.
pub(super) struct Keys {
    es256: EcdsaKeyPair,
    rs256: RsaKeyPair,
    eddsa: Ed25519KeyPair,
    random: SystemRandom,
}

impl Keys {
    /// The keys under `dir`; those that are missing are made, so that they outlive a restart.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        private_dir(dir)?;
        let random = SystemRandom::new();
        let bad = |what: &str, path: &Path| Trouble::Refused(format!("{} holds no {what} key", path.display()));

        let path = dir.join("es256.p8");
        let es256 = kept(&path, || {
            let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
            made.map(|document| document.as_ref().to_vec()).map_err(|_| "no randomness".to_owned())
        })?;
        let es256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &es256, &random)
            .map_err(|_| bad("P-256", &path))?;

        let path = dir.join("eddsa.p8");
        let eddsa = kept(&path, || {
            let made = Ed25519KeyPair::generate_pkcs8(&random);
            made.map(|document| document.as_ref().to_vec()).map_err(|_| "no randomness".to_owned())
        })?;
        let eddsa = Ed25519KeyPair::from_pkcs8(&eddsa).map_err(|_| bad("Ed25519", &path))?;

        let path = dir.join("rs256.p8");
        let rs256 = kept(&path, rsa_key)?;
        let rs256 =
            RsaKeyPair::from_pkcs8(&rs256).or_else(|_| RsaKeyPair::from_der(&rs256)).map_err(|_| bad("RSA", &path))?;
        Ok(Self { es256, rs256, eddsa, random })
    }

    /// The public halves, RFC 7517.
    pub(super) fn key_set(&self) -> Value {
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let point = self.es256.public_key().as_ref();
        let (x, y) = point.get(1..).and_then(|p| p.split_at_checked(32)).unwrap_or_default();
        let rsa: PublicKeyComponents<Vec<u8>> = self.rs256.public().into();
        json!({"keys": [
            {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid(Algorithm::Es256),
             "x": b64(x), "y": b64(y)},
            {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": self.kid(Algorithm::Rs256),
             "n": b64(&rsa.n), "e": b64(&rsa.e)},
            {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.kid(Algorithm::EdDsa),
             "x": b64(self.eddsa.public_key().as_ref())},
        ]})
    }

    /// The name of a key: a digest of its public half.
    pub(super) fn kid(&self, algorithm: Algorithm) -> String {
        let public = match algorithm {
            Algorithm::Es256 => self.es256.public_key().as_ref(),
            Algorithm::Rs256 => self.rs256.public_key().as_ref(),
            Algorithm::EdDsa => self.eddsa.public_key().as_ref(),
        };
        hex::encode(Sha256::digest(public).get(..8).unwrap_or_default())
    }

    /// Signs; `half` counts for ECDSA alone.
    pub(super) fn sign(
        &self,
        algorithm: Algorithm,
        half: HalfOfS,
        message: &[u8],
    ) -> std::result::Result<Vec<u8>, String> {
        match algorithm {
            Algorithm::Es256 => {
                let signature = self.es256.sign(&self.random, message).map_err(|_| "no randomness".to_owned())?;
                Ok(with_s(signature.as_ref(), half))
            }
            Algorithm::Rs256 => {
                let mut signature = vec![0; self.rs256.public().modulus_len()];
                self.rs256
                    .sign(&RSA_PKCS1_SHA256, &self.random, message, &mut signature)
                    .map_err(|_| "RSA refused".to_owned())?;
                Ok(signature)
            }
            Algorithm::EdDsa => Ok(self.eddsa.sign(message).as_ref().to_vec()),
        }
    }
}

fn kept(path: &Path, make: impl FnOnce() -> std::result::Result<Vec<u8>, String>) -> Result<Vec<u8>> {
    if !path.exists() {
        let key = make().map_err(|why| Trouble::Refused(format!("no issuer key: {why}")))?;
        write_whole(path, &key, 0o600)?;
    }
    fs::read(path).at("read", path)
}

/// ring makes no RSA keys; OpenSSL's tool does, some versions of it as PKCS #8 and some as PKCS #1.
fn rsa_key() -> std::result::Result<Vec<u8>, String> {
    let args = ["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-outform", "DER"];
    let output = std::process::Command::new(PathBuf::from("openssl"))
        .args(args)
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|e| format!("openssl (package openssl): {e}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(output.stdout)
}

/// The same signature r | s with s in the wanted half: s and n - s both verify.
fn with_s(signature: &[u8], half: HalfOfS) -> Vec<u8> {
    let mut out = signature.to_vec();
    let Some(s) = signature.get(32..64) else { return out };
    let mirrored = minus(&P256_ORDER, s);
    let is_low = s <= mirrored.as_slice();
    if is_low != (half == HalfOfS::Low) {
        out.truncate(32);
        out.extend_from_slice(&mirrored);
    }
    out
}

/// a - b for big-endian numbers of 32 bytes, a >= b.
fn minus(a: &[u8; 32], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0i16;
    let mut out: Vec<u8> = a
        .iter()
        .rev()
        .zip(b.iter().rev())
        .map(|(a, b)| {
            let d = i16::from(*a) - i16::from(*b) - borrow;
            borrow = i16::from(d < 0);
            (d.rem_euclid(256)) as u8
        })
        .collect();
    out.reverse();
    out
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    #[test]
    fn both_halves_of_s_verify_and_are_what_they_are_called() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path()).unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, keys.es256.public_key().as_ref());
        for _ in 0..16 {
            let low = keys.sign(Algorithm::Es256, HalfOfS::Low, b"m").unwrap();
            let high = keys.sign(Algorithm::Es256, HalfOfS::High, b"m").unwrap();
            public.verify(b"m", &low).unwrap();
            public.verify(b"m", &high).unwrap();
            assert!(low[32] < 0x80 && high[32] >= 0x7f);
            assert_eq!(with_s(&with_s(&low, HalfOfS::High), HalfOfS::Low), low);
        }
    }

    #[test]
    fn every_algorithm_verifies_and_the_keys_outlive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let first = Keys::open(dir.path()).unwrap();
        let again = Keys::open(dir.path()).unwrap();
        assert_eq!(first.key_set(), again.key_set());
        let rsa = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, first.rs256.public_key().as_ref());
        rsa.verify(b"m", &again.sign(Algorithm::Rs256, HalfOfS::Low, b"m").unwrap()).unwrap();
        let ed = UnparsedPublicKey::new(&ED25519, first.eddsa.public_key().as_ref());
        ed.verify(b"m", &again.sign(Algorithm::EdDsa, HalfOfS::Low, b"m").unwrap()).unwrap();
    }
}
