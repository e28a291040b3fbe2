//! Signatures of issuers, each in its one form: RS256, ES256 with low s, Ed25519.
//!
//! A signature that could be rewritten into another valid one would make two texts of one login. So: PKCS#1 v1.5 at the
//! modulus' exact length (below the modulus there is one), ECDSA as r | s with s in the lower half (RFC 7518 section 3.4
//! fixes the 64 bytes), Ed25519 with S below the order and R compared as bytes (RFC 8032 section 5.1.7).

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use torus_statement::policy::IssuerPublicKey;

use crate::deny::Deny;

/// Half of the order of P-256, rounded down: the largest low s.
pub(crate) const P256_HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xde, 0x73, 0x7d,
    0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
];

/// The `alg` of a key; a token that names another is refused.
pub(crate) const fn algorithm(key: &IssuerPublicKey) -> &'static str {
    match key {
        IssuerPublicKey::Rs256 { .. } => "RS256",
        IssuerPublicKey::Es256(_) => "ES256",
        IssuerPublicKey::EdDsa(_) => "EdDSA",
    }
}

/// Whether `key` signed `message`, and the signature is the only one that can be made from itself.
pub(crate) fn verify(key: &IssuerPublicKey, low_s: bool, message: &[u8], signature: &[u8]) -> Result<(), Deny> {
    let verified = match key {
        IssuerPublicKey::Rs256 { n, e } => {
            // 2048 to 4096 bits, whole: a modulus of fewer bits than its bytes is of another length.
            if !(256..=512).contains(&n.len()) || n.first().is_none_or(|byte| byte & 0x80 == 0) {
                return Err(Deny::TokenKey);
            }
            if signature.len() != n.len() {
                return Err(Deny::TokenForm);
            }
            RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
        }
        IssuerPublicKey::Es256(xy) => {
            // An issuer that may emit high s would make either a live login that is refused or a twin that is not.
            if !low_s {
                return Err(Deny::TokenKey);
            }
            let (_, s) = signature.split_at_checked(32).ok_or(Deny::TokenForm)?;
            if s.len() != 32 || s > P256_HALF_ORDER.as_slice() {
                return Err(Deny::TokenForm);
            }
            let mut point = [4; 65];
            for (to, from) in point.iter_mut().skip(1).zip(xy) {
                *to = *from;
            }
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
        }
        IssuerPublicKey::EdDsa(key) => {
            if !strict_ed25519_key(key) {
                return Err(Deny::TokenKey);
            }
            if signature.len() != 64 {
                return Err(Deny::TokenForm);
            }
            UnparsedPublicKey::new(&ED25519, key).verify(message, signature)
        }
    };
    verified.map_err(|_| Deny::TokenSignature)
}

/// Canonical (y below p) and not of small order, under which a signature would hold for messages nobody signed.
fn strict_ed25519_key(key: &[u8; 32]) -> bool {
    let mut y = *key;
    if let Some(last) = y.last_mut() {
        *last &= 0x7f;
    }
    // Little-endian: p is ed ff .. ff 7f.
    let [low, middle @ .., high] = y;
    let canonical = !(high == 0x7f && middle == [0xff; 30] && low >= 0xed);
    canonical && !SMALL_ORDER.contains(&y)
}

/// The y-coordinates of the points whose order divides 8, little-endian.
const SMALL_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];
