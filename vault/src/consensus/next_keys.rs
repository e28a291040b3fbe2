//! This member's keys for the next epoch: made while the vault starts, since a locked vault cannot make any in a software
//! token, and certified for no committee but the one that the operator approved.

use torus_hsm::{Device, DeviceError, EpochAttempt};
use torus_ipc::{Deny, Response};
use torus_statement::codec::Wire;
use torus_statement::keycert::MemberKeys;
use torus_statement::succession::may_follow;
use torus_statement::{Committee, EpochConfig, KeyCertificate, keccak256};

use crate::configs::approved;
use crate::member::Member;
use crate::signing::identity;

/// Makes the keys of the next epoch's first attempt, if they are not in the token. Before lockdown. What is there of keys
/// that are not whole, as after a death in the midst, is destroyed first: no epoch can begin with them.
///
/// # Errors
/// The device fails.
pub fn prepare(device: &mut dyn Device, config: &EpochConfig) -> Result<(), DeviceError> {
    let next = EpochAttempt { epoch: config.committee().epoch.saturating_add(1), attempt: 0 };
    match device.epoch_keys(next) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => device.generate_epoch_keys(next).map(drop),
        Err(error @ DeviceError::Token(_)) => Err(error),
        Err(error) => {
            crate::warning!("the next epoch's keys are made anew: {error}");
            device.destroy_epoch_keys(next)?;
            device.generate_epoch_keys(next).map(drop)
        }
    }
}

/// Certifies the keys of an attempt to begin the next epoch, together with the node's p2p key.
///
/// # Errors
/// [`Deny::Malformed`]; [`Deny::Epoch`] if the committee cannot follow or has no such member; [`Deny::Approval`] if the
/// operator did not approve it; [`Deny::Attempt`] if the token holds no keys of this attempt; device or store fails.
pub fn certify(
    member: &Member,
    device: &mut dyn Device,
    committee: &[u8],
    (attempt, p2p): (u32, [u8; 32]),
) -> Result<Response, Deny> {
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
    let (index, place) = places.find(|(_, place)| place.identity == member.identity).ok_or(Deny::Epoch)?;
    let epoch = committee.epoch;
    let keys = member.health.device(device.epoch_keys(EpochAttempt { epoch, attempt }))?.ok_or(Deny::Attempt)?;
    let keys = MemberKeys {
        network: committee.network,
        epoch,
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
