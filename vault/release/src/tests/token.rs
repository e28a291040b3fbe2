//! Tokens: one text, the verifier's key and algorithm, its policy.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use torus_statement::policy::{IssuerKey, IssuerPublicKey};
use torus_statement::receipt::hex;
use torus_statement::{TimeConstants, keccak256};

use super::fixture::{CLAIMS, Case, Issuer, NOW, twin};
use crate::base64url::{decode, encode};

use crate::{Deny, MAX_TOKEN, evaluate, issued};

/// The token with another signature segment, committed to by the thief.
fn with_signature(case: &Case, signature: &[u8]) -> String {
    format!("{}.{}", case.token.rsplit_once('.').unwrap().0, encode(signature))
}

fn signature_of(case: &Case) -> Vec<u8> {
    decode(case.token.rsplit_once('.').unwrap().1).unwrap()
}

fn steal(case: &mut Case, text: String) -> Option<Deny> {
    case.token = text;
    case.commit();
    case.denied()
}

#[test]
fn the_malleable_twin_of_an_es256_token_is_refused() {
    let mut case = Case::new(Issuer::es256());
    let high = twin(&signature_of(&case));
    assert_eq!(twin(&high), signature_of(&case));
    let text = with_signature(&case, &high);
    assert_eq!(steal(&mut case, text), Some(Deny::TokenForm));
}

#[test]
fn an_es256_token_under_a_policy_without_low_s_is_refused_whatever_its_s() {
    let mut case = Case::new(Issuer::es256());
    case.verifier(|verifier| verifier.policy.low_s = false);
    assert_eq!(case.denied(), Some(Deny::TokenKey));
    let text = with_signature(&case, &twin(&signature_of(&case)));
    assert_eq!(steal(&mut case, text), Some(Deny::TokenKey));
}

#[test]
fn an_es256_signature_of_another_length_or_in_der_is_refused() {
    let mut case = Case::new(Issuer::es256());
    let raw = signature_of(&case);
    let mut der = Vec::from([0x30, 0x44, 2, 0x20]);
    der.extend_from_slice(&raw[..32]);
    der.extend([2, 0x20]);
    der.extend_from_slice(&raw[32..]);
    let mut padded = Vec::from([0]);
    padded.extend_from_slice(&raw);
    for other in [der, padded, raw[..63].to_vec(), raw[..31].to_vec()] {
        let text = with_signature(&case, &other);
        assert_eq!(steal(&mut case, text), Some(Deny::TokenForm));
    }
    let text = with_signature(&case, &[0; 64]);
    assert_eq!(steal(&mut case, text), Some(Deny::TokenSignature));
}

#[test]
fn an_rs256_signature_padded_or_above_the_modulus_is_refused() {
    let mut case = Case::new(Issuer::rs256());
    let raw = signature_of(&case);
    let mut padded = Vec::from([0]);
    padded.extend_from_slice(&raw);
    let text = with_signature(&case, &padded);
    assert_eq!(steal(&mut case, text), Some(Deny::TokenForm));
    let text = with_signature(&case, &raw[1..]);
    assert_eq!(steal(&mut case, text), Some(Deny::TokenForm));
    // s + n has the same residue; it fits the length for about half of all keys, and is refused either way.
    let IssuerPublicKey::Rs256 { n, .. } = case.issuer.public() else { panic!("an RSA issuer") };
    let mut carry = 0u16;
    let mut above = raw.clone();
    for (byte, modulus) in above.iter_mut().zip(&n).rev() {
        let sum = u16::from(*byte) + u16::from(*modulus) + carry;
        *byte = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
    if carry == 1 {
        above.insert(0, 1);
    }
    let text = with_signature(&case, &above);
    assert!(matches!(steal(&mut case, text), Some(Deny::TokenSignature | Deny::TokenForm)));
}

#[test]
fn an_eddsa_signature_with_s_above_the_order_is_refused() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut case = Case::new(Issuer::eddsa());
    let mut signature = signature_of(&case);
    let mut carry = 0u16;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
    let text = with_signature(&case, &signature);
    assert_eq!(steal(&mut case, text), Some(Deny::TokenSignature));
}

