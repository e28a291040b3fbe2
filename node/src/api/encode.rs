//! Numbers, points and ciphertexts as clients of either generation read them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use torus_ipc::Ecies;
use torus_statement::{Hash, Point, keccak256};

/// A big-endian number in lower-case hex without leading zeros; zero is "0".
pub(super) fn number(bytes: &[u8]) -> String {
    let digits = hex::encode(bytes);
    let bare = digits.trim_start_matches('0');
    if bare.is_empty() { "0".to_owned() } else { bare.to_owned() }
}

/// Both coordinates, each as a number.
pub(super) fn coordinates(point: &Point) -> (String, String) {
    let xy = point.to_xy();
    let (x, y) = xy.split_at(32);
    (number(x), number(y))
}

/// `{X, Y}`.
pub(super) fn point(value: &Point) -> Value {
    let (x, y) = coordinates(value);
    json!({"X": x, "Y": y})
}

/// The Ethereum address of a key, with the capitals of EIP-55.
pub fn address(key: &Point) -> String {
    let digest = keccak256(&key.to_xy());
    let plain = hex::encode(digest.get(12..).unwrap_or_default());
    let sums: Hash = keccak256(plain.as_bytes());
    let nibbles = sums.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let cased = plain.chars().zip(nibbles).map(|(c, sum)| if sum >= 8 { c.to_ascii_uppercase() } else { c });
    core::iter::once("0x".to_owned()).chain(cased.map(String::from)).collect()
}

/// What eccrypto needs beside the ciphertext.
pub(super) fn metadata(sealed: &Ecies) -> Value {
    json!({
        "iv": hex::encode(sealed.iv),
        "ephemPublicKey": format!("04{}", hex::encode(sealed.ephemeral)),
        "mac": hex::encode(sealed.mac),
        "mode": "AES256",
    })
}

/// The ciphertext in plain hex, as session tokens travel.
pub(super) fn ciphertext(sealed: &Ecies) -> String {
    hex::encode(&sealed.ciphertext)
}

/// The ciphertext as shares travel: base64 of its hex text.
pub(super) fn share(sealed: &Ecies) -> String {
    STANDARD.encode(ciphertext(sealed))
}

/// Standard base64.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
