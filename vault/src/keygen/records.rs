//! What key generation keeps in the database: how far each batch is, what was echoed, promised rows, sealed shares.

use torus_statement::codec::{Malformed, Reader, Wire, Writer};
use torus_statement::dkg::{Attempt, Dealing};
use torus_statement::{Hash, Index};

use crate::store::{Change, Store, StoreError, Table, View};

/// The tables.
#[derive(Clone)]
pub(super) struct Records {
    store: Store,
    pub(super) tables: Tables,
    /// Refuses every write as a full disk does.
    #[cfg(test)]
    pub(super) danger_full: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

#[derive(Clone, Copy)]
pub(super) struct Tables {
    /// batch -> `BatchRecord`.
    batches: Table,
    /// batch | attempt | dealer -> digest that was echoed.
    echoes: Table,
    /// batch | attempt | dealer -> a promise's sealed rows and matrix.
    rows: Table,
    /// batch -> sealed shares.
    pub(super) shares: Table,
    /// config | batch -> `BatchRecord`, of epochs that are over.
    former_batches: Table,
    /// config | batch -> sealed shares.
    former_shares: Table,
}

/// How far this vault is with a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BatchRecord {
    /// The attempt in force.
    pub(super) attempt: u32,
    /// Keys of the batch.
    pub(super) keys: u16,
    /// The qualified set that the log fixed.
    pub(super) qualified: Option<Vec<Dealing>>,
    /// The shares are sealed and stored.
    pub(super) stored: bool,
    /// The digest of the keys that this vault derived, or found its shares to match.
    pub(super) derived: Option<Hash>,
    /// The digest that it acknowledged.
    pub(super) acked: Option<Hash>,
    /// All members acknowledged: the rows are destroyed.
    pub(super) done: bool,
}

impl Records {
    pub(super) fn open(store: &Store) -> Result<Self, StoreError> {
        let tables = Tables {
            batches: store.table("keygen-batches")?,
            echoes: store.table("keygen-echoes")?,
            rows: store.table("keygen-rows")?,
            shares: store.table("shares")?,
            former_batches: store.table("keygen-former-batches")?,
            former_shares: store.table("former-shares")?,
        };
        Ok(Self {
            store: store.clone(),
            tables,
            #[cfg(test)]
            danger_full: std::sync::Arc::default(),
        })
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&View<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.store.read(read)
    }

    /// One transaction: all of it is durable when this returns, or none.
    pub(super) fn write<T>(
        &self,
        write: impl FnOnce(&mut Change<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.store.write(|change| {
            let value = write(change)?;
            #[cfg(test)]
            if self.danger_full.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(StoreError::Full);
            }
            Ok(value)
        })
    }

    pub(super) fn batch(&self, batch: u64) -> Result<Option<BatchRecord>, StoreError> {
        self.read(|view| view.get(self.tables.batches, &batch.to_be_bytes())?.map(parse).transpose())
    }

    pub(super) fn put_batch(
        &self,
        change: &mut Change<'_>,
        batch: u64,
        record: &BatchRecord,
    ) -> Result<(), StoreError> {
        change.put(self.tables.batches, &batch.to_be_bytes(), &record.to_bytes())
    }

    /// The config that the records are of; `None` if there are none yet.
    pub(super) fn config(&self) -> Result<Option<Hash>, StoreError> {
        self.read(|view| {
            view.get(self.store.meta(), CONFIG)?.map(|hash| hash.try_into().map_err(|_| DAMAGED)).transpose()
        })
    }

    pub(super) fn put_config(&self, change: &mut Change<'_>, config: &Hash) -> Result<(), StoreError> {
        change.put(self.store.meta(), CONFIG, config)
    }

