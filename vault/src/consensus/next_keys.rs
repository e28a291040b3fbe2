//! This member's keys for the next epoch: made while the vault starts, since a locked vault cannot make any in a software
//! token, and certified for no committee but the one that the operator approved.

use torus_hsm::{Device, DeviceError, EpochAttempt};
use torus_ipc::{Deny, Response};
use torus_statement::codec::Wire;
use torus_statement::config::Member as Place;
use torus_statement::keycert::MemberKeys;
use torus_statement::succession::may_follow;
use torus_statement::{Committee, EpochConfig, KeyCertificate, keccak256};

use crate::configs::approved;
use crate::member::Member;
use crate::signing::identity;
use crate::store::{Store, StoreError};
use crate::succession::{fits, sound};

/// The newest attempt that a certificate was signed for.
const CERTIFIED: &[u8] = b"certified-attempt";

/// Makes the keys of the next epoch's first attempt, if they are not in the token. Before lockdown. What a death in the midst
/// left of keys that nobody was shown is destroyed first. Without them the vault serves its epoch as well: what fails
/// here is told and stops no start.
pub fn prepare(device: &mut dyn Device, store: &Store, config: &EpochConfig) {
    let next = EpochAttempt { epoch: config.committee().epoch.saturating_add(1), attempt: 0 };
    let certified = store.read(|view| Ok::<_, StoreError>(view.get(store.meta(), CERTIFIED)? == Some(&named(next))));
    let made = match (device.epoch_keys(next), certified) {
        (Ok(Some(_)), _) => Ok(()),
        (Ok(None), _) => device.generate_epoch_keys(next).map(drop),
        (Err(error @ DeviceError::Token(_)), _) => Err(error),
        (Err(error), Ok(false)) => {
            crate::warning!("the next epoch's keys, which nobody was shown, are made anew: {error}");
            device.destroy_epoch_keys(next).and_then(|()| device.generate_epoch_keys(next)).map(drop)
        }
        (Err(error), _) => Err(error),
    };
    if let Err(error) = made {
        crate::alarm!("this member has no keys for the next epoch: {error}");
    }
}

fn named(attempt: EpochAttempt) -> [u8; 12] {
    let mut name = [0; 12];
    let (epoch, number) = name.split_at_mut(8);
    epoch.copy_from_slice(&attempt.epoch.to_be_bytes());
    number.copy_from_slice(&attempt.attempt.to_be_bytes());
    name
}

/// Certifies the keys of an attempt to begin the next epoch, together with the node's p2p key.
///
/// # Errors
/// [`Deny::Malformed`]; [`Deny::Epoch`] if the committee cannot follow, or has no such member of this residency;
/// [`Deny::Approval`] if the operator did not approve it; [`Deny::Attempt`] if the token holds no keys of this attempt, or
/// the vault has no memory for this committee; those of [`sound`]; device or store fails.
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
    if approved != Some(committee.hash()) {
        return Err(Deny::Approval);
    }
    let mut places = committee.sizes.members().zip(&committee.members);
    // Where its shares live is not the committee's to say.
    let own = |place: &Place| place.identity == member.identity && place.residency == member.keys.residency;
    let (index, place) = places.find(|(_, place)| own(place)).ok_or(Deny::Epoch)?;
    fits(member.room, &committee)?;
    let wanted = EpochAttempt { epoch: committee.epoch, attempt };
    let keys = member.health.device(device.epoch_keys(wanted))?.ok_or(Deny::Attempt)?;
    let store = &member.store;
    store.write(|change| change.put(store.meta(), CERTIFIED, &named(wanted))).map_err(|error: StoreError| {
        crate::alarm!("it cannot be kept that keys are certified: {error}");
        Deny::Store
    })?;
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
    let signature = member.health.device(identity(device, &keccak256(&keys.preimage())))?;
    Ok(Response::Certificate(Box::new(KeyCertificate { keys, signature })))
}
