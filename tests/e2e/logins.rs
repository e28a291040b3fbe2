//! Users and their keys.

use crate::client::{VERIFIER, fresh_email, login, torus};
use crate::devnet::Devnet;

pub(crate) fn a_new_user_gets_a_key_and_keeps_it(net: &mut Devnet) {
    let email = fresh_email("alice");
    let first = login(net, &email);
    assert!(first.new);
    for _ in 0..2 {
        let again = login(net, &email);
        assert_eq!((&again.address, &again.x), (&first.address, &first.x));
    }
    // Once the assignment is older than the window in which it counts as new, it no longer does.
    std::thread::sleep(std::time::Duration::from_secs(11));
    assert!(!login(net, &email).new);
}

pub(crate) fn two_users_have_two_keys(net: &mut Devnet) {
    let (alice, bob) = (login(net, &fresh_email("alice")), login(net, &fresh_email("bob")));
    assert_ne!(alice.address, bob.address);
    assert_ne!(alice.x, bob.x);
}

pub(crate) fn an_account_can_be_resolved_before_its_first_login(net: &mut Devnet) {
    let email = fresh_email("carol");
    let unknown = torus(net, &["lookup", "--verifier", VERIFIER, "--id", &email, "--json"]);
    assert!(unknown.is_err(), "{unknown:?}");
    let assigned = torus(net, &["assign", "--verifier", VERIFIER, "--id", &email, "--json"]).expect("assigned");
    let found = torus(net, &["lookup", "--verifier", VERIFIER, "--id", &email, "--json"]).expect("found");
    assert_eq!(assigned["address"], found["address"]);
    assert_eq!(login(net, &email).address, found["address"].as_str().expect("an address"));
}

pub(crate) fn names_that_differ_in_case_are_one_user(net: &mut Devnet) {
    let email = fresh_email("dora");
    let lower = login(net, &email);
    let upper = login(net, &email.to_uppercase());
    assert_eq!(lower.address, upper.address);
}
