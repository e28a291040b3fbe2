//! This member's keys for the next epoch: made while the vault starts, since a locked vault cannot make any in a software
//! token, and certified for no committee but the one that the operator approved.

use torus_audit::{Event, KeyAct};
use torus_hsm::{Device, DeviceError, EpochAttempt};
use torus_ipc::{Deny, Response};
use torus_statement::codec::Wire;
use torus_statement::config::Member as Place;
use torus_statement::keycert::MemberKeys;
use torus_statement::succession::may_follow;
use torus_statement::{Committee, EpochConfig, Hash, KeyCertificate, keccak256};

use crate::audit::Journal;
use crate::configs::{approved, is_approved};
use crate::member::Member;
use crate::signing::identity;
use crate::store::{Change, Store, StoreError};
use crate::succession::{fits, sound};

/// The newest attempt that a certificate was signed for, and the fingerprint of what it says: there is one.
const CERTIFIED: &[u8] = b"certified-attempt";
/// The newest attempt that any certificate was ever signed for, whoever has forgotten it since.
const SHOWN: &[u8] = b"shown-attempt";

/// Makes the keys of the next epoch's first attempt, if they are not in the token. Before lockdown. What a death in the midst
/// left of keys that nobody was shown is destroyed first; keys that were certified are never replaced. Without them the
/// vault serves its epoch as well: what fails here is told and stops no start.
pub fn prepare(device: &mut dyn Device, store: &Store, audit: &Journal, config: &EpochConfig) {
    let next = EpochAttempt { epoch: config.committee().epoch.saturating_add(1), attempt: 0 };
    if let Err(error) = make(device, store, audit, next) {
        crate::alarm!("this member has no keys for the next epoch: {error}");
    }
}

/// Forgets which certificate was signed, in a transaction of the caller's: the next one may say something else.
///
/// # Errors
/// The store fails.
pub fn forget(change: &mut Change<'_>, store: &Store) -> Result<(), StoreError> {
    change.delete(store.meta(), CERTIFIED).map(drop)
}

