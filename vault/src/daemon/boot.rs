//! Starting: the store and the token's counter must tell one story; a store older than its token is not believed.
//!
//! The counter ticks in the token at every start. The store names the value first, durably, so a crash between the two
//! leaves the store at most one ahead. A clean stop leaves a closing mark: the counter's value. Copying an older store
//! back over a stop shows as a store behind its token; over the very same start it shows only as an unclean stop.

use torus_audit::Event;
use torus_hsm::{Device, DeviceError};
use torus_statement::codec::{Malformed, Reader, Wire, Writer};

use crate::audit::Journal;
use crate::clock::Guards;
use crate::store::{Change, Store, StoreError};

const KEY: &[u8] = b"boot";

/// What the store says about starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootRecord {
    /// The token's counter during the last start, or one above it if the start was cut short.
    pub counter: u64,
    /// The counter's value that a clean stop wrote down.
    pub closing: Option<u64>,
}

/// How the store stands to its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They agree; whether the last stop was clean.
    Sound {
        /// The closing mark equals the counter.
        clean: bool,
    },
    /// The store is older than the token: it was lost, restored or rolled back.
    Behind,
}

/// A start, as it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    /// The token's counter after this start's tick.
    pub counter: u64,
    /// How the store stands to the token.
    pub standing: Standing,
}

/// Why the vault does not start.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The token's counter is lower than the store remembers: the token itself was restored from a copy.
    #[error("the token's counter is {token}, the store remembers {store}: the token was restored from an old copy")]
    TokenBehind {
        /// The token's counter.
        token: u64,
        /// The store's.
        store: u64,
    },
    /// The store has no record of starts.
    #[error("the store was never initialised")]
    Uninitialised,
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Compares store and token.
///
/// # Errors
/// The token is behind the store.
pub fn judge(record: &BootRecord, token: u64) -> Result<Standing, BootError> {
    if record.counter < token {
        return Ok(Standing::Behind);
    }
    if record.counter > token.saturating_add(1) {
        return Err(BootError::TokenBehind { token, store: record.counter });
    }
    Ok(Standing::Sound { clean: record.counter == token && record.closing == Some(token) })
}

/// Records a start and ticks the counter. Of a store that is behind the record of starts stays as it is, so that every
/// later start sees it.
///
/// # Errors
/// The token is behind the store, or device or store fails.
pub fn begin(store: &Store, audit: &Journal, device: &mut dyn Device) -> Result<Boot, BootError> {
    let record = read(store)?;
    let token = device.counter()?;
    let standing = judge(&record, token)?;
    let start = token.saturating_add(1);
    audit.write(|change| {
        let standing = match standing {
            Standing::Behind => torus_audit::Standing::Behind,
            Standing::Sound { clean } => {
                write(change, store, &BootRecord { counter: start, closing: None })?;
                if clean {
                    torus_audit::Standing::Clean
                } else {
                    Guards::mark_start(change, store)?;
                    torus_audit::Standing::Unclean
                }
            }
        };
        audit.append(change, Event::Start { start, standing }).map(|_| ())
    })?;
    Ok(Boot { counter: device.tick()?, standing })
}

/// Writes the closing mark of a clean stop, in a transaction of the caller's.
///
/// # Errors
/// The store fails.
pub fn close(change: &mut Change<'_>, store: &Store, boot: &Boot) -> Result<(), StoreError> {
    write(change, store, &BootRecord { counter: boot.counter, closing: Some(boot.counter) })
}

/// The record of a new vault, or of one whose operator takes a store that is behind for the truth.
///
/// # Errors
/// The store fails.
pub fn write(change: &mut Change<'_>, store: &Store, record: &BootRecord) -> Result<(), StoreError> {
    change.put(store.meta(), KEY, &record.to_bytes())
}

/// What the store says about starts.
///
/// # Errors
/// There is no record, or it is damaged.
pub fn read(store: &Store) -> Result<BootRecord, BootError> {
    store.read(|view| {
        let bytes = view.get(store.meta(), KEY)?.ok_or(BootError::Uninitialised)?;
        Ok(BootRecord::from_bytes(bytes).map_err(|_| StoreError::Damaged("starts"))?)
    })
}

impl Wire for BootRecord {
    fn write(&self, w: &mut Writer) {
        w.u8(1).u64(self.counter).option(self.closing.as_ref(), |w, closing| {
            w.u64(*closing);
        });
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if r.u8()? != 1 {
            return Err(Malformed::Version);
        }
        Ok(Self { counter: r.u64()?, closing: r.option(Reader::u64)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_closing_mark_that_equals_the_counter_is_a_clean_stop() {
        let judge = |counter, closing, token| judge(&BootRecord { counter, closing }, token);
        assert!(matches!(judge(7, Some(7), 7), Ok(Standing::Sound { clean: true })));
        assert!(matches!(judge(7, None, 7), Ok(Standing::Sound { clean: false })));
        assert!(matches!(judge(7, Some(6), 7), Ok(Standing::Sound { clean: false })));
        // Cut short between the store's record and the token's tick.
        assert!(matches!(judge(8, None, 7), Ok(Standing::Sound { clean: false })));
        assert!(matches!(judge(8, Some(7), 7), Ok(Standing::Sound { clean: false })));
    }

    #[test]
    fn a_store_behind_its_token_and_a_token_behind_its_store_are_told_apart() {
        let judge = |counter, closing, token| judge(&BootRecord { counter, closing }, token);
        assert!(matches!(judge(6, Some(6), 7), Ok(Standing::Behind)));
        assert!(matches!(judge(0, None, 1), Ok(Standing::Behind)));
        assert!(matches!(judge(9, None, 7), Err(BootError::TokenBehind { .. })));
    }
}
