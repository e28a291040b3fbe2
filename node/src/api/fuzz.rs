//! The body of the fuzz target `rpc`: a request's body, from bytes to a call. Compiled for tests and for fuzzing alone.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a finding is a panic")]

use serde_json::Value;
use torus_ipc::request::MAX_TOKEN;
use torus_statement::receipt::MAX_RECEIPT;

use super::http::frame;
use super::params::{Call, Login, User};

/// Most bytes of a refusal's text: none repeats what was asked at length.
const MAX_REFUSAL: usize = 256;

/// Whether the bytes are a call that is served.
///
/// # Panics
/// If a call holds what its types do not promise, or an answer could not be sent.
pub fn body(data: &[u8]) -> bool {
    let (id, method, params) = match frame(data) {
        Ok(taken) => taken,
        Err(error) => return refused(&error.to_json()),
    };
    assert!(id.is_null() || id.is_number() || id.as_str().is_some_and(|text| text.len() <= 64));
    let call = match Call::parse(&method, &params) {
        Ok(call) => call,
        Err(error) => return refused(&error.to_json()),
    };
    assert_eq!(call.name(), method);
    assert_eq!(Call::parse(&method, &params), Ok(call.clone()));
    match &call {
        Call::Share(login) | Call::ShareOrAssign(login) => logs_in(login, &call),
        Call::KeyAssign(user)
        | Call::VerifierLookup(user)
        | Call::PublicKeyOrAssign(user)
        | Call::CertifiedLookup(user) => names(user),
        Call::Commitment(commitment) => assert!(commitment.verifier.as_str().len() <= 128),
        Call::Ping | Call::KeyLookup(_) | Call::NetworkFile => {}
    }
    true
}

fn refused(error: &Value) -> bool {
    assert!(error["code"].as_i64().is_some_and(|code| code < 0));
    assert!(error["data"].as_str().is_some_and(|text| !text.is_empty() && text.len() <= MAX_REFUSAL));
    false
}

fn names(user: &User) {
    assert!((1..=512).contains(&user.id.as_str().len()) && !user.id.as_str().contains(char::is_control));
    assert!((1..=128).contains(&user.verifier.as_str().len()));
}

fn logs_in(login: &Login, call: &Call) {
    names(&login.user);
    assert!((1..=MAX_TOKEN).contains(&login.token.len()) && login.token.trim() == login.token);
    assert!(login.receipts.len() <= 30 && login.receipts.iter().all(|receipt| receipt.data.len() <= MAX_RECEIPT));
    assert!((1..=7 * 86_400).contains(&login.session_seconds));
    // A token is nowhere in what is printed, unless the caller put it elsewhere as well.
    let elsewhere =
        [login.user.id.as_str(), login.user.verifier.as_str()].iter().any(|text| text.contains(&login.token));
    assert!(login.token.len() < 16 || elsewhere || !format!("{call:?}").contains(&login.token));
}

/// A call of every method.
pub fn seeds() -> Vec<Vec<u8>> {
    let user = r#"{"verifier":"demo","verifier_id":"alice@example.com","client_time":"1700000000"}"#;
    // The generator of secp256k1, and r = s = 1.
    let (x, y) = (
        "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8",
    );
    let one = format!("{:0>64}", 1);
    let commitment = format!(
        r#"{{"messageprefix":"mug00","keytype":"secp256k1","tokencommitment":"{one}","temppubx":"{x}","temppuby":"{y}","verifieridentifier":"demo","verifier_id":"a","is_import_key_flow":true}}"#
    );
    let login = format!(
        r#"{{"encrypted":"yes","use_temp":true,"verifieridentifier":"demo","temppubx":"","temppuby":"","item":[{{"verifier_id":"alice@example.com","idtoken":"header.payload.signature","key_type":"secp256k1","nodesignatures":[null,{{"data":"mug00","signature":"{one}{one}1b"}}],"verifieridentifier":"demo","session_token_exp_second":86400}}],"one_key_flow":true}}"#
    );
    let calls = [
        ("Ping", "{}".to_owned()),
        ("NetworkFile", "null".to_owned()),
        ("KeyAssign", user.to_owned()),
        ("VerifierLookupRequest", user.to_owned()),
        ("GetPubKeyOrKeyAssign", user.to_owned()),
        ("CertifiedLookup", user.to_owned()),
        ("KeyLookupRequest", format!(r#"{{"pub_key_X":"{x}","pub_key_Y":"{y}"}}"#)),
        ("CommitmentRequest", commitment),
        ("ShareRequest", login.clone()),
        ("GetShareOrKeyAssign", login),
    ];
    let body = |(method, params): &(&str, String)| {
        format!(r#"{{"jsonrpc":"2.0","method":"{method}","id":10,"params":{params}}}"#).into_bytes()
    };
    calls.iter().map(body).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_of_every_method_is_taken_and_no_bent_one_breaks_a_bound() {
        for (number, seed) in seeds().into_iter().enumerate() {
            assert!(body(&seed), "seed {number} is refused");
            for place in 0..seed.len() {
                for change in [1, 0x0c, 0x80] {
                    let mut bent = seed.clone();
                    bent[place] ^= change;
                    body(&bent);
                }
                assert!(!body(&seed[..place]), "seed {number} cut to {place}");
            }
        }
    }
}
