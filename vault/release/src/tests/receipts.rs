//! Commitments, receipts and the times around them.

use torus_statement::Point;
use torus_statement::receipt::{Receipt, hex};
use torus_statement::text::{NetworkName, VerifierName};

use super::fixture::{Case, Issuer, NOW, index, sign_receipt, temporary};
use crate::{Clock, Deny};

fn case() -> Case {
    Case::new(Issuer::eddsa())
}

#[test]
fn q_receipts_suffice_and_q_minus_one_do_not() {
    let mut case = case();
    case.receipts_of(&[1, 2, 3, 4], |_| {});
    assert_eq!(case.denied(), None);
    case.receipts_of(&[5, 2, 3, 1], |_| {});
    assert_eq!(case.denied(), None);
    case.receipts_of(&[1, 2, 3], |_| {});
    assert_eq!(case.denied(), Some(Deny::Receipts));
    case.receipts.clear();
    assert_eq!(case.denied(), Some(Deny::Receipts));
}

#[test]
fn q_receipts_of_which_one_member_signed_two_are_too_few() {
    let mut case = case();
    case.receipts_of(&[1, 2, 3, 3], |_| {});
    assert_eq!(case.denied(), Some(Deny::Receipts));
    case.receipts_of(&[1; 30], |_| {});
    assert_eq!(case.denied(), Some(Deny::Receipts));
    // Two different texts of one member, too.
    case.receipts_of(&[1, 2, 3], |_| {});
    let mut second = case.receipt(3);
    second.time -= 1;
    case.receipts.push(sign_receipt(&second, 3));
    assert_eq!(case.denied(), Some(Deny::Receipts));
}

#[test]
fn a_receipt_that_one_member_signed_in_anothers_name_does_not_count() {
    let mut case = case();
    case.receipts_of(&[1, 2, 3], |_| {});
    case.receipts.push(sign_receipt(&case.receipt(4), 3));
    assert_eq!(case.denied(), Some(Deny::Receipts));
    case.receipts.push(sign_receipt(&case.receipt(6), 3));
    assert_eq!(case.denied(), Some(Deny::Receipts));
    // What does not count does not hide the member's own.
    case.receipts.push(sign_receipt(&case.receipt(4), 4));
    assert_eq!(case.denied(), None);
}

#[test]
fn receipts_for_another_hash_key_verifier_network_or_epoch_do_not_count() {
    let bends: [fn(&mut Receipt); 5] = [
        |receipt| receipt.token[0] ^= 1,
        |receipt| receipt.temporary = temporary(2),
        |receipt| receipt.verifier = VerifierName::new("other").unwrap(),
        |receipt| receipt.network = NetworkName::new("mainnet").unwrap(),
        |receipt| receipt.epoch = 2,
    ];
    for (i, bend) in bends.into_iter().enumerate() {
        let mut case = case();
        case.receipts_of(&[1, 2, 3, 4, 5], bend);
        assert_eq!(case.denied(), Some(Deny::Receipts), "bend {i}");
    }
}

#[test]
fn one_token_under_two_verifiers_is_one_commitment() {
    // The thief takes alice's receipts for `demo` and asks under `other`, whose policy is the same.
    let mut case = case();
    let other = VerifierName::new("other").unwrap();
    case.named = other.clone();
    assert_eq!(case.denied(), Some(Deny::Verifier));
    // Were it a verifier that gives the same user a key, the receipts would still name the first.
    case.verifier(|verifier| verifier.name = other);
    assert_eq!(case.denied(), Some(Deny::Receipts));
}

#[test]
fn one_token_under_two_verifiers_needs_receipts_for_each() {
    // Even where the other verifier gives the same user a key, receipts name the verifier that was committed to.
    let mut case = case();
    case.receipts_of(&[1, 2, 3, 4, 5], |receipt| receipt.verifier = VerifierName::new("twin").unwrap());
    assert_eq!(case.denied(), Some(Deny::Receipts));
}

#[test]
fn a_second_temporary_key_for_a_held_hash_gets_nothing() {
    // The thief holds q receipts for his own key, but this vault stored the user's.
    let mut case = case();
    case.receipts_of(&[1, 2, 3, 4, 5], |receipt| receipt.temporary = temporary(66));
    assert_eq!(case.denied(), Some(Deny::Receipts));
}

#[test]
fn an_unknown_commitment_is_refused_and_never_a_zero_key() {
    let mut case = case();
    let held = case.commitment.take();
    assert_eq!(case.denied(), Some(Deny::NotCommitted));
    case.commitment = held;
    if let Some(held) = &mut case.commitment {
        held.token[31] ^= 1;
    }
    assert_eq!(case.denied(), Some(Deny::NotCommitted));
}

#[test]
fn receipts_count_from_the_window_to_the_skew_ahead() {
    for (time, counts) in
        [(NOW - 60, true), (NOW - 61, false), (NOW + 10, true), (NOW + 11, false), (0, false), (u64::MAX, false)]
    {
        let mut case = case();
        case.receipts_of(&[1, 2, 3, 4], |receipt| receipt.time = time);
        let expected = if counts { None } else { Some(Deny::Receipts) };
        assert_eq!(case.denied(), expected, "{time}");
    }
}

