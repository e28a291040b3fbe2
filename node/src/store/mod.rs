//! What a node keeps on disk: blocks with their certificates, the state and its tree, proposals of the undecided
//! height, and indexes for the interface. Nothing secret, and nothing that a certificate does not prove again.
//!
//! One transaction per decided block: after a crash the store is at some block's end.

mod env;
mod snapshot;

use std::ops::RangeInclusive;
use std::path::Path;

use heed::RwTxn;
use torus_mapping::{Failed, Outcome, genesis};
use torus_sharing::PublishedKeys;
use torus_statement::certificate::SignedHeader;
use torus_statement::codec::{Reader, Writer};
use torus_statement::dkg::KeyIndex;
use torus_statement::state::{Assignment, BatchEntry, Phase, key};
use torus_statement::text::VerifierName;
use torus_statement::{Block, Body, CommitCertificate, Hash, NetworkFile, Transaction, Wire};

pub use snapshot::{CertifiedLookup, Snapshot};
use torus_consensus::Kept;

/// The version of the tables' layout.
const SCHEMA: u32 = 1;
/// Versions of the state that can still be proven.
pub const KEPT_VERSIONS: u64 = 128;

const META_SCHEMA: &[u8] = b"schema";
const META_NETWORK: &[u8] = b"network";
const META_TIP: &[u8] = b"tip";

