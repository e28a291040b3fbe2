//! A state in memory: for the genesis root, for tools and for tests; a node keeps its state in its store.

use std::collections::BTreeMap;

use torus_statement::Hash;

use crate::error::Failed;
use crate::execute::Outcome;
use crate::tree::StateReader;

/// Every version of a state, until it is told to forget.
#[derive(Clone, Debug, Default)]
pub struct MemoryState {
    nodes: BTreeMap<Vec<u8>, Vec<u8>>,
    values: BTreeMap<(Hash, u64), Vec<u8>>,
    stale: Vec<(u64, Vec<u8>)>,
}

impl MemoryState {
    /// Takes in what a block changed at its height.
    pub fn apply(&mut self, height: u64, outcome: &Outcome) {
        self.nodes.extend(outcome.tree.nodes.iter().cloned());
        self.stale.extend(outcome.tree.stale.iter().map(|stale| (stale.since, stale.key.clone())));
        self.values.extend(outcome.writes.iter().map(|(key, value)| ((*key, height), value.clone())));
    }

    /// Forgets what versions below `version` alone need.
    pub fn prune(&mut self, version: u64) {
        let (dead, kept) = std::mem::take(&mut self.stale).into_iter().partition(|(since, _)| *since <= version);
        self.stale = kept;
        let dead: Vec<(u64, Vec<u8>)> = dead;
        for (_, key) in dead {
            self.nodes.remove(&key);
        }
    }

    /// Nodes of the tree that are kept.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }
}

impl StateReader for MemoryState {
    fn node(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failed> {
        Ok(self.nodes.get(key).cloned())
    }

    fn value(&self, version: u64, key: &Hash) -> Result<Option<Vec<u8>>, Failed> {
        Ok(self.values.range((*key, 0)..=(*key, version)).next_back().map(|(_, value)| value.clone()))
    }
}
