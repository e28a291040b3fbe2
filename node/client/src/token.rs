//! The user's id token, brought to its one text before anything of it leaves this machine.
//!
//! Vaults take one text of a token: strict base64url and a low-s ECDSA signature. Whoever could make a twin of it could
//! commit the twin. The signed part is never touched: a token whose signed part is not strict can't be repaired.

use base64::Engine;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{GeneralPurposeConfig, URL_SAFE_NO_PAD};
use serde_json::Value;
use torus_statement::{Hash, keccak256};
use zeroize::Zeroizing;

use crate::error::Error;

/// The order of P-256, big-endian (FIPS 186-4, D.1.2.3).
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
/// Vaults take no longer token.
const MAX_TOKEN: usize = 16 << 10;

/// A token in its one text.
pub struct Token {
    text: Zeroizing<String>,
    claims: Value,
}

impl Token {
    /// Normalises: outer white space goes, the signature is written in strict base64url, an ES256 signature gets its
    /// low s. Nothing is verified: that is the vaults' to do.
    pub fn normalise(text: &str) -> Result<Self, Error> {
        let bad = |what: &str| Error::Token(what.to_owned());
        let text = text.trim();
        if text.len() > MAX_TOKEN {
            return Err(bad("it is longer than 16 KiB"));
        }
        let segments: Vec<&str> = text.split('.').collect();
        let [header, payload, signature] = segments.as_slice() else {
            return Err(bad("it is no signed JWT: three segments joined by dots"));
        };
        let strict = |segment: &str| URL_SAFE_NO_PAD.decode(segment).ok();
        let object = |segment: &str| strict(segment).and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let header_json = object(header).ok_or_else(|| bad("its header is not JSON in strict base64url"))?;
        let claims = object(payload).ok_or_else(|| bad("its payload is not JSON in strict base64url"))?;
        let mut signature = lax(signature).ok_or_else(|| bad("its signature is not base64"))?;
        if header_json.get("alg").and_then(Value::as_str) == Some("ES256") {
            let (_, s) = signature.split_at_checked(32).ok_or_else(|| bad("its ES256 signature is not 64 bytes"))?;
            let s: [u8; 32] = s.try_into().map_err(|_| bad("its ES256 signature is not 64 bytes"))?;
            let low = low_s(s);
            signature.truncate(32);
            signature.extend_from_slice(&low);
        }
        let text = Zeroizing::new(format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(signature)));
        Ok(Self { text, claims })
    }

    /// The text that is committed and revealed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is committed.
    pub fn hash(&self) -> Hash {
        keccak256(self.text.as_bytes())
    }

    /// A claim that is text.
    pub fn claim(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }

    /// When it was issued, in seconds since 1970.
    pub fn issued(&self) -> Option<u64> {
        self.claims.get("iat").and_then(|iat| iat.as_u64().or_else(|| iat.as_f64().map(|seconds| seconds as u64)))
    }
}

/// Base64 of either alphabet, padded or not, trailing bits ignored.
fn lax(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    let config = config.with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone);
    let engine = GeneralPurpose::new(&base64::alphabet::URL_SAFE, config);
    engine.decode(text.trim_end_matches('=').replace('+', "-").replace('/', "_")).ok()
}

/// s or n - s, whichever is at most n/2; a value at or above n is left for the vault to refuse.
fn low_s(s: [u8; 32]) -> [u8; 32] {
    let mirrored = minus(&P256_ORDER, &s);
    match mirrored {
        Some(mirrored) if mirrored < s => mirrored,
        _ => s,
    }
}

/// a - b of big-endian numbers; `None` below zero.
fn minus(a: &[u8; 32], b: &[u8; 32]) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    let mut borrow = false;
    for ((to, a), b) in out.iter_mut().zip(a).zip(b).rev() {
        let (once, under) = a.overflowing_sub(*b);
        let (twice, again) = once.overflowing_sub(u8::from(borrow));
        *to = twice;
        borrow = under || again;
    }
    (!borrow).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(signature: &str) -> String {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#);
        let payload = URL_SAFE_NO_PAD.encode(r#"{"email":"alice@example.com","iat":17}"#);
        format!("{header}.{payload}.{signature}")
    }

    fn signature(s: &[u8; 32]) -> Vec<u8> {
        [&[7; 32][..], s].concat()
    }

    #[test]
    fn every_twin_of_a_token_becomes_one_text() {
        let mut low = [0x11; 32];
        low[31] = 0xfe;
        let high = minus(&P256_ORDER, &low).unwrap();
        let one = Token::normalise(&token(&URL_SAFE_NO_PAD.encode(signature(&low)))).unwrap();
        assert_eq!(one.text(), token(&URL_SAFE_NO_PAD.encode(signature(&low))), "a token in its one text stays");
        let standard = base64::engine::general_purpose::STANDARD;
        let strict = URL_SAFE_NO_PAD.encode(signature(&low));
        // 64 bytes leave four unused bits in the last digit.
        let lax_bits = format!("{}{}", &strict[..85], if strict.ends_with('g') { "h" } else { "_" });
        for twin in [
            token(&URL_SAFE_NO_PAD.encode(signature(&high))),
            token(&standard.encode(signature(&low))),
            token(&standard.encode(signature(&high))),
            format!("  {}\n", token(&strict)),
        ] {
            let normal = Token::normalise(&twin).unwrap();
            assert_eq!((normal.text(), normal.hash()), (one.text(), one.hash()));
        }
        assert!(Token::normalise(&token(&lax_bits)).is_ok());
        assert_eq!((one.claim("email"), one.issued()), (Some("alice@example.com"), Some(17)));
    }

    #[test]
    fn what_cannot_be_repaired_without_touching_the_signed_part_is_refused() {
        let good = token(&URL_SAFE_NO_PAD.encode([1; 64]));
        let padded = good.replacen('.', "=.", 1);
        for bad in ["", "a.b", "a.b.c.d", padded.as_str(), &token("AAAA"), &format!("{good}.x"), &"x".repeat(20_000)] {
            assert!(Token::normalise(bad).is_err(), "{bad:.40}");
        }
    }

    #[test]
    fn the_middle_of_the_order_is_the_bound_of_low_s() {
        let half: [u8; 32] = hex::decode("7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8")
            .unwrap()
            .try_into()
            .unwrap();
        let mut above = half;
        above[31] += 1;
        assert_eq!(low_s(half), half);
        assert_eq!(low_s(above), half, "n - (n/2 + 1) = n/2 for odd n");
        assert_eq!(low_s([0xff; 32]), [0xff; 32]);
    }
}
