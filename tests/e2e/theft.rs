//! Attempts to get a share, or to deny one, made over HTTP by somebody who sees tokens. Each begins from what an honest
//! login does, which must work, so that a refusal is one of the attempt.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k256::elliptic_curve::sec1::ToEncodedPoint;
use serde_json::{Value, json};
use sha3::{Digest, Keccak256};

use crate::client::{VERIFIER, fresh_email, login};
use crate::devnet::Devnet;
use crate::rpc::{assign, call_all};
use crate::twins::{with_lax_base64, with_other_s};

const ANY_S: &str = "devnet-any-s";
const SUBJECT: &str = "devnet-subject";

/// The temporary key of a login by hand. Nothing here opens a share.
pub(crate) struct Temporary(k256::PublicKey);

impl Temporary {
    /// A fresh key.
    pub(crate) fn new() -> Self {
        Self::of(&k256::SecretKey::random(&mut rand_core::OsRng))
    }

    /// The key of a secret that the caller keeps.
    pub(crate) fn of(secret: &k256::SecretKey) -> Self {
        Self(secret.public_key())
    }

    /// Its coordinates, 64 hex digits each.
    pub(crate) fn xy(&self) -> (String, String) {
        let point = self.0.to_encoded_point(false);
        (hex::encode(point.x().expect("a point")), hex::encode(point.y().expect("a point")))
    }

    /// The parameters of a commitment.
    pub(crate) fn commitment(&self, token: &[u8; 32], verifier: &str) -> Value {
        let (x, y) = self.xy();
        json!({"messageprefix": "mug00", "tokencommitment": hex::encode(token), "temppubx": x, "temppuby": y,
            "verifieridentifier": verifier})
    }
}

/// Keccak-256.
pub(crate) fn keccak(bytes: &[u8]) -> [u8; 32] {
    Keccak256::digest(bytes).into()
}

type Answers = Vec<Result<Value, Value>>;

fn commit(net: &Devnet, token: &str, verifier: &str, temporary: &Temporary) -> Answers {
    call_all(net, "CommitmentRequest", &temporary.commitment(&keccak(token.as_bytes()), verifier))
}

fn reveal(net: &Devnet, token: &str, verifier: &str, id: &str, receipts: &[Value]) -> Answers {
    call_all(net, "ShareRequest", &reveal_of(token, verifier, id, receipts))
}

/// The parameters of a reveal.
pub(crate) fn reveal_of(token: &str, verifier: &str, id: &str, receipts: &[Value]) -> Value {
    json!({"encrypted": "yes", "item": [{
        "verifier_id": id, "idtoken": token, "nodesignatures": receipts, "verifieridentifier": verifier,
    }]})
}

fn good(answers: &[Result<Value, Value>]) -> Vec<Value> {
    answers.iter().filter_map(|answer| answer.as_ref().ok().cloned()).collect()
}

/// Commits and reveals with a key of the caller's own: what a thief does with a text that he saw.
fn attempt(net: &Devnet, token: &str, verifier: &str, id: &str) -> Answers {
    let receipts = good(&commit(net, token, verifier, &Temporary::new()));
    reveal(net, token, verifier, id, &receipts)
}

fn assert_nothing(answers: &[Result<Value, Value>], what: &str) {
    for (member, answer) in (1..).zip(answers) {
        assert!(answer.is_err(), "{what}: member {member} let a share out");
    }
}

/// A user with a key, who has just been given this token and not used it.
fn user(net: &Devnet, alg: &str, more: &str) -> (String, String) {
    let email = fresh_email("victim");
    assign(net, 1, VERIFIER, &email);
    let token = net.mint(alg, &email, more);
    (email, token)
}

pub(crate) fn an_honest_login_by_hand_gets_a_share_from_every_member(net: &mut Devnet) {
    for alg in ["ES256", "RS256", "EdDSA"] {
        let (email, token) = user(net, alg, "");
        let receipts = commit(net, &token, VERIFIER, &Temporary::new());
        let receipts = good(&receipts);
        assert_eq!(receipts.len(), usize::from(net.members()), "{alg}");
        // Twice: an answer that was lost on the way can be had again.
        for _ in 0..2 {
            for answer in reveal(net, &token, VERIFIER, &email, &receipts) {
                let answer = answer.unwrap_or_else(|error| panic!("{alg}: {error}"));
                let key = &answer["keys"][0];
                assert!(key["Share"].as_str().is_some_and(|share| share.len() > 64), "{answer}");
                assert_eq!(key["Metadata"]["mode"], "AES256");
                assert_eq!(key["Metadata"]["ephemPublicKey"].as_str().map(str::len), Some(130));
            }
        }
    }
}

