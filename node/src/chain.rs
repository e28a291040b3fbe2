//! The chain of one node: blocks built, checked and committed over the store by the replicated state machine, and the
//! mempool in front of it. It judges by the rules alone; a block that holds one refused transaction is refused.

mod mempool;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ed25519_dalek::{Signer as _, SigningKey};
use torus_mapping::{At, Execution, Failed, Outcome, Reject, admit, execute, still_admissible};
use torus_statement::block::{MAX_BLOCK, MAX_TRANSACTIONS, transactions_root};
use torus_statement::transaction::MAX_TRANSACTION;
use torus_statement::{Block, Body, CommitCertificate, EpochConfig, Hash, Header, Index, Transaction, Wire};

use crate::store::{Store, StoreError};
pub use mempool::Fate;
use mempool::Mempool;
use torus_consensus::{Chain, ChainFailed, Kept, Refused, Tip};

/// Most bytes of transactions that this node puts into a block; the format allows more.
const FILL: usize = 1 << 20;
/// Most transactions that this node puts into a block.
const FILL_COUNT: usize = 1024;
/// Executed blocks of the undecided height whose outcome is kept.
const MAX_OUTCOMES: usize = 8;
/// Sequences that are left out at a start: what this node sent before and is still under way uses them.
const SEQUENCE_GAP: u64 = 64;

const _: () = assert!(FILL + MAX_TRANSACTION < MAX_BLOCK && FILL_COUNT <= MAX_TRANSACTIONS);

/// The chain of one node.
pub struct NodeChain {
    store: Arc<Store>,
    config: Arc<EpochConfig>,
    me: Index,
    key: SigningKey,
    moving: Mutex<Moving>,
}

/// What changes: never locked while the disk is written, but for the tip's own step.
struct Moving {
    tip: Tip,
    pool: Mempool,
    outcomes: BTreeMap<Hash, Arc<Outcome>>,
    changed: Vec<u64>,
    sequence: u64,
}

impl NodeChain {
    /// The chain over a store. The key signs this node's transactions: the p2p key that its certificate names.
    pub fn open(store: Arc<Store>, config: Arc<EpochConfig>, me: Index, key: SigningKey) -> Result<Self, StoreError> {
        let snapshot = store.snapshot()?;
        let tip = match snapshot.header()? {
            Some(signed) => tip_of(signed),
            None => {
                let committee = config.committee();
                Tip { height: 0, hash: committee.chain, time: committee.genesis_time, certified: None }
            }
        };
        let seen = snapshot.view().member(me).map_err(|e| StoreError::Damaged(e.to_string()))?.sequence;
        drop(snapshot);
        let moving = Moving {
            tip,
            pool: Mempool::default(),
            outcomes: BTreeMap::new(),
            changed: Vec::new(),
            sequence: seen.saturating_add(SEQUENCE_GAP),
        };
        Ok(Self { store, config, me, key, moving: Mutex::new(moving) })
    }

    /// The store below.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// A transaction of this node, signed, with a sequence of its own: to be submitted to the engine.
    pub fn sign(&self, body: Body) -> Transaction {
        let sequence = {
            let mut moving = self.moving();
            let highest = moving.pool.highest(self.me).unwrap_or(0).max(moving.sequence);
            moving.sequence = highest.saturating_add(1);
            moving.sequence
        };
        let config = self.config.hash();
        let signature = self.key.sign(&Transaction::preimage(&config, self.me, sequence, &body)).to_bytes();
        Transaction { config, sender: self.me, sequence, body, signature }
    }

    /// What became of a transaction that this node has had; `None` if it never had it or forgot it.
    pub fn fate(&self, hash: &Hash) -> Option<Fate> {
        self.moving().pool.fate(hash)
    }