#[test]
fn an_eddsa_key_of_small_order_or_not_canonical_verifies_nothing() {
    let mut case = Case::new(Issuer::eddsa());
    let mut one = [0; 32];
    one[0] = 1;
    let mut p_plus_two = [0xff; 32];
    (p_plus_two[0], p_plus_two[31]) = (0xef, 0x7f);
    let mut one_signed = one;
    one_signed[31] = 0x80;
    for key in [[0; 32], one, one_signed, p_plus_two] {
        case.verifier(|verifier| verifier.keys[0].key = IssuerPublicKey::EdDsa(key));
        // Under the neutral point, R = S*B holds for every message: here S = 0 and R the neutral point.
        let mut forged = [0; 64];
        forged[0] = 1;
        let text = with_signature(&case, &forged);
        assert_eq!(steal(&mut case, text), Some(Deny::TokenKey));
    }
}

#[test]
fn a_lax_base64_twin_is_refused() {
    for issuer in [Issuer::es256(), Issuer::rs256(), Issuer::eddsa()] {
        let mut case = Case::new(issuer);
        let token = case.token.clone();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        // 64 and 256 bytes leave four unused bits in the last digit: fifteen twins for a lax decoder.
        let (rest, last) = signature.split_at(signature.len() - 1);
        let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let position = digits.find(last).unwrap();
        for unused in 1..16 {
            let digit = digits.as_bytes()[position + unused] as char;
            let twin = format!("{signed}.{rest}{digit}");
            assert_eq!(steal(&mut case, twin), Some(Deny::TokenForm));
        }
        for twin in [
            format!("{token}="),
            format!("{token}=="),
            format!("{token} "),
            format!(" {token}"),
            format!("{token}\n"),
            format!("{token}\0"),
            format!("{token}."),
            format!(".{token}"),
            token.replacen('.', "=.", 1),
            token.replacen('.', ". ", 1),
            token.replacen('.', "..", 1),
            token.replacen('e', "е", 1),
        ] {
            assert_eq!(steal(&mut case, twin.clone()), Some(Deny::TokenForm), "{twin:?}");
        }
        let standard = token.replace('-', "+").replace('_', "/");
        if standard != token {
            assert_eq!(steal(&mut case, standard), Some(Deny::TokenForm));
        }
        case.token = token;
        case.commit();
        assert_eq!(case.denied(), None);
    }
}

