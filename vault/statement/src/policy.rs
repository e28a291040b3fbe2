//! Verifiers: whose logins a network takes, and what a login must prove.

use alloc::string::String;
use alloc::vec::Vec;

use crate::codec::{Malformed, Reader, Wire, Writer};
use crate::text::VerifierName;

/// A verifier as the state holds it: a name, what it asks of a login, and its issuer's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    /// The name.
    pub name: VerifierName,
    /// What a login must prove.
    pub policy: Policy,
    /// The issuer's signing keys, at most 16.
    pub keys: Vec<IssuerKey>,
}

/// What a login must prove: an OpenID Connect id token of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `iss`, compared byte by byte.
    pub issuer: String,
    /// The token's `aud` must be one of these, or a list that holds nothing but these.
    pub audiences: Vec<String>,
    /// The claim that names the user, for example `email` or `sub`.
    pub id_claim: String,
    /// Ids compare without ASCII case: the claim is lowered before it is looked up.
    pub lowercase_id: bool,
    /// The oldest token, in seconds since its `iat`.
    pub max_age: u32,
    /// The issuer emits low-s ECDSA signatures only; without this no ECDSA token is taken, since a high-s token's
    /// low-s twin would be a fresh commitment to the same login.
    pub low_s: bool,
}

/// A signing key of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerKey {
    /// The `kid` that tokens name; empty if the issuer has one key and names none.
    pub id: String,
    /// The key.
    pub key: IssuerPublicKey,
}

/// A public key of an issuer; the algorithm is the key's, never the token's to choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerPublicKey {
    /// RSA PKCS#1 v1.5 with SHA-256: modulus of 2048 to 4096 bits and exponent, big-endian without leading zeros.
    Rs256 {
        /// Modulus.
        n: Vec<u8>,
        /// Exponent.
        e: Vec<u8>,
    },
    /// ECDSA on P-256 with SHA-256: x | y.
    Es256([u8; 64]),
    /// Ed25519.
    EdDsa([u8; 32]),
}

const RS256: u8 = 1;
const ES256: u8 = 2;
const EDDSA: u8 = 3;

impl Wire for IssuerKey {
    fn write(&self, w: &mut Writer) {
        w.string(&self.id);
        match &self.key {
            IssuerPublicKey::Rs256 { n, e } => w.u8(RS256).bytes(n).bytes(e),
            IssuerPublicKey::Es256(xy) => w.u8(ES256).raw(xy),
            IssuerPublicKey::EdDsa(key) => w.u8(EDDSA).raw(key),
        };
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let id = r.string(128)?;
        let key = match r.u8()? {
            RS256 => {
                let (n, e) = (r.bytes(512)?, r.bytes(8)?);
                let odd = |bytes: &[u8]| bytes.last().is_some_and(|byte| byte & 1 == 1);
                let bare = |bytes: &[u8]| bytes.first().is_some_and(|byte| *byte != 0);
                if n.len() < 256 || !odd(n) || !bare(n) || !odd(e) || !bare(e) {
                    return Err(Malformed::Field("RSA key"));
                }
                IssuerPublicKey::Rs256 { n: n.into(), e: e.into() }
            }
            ES256 => IssuerPublicKey::Es256(r.array()?),
            EDDSA => IssuerPublicKey::EdDsa(r.array()?),
            _ => return Err(Malformed::Field("issuer key")),
        };
        Ok(Self { id, key })
    }
}

impl Wire for Policy {
    fn write(&self, w: &mut Writer) {
        w.string(&self.issuer).list(&self.audiences, |w, audience| {
            w.string(audience);
        });
        w.string(&self.id_claim).bool(self.lowercase_id).u32(self.max_age).bool(self.low_s);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let policy = Self {
            issuer: r.string(512)?,
            audiences: r.list(16, |r| r.string(512))?,
            id_claim: r.string(64)?,
            lowercase_id: r.bool()?,
            max_age: r.u32()?,
            low_s: r.bool()?,
        };
        if policy.issuer.is_empty() || policy.audiences.is_empty() || policy.id_claim.is_empty() {
            return Err(Malformed::Field("policy"));
        }
        Ok(policy)
    }
}

impl Wire for Verifier {
    fn write(&self, w: &mut Writer) {
        // The policy's version: later forms are trees of leaves.
        w.u8(1);
        self.name.write(w);
        self.policy.write(w);
        w.list(&self.keys, |w, key| key.write(w));
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if r.u8()? != 1 {
            return Err(Malformed::Version);
        }
        Ok(Self { name: VerifierName::read(r)?, policy: Policy::read(r)?, keys: r.list(16, IssuerKey::read)? })
    }
}
