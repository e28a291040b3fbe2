//! Epoch, header and proofs.

use torus_statement::dkg::KeyIndex;
use torus_statement::text::VerifierName;

use super::fixture::{Case, Issuer, NOW, certify, config, temporary};
use crate::{Clock, Deny, EpochState, Seen};

fn case() -> Case {
    Case::new(Issuer::eddsa())
}

#[test]
fn an_epoch_that_is_inactive_frozen_or_past_its_end_releases_nothing() {
    let mut case = case();
    for (active, frozen) in [(false, false), (true, true), (false, true)] {
        case.state = EpochState { active, frozen };
        assert_eq!(case.denied(), Some(Deny::Epoch));
    }
    case.state = EpochState { active: true, frozen: false };
    let end = case.config.committee().end;
    case.certified = certify(&case.config, 10, end - 1, case.certified.header().state);
    case.clock = Clock { own: end, floor: 0 };
    assert_eq!(case.denied(), Some(Deny::Epoch));
    case.clock.own = end - 1;
    assert_ne!(case.denied(), Some(Deny::Epoch));
}

#[test]
fn a_header_certified_under_another_config_is_refused() {
    let mut case = case();
    let other = config(2);
    case.certified = certify(&other, 11, NOW * 1000, case.certified.header().state);
    assert_eq!(case.denied(), Some(Deny::Header));
}

#[test]
fn a_header_older_than_one_seen_is_stale() {
    let mut case = case();
    case.seen = Seen { height: 11, time: case.seen.time };
    assert_eq!(case.denied(), Some(Deny::Stale));
    case.seen.height = 9;
    assert_eq!(case.denied(), None);
}

#[test]
fn a_header_that_is_no_longer_fresh_is_stale() {
    let mut case = case();
    // The clock is at the band's edge of the header itself; the floor is past its freshness.
    let time = case.certified.header().time;
    case.clock = Clock { own: time + 300_000, floor: time + 300_001 };
    assert_eq!(case.denied(), Some(Deny::Stale));
}

#[test]
fn a_proof_for_another_user_verifier_key_or_root_is_refused() {
    let mut moved = case();
    moved.assignment.value.keys[0] = KeyIndex::new(3, 6).unwrap();
    assert_eq!(moved.denied(), Some(Deny::Proof));

    let mut other_key = case();
    other_key.assignment.value.keys.remove(0);
    assert_eq!(other_key.denied(), Some(Deny::Proof));

    let mut entry = case();
    entry.key.value.commitments[1] = temporary(200);
    assert_eq!(entry.denied(), Some(Deny::Proof));

    let mut root = case();
    root.certified = certify(&root.config, 10, root.seen.time, [9; 32]);
    assert_eq!(root.denied(), Some(Deny::Proof));

    let mut siblings = case();
    siblings.key.proof.siblings.pop();
    assert_eq!(siblings.denied(), Some(Deny::Proof));
}

#[test]
fn a_verifier_that_the_vault_does_not_know_is_refused() {
    let mut case = case();
    case.verifier.name = VerifierName::new("unknown").unwrap();
    assert_eq!(case.denied(), Some(Deny::Verifier));
}

#[test]
fn an_entry_with_commitments_of_another_committee_size_is_refused() {
    let mut case = case();
    case.key.value.commitments.pop();
    assert_eq!(case.denied(), Some(Deny::Proof));
}
