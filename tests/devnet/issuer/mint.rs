//! Id tokens on request, for whoever asks: what a login page would give its user, without the page.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::keys::{Algorithm, HalfOfS, Keys};

/// Seconds from issue to expiry.
const LIFETIME: i64 = 120;

/// What a query may ask of a token. Whatever is not asked is as an honest issuer has it.
#[derive(Clone, Debug)]
pub(super) struct Order {
    algorithm: Algorithm,
    half: HalfOfS,
    email: String,
    email_verified: bool,
    subject: String,
    audience: String,
    nonce: Option<String>,
    issued_offset: i64,
}

impl Order {
    /// Reads `alg=…&email=…` and, for tests, `aud`, `sub`, `nonce`, `iat_offset`, `s=high`, `email_verified=false`.
    pub(super) fn parse(query: &str, default_audience: &str) -> Result<Self, String> {
        let mut fields = fields(query)?;
        let algorithm = fields.remove("alg").unwrap_or_else(|| "ES256".to_owned());
        let algorithm = Algorithm::named(&algorithm).ok_or_else(|| format!("alg {algorithm} is not signed here"))?;
        let email = fields.remove("email").filter(|e| !e.is_empty()).ok_or("email is missing")?;
        let subject = fields.remove("sub").unwrap_or_else(|| subject_of(&email));
        let half = match fields.remove("s").as_deref() {
            None | Some("low") => HalfOfS::Low,
            Some("high") => HalfOfS::High,
            Some(other) => return Err(format!("s is low or high, not {other}")),
        };
        let issued_offset = fields.remove("iat_offset").map_or(Ok(0), |text| {
            text.parse::<i64>().ok().filter(|o| o.abs() < 1 << 40).ok_or(format!("iat_offset {text} is no number"))
        })?;
        let order = Self {
            algorithm,
            half,
            email,
            email_verified: fields.remove("email_verified").is_none_or(|v| v != "false"),
            subject,
            audience: fields.remove("aud").unwrap_or_else(|| default_audience.to_owned()),
            nonce: fields.remove("nonce"),
            issued_offset,
        };
        match fields.keys().next() {
            Some(unknown) => Err(format!("{unknown} is not a field of a token here")),
            None => Ok(order),
        }
    }

    /// The token, a compact JWS. `now` in seconds since 1970; `unique` makes two tokens of one second differ.
    pub(super) fn fill(&self, keys: &Keys, issuer: &str, now: u64, unique: &str) -> Result<String, String> {
        let issued = i64::try_from(now).unwrap_or(i64::MAX).saturating_add(self.issued_offset);
        let header = json!({"alg": self.algorithm.name(), "kid": keys.kid(self.algorithm), "typ": "JWT"});
        let mut claims = json!({
            "iss": issuer, "aud": self.audience, "sub": self.subject, "email": self.email,
            "email_verified": self.email_verified, "iat": issued, "exp": issued.saturating_add(LIFETIME),
            "jti": unique,
        });
        if let (Some(nonce), Some(map)) = (&self.nonce, claims.as_object_mut()) {
            map.insert("nonce".to_owned(), nonce.as_str().into());
        }
        let mut token =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = keys.sign(self.algorithm, self.half, token.as_bytes())?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Ok(token)
    }
}

/// A stable identifier that says nothing of the address.
fn subject_of(email: &str) -> String {
    hex::encode(Sha256::digest(email).get(..10).unwrap_or_default())
}

/// The fields of a query; one named twice is refused.
fn fields(query: &str) -> Result<BTreeMap<String, String>, String> {
    let mut fields = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if fields.insert(decoded(name)?, decoded(value)?).is_some() {
            return Err(format!("{name} is there twice"));
        }
    }
    Ok(fields)
}

/// Percent-decoded text. A plus stays a plus: addresses have them, and no client of ours means a space by it.
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next(), rest.next()].map(|d| d.and_then(|d| char::from(d).to_digit(16)));
        let [Some(high), Some(low)] = digits else { return Err(format!("{text} is not percent-encoded")) };
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| format!("{text} is no text"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn claims(token: &str) -> Value {
        let part = token.split('.').nth(1).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn a_token_says_what_was_ordered_and_two_never_are_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path()).unwrap();
        let order = Order::parse("alg=ES256&email=al%2Bice@example.com&nonce=ab&iat_offset=-30", "app").unwrap();
        let one = order.fill(&keys, "http://127.0.0.1:1", 1_000, "1").unwrap();
        let two = order.fill(&keys, "http://127.0.0.1:1", 1_000, "2").unwrap();
        assert_ne!(one, two);
        let claims = claims(&one);
        assert_eq!(claims["email"], "al+ice@example.com");
        assert_eq!((&claims["iat"], &claims["exp"]), (&970.into(), &1_090.into()));
        assert_eq!((&claims["nonce"], &claims["aud"]), (&"ab".into(), &"app".into()));
    }

    #[test]
    fn an_order_that_is_not_understood_is_refused() {
        for query in ["alg=none&email=a", "email=", "email=a&email=b", "email=a&role=admin", "email=%4", "email=a&s=x"]
        {
            assert!(Order::parse(query, "app").is_err(), "{query}");
        }
    }
}
