//! Reading: the state machine's view, and what the interface looks up, all of one moment.

use heed::{RoTxn, WithoutTls};
use torus_mapping::{Failed, StateReader, View, prove};
use torus_sharing::{PublishedKey, PublishedKeys};
use torus_statement::certificate::SignedHeader;
use torus_statement::dkg::{Attempt, KeyIndex};
use torus_statement::state::{Assignment, AuditEntry, BatchEntry, KeyEntry, Phase, Proven, Supply, key};
use torus_statement::text::{VerifierId, VerifierName};
use torus_statement::{Hash, Index, Point, Verifier, Wire};

use super::{Store, StoreError, owner, parse, versioned};

/// The store at one moment.
pub struct Snapshot<'s> {
    store: &'s Store,
    txn: RoTxn<'s, WithoutTls>,
    height: u64,
}

/// A user's lowest key with everything that proves it to someone who knows only the network's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedLookup {
    /// The newest header and its certificate.
    pub header: SignedHeader,
    /// What the verifier asks of a login.
    pub policy: Proven<Verifier>,
    /// The hash of the user's id.
    pub user: Hash,
    /// The user's keys.
    pub assignment: Proven<Assignment>,
    /// The lowest key's entry.
    pub key: Proven<KeyEntry>,
}

impl<'s> Snapshot<'s> {
    pub(super) fn new(store: &'s Store) -> Result<Self, StoreError> {
        let txn = store.tables.read()?;
        let height = store.tip_height(&txn)?;
        Ok(Self { store, txn, height })
    }

    /// The height of the newest block, 0 for genesis.
    pub const fn height(&self) -> u64 {
        self.height
    }

    /// The newest header and its certificate; `None` at genesis.
    pub fn header(&self) -> Result<Option<SignedHeader>, StoreError> {
        self.header_at(self.height)
    }

    /// A header and its certificate.
    pub fn header_at(&self, height: u64) -> Result<Option<SignedHeader>, StoreError> {
        let bytes = self.store.tables.headers.get(&self.txn, &height.to_be_bytes())?;
        bytes.map(|bytes| parse(bytes, "header")).transpose()
    }

