//! The known answers of what a vault derives and seals: `tests/vectors/vault.txt`, bytes in hex and their name.

use torus_statement::receipt::hex;

const ANSWERS: &str = include_str!("../../tests/vectors/vault.txt");

/// Whether the bytes are the known answer of that name.
pub(crate) fn is_known(name: &str, bytes: &[u8]) {
    let line = format!("{} {name}", hex(bytes));
    assert!(ANSWERS.lines().any(|known| known == line), "not in vault.txt:\n{line}");
}
