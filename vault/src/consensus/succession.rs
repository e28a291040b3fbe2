//! Taking up the next epoch: the last block of this one names its config, the operator approved its committee, and the
//! token holds the keys that it names for this member. Nothing else brings a committee in: q nodes alone cannot.

use std::sync::atomic::Ordering;

use torus_audit::Event;
use torus_hsm::{Device, EpochAttempt, EpochPublic};
use torus_ipc::{Deny, Response};
use torus_statement::codec::Wire;
use torus_statement::keycert::MemberKeys;
use torus_statement::receipt::hex;
use torus_statement::{Committee, EpochConfig};

use crate::configs::{approved, is_approved};
use crate::freeze::is_held;
use crate::member::Member;
use crate::next_keys::is_certified;
use crate::store::StoreError;

/// Whether anything of the next epoch may be done here at all: the operator has not stopped the vault, nothing
/// contradicts its state, and its store is as new as its token.
///
/// # Errors
/// [`Deny::Frozen`], [`Deny::Epoch`].
pub fn sound(member: &Member) -> Result<(), Deny> {
    if member.stopped(&member.chain.stand()) {
        return Err(Deny::Frozen);
    }
    if member.behind { Err(Deny::Epoch) } else { Ok(()) }
}

/// Whether a vault with so many bytes for the secrets of key generation could serve a committee: a batch of it fits.
///
/// # Errors
/// [`Deny::Attempt`].
pub fn fits(room: usize, committee: &Committee) -> Result<(), Deny> {
    let need = torus_protocol::room(committee.sizes, committee.buffer.batch.into());
    if need <= room {
        return Ok(());
    }
    crate::alarm!(
        "the next epoch is not for this vault: a batch of it needs {} KiB of memory for secrets, and the system lets this \
         user lock {} (LimitMEMLOCK=infinity in the unit, `ulimit -l`)",
        need >> 10,
        room >> 10
    );
    Err(Deny::Attempt)
}

/// Takes up the config in these bytes. If this member is in it, the vault then ends, and its next start is in the new
/// epoch; one that has left goes on as it is, in an epoch that has ended.
///
/// # Errors
/// [`Deny::Epoch`] as long as no last block is certified, or if it names another config; [`Deny::Approval`] if the
/// operator did not approve the committee, or the config names other keys for this member than the token holds, or another
/// certificate of them than the one that was signed last;
/// [`Deny::Attempt`] if it does not fit into this vault; those of [`sound`]; [`Deny::Malformed`]; device or store fails.
/// Nothing has changed then.
pub fn take_up(member: &Member, device: &mut dyn Device, bytes: &[u8]) -> Result<Response, Deny> {
    sound(member)?;
    let named = member.chain.awaited()?;
    let next = EpochConfig::from_bytes(bytes).map_err(|_| Deny::Malformed)?;
    if next.hash() != named {
        return Err(Deny::Epoch);
    }
    let committee = next.committee();
    let (epoch, hash) = (committee.epoch, committee.hash());
    if approved(&member.store).map_err(|error| unread(&error))? != Some(hash) {
        crate::alarm!(
            "the log has ended the epoch and names a committee for epoch {epoch} that is not approved here: {}. See \
             `torus-vault approve-epoch`",
            hex(&hash)
        );
        return Err(Deny::Approval);
    }
    let own = next.member_of(&member.identity);
    if let Some(own) = own {
        let attempt = EpochAttempt { epoch, attempt: next.keys().attempt };
        own_keys(own, member.health.device(device.epoch_keys(attempt))?)?;
        fits(member.room, committee)?;
    }
    let last = member.chain.stand().time;
    let (stays, guards) = (own.is_some(), member.keeper.entering(last));
    let certificate = own.map(|own| (EpochAttempt { epoch, attempt: own.attempt }, own.fingerprint()));
    let store = &member.store;
    member.chain.follow(next, |change| {
        // As they are now: the operator may have spoken since.
        if is_held(change, store)? {
            return Ok(Err(Deny::Frozen));
        }
        // A certificate of these keys that the operator has taken back is none, though its signature is good.
        let certified = match &certificate {
            Some((attempt, certificate)) => is_certified(change, store, *attempt, certificate)?,
            None => true,
        };
        if !certified || !is_approved(change, store, &hash)? {
            return Ok(Err(Deny::Approval));
        }
        member.keeper.keep_entering(change, &guards)?;
        let event = Event::Epoch { epoch, network: member.network, config: named };
        member.audit.append(change, event).map(|_| Ok(()))
    })?;
    member.keeper.enter(&guards, last);
    if stays {
        crate::info!("epoch {epoch} is taken up: the vault ends, and starts in it");
        member.leaving.store(true, Ordering::Release);
        return Ok(Response::TakenUp);
    }
    crate::info!("epoch {epoch} has begun without this member: it votes, commits and releases no more");
    Ok(Response::Done)
}

fn own_keys(named: &MemberKeys, held: Option<EpochPublic>) -> Result<(), Deny> {
    let same = held.is_some_and(|held| held.consensus == named.consensus && held.envelope == named.envelope);
    if same {
        return Ok(());
    }
    crate::alarm!("the next epoch's config names other keys for this member than its token holds: it is not taken up");
    Err(Deny::Approval)
}

fn unread(error: &StoreError) -> Deny {
    crate::alarm!("the operator's approval cannot be read: {error}");
    Deny::Store
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keygen::tests::device::TestDevice;
    use crate::keygen::tests::world;

    #[test]
    fn a_committee_whose_batches_have_no_room_here_is_not_taken_up() {
        let mut devices: Vec<Box<dyn Device>> =
            (1..=5).map(|member| Box::new(TestDevice::new(member)) as Box<dyn Device>).collect();
        let mut committee = world::config(&mut devices, 1).committee().clone();
        committee.buffer.batch = 256;
        let need = torus_protocol::room(committee.sizes, 256);
        assert_eq!(fits(need, &committee), Ok(()));
        assert_eq!(fits(need - 1, &committee), Err(Deny::Attempt));
    }
}
