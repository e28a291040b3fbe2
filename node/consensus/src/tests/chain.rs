//! A chain in memory that outlives its node.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};

use torus_statement::block::transactions_root;
use torus_statement::certificate::SignedHeader;
use torus_statement::{
    Block, CommitCertificate, EpochConfig, Hash, Header, Index, Transaction, Wire, keccak256, sha256,
};

use crate::{Chain, ChainFailed, Kept, Refused, Tip};

pub(super) struct MemoryChain {
    config: Arc<EpochConfig>,
    index: Index,
    store: Mutex<Store>,
}

#[derive(Default)]
struct Store {
    blocks: Vec<(Block, CommitCertificate)>,
    kept: Vec<Kept>,
    pool: BTreeMap<Hash, Transaction>,
    done: BTreeMap<Hash, u64>,
}

impl MemoryChain {
    pub(super) fn new(config: Arc<EpochConfig>, index: Index) -> Self {
        Self { config, index, store: Mutex::default() }
    }

    pub(super) fn block(&self, height: u64) -> Option<(Block, CommitCertificate)> {
        self.store.lock().unwrap().blocks.get(height as usize - 1).cloned()
    }

    /// The height at which a transaction was committed.
    pub(super) fn height_of(&self, bytes: &[u8]) -> Option<u64> {
        let hash = Transaction::from_bytes(bytes).unwrap().hash();
        self.store.lock().unwrap().done.get(&hash).copied()
    }

    fn root(parent: &Hash, transactions: &[Transaction]) -> Hash {
        sha256("test state", &[parent, &transactions_root(transactions)])
    }

    fn parent(&self, store: &Store) -> (u64, Hash, u64, Hash) {
        match store.blocks.last() {
            Some((block, _)) => (block.header.height, block.header.hash(), block.header.time, block.header.state),
            None => {
                let committee = self.config.committee();
                (0, committee.chain, committee.genesis_time, committee.genesis_root)
            }
        }
    }
}

impl Chain for MemoryChain {
    fn tip(&self) -> Tip {
        let store = self.store.lock().unwrap();
        let (height, hash, time, _) = self.parent(&store);
        let certified = store.blocks.last().map(|(block, certificate)| SignedHeader {
            header: block.header.clone(),
            certificate: certificate.clone(),
        });
        Tip { height, hash, time, certified }
    }

    fn min_height(&self) -> u64 {
        1
    }

    fn build(&self, now: u64) -> Result<Block, ChainFailed> {
        let store = self.store.lock().unwrap();
        let (height, parent, time, root) = self.parent(&store);
        let transactions: Vec<Transaction> = store.pool.values().take(100).cloned().collect();
        let header = Header {
            chain: self.config.committee().chain,
            epoch: 1,
            height: height + 1,
            parent,
            time: now.max(time + 1),
            proposer: self.index,
            transactions: transactions_root(&transactions),
            state: Self::root(&root, &transactions),
            config: self.config.hash(),
            next_config: self.config.hash(),
        };
        Ok(Block { header, transactions })
    }

    fn check(&self, block: &Block, clock: Option<u64>) -> Result<(), Refused> {
        let store = self.store.lock().unwrap();
        let (height, parent, time, root) = self.parent(&store);
        let header = &block.header;
        let fits = header.height == height + 1
            && header.parent == parent
            && header.config == self.config.hash()
            && header.state == Self::root(&root, &block.transactions)
            && header.transactions == transactions_root(&block.transactions)
            && header.time > time
            && clock.is_none_or(|now| header.time <= now + 10_000);
        fits.then_some(()).ok_or_else(|| Refused("the block does not follow".into()))
    }

    fn commit(&self, block: &Block, certificate: &CommitCertificate) -> Result<(), ChainFailed> {
        let mut store = self.store.lock().unwrap();
        assert_eq!(block.header.height, store.blocks.len() as u64 + 1, "no height twice, none left out");
        for transaction in &block.transactions {
            store.pool.remove(&transaction.hash());
            let before = store.done.insert(transaction.hash(), block.header.height);
            assert_eq!(before, None, "a transaction counts once");
        }
        store.blocks.push((block.clone(), certificate.clone()));
        store.kept.clear();
        Ok(())
    }

    fn decided(&self, range: RangeInclusive<u64>) -> Vec<(Block, CommitCertificate)> {
        range.map_while(|height| self.block(height)).collect()
    }

    fn keep(&self, kept: &Kept) -> Result<(), ChainFailed> {
        self.store.lock().unwrap().kept.push(kept.clone());
        Ok(())
    }

    fn kept(&self) -> Vec<Kept> {
        self.store.lock().unwrap().kept.clone()
    }

    fn submit(&self, bytes: &[u8]) -> Result<bool, Refused> {
        let transaction = Transaction::from_bytes(bytes).map_err(|error| Refused(error.to_string()))?;
        let t = &transaction;
        let preimage = Transaction::preimage(&t.config, t.sender, t.sequence, &t.body);
        if t.signature[..32] != keccak256(&preimage) {
            return Err(Refused("the signature does not verify".into()));
        }
        let mut store = self.store.lock().unwrap();
        let hash = transaction.hash();
        Ok(!store.done.contains_key(&hash) && store.pool.insert(hash, transaction).is_none())
    }

    fn has_work(&self) -> bool {
        !self.store.lock().unwrap().pool.is_empty()
    }
}
