//! What a token says, under its issuer's signature: whatever logs in reads the same to a full JSON parser, and a policy
//! that takes a token is one that names its issuer, audience and key.

use serde_json::Value;
use torus_release::{Login, evaluate, issued};
use torus_statement::policy::{IssuerPublicKey, Verifier};
use torus_statement::{TimeConstants, Wire};

use crate::issuer::{CLAIMS, committed, decision, signed, tokens, verifier};
use crate::kit::{NOW, USER};
use crate::{JSON, Target, join, parts, select};

/// The first byte: 0 a header and claims, which the issuer signs; 1 a verifier, which good tokens are shown to.
pub const TARGET: Target = Target { name: "claims", body, seeds, memory: JSON };

fn body(data: &[u8]) -> bool {
    match data.split_first() {
        Some((0, bytes)) => token(bytes),
        Some((1, bytes)) => policy(bytes),
        _ => false,
    }
}

fn token(bytes: &[u8]) -> bool {
    let [header, claims] = parts(bytes);
    let text = signed(header, claims);
    if text != committed() {
        assert!(decision(&text).is_err(), "a share for a token that nobody committed");
    }
    let Ok(login) = evaluate(&text, verifier(), &TimeConstants::DEFAULT, NOW * 1000) else { return false };
    assert_eq!(issued(&text, verifier()), Some(login.issued_at));
    if let (Some(header), Some(claims)) = (read(header), read(claims)) {
        agrees(&login, &header, &claims);
    }
    true
}

/// As a parser of another make reads it; `None` for a number that it cannot hold.
fn read(json: &[u8]) -> Option<Value> {
    match serde_json::from_slice(json) {
        Ok(value) => Some(value),
        Err(error) if error.to_string().starts_with("number out of range") => None,
        Err(error) => panic!("not JSON, and logs in: {error}"),
    }
}

fn agrees(login: &Login, header: &Value, claims: &Value) {
    assert_eq!((&header["alg"], &header["kid"]), (&"EdDSA".into(), &"d".into()));
    assert!(header.get("crit").is_none() && header.get("jwk").is_none());
    assert_eq!(claims["iss"], "https://issuer");
    let allowed = |audience: &Value| audience == "torus" || audience == "other";
    assert!(match &claims["aud"] {
        Value::Array(audiences) => !audiences.is_empty() && audiences.iter().all(allowed),
        audience => allowed(audience),
    });
    assert_eq!(claims["email"].as_str().map(str::to_ascii_lowercase).as_deref(), Some(login.id.as_str()));
    assert_eq!(claims["email_verified"], true);
    assert_eq!(claims["iat"].as_u64(), Some(login.issued_at));
    assert!(claims["exp"].as_u64().is_some_and(|expires| expires > NOW));
    // The policy's oldest token, and the skew.
    assert!((NOW - 120..=NOW + 10).contains(&login.issued_at));
    assert!(claims.get("nbf").is_none_or(|from| from.as_u64().is_some_and(|from| from <= NOW + 10)));
}

fn policy(bytes: &[u8]) -> bool {
    let Ok(other) = Verifier::from_bytes(bytes) else { return false };
    let mut taken = false;
    for (token, key) in tokens().iter().zip(&verifier().keys) {
        let Ok(login) = evaluate(token, &other, &TimeConstants::DEFAULT, NOW * 1000) else { continue };
        taken = true;
        assert_eq!(other.policy.issuer, "https://issuer");
        assert!(other.policy.audiences.iter().any(|audience| audience == "torus"));
        assert!(other.keys.contains(key));
        assert!(other.policy.low_s || !matches!(key.key, IssuerPublicKey::Es256(_)));
        assert!(other.policy.max_age >= 10);
        let claims: Value = serde_json::from_str(CLAIMS).unwrap();
        let id = claims[&other.policy.id_claim].as_str().expect("a claim that is text");
        assert!(login.id.as_str().eq_ignore_ascii_case(id));
        assert!(other.policy.id_claim != "email" || login.id.as_str() == USER);
    }
    taken
}

fn seeds() -> Vec<Vec<u8>> {
    let header = br#"{"alg":"EdDSA","kid":"d","typ":"JWT"}"#;
    let claims = [
        CLAIMS,
        r#"{"aud":["torus","other"],"iss":"https:\/\/issuer","email":"Al\u0069ce@example.com","email_verified":true,"iat":1700000000,"exp":1700000001}"#,
        r#" {"iss":"https://issuer", "aud":"other", "email":"b", "email_verified":true, "iat":1699999990, "nbf":1, "exp":9007199254740991, "x":[{"y":[-1.5e3,null]},"\ud83d\ude00"]} "#,
    ];
    let mut seeds: Vec<_> = claims.iter().map(|claims| select(0, &join(&[header, claims.as_bytes()]))).collect();
    let mut by_subject = verifier().clone();
    by_subject.policy.id_claim = "sub".into();
    by_subject.policy.low_s = false;
    seeds.extend([verifier(), &by_subject].map(|verifier| select(1, &verifier.to_bytes())));
    seeds
}
