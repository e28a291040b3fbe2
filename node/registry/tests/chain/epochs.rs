//! What a member reads and says from the first seat to an epoch's end.

use std::time::Duration;

use torus_registry::{
    Decision, Disagreement, Next, RegistrationError, Registry, RegistryError, Said, Seat, SendError, Word, decide,
    register,
};
use torus_statement::Index;

use crate::anvil::Anvil;
use crate::network::{COMMITTEE, CONFIG, SIZES, founded, listed, seats};
use crate::people::{Person, accounts, open, people};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_members_list_themselves_and_found_their_network() {
    let chain = Anvil::start().await;
    let five = people(1..=5);
    let stranger = Person::new(9);
    seats(&chain, &five).await;
    let outside = open(&chain, &stranger).await;
    let view = outside.view().await.unwrap();
    assert_eq!((view.current.is_none(), view.open_epoch), (true, 1));
    let Next::Draft(draft) = &view.next else { panic!("{:?}", view.next) };
    assert_eq!(draft.seats, accounts(&five).into_iter().map(Seat::Given).collect::<Vec<_>>());
    assert_eq!(decide(&view, &stranger.own, false), Ok(Decision::NoSeat));
    let must = Decision::MustList { epoch: 1, index: Index::new(2).unwrap() };
    assert_eq!(decide(&view, &five[1].own, false), Ok(must));

    let clock = chain.clock(Duration::from_millis(40));
    let registries = listed(&chain, &five).await;
    let view = outside.view().await.unwrap();
    let Next::Draft(draft) = &view.next else { panic!("{:?}", view.next) };
    assert!(draft.is_complete() && view.is_listed(1, five[4].own.account) && !view.is_listed(1, stranger.own.account));
    // Listing again what is listed sends nothing.
    let made = chain.count(five[0].own.account).await;
    let again = register(&registries[0], &five[0].own, &five[0], false).await.unwrap();
    assert_eq!(again, Decision::Listed { current: None, next: Index::new(1) });
    assert_eq!(chain.count(five[0].own.account).await, made);

    chain.propose(1, COMMITTEE).await;
    chain.mine(3).await;
    let view = outside.view().await.unwrap();
    let Next::Proposed(proposed) = &view.next else { panic!("{:?}", view.next) };
    assert_eq!((proposed.proposal, proposed.committee), (1, COMMITTEE));
    for (person, member) in five.iter().zip(proposed.set.members()) {
        let Person { own, .. } = person;
        assert_eq!((member.account, member.identity, &member.reach), (own.account, own.identity, &own.reach));
    }

    for registry in &registries[..3] {
        assert_eq!(registry.signal_ready(1, 1, CONFIG).await.unwrap(), Said::Now);
    }
    assert_eq!(registries[0].signal_ready(1, 1, CONFIG).await.unwrap(), Said::Before);
    let ready = Word::Ready { proposal: 1, config: CONFIG };
    let words: Vec<_> = (1..=3).map(|index| (Index::new(index).unwrap(), ready)).collect();
    assert_eq!(outside.words().await.unwrap(), words);
    assert!(outside.view().await.unwrap().current.is_none());
    assert_eq!(registries[3].signal_ready(1, 1, CONFIG).await.unwrap(), Said::Now);
    drop(clock);

    let view = outside.view().await.unwrap();
    let current = view.current.as_ref().unwrap();
    assert_eq!((current.set.epoch(), current.config, view.open_epoch), (1, CONFIG, 2));
    assert_eq!((current.set.sizes().n(), &view.next), (5, &Next::None));
    assert_eq!(current.set.members()[2].reach.http.as_str(), "127.0.0.1:17003");
    // Too late: its reason comes from the contract, and nothing is paid for.
    let made = chain.count(five[4].own.account).await;
    let Err(RegistryError::Send(SendError::Refused(reason))) = registries[4].signal_ready(1, 1, CONFIG).await else {
        panic!("a word for an epoch that is current was taken");
    };
    assert_eq!(reason, "only the epoch after the current one is open");
    assert_eq!(chain.count(five[4].own.account).await, made);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_give_a_proposal_up_and_refresh_without_one() {
    let chain = Anvil::start().await;
    let five = people(1..=5);
    let registries = founded(&chain, &five).await;
    chain.begin(2, 1, SIZES, &accounts(&five)).await;
    chain.mine(3).await;
    let _clock = chain.clock(Duration::from_millis(40));
    for (registry, person) in registries.iter().zip(&five) {
        let decision = register(registry, &person.own, person, false).await.unwrap();
        assert!(matches!(decision, Decision::Listed { current: Some(_), next: Some(_) }), "{decision:?}");
    }
    chain.propose(2, COMMITTEE).await;
    chain.mine(3).await;
    // Two change their mind: a later word takes the place of an earlier one.
    for registry in &registries[..2] {
        assert_eq!(registry.signal_ready(2, 2, CONFIG).await.unwrap(), Said::Now);
    }
    for registry in &registries[..4] {
        assert_eq!(registry.signal_abort(2, 2).await.unwrap(), Said::Now);
    }
    let words = registries[4].words().await.unwrap();
    assert_eq!(words.len(), 4);
    assert!(words.iter().all(|(_, word)| *word == Word::Abort { proposal: 2 }), "{words:?}");
    let view = registries[4].view().await.unwrap();
    let Next::Draft(draft) = &view.next else { panic!("{:?}", view.next) };
    assert!(draft.is_complete());

    let config = [0xce; 32];
    for registry in &registries[..4] {
        assert_eq!(registry.signal_refresh(2, config).await.unwrap(), Said::Now);
    }
    let view = registries[4].view().await.unwrap();
    let current = view.current.unwrap();
    assert_eq!((current.set.epoch(), current.config, view.open_epoch, view.next), (2, config, 3, Next::None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_vault_or_address_is_another_does_not_serve_until_it_lists_anew() {
    let chain = Anvil::start().await;
    let five = people(1..=5);
    seats(&chain, &five).await;
    let _clock = chain.clock(Duration::from_millis(40));
    let registry = open(&chain, &five[0]).await;
    register(&registry, &five[0].own, &five[0], false).await.unwrap();

    let mut other = Person::new(1);
    other.own.identity = Person::new(7).own.identity;
    let error = register(&registry, &other.own, &other, false).await.unwrap_err();
    assert!(matches!(error, RegistrationError::Disagreement(Disagreement::Identity { .. })), "{error}");
    // Even when it is wanted: this vault signs with another key than the one that it is said to have.
    let error = register(&registry, &other.own, &other, true).await.unwrap_err();
    assert!(matches!(error, RegistrationError::Proof(1)), "{error}");

    let mut moved = Person::new(1);
    moved.own.reach.http = "elsewhere.example.org".parse_text();
    let error = register(&registry, &moved.own, &moved, false).await.unwrap_err();
    assert!(matches!(error, RegistrationError::Disagreement(Disagreement::Reach { .. })), "{error}");
    let anew = register(&registry, &moved.own, &moved, true).await.unwrap();
    assert_eq!(anew, Decision::Listed { current: None, next: Index::new(1) });
    let view = registry.view().await.unwrap();
    assert_eq!(view.listed(1).next().unwrap().reach.http.as_str(), "elsewhere.example.org");
}

trait ParseText {
    fn parse_text(&self) -> torus_registry::Text;
}

impl ParseText for str {
    fn parse_text(&self) -> torus_registry::Text {
        torus_registry::Text::new(self).unwrap()
    }
}
