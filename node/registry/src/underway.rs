//! A transaction that has been signed, with every version of it, and the journal's record of that.

use serde::{Deserialize, Serialize};
use torus_statement::{Hash, keccak256};

use crate::account::Signed;
use crate::address::Address;
use crate::fees::Fees;

/// A transaction of which one version will be in a block, or none ever.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Underway {
    pub(crate) chain: u64,
    pub(crate) account: Address,
    pub(crate) to: Address,
    pub(crate) data: Vec<u8>,
    pub(crate) nonce: u64,
    pub(crate) gas: u64,
    /// The versions, the newest last: they differ in fees.
    pub(crate) attempts: Vec<Attempt>,
}

/// A version of a transaction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) fees: Fees,
    pub(crate) signed: Signed,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    chain: u64,
    account: String,
    to: String,
    data: String,
    nonce: u64,
    gas: u64,
    attempts: Vec<WrittenAttempt>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenAttempt {
    tip: u64,
    most: u64,
    raw: String,
}

impl Underway {
    /// The record of it.
    pub(crate) fn write(&self) -> Result<Vec<u8>, serde_json::Error> {
        let attempts = self.attempts.iter().map(|Attempt { fees, signed }| WrittenAttempt {
            tip: fees.tip,
            most: fees.most,
            raw: hex::encode(&signed.raw),
        });
        serde_json::to_vec(&Written {
            version: 1,
            chain: self.chain,
            account: self.account.to_string(),
            to: self.to.to_string(),
            data: hex::encode(&self.data),
            nonce: self.nonce,
            gas: self.gas,
            attempts: attempts.collect(),
        })
    }

    /// Reads a record of this account on this chain; the error says what else it is.
    pub(crate) fn read(record: &[u8], chain: u64, account: Address) -> Result<Self, String> {
        let unreadable = || "a record that this build cannot read".to_owned();
        let written: Written = serde_json::from_slice(record).map_err(|_| unreadable())?;
        if written.version != 1 || written.attempts.is_empty() {
            return Err(unreadable());
        }
        if (written.chain, written.account.as_str()) != (chain, account.to_string().as_str()) {
            return Err(format!("a transaction of account {} on chain {}", written.account, written.chain));
        }
        let mut attempts = Vec::new();
        for WrittenAttempt { tip, most, raw } in &written.attempts {
            let raw = hex::decode(raw).map_err(|_| unreadable())?;
            let fees = Fees { tip: *tip, most: *most };
            attempts.push(Attempt { fees, signed: Signed { hash: keccak256(&raw), raw } });
        }
        let to = written.to.parse().map_err(|_| unreadable())?;
        let data = hex::decode(&written.data).map_err(|_| unreadable())?;
        let Written { nonce, gas, .. } = written;
        Ok(Self { chain, account, to, data, nonce, gas, attempts })
    }

    /// Whether it is this call.
    pub(crate) fn is(&self, to: Address, data: &[u8]) -> bool {
        self.to == to && self.data == data
    }

    /// The hashes of all versions, the newest first.
    pub(crate) fn hashes(&self) -> impl Iterator<Item = Hash> {
        self.attempts.iter().rev().map(|attempt| attempt.signed.hash)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn account(byte: u8) -> Address {
        Address::new([byte; 20]).unwrap()
    }

    fn underway() -> Underway {
        let attempt = |fee: u64| {
            let raw = vec![2, fee as u8];
            Attempt { fees: Fees { tip: fee, most: 2 * fee }, signed: Signed { hash: keccak256(&raw), raw } }
        };
        let (account, to) = (account(1), account(2));
        let attempts = vec![attempt(1), attempt(2)];
        Underway { chain: 7, account, to, data: vec![1, 2, 3], nonce: u64::MAX, gas: 5, attempts }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = underway().write().unwrap();
        assert_eq!(Underway::read(&record, 7, account(1)), Ok(underway()));
        assert_eq!(underway().hashes().next(), Some(keccak256(&[2, 2])));
    }

    #[test]
    fn a_record_of_another_account_or_chain_is_told_by_them() {
        let record = underway().write().unwrap();
        for (chain, account) in [(8, account(1)), (7, account(3))] {
            assert!(Underway::read(&record, chain, account).unwrap_err().contains("on chain 7"));
        }
    }

    proptest! {
        #[test]
        fn a_bent_record_is_read_or_refused(at in 0usize..1000, to in any::<u8>()) {
            let mut record = underway().write().unwrap();
            let at = at % record.len();
            record[at] = to;
            let _ = Underway::read(&record, 7, account(1));
        }
    }
}