fn make(device: &mut dyn Device, store: &Store, audit: &Journal, next: EpochAttempt) -> Result<(), NotMade> {
    let held = match device.epoch_keys(next) {
        Ok(Some(_)) => return Ok(()),
        Err(error @ DeviceError::Token(_)) => return Err(error.into()),
        Ok(None) => None,
        Err(error) => Some(error),
    };
    if store.read(|view| Ok::<_, StoreError>(view.get(store.meta(), SHOWN)? == Some(&named(next))))? {
        return Err(held.map_or(NotMade::Lost, NotMade::Device));
    }
    // On record before it is done: a log that says too much is the one to have.
    let (EpochAttempt { epoch, attempt }, broken) = (next, held.is_some());
    let kept: Result<(), StoreError> = audit.write(|change| {
        if broken {
            audit.append(change, Event::Keys { epoch, attempt, act: KeyAct::Destroyed })?;
        }
        audit.append(change, Event::Keys { epoch, attempt, act: KeyAct::Made }).map(drop)
    });
    kept?;
    if let Some(error) = held {
        crate::warning!("the next epoch's keys, which nobody was shown, are made anew: {error}");
        device.destroy_epoch_keys(next)?;
    }
    Ok(device.generate_epoch_keys(next).map(drop)?)
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
enum NotMade {
    #[error("they were certified, and are not in the token any more: the next attempt, or a new epoch, makes others")]
    Lost,
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn named(attempt: EpochAttempt) -> [u8; 12] {
    let mut name = [0; 12];
    let (epoch, number) = name.split_at_mut(8);
    epoch.copy_from_slice(&attempt.epoch.to_be_bytes());
    number.copy_from_slice(&attempt.attempt.to_be_bytes());
    name
}

/// What is kept of a certificate.
fn kept_of(attempt: EpochAttempt, certificate: &Hash) -> Vec<u8> {
    [&named(attempt)[..], certificate].concat()
}

/// Whether this is the certificate that was signed last, as a transaction finds it.
///
/// # Errors
/// The store fails.
pub fn is_certified(
    change: &Change<'_>,
    store: &Store,
    attempt: EpochAttempt,
    certificate: &Hash,
) -> Result<bool, StoreError> {
    Ok(change.get(store.meta(), CERTIFIED)?.is_some_and(|kept| kept == kept_of(attempt, certificate)))
}

/// Makes sure that this is the one certificate of its attempt, by an approval that still stands, and on record.
fn keep(member: &Member, committee: &Hash, attempt: EpochAttempt, certificate: &Hash) -> Result<(), Deny> {
    let (store, wanted) = (&member.store, kept_of(attempt, certificate));
    let kept: Result<Result<(), Deny>, StoreError> = member.audit.write(|change| {
        if !is_approved(change, store, committee)? {
            return Ok(Err(Deny::Approval));
        }
        match change.get(store.meta(), CERTIFIED)? {
            Some(kept) if kept == wanted => return Ok(Ok(())),
            // Neither another one of this attempt, nor one of an attempt before.
            Some(kept) if *kept >= named(attempt)[..] => return Ok(Err(Deny::Attempt)),
            _ => {}
        }
        change.put(store.meta(), CERTIFIED, &wanted)?;
        change.put(store.meta(), SHOWN, &named(attempt))?;
        let EpochAttempt { epoch, attempt } = attempt;
        member.audit.append(change, Event::Keys { epoch, attempt, act: KeyAct::Certified(*certificate) })?;
        Ok(Ok(()))
    });
    match kept {
        Ok(Err(Deny::Attempt)) => {
            crate::alarm!(
                "the node asks for a second certificate of this member's keys for epoch {}: of another p2p key, or of an \
                 attempt that is past. `torus-vault withdraw-epoch` and a new approval allow it",
                attempt.epoch
            );
            Err(Deny::Attempt)
        }
        Ok(kept) => kept,
        Err(error) => {
            crate::alarm!("it cannot be kept that keys are certified: {error}");
            Err(Deny::Store)
        }
    }
}

/// Certifies the keys of an attempt to begin the next epoch, together with the node's p2p key.
///
/// # Errors
/// [`Deny::Malformed`]; [`Deny::Epoch`] if the committee cannot follow, or has no such member of this residency;
/// [`Deny::Approval`] if the operator did not approve it; [`Deny::Attempt`] if the token holds no keys of this attempt, if
/// another p2p key was certified with them, or if the vault has no memory for this committee; those of [`sound`]; device or store fails.
pub fn certify(
    member: &Member,
    device: &mut dyn Device,
    committee: &[u8],
    (attempt, p2p): (u32, [u8; 32]),
) -> Result<Response, Deny> {
    sound(member)?;
    let committee = Committee::from_bytes(committee).map_err(|_| Deny::Malformed)?;
    may_follow(&committee, member.config.committee(), &member.config.hash()).map_err(|_| Deny::Epoch)?;
    let approved = approved(&member.store).map_err(|error| {
        crate::alarm!("the operator's approval cannot be read: {error}");
        Deny::Store
    })?;
    let committee_hash = committee.hash();
    if approved != Some(committee_hash) {
        return Err(Deny::Approval);
    }
    let mut places = committee.sizes.members().zip(&committee.members);
    // Where its shares live is not the committee's to say.
    let own = |place: &Place| place.identity == member.identity && place.residency == member.keys.residency;
    let (index, place) = places.find(|(_, place)| own(place)).ok_or(Deny::Epoch)?;
    fits(member.room, &committee)?;
    let wanted = EpochAttempt { epoch: committee.epoch, attempt };
    let keys = member.health.device(device.epoch_keys(wanted))?.ok_or(Deny::Attempt)?;
    let keys = MemberKeys {
        network: committee.network,
        epoch: wanted.epoch,
        attempt,
        index,
        identity: member.identity,
        envelope: keys.envelope,
        consensus: keys.consensus,
        p2p,
        residency: place.residency,
    };
    keep(member, &committee_hash, wanted, &keys.fingerprint())?;
    let signature = member.health.device(identity(device, &keccak256(&keys.preimage())))?;
    Ok(Response::Certificate(Box::new(KeyCertificate { keys, signature })))
}
