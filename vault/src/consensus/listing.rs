//! The statement by which this member lists itself in the contract, built here and signed by the identity.
//!
//! No word of the operator's is asked for. The contract moves no share and brings in no committee, and a node that lies
//! about account or addresses gets this vault listed for an account that the contract's owner gave a seat, and nothing
//! else. Nor could there be his word: he approves a committee, and that is complete once its members are listed.
//!
//! Votes need the same device. So one listing is signed once, and new ones are few an hour: each is counted, durably and
//! in the audit log, before the device is asked, whatever the device and the disk do then.

use torus_audit::Event;
use torus_hsm::Device;
use torus_ipc::{Deny, Response};
use torus_statement::codec::{Malformed, Reader, Wire, Writer};
use torus_statement::receipt::hex;
use torus_statement::{Hash, Listing};

use crate::member::Member;
use crate::signing::identity;
use crate::store::StoreError;

/// New listings that an hour has room for: a member needs one an epoch, and some more if its addresses change.
pub const AN_HOUR: usize = 6;

const HOUR: u64 = 3_600_000;
const KEY: &[u8] = b"listings";
const VERSION: u8 = 1;

/// Signs a listing for the epoch in force or the one after it; the same again gets the same signature.
///
/// # Errors
/// [`Deny::Epoch`] for another epoch; [`Deny::Quota`] above [`AN_HOUR`]; those of [`Member::serves`]; device or store
/// fails.
pub fn sign(member: &Member, device: &mut dyn Device, listing: &Listing) -> Result<Response, Deny> {
    member.serves()?;
    let epoch = member.config.committee().epoch;
    if listing.epoch != epoch && Some(listing.epoch) != epoch.checked_add(1) {
        return Err(Deny::Epoch);
    }
    let digest = listing.digest(&member.identity);
    let mut listed = Listed::read_from(member).map_err(|error| failed(&error))?;
    if let Some(signature) = listed.signature(&digest) {
        return Ok(Response::Listed(signature));
    }
    let (guards, own) = member.keeper.look();
    if !listed.begin(own.max(guards.floor), digest) {
        crate::warning!("the node asks for more than {AN_HOUR} new listings in an hour");
        return Err(Deny::Quota);
    }
    // On record before it is done: from here on it may be signed.
    let event = Event::Listed {
        epoch: listing.epoch,
        account: listing.account,
        contract: listing.contract,
        chain: listing.chain,
        digest,
    };
    listed.keep(member, Some(event)).map_err(|error| failed(&error))?;
    let signature = member.health.device(identity(device, &digest))?;
    let signature = signature.with_recovery(&member.identity, &digest).ok_or(Deny::Device)?;
    listed.end(&digest, signature);
    listed.keep(member, None).map_err(|error| {
        crate::alarm!("a listing is signed, and its signature is not kept; asked for again it counts again: {error}");
        Deny::Store
    })?;
    crate::info!(
        "signed a listing for epoch {} under account 0x{} in contract 0x{} on chain {}",
        listing.epoch,
        hex(&listing.account.0),
        hex(&listing.contract.0),
        listing.chain
    );
    // The operator may have spoken meanwhile.
    member.serves()?;
    Ok(Response::Listed(signature))
}

fn failed(error: &StoreError) -> Deny {
    crate::alarm!(
        "what was listed before cannot be read, or that a listing begins not be kept, so none is signed: {error}"
    );
    Deny::Store
}

/// The newest listings, oldest first, no more than an hour has room for. The votes' thread alone has them.
#[derive(Debug, PartialEq, Eq)]
struct Listed(Vec<One>);

/// A listing that was begun.
#[derive(Debug, PartialEq, Eq)]
struct One {
    /// When, in milliseconds since 1970.
    begun: u64,
    digest: Hash,
    /// None if the device or the disk failed: asked for again, it counts again.
    signature: Option<[u8; 65]>,
}

impl Listed {
    fn read_from(member: &Member) -> Result<Self, StoreError> {
        let store = &member.store;
        store.read(|view| match view.get(store.meta(), KEY)? {
            None => Ok(Self(Vec::new())),
            Some(bytes) => Self::from_bytes(bytes).map_err(|_| StoreError::Damaged("listings")),
        })
    }

    /// The signature of this listing, if it is among those that are remembered.
    fn signature(&self, digest: &Hash) -> Option<[u8; 65]> {
        self.0.iter().filter(|one| one.digest == *digest).find_map(|one| one.signature)
    }

    /// Counts a new one; false if the hour has no room.
    fn begin(&mut self, now: u64, digest: Hash) -> bool {
        if self.0.len() >= AN_HOUR {
            // A clock that was ahead and is right again holds nobody up for longer than an hour either.
            if self.0.first().is_some_and(|oldest| oldest.begun.abs_diff(now) < HOUR) {
                return false;
            }
            self.0.remove(0);
        }
        self.0.push(One { begun: now, digest, signature: None });
        true
    }

    fn end(&mut self, digest: &Hash, signature: [u8; 65]) {
        if let Some(one) = self.0.iter_mut().rfind(|one| one.digest == *digest) {
            one.signature = Some(signature);
        }
    }

