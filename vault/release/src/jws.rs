//! Login tokens: compact JWS (RFC 7515) in its one text, parsed by hand because the decision hangs on every character.

use alloc::string::String;
use alloc::vec::Vec;

use torus_statement::policy::Verifier;

use crate::base64url;
use crate::deny::Deny;
use crate::json::{Object, Value};
use crate::signature;

/// Most bytes of a token's text.
pub const MAX_TOKEN: usize = 16 << 10;
/// Most characters of the header's segment.
const MAX_HEADER: usize = 4 << 10;
/// Most characters of the signature's segment: 512 bytes.
const MAX_SIGNATURE: usize = 683;
/// Header members that change what is signed, or bring a key along.
const REFUSED: [&str; 7] = ["crit", "b64", "zip", "enc", "jwk", "jku", "x5u"];

/// A token in its one text: three strict base64url segments, a header that asks for nothing unknown. Not yet verified.
pub struct Token<'a> {
    signed: &'a str,
    algorithm: String,
    key: String,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Splits and decodes.
    ///
    /// # Errors
    /// [`Deny::TokenForm`] for whatever is not the one text of a signed login token.
    pub fn parse(text: &'a str) -> Result<Self, Deny> {
        if text.len() > MAX_TOKEN {
            return Err(Deny::TokenForm);
        }
        // base64url::decode refuses all but its 64 ASCII digits, so a third dot stays in a segment and is refused.
        let (signed, signature) = text.rsplit_once('.').ok_or(Deny::TokenForm)?;
        let (header, payload) = signed.split_once('.').ok_or(Deny::TokenForm)?;
        if header.len() > MAX_HEADER || signature.len() > MAX_SIGNATURE {
            return Err(Deny::TokenForm);
        }
        let decode = |segment: &str| base64url::decode(segment).filter(|bytes| !bytes.is_empty());
        let (Some(header), Some(payload), Some(signature)) = (decode(header), decode(payload), decode(signature))
        else {
            return Err(Deny::TokenForm);
        };
        let header = Object::parse(&header).map_err(|_| Deny::TokenForm)?;
        if REFUSED.iter().any(|name| header.get(name).is_some()) {
            return Err(Deny::TokenForm);
        }
        // Other types of token (access tokens are at+jwt) are no logins, whoever signed them.
        match header.get("typ") {
            None => {}
            Some(Value::Text(typ)) if typ.eq_ignore_ascii_case("JWT") => {}
            Some(_) => return Err(Deny::TokenForm),
        }
        let Some(Value::Text(algorithm)) = header.get("alg") else { return Err(Deny::TokenForm) };
        let key = match header.get("kid") {
            None => String::new(),
            Some(Value::Text(key)) if !key.is_empty() => key.clone(),
            Some(_) => return Err(Deny::TokenForm),
        };
        Ok(Self { signed, algorithm: algorithm.clone(), key, payload, signature })
    }

    /// Checks the signature under the verifier's key that the token names, then parses the claims.
    ///
    /// # Errors
    /// [`Deny::TokenKey`] if no single key bears the name or the key is for another algorithm, [`Deny::TokenForm`] for a
    /// signature or claims that are not in their one form, [`Deny::TokenSignature`] if it does not verify.
    pub(crate) fn claims(&self, verifier: &Verifier) -> Result<Object, Deny> {
        let mut named = verifier.keys.iter().filter(|key| key.id == self.key);
        let (Some(key), None) = (named.next(), named.next()) else { return Err(Deny::TokenKey) };
        // The algorithm is the key's; the token may only agree.
        if signature::algorithm(&key.key) != self.algorithm {
            return Err(Deny::TokenKey);
        }
        signature::verify(&key.key, verifier.policy.low_s, self.signed.as_bytes(), &self.signature)?;
        Object::parse(&self.payload).map_err(|_| Deny::TokenForm)
    }
}
