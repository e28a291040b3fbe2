//! The rules: what each kind of transaction must show, against the state that it meets.
//!
//! Checks come before any change, so that a refused transaction leaves nothing behind. What only the state can say is
//! apart from what signatures say, so that a mempool can ask the first again after every block at little cost.

use ed25519_dalek::{Signature as NodeSignature, VerifyingKey};
use torus_sharing::{PublishedKey, PublishedKeys};
use torus_statement::audit::{Order, SignedAuditHead};
use torus_statement::dkg::{Attempt, CertifiedDealing, KeyIndex, published_digest, quorum_signed};
use torus_statement::state::{Allowance, Assignment, AuditEntry, BatchEntry, MemberEntry, Phase, Supply};
use torus_statement::text::VerifierName;
use torus_statement::transaction::MAX_TRANSACTION;
use torus_statement::{Body, EpochConfig, Hash, Index, Signature, Transaction};

use crate::allowance::Rates;
use crate::at::At;
use crate::error::Failed;
use crate::reject::Reject;
use crate::state::View;
use crate::tree::StateReader;
use crate::window;

/// `Err` of the outer kind is the store's, of the inner kind the transaction's.
pub(crate) type Verdict<T> = Result<Result<T, Reject>, Failed>;

/// Whether the sender, a member of this config, signed the transaction with its node's key.
pub fn authenticate(config: &EpochConfig, transaction: &Transaction) -> Result<(), Reject> {
    if transaction.config != config.hash() {
        return Err(Reject::Config);
    }
    let keys = config.member(transaction.sender).ok_or(Reject::Sender)?;
    let Transaction { config, sender, sequence, body, signature } = transaction;
    let preimage = Transaction::preimage(config, *sender, *sequence, body);
    if preimage.len().saturating_add(signature.len()) > MAX_TRANSACTION {
        return Err(Reject::Size);
    }
    let key = VerifyingKey::from_bytes(&keys.p2p).map_err(|_| Reject::Signature)?;
    key.verify_strict(&preimage, &NodeSignature::from_bytes(signature)).map_err(|_| Reject::Signature)
}

/// Whether a transaction would be executed next: everything that execution checks, for a mempool's entry.
pub fn admit<R: StateReader>(
    view: &View<'_, R>,
    config: &EpochConfig,
    at: At,
    transaction: &Transaction,
) -> Result<Result<(), Reject>, Failed> {
    // First what a stranger can make this node compute: one signature.
    if let Err(reject) = authenticate(config, transaction) {
        return Ok(Err(reject));
    }
    let effect = effect(view, config, at, transaction)?;
    Ok(effect.and_then(|_| vaults_signed(config, transaction, view)))
}

/// Whether an admitted transaction is still one after further blocks: the state's part of `admit` alone.
pub fn still_admissible<R: StateReader>(
    view: &View<'_, R>,
    config: &EpochConfig,
    at: At,
    transaction: &Transaction,
) -> Result<Result<(), Reject>, Failed> {
    if transaction.config != config.hash() {
        return Ok(Err(Reject::Config));
    }
    Ok(effect(view, config, at, transaction)?.map(|_| ()))
}

/// What a transaction does; found before anything is changed.
pub(crate) struct Effect {
    pub(crate) sender: MemberEntry,
    pub(crate) change: Change,
}

/// The change of each kind.
pub(crate) enum Change {
    Assign { supply: Supply, allowance: Allowance, assignment: Assignment },
    Qualify { entry: BatchEntry },
    Publish { supply: Supply, entry: BatchEntry, keys: Vec<PublishedKey> },
    Ack { entry: BatchEntry },
    Audit { entry: AuditEntry },
}

