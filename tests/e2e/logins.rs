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

/// Of a login, of refused ones, and of everything that the checks before this one asked of the members.
pub(crate) fn no_log_of_a_member_holds_a_token_or_a_user(net: &mut Devnet) {
    let (email, stranger) = (fresh_email("erin"), fresh_email("mallory"));
    let token = net.mint("ES256", &email, "");
    let log_in = |token: &str| torus(net, &["login", "--verifier", VERIFIER, "--token", token, "--json"]);
    log_in(&token).expect("a login");
    // The same text again under another key, and a text that nobody signed.
    assert!(log_in(&token).is_err());
    let unsigned = format!("{}AAAA", &token[..token.len() - 4]);
    assert!(log_in(&unsigned).is_err());
    assert!(torus(net, &["lookup", "--verifier", VERIFIER, "--id", &stranger, "--json"]).is_err());

    let mut secrets: Vec<&str> = token.split('.').collect();
    // What every token and every session token begins with, and every user's id ends with.
    secrets.extend([&email[..], &stranger, "@example.com", "%40example.com", "eyJhbGciOi", "eyJ0eXAiOi", "eyJleHAiOi"]);
    let network = net.network();
    for member in network["members"].as_array().expect("members") {
        for role in ["node", "vault"] {
            let path = member["logs"][role].as_str().expect("a log");
            let log = std::fs::read(path).expect("a log that can be read");
            assert!(log.windows(7).any(|part| part == b"serving"), "{path} is no log");
            for secret in &secrets {
                let found = log.windows(secret.len()).any(|part| part.eq_ignore_ascii_case(secret.as_bytes()));
                assert!(!found, "{path} holds {secret}");
            }
        }
    }
}
