//! Whether a member is listed as it is: a decision without side effects, and what follows from it.

use async_trait::async_trait;
use torus_statement::{Index, Point};

use crate::address::Address;
use crate::listing::Listing;
use crate::registry::{Member, Next, Reach, Registry, RegistryError, Seat, View};

/// Who this member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// Its account.
    pub account: Address,
    /// Its vault's lasting key.
    pub identity: Point,
    /// How others reach it.
    pub reach: Reach,
}

/// What a member does about its listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is listed rightly, as far as it is to be.
    Listed {
        /// Its seat in the current set.
        current: Option<Index>,
        /// Its seat in the next set.
        next: Option<Index>,
    },
    /// It has a seat in the next set, and must list itself.
    MustList {
        /// The next set's epoch.
        epoch: u64,
        /// Its seat there.
        index: Index,
    },
    /// It has no seat in any set.
    NoSeat,
}

/// The list and this member disagree: it must not serve. Every message says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    /// Another vault's key is listed.
    #[error(
        "epoch {epoch} lists {account} with identity key {listed}, and this node's vault has {own}: connect the node to \
         the vault that was listed; or if this vault is to take the seat, {remedy}"
    )]
    Identity {
        /// The epoch.
        epoch: u64,
        /// This member's account.
        account: Address,
        /// The listed key, compressed, hex.
        listed: String,
        /// The vault's.
        own: String,
        /// How the listing is changed.
        remedy: &'static str,
    },
    /// Other addresses are listed.
    #[error(
        "epoch {epoch} lists {account} with {field} {listed}, and this node has {own}: start it with what is listed; or if \
         the new one is right, {remedy}"
    )]
    Reach {
        /// The epoch.
        epoch: u64,
        /// This member's account.
        account: Address,
        /// The contract's name of the address.
        field: &'static str,
        /// What is listed.
        listed: String,
        /// What the node was started with.
        own: String,
        /// How the listing is changed.
        remedy: &'static str,
    },
    /// The vault's key is listed by another account.
    #[error(
        "epoch {epoch} lists this vault's identity key for account {listed}, and this node's account is {own}: give the \
         node the key of account {listed}"
    )]
    Account {
        /// The epoch.
        epoch: u64,
        /// Who lists the key.
        listed: Address,
        /// This member's account.
        own: Address,
    },
}

/// A set in the making takes a new listing.
const ANEW: &str = "list the member anew, which is possible until the set is proposed";
/// A set that is proposed or current does not change.
const NEXT: &str = "list it in the next epoch's set; this one does not change any more";

/// Compares a view with what this member is. `anew`: the operator wants a differing listing in the making replaced.
pub fn decide(view: &View, own: &Own, anew: bool) -> Result<Decision, Disagreement> {
    let current = match &view.current {
        Some(current) => fixed(current.set.epoch(), current.set.members(), own)?,
        None => None,
    };
    let next = match &view.next {
        Next::None => None,
        Next::Proposed(proposed) => fixed(proposed.set.epoch(), proposed.set.members(), own)?,
        Next::Draft(draft) => {
            let members: Vec<Member> = draft.seats.iter().filter_map(Seat::member).cloned().collect();
            let taken = compare(draft.epoch, &members, own, ANEW);
            let seat = draft.sizes.members().zip(&draft.seats).find(|(_, seat)| seat.account() == Some(own.account));
            match (seat, taken) {
                // Another account must give the key free first.
                (_, Err(error @ Disagreement::Account { .. })) => return Err(error),
                (Some((index, _)), Err(_)) if anew => return Ok(Decision::MustList { epoch: draft.epoch, index }),
                (Some((index, Seat::Given(_))), _) => return Ok(Decision::MustList { epoch: draft.epoch, index }),
                (_, taken) => taken?,
            }
        }
    };
    Ok(if current.is_none() && next.is_none() { Decision::NoSeat } else { Decision::Listed { current, next } })
}

fn fixed(epoch: u64, members: &[Member], own: &Own) -> Result<Option<Index>, Disagreement> {
    compare(epoch, members, own, NEXT)
}