/// Why the store does not serve.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// LMDB or the disk below it.
    #[error("the database does not work: {0}")]
    Database(#[from] heed::Error),
    /// The data directory cannot be made.
    #[error("the data directory cannot be used: {0}")]
    Directory(#[from] std::io::Error),
    /// Written by another version of the software.
    #[error("the store has layout {0}, this build reads layout {SCHEMA}")]
    Schema(u32),
    /// Another network's store.
    #[error("the store belongs to another network file")]
    Network,
    /// The network file names another genesis state than its verifiers make.
    #[error("the network file's genesis root is not that of its verifiers")]
    Genesis,
    /// What is stored cannot be read.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// A block that does not follow the tip.
    #[error("block {0} does not follow the stored ones")]
    Order(u64),
}

/// The store of one node.
pub struct Store {
    tables: env::Tables,
    committee: torus_sharing::Sizes,
}

impl Store {
    /// Opens the store in a directory, or founds it with the network's genesis state.
    pub fn open(dir: &Path, network: &NetworkFile) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir)?;
        let store = Self { tables: env::Tables::open(dir)?, committee: network.config.sizes() };
        let mut txn = store.tables.write()?;
        match store.tables.meta.get(&txn, META_SCHEMA)? {
            None => store.found(&mut txn, network)?,
            Some(schema) => {
                let schema = u32::from_be_bytes(schema.try_into().map_err(|_| damaged("schema"))?);
                if schema != SCHEMA {
                    return Err(StoreError::Schema(schema));
                }
                if store.tables.meta.get(&txn, META_NETWORK)? != Some(&network.hash()[..]) {
                    return Err(StoreError::Network);
                }
            }
        }
        txn.commit()?;
        Ok(store)
    }

    /// The store as it is now; later blocks do not change what it shows.
    pub fn snapshot(&self) -> Result<Snapshot<'_>, StoreError> {
        Snapshot::new(self)
    }

    /// Writes a decided block with all that it changes.
    pub fn commit(&self, block: &Block, certificate: &CommitCertificate, outcome: &Outcome) -> Result<(), StoreError> {
        let height = block.header.height;
        let mut txn = self.tables.write()?;
        if self.tip_height(&txn)?.checked_add(1) != Some(height) {
            return Err(StoreError::Order(height));
        }
        let signed = SignedHeader { header: block.header.clone(), certificate: certificate.clone() };
        self.tables.headers.put(&mut txn, &height.to_be_bytes(), &signed.to_bytes())?;
        self.tables.bodies.put(&mut txn, &height.to_be_bytes(), &body_bytes(&block.transactions))?;
        self.write_state(&mut txn, height, outcome)?;
        self.write_indexes(&mut txn, &block.transactions, outcome)?;
        self.prune(&mut txn, height)?;
        self.tables.kept.clear(&mut txn)?;
        self.tables.meta.put(&mut txn, META_TIP, &height.to_be_bytes())?;
        txn.commit()?;
        Ok(())
    }

    /// Decided blocks of a range, in order and without gap, as many as are there.
    pub fn decided(&self, range: RangeInclusive<u64>) -> Result<Vec<(Block, CommitCertificate)>, StoreError> {
        let txn = self.tables.read()?;
        let mut blocks = Vec::new();
        for height in range {
            let headers = self.tables.headers.get(&txn, &height.to_be_bytes())?;
            let Some((header, body)) = headers.zip(self.tables.bodies.get(&txn, &height.to_be_bytes())?) else {
                break;
            };
            let SignedHeader { header, certificate } = parse(header, "header")?;
            blocks.push((Block { header, transactions: parse_body(body)? }, certificate));
        }
        Ok(blocks)
    }

    /// Keeps a block of the undecided height.
    pub fn keep(&self, kept: &Kept) -> Result<(), StoreError> {
        let mut txn = self.tables.write()?;
        let hash = kept.block.header.hash();
        let mut w = Writer::default();
        w.bool(kept.own);
        kept.block.write(&mut w);
        let key = [&kept.round.to_be_bytes()[..], &hash].concat();
        // A block that was proposed by this member in a round stays so.
        let before = self.tables.kept.get(&txn, &key)?.is_some_and(|bytes| bytes.first() == Some(&1));
        if !before {
            self.tables.kept.put(&mut txn, &key, &w.into_bytes())?;
        }
        txn.commit()?;
        Ok(())
    }

    /// What was kept of the undecided height.
    pub fn kept(&self) -> Result<Vec<Kept>, StoreError> {
        let txn = self.tables.read()?;
        let mut kept = Vec::new();
        for entry in self.tables.kept.iter(&txn)? {
            let (key, bytes) = entry?;
            let round = key.first_chunk().map(|round| u32::from_be_bytes(*round)).ok_or_else(|| damaged("round"))?;
            let mut r = Reader::new(bytes);
            let own = r.bool().map_err(damaged)?;
            kept.push(Kept { round, own, block: parse(r.rest(), "kept block")? });
        }
        Ok(kept)
    }

    fn found(&self, txn: &mut RwTxn<'_>, network: &NetworkFile) -> Result<(), StoreError> {
        let outcome = genesis(&network.verifiers).map_err(damaged)?;
        if outcome.root != network.config.committee().genesis_root {
            return Err(StoreError::Genesis);
        }
        self.write_state(txn, 0, &outcome)?;
        self.tables.meta.put(txn, META_SCHEMA, &SCHEMA.to_be_bytes())?;
        self.tables.meta.put(txn, META_NETWORK, &network.hash())?;
        self.tables.meta.put(txn, META_TIP, &0u64.to_be_bytes())?;
        Ok(())
    }

    fn write_state(&self, txn: &mut RwTxn<'_>, height: u64, outcome: &Outcome) -> Result<(), StoreError> {
        for (key, node) in &outcome.tree.nodes {
            self.tables.nodes.put(txn, key, node)?;
        }
        for (number, stale) in (0u32..).zip(&outcome.tree.stale) {
            self.tables.stale_nodes.put(txn, &numbered(stale.since, number), &stale.key)?;
        }
        for (number, (key, value)) in (0u32..).zip(&outcome.writes) {
            let place = versioned(key, height);
            let older = self.tables.values.get_lower_than(txn, &place)?.map(|(older, _)| older.to_vec());
            if let Some(older) = older.filter(|older| older.starts_with(key)) {
                self.tables.stale_values.put(txn, &numbered(height, number), &older)?;
            }
            self.tables.values.put(txn, &place, value)?;
        }
        Ok(())
    }

    /// What the interface finds by other ways than the tree's keys. All of it follows from the block.
    fn write_indexes(
        &self,
        txn: &mut RwTxn<'_>,
        transactions: &[Transaction],
        outcome: &Outcome,
    ) -> Result<(), StoreError> {
        for transaction in transactions {
            match &transaction.body {
                Body::Assign { verifier, user } => {
                    let Some(assignment) = written::<Assignment>(outcome, &key::assignment(verifier, user))? else {
                        continue;
                    };
                    let mut owner = Writer::default();
                    verifier.write(&mut owner);
                    owner.raw(user);
                    let owner = owner.into_bytes();
                    for index in &assignment.keys {
                        self.tables.owners.put(txn, &index.number().to_be_bytes(), &owner)?;
                    }
                }
                Body::Keys { attempt, published, .. } => {
                    let Some(entry) = written::<BatchEntry>(outcome, &key::batch(attempt.batch))? else { continue };
                    let keys = PublishedKeys::parse(self.committee, usize::from(entry.keys), published);
                    let keys = keys.map_err(damaged)?;
                    for (position, published) in (0u16..).zip(&keys.keys) {
                        let Some(index) = KeyIndex::new(attempt.batch, position) else { break };
                        let public = published.public.to_compressed();
                        self.tables.by_public.put(txn, &public, &index.number().to_be_bytes())?;
                    }
                }
                Body::Propose { .. } | Body::Ack { .. } | Body::AuditHead(_) => {}
            }
        }
        let everyone = self.committee.members().fold(0u32, |all, member| all | 1 << member.slot());
        for batch in &outcome.batches {
            let entry = written::<BatchEntry>(outcome, &key::batch(*batch))?;
            if let Some(BatchEntry { phase: Phase::Published { acks, .. }, .. }) = entry {
                if acks == everyone {
                    self.tables.unacked.delete(txn, &batch.to_be_bytes())?;
                } else {
                    self.tables.unacked.put(txn, &batch.to_be_bytes(), &[])?;
                }
            }
        }
        Ok(())
    }

    /// Forgets what only versions below the kept ones need.
    fn prune(&self, txn: &mut RwTxn<'_>, height: u64) -> Result<(), StoreError> {
        let Some(oldest) = height.checked_sub(KEPT_VERSIONS) else { return Ok(()) };
        for (stale, table) in
            [(self.tables.stale_nodes, self.tables.nodes), (self.tables.stale_values, self.tables.values)]
        {
            while let Some((number, dead)) = stale.first(txn)? {
                if number.first_chunk().is_none_or(|since| u64::from_be_bytes(*since) > oldest) {
                    break;
                }
                let (number, dead) = (number.to_vec(), dead.to_vec());
                table.delete(txn, &dead)?;
                stale.delete(txn, &number)?;
            }
        }
        Ok(())
    }

    fn tip_height(&self, txn: &heed::RoTxn<'_>) -> Result<u64, StoreError> {
        let tip = self.tables.meta.get(txn, META_TIP)?.ok_or_else(|| damaged("no tip"))?;
        tip.try_into().map(u64::from_be_bytes).map_err(|_| damaged("tip"))
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Damaged(what) => Self::Damaged(what),
            other => Self::Store(other.to_string()),
        }
    }
}