#[test]
fn a_receipt_counts_only_for_tokens_not_older_than_its_signers_not_before() {
    let mut case = case();
    case.receipts_of(&[1, 2, 3, 4], |receipt| receipt.not_before = NOW - 10);
    assert_eq!(case.denied(), None);
    case.receipts_of(&[1, 2, 3, 4], |receipt| receipt.not_before = NOW - 9);
    assert_eq!(case.denied(), Some(Deny::Receipts));
}

#[test]
fn a_token_older_than_not_before_after_a_restart_is_refused() {
    let mut case = case();
    case.not_before = NOW - 10;
    assert_eq!(case.denied(), None);
    case.not_before = NOW - 9;
    assert_eq!(case.denied(), Some(Deny::NotBefore));
}

#[test]
fn a_vault_rolled_back_during_a_login_gives_the_token_to_nobody() {
    // Rolled back, it forgot the user's commitment and took the thief's; its start moved not-before past the token.
    let mut case = case();
    if let Some(held) = &mut case.commitment {
        held.temporary = temporary(66);
    }
    case.receipts_of(&[1, 2, 3, 4, 5], |receipt| receipt.temporary = temporary(66));
    assert_eq!(case.denied(), None, "without not-before it would be a theft");
    case.not_before = NOW + 10;
    assert_eq!(case.denied(), Some(Deny::NotBefore));
    // And no other vault counts a receipt that it signs after such a start for the old token.
    case.not_before = 0;
    case.receipts_of(&[1, 2, 3], |receipt| receipt.temporary = temporary(66));
    let restarted = Receipt { temporary: temporary(66), not_before: NOW + 10, ..case.receipt(4) };
    case.receipts.push(sign_receipt(&restarted, 4));
    assert_eq!(case.denied(), Some(Deny::Receipts));
}

#[test]
fn a_clock_outside_the_band_decides_nothing() {
    let mut case = case();
    let newest = case.seen.time;
    for (own, inside) in [
        (newest - 20_000, true),
        (newest - 20_001, false),
        (newest + 300_000, true),
        (newest + 300_001, false),
        (newest + 600_000, false),
        (newest - 600_000, false),
        (0, false),
        (u64::MAX, false),
    ] {
        case.clock = Clock { own, floor: 0 };
        assert_eq!(case.denied() != Some(Deny::Clock), inside, "{own}");
    }
}

#[test]
fn a_clock_that_steps_back_within_the_band_revives_nothing() {
    let mut case = case();
    // Vault time was at NOW + 70 when the clock stepped back to NOW: the receipts' window has passed and stays passed.
    case.clock = Clock { own: NOW * 1000, floor: (NOW + 70) * 1000 };
    assert_eq!(case.denied(), Some(Deny::Receipts));
    // So does the token's end.
    case.clock.floor = (NOW + 110) * 1000;
    assert_eq!(case.denied(), Some(Deny::TokenTime));
    // Stepping ahead within the band makes no future receipt count for longer than the clock is there.
    case.clock = Clock { own: (NOW + 200) * 1000, floor: 0 };
    assert_eq!(case.denied(), Some(Deny::TokenTime));
}

#[test]
fn texts_that_are_no_receipts_and_nothing_at_all_are_passed_over() {
    let mut case = case();
    let good = core::mem::take(&mut case.receipts);
    for text in ["", "mug00", "\x1c\x1c\x1c\x1c\x1c\x1c\x1c\x1c\x1c", "{}", "mug00\x1cab"] {
        let mut receipt = good[0].clone();
        receipt.data = text.into();
        case.receipts.push(receipt);
    }
    let mut long = good[0].clone();
    long.data.push_str(&"x".repeat(100_000));
    case.receipts.push(long);
    assert_eq!(case.denied(), Some(Deny::Receipts));
    case.receipts.extend(good);
    assert_eq!(case.denied(), None);
}

#[test]
fn more_receipts_than_members_can_give_are_not_looked_at() {
    let mut case = case();
    let good = core::mem::take(&mut case.receipts);
    let mut bad = good[0].clone();
    bad.data.clear();
    case.receipts = core::iter::repeat_n(bad, 30).chain(good).collect();
    assert_eq!(case.denied(), Some(Deny::Receipts));
}

#[test]
fn a_receipts_key_is_compared_as_a_point_of_the_curve() {
    let mut case = case();
    let text = case.receipts[0].data.clone();
    let x = hex(&temporary(1).to_xy()[..32]);
    case.receipts[0].data = text.replace(&x, &"0".repeat(64));
    case.receipts.truncate(4);
    assert_eq!(case.denied(), Some(Deny::Receipts));
    assert!(Point::from_xy(&[0; 64]).is_err());
    assert_eq!(index(1).get(), 1);
}
