//! One test for each known weakness of such interfaces, named after what must not work.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use torus_ipc::Deny;

use super::super::error::{Outcome, RpcError};
use super::super::limit::{Buckets, Limits, Rate, caller_key};
use super::super::methods::{Api, Caller, first_generation};
use super::super::params::Call;
use super::double::{Mood, NOW};
use super::golden::{CALLER, Fixture, commitment, login, token};

const ALICE: &str = "alice@example.com";

fn data(error: &Value) -> &str {
    error["data"].as_str().unwrap()
}

#[tokio::test]
async fn one_members_receipt_repeated_is_no_quorum() {
    let fixture = Fixture::new();
    let token = token(ALICE);
    let receipts = fixture.receipts(&token, 3).await;
    let mut repeated = receipts.clone();
    repeated.extend(vec![receipts[0].clone(); 20]);
    for method in ["ShareRequest", "GetShareOrKeyAssign"] {
        let error = fixture.error(1, method, login(&token, ALICE, repeated.clone())).await;
        assert!(data(&error).starts_with("Not enough valid signatures. Only 3 valid"), "{error}");
    }
}

#[tokio::test]
async fn receipts_for_different_temporary_keys_do_not_add_up() {
    let fixture = Fixture::new();
    let token = token(ALICE);
    let mut receipts = fixture.receipts(&token, 3).await;
    let mut other = commitment(&token);
    (other["temppubx"], other["temppuby"]) = (json!(G3.0), json!(G3.1));
    receipts.push(fixture.result(4, "CommitmentRequest", other.clone()).await);
    receipts.push(fixture.result(5, "CommitmentRequest", other).await);
    // The larger group is taken, wherever it stands, and is too small.
    for _ in 0..receipts.len() {
        receipts.rotate_left(1);
        let error = fixture.error(1, "ShareRequest", login(&token, ALICE, receipts.clone())).await;
        assert!(data(&error).contains("Only 3 valid"), "{error}");
    }
    assert_eq!(fixture.members[0].world.shown.load(Ordering::Relaxed), 0, "the vault was not asked");
}

const G3: (&str, &str) = (
    "f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9",
    "388f7b0f632de8140fe337e62a37f3566500a99934c2231b6cb9fd7584b8e672",
);

#[tokio::test]
async fn receipts_of_another_token_or_verifier_do_not_count() {
    let fixture = Fixture::new();
    let (mine, theirs) = (token(ALICE), token("bob@example.com"));
    let receipts = fixture.receipts(&theirs, 4).await;
    let error = fixture.error(1, "ShareRequest", login(&mine, ALICE, receipts)).await;
    assert_eq!(data(&error), "Token commitment and token are not compatible");
    let receipts = fixture.receipts(&mine, 4).await;
    let mut elsewhere = login(&mine, ALICE, receipts);
    elsewhere["verifieridentifier"] = json!("cased");
    elsewhere["item"][0]["verifieridentifier"] = json!("cased");
    let error = fixture.error(1, "ShareRequest", elsewhere).await;
    assert_eq!(data(&error), "Token commitment and token are not compatible");
}

#[tokio::test]
async fn one_members_rubbish_among_the_receipts_spoils_no_login() {
    let fixture = Fixture::new();
    let token = token(ALICE);
    let mut receipts = fixture.receipts(&token, 4).await;
    let mut high_v = receipts[0].clone();
    high_v["signature"] = json!("00".repeat(65));
    for rubbish in
        [json!({}), json!(3), json!({"signature": "00", "data": ""}), json!({"signature": "zz", "data": "x"}), high_v]
    {
        receipts.insert(0, rubbish);
    }
    assert!(fixture.result(1, "GetShareOrKeyAssign", login(&token, ALICE, receipts)).await["keys"][0].is_object());
}

#[tokio::test]
async fn a_short_signature_is_passed_over_without_a_panic() {
    let fixture = Fixture::new();
    let token = token(ALICE);
    for signature in ["", "1b", &"ff".repeat(64), &"ff".repeat(66), &"é".repeat(65)] {
        let receipts = vec![json!({"signature": signature, "data": "mug00"}); 5];
        let error = fixture.error(1, "ShareRequest", login(&token, ALICE, receipts)).await;
        assert!(data(&error).contains("Only 0 valid"), "{signature}");
    }
}

#[tokio::test]
async fn an_unknown_commitment_is_refused_and_nothing_is_sealed_to_nobody() {
    let fixture = Fixture::new();
    let token = token(ALICE);
    // Four members hold the commitment; the fifth never heard of it.
    let receipts = fixture.receipts(&token, 4).await;
    let error = fixture.error(5, "GetShareOrKeyAssign", login(&token, ALICE, receipts)).await;
    assert!(data(&error).starts_with("The token was not committed here"));
}