/// What a transaction does to the state that it meets, signatures aside.
pub(crate) fn effect<R: StateReader>(
    view: &View<'_, R>,
    config: &EpochConfig,
    at: At,
    transaction: &Transaction,
) -> Verdict<Effect> {
    let mut sender = view.member(transaction.sender)?;
    if !window::fresh(&sender, transaction.sequence) {
        return Ok(Err(Reject::Sequence));
    }
    let change = match &transaction.body {
        Body::Assign { verifier, user } => assign(view, config, at, &mut sender, verifier, user)?,
        Body::Propose { attempt, dealings } => propose(view, config, at, attempt, dealings)?,
        Body::Keys { attempt, published, .. } => publish(view, config, attempt, published)?,
        Body::Ack { attempt, .. } => ack(view, attempt, transaction.sender)?,
        Body::AuditHead(head) => audit(view, transaction.sender, head)?,
    };
    window::mark(&mut sender, transaction.sequence);
    Ok(change.map(|change| Effect { sender, change }))
}

/// Whether the vaults signed what the transaction says that they signed.
pub(crate) fn vaults_signed<R: StateReader>(
    config: &EpochConfig,
    transaction: &Transaction,
    view: &View<'_, R>,
) -> Result<(), Reject> {
    match &transaction.body {
        Body::Assign { .. } => Ok(()),
        Body::Propose { attempt, dealings } => {
            let certified =
                |d: &CertifiedDealing| quorum_signed(config, &attempt.ready(config, &d.dealing), &d.readies);
            if dealings.iter().all(certified) { Ok(()) } else { Err(Reject::Readies) }
        }
        Body::Keys { attempt, published, signatures } => {
            let preimage = attempt.keys(config, &published_digest(published));
            if quorum_signed(config, &preimage, signatures) { Ok(()) } else { Err(Reject::Quorum) }
        }
        Body::Ack { attempt, signature } => {
            let digest = match view.batch(attempt.batch) {
                Ok(Some(BatchEntry { phase: Phase::Published { digest, .. }, .. })) => digest,
                _ => return Err(Reject::Phase),
            };
            acknowledged(config, transaction.sender, attempt, &digest, signature)
        }
        Body::AuditHead(head) => {
            if head.verifies(config, transaction.sender) {
                Ok(())
            } else {
                Err(Reject::AuditSignature)
            }
        }
    }
}

fn acknowledged(
    config: &EpochConfig,
    sender: Index,
    attempt: &Attempt,
    digest: &Hash,
    signature: &Signature,
) -> Result<(), Reject> {
    let keys = config.member(sender).ok_or(Reject::Sender)?;
    let signed = signature.verifies(&keys.identity, &attempt.ack(config, digest));
    if signed { Ok(()) } else { Err(Reject::AckSignature) }
}

/// The lowest unassigned key, unless the user has one: assigning again costs nothing and changes nothing.
fn assign<R: StateReader>(
    view: &View<'_, R>,
    config: &EpochConfig,
    at: At,
    sender: &mut MemberEntry,
    verifier: &VerifierName,
    user: &Hash,
) -> Verdict<Change> {
    if view.verifier(verifier)?.is_none() {
        return Ok(Err(Reject::Verifier));
    }
    if view.assignment(verifier, user)?.is_some() {
        return Ok(Err(Reject::Assigned));
    }
    let mut supply = view.supply()?;
    let Some(key) = take_lowest(&mut supply) else { return Ok(Err(Reject::NoKeys)) };
    let buffer = &config.committee().buffer;
    let Some(own) = Rates::member(buffer).take(sender.allowance, at.time) else {
        return Ok(Err(Reject::MemberAllowance));
    };
    let Some(allowance) = Rates::verifier(buffer).take(view.verifier_allowance(verifier)?, at.time) else {
        return Ok(Err(Reject::VerifierAllowance));
    };
    sender.allowance = own;
    let assignment = Assignment { keys: vec![key], time: at.time };
    Ok(Ok(Change::Assign { supply, allowance, assignment }))
}

fn take_lowest(supply: &mut Supply) -> Option<KeyIndex> {
    let (batch, next, keys) = supply.available.first_mut()?;
    let key = KeyIndex::new(*batch, *next)?;
    *next = next.saturating_add(1);
    if *next >= *keys {
        supply.available.remove(0);
    }
    supply.assigned = supply.assigned.saturating_add(1);
    Some(key)
}

