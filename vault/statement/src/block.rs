//! Blocks of the log: a header that proves any fact of the state, and the transactions that made it.

use alloc::vec::Vec;

use torus_sharing::Index;

use crate::codec::{Malformed, Reader, Wire, Writer};
use crate::hash::{Hash, sha256};
use crate::transaction::Transaction;

/// The version of header that this build reads and writes; it selects the rules of execution.
pub const HEADER_VERSION: u8 = 1;
/// Most bytes of a block.
pub const MAX_BLOCK: usize = 2 << 20;
/// Most transactions of a block.
pub const MAX_TRANSACTIONS: usize = 4096;

/// What validators vote on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The chain.
    pub chain: Hash,
    /// The epoch whose validators vote on it.
    pub epoch: u64,
    /// From 1.
    pub height: u64,
    /// The hash of the header before; of height 1, the chain.
    pub parent: Hash,
    /// Milliseconds since 1970, above the parent's.
    pub time: u64,
    /// Who proposed it.
    pub proposer: Index,
    /// Over the transactions.
    pub transactions: Hash,
    /// The root of the state after this block.
    pub state: Hash,
    /// The config in force.
    pub config: Hash,
    /// The config of the next height; equal to `config` but in an epoch's last block.
    pub next_config: Hash,
}

/// A header and its transactions. Whether they belong together is `transactions_root`'s to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What validators vote on.
    pub header: Header,
    /// In the order of execution.
    pub transactions: Vec<Transaction>,
}

impl Header {
    /// The block's hash: the engine's value.
    pub fn hash(&self) -> Hash {
        sha256("torus/header/v1\0", &[&self.to_bytes()])
    }
}

/// The root that a header carries for these transactions.
pub fn transactions_root(transactions: &[Transaction]) -> Hash {
    let mut w = Writer::default();
    w.list(transactions, |w, transaction| {
        w.raw(&transaction.hash());
    });
    sha256("torus/transactions/v1\0", &[&w.into_bytes()])
}

impl Wire for Header {
    fn write(&self, w: &mut Writer) {
        w.u8(HEADER_VERSION).raw(&self.chain).u64(self.epoch).u64(self.height).raw(&self.parent).u64(self.time);
        w.index(self.proposer).raw(&self.transactions).raw(&self.state).raw(&self.config).raw(&self.next_config);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if r.u8()? != HEADER_VERSION {
            return Err(Malformed::Version);
        }
        Ok(Self {
            chain: r.array()?,
            epoch: r.u64()?,
            height: r.u64()?,
            parent: r.array()?,
            time: r.u64()?,
            proposer: r.index()?,
            transactions: r.array()?,
            state: r.array()?,
            config: r.array()?,
            next_config: r.array()?,
        })
    }
}

impl Wire for Block {
    fn write(&self, w: &mut Writer) {
        self.header.write(w);
        w.list(&self.transactions, |w, transaction| transaction.write(w));
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if r.remaining() > MAX_BLOCK {
            return Err(Malformed::TooLong);
        }
        Ok(Self { header: Header::read(r)?, transactions: r.list(MAX_TRANSACTIONS, Transaction::read)? })
    }
}
