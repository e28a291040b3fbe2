//! Shares at rest: a record per key under one data key per batch, which only the device's share key opens.
//!
//! A value of the table is version | attempt | keys | sealed data key, then for each position version | ciphertext | tag.
//! Every opening checks s*G against the certified commitment: a share of another key, epoch or place does not come out.

use std::sync::Arc;

use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::{Aes256Gcm, Tag};
use k256::elliptic_curve::PrimeField;
use k256::{ProjectivePoint, Scalar};
use torus_hsm::{Device, DeviceError, SealedKey};
use torus_ipc::deny::Deny;
use torus_memory::{Exhausted, Pool, Secret, apart};
use torus_protocol::Shares;
use torus_statement::codec::{Malformed, Reader, Writer};
use torus_statement::dkg::{Attempt, KeyIndex};
use torus_statement::record::{RECORD_LEN, RECORD_VERSION, Sealed, data_key_aad, share_aad, share_nonce};
use torus_statement::{EpochConfig, Point};
use zeroize::Zeroize;

use super::records::Records;
use super::tools::{Tools, epoch, failed};
use crate::secrets::busy;
use crate::store::{Store, StoreError};

const VERSION: u8 = 1;
const TAG: usize = 16;
/// Shares that are sealed at a time: each is multiplied once more with the generator.
const PIECE: usize = 16;

/// Reads shares for releases; each worker has its own.
#[derive(Clone)]
pub struct ShareStore {
    records: Records,
    pool: Pool,
}

/// Why a share did not come out.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// There is no record of the key's batch, or none at its position.
    #[error("no share of this key is stored")]
    Missing,
    /// The record is damaged, of another place, or its share does not match the certified commitment.
    #[error("the stored share does not match its commitment")]
    Mismatch,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The device failed.
    #[error(transparent)]
    Device(DeviceError),
    /// There is no memory for its data key.
    #[error(transparent)]
    Memory(#[from] Exhausted),
}

impl ShareStore {
    /// The shares in a vault's database; their data keys are opened into `pool`.
    ///
    /// # Errors
    /// The database fails.
    pub fn new(store: &Store, pool: Pool) -> Result<Self, StoreError> {
        Ok(Self { records: Records::open(store)?, pool })
    }

    /// Opens the share of a key into `out`, 32 bytes big-endian. One operation of the device. On an error `out` is zero.
    ///
    /// # Errors
    /// [`ShareError`]; whatever it is, nothing secret has come out.
    pub fn open(
        &self,
        config: &EpochConfig,
        key: KeyIndex,
        commitment: &Point,
        device: &mut dyn Device,
        out: &mut [u8; 32],
    ) -> Result<(), ShareError> {
        let opened = apart(|| self.open_into(config, key, commitment, device, out));
        if opened.is_err() {
            out.zeroize();
        }
        opened
    }

    fn open_into(
        &self,
        config: &EpochConfig,
        key: KeyIndex,
        commitment: &Point,
        device: &mut dyn Device,
        out: &mut [u8; 32],
    ) -> Result<(), ShareError> {
        let found = self.records.read(|view| {
            let Some(value) = view.get(self.records.tables.shares, &key.batch().to_be_bytes())? else {
                return Ok(None);
            };
            // Copied out of the transaction: the device is slow, and a reader that waits keeps old pages.
            Ok(parse(value, key.position()))
        })?;
        let stored = found.ok_or(ShareError::Missing)?;
        let attempt = Attempt { batch: key.batch(), attempt: stored.attempt };
        let aad = data_key_aad(config, &attempt, Sealed::Shares);
        let mut data_key = Secret::zeros(self.pool)?;
        device.open(epoch(config), &aad, &stored.sealed, data_key.as_mut_bytes()).map_err(|error| match error {
            DeviceError::Authentication => ShareError::Mismatch,
            other => ShareError::Device(other),
        })?;
        let [version, body @ ..] = &stored.record;
        let (ciphertext, tag) = body.split_at_checked(32).ok_or(ShareError::Mismatch)?;
        if *version != RECORD_VERSION {
            return Err(ShareError::Mismatch);
        }
        out.copy_from_slice(ciphertext);
        Aes256Gcm::new(data_key.as_bytes().into())
            .decrypt_in_place_detached(
                &share_nonce(key.position()).into(),
                &share_aad(config, key, commitment),
                out,
                Tag::from_slice(tag),
            )
            .map_err(|_| ShareError::Mismatch)?;
        if opens(out, commitment) { Ok(()) } else { Err(ShareError::Mismatch) }
    }