fn written<T: Wire>(outcome: &Outcome, key: &Hash) -> Result<Option<T>, StoreError> {
    let found = outcome.writes.binary_search_by(|(other, _)| other.cmp(key)).ok();
    found.and_then(|place| outcome.writes.get(place)).map(|(_, bytes)| parse(bytes, "leaf")).transpose()
}

fn body_bytes(transactions: &[Transaction]) -> Vec<u8> {
    let mut w = Writer::default();
    w.list(transactions, |w, transaction| transaction.write(w));
    w.into_bytes()
}

fn parse_body(bytes: &[u8]) -> Result<Vec<Transaction>, StoreError> {
    let mut r = Reader::new(bytes);
    r.list(torus_statement::block::MAX_TRANSACTIONS, Transaction::read).map_err(damaged)
}

fn owner(bytes: &[u8]) -> Result<(VerifierName, Hash), StoreError> {
    let mut r = Reader::new(bytes);
    let owner = VerifierName::read(&mut r).and_then(|verifier| Ok((verifier, r.array()?)));
    owner.map_err(damaged)
}

fn parse<T: Wire>(bytes: &[u8], what: &str) -> Result<T, StoreError> {
    T::from_bytes(bytes).map_err(|e| StoreError::Damaged(format!("{what}: {e}")))
}

fn versioned(key: &Hash, height: u64) -> Vec<u8> {
    [&key[..], &height.to_be_bytes()].concat()
}

fn numbered(height: u64, number: u32) -> Vec<u8> {
    [&height.to_be_bytes()[..], &number.to_be_bytes()].concat()
}

fn damaged(what: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged(what.to_string())
}
