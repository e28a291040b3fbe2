//! The verifiers' file: what each verifier asks of a login, checked as a vault will check it.

use serde::Deserialize;
use torus_statement::text::VerifierName;
use torus_statement::{Policy, TimeConstants, Verifier, Wire};

use super::GenesisError;
use super::jwks::{Jwks, issuer_keys};

/// Most verifiers of a network file.
const MAX_VERIFIERS: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    issuer: String,
    audiences: Vec<String>,
    id_claim: String,
    lowercase_id: bool,
    max_age: u32,
    low_s: bool,
    jwks: Jwks,
}

/// Parses the file; the verifiers come in the order of their names.
pub(super) fn parse(json: &[u8], times: &TimeConstants) -> Result<Vec<Verifier>, GenesisError> {
    let entries: Vec<Entry> =
        serde_json::from_slice(json).map_err(|e| GenesisError::Argument(format!("the verifiers' file: {e}")))?;
    if entries.is_empty() || entries.len() > MAX_VERIFIERS {
        return Err(GenesisError::Argument(format!("the verifiers' file: 1 to {MAX_VERIFIERS} verifiers")));
    }
    let mut verifiers = entries.into_iter().map(|entry| verifier(entry, times)).collect::<Result<Vec<_>, _>>()?;
    verifiers.sort_by(|a, b| a.name.cmp(&b.name));
    for (place, verifier) in verifiers.iter().enumerate() {
        let bad = |why: String| Err(GenesisError::Verifier(verifier.name.to_string(), why));
        for other in verifiers.iter().skip(place.saturating_add(1)) {
            if other.name == verifier.name {
                return bad("its name is there twice".into());
            }
            // One token would be a login under both.
            let shared = verifier.policy.audiences.iter().find(|audience| other.policy.audiences.contains(audience));
            if let (true, Some(audience)) = (other.policy.issuer == verifier.policy.issuer, shared) {
                return bad(format!("{} takes tokens of the same issuer for audience {audience}", other.name));
            }
        }
    }
    Ok(verifiers)
}

fn verifier(entry: Entry, times: &TimeConstants) -> Result<Verifier, GenesisError> {
    let bad = |why: String| GenesisError::Verifier(entry.name.clone(), why);
    let name = VerifierName::new(&entry.name).ok_or_else(|| {
        bad("a name has 1 to 128 printable ASCII characters without space, quote or backslash".into())
    })?;
    if entry.max_age == 0 || u64::from(entry.max_age).saturating_mul(1000) > u64::from(times.token_age) {
        return Err(bad(format!("max_age is 1 to {} seconds", times.token_age / 1000)));
    }
    if entry.audiences.iter().any(String::is_empty) {
        return Err(bad("an audience is empty".into()));
    }
    let keys = issuer_keys(&entry.jwks).map_err(bad)?;
    let verifier = Verifier {
        name,
        policy: Policy {
            issuer: entry.issuer,
            audiences: entry.audiences,
            id_claim: entry.id_claim,
            lowercase_id: entry.lowercase_id,
            max_age: entry.max_age,
            low_s: entry.low_s,
        },
        keys,
    };
    // What a vault will read must be what is written: this is where every bound is checked.
    match Verifier::from_bytes(&verifier.to_bytes()) {
        Ok(read) if read == verifier => Ok(verifier),
        Ok(_) => Err(GenesisError::Verifier(entry.name, "it cannot be written".into())),
        Err(error) => Err(GenesisError::Verifier(entry.name, error.to_string())),
    }
}