/// The first valid proposal of exactly n-t certified dealings fixes the qualified set.
fn propose<R: StateReader>(
    view: &View<'_, R>,
    config: &EpochConfig,
    at: At,
    attempt: &Attempt,
    dealings: &[CertifiedDealing],
) -> Verdict<Change> {
    let mut entry = match in_force(view, attempt)? {
        Ok(entry) => entry,
        Err(reject) => return Ok(Err(reject)),
    };
    if entry.phase != Phase::Open {
        return Ok(Err(Reject::Phase));
    }
    let sizes = config.sizes();
    let members = dealings.iter().all(|d| sizes.member(d.dealing.dealer.get()).is_some());
    let rising = dealings.is_sorted_by(|a, b| a.dealing.dealer < b.dealing.dealer);
    if dealings.len() != sizes.qualified() || !members || !rising {
        return Ok(Err(Reject::Dealings));
    }
    // Fewer readies than a quorum are seen without a signature's cost.
    if dealings.iter().any(|d| d.readies.len() < sizes.q()) {
        return Ok(Err(Reject::Readies));
    }
    let dealings = dealings.iter().map(|d| d.dealing).collect();
    entry.phase = Phase::Qualified { dealings, time: at.time };
    Ok(Ok(Change::Qualify { entry }))
}

/// The keys of a qualified batch go into the buffer, in the place that their number has.
fn publish<R: StateReader>(
    view: &View<'_, R>,
    config: &EpochConfig,
    attempt: &Attempt,
    published: &[u8],
) -> Verdict<Change> {
    let mut entry = match in_force(view, attempt)? {
        Ok(entry) => entry,
        Err(reject) => return Ok(Err(reject)),
    };
    if !matches!(entry.phase, Phase::Qualified { .. }) {
        return Ok(Err(Reject::Phase));
    }
    let Ok(keys) = PublishedKeys::parse(config.sizes(), usize::from(entry.keys), published) else {
        return Ok(Err(Reject::Published));
    };
    let mut supply = view.supply()?;
    supply.pending.retain(|batch| *batch != attempt.batch);
    let place = supply.available.partition_point(|(batch, _, _)| *batch < attempt.batch);
    supply.available.insert(place, (attempt.batch, 0, entry.keys));
    entry.phase = Phase::Published { digest: published_digest(published), acks: 0 };
    Ok(Ok(Change::Publish { supply, entry, keys: keys.keys }))
}

fn ack<R: StateReader>(view: &View<'_, R>, attempt: &Attempt, sender: Index) -> Verdict<Change> {
    let mut entry = match in_force(view, attempt)? {
        Ok(entry) => entry,
        Err(reject) => return Ok(Err(reject)),
    };
    let Phase::Published { acks, .. } = &mut entry.phase else { return Ok(Err(Reject::Phase)) };
    // Members are at most 30, so every one has its bit.
    let Some(bit) = 1u32.checked_shl(u32::from(sender.get()).saturating_sub(1)) else {
        return Ok(Err(Reject::Sender));
    };
    if *acks & bit != 0 {
        return Ok(Err(Reject::Acked));
    }
    *acks |= bit;
    Ok(Ok(Change::Ack { entry }))
}

/// A member's newest head moves forward. One that no log with it can have does not move it, and is kept beside it for
/// everybody to see; of those, too, the newest.
fn audit<R: StateReader>(view: &View<'_, R>, sender: Index, head: &SignedAuditHead) -> Verdict<Change> {
    let Some(known) = view.audit(sender)? else {
        return Ok(Ok(Change::Audit { entry: AuditEntry { newest: *head, contradiction: None } }));
    };
    let refused = match known.newest.head.order(&head.head) {
        Order::Contradiction => Reject::AuditContradicted,
        Order::Earlier | Order::Later => Reject::AuditOld,
    };
    Ok(known.with(*head).map(|entry| Change::Audit { entry }).ok_or(refused))
}

fn in_force<R: StateReader>(view: &View<'_, R>, attempt: &Attempt) -> Verdict<BatchEntry> {
    Ok(match view.batch(attempt.batch)? {
        None => Err(Reject::Batch),
        Some(entry) if entry.attempt != attempt.attempt => Err(Reject::Attempt),
        Some(entry) => Ok(entry),
    })
}
