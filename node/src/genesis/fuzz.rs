//! The body of the fuzz target `founding`: what operators hand the founder, from JSON to verifiers and certificates.
//! Compiled for tests and for fuzzing alone.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a finding is a panic")]

use std::collections::BTreeSet;

use torus_mapping::genesis_root;
use torus_statement::text::NetworkName;
use torus_statement::{Sizes, TimeConstants, Verifier, Wire};

/// Whether the bytes are what the first of them names: 0 a verifiers' file, 1 a member's file of network devnet.
///
/// # Panics
/// If something is taken that a vault would refuse, or that lets one token log in twice.
pub fn body(data: &[u8]) -> bool {
    match data.split_first() {
        Some((0, json)) => verifiers(json),
        Some((1, json)) => member(json),
        _ => false,
    }
}

fn verifiers(json: &[u8]) -> bool {
    let Ok(verifiers) = super::verifiers::parse(json, &TimeConstants::DEFAULT) else { return false };
    let mut accepted = BTreeSet::new();
    for verifier in &verifiers {
        assert_eq!(Verifier::from_bytes(&verifier.to_bytes()).as_ref(), Ok(verifier));
        assert!((1..=16).contains(&verifier.keys.len()) && (1..=3600).contains(&verifier.policy.max_age));
        let audiences: BTreeSet<_> = verifier.policy.audiences.iter().collect();
        for audience in audiences {
            assert!(!audience.is_empty());
            assert!(accepted.insert((&verifier.policy.issuer, audience)), "one token, two logins");
        }
        let ids: BTreeSet<_> = verifier.keys.iter().map(|key| &key.id).collect();
        assert_eq!(ids.len(), verifier.keys.len());
    }
    assert!(verifiers.is_sorted_by(|a, b| a.name < b.name));
    assert!(genesis_root(&verifiers).is_ok());
    true
}

fn member(json: &[u8]) -> bool {
    let (network, sizes) = (NetworkName::new("devnet").unwrap(), Sizes::new(5, 3, 1).unwrap());
    let Ok(certificate) = super::member(json, &network, sizes) else { return false };
    let keys = &certificate.keys;
    assert!(certificate.verifies() && keys.network == network && sizes.member(keys.index.get()).is_some());
    assert_eq!((keys.epoch, keys.attempt), (1, 0));
    true
}

/// Verifiers' files: with keys of each kind, with two verifiers.
pub fn seeds() -> Vec<Vec<u8>> {
    let n = "w".repeat(342);
    let rsa = format!(r#"{{"kty":"RSA","kid":"r","alg":"RS256","use":"sig","n":"{}","e":"AQAB"}}"#, n + "8");
    // The generators of P-256 and of Ed25519's group.
    let ec = r#"{"kty":"EC","kid":"e","crv":"P-256","x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY","y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"}"#;
    let ed = r#"{"kty":"OKP","kid":"d","crv":"Ed25519","x":"WGZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmY"}"#;
    let unused = r#"{"kty":"RSA","use":"enc"}"#;
    let verifier = |name: &str, keys: &str| {
        format!(
            r#"{{"name":"{name}","issuer":"https://{name}","audiences":["app","b"],"id_claim":"email","lowercase_id":true,"max_age":120,"low_s":false,"jwks":{{"keys":[{keys}]}}}}"#
        )
    };
    let all = verifier("demo", &format!("{rsa},{ec},{ed},{unused}"));
    let two = format!("{},{}", verifier("b", ed), verifier("a", ec));
    [all, two].map(|verifiers| format!("\0[{verifiers}]").into_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifiers_files_are_taken_and_no_bent_one_lets_a_token_log_in_twice() {
        for (number, seed) in seeds().into_iter().enumerate() {
            assert!(body(&seed), "seed {number} is refused");
            for place in 1..seed.len() {
                let mut bent = seed.clone();
                bent[place] ^= 1;
                body(&bent);
            }
        }
    }
}