#[test]
fn a_token_rewritten_with_json_escapes_or_other_white_space_is_another_text_that_nobody_signed() {
    let mut case = Case::new(Issuer::rs256());
    let signature = case.token.rsplit_once('.').unwrap().1.to_string();
    for claims in
        [CLAIMS.replace("alice", r"\u0061lice"), CLAIMS.replace(':', ": "), CLAIMS.replace(r#","exp""#, r#" ,"exp""#)]
    {
        let text = format!("{}.{}.{signature}", encode(case.header.as_bytes()), encode(claims.as_bytes()));
        assert_eq!(steal(&mut case, text), Some(Deny::TokenSignature));
    }
    let header = case.header.replace("alg", r"\u0061lg");
    let text = format!("{}.{}.{signature}", encode(header.as_bytes()), encode(CLAIMS.as_bytes()));
    assert_eq!(steal(&mut case, text), Some(Deny::TokenSignature));
}

#[test]
fn the_aggregate_form_of_a_seen_token_is_no_token() {
    let mut case = Case::new(Issuer::es256());
    let aggregate = hex(&keccak256(case.token.as_bytes()));
    assert_eq!(steal(&mut case, aggregate), Some(Deny::TokenForm));
}

#[test]
fn the_algorithm_is_the_keys_and_never_the_tokens_to_choose() {
    for issuer in [Issuer::es256(), Issuer::rs256(), Issuer::eddsa()] {
        let mut case = Case::new(issuer);
        let own = case.issuer.algorithm();
        for algorithm in ["none", "None", "HS256", "RS256", "RS512", "PS256", "ES256", "ES256K", "EdDSA", "eddsa", ""] {
            let expected = if algorithm == own { None } else { Some(Deny::TokenKey) };
            assert_eq!(case.with_header(&format!(r#"{{"alg":"{algorithm}","kid":"k1"}}"#)), expected, "{algorithm}");
        }
        for header in [r#"{"kid":"k1"}"#, r#"{"alg":["ES256"],"kid":"k1"}"#, r#"{"alg":null,"kid":"k1"}"#, "[]", "{}x"]
        {
            assert_eq!(case.with_header(header), Some(Deny::TokenForm), "{header}");
        }
    }
}

#[test]
fn an_unsigned_token_is_refused() {
    let mut case = Case::new(Issuer::rs256());
    let none = format!("{}.{}.", encode(br#"{"alg":"none"}"#), encode(CLAIMS.as_bytes()));
    assert_eq!(steal(&mut case, none), Some(Deny::TokenForm));
}

#[test]
fn the_kid_selects_exactly_one_key_by_its_whole_name() {
    let mut case = Case::new(Issuer::es256());
    let alg = |rest: &str| format!(r#"{{"alg":"ES256"{rest}}}"#);
    for (rest, expected) in [
        (r#","kid":"k2""#, Deny::TokenKey),
        (r#","kid":"K1""#, Deny::TokenKey),
        (r#","kid":"k1 ""#, Deny::TokenKey),
        (r#","kid":"../k1""#, Deny::TokenKey),
        ("", Deny::TokenKey),
        (r#","kid":"""#, Deny::TokenForm),
        (r#","kid":1"#, Deny::TokenForm),
        (r#","kid":["k1"]"#, Deny::TokenForm),
        (r#","kid":"k1","kid":"k1""#, Deny::TokenForm),
        (r#","kid":"k1","\u006bid":"k2""#, Deny::TokenForm),
    ] {
        assert_eq!(case.with_header(&alg(rest)), Some(expected), "{rest}");
    }
    assert_eq!(case.with_header(&alg(r#","kid":"\u006b1""#)), None);
    // Two keys of one name: which one is meant is a guess.
    let other = IssuerKey { id: "k1".into(), key: Issuer::es256().public() };
    case.verifier(|verifier| verifier.keys.push(other));
    assert_eq!(case.with_header(&alg(r#","kid":"k1""#)), Some(Deny::TokenKey));
    // An issuer with one unnamed key.
    case.verifier(|verifier| {
        verifier.keys.truncate(1);
        verifier.keys[0].id.clear();
    });
    assert_eq!(case.with_header(&alg("")), None);
    assert_eq!(case.with_header(&alg(r#","kid":"k1""#)), Some(Deny::TokenKey));
}

#[test]
fn a_token_signed_by_another_key_is_refused() {
    let mut case = Case::new(Issuer::es256());
    case.issuer = Issuer::es256();
    case.login();
    assert_eq!(case.denied(), Some(Deny::TokenSignature));
}

#[test]
fn a_header_that_changes_what_is_signed_or_brings_a_key_is_refused() {
    let mut case = Case::new(Issuer::es256());
    for member in [
        r#""crit":["exp"]"#,
        r#""b64":false"#,
        r#""b64":true"#,
        r#""zip":"DEF""#,
        r#""enc":"A128GCM""#,
        r#""jwk":{}"#,
        r#""jku":"https://x""#,
        r#""x5u":"https://x""#,
        r#""typ":"at+jwt""#,
        r#""typ":1"#,
    ] {
        let header = format!(r#"{{"alg":"ES256","kid":"k1",{member}}}"#);
        assert_eq!(case.with_header(&header), Some(Deny::TokenForm), "{member}");
    }
    assert_eq!(case.with_header(r#"{"alg":"ES256","kid":"k1","x5t":"abc","x5c":["abc"]}"#), None);
}

#[test]
fn duplicate_members_and_deep_nesting_in_claims_are_refused_even_when_the_issuer_signed_them() {
    let mut case = Case::new(Issuer::es256());
    for more in [
        r#""email":"mallory@example.com""#,
        r#""\u0065mail":"mallory@example.com""#,
        r#""x":{"y":1,"y":2}"#,
        r#""x":[[[[1]]]]"#,
    ] {
        let claims = format!("{},{more}}}", CLAIMS.strip_suffix('}').unwrap());
        assert_eq!(case.with_claims(&claims), Some(Deny::TokenForm), "{more}");
    }
    let claims = format!(r#"{},"x":{}}}"#, CLAIMS.strip_suffix('}').unwrap(), "[".repeat(3000));
    assert_eq!(case.with_claims(&claims), Some(Deny::TokenForm));
}

#[test]
fn a_token_above_the_size_cap_is_refused() {
    let mut case = Case::new(Issuer::es256());
    let claims = |padding| format!(r#"{},"x":"{}"}}"#, CLAIMS.strip_suffix('}').unwrap(), "x".repeat(padding));
    assert_eq!(case.with_claims(&claims(11_000)), None);
    assert!(case.token.len() <= MAX_TOKEN);
    assert_eq!(case.with_claims(&claims(12_500)), Some(Deny::TokenForm));
    assert_eq!(steal(&mut case, ".".repeat(5_000_000)), Some(Deny::TokenForm));
}

#[test]
fn issuer_and_audience_are_compared_byte_by_byte() {
    let mut case = Case::new(Issuer::es256());
    for issuer in
        [r#""https://issuer/""#, r#""HTTPS://issuer""#, r#""https://issuer ""#, r#"["https://issuer"]"#, "null"]
    {
        let claims = CLAIMS.replace(r#""https://issuer""#, issuer);
        assert_eq!(case.with_claims(&claims), Some(Deny::TokenIssuer), "{issuer}");
    }
    assert_eq!(case.with_claims(&CLAIMS.replace(r#""iss":"https://issuer","#, "")), Some(Deny::TokenIssuer));
    for (audience, holds) in [
        (r#""other""#, true),
        (r#"["torus"]"#, true),
        (r#"["torus","other"]"#, true),
        (r#"["torus","evil"]"#, false),
        (r#"["evil"]"#, false),
        (r#""evil""#, false),
        (r#""TORUS""#, false),
        (r#""torus ""#, false),
        ("[]", false),
        (r#"["torus",1]"#, false),
        (r#"[["torus"]]"#, false),
        (r#"{"torus":1}"#, false),
        ("null", false),
    ] {
        let expected = if holds { None } else { Some(Deny::TokenAudience) };
        assert_eq!(case.with_claims(&CLAIMS.replace(r#""torus""#, audience)), expected, "{audience}");
    }
    assert_eq!(case.with_claims(&CLAIMS.replace(r#""aud":"torus","#, "")), Some(Deny::TokenAudience));
}

#[test]
fn times_hold_to_the_second() {
    let mut case = Case::new(Issuer::es256());
    case.not_before = 0;
    let now = NOW;
    let mut with = |iat: u64, exp: u64, nbf: Option<u64>| {
        let nbf = nbf.map(|nbf| format!(r#","nbf":{nbf}"#)).unwrap_or_default();
        let claims = format!(
            r#"{{"iss":"https://issuer","aud":"torus","email":"alice@example.com","email_verified":true,"iat":{iat},"exp":{exp}{nbf}}}"#
        );
        case.claims = claims;
        case.login();
        case.receipts_of(&[1, 2, 3, 4], |receipt| receipt.not_before = 0);
        case.denied()
    };
    assert_eq!(with(now, now + 1, None), None);
    assert_eq!(with(now, now, None), Some(Deny::TokenTime), "expired now");
    assert_eq!(with(now - 120, now + 1, None), None);
    assert_eq!(with(now - 121, now + 1, None), Some(Deny::TokenTime), "older than the policy's age");
    assert_eq!(with(now + 10, now + 20, None), None);
    assert_eq!(with(now + 11, now + 20, None), Some(Deny::TokenTime), "from the future");
    assert_eq!(with(now, now + 1, Some(now + 10)), None);
    assert_eq!(with(now, now + 1, Some(now + 11)), Some(Deny::TokenTime), "not yet valid");
    assert_eq!(with(0, (1 << 53) - 1, None), Some(Deny::TokenTime));
    assert_eq!(with((1 << 53) - 1, (1 << 53) - 1, None), Some(Deny::TokenTime));
}

#[test]
fn a_token_that_is_issued_in_the_future_is_refused_until_then() {
    let mut case = Case::new(Issuer::es256());
    for ahead in [11, 380, 381, 3600, 86_400] {
        let iat = NOW + ahead;
        let claims = CLAIMS.replace("1699999990", &iat.to_string()).replace("1700000110", &(iat + 4000).to_string());
        assert_eq!(case.with_claims(&claims), Some(Deny::TokenTime), "{ahead} s ahead");
        // Whoever was shown it knows from when on it will count.
        assert_eq!(issued(&case.token, &case.policy.value), Some(iat));
        let at = |now: u64| evaluate(&case.token, &case.policy.value, &TimeConstants::DEFAULT, now * 1000).is_ok();
        assert!(!at(iat - 11) && at(iat - 10) && at(iat + 120) && !at(iat + 121), "{ahead} s ahead");
    }
}

#[test]
fn only_the_verifiers_own_token_says_when_it_was_issued() {
    let case = Case::new(Issuer::es256());
    assert_eq!(issued(&case.token, &case.policy.value), Some(NOW - 10));
    let mut other = case.policy.value.clone();
    other.policy.issuer = "https://elsewhere".into();
    assert_eq!(issued(&case.token, &other), None);
    let mut other = case.policy.value.clone();
    other.policy.audiences = ["elsewhere".into()].into();
    assert_eq!(issued(&case.token, &other), None);
    assert_eq!(issued(&case.token, &Case::new(Issuer::es256()).policy.value), None, "another key");
    assert_eq!(issued("a.b.c", &case.policy.value), None);
}

#[test]
fn times_must_be_whole_numbers_and_there() {
    let mut case = Case::new(Issuer::es256());
    for (from, to) in [
        (r#","exp":1700000110"#, ""),
        (r#","iat":1699999990"#, ""),
        ("1700000110", r#""1700000110""#),
        ("1699999990", r#""1699999990""#),
        ("1699999990", "1699999990.5"),
        ("1699999990", "1.69999999e9"),
        ("1700000110", "1e300"),
        ("1700000110", "99999999999999999999"),
        ("1699999990", "-1"),
        ("1700000110", "null"),
        (r#""exp""#, r#""nbf":"now","exp""#),
    ] {
        assert_eq!(case.with_claims(&CLAIMS.replace(from, to)), Some(Deny::TokenTime), "{from} {to}");
    }
}

#[test]
fn no_policy_may_accept_older_tokens_than_the_network() {
    let case = Case::new(Issuer::es256());
    let mut verifier = case.policy.value.clone();
    verifier.policy.max_age = u32::MAX;
    let times = TimeConstants { token_age: 60_000, ..TimeConstants::DEFAULT };
    let at = |now: u64| evaluate(&case.token, &verifier, &times, now * 1000).err();
    assert_eq!(at(NOW - 10 + 60), None);
    assert_eq!(at(NOW - 10 + 61), Some(Deny::TokenTime));
}

#[test]
fn the_id_comes_from_the_claim_that_the_policy_names() {
    let mut case = Case::new(Issuer::es256());
    for (from, to) in [
        (r#""email":"alice@example.com","#, ""),
        (r#""alice@example.com""#, "7"),
        (r#""alice@example.com""#, r#""""#),
        (r#""alice@example.com""#, r#"["alice@example.com"]"#),
        (r#""alice@example.com""#, r#""alice\u0000@example.com""#),
        (r#""email_verified":true"#, r#""email_verified":false"#),
        (r#""email_verified":true"#, r#""email_verified":"false""#),
        (r#""email_verified":true"#, r#""email_verified":0"#),
        (r#""email_verified":true"#, r#""email_verified":null"#),
        (r#""email_verified":true"#, r#""email_verified":"true""#),
        (r#""email_verified":true,"#, ""),
    ] {
        assert_eq!(case.with_claims(&CLAIMS.replace(from, to)), Some(Deny::TokenId), "{from} {to}");
    }
    // Another user's proof does not fit, and case counts unless the policy says otherwise.
    assert_eq!(case.with_claims(&CLAIMS.replace("alice", "bob")), Some(Deny::TokenUser));
    assert_eq!(case.with_claims(&CLAIMS.replace("alice", "Alice")), Some(Deny::TokenUser));
    case.verifier(|verifier| verifier.policy.lowercase_id = true);
    assert_eq!(case.with_claims(&CLAIMS.replace("alice", "AliCE")), None);
    case.verifier(|verifier| verifier.policy.id_claim = "sub".into());
    assert_eq!(case.denied(), Some(Deny::TokenUser));
    // An id that is no address needs nobody's word for it: what is wrong here is only whose key was asked for.
    assert_eq!(case.with_claims(&CLAIMS.replace(r#""email_verified":true,"#, "")), Some(Deny::TokenUser));
}
