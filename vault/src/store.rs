//! The vault's database: durable tables in one LMDB environment; refuses a database of another schema.
//!
//! A write is one transaction: when it returns, all of it is on disk; when it fails, none of it happened, a full disk
//! included. Other modules name their tables and never see the database's own types. Values are not secret: whoever
//! stores a secret seals it first.

use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use heed::types::Bytes;
use heed::{Database, Env, EnvOpenOptions, MdbError, PutFlags, RoTxn, RwTxn, WithoutTls};

/// The schema that this build reads and writes.
pub const SCHEMA: u8 = 4;
/// Longest key of a table.
pub const MAX_KEY: usize = 511;

/// Address space for the database; the file grows only as it fills.
const MAP_SIZE: usize = 32 << 30;
const MAX_TABLES: u32 = 32;
const MAX_READERS: u32 = 126;
/// No space, no quota, a file at its limit.
const FULL: [i32; 3] = [libc::ENOSPC, libc::EDQUOT, libc::EFBIG];
const META: &str = "meta";
const SCHEMA_KEY: &[u8] = b"schema";

/// Why the store did not do what it was asked. Nothing happened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is a database already.
    #[error("there is a store in {} already", .0.display())]
    Exists(PathBuf),
    /// There is no database.
    #[error("there is no store in {}", .0.display())]
    Missing(PathBuf),
    /// The database was written by another version.
    #[error("the store has schema {found:?}, this build knows {SCHEMA}")]
    Schema {
        /// What it says; `None` if nothing.
        found: Option<u8>,
    },
    /// The disk took no more.
    #[error("the disk is full: nothing was stored")]
    Full,
    /// The disk took a part of a write only, as it does when it is almost full.
    #[error("the disk took only a part of a write (it is full, or damaged): nothing was stored")]
    Partial,
    /// The audit log's room is used up.
    #[error("the audit log's room is used up: take a copy by `torus-vault audit export`, then `audit prune`")]
    AuditFull,
    /// A record is not what this build writes.
    #[error("a record of {0} is damaged")]
    Damaged(&'static str),
    /// The database failed.
    #[error("the database failed: {0}")]
    Database(heed::Error),
    /// The directory cannot be made or read.
    #[error("cannot use the directory {}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// The open database. Clones are the same one.
#[derive(Clone)]
pub struct Store {
    env: Env<WithoutTls>,
    meta: Table,
}

/// A named table of byte strings in the order of their keys.
#[derive(Clone, Copy)]
pub struct Table(Database<Bytes, Bytes>);

/// A consistent view for reading.
pub struct View<'a>(RoTxn<'a, WithoutTls>);

/// A transaction under way: reads see its own writes.
pub struct Change<'a>(RwTxn<'a>);

impl Store {
    /// Makes the database of a new vault in `dir`, and the directory if need be.
    ///
    /// # Errors
    /// There is one already, or the directory or database fails.
    pub fn create(dir: &Path) -> Result<Self, StoreError> {
        if exists(dir) {
            return Err(StoreError::Exists(dir.into()));
        }
        let refused = |source| StoreError::Directory { path: dir.into(), source };
        std::fs::create_dir_all(dir).map_err(refused)?;
        set_private(dir).map_err(refused)?;
        let env = open_env(dir)?;
        let mut txn = env.write_txn()?;
        let meta: Database<Bytes, Bytes> = env.create_database(&mut txn, Some(META))?;
        meta.put(&mut txn, SCHEMA_KEY, &[SCHEMA])?;
        txn.commit()?;
        Ok(Self { env, meta: Table(meta) })
    }

