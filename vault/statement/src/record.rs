//! Shares at rest: the bytes of a record, and what binds it to its place.

use alloc::vec::Vec;

use torus_sharing::Point;

use crate::codec::Writer;
use crate::config::EpochConfig;
use crate::dkg::{Attempt, KeyIndex};

/// The version of record that this build reads and writes.
pub const RECORD_VERSION: u8 = 1;
/// version | ciphertext of 32 bytes | tag of 16.
pub const RECORD_LEN: usize = 1 + 32 + 16;

/// What a data key seals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// The shares of a batch: nonce = position.
    Shares,
    /// The rows that this member promised to finish of one dealing.
    Rows {
        /// The dealer's index.
        dealer: u8,
    },
}

/// Additional data of a data key's own sealing in the HSM.
pub fn data_key_aad(config: &EpochConfig, attempt: &Attempt, sealed: Sealed) -> Vec<u8> {
    let mut w = Writer::default();
    w.raw(b"torus/data-key/v1\0").string(config.committee().network.as_str());
    w.u64(config.committee().epoch).u32(config.keys().attempt).u64(attempt.batch).u32(attempt.attempt);
    match sealed {
        Sealed::Shares => w.u8(1),
        Sealed::Rows { dealer } => w.u8(2).u8(dealer),
    };
    w.into_bytes()
}

/// Additional data of a share's record: network, epoch, key, version and the public commitment that it must match.
pub fn share_aad(config: &EpochConfig, key: KeyIndex, commitment: &Point) -> Vec<u8> {
    let mut w = Writer::default();
    w.raw(b"torus/share/v1\0").string(config.committee().network.as_str());
    w.u64(config.committee().epoch).u64(key.number()).u8(RECORD_VERSION).point(commitment);
    w.into_bytes()
}

/// The nonce of a position under its batch's data key.
pub fn share_nonce(position: u16) -> [u8; 12] {
    let mut nonce = [0; 12];
    if let Some(low) = nonce.get_mut(10..) {
        low.copy_from_slice(&position.to_be_bytes());
    }
    nonce
}