    /// Batches whose entries changed in blocks since the last call, in rising order.
    pub fn take_changed_batches(&self) -> Vec<u64> {
        let mut changed = std::mem::take(&mut self.moving().changed);
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// Whether the rules would execute a transaction next, and why not: for an answer before it is submitted.
    pub fn would_execute(&self, transaction: &Transaction) -> Result<Result<(), Reject>, StoreError> {
        let snapshot = self.store.snapshot()?;
        let at = At { height: snapshot.height().saturating_add(1), time: self.next_time(now()) };
        admit(&snapshot.view(), &self.config, at, transaction).map_err(|e| StoreError::Damaged(e.to_string()))
    }

    fn moving(&self) -> MutexGuard<'_, Moving> {
        // What is inside is consistent after every statement, so a panic elsewhere takes nothing along.
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A time that a block made now may have.
    fn next_time(&self, now: u64) -> u64 {
        self.moving().tip.time.saturating_add(1).max(now)
    }

    /// Executes a block on the tip, or remembers that it did.
    fn outcome(&self, block: &Block) -> Result<Arc<Outcome>, Failed> {
        let hash = block.header.hash();
        if let Some(outcome) = self.moving().outcomes.get(&hash) {
            return Ok(outcome.clone());
        }
        let snapshot = self.store.snapshot()?;
        let at = At { height: block.header.height, time: block.header.time };
        let outcome = Arc::new(execute(&snapshot, &self.config, at, &block.transactions)?);
        self.remember(hash, &outcome);
        Ok(outcome)
    }

    fn remember(&self, hash: Hash, outcome: &Arc<Outcome>) {
        let outcomes = &mut self.moving().outcomes;
        if outcomes.len() >= MAX_OUTCOMES {
            outcomes.pop_first();
        }
        outcomes.insert(hash, outcome.clone());
    }

    /// After a block: what is in it or cannot come any more leaves the mempool.
    fn settle(&self, block: &Block) -> Result<(), ChainFailed> {
        let waiting = {
            let mut moving = self.moving();
            for t in &block.transactions {
                moving.pool.settle(t.sender, t.sequence, t.hash(), Fate::Committed(block.header.height));
            }
            moving.pool.in_turn()
        };
        if waiting.is_empty() {
            return Ok(());
        }
        let snapshot = self.store.snapshot().map_err(failed)?;
        let at = At { height: snapshot.height().saturating_add(1), time: self.next_time(now()) };
        let view = snapshot.view();
        for (transaction, hash, _) in waiting {
            if let Err(reject) = still_admissible(&view, &self.config, at, &transaction).map_err(failed)? {
                let Transaction { sender, sequence, .. } = transaction;
                self.moving().pool.settle(sender, sequence, hash, Fate::Rejected(reject));
            }
        }
        Ok(())
    }

    fn header(&self, tip: &Tip, time: u64, transactions: &[Transaction], state: Hash) -> Header {
        let committee = self.config.committee();
        Header {
            chain: committee.chain,
            epoch: committee.epoch,
            height: tip.height.saturating_add(1),
            parent: tip.hash,
            time,
            proposer: self.me,
            transactions: transactions_root(transactions),
            state,
            config: self.config.hash(),
            next_config: self.config.hash(),
        }
    }

    fn follows(&self, block: &Block, clock: Option<u64>) -> Result<(), &'static str> {
        let (tip, header, committee) = (self.tip(), &block.header, self.config.committee());
        if header.chain != committee.chain || header.epoch != committee.epoch {
            return Err("another chain or epoch");
        }
        if header.config != self.config.hash() || header.next_config != self.config.hash() {
            return Err("another config");
        }
        if tip.height.checked_add(1) != Some(header.height) || header.parent != tip.hash {
            return Err("does not follow the tip");
        }
        if header.time <= tip.time {
            return Err("not later than its parent");
        }
        if clock.is_some_and(|clock| header.time > clock.saturating_add(u64::from(committee.times.skew))) {
            return Err("stamped in the future");
        }
        if self.config.member(header.proposer).is_none() {
            return Err("its proposer is no member");
        }
        if block.transactions.len() > MAX_TRANSACTIONS || block.to_bytes().len() > MAX_BLOCK {
            return Err("too large");
        }
        if header.transactions != transactions_root(&block.transactions) {
            return Err("other transactions than its header says");
        }
        Ok(())
    }
}

impl Chain for NodeChain {
    fn tip(&self) -> Tip {
        self.moving().tip.clone()
    }

    fn min_height(&self) -> u64 {
        // Blocks are kept for ever: whoever joins replays them.
        self.tip().height.min(1)
    }

    fn build(&self, now: u64) -> Result<Block, ChainFailed> {
        let (tip, waiting) = {
            let moving = self.moving();
            (moving.tip.clone(), moving.pool.in_turn())
        };
        let snapshot = self.store.snapshot().map_err(failed)?;
        let time = tip.time.saturating_add(1).max(now);
        let at = At { height: tip.height.saturating_add(1), time };
        let mut execution = Execution::new(&snapshot, &self.config, at);
        let (mut transactions, mut bytes) = (Vec::new(), 0usize);
        for (transaction, hash, size) in waiting {
            if transactions.len() >= FILL_COUNT || bytes.saturating_add(size) > FILL.max(size) {
                break;
            }
            match execution.apply(&transaction).map_err(failed)? {
                Ok(()) => {
                    bytes = bytes.saturating_add(size);
                    transactions.push(transaction);
                }
                Err(reject) => {
                    let Transaction { sender, sequence, .. } = transaction;
                    self.moving().pool.settle(sender, sequence, hash, Fate::Rejected(reject));
                }
            }
        }
        let outcome = execution.finish().map_err(failed)?;
        let header = self.header(&tip, time, &transactions, outcome.root);
        // Refused ones are not in the block: the outcome is that of the block as others execute it.
        let results = vec![Ok(()); transactions.len()];
        self.remember(header.hash(), &Arc::new(Outcome { results, ..outcome }));
        Ok(Block { header, transactions })
    }