    /// Makes it durable, with an event.
    fn keep(&self, member: &Member, event: Option<Event>) -> Result<(), StoreError> {
        member.audit.write(|change| {
            change.put(member.store.meta(), KEY, &self.to_bytes())?;
            event.map_or(Ok(()), |event| member.audit.append(change, event).map(drop))
        })
    }
}

impl Wire for Listed {
    fn write(&self, w: &mut Writer) {
        w.u8(VERSION).list(&self.0, |w, one| {
            w.u64(one.begun).raw(&one.digest).option(one.signature.as_ref(), |w, signature| {
                w.raw(signature);
            });
        });
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if r.u8()? != VERSION {
            return Err(Malformed::Version);
        }
        r.list(AN_HOUR, |r| Ok(One { begun: r.u64()?, digest: r.array()?, signature: r.option(Reader::array)? }))
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use torus_statement::Address;
    use torus_statement::text::ListedText;

    use super::*;
    use crate::freeze::Word;
    use crate::keygen::tests::device::TestDevice;
    use crate::users::tests::member;

    const T: u64 = 1_800_000_000_000;

    fn listing(account: u8) -> Listing {
        let text = |text| ListedText::new(text).unwrap();
        Listing {
            chain: 1,
            contract: Address([1; 20]),
            epoch: 1,
            account: Address([account; 20]),
            declared_ip: text("a.example"),
            bft: text("/dns4/a.example/tcp/1"),
            p2p: text("/dns4/a.example/tcp/2"),
        }
    }

    #[test]
    fn an_hour_slides_and_has_room_for_six() {
        let mut listed = Listed(Vec::new());
        let minute = HOUR / 60;
        for number in 0..6u8 {
            assert!(listed.begin(T + u64::from(number) * minute, [number; 32]));
        }
        assert!(!listed.begin(T + HOUR - 1, [6; 32]));
        assert!(listed.begin(T + HOUR, [6; 32]), "the first is an hour ago");
        assert!(!listed.begin(T + HOUR + minute - 1, [7; 32]));
        assert!(listed.begin(T + HOUR + minute, [7; 32]));
        assert_eq!(listed.0.len(), AN_HOUR, "what is remembered is bounded");
        // A clock that jumped back waits an hour at most.
        assert!(!listed.begin(T + HOUR, [8; 32]));
        assert!(listed.begin(T - HOUR, [8; 32]));
    }

    #[test]
    fn a_signature_is_remembered_for_its_listing_until_six_others_came() {
        let mut listed = Listed(Vec::new());
        assert!(listed.begin(T, [1; 32]));
        assert_eq!(listed.signature(&[1; 32]), None, "it was only begun");
        // Begun again after a failure: both count, one is signed.
        assert!(listed.begin(T, [1; 32]));
        listed.end(&[1; 32], [9; 65]);
        assert_eq!((listed.signature(&[1; 32]), listed.signature(&[2; 32])), (Some([9; 65]), None));
        assert_eq!(Listed::from_bytes(&listed.to_bytes()), Ok(Listed(listed.0.drain(..).collect())));
        assert!(listed.begin(T, [1; 32]));
        listed.end(&[1; 32], [9; 65]);
        for number in 2..=7u8 {
            assert!(listed.begin(T + u64::from(number) * HOUR, [number; 32]));
        }
        assert_eq!(listed.signature(&[1; 32]), None);
    }

    #[test]
    fn a_device_that_fails_is_asked_no_more_often_than_one_that_works() {
        let dir = tempfile::tempdir().unwrap();
        let (member, mut device) = (member(dir.path()), TestDevice::new(1));
        device.broken.store(true, Ordering::Relaxed);
        for _ in 0..AN_HOUR {
            assert_eq!(sign(&member, &mut device, &listing(1)), Err(Deny::Device));
        }
        device.broken.store(false, Ordering::Relaxed);
        assert_eq!(sign(&member, &mut device, &listing(1)), Err(Deny::Quota));
        assert_eq!(device.signatures.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_listing_is_signed_once_and_another_epochs_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let (member, mut device) = (member(dir.path()), TestDevice::new(1));
        let first = sign(&member, &mut device, &listing(1));
        let Ok(Response::Listed(signature)) = &first else { panic!("{first:?}") };
        assert!(listing(1).verifies(&member.identity, signature));
        assert_eq!(sign(&member, &mut device, &listing(1)), first);
        for epoch in [0, 3, u64::MAX] {
            let other = Listing { epoch, ..listing(1) };
            assert_eq!(sign(&member, &mut device, &other), Err(Deny::Epoch));
        }
        assert_eq!(device.signatures.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_freeze_while_the_device_signs_keeps_the_signature_in() {
        let dir = tempfile::tempdir().unwrap();
        let (member, mut device) = (member(dir.path()), TestDevice::new(1));
        let frozen = member.clone();
        device.while_signing = Some(Arc::new(move |_| {
            frozen.obey(&Word::Freeze("a test".to_owned())).unwrap();
        }));
        assert_eq!(sign(&member, &mut device, &listing(1)), Err(Deny::Frozen));
        assert_eq!(sign(&member, &mut device, &listing(1)), Err(Deny::Frozen));
        member.obey(&Word::Unfreeze).unwrap();
        assert!(matches!(sign(&member, &mut device, &listing(1)), Ok(Response::Listed(_))));
        assert_eq!(device.signatures.load(Ordering::Relaxed), 1);
    }
}