/// This member's index in a set, if it is listed there as it is.
fn compare(epoch: u64, members: &[Member], own: &Own, remedy: &'static str) -> Result<Option<Index>, Disagreement> {
    let account = own.account;
    let Some(listed) = members.iter().find(|member| member.account == account) else {
        let holder = members.iter().find(|member| member.identity == own.identity);
        return match holder {
            Some(holder) => Err(Disagreement::Account { epoch, listed: holder.account, own: account }),
            None => Ok(None),
        };
    };
    if listed.identity != own.identity {
        let [listed, own] = [&listed.identity, &own.identity].map(|key| hex::encode(key.to_compressed()));
        return Err(Disagreement::Identity { epoch, account, listed, own, remedy });
    }
    for (field, there, here) in [
        ("declaredIp", &listed.reach.http, &own.reach.http),
        ("tmP2PListenAddress", &listed.reach.bft, &own.reach.bft),
        ("p2pListenAddress", &listed.reach.p2p, &own.reach.p2p),
    ] {
        if there != here {
            let (listed, own) = (there.to_string(), here.to_string());
            return Err(Disagreement::Reach { epoch, account, field, listed, own, remedy });
        }
    }
    Ok(Some(listed.index))
}

/// Signs listings: the vault.
#[async_trait]
pub trait SignListing: Send + Sync {
    /// r, s, v by the identity key over the listing's digest, or why not.
    async fn sign(&self, listing: &Listing) -> Result<[u8; 65], String>;
}

/// Why a member could not be registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// List and member disagree.
    #[error(transparent)]
    Disagreement(#[from] Disagreement),
    /// The list cannot be read or written.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The vault did not sign.
    #[error("the vault does not sign the listing for epoch {0}: {1}")]
    Vault(u64, String),
    /// The signature is not the vault's, or not of this listing.
    #[error("the vault's signature does not prove the listing for epoch {0}: is the node connected to another vault?")]
    Proof(u64),
    /// The listing was sent and is final, and the list shows something else.
    #[error("the listing for epoch {0} is final and is not shown: the owner may have begun the set anew; start again")]
    Lost(u64),
}

/// Lists this member if it must be, and returns how it is then. Call it before the node serves, and again when a set begins.
pub async fn register(
    registry: &dyn Registry,
    own: &Own,
    vault: &dyn SignListing,
    anew: bool,
) -> Result<Decision, RegistrationError> {
    let decision = decide(&registry.view().await?, own, anew)?;
    let Decision::MustList { epoch, index } = decision else { return Ok(decision) };
    let place = registry.place().filter(|place| place.account == own.account).ok_or(RegistryError::NoAccount)?;
    let listing = Listing { place, epoch, identity: own.identity, reach: own.reach.clone() };
    let proof = vault.sign(&listing).await.map_err(|why| RegistrationError::Vault(epoch, why))?;
    if !listing.is_proved_by(&proof) {
        return Err(RegistrationError::Proof(epoch));
    }
    tracing::info!(epoch, %index, account = %own.account, "this member lists itself");
    registry.list(&listing, &proof).await?;
    match decide(&registry.view().await?, own, false)? {
        Decision::MustList { epoch, .. } => Err(RegistrationError::Lost(epoch)),
        decision => Ok(decision),
    }
}

#[cfg(test)]
mod tests {
    use torus_statement::Sizes;

    use super::*;
    use crate::address::Text;
    use crate::registry::{Current, Draft, Proposed, ReadAt, Set};

    fn key(number: u64) -> Point {
        Point::new(&(k256::ProjectivePoint::GENERATOR * k256::Scalar::from(number))).unwrap()
    }

    fn account(number: u8) -> Address {
        Address::new([number; 20]).unwrap()
    }

    fn reach(number: u8) -> Reach {
        let text = |text: String| Text::new(text).unwrap();
        Reach {
            http: text(format!("host{number}:443")),
            bft: text(format!("/ip4/192.0.2.{number}/tcp/1")),
            p2p: text(format!("/ip4/192.0.2.{number}/tcp/2")),
        }
    }

    fn member(number: u8) -> Member {
        let index = Index::new(number).unwrap();
        Member { index, account: account(number), identity: key(number.into()), reach: reach(number) }
    }

    fn own(number: u8) -> Own {
        Own { account: account(number), identity: key(number.into()), reach: reach(number) }
    }

    fn sizes() -> Sizes {
        Sizes::new(5, 3, 1).unwrap()
    }

    fn set(epoch: u64) -> Set {
        Set::new(epoch, sizes(), (1..=5).map(member).collect()).unwrap()
    }