    /// Lays the batches of a config that is in force no more apart, with their sealed shares, which its share key alone
    /// opens; destroys the rest. A batch may be published before this vault is shown it: whatever it has sealed shares of
    /// is kept. Those without shares come back.
    pub(super) fn lay_apart(
        &self,
        change: &mut Change<'_>,
        config: &Hash,
    ) -> Result<Vec<(u64, BatchRecord)>, StoreError> {
        let mut batches = Vec::new();
        change.each(self.tables.batches, &[], |key, value| {
            let batch = key.try_into().map(u64::from_be_bytes).map_err(|_| DAMAGED)?;
            batches.push((batch, parse(value)?));
            Ok::<_, StoreError>(true)
        })?;
        let mut void = Vec::new();
        for (batch, record) in batches {
            if !record.stored {
                void.push((batch, record));
                continue;
            }
            let name = [config.as_slice(), &batch.to_be_bytes()].concat();
            change.put(self.tables.former_batches, &name, &record.to_bytes())?;
            if let Some(sealed) = change.get(self.tables.shares, &batch.to_be_bytes())?.map(<[u8]>::to_vec) {
                change.put(self.tables.former_shares, &name, &sealed)?;
            }
        }
        for table in [self.tables.batches, self.tables.echoes, self.tables.rows, self.tables.shares] {
            change.clear(table)?;
        }
        Ok(void)
    }

    /// Batches that are not done, in order.
    pub(super) fn unfinished(&self) -> Result<Vec<(u64, BatchRecord)>, StoreError> {
        let mut found = Vec::new();
        self.read(|view| {
            view.each(self.tables.batches, &[], |key, value| {
                let record = parse(value)?;
                let batch = key.try_into().map(u64::from_be_bytes).map_err(|_| DAMAGED)?;
                if !record.done {
                    found.push((batch, record));
                }
                Ok(true)
            })
        })?;
        Ok(found)
    }

    pub(super) fn put_echo(
        &self,
        change: &mut Change<'_>,
        attempt: Attempt,
        dealer: Index,
        digest: &Hash,
    ) -> Result<(), StoreError> {
        change.put(self.tables.echoes, &dealing_key(attempt, dealer), digest)
    }

    #[cfg(test)]
    pub(super) fn echo(&self, attempt: Attempt, dealer: Index) -> Result<Option<Hash>, StoreError> {
        self.read(|view| {
            let found = view.get(self.tables.echoes, &dealing_key(attempt, dealer))?;
            Ok(found.and_then(|digest| digest.try_into().ok()))
        })
    }

    pub(super) fn put_rows(
        &self,
        change: &mut Change<'_>,
        attempt: Attempt,
        dealer: Index,
        sealed: &[u8],
    ) -> Result<(), StoreError> {
        change.put(self.tables.rows, &dealing_key(attempt, dealer), sealed)
    }

    /// The sealed promises of an attempt, by dealer.
    pub(super) fn rows(&self, attempt: Attempt) -> Result<Vec<(Index, Vec<u8>)>, StoreError> {
        let mut found = Vec::new();
        self.read(|view| {
            view.each(self.tables.rows, &attempt.to_bytes(), |key, value| {
                let dealer = key.last().and_then(|byte| Index::new(*byte)).ok_or(DAMAGED)?;
                found.push((dealer, value.to_vec()));
                Ok(true)
            })
        })?;
        Ok(found)
    }

    /// Destroys the rows of every attempt at a batch, and what was noted of echoes.
    pub(super) fn forget_rows(&self, change: &mut Change<'_>, batch: u64) -> Result<(), StoreError> {
        change.delete_prefix(self.tables.rows, &batch.to_be_bytes())?;
        change.delete_prefix(self.tables.echoes, &batch.to_be_bytes())?;
        Ok(())
    }

    pub(super) fn forget_batch(&self, change: &mut Change<'_>, batch: u64) -> Result<(), StoreError> {
        change.delete(self.tables.batches, &batch.to_be_bytes()).map(|_| ())
    }

    /// Stores a batch's sealed shares, `keys` of them, where none are stored.
    pub(super) fn put_shares(
        &self,
        change: &mut Change<'_>,
        batch: u64,
        keys: u16,
        sealed: &[u8],
    ) -> Result<(), StoreError> {
        let count = read_count(change.get(self.tables.shares, COUNT)?)?.saturating_add(keys.into());
        change.put(self.tables.shares, &batch.to_be_bytes(), sealed)?;
        change.put(self.tables.shares, COUNT, &count.to_be_bytes())
    }

    pub(super) fn forget_shares(&self, change: &mut Change<'_>, batch: u64, keys: u16) -> Result<(), StoreError> {
        if change.delete(self.tables.shares, &batch.to_be_bytes())? {
            let count = read_count(change.get(self.tables.shares, COUNT)?)?.saturating_sub(keys.into());
            change.put(self.tables.shares, COUNT, &count.to_be_bytes())?;
        }
        Ok(())
    }

