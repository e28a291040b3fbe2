//! Transactions that wait for a block: bounded in all and per sender, each sequence once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use torus_mapping::Reject;
use torus_statement::{Hash, Index, Transaction};

/// Most transactions in all.
const MAX_COUNT: usize = 8192;
/// Most bytes in all.
const MAX_BYTES: usize = 32 << 20;
/// Most transactions of one sender.
const MAX_OF_SENDER: usize = 1024;
/// Most bytes of one sender: his share of the whole with room for a few large ones.
const MAX_BYTES_OF_SENDER: usize = 4 << 20;
/// Fates that are remembered, for those who wait for them.
const MAX_FATES: usize = 8192;

/// What became of a transaction that this node has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits for a block.
    Waiting,
    /// It is in the block of this height.
    Committed(u64),
    /// The state refuses it by now.
    Rejected(Reject),
}

/// Why a transaction is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    /// Too much waits in all.
    #[error("the mempool is full")]
    All,
    /// Too much of this sender waits.
    #[error("too many transactions of this member wait")]
    Sender,
    /// Another transaction of the sender's waits with this sequence.
    #[error("another transaction with this sequence waits")]
    Taken,
}

#[derive(Default)]
pub(super) struct Mempool {
    waiting: BTreeMap<(Index, u64), Waiting>,
    hashes: BTreeSet<Hash>,
    of_sender: BTreeMap<Index, (usize, usize)>,
    bytes: usize,
    fates: BTreeMap<Hash, Fate>,
    order: VecDeque<Hash>,
}

struct Waiting {
    transaction: Transaction,
    hash: Hash,
    size: usize,
}

impl Mempool {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn holds(&self, hash: &Hash) -> bool {
        self.hashes.contains(hash)
    }

    pub(super) fn fate(&self, hash: &Hash) -> Option<Fate> {
        if self.holds(hash) { Some(Fate::Waiting) } else { self.fates.get(hash).copied() }
    }

    /// Whether there is room, asked before anything is verified.
    pub(super) fn room(&self, sender: Index, sequence: u64, size: usize) -> Result<(), Full> {
        let (count, bytes) = self.of_sender.get(&sender).copied().unwrap_or_default();
        if self.waiting.len() >= MAX_COUNT || self.bytes.saturating_add(size) > MAX_BYTES {
            return Err(Full::All);
        }
        if count >= MAX_OF_SENDER || bytes.saturating_add(size) > MAX_BYTES_OF_SENDER {
            return Err(Full::Sender);
        }
        if self.waiting.contains_key(&(sender, sequence)) {
            return Err(Full::Taken);
        }
        Ok(())
    }

    pub(super) fn put(&mut self, transaction: Transaction, hash: Hash, size: usize) {
        let place = (transaction.sender, transaction.sequence);
        let (count, bytes) = self.of_sender.entry(transaction.sender).or_default();
        *count = count.saturating_add(1);
        *bytes = bytes.saturating_add(size);
        self.bytes = self.bytes.saturating_add(size);
        self.hashes.insert(hash);
        self.waiting.insert(place, Waiting { transaction, hash, size });
    }

    /// Takes a transaction out and remembers what became of it.
    pub(super) fn settle(&mut self, sender: Index, sequence: u64, hash: Hash, fate: Fate) {
        if self.waiting.get(&(sender, sequence)).is_some_and(|waiting| waiting.hash == hash)
            && let Some(waiting) = self.waiting.remove(&(sender, sequence))
        {
            self.hashes.remove(&hash);
            self.bytes = self.bytes.saturating_sub(waiting.size);
            if let Some((count, bytes)) = self.of_sender.get_mut(&sender) {
                *count = count.saturating_sub(1);
                *bytes = bytes.saturating_sub(waiting.size);
            }
        }
        if self.fates.insert(hash, fate).is_none() {
            self.order.push_back(hash);
        }
        while self.order.len() > MAX_FATES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.fates.remove(&oldest);
        }
    }

    /// What waits, each sender's in the order of their sequences and the senders in turn: nobody crowds another out.
    pub(super) fn in_turn(&self) -> Vec<(Transaction, Hash, usize)> {
        let mut turns: BTreeMap<Index, usize> = BTreeMap::new();
        let mut ranked: Vec<_> = self
            .waiting
            .iter()
            .map(|((sender, _), waiting)| {
                let turn = turns.entry(*sender).or_default();
                *turn = turn.saturating_add(1);
                (*turn, *sender, waiting)
            })
            .collect();
        ranked.sort_by_key(|(turn, sender, _)| (*turn, *sender));
        ranked.into_iter().map(|(_, _, w)| (w.transaction.clone(), w.hash, w.size)).collect()
    }

    /// The highest sequence of a sender that waits.
    pub(super) fn highest(&self, sender: Index) -> Option<u64> {
        self.waiting.range((sender, 0)..=(sender, u64::MAX)).next_back().map(|((_, sequence), _)| *sequence)
    }
}

#[cfg(test)]
mod tests {
    use torus_statement::Body;

    use super::*;

    fn transaction(sender: u8, sequence: u64) -> Transaction {
        let verifier = torus_statement::text::VerifierName::new("v").unwrap();
        let body = Body::Assign { verifier, user: [0; 32] };
        Transaction { config: [0; 32], sender: Index::new(sender).unwrap(), sequence, body, signature: [0; 64] }
    }

    fn put(pool: &mut Mempool, sender: u8, sequence: u64) -> Result<(), Full> {
        let transaction = transaction(sender, sequence);
        pool.room(transaction.sender, sequence, 100)?;
        let hash = transaction.hash();
        pool.put(transaction, hash, 100);
        Ok(())
    }

    #[test]
    fn one_sender_neither_fills_the_pool_nor_comes_before_the_others() {
        let mut pool = Mempool::default();
        for sequence in 0..MAX_OF_SENDER as u64 {
            assert_eq!(put(&mut pool, 1, sequence), Ok(()));
        }
        assert_eq!(put(&mut pool, 1, 9999), Err(Full::Sender));
        assert_eq!(put(&mut pool, 2, 7), Ok(()));
        assert_eq!(put(&mut pool, 2, 7), Err(Full::Taken));
        let second = pool.in_turn().into_iter().nth(1).unwrap().0;
        assert_eq!(second.sender.get(), 2);
        let first = transaction(1, 0);
        pool.settle(first.sender, 0, first.hash(), Fate::Committed(4));
        assert_eq!(pool.fate(&first.hash()), Some(Fate::Committed(4)));
        assert_eq!(pool.fate(&second.hash()), Some(Fate::Waiting));
        assert_eq!(put(&mut pool, 1, 9999), Ok(()));
        assert_eq!(pool.highest(first.sender), Some(9999));
    }

    #[test]
    fn fates_are_forgotten_in_order() {
        let mut pool = Mempool::default();
        for sequence in 0..=MAX_FATES as u64 {
            let transaction = transaction(1, sequence);
            pool.settle(transaction.sender, sequence, transaction.hash(), Fate::Rejected(Reject::NoKeys));
        }
        assert_eq!(pool.fate(&transaction(1, 0).hash()), None);
        assert!(pool.fate(&transaction(1, 1).hash()).is_some());
        assert_eq!(pool.fates.len(), MAX_FATES);
    }
}
