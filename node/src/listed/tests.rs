//! What a list may say beside a committee's hash, which its owner writes as he likes.

use torus_registry::{Address, Current, Draft, Member, Next, Own, ReadAt, Seat, Set, View};
use torus_statement::config::{Buffer, Endpoint};
use torus_statement::{EpochConfig, Index, KeyPart};

use super::{is_astray, is_committee, may_serve, reach};
use crate::testnet::Net;

fn config() -> EpochConfig {
    let config = Net::new(5, 3, 1, Buffer { batch: 4, low_water: 4 }, |_| [0; 32]).config;
    let endpoint = |i: u8| Endpoint {
        http: format!("https://host{i}.example.org/jrpc"),
        p2p: format!("/ip4/192.0.2.{i}/tcp/1"),
        bft: format!("/ip4/192.0.2.{i}/tcp/2"),
    };
    let keys = KeyPart { endpoints: (1..=5).map(endpoint).collect(), ..config.keys().clone() };
    EpochConfig::new(config.committee().clone(), keys).unwrap()
}

/// The config's committee, listed by five accounts.
fn listed(config: &EpochConfig) -> Vec<Member> {
    let members = config.committee().members.iter().zip(&config.keys().endpoints);
    let member = |(number, (member, endpoint)): (u8, (&torus_statement::config::Member, _))| Member {
        index: Index::new(number).unwrap(),
        account: Address::new([number; 20]).unwrap(),
        identity: member.identity,
        reach: reach(endpoint).unwrap(),
    };
    (1..).zip(members).map(member).collect()
}

fn set(config: &EpochConfig, members: Vec<Member>) -> Set {
    Set::new(1, config.sizes(), members).unwrap()
}

#[test]
fn a_set_is_the_committee_only_with_its_members_at_their_seats_and_addresses() {
    let config = config();
    assert!(is_committee(&set(&config, listed(&config)), &config));

    let mut swapped = listed(&config);
    let (one, two) = (swapped[0].clone(), swapped[1].clone());
    (swapped[0].identity, swapped[0].reach) = (two.identity, two.reach);
    (swapped[1].identity, swapped[1].reach) = (one.identity, one.reach);
    assert!(!is_committee(&set(&config, swapped), &config), "two members in each other's seats");

    let mut foreign = listed(&config);
    foreign[4].identity = crate::testnet::point(77);
    assert!(!is_committee(&set(&config, foreign), &config), "somebody else in the last seat");

    let mut elsewhere = listed(&config);
    elsewhere[2].reach.http = elsewhere[3].reach.http.clone();
    assert!(!is_committee(&set(&config, elsewhere), &config), "clients of one member are led to another");
}

#[test]
fn of_an_endpoint_host_and_port_are_listed() {
    for (url, host) in [
        ("https://one.example.org/jrpc", "one.example.org"),
        ("http://127.0.0.1:17010/jrpc", "127.0.0.1:17010"),
        ("https://[2001:db8::1]:443", "[2001:db8::1]:443"),
    ] {
        assert_eq!(super::host(url), host);
    }
}

fn view(current: Option<Current>, open_epoch: u64, next: Next) -> View {
    View { at: ReadAt::File([0; 32]), current, open_epoch, next }
}

/// A set in the making, of these members.
fn draft(config: &EpochConfig, epoch: u64, members: Vec<Member>) -> Next {
    Next::Draft(Draft::new(epoch, config.sizes(), members.into_iter().map(Seat::Listed).collect()).unwrap())
}

#[test]
fn only_this_epochs_set_refuses_a_start_and_not_one_that_the_operator_wants_replaced() {
    let config = config();
    let members = listed(&config);
    let Member { account, identity, reach, .. } = members[0].clone();
    let own = Own { account, identity, reach };
    let mut moved = members.clone();
    moved[0].reach.http = moved[1].reach.http.clone();
    let current = |members: &[Member]| Some(Current { set: set(&config, members.to_vec()), config: config.hash() });
    let serves = |view: &View, anew| may_serve(view, &own, &config, anew).is_ok();

    assert!(serves(&view(current(&members), 2, Next::None), false));
    assert!(!serves(&view(current(&moved), 2, Next::None), true), "a set in force does not change");
    assert!(serves(&view(current(&members), 2, draft(&config, 2, moved.clone())), false), "the next set is another");
    let founding = view(None, 1, draft(&config, 1, moved));
    assert!(!serves(&founding, false) && serves(&founding, true));
}

#[test]
fn a_list_that_is_behind_will_follow_and_one_with_others_in_force_leads_clients_astray() {
    let config = config();
    let in_force = |epoch, members, hash| {
        let set = Set::new(epoch, config.sizes(), members).unwrap();
        is_astray(&view(Some(Current { set, config: hash }), epoch + 1, Next::None), &config)
    };
    let mut swapped = listed(&config);
    swapped[0].reach = swapped[1].reach.clone();
    assert!(!is_astray(&view(None, 1, Next::None), &config));
    assert!(!in_force(1, listed(&config), config.hash()));
    assert!(in_force(1, listed(&config), [1; 32]), "another config");
    assert!(in_force(1, swapped, config.hash()), "the config's hash beside others' addresses");
    assert!(in_force(2, listed(&config), config.hash()), "an epoch that the log has not come to");
}