#[tokio::test]
async fn a_second_temporary_key_for_a_held_token_is_refused() {
    let fixture = Fixture::new();
    let token = token(ALICE);
    fixture.receipts(&token, 1).await;
    let mut other = commitment(&token);
    (other["temppubx"], other["temppuby"]) = (json!(G3.0), json!(G3.1));
    let error = fixture.error(1, "CommitmentRequest", other).await;
    assert_eq!(error, json!({"code": -32603, "message": "Internal error", "data": "Duplicate token found"}));
}

#[tokio::test]
async fn commitments_of_nonsense_do_not_reach_the_vault() {
    let fixture = Fixture::new();
    let good = commitment(&token(ALICE));
    for (field, value, words) in [
        ("messageprefix", json!("mug01"), "Incorrect message prefix"),
        ("tokencommitment", json!("abc"), "tokencommitment"),
        ("tokencommitment", json!("zz".repeat(32)), "tokencommitment"),
        ("tokencommitment", json!(7), "tokencommitment"),
        ("temppubx", json!("00".repeat(32)), "not a point"),
        ("temppuby", json!("ff".repeat(32)), "not a point"),
        ("temppubx", json!(""), "not a point"),
        ("temppubx", json!("é".repeat(20)), "not a point"),
        ("temppubx", json!("a".repeat(65)), "not a point"),
        ("verifieridentifier", json!("nobody"), "Verifier not supported"),
        ("verifieridentifier", json!("a\u{1c}b"), "Verifier not supported"),
        ("verifieridentifier", json!("x".repeat(200)), "Verifier not supported"),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        let error = fixture.error(1, "CommitmentRequest", bad).await;
        assert!(data(&error).contains(words), "{field}: {error}");
    }
}