pub(crate) fn the_twin_of_a_token_by_its_other_s_gets_nothing(net: &mut Devnet) {
    // The issuer can be asked for either; the thief makes one from the other. Both are refused in the high form.
    let (email, token) = user(net, "ES256", "");
    let twin = with_other_s(&token);
    assert_ne!(token, twin);
    assert_nothing(&attempt(net, &twin, VERIFIER, &email), "high-s twin");
    let minted = net.mint("ES256", &email, "&s=high");
    assert_nothing(&attempt(net, &minted, VERIFIER, &email), "high-s token");
    assert_eq!(good(&attempt(net, &token, VERIFIER, &email)).len(), usize::from(net.members()));
}

pub(crate) fn the_twin_of_a_token_in_lax_base64_gets_nothing(net: &mut Devnet) {
    let (email, token) = user(net, "ES256", "");
    let twins = [
        with_lax_base64(&token),
        format!("{token}="),
        format!("{token}=="),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{token}."),
    ];
    for twin in twins {
        assert_nothing(&attempt(net, &twin, VERIFIER, &email), &format!("{twin:?}"));
    }
    let dotted: Vec<&str> = token.split('.').collect();
    let standard = format!("{}.{}.{}", dotted[0], dotted[1], dotted[2].replace('-', "+").replace('_', "/"));
    if standard != token {
        assert_nothing(&attempt(net, &standard, VERIFIER, &email), "the other alphabet");
    }
    assert_eq!(good(&attempt(net, &token, VERIFIER, &email)).len(), usize::from(net.members()));
}

pub(crate) fn a_token_under_a_policy_that_does_not_promise_low_s_gets_nothing(net: &mut Devnet) {
    let email = fresh_email("judy");
    assign(net, 1, ANY_S, &email);
    let aud = format!("&aud=torus-{ANY_S}");
    for half in ["low", "high"] {
        let token = net.mint("ES256", &email, &format!("{aud}&s={half}"));
        assert_nothing(&attempt(net, &token, ANY_S, &email), &format!("{half}-s under a policy without the promise"));
    }
    // What has no twin is taken there.
    let token = net.mint("RS256", &email, &aud);
    assert_eq!(good(&attempt(net, &token, ANY_S, &email)).len(), usize::from(net.members()));
}

pub(crate) fn one_token_under_two_verifiers_gets_nothing_under_the_second(net: &mut Devnet) {
    let (email, token) = user(net, "ES256", "");
    let mine = Temporary::new();
    let receipts = good(&commit(net, &token, VERIFIER, &mine));
    assert_eq!(receipts.len(), usize::from(net.members()));
    // The table is by the hash alone: another verifier's name opens no second place in it.
    assert_nothing(&commit(net, &token, SUBJECT, &Temporary::new()), "a commitment under a second verifier");
    assert_nothing(&reveal(net, &token, SUBJECT, &email, &receipts), "a reveal under a second verifier");
    // Nor is a fresh token for the one a login with the other.
    let token = net.mint("ES256", &email, "");
    assert_nothing(&attempt(net, &token, SUBJECT, &email), "a token for another audience");
}

pub(crate) fn a_second_temporary_key_for_a_held_token_is_refused(net: &mut Devnet) {
    let (email, token) = user(net, "ES256", "");
    let receipts = good(&commit(net, &token, VERIFIER, &Temporary::new()));
    for answer in commit(net, &token, VERIFIER, &Temporary::new()) {
        let error = answer.expect_err("a second temporary key");
        assert_eq!((&error["code"], &error["data"]), (&(-32603).into(), &"Duplicate token found".into()));
    }
    // The attempt burns nothing of the user's.
    assert_eq!(good(&reveal(net, &token, VERIFIER, &email, &receipts)).len(), usize::from(net.members()));
}

