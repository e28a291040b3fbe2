//! Hashing with a domain for every use: SHA-256 for digests and trees, Keccak-256 below signatures and where clients want it.

use sha2::{Digest, Sha256};
use sha3::Keccak256;

/// A 32-byte digest.
pub type Hash = [u8; 32];

/// SHA-256 over a domain and the parts, one after another. Domains end in NUL, so that none is another's prefix; the
/// caller makes the parts' concatenation unambiguous (fixed sizes or canonical encodings).
pub fn sha256(domain: &str, parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(domain.as_bytes());
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Keccak-256 as Ethereum uses it.
pub fn keccak256(bytes: &[u8]) -> Hash {
    Keccak256::digest(bytes).into()
}
