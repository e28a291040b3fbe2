//! Where the key of the keyed hashes lives: in the database, sealed by the token under the epoch's share key; opened at
//! every start into this process's memory, and by `audit who`.

use rand_core::RngCore;
use torus_audit::SubjectKey;
use torus_hsm::{Device, DeviceError, EpochAttempt, SealedKey};
use torus_memory::{Exhausted, Pool};
use torus_statement::codec::{Malformed, Reader, Wire, Writer};
use torus_statement::text::NetworkName;

use crate::store::{Change, Store, StoreError};

const KEY: &[u8] = b"audit-subjects";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum NoSubjects {
    /// The device.
    #[error("the key of the audit log's hashes does not open: {0}")]
    Device(#[from] DeviceError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The memory for it.
    #[error(transparent)]
    Memory(#[from] Exhausted),
}

/// The key as it rests.
pub struct SealedSubjects {
    attempt: EpochAttempt,
    network: NetworkName,
    key: SealedKey,
}

/// Draws the key and seals it.
///
/// # Errors
/// The device fails.
pub fn make(
    device: &mut dyn Device,
    rng: &mut impl RngCore,
    attempt: EpochAttempt,
    network: NetworkName,
    pool: Pool,
) -> Result<SealedSubjects, NoSubjects> {
    let mut key = SubjectKey::zero(pool)?;
    rng.fill_bytes(key.bytes_mut());
    let sealed = device.seal(attempt, &aad(&network), key.bytes_mut())?;
    Ok(SealedSubjects { attempt, network, key: sealed })
}

/// Keeps the sealed key.
///
/// # Errors
/// The store fails.
pub fn keep(change: &mut Change<'_>, store: &Store, sealed: &SealedSubjects) -> Result<(), StoreError> {
    let mut w = Writer::default();
    w.u8(1).u64(sealed.attempt.epoch).u32(sealed.attempt.attempt);
    sealed.network.write(&mut w);
    w.raw(sealed.key.as_bytes());
    change.put(store.meta(), KEY, &w.into_bytes())
}

/// Opens the key into `pool`.
///
/// # Errors
/// There is none, or the token is not the one that sealed it.
pub fn open(store: &Store, device: &mut dyn Device, pool: Pool) -> Result<SubjectKey, NoSubjects> {
    let sealed = store.read(|view| {
        let bytes = view.get(store.meta(), KEY)?.ok_or(DAMAGED)?;
        read(bytes).map_err(|_| DAMAGED)
    })?;
    let mut key = SubjectKey::zero(pool)?;
    device.open(sealed.attempt, &aad(&sealed.network), &sealed.key, key.bytes_mut())?;
    Ok(key)
}

const DAMAGED: StoreError = StoreError::Damaged("the audit log's key");

fn read(bytes: &[u8]) -> Result<SealedSubjects, Malformed> {
    let mut r = Reader::new(bytes);
    if r.u8()? != 1 {
        return Err(Malformed::Version);
    }
    let attempt = EpochAttempt { epoch: r.u64()?, attempt: r.u32()? };
    let network = NetworkName::read(&mut r)?;
    let key = SealedKey::from_bytes(r.rest()).map_err(|_| Malformed::Field("sealed key"))?;
    Ok(SealedSubjects { attempt, network, key })
}

fn aad(network: &NetworkName) -> Vec<u8> {
    [b"torus/audit-subjects/v1\0", network.as_str().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sealed_key_is_bound_to_known_bytes() {
        crate::known::is_known("audit subjects AAD", &aad(&NetworkName::new("testnet").unwrap()));
    }
}