    fn check(&self, block: &Block, clock: Option<u64>) -> Result<(), Refused> {
        self.follows(block, clock).map_err(|why| Refused(format!("the block is {why}")))?;
        let outcome = self.outcome(block).map_err(|error| Refused(error.to_string()))?;
        if let Some(reject) = outcome.results.iter().find_map(|result| result.err()) {
            return Err(Refused(format!("the block holds a refused transaction: {reject}")));
        }
        if outcome.root != block.header.state {
            return Err(Refused("the block's state root is not that of executing it".into()));
        }
        Ok(())
    }

    fn commit(&self, block: &Block, certificate: &CommitCertificate) -> Result<(), ChainFailed> {
        let outcome = self.outcome(block).map_err(failed)?;
        if outcome.root != block.header.state {
            // A quorum certified what these rules do not yield: going on would fork this replica silently.
            return Err(ChainFailed(format!("block {} is certified with another state root", block.header.height)));
        }
        self.store.commit(block, certificate, &outcome).map_err(failed)?;
        let signed = torus_statement::certificate::SignedHeader {
            header: block.header.clone(),
            certificate: certificate.clone(),
        };
        {
            let mut moving = self.moving();
            moving.tip = tip_of(signed);
            moving.outcomes.clear();
            // After catching up, what this node sent in an earlier life.
            let own = block.transactions.iter().filter(|t| t.sender == self.me).map(|t| t.sequence).max();
            moving.sequence = moving.sequence.max(own.unwrap_or(0));
            moving.changed.extend(&outcome.batches);
        }
        self.settle(block)
    }

    fn decided(&self, range: RangeInclusive<u64>) -> Vec<(Block, CommitCertificate)> {
        self.store.decided(range).unwrap_or_else(|error| {
            tracing::error!(%error, "decided blocks cannot be read");
            Vec::new()
        })
    }

    fn keep(&self, kept: &Kept) -> Result<(), ChainFailed> {
        self.store.keep(kept).map_err(failed)
    }

    fn kept(&self) -> Vec<Kept> {
        let height = self.tip().height.saturating_add(1);
        let mut kept = self.store.kept().unwrap_or_else(|error| {
            tracing::error!(%error, "kept proposals cannot be read");
            Vec::new()
        });
        kept.retain(|kept| kept.block.header.height == height);
        kept
    }

    fn submit(&self, bytes: &[u8]) -> Result<bool, Refused> {
        if bytes.len() > MAX_TRANSACTION {
            return Err(Refused(Reject::Size.to_string()));
        }
        let refused = |why: &dyn std::fmt::Display| Refused(why.to_string());
        let transaction = Transaction::from_bytes(bytes).map_err(|e| refused(&e))?;
        let hash = transaction.hash();
        {
            let moving = self.moving();
            match moving.pool.fate(&hash) {
                Some(Fate::Waiting | Fate::Committed(_)) => return Ok(false),
                _ => {
                    moving.pool.room(transaction.sender, transaction.sequence, bytes.len()).map_err(|e| refused(&e))?
                }
            }
        }
        self.would_execute(&transaction).map_err(|e| refused(&e))?.map_err(|e| refused(&e))?;
        let mut moving = self.moving();
        if moving.pool.holds(&hash) {
            return Ok(false);
        }
        moving.pool.room(transaction.sender, transaction.sequence, bytes.len()).map_err(|e| refused(&e))?;
        moving.pool.put(transaction, hash, bytes.len());
        Ok(true)
    }

    fn has_work(&self) -> bool {
        !self.moving().pool.is_empty()
    }
}

fn tip_of(signed: torus_statement::certificate::SignedHeader) -> Tip {
    let header = &signed.header;
    Tip { height: header.height, hash: header.hash(), time: header.time, certified: Some(signed.clone()) }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

fn failed(error: impl std::fmt::Display) -> ChainFailed {
    ChainFailed(error.to_string())
}
