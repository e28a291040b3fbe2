//! Whether a token satisfies a verifier's policy, and which user it names (OpenID Connect Core 1.0, section 3.1.3.7).

use alloc::string::String;

use torus_statement::TimeConstants;
use torus_statement::policy::{Policy, Verifier};
use torus_statement::text::VerifierId;

use crate::deny::Deny;
use crate::json::{Object, Value};
use crate::jws::Token;

/// Whom a token logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user, from the claim that the policy names.
    pub id: VerifierId,
    /// `iat` in seconds since 1970.
    pub issued_at: u64,
}

/// Checks signature, issuer, audience and times of a token at `now` (vault time in milliseconds since 1970).
///
/// # Errors
/// The refusals whose names begin with `Token`.
pub fn evaluate(token: &str, verifier: &Verifier, times: &TimeConstants, now: u64) -> Result<Login, Deny> {
    let claims = genuine(token, verifier)?;
    let issued_at = issue_time(&claims, &verifier.policy, times, now)?;
    Ok(Login { id: user(&claims, &verifier.policy)?, issued_at })
}

/// When a token was issued (`iat` in seconds since 1970), whatever the time is; `None` if it is not the verifier's.
pub fn issued(token: &str, verifier: &Verifier) -> Option<u64> {
    seconds(&genuine(token, verifier).ok()?, "iat").ok()?
}

/// The claims, if signature, issuer and audience are the verifier's.
fn genuine(token: &str, verifier: &Verifier) -> Result<Object, Deny> {
    let claims = Token::parse(token)?.claims(verifier)?;
    let policy = &verifier.policy;
    if claims.get("iss") != Some(&Value::Text(policy.issuer.clone())) {
        return Err(Deny::TokenIssuer);
    }
    audience(&claims, policy)?;
    Ok(claims)
}

/// One allowed audience, or a list of nothing but allowed ones.
fn audience(claims: &Object, policy: &Policy) -> Result<(), Deny> {
    let allowed = |audience: &String| policy.audiences.contains(audience);
    match claims.get("aud") {
        Some(Value::Text(audience)) if allowed(audience) => Ok(()),
        Some(Value::Texts(audiences)) if !audiences.is_empty() && audiences.iter().all(allowed) => Ok(()),
        _ => Err(Deny::TokenAudience),
    }
}

fn issue_time(claims: &Object, policy: &Policy, times: &TimeConstants, now: u64) -> Result<u64, Deny> {
    let (Some(issued_at), Some(expires)) = (seconds(claims, "iat")?, seconds(claims, "exp")?) else {
        return Err(Deny::TokenTime);
    };
    // Seconds are below 2^53, so thousandfold they fit.
    let millis = |seconds: u64| seconds.saturating_mul(1000);
    let latest = now.saturating_add(times.skew.into());
    let age = millis(policy.max_age.into()).min(times.token_age.into());
    let in_time = millis(expires) > now
        && seconds(claims, "nbf")?.is_none_or(|from| millis(from) <= latest)
        && millis(issued_at) <= latest
        && millis(issued_at) >= now.saturating_sub(age);
    if in_time { Ok(issued_at) } else { Err(Deny::TokenTime) }
}

/// A time claim: a whole number of seconds, or absent.
fn seconds(claims: &Object, name: &str) -> Result<Option<u64>, Deny> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Integer(seconds)) => Ok(Some(*seconds)),
        Some(_) => Err(Deny::TokenTime),
    }
}

/// The id claim. An address names somebody only if the token itself says, as a boolean, that its issuer verified it:
/// silence is no assertion, and the word "true" is not what OpenID Connect Core 1.0, section 5.1 defines.
fn user(claims: &Object, policy: &Policy) -> Result<VerifierId, Deny> {
    let Some(Value::Text(id)) = claims.get(&policy.id_claim) else { return Err(Deny::TokenId) };
    if policy.id_claim == "email" && claims.get("email_verified") != Some(&Value::Bool(true)) {
        return Err(Deny::TokenId);
    }
    let lowered = policy.lowercase_id.then(|| id.to_ascii_lowercase());
    VerifierId::new(lowered.as_ref().unwrap_or(id)).ok_or(Deny::TokenId)
}
