//! Epoch, header and proofs.

use torus_statement::Verifier;
use torus_statement::dkg::KeyIndex;
use torus_statement::state::key;
use torus_statement::text::{VerifierId, VerifierName};

use super::fixture::{CLAIMS, Case, Issuer, NOW, certify, config, temporary};
use crate::{Clock, Deny, EpochState, Seen};

fn case() -> Case {
    Case::new(Issuer::eddsa())
}

#[test]
fn an_epoch_that_is_inactive_or_past_its_end_and_a_stopped_vault_release_nothing() {
    let mut case = case();
    for (active, frozen, deny) in [(false, false, Deny::Epoch), (true, true, Deny::Frozen), (false, true, Deny::Epoch)]
    {
        case.state = EpochState { active, frozen };
        assert_eq!(case.denied(), Some(deny));
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
fn a_quota_without_room_releases_nothing() {
    let mut case = case();
    case.room = false;
    assert_eq!(case.denied(), Some(Deny::Quota));
}

#[test]
fn a_key_goes_to_nobody_but_its_first_owner() {
    let mut case = case();
    let owner = case.decide().unwrap().owner;
    case.pinned = Some(owner);
    assert_eq!(case.denied(), None);
    // The state gives bob the key that alice had: a mapping that hostile nodes certified.
    case.user = key::user(&VerifierId::new("bob@example.com").unwrap());
    case.prove();
    let bob = CLAIMS.replace("alice", "bob");
    assert_eq!(case.with_claims(&bob), Some(Deny::Owner));
    case.pinned = None;
    assert_eq!(case.denied(), None);
}

#[test]
fn a_token_of_another_user_than_the_one_proven_is_refused() {
    let mut case = case();
    case.user = key::user(&VerifierId::new("bob@example.com").unwrap());
    assert_eq!(case.denied(), Some(Deny::Proof), "the proof is for alice");
    case.prove();
    assert_eq!(case.denied(), Some(Deny::TokenUser), "the token is alice's");
}

#[test]
fn a_policy_or_issuer_key_that_the_state_does_not_prove_is_refused() {
    type Bend = fn(&mut Verifier);
    let bends: [Bend; 6] = [
        |verifier| verifier.policy.issuer.push('x'),
        |verifier| verifier.policy.audiences.push("thief".into()),
        |verifier| verifier.policy.id_claim = "sub".into(),
        |verifier| verifier.policy.max_age += 1,
        |verifier| verifier.keys[0].id.push('x'),
        |verifier| verifier.keys.push(verifier.keys[0].clone()),
    ];
    for (at, bend) in bends.into_iter().enumerate() {
        let mut case = case();
        bend(&mut case.policy.value);
        assert_eq!(case.denied(), Some(Deny::Verifier), "bend {at}");
    }
}

#[test]
fn whoever_fails_several_conditions_is_told_the_first() {
    let mut case = case();
    case.pinned = Some([9; 32]);
    assert_eq!(case.denied(), Some(Deny::Owner));
    case.receipts.truncate(3);
    assert_eq!(case.denied(), Some(Deny::Receipts));
    case.commitment = None;
    assert_eq!(case.denied(), Some(Deny::NotCommitted));
    case.not_before = NOW;
    assert_eq!(case.denied(), Some(Deny::NotBefore));
    case.token.push('=');
    assert_eq!(case.denied(), Some(Deny::TokenForm));
    case.assignment.value.time += 1;
    assert_eq!(case.denied(), Some(Deny::Proof));
    case.policy.value.policy.max_age += 1;
    assert_eq!(case.denied(), Some(Deny::Verifier));
    case.seen.height = 11;
    assert_eq!(case.denied(), Some(Deny::Stale));
    case.room = false;
    assert_eq!(case.denied(), Some(Deny::Quota));
    case.state.frozen = true;
    assert_eq!(case.denied(), Some(Deny::Frozen));
    case.state.active = false;
    assert_eq!(case.denied(), Some(Deny::Epoch));
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
    assert_eq!(root.denied(), Some(Deny::Verifier), "the policy is the first that is looked for");

    let mut siblings = case();
    siblings.key.proof.siblings.pop();
    assert_eq!(siblings.denied(), Some(Deny::Proof));
}

#[test]
fn a_verifier_that_the_state_does_not_have_is_refused() {
    let mut case = case();
    case.named = VerifierName::new("unknown").unwrap();
    assert_eq!(case.denied(), Some(Deny::Verifier));
}

#[test]
fn an_entry_with_commitments_of_another_committee_size_is_refused() {
    let mut case = case();
    case.key.value.commitments.pop();
    case.prove();
    assert_eq!(case.denied(), Some(Deny::Proof));
}