    /// Shares that are stored, those of batches that are not published yet included.
    ///
    /// # Errors
    /// The database fails or is damaged.
    pub fn count(&self) -> Result<u64, StoreError> {
        self.records.count_shares()
    }
}

impl From<ShareError> for Deny {
    fn from(error: ShareError) -> Self {
        match error {
            ShareError::Missing => Self::NoShare,
            ShareError::Mismatch => Self::Commitment,
            ShareError::Store(_) => Self::Store,
            ShareError::Device(_) => Self::Device,
            ShareError::Memory(exhausted) => busy(exhausted),
        }
    }
}

/// A batch's shares on their way to the value that stores them, in pieces.
pub(super) struct Sealing {
    config: Arc<EpochConfig>,
    attempt: Attempt,
    shares: Shares,
    // The key waits, and no cipher: that would lie elsewhere.
    data_key: Secret<32>,
    /// Where one share after the other becomes ciphertext.
    share: Secret<32>,
    value: Writer,
    next: u16,
    keys: u16,
}

impl Sealing {
    /// One operation of the device, and a data key that nothing else is sealed with.
    pub(super) fn begin(tools: &mut Tools, attempt: Attempt, shares: Shares) -> Result<Self, Deny> {
        let config = tools.config.clone();
        let place = || Secret::zeros(tools.pool).map_err(busy);
        let (mut data_key, share) = (place()?, place()?);
        tools.rng.fill_bytes(data_key.as_mut_bytes());
        let aad = data_key_aad(&config, &attempt, Sealed::Shares);
        let sealed = tools.device.seal(epoch(&config), &aad, data_key.as_bytes()).map_err(failed)?;
        let keys = u16::try_from(shares.commitments.len()).map_err(|_| Deny::Store)?;
        let mut value = Writer::default();
        value.u8(VERSION).u32(attempt.attempt).u16(keys).raw(sealed.as_bytes());
        Ok(Self { config, attempt, shares, data_key, share, value, next: 0, keys })
    }

    /// Seals some more; the value once all are in it.
    pub(super) fn advance(&mut self) -> Result<Option<Vec<u8>>, Deny> {
        apart(|| self.seal_some())?;
        Ok((self.next == self.keys).then(|| std::mem::take(&mut self.value).into_bytes()))
    }

    fn seal_some(&mut self) -> Result<(), Deny> {
        let cipher = Aes256Gcm::new(self.data_key.as_bytes().into());
        let share = &mut self.share;
        let rest = (self.next..self.keys).zip(self.shares.commitments.iter().skip(self.next.into()));
        for (position, commitment) in rest.take(PIECE) {
            let key = KeyIndex::new(self.attempt.batch, position).ok_or(Deny::Store)?;
            // A share that would not open later is not stored now.
            if !self.shares.scalars.write(position.into(), share.as_mut_bytes()) || !opens(share.as_bytes(), commitment)
            {
                return Err(Deny::Commitment);
            }
            let aad = share_aad(&self.config, key, commitment);
            let tag = cipher
                .encrypt_in_place_detached(&share_nonce(position).into(), &aad, share.as_mut_bytes())
                .map_err(|_| Deny::Store)?;
            self.value.u8(RECORD_VERSION).raw(share.as_bytes()).raw(&tag);
            self.next = position + 1;
        }
        Ok(())
    }
}

struct Stored {
    attempt: u32,
    sealed: SealedKey,
    record: [u8; RECORD_LEN],
}

/// The record at a position; `None` if there is none or the value is damaged.
fn parse(value: &[u8], position: u16) -> Option<Stored> {
    let read = || -> Result<Stored, Malformed> {
        let mut r = Reader::new(value);
        if r.u8()? != VERSION {
            return Err(Malformed::Version);
        }
        let (attempt, keys) = (r.u32()?, r.u16()?);
        let sealed = SealedKey::from_bytes(r.slice(SealedKey::LENGTH)?).map_err(|_| Malformed::Version)?;
        if position >= keys {
            return Err(Malformed::TooLong);
        }
        r.slice(usize::from(position) * RECORD_LEN)?;
        Ok(Stored { attempt, sealed, record: r.array()? })
    };
    read().ok()
}

/// s*G == S, in constant time for s.
fn opens(share: &[u8; 32], commitment: &Point) -> bool {
    let scalar: Option<Scalar> = Scalar::from_repr((*share).into()).into();
    let Some(mut scalar) = scalar else { return false };
    let product = ProjectivePoint::GENERATOR * scalar;
    scalar.zeroize();
    Point::new(&product).is_ok_and(|point| point == *commitment)
}

const _: () = assert!(RECORD_LEN == 1 + 32 + TAG);