    fn view(current: bool, next: Next) -> View {
        let current = current.then(|| Current { set: set(1), config: [1; 32] });
        View { at: ReadAt::File([0; 32]), current, open_epoch: 2, next }
    }

    /// Seats of members 1 to 5: 1 and 2 listed, 3 and 4 given, 5 free.
    fn draft(listed: [Member; 2]) -> Next {
        let [one, two] = listed;
        let seats =
            vec![Seat::Listed(one), Seat::Listed(two), Seat::Given(account(3)), Seat::Given(account(4)), Seat::Free];
        Next::Draft(Draft::new(2, sizes(), seats).unwrap())
    }

    fn proposed() -> Next {
        Next::Proposed(Proposed { set: set(2), proposal: 1, committee: [2; 32] })
    }

    #[test]
    fn who_is_listed_as_it_is_has_nothing_to_do() {
        let index = Index::new(1);
        assert_eq!(
            decide(&view(true, Next::None), &own(1), false),
            Ok(Decision::Listed { current: index, next: None })
        );
        let both = Ok(Decision::Listed { current: index, next: index });
        assert_eq!(decide(&view(true, draft([member(1), member(2)])), &own(1), false), both);
        assert_eq!(decide(&view(true, proposed()), &own(1), false), both);
        // A wish to list anew is not needed, so nothing is sent.
        assert_eq!(decide(&view(true, draft([member(1), member(2)])), &own(1), true), both);
    }

    #[test]
    fn who_has_a_seat_must_list_and_who_has_none_must_not() {
        for current in [true, false] {
            let must = Decision::MustList { epoch: 2, index: Index::new(3).unwrap() };
            assert_eq!(decide(&view(current, draft([member(1), member(2)])), &own(3), false), Ok(must));
        }
        for next in [Next::None, draft([member(1), member(2)]), proposed()] {
            assert_eq!(decide(&view(true, next), &own(6), false), Ok(Decision::NoSeat));
        }
        assert_eq!(decide(&view(false, Next::None), &own(1), false), Ok(Decision::NoSeat));
    }

    #[test]
    fn another_key_is_a_disagreement_that_says_what_to_do() {
        let other = Own { identity: key(77), ..own(1) };
        for view in [view(true, Next::None), view(false, proposed()), view(false, draft([member(1), member(2)]))] {
            let error = decide(&view, &other, false).unwrap_err();
            assert!(matches!(error, Disagreement::Identity { .. }));
            let text = error.to_string();
            assert!(text.contains(&hex::encode(key(1).to_compressed())) && text.contains("connect the node"), "{text}");
        }
    }

    #[test]
    fn other_addresses_are_a_disagreement_that_names_the_field() {
        let (new, old) = (Text::new("other:1").unwrap(), reach(1));
        for (reach, named) in [
            (Reach { http: new.clone(), ..old.clone() }, "declaredIp host1:443"),
            (Reach { bft: new.clone(), ..old.clone() }, "tmP2PListenAddress /ip4/192.0.2.1/tcp/1"),
            (Reach { p2p: new, ..old }, "p2pListenAddress /ip4/192.0.2.1/tcp/2"),
        ] {
            let other = Own { reach, ..own(1) };
            let text = decide(&view(true, Next::None), &other, true).unwrap_err().to_string();
            assert!(text.contains(named) && text.contains("other:1"), "{text}");
        }
    }

    #[test]
    fn a_listing_in_the_making_is_replaced_only_if_the_operator_wants_it() {
        let other = Own { identity: key(77), ..own(1) };
        let view = view(false, draft([member(1), member(2)]));
        assert!(decide(&view, &other, false).is_err());
        assert_eq!(decide(&view, &other, true), Ok(Decision::MustList { epoch: 2, index: Index::new(1).unwrap() }));
    }

    #[test]
    fn a_key_that_another_account_lists_is_never_listed_twice() {
        let other = Own { account: account(3), ..own(1) };
        for anew in [true, false] {
            let error = decide(&view(false, draft([member(1), member(2)])), &other, anew).unwrap_err();
            assert!(matches!(error, Disagreement::Account { epoch: 2, .. }), "{error}");
        }
        let error = decide(&view(true, Next::None), &Own { account: account(9), ..own(1) }, false).unwrap_err();
        assert!(matches!(error, Disagreement::Account { epoch: 1, .. }), "{error}");
    }
}
