//! Typed access to the leaves: what is written in a block lies over what was there.

use std::collections::BTreeMap;

use torus_statement::state::{Allowance, Assignment, AuditEntry, BatchEntry, KeyEntry, MemberEntry, Supply, key};
use torus_statement::text::VerifierName;
use torus_statement::{Hash, Index, Verifier, Wire};

use crate::error::Failed;
use crate::tree::StateReader;

/// A state to read: the leaves at one version, and over them those written since.
pub struct View<'a, R> {
    reader: &'a R,
    version: u64,
    writes: BTreeMap<Hash, Vec<u8>>,
}

impl<'a, R: StateReader> View<'a, R> {
    /// The state after the block of height `version`.
    pub const fn new(reader: &'a R, version: u64) -> Self {
        Self { reader, version, writes: BTreeMap::new() }
    }

    /// The leaf of a user; `None` if he has no key.
    pub fn assignment(&self, verifier: &VerifierName, user: &Hash) -> Result<Option<Assignment>, Failed> {
        self.get(&key::assignment(verifier, user), "assignment")
    }

    /// The leaf of a verifier.
    pub fn verifier(&self, name: &VerifierName) -> Result<Option<Verifier>, Failed> {
        self.get(&key::verifier(name), "verifier")
    }

    /// The leaf of a published key.
    pub fn key(&self, index: torus_statement::dkg::KeyIndex) -> Result<Option<KeyEntry>, Failed> {
        self.get(&key::key(index), "key")
    }

    /// The leaf of a batch.
    pub fn batch(&self, batch: u64) -> Result<Option<BatchEntry>, Failed> {
        self.get(&key::batch(batch), "batch")
    }

    /// The buffer.
    pub fn supply(&self) -> Result<Supply, Failed> {
        Ok(self.get(&key::supply(), "supply")?.unwrap_or_default())
    }

    /// A member's window and allowance.
    pub fn member(&self, index: Index) -> Result<MemberEntry, Failed> {
        Ok(self.get(&key::member(index), "member")?.unwrap_or_default())
    }

    /// A verifier's allowance.
    pub fn verifier_allowance(&self, name: &VerifierName) -> Result<Allowance, Failed> {
        Ok(self.get(&key::verifier_allowance(name), "verifier allowance")?.unwrap_or_default())
    }

    /// What is known of a member's audit log; `None` if no head of it came yet.
    pub fn audit(&self, index: Index) -> Result<Option<AuditEntry>, Failed> {
        self.get(&key::audit(index), "audit")
    }

    fn get<T: Wire>(&self, key: &Hash, what: &str) -> Result<Option<T>, Failed> {
        let bytes = match self.writes.get(key) {
            Some(bytes) => Some(bytes.clone()),
            None => self.reader.value(self.version, key)?,
        };
        let parse = |bytes: Vec<u8>| T::from_bytes(&bytes).map_err(|e| Failed::Damaged(format!("{what} leaf: {e}")));
        bytes.map(parse).transpose()
    }

    pub(crate) const fn reader(&self) -> &'a R {
        self.reader
    }

    pub(crate) fn put<T: Wire>(&mut self, key: Hash, value: &T) {
        self.writes.insert(key, value.to_bytes());
    }

    /// What was written and differs from what was there, in the order of the keys.
    pub(crate) fn into_changes(self) -> Result<Vec<(Hash, Vec<u8>)>, Failed> {
        let mut changes = Vec::new();
        for (key, value) in self.writes {
            if self.reader.value(self.version, &key)?.as_ref() != Some(&value) {
                changes.push((key, value));
            }
        }
        Ok(changes)
    }
}