    /// Opens the database of an initialised vault.
    ///
    /// # Errors
    /// There is none, or it is of another schema, or it fails.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        if !exists(dir) {
            return Err(StoreError::Missing(dir.into()));
        }
        let env = open_env(dir)?;
        // A process that died while it read keeps its place in LMDB's table, and with it every page that was freed since.
        env.clear_stale_readers()?;
        let txn = env.read_txn()?;
        let Some(meta) = env.open_database::<Bytes, Bytes>(&txn, Some(META))? else {
            return Err(StoreError::Schema { found: None });
        };
        match meta.get(&txn, SCHEMA_KEY)? {
            Some([SCHEMA]) => {}
            other => return Err(StoreError::Schema { found: other.and_then(|bytes| bytes.first().copied()) }),
        }
        // The handle lives on only if the transaction that opened it commits.
        txn.commit()?;
        Ok(Self { env, meta: Table(meta) })
    }

    /// The table of single values that the vault keeps about itself.
    pub const fn meta(&self) -> Table {
        self.meta
    }

    /// A table by name, made if it does not exist. Call it once at start, before any transaction of this thread.
    ///
    /// # Errors
    /// The database fails or is full.
    pub fn table(&self, name: &'static str) -> Result<Table, StoreError> {
        let mut txn = self.env.write_txn()?;
        let table = self.env.create_database(&mut txn, Some(name))?;
        txn.commit()?;
        Ok(Table(table))
    }

    /// Reads from one consistent state.
    ///
    /// # Errors
    /// Those of `read`, or the database fails.
    pub fn read<T, E: From<StoreError>>(&self, read: impl FnOnce(&View<'_>) -> Result<T, E>) -> Result<T, E> {
        let txn = self.env.read_txn().map_err(StoreError::from)?;
        read(&View(txn))
    }

    /// Writes in one transaction. Once this returns `Ok`, everything is on disk; an error of `write` undoes all.
    ///
    /// # Errors
    /// Those of `write`, or the database fails or is full.
    pub fn write<T, E: From<StoreError>>(&self, write: impl FnOnce(&mut Change<'_>) -> Result<T, E>) -> Result<T, E> {
        let mut change = Change(self.env.write_txn().map_err(StoreError::from)?);
        let value = write(&mut change)?;
        change.0.commit().map_err(StoreError::from)?;
        Ok(value)
    }
}

macro_rules! reads {
    ($type:ident) => {
        impl $type<'_> {
            /// The value of a key.
            ///
            /// # Errors
            /// The database fails.
            pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
                Ok(table.0.get(&self.0, key)?)
            }

            /// How many keys a table has.
            ///
            /// # Errors
            /// The database fails.
            pub fn len(&self, table: Table) -> Result<u64, StoreError> {
                Ok(table.0.len(&self.0)?)
            }

            /// Visits keys that begin with `prefix` in rising order, until `visit` answers false.
            ///
            /// # Errors
            /// Those of `visit`, or the database fails.
            pub fn each<E: From<StoreError>>(
                &self,
                table: Table,
                prefix: &[u8],
                mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, E>,
            ) -> Result<(), E> {
                // LMDB has no empty key to begin at.
                let from = if prefix.is_empty() { Bound::Unbounded } else { Bound::Included(prefix) };
                let range = (from, Bound::Unbounded);
                for entry in table.0.range(&self.0, &range).map_err(StoreError::from)? {
                    let (key, value) = entry.map_err(StoreError::from)?;
                    if !key.starts_with(prefix) || !visit(key, value)? {
                        break;
                    }
                }
                Ok(())
            }

            /// Visits keys from `from` on in rising order, until `visit` answers false.
            ///
            /// # Errors
            /// Those of `visit`, or the database fails.
            pub fn each_from<E: From<StoreError>>(
                &self,
                table: Table,
                from: &[u8],
                mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, E>,
            ) -> Result<(), E> {
                let range = (Bound::Included(from), Bound::Unbounded);
                for entry in table.0.range(&self.0, &range).map_err(StoreError::from)? {
                    let (key, value) = entry.map_err(StoreError::from)?;
                    if !visit(key, value)? {
                        break;
                    }
                }
                Ok(())
            }

            /// The last key of a table and its value.
            ///
            /// # Errors
            /// The database fails.
            pub fn last(&self, table: Table) -> Result<Option<(&[u8], &[u8])>, StoreError> {
                Ok(table.0.last(&self.0)?)
            }
        }
    };
}

reads!(View);
reads!(Change);

impl Change<'_> {
    /// Stores a value, in place of the key's earlier one.
    ///
    /// # Errors
    /// The database fails or is full.
    pub fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        Ok(table.0.put(&mut self.0, key, value)?)
    }

    /// Stores a value under a key above all that the table has.
    ///
    /// # Errors
    /// The database fails or is full, or the key is not above all others.
    pub fn append(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        Ok(table.0.put_with_flags(&mut self.0, PutFlags::APPEND, key, value)?)
    }

    /// Forgets a key; whether there was one.
    ///
    /// # Errors
    /// The database fails or is full.
    pub fn delete(&mut self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        Ok(table.0.delete(&mut self.0, key)?)
    }

    /// Forgets every key that begins with `prefix`; how many.
    ///
    /// # Errors
    /// The database fails or is full.
    pub fn delete_prefix(&mut self, table: Table, prefix: &[u8]) -> Result<usize, StoreError> {
        let mut keys = Vec::new();
        self.each(table, prefix, |key, _| {
            keys.push(key.to_vec());
            Ok::<_, StoreError>(true)
        })?;
        for key in &keys {
            self.delete(table, key)?;
        }
        Ok(keys.len())
    }

    /// Forgets everything in a table.
    ///
    /// # Errors
    /// The database fails or is full.
    pub fn clear(&mut self, table: Table) -> Result<(), StoreError> {
        Ok(table.0.clear(&mut self.0)?)
    }
}

