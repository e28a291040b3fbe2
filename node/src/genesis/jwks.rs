//! Issuers' keys from a JSON Web Key Set (RFC 7517, 7518, 8037): RSA for RS256, P-256 for ES256, Ed25519.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use serde::Deserialize;
use torus_statement::hash::sha256;
use torus_statement::policy::{IssuerKey, IssuerPublicKey};

/// Most keys of an issuer.
const MAX_KEYS: usize = 16;

/// A key set as issuers serve it.
#[derive(Deserialize)]
pub(super) struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    kid: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// The private part: its presence means that somebody is about to publish it.
    d: Option<serde::de::IgnoredAny>,
}

/// The signing keys of a set; encryption keys are left out, any other that cannot be used is refused by name.
pub(super) fn issuer_keys(set: &Jwks) -> Result<Vec<IssuerKey>, String> {
    let mut keys: Vec<IssuerKey> = Vec::new();
    for jwk in set.keys.iter().filter(|jwk| jwk.usage.as_deref() != Some("enc")) {
        let key = issuer_key(jwk).map_err(|why| format!("key {:?}: {why}", jwk.kid))?;
        if keys.iter().any(|other| other.id == key.id) {
            return Err(format!("two keys have the id {:?}", key.id));
        }
        keys.push(key);
    }
    if keys.is_empty() || keys.len() > MAX_KEYS {
        return Err(format!("an issuer has 1 to {MAX_KEYS} signing keys"));
    }
    if keys.len() > 1 && keys.iter().any(|key| key.id.is_empty()) {
        return Err("one of several keys has no id".into());
    }
    Ok(keys)
}

fn issuer_key(jwk: &Jwk) -> Result<IssuerKey, String> {
    if jwk.d.is_some() {
        return Err("it holds the private key".into());
    }
    if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return Err("it is not for signatures".into());
    }
    let (algorithm, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", None) => {
            let (n, e) = (number(&jwk.n, "n")?, number(&jwk.e, "e")?);
            if !(256..=512).contains(&n.len()) {
                return Err("RSA keys have 2048 to 4096 bits".into());
            }
            ("RS256", IssuerPublicKey::Rs256 { n, e })
        }
        ("EC", Some("P-256")) => {
            let (x, y): ([u8; 32], [u8; 32]) = (fixed(&jwk.x, "x")?, fixed(&jwk.y, "y")?);
            let mut xy = [0; 64];
            for (to, from) in xy.iter_mut().zip(x.iter().chain(&y)) {
                *to = *from;
            }
            ("ES256", IssuerPublicKey::Es256(xy))
        }
        ("OKP", Some("Ed25519")) => {
            let key = fixed(&jwk.x, "x")?;
            VerifyingKey::from_bytes(&key).map_err(|_| "x is no Ed25519 key")?;
            ("EdDSA", IssuerPublicKey::EdDsa(key))
        }
        (kty, crv) => return Err(format!("{kty} {} is not supported", crv.unwrap_or_default())),
    };
    match jwk.alg.as_deref() {
        None => {}
        Some(alg) if alg == algorithm => {}
        Some(alg) => return Err(format!("algorithm {alg} is not supported, this kind of key makes {algorithm}")),
    }
    Ok(IssuerKey { id: jwk.kid.clone(), key })
}

/// The key's thumbprint (RFC 7638): what an issuer's key set gives for the same key.
pub(super) fn thumbprint(key: &IssuerPublicKey) -> String {
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let members = match key {
        IssuerPublicKey::Rs256 { n, e } => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(e), text(n)),
        IssuerPublicKey::Es256(xy) => {
            let (x, y) = xy.split_at(32);
            format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, text(x), text(y))
        }
        IssuerPublicKey::EdDsa(x) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text(x)),
    };
    text(&sha256("", &[members.as_bytes()]))
}

fn decode(text: &Option<String>, name: &str) -> Result<Vec<u8>, String> {
    let text = text.as_ref().ok_or_else(|| format!("{name} is missing"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("{name} is not base64url"))
}

fn number(text: &Option<String>, name: &str) -> Result<Vec<u8>, String> {
    // Some issuers write a sign byte, which the number does not have.
    Ok(decode(text, name)?.into_iter().skip_while(|byte| *byte == 0).collect())
}

fn fixed(text: &Option<String>, name: &str) -> Result<[u8; 32], String> {
    decode(text, name)?.try_into().map_err(|_| format!("{name} does not have 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7638 section 3.1, and RFC 8037 appendix A.3.
    #[test]
    fn thumbprints_are_those_of_the_rfcs() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknj\
                 hMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQ\
                 vRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzK\
                 nqDKgw";
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let rsa = IssuerPublicKey::Rs256 { n: bytes(n), e: bytes("AQAB") };
        assert_eq!(thumbprint(&rsa), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        let x = bytes("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        let ed25519 = IssuerPublicKey::EdDsa(x.try_into().unwrap());
        assert_eq!(thumbprint(&ed25519), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
