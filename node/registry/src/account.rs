//! The operator's account on Ethereum: it pays for the member's words and signs transactions, and nothing else.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ethers_core::types::{Eip1559TransactionRequest, H160, Signature, U256};
use k256::ecdsa::SigningKey;
use torus_statement::{Hash, Point, keccak256};
use zeroize::Zeroizing;

use crate::address::Address;
use crate::fees::Fees;

/// Most bytes of the key's file: 64 digits, and room for "0x" and a line's end.
const MOST: u64 = 68;

/// An account whose key this process holds. It has no text form, and the key is wiped when it is dropped.
pub struct Account {
    key: SigningKey,
    address: Address,
}

/// Why a key's file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum BadAccount {
    /// It cannot be read.
    #[error("cannot read the account's key {0}: {1}")]
    Read(String, io::Error),
    /// Others can read it.
    #[error("{0} is readable by others: chmod 600 it, and move what the account holds to a new one")]
    Permissions(String),
    /// It holds no key.
    #[error("{0} does not hold an account's key: 64 hex digits")]
    Key(String),
}

/// What a transaction says.
#[derive(Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) chain: u64,
    pub(crate) nonce: u64,
    pub(crate) to: Address,
    pub(crate) data: &'a [u8],
    pub(crate) gas: u64,
    pub(crate) fees: Fees,
}

/// A signed transaction as it goes out, and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) raw: Vec<u8>,
    pub(crate) hash: Hash,
}

impl Account {
    /// Reads the key from a file of mode 600 with 64 hex digits. Before the lockdown: it opens a file.
    pub fn load(path: &Path) -> Result<Self, BadAccount> {
        let name = path.display().to_string();
        let failed = |error| BadAccount::Read(path.display().to_string(), error);
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() || metadata.permissions().mode() & 0o077 != 0 {
            return Err(BadAccount::Permissions(name));
        }
        // All of the room at once: a buffer that grew would leave copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(128));
        file.take(MOST.saturating_add(1)).read_to_end(&mut text).map_err(failed)?;
        let digits = text.strip_prefix(b"0x").unwrap_or(&text).trim_ascii_end();
        let mut bytes = Zeroizing::new([0; 32]);
        let read = hex::decode_to_slice(digits, bytes.as_mut_slice()).ok();
        let account = read.and_then(|()| Self::from_bytes(&bytes));
        account.ok_or(BadAccount::Key(name))
    }

    /// An account from its key; `None` for zero and what is above the group's order.
    pub fn from_bytes(bytes: &Zeroizing<[u8; 32]>) -> Option<Self> {
        let key = SigningKey::from_slice(bytes.as_slice()).ok()?;
        let address = Address::of(&Point::from_affine(*key.verifying_key().as_affine()).ok()?);
        Some(Self { key, address })
    }

    /// What the world knows it by.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Signs a transaction of EIP-1559. The same order gives the same bytes.
    pub(crate) fn sign(&self, order: &Order<'_>) -> Option<Signed> {
        let request = Eip1559TransactionRequest::new()
            .chain_id(order.chain)
            .nonce(order.nonce)
            .max_priority_fee_per_gas(order.fees.tip)
            .max_fee_per_gas(order.fees.most)
            .gas(order.gas)
            .to(H160(*order.to.bytes()))
            .value(0)
            .data(order.data.to_vec());
        let digest = keccak256(&typed(&request.rlp()));
        let (signature, parity) = self.key.sign_prehash_recoverable(&digest).ok()?;
        let (r, s) = signature.split_bytes();
        let signature =
            Signature { r: U256::from_big_endian(&r), s: U256::from_big_endian(&s), v: u64::from(parity.is_y_odd()) };
        let raw = typed(&request.rlp_signed(&signature));
        // A nonce whose abscissa is above the order cannot be written down; nobody has seen one.
        (!parity.is_x_reduced()).then(|| Signed { hash: keccak256(&raw), raw })
    }
}

/// The envelope of EIP-2718 for transactions of EIP-1559.
fn typed(rlp: &[u8]) -> Vec<u8> {
    let mut out = vec![2];
    out.extend_from_slice(rlp);
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use super::*;

    /// The key that every development chain gives its first account.
    pub(crate) const KNOWN: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

    pub(crate) fn known() -> Account {
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(KNOWN, bytes.as_mut_slice()).unwrap();
        Account::from_bytes(&bytes).unwrap()
    }

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("account.key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_key_is_read_from_a_file_that_is_the_operators_alone() {
        for text in [KNOWN.to_owned(), format!("0x{KNOWN}\n"), KNOWN.to_uppercase()] {
            let (_dir, path) = file(&text, 0o600);
            let account = Account::load(&path).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(account.address().to_string(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        }
        let (_dir, path) = file(KNOWN, 0o640);
        assert!(matches!(Account::load(&path), Err(BadAccount::Permissions(_))));
    }

    #[test]
    fn what_holds_no_key_is_refused_without_being_repeated() {
        for text in ["", "0x", &KNOWN[1..], &format!("{KNOWN}00"), &"0".repeat(64), &"f".repeat(64), &"z".repeat(64)] {
            let (_dir, path) = file(text, 0o600);
            let Err(error) = Account::load(&path) else { panic!("{text} was taken") };
            assert!(text.len() < 9 || !error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn a_signed_transaction_is_the_known_answer_of_another_library() {
        let order = Order {
            chain: 424242,
            nonce: 7,
            to: "0x700b6A60ce7EaaEA56F065753d8dcB9653dbAD35".parse().unwrap(),
            data: &[0xde, 0xad, 0xbe, 0xef],
            gas: 250_000,
            fees: Fees { tip: 1_000_000_000, most: 40_000_000_000 },
        };
        let signed = known().sign(&order).unwrap();
        assert_eq!(hex::encode(&signed.raw), RAW);
        assert_eq!(hex::encode(signed.hash), HASH);
        assert_eq!(known().sign(&order), Some(signed));
    }

    const RAW: &str = "02f8738306793207843b9aca008509502f90008303d09094700b6a60ce7eaaea56f065753d8dcb9653dbad358084deadbeefc080a08b2c37c9879bc91e55781a0e3172a3e2ca2ad9a9268014c4213176dd831526e7a004d043c6765b89d3c69d5a2f0362199f50e731551f877afde09f4a1bacb28f64";
    const HASH: &str = "9ba351d71025635bd4ceeca5c51baa277ca993fd077858aa0140de4f4c694e44";
}