impl From<heed::Error> for StoreError {
    fn from(error: heed::Error) -> Self {
        match error {
            heed::Error::Mdb(MdbError::MapFull) => Self::Full,
            heed::Error::Io(source) if source.raw_os_error().is_some_and(|code| FULL.contains(&code)) => Self::Full,
            // LMDB's name for a write that came out short.
            heed::Error::Io(source) if source.raw_os_error() == Some(libc::EIO) => Self::Partial,
            other => Self::Database(other),
        }
    }
}

/// Whether `dir` holds a database.
pub fn exists(dir: &Path) -> bool {
    dir.join("data.mdb").exists()
}

fn set_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
}

#[allow(unsafe_code)]
fn open_env(dir: &Path) -> Result<Env<WithoutTls>, StoreError> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(MAP_SIZE).max_dbs(MAX_TABLES).max_readers(MAX_READERS);
    // SAFETY: the directory is the vault's own (mode 700), so nobody else truncates the file under the map, and this
    // process opens it once: heed refuses a second opening of the same path.
    Ok(unsafe { options.open(dir) }?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_made_once_and_opened_only_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Store::open(dir.path()), Err(StoreError::Missing(_))));
        drop(Store::create(dir.path()).unwrap());
        assert!(matches!(Store::create(dir.path()), Err(StoreError::Exists(_))));
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let table = store.table("t").unwrap();
        let failed: Result<(), StoreError> = store.write(|change| {
            change.put(table, b"a", b"1")?;
            assert_eq!(change.get(table, b"a")?, Some(&b"1"[..]));
            Err(StoreError::Full)
        });
        assert!(matches!(failed, Err(StoreError::Full)));
        let empty = store.read(|view| view.get(table, b"a").map(|value| value.is_none()));
        assert!(empty.unwrap());
    }

    #[test]
    fn a_store_of_another_schema_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let meta = store.meta();
        store.write(|change| change.put(meta, SCHEMA_KEY, &[9])).unwrap();
        let closing = store.env.clone().prepare_for_closing();
        drop(store);
        closing.wait();
        assert!(matches!(Store::open(dir.path()), Err(StoreError::Schema { found: Some(9) })));
    }

    #[test]
    fn keys_are_visited_in_order_and_only_under_their_prefix() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let table = store.table("t").unwrap();
        store
            .write(|change| {
                for key in [&b"b2"[..], b"a1", b"b1", b"c1"] {
                    change.put(table, key, b"")?;
                }
                Ok::<_, StoreError>(())
            })
            .unwrap();
        let mut seen = Vec::new();
        let visited: Result<(), StoreError> = store.read(|view| {
            view.each(table, b"b", |key, _| {
                seen.push(key.to_vec());
                Ok(true)
            })
        });
        visited.unwrap();
        assert_eq!(seen, [b"b1".to_vec(), b"b2".to_vec()]);
        let deleted: Result<usize, StoreError> = store.write(|change| change.delete_prefix(table, b"b"));
        assert_eq!(deleted.unwrap(), 2);
    }

    /// Names the store that a process of a test opens, and whether it reads in it until it is killed.
    const OPENED: &str = "TORUS_TEST_STORE";
    const READING: &str = "TORUS_TEST_READING";

    #[test]
    #[ignore = "a process of the test below"]
    fn another_process_of_a_store() {
        let store = Store::open(Path::new(&std::env::var_os(OPENED).unwrap())).unwrap();
        let wait = || {
            println!("\nopen");
            std::thread::sleep(std::time::Duration::from_secs(60));
        };
        if std::env::var_os(READING).is_none() {
            return wait();
        }
        let read: Result<(), StoreError> = store.read(|view| view.len(store.meta()).map(|_| wait()));
        read.unwrap();
    }

    #[test]
    fn the_place_of_a_reader_that_was_killed_is_free_after_the_next_opening() {
        use std::io::{BufRead, BufReader};
        use std::process::{Command, Stdio};
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let closing = store.env.clone().prepare_for_closing();
        drop(store);
        closing.wait();
        let process = |reading: bool| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--ignored", "--exact", "--nocapture", "store::tests::another_process_of_a_store"]);
            command.env(OPENED, dir.path()).stdout(Stdio::piped());
            if reading {
                command.env(READING, "1");
            }
            let mut child = command.spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            assert!(lines.any(|line| line.unwrap() == "open"));
            child
        };
        // The vault, without which the first to open would begin with an empty table; and who reads beside it.
        let (mut vault, mut reader) = (process(false), process(true));
        reader.kill().unwrap();
        reader.wait().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.env.clear_stale_readers().unwrap(), 0, "it was left for somebody else");
        vault.kill().unwrap();
        vault.wait().unwrap();
    }

    #[test]
    fn a_full_disk_is_told_by_its_name() {
        for code in FULL {
            let error = heed::Error::Io(io::Error::from_raw_os_error(code));
            assert!(matches!(StoreError::from(error), StoreError::Full));
        }
        assert!(matches!(StoreError::from(heed::Error::Mdb(MdbError::MapFull)), StoreError::Full));
    }
}