pub(crate) fn the_aggregate_form_of_a_seen_token_is_reserved(net: &mut Devnet) {
    let (_, token) = user(net, "ES256", "");
    let hash = keccak(token.as_bytes());
    let aggregate = hex::encode(hash);
    assert_eq!(good(&commit(net, &token, VERIFIER, &Temporary::new())).len(), usize::from(net.members()));
    assert_nothing(&commit(net, &aggregate, VERIFIER, &Temporary::new()), "the aggregate form of a committed token");
    // And the other way round: who held the aggregate form first, holds the token too.
    let (_, token) = user(net, "ES256", "");
    let aggregate = hex::encode(keccak(token.as_bytes()));
    assert_eq!(good(&commit(net, &aggregate, VERIFIER, &Temporary::new())).len(), usize::from(net.members()));
    assert_nothing(&commit(net, &token, VERIFIER, &Temporary::new()), "a token whose aggregate form is held");
}

pub(crate) fn receipts_of_which_one_member_signed_two_are_not_enough(net: &mut Devnet) {
    let (email, token) = user(net, "ES256", "");
    let receipts = good(&commit(net, &token, VERIFIER, &Temporary::new()));
    let n = usize::from(net.members());
    let q = (n + n / 2 + 1).div_ceil(2);
    let mut padded = receipts[..q - 1].to_vec();
    for copies in 1..=3 {
        padded.push(receipts[0].clone());
        assert_nothing(&reveal(net, &token, VERIFIER, &email, &padded), &format!("{copies} receipts of one member"));
    }
    padded.push(Value::Null);
    assert_nothing(&reveal(net, &token, VERIFIER, &email, &padded), "nulls");
    // One more member, and it is a quorum; what old clients leave in between does not hurt.
    padded.push(receipts[q - 1].clone());
    assert_eq!(good(&reveal(net, &token, VERIFIER, &email, &padded)).len(), n);
}

pub(crate) fn a_token_that_was_never_committed_gets_nothing(net: &mut Devnet) {
    let (email, token) = user(net, "ES256", "");
    assert_nothing(&reveal(net, &token, VERIFIER, &email, &[]), "no receipts");
    // Receipts of another token of the same user.
    let other = net.mint("ES256", &email, "");
    let receipts = good(&commit(net, &other, VERIFIER, &Temporary::new()));
    assert_nothing(&reveal(net, &token, VERIFIER, &email, &receipts), "receipts for another token");
    assert_eq!(good(&reveal(net, &other, VERIFIER, &email, &receipts)).len(), usize::from(net.members()));
}

pub(crate) fn a_token_for_somebody_else_gets_nothing(net: &mut Devnet) {
    let victim = fresh_email("victim");
    login(net, &victim);
    let (mallory, token) = user(net, "ES256", "");
    let receipts = good(&commit(net, &token, VERIFIER, &Temporary::new()));
    assert_nothing(&reveal(net, &token, VERIFIER, &victim, &receipts), "another name in the request");
    assert_eq!(good(&reveal(net, &token, VERIFIER, &mallory, &receipts)).len(), usize::from(net.members()));
}

pub(crate) fn old_and_future_tokens_get_nothing(net: &mut Devnet) {
    let email = fresh_email("kim");
    login(net, &email);
    for offset in [-86_400, -3_700, -300, 300, 86_400] {
        let token = net.mint("ES256", &email, &format!("&iat_offset={offset}"));
        assert_nothing(&attempt(net, &token, VERIFIER, &email), &format!("issued {offset} s from now"));
    }
}

pub(crate) fn a_token_that_nobody_signed_gets_nothing(net: &mut Devnet) {
    let (email, token) = user(net, "ES256", "");
    let parts: Vec<&str> = token.split('.').collect();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let hmac = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).expect("base64")).expect("text");
    let later = URL_SAFE_NO_PAD.encode(claims.replace("torus-devnet", "torus-devnet2"));
    for forged in [
        format!("{none}.{}.", parts[1]),
        format!("{none}.{}.{}", parts[1], parts[2]),
        format!("{hmac}.{}.{}", parts[1], parts[2]),
        format!("{}.{later}.{}", parts[0], parts[2]),
        format!("{}.{}", parts[0], parts[1]),
    ] {
        assert_nothing(&attempt(net, &forged, VERIFIER, &email), &forged);
    }
}