    /// Shares that are stored.
    pub(super) fn count_shares(&self) -> Result<u64, StoreError> {
        self.read(|view| read_count(view.get(self.tables.shares, COUNT)?))
    }
}

impl BatchRecord {
    pub(super) fn new(attempt: u32, keys: u16) -> Self {
        Self { attempt, keys, qualified: None, stored: false, derived: None, acked: None, done: false }
    }
}

/// Whose attempts the records are.
const CONFIG: &[u8] = b"keygen-config";
/// Beside the batches, whose keys have 8 bytes: how many shares there are.
const COUNT: &[u8] = b"count";

fn read_count(value: Option<&[u8]>) -> Result<u64, StoreError> {
    let Some(value) = value else { return Ok(0) };
    value.try_into().map(u64::from_be_bytes).map_err(|_| DAMAGED)
}

const DAMAGED: StoreError = StoreError::Damaged("key generation");

fn parse(bytes: &[u8]) -> Result<BatchRecord, StoreError> {
    BatchRecord::from_bytes(bytes).map_err(|_| DAMAGED)
}

fn dealing_key(attempt: Attempt, dealer: Index) -> Vec<u8> {
    let mut w = Writer::default();
    attempt.write(&mut w);
    w.index(dealer);
    w.into_bytes()
}

impl Wire for BatchRecord {
    fn write(&self, w: &mut Writer) {
        let hash = |w: &mut Writer, hash: &Hash| {
            w.raw(hash);
        };
        w.u8(1).u32(self.attempt).u16(self.keys);
        w.option(self.qualified.as_ref(), |w, dealings| {
            w.list(dealings, |w, dealing| dealing.write(w));
        });
        w.bool(self.stored).option(self.derived.as_ref(), hash).option(self.acked.as_ref(), hash).bool(self.done);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if r.u8()? != 1 {
            return Err(Malformed::Version);
        }
        Ok(Self {
            attempt: r.u32()?,
            keys: r.u16()?,
            qualified: r.option(|r| r.list(30, Dealing::read))?,
            stored: r.bool()?,
            derived: r.option(Reader::array)?,
            acked: r.option(Reader::array)?,
            done: r.bool()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_an_epoch_that_is_over_are_laid_apart_and_the_rest_is_destroyed() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(&Store::create(dir.path()).unwrap()).unwrap();
        let acked = BatchRecord { stored: true, acked: Some([1; 32]), ..BatchRecord::new(0, 3) };
        // Its keys may be published, which this vault was not shown.
        let derived = BatchRecord { stored: true, derived: Some([2; 32]), ..BatchRecord::new(1, 2) };
        let open = BatchRecord::new(2, 5);
        let dealer = Index::new(1).unwrap();
        records
            .write(|change| {
                for (batch, record) in [(7, &acked), (8, &open), (9, &derived)] {
                    records.put_batch(change, batch, record)?;
                    records.put_shares(change, batch, record.keys, b"sealed")?;
                    let attempt = Attempt { batch, attempt: record.attempt };
                    records.put_rows(change, attempt, dealer, b"rows")?;
                    records.put_echo(change, attempt, dealer, &[2; 32])?;
                }
                Ok(())
            })
            .unwrap();
        let void = records.write(|change| records.lay_apart(change, &[9; 32])).unwrap();
        assert_eq!(void, [(8, open)]);
        assert_eq!((records.count_shares().unwrap(), records.unfinished().unwrap()), (0, vec![]));
        let left = |table: Table| {
            let mut names = Vec::new();
            let read = records.read(|view| {
                view.each(table, &[], |key, _| {
                    names.push(key.to_vec());
                    Ok(true)
                })
            });
            read.map(|()| names).unwrap()
        };
        let Tables { batches, echoes, rows, shares, former_batches, former_shares } = records.tables;
        for table in [batches, echoes, rows, shares] {
            assert!(left(table).is_empty());
        }
        let names = [7u64, 9].map(|batch| [&[9; 32][..], &batch.to_be_bytes()].concat()).to_vec();
        assert_eq!((left(former_batches), left(former_shares)), (names.clone(), names));
    }
}
