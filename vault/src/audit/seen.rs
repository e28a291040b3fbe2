//! What the certified state holds of this vault's own log: its peers' memory of it.
//!
//! A head that this vault signed and does not remember means that database and token are old copies both, which no counter
//! shows: the vault stops. It believes only its own signature, under a certified header.

use torus_ipc::{Deny, SeenAudit};
use torus_statement::codec::Wire;
use torus_statement::state::{AuditEntry, key};

use super::Journal;
use crate::member::Member;
use crate::store::{Change, Store, StoreError, View};

const CERTIFIED: &[u8] = b"audit-certified";
/// Heads of starts up to this one are of a past that the operator gave up.
const PAST: &[u8] = b"audit-past";

/// Takes notice of the entry that the log holds of this vault.
///
/// # Errors
/// [`Deny::Proof`] if it is not certified or not signed by this vault, [`Deny::Frozen`] if it shows that this vault has
/// forgotten records: it has stopped then; those of the header; [`Deny::Store`].
pub fn take_notice(member: &Member, seen: &SeenAudit) -> Result<(), Deny> {
    let certified = member.chain.observe(&seen.header)?;
    let place = key::audit(member.index);
    let entry = *seen.entry.verify(&certified.header().state, &place).ok_or(Deny::Proof)?;
    if !entry.newest.verifies(&member.config, member.index) {
        return Err(Deny::Proof);
    }
    let judged = judge(&member.audit, &entry).map_err(refused)?;
    if certified_entry(&member.store).map_err(refused)? != Some(entry) {
        let kept = member.audit.write(|change| change.put(member.store.meta(), CERTIFIED, &entry.to_bytes()));
        kept.map_err(refused)?;
        if entry.contradiction.is_some() {
            crate::alarm!("the network holds heads of this vault's audit log that contradict each other");
        }
    }
    match judged {
        None => Ok(()),
        Some(reason) => {
            member.chain.stop(reason);
            Err(Deny::Frozen)
        }
    }
}

/// Why this log cannot be the one that the entry is of, if so.
pub(super) fn judge(journal: &Journal, entry: &AuditEntry) -> Result<Option<&'static str>, StoreError> {
    let head = &entry.newest.head;
    journal.store().read(|view| {
        let extent = journal.extent_in(view)?;
        if head.start <= past(view, journal.store())? || head.count < extent.base {
            return Ok(None);
        }
        Ok(match journal.link_at(view, head.count)? {
            Some(link) if link == head.link => None,
            Some(_) => Some("the network holds another history of this vault's audit log: store and token are old copies, or others"),
            None => Some("the network holds a later head of this vault's audit log: store and token are old copies"),
        })
    })
}

/// The newest entry that was shown.
///
/// # Errors
/// The store fails or is damaged.
pub fn certified_entry(store: &Store) -> Result<Option<AuditEntry>, StoreError> {
    store.read(|view| entry(view.get(store.meta(), CERTIFIED)?))
}

/// The operator goes on with a log that may have forgotten: heads of starts up to this one count for no contradiction.
///
/// # Errors
/// The store fails or is damaged.
pub fn give_up_past(change: &mut Change<'_>, store: &Store, start: u64) -> Result<(), StoreError> {
    let shown = entry(change.get(store.meta(), CERTIFIED)?)?.map_or(0, |entry| entry.newest.head.start);
    change.put(store.meta(), PAST, &start.max(shown).to_be_bytes())
}

fn past(view: &View<'_>, store: &Store) -> Result<u64, StoreError> {
    let damaged = |_| StoreError::Damaged("the audit log");
    view.get(store.meta(), PAST)?.map_or(Ok(0), |bytes| bytes.try_into().map(u64::from_be_bytes).map_err(damaged))
}

fn entry(bytes: Option<&[u8]>) -> Result<Option<AuditEntry>, StoreError> {
    bytes.map(|bytes| AuditEntry::from_bytes(bytes).map_err(|_| StoreError::Damaged("the audit log"))).transpose()
}

fn refused(error: StoreError) -> Deny {
    crate::alarm!("the audit log: {error}");
    Deny::Store
}
