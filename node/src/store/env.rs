//! The LMDB environment and its tables: the one place of the node that is unsafe.
#![allow(unsafe_code)]

use std::path::Path;

use heed::types::Bytes;
use heed::{Database, Env, EnvOpenOptions, RoTxn, RwTxn, WithoutTls};

use super::StoreError;

/// A table of bytes under bytes.
pub(super) type Table = Database<Bytes, Bytes>;

/// Room for ten million users; the file grows only as it is filled.
const MAP_SIZE: usize = 256 << 30;
const MAX_READERS: u32 = 512;

/// The environment and its tables.
pub(super) struct Tables {
    env: Env<WithoutTls>,
    /// Single values: schema, network, tip.
    pub(super) meta: Table,
    /// Height → signed header.
    pub(super) headers: Table,
    /// Height → transactions.
    pub(super) bodies: Table,
    /// Tree node's key → node.
    pub(super) nodes: Table,
    /// Leaf's key | height → value.
    pub(super) values: Table,
    /// Height since which it is not needed | number → node's key.
    pub(super) stale_nodes: Table,
    /// Height since which it is not needed | number → leaf's key | height.
    pub(super) stale_values: Table,
    /// Round | hash → block of the undecided height.
    pub(super) kept: Table,
    /// Public key → key index.
    pub(super) by_public: Table,
    /// Key index → verifier and user.
    pub(super) owners: Table,
    /// Published batch that not all members have acknowledged → nothing.
    pub(super) unacked: Table,
}

impl Tables {
    /// Opens or makes the environment in a directory.
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(MAP_SIZE).max_readers(MAX_READERS).max_dbs(16);
        // SAFETY: the file is mapped, so nobody else may change it while it is open. It lies in the node's own data
        // directory, which is locked against a second process by LMDB's lock file, and this process opens it once.
        let env = unsafe { options.open(dir) }?;
        let mut txn = env.write_txn()?;
        let mut table = |name| env.create_database(&mut txn, Some(name));
        let tables = Self {
            meta: table("meta")?,
            headers: table("headers")?,
            bodies: table("bodies")?,
            nodes: table("nodes")?,
            values: table("values")?,
            stale_nodes: table("stale_nodes")?,
            stale_values: table("stale_values")?,
            kept: table("kept")?,
            by_public: table("by_public")?,
            owners: table("owners")?,
            unacked: table("unacked")?,
            env: env.clone(),
        };
        txn.commit()?;
        Ok(tables)
    }

    pub(super) fn read(&self) -> Result<RoTxn<'_, WithoutTls>, StoreError> {
        Ok(self.env.read_txn()?)
    }

    pub(super) fn write(&self) -> Result<RwTxn<'_>, StoreError> {
        Ok(self.env.write_txn()?)
    }
}