#[tokio::test]
async fn an_assignment_is_made_once_however_often_it_is_asked_for() {
    let fixture = Fixture::new();
    let user = json!({"verifier": "demo", "verifier_id": ALICE});
    let mut answers = Vec::new();
    for member in [1, 2, 1, 3, 5, 1] {
        answers.push(fixture.result(member, "KeyAssign", user.clone()).await);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    let submitted = fixture.members[0].world.submitted.load(Ordering::Relaxed);
    assert_eq!(submitted, 1, "an assigned user costs the log nothing");
}

#[tokio::test]
async fn ids_that_differ_in_case_are_one_user_only_where_the_verifier_says_so() {
    let fixture = Fixture::new();
    let ask = |verifier: &str, id: &str| json!({"verifier": verifier, "verifier_id": id});
    let upper = fixture.result(1, "KeyAssign", ask("demo", "Foo@X")).await;
    assert_eq!(upper, fixture.result(1, "KeyAssign", ask("demo", "foo@x")).await);
    let upper = fixture.result(1, "KeyAssign", ask("cased", "Foo@X")).await;
    assert_ne!(upper, fixture.result(1, "KeyAssign", ask("cased", "foo@x")).await);
}

#[tokio::test]
async fn a_token_of_another_user_is_refused_before_the_vault_is_asked() {
    let fixture = Fixture::new();
    let token = token("mallory@example.com");
    let receipts = fixture.receipts(&token, 4).await;
    let error = fixture.error(1, "GetShareOrKeyAssign", login(&token, ALICE, receipts)).await;
    assert!(data(&error).starts_with("Error occurred while verifying params"), "{error}");
    assert_eq!(fixture.members[0].world.submitted.load(Ordering::Relaxed), 0, "no key was spent");
}

#[tokio::test]
async fn what_is_not_served_is_refused_by_name() {
    let fixture = Fixture::new();
    let token = token(ALICE);
    let receipts = fixture.receipts(&token, 4).await;
    let user = json!({"verifier": "demo", "verifier_id": ALICE});
    let with = |mut params: Value, field: &str, value: Value| {
        params[field] = value;
        params
    };
    let in_item = |field: &str, value: Value| {
        let mut params = login(&token, ALICE, receipts.clone());
        params["item"][0][field] = value;
        params
    };
    let good = || login(&token, ALICE, receipts.clone());
    for (method, params, words) in [
        ("GetPubKeyOrKeyAssign", with(user.clone(), "key_type", json!("ed25519")), "secp256k1"),
        ("GetPubKeyOrKeyAssign", with(user.clone(), "extended_verifier_id", json!("a\u{15}b")), "extended"),
        ("CommitmentRequest", with(commitment(&token), "keytype", json!("ed25519")), "secp256k1"),
        ("ImportShares", json!({}), "imported"),
        ("ImportShare", json!({}), "imported"),
        ("GetShareOrKeyAssign", in_item("nodesignatures", json!([])), "without a commitment"),
        ("GetShareOrKeyAssign", with(good(), "temppubx", json!("ab")), "without a commitment"),
        ("GetShareOrKeyAssign", in_item("sss_endpoint", json!("http://169.254.169.254/")), "imported"),
        ("GetShareOrKeyAssign", in_item("encrypted_share", json!("00")), "imported"),
        ("GetShareOrKeyAssign", in_item("sub_verifier_ids", json!(["x"])), "aggregate"),
        ("GetShareOrKeyAssign", in_item("key_type", json!("ed25519")), "secp256k1"),
        ("GetShareOrKeyAssign", with(good(), "item", json!([])), "exactly one item"),
        ("GetShareOrKeyAssign", in_item("idtoken", json!(format!(" {token}"))), "Cleaned token"),
        ("SetMutableConfig", json!({}), "Method not found"),
        ("ShareCount", json!({}), "Method not found"),
    ] {
        let error = fixture.error(1, method, params).await;
        assert!(data(&error).contains(words), "{method}: {error}");
    }
}

#[tokio::test]
async fn no_answer_ever_holds_an_empty_list_of_keys() {
    let fixture = Fixture::new();
    let token = token(ALICE);
    let receipts = fixture.receipts(&token, 4).await;
    for (deny, _) in Deny::ALL {
        fixture.members[0].become_(Mood::Denies(deny));
        for method in ["ShareRequest", "GetShareOrKeyAssign"] {
            let error = fixture.error(1, method, login(&token, ALICE, receipts.clone())).await;
            assert!(error.get("keys").is_none() && !data(&error).is_empty());
        }
    }
}

#[tokio::test]
async fn errors_are_equal_on_all_members() {
    let fixture = Fixture::new();
    let token = token(ALICE);
    let receipts = fixture.receipts(&token, 5).await;
    for deny in [Deny::TokenSignature, Deny::TokenTime, Deny::Receipts, Deny::NotBefore, Deny::Busy] {
        let mut errors = Vec::new();
        for member in 1..=5 {
            fixture.members[member - 1].become_(Mood::Denies(deny));
            errors.push(fixture.error(member, "GetShareOrKeyAssign", login(&token, ALICE, receipts.clone())).await);
        }
        assert!(errors.windows(2).all(|pair| pair[0] == pair[1]), "{errors:?}");
    }
    // Whatever ails a member of its own, the words are the same.
    let own = [Deny::Device, Deny::Store, Deny::Clock, Deny::Stale, Deny::NoShare, Deny::Commitment];
    assert!(own.windows(2).all(|pair| RpcError::from(pair[0]) == RpcError::from(pair[1])));
}

#[tokio::test]
async fn a_refused_token_is_recognised_by_clients_and_can_be_tried_again() {
    let fixture = Fixture::new();
    let token = token(ALICE);
    let receipts = fixture.receipts(&token, 4).await;
    fixture.members[0].become_(Mood::Denies(Deny::TokenSignature));
    let error = fixture.error(1, "GetShareOrKeyAssign", login(&token, ALICE, receipts.clone())).await;
    assert!(data(&error).starts_with("Error occurred while verifying params"));
    assert_eq!(error["code"], json!(-32602));
    fixture.members[0].become_(Mood::Honest);
    fixture.result(1, "GetShareOrKeyAssign", login(&token, ALICE, receipts)).await;
}

#[test]
fn clients_that_stop_below_the_quorum_are_not_led_on() {
    let served = |n, k, t| first_generation(torus_statement::Sizes::new(n, k, t).unwrap());
    assert!(served(5, 3, 1) && served(9, 5, 2));
    assert!(!served(6, 4, 1), "four receipts where five are needed");
}

#[test]
fn a_login_is_never_printed_with_its_token() {
    let call = Call::parse("ShareRequest", &login("secret.token.text", ALICE, vec![json!(null)])).unwrap();
    assert!(!format!("{call:?}").contains("secret.token"));
}

#[tokio::test]
async fn one_address_cannot_take_everything_and_old_clients_are_sent_on() {
    let fixture = Fixture::new();
    let rate = |burst| Some(Rate { burst, per_second: 1 });
    let limits = Limits { per_address: rate(3), ..Limits::default() };
    let api = Api::new(fixture.members[0].clone(), &limits);
    for _ in 0..3 {
        assert!(matches!(api.handle("Ping", &json!({}), CALLER).await, Outcome::Result(_)));
    }
    assert_eq!(api.handle("Ping", &json!({}), CALLER).await, Outcome::Status(429, Some(1)));
    let user = json!({"verifier": "demo", "verifier_id": ALICE});
    assert_eq!(api.handle("KeyAssign", &user, CALLER).await, Outcome::Status(502, Some(1)));
    let other = Caller { address: "10.0.0.1".parse().unwrap(), ..CALLER };
    assert!(matches!(api.handle("Ping", &json!({}), other).await, Outcome::Result(_)));
    let later = Caller { monotonic: 1000, ..CALLER };
    assert!(matches!(api.handle("Ping", &json!({}), later).await, Outcome::Result(_)), "it refills");

    let limits = Limits { assigns_per_address: rate(2), ..Limits::default() };
    let api = Api::new(fixture.members[0].clone(), &limits);
    let assign = |id: &str| json!({"verifier": "demo", "verifier_id": id});
    for id in ["a", "b", "a", "b", "a"] {
        assert!(
            matches!(api.handle("KeyAssign", &assign(id), CALLER).await, Outcome::Result(_)),
            "a known user is free"
        );
    }
    assert!(matches!(api.handle("KeyAssign", &assign("c"), CALLER).await, Outcome::Status(502, _)));
    let error = api.handle("GetPubKeyOrKeyAssign", &assign("c"), CALLER).await;
    assert!(matches!(error, Outcome::Error(error) if error.data.contains("Too many new keys")));

    let limits = Limits { per_verifier: rate(1), ..Limits::default() };
    let api = Api::new(fixture.members[0].clone(), &limits);
    assert!(matches!(api.handle("CommitmentRequest", &commitment("one"), CALLER).await, Outcome::Result(_)));
    assert!(matches!(api.handle("CommitmentRequest", &commitment("two"), CALLER).await, Outcome::Error(_)));
}

#[test]
fn limits_hold_in_bounded_memory_and_a_prefix_of_ipv6_is_one_caller() {
    let buckets = Buckets::new(Some(Rate { burst: 1, per_second: 1 }), 4);
    for key in 0..4 {
        assert!(buckets.take(key, 0));
    }
    assert!(!buckets.take(9, 0), "no place for a fifth while four are not full again");
    assert!(buckets.take(9, 1000), "full ones make room");
    let key = |text: &str| caller_key(text.parse().unwrap());
    assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
    assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
    assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
}

/// Every call, with every value replaced by every kind of nonsense, gets an answer.
#[tokio::test]
async fn nonsense_anywhere_in_a_call_gets_an_answer() {
    let fixture = Fixture::new();
    let token = token(ALICE);
    let receipts = fixture.receipts(&token, 4).await;
    let user =
        json!({"verifier": "demo", "verifier_id": ALICE, "client_time": NOW.to_string(), "key_type": "secp256k1"});
    let calls = [
        ("CommitmentRequest", commitment(&token)),
        ("ShareRequest", login(&token, ALICE, receipts.clone())),
        ("GetShareOrKeyAssign", login(&token, ALICE, receipts)),
        ("VerifierLookupRequest", user.clone()),
        ("KeyAssign", user.clone()),
        ("GetPubKeyOrKeyAssign", user.clone()),
        ("CertifiedLookup", user),
        ("KeyLookupRequest", json!({"pub_key_X": "1", "pub_key_Y": "2"})),
    ];
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let nonsense = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e300),
        json!(""),
        json!("\u{0}"),
        json!("é".repeat(100)),
        json!("f".repeat(5000)),
        json!([]),
        json!([null]),
        json!({}),
        json!({"X": 1}),
        deep,
    ];
    for (method, params) in &calls {
        let mut places = Vec::new();
        pointers(params, String::new(), &mut places);
        for place in places {
            for value in &nonsense {
                let mut bad = params.clone();
                *bad.pointer_mut(&place).unwrap() = value.clone();
                if let Outcome::Error(error) = fixture.ask(1, method, bad).await {
                    assert!(!error.data.is_empty());
                }
            }
        }
    }
}

fn pointers(value: &Value, at: String, places: &mut Vec<String>) {
    places.push(at.clone());
    match value {
        Value::Object(members) => members.iter().for_each(|(name, v)| pointers(v, format!("{at}/{name}"), places)),
        Value::Array(list) => list.iter().enumerate().for_each(|(i, v)| pointers(v, format!("{at}/{i}"), places)),
        _ => {}
    }
}