    /// The state of the newest block.
    pub const fn view(&self) -> View<'_, Self> {
        View::new(self, self.height)
    }

    /// A leaf with its proof under the newest header's state root.
    pub fn proven<T: Wire>(&self, key: &Hash) -> Result<Option<Proven<T>>, Failed> {
        let Some((value, proof)) = prove(self, self.height, key)? else { return Ok(None) };
        Ok(Some(Proven { value: parse(&value, "leaf")?, proof }))
    }

    /// A user's keys, and the entry of the lowest.
    pub fn lookup(
        &self,
        verifier: &VerifierName,
        id: &VerifierId,
    ) -> Result<Option<(Assignment, KeyIndex, KeyEntry)>, Failed> {
        let view = self.view();
        let Some(assignment) = view.assignment(verifier, &key::user(id))? else { return Ok(None) };
        let Some(index) = assignment.keys.first().copied() else { return Ok(None) };
        let entry = view.key(index)?.ok_or_else(|| Failed::Damaged("an assigned key has no entry".into()))?;
        Ok(Some((assignment, index, entry)))
    }

    /// A user's lowest key with its proof under the newest certified header.
    pub fn certified(&self, verifier: &VerifierName, id: &VerifierId) -> Result<Option<CertifiedLookup>, Failed> {
        let Some(header) = self.header()? else { return Ok(None) };
        let user = key::user(id);
        let Some(policy) = self.proven::<Verifier>(&key::verifier(verifier))? else { return Ok(None) };
        let leaf = key::assignment(verifier, &user);
        let Some(assignment) = self.proven::<Assignment>(&leaf)? else { return Ok(None) };
        let Some(index) = assignment.value.keys.first().copied() else { return Ok(None) };
        let entry = self.proven(&key::key(index))?;
        let key = entry.ok_or_else(|| Failed::Damaged("an assigned key has no entry".into()))?;
        Ok(Some(CertifiedLookup { header, policy, user, assignment, key }))
    }

    /// Which key this is and, if it is assigned, its verifier and the hash of its user's id.
    #[allow(clippy::type_complexity)]
    pub fn key_by_public(
        &self,
        public: &Point,
    ) -> Result<Option<(KeyIndex, Option<(VerifierName, Hash)>)>, StoreError> {
        let Some(number) = self.store.tables.by_public.get(&self.txn, &public.to_compressed())? else {
            return Ok(None);
        };
        let number = number.try_into().map(u64::from_be_bytes).map_err(|_| super::damaged("key index"))?;
        let owned = self.store.tables.owners.get(&self.txn, &number.to_be_bytes())?.map(owner).transpose()?;
        Ok(Some((KeyIndex::from_number(number), owned)))
    }

    /// A batch's entry with its proof under the newest certified header; `None` at genesis or if there is none.
    pub fn batch(&self, batch: u64) -> Result<Option<(SignedHeader, Proven<BatchEntry>)>, Failed> {
        let Some(header) = self.header()? else { return Ok(None) };
        Ok(self.proven(&key::batch(batch))?.map(|entry| (header, entry)))
    }

    /// What is known of a member's audit log, with its proof under the newest certified header.
    pub fn audit(&self, member: Index) -> Result<Option<(SignedHeader, Proven<AuditEntry>)>, Failed> {
        let Some(header) = self.header()? else { return Ok(None) };
        Ok(self.proven(&key::audit(member))?.map(|entry| (header, entry)))
    }

    /// The attempt and canonical bytes of a published batch's keys.
    pub fn published(&self, batch: u64) -> Result<Option<(Attempt, Vec<u8>)>, Failed> {
        let view = self.view();
        let Some(entry) = view.batch(batch)? else { return Ok(None) };
        if !matches!(entry.phase, Phase::Published { .. }) {
            return Ok(None);
        }
        let mut keys = Vec::new();
        for position in 0..entry.keys {
            let leaf = KeyIndex::new(batch, position).map(|index| view.key(index)).transpose()?.flatten();
            let KeyEntry { public, commitments } =
                leaf.ok_or_else(|| Failed::Damaged("a published key has no entry".into()))?;
            keys.push(PublishedKey { public, commitments });
        }
        Ok(Some((entry.attempt_of(batch), PublishedKeys { keys }.to_bytes())))
    }

    /// Batches under way, and published ones that not all members have acknowledged, in rising order.
    pub fn active_batches(&self) -> Result<Vec<u64>, Failed> {
        let mut batches = self.supply()?.pending;
        for entry in self.store.tables.unacked.iter(&self.txn).map_err(StoreError::from)? {
            let (batch, _) = entry.map_err(StoreError::from)?;
            batches.push(batch.try_into().map(u64::from_be_bytes).map_err(|_| super::damaged("batch"))?);
        }
        batches.sort_unstable();
        batches.dedup();
        Ok(batches)
    }

    /// The buffer.
    pub fn supply(&self) -> Result<Supply, Failed> {
        self.view().supply()
    }

    /// A verifier.
    pub fn verifier(&self, name: &VerifierName) -> Result<Option<Verifier>, Failed> {
        self.view().verifier(name)
    }
}

impl StateReader for Snapshot<'_> {
    fn node(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failed> {
        let node = self.store.tables.nodes.get(&self.txn, key).map_err(StoreError::from)?;
        Ok(node.map(<[u8]>::to_vec))
    }

    fn value(&self, version: u64, key: &Hash) -> Result<Option<Vec<u8>>, Failed> {
        let values = &self.store.tables.values;
        let newest = values.get_lower_than_or_equal_to(&self.txn, &versioned(key, version));
        let newest = newest.map_err(StoreError::from)?;
        Ok(newest.filter(|(place, _)| place.starts_with(key)).map(|(_, value)| value.to_vec()))
    }
}
