//! Attacks and known weaknesses of the forerunner that no other module here names.

use alloc::format;
use alloc::string::ToString;

use super::fixture::{CLAIMS, Case, Issuer, NOW, certify};
use crate::{Clock, Deny, Seen};

/// A login under a header that a hostile proposer stamped so many seconds ahead of this vault's clock.
fn stamped(ahead: u64) -> Case {
    let mut case = Case::new(Issuer::es256());
    let time = (NOW + ahead) * 1000;
    case.certified = certify(&case.config, 11, time, case.certified.header().state);
    case.seen = Seen { height: 11, time };
    case
}

#[test]
fn a_proposer_that_stamps_the_future_moves_no_vaults_time() {
    // A time of its own choosing would make entries of the commit table expire while their tokens live, or tokens of
    // the future count now. Inside the band the vault goes on by its own clock; outside it does nothing at all.
    for ahead in [0, 10, 20] {
        let mut case = stamped(ahead);
        assert_eq!(case.decide().unwrap().time, NOW * 1000, "{ahead} s ahead");
        let tomorrow = CLAIMS.replace("1699999990", "1700000015");
        assert_eq!(case.with_claims(&tomorrow), Some(Deny::TokenTime), "a token of the future, {ahead} s ahead");
        let mut case = stamped(ahead);
        case.receipts_of(&[1, 2, 3, 4], |receipt| receipt.time = NOW + 15);
        assert_eq!(case.denied(), Some(Deny::Receipts), "receipts of the future, {ahead} s ahead");
    }
    for ahead in [21, 600, 86_400] {
        assert_eq!(stamped(ahead).denied(), Some(Deny::Clock), "{ahead} s ahead");
        // Nor does a floor from better days stand in for the clock.
        let mut case = stamped(ahead);
        case.clock = Clock { own: NOW * 1000, floor: (NOW + ahead) * 1000 };
        assert_eq!(case.denied(), Some(Deny::Clock), "{ahead} s ahead");
    }
}

#[test]
fn there_is_no_token_that_logs_anybody_in() {
    // The forerunner had a debug mode, one flag away from production, that took a fixed text for any user's token.
    let mut case = Case::new(Issuer::es256());
    for text in ["blublu", "", "..", "test", "debug", "alice@example.com", "null", "{}", "undefined"] {
        case.token = text.to_string();
        case.commit();
        assert_eq!(case.denied(), Some(Deny::TokenForm), "{text:?}");
    }
}

#[test]
fn a_token_for_another_application_of_the_same_issuer_logs_nobody_in() {
    let mut case = Case::new(Issuer::rs256());
    for audience in [r#""elsewhere""#, r#"["torus","elsewhere"]"#, "[]", r#""""#, "null", r#""Torus""#, r#""torus ""#] {
        let claims = CLAIMS.replace(r#""aud":"torus""#, &format!(r#""aud":{audience}"#));
        assert_ne!(claims, CLAIMS);
        assert_eq!(case.with_claims(&claims), Some(Deny::TokenAudience), "{audience}");
    }
    // Nor one that names its application only to the client library.
    let claims = CLAIMS.replace(r#""aud":"torus""#, r#""aud":"elsewhere","azp":"torus""#);
    assert_eq!(case.with_claims(&claims), Some(Deny::TokenAudience));
    assert_eq!(case.with_claims(CLAIMS), None);
}

#[test]
fn an_address_that_its_issuer_has_not_verified_names_nobody() {
    let mut case = Case::new(Issuer::eddsa());
    for word in ["false", r#""false""#, "null", "1", r#""TRUE""#, r#""true""#, "[true]"] {
        let claims = CLAIMS.replace(r#""email_verified":true"#, &format!(r#""email_verified":{word}"#));
        assert_eq!(case.with_claims(&claims), Some(Deny::TokenId), "{word}");
    }
    // An issuer that says nothing has verified nothing.
    let silent = CLAIMS.replace(r#""email_verified":true,"#, "");
    assert_ne!(silent, CLAIMS);
    assert_eq!(case.with_claims(&silent), Some(Deny::TokenId));
    assert_eq!(case.with_claims(CLAIMS), None);
}
