//! An issuer whose keys the bodies know, and the one login that a vault would release a share for.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use torus_release::{Clock, Commitment, Deny, EpochState, Grant, Inputs, Seen, decide};
use torus_statement::certificate::Certified;
use torus_statement::policy::{IssuerKey, IssuerPublicKey, Verifier};
use torus_statement::receipt::SignedReceipt;
use torus_statement::state::key;
use torus_statement::text::VerifierId;
use torus_statement::{Hash, keccak256};

use crate::kit::{self, NOW, Purpose, State};

/// What the issuer says of the user.
pub const CLAIMS: &str = r#"{"iss":"https://issuer","aud":"torus","sub":"1","email":"alice@example.com","email_verified":true,"iat":1699999990,"exp":1700000110}"#;

const RS256: &[u8] = include_bytes!("../../../vault/release/testdata/issuer-rs256.pk8");
/// RFC 6979, A.2.5.
const ES256: &str = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721";
const ES256_PUBLIC: &str = "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";

struct Issuer {
    rsa: RsaKeyPair,
    ecdsa: EcdsaKeyPair,
    eddsa: Ed25519KeyPair,
}

fn issuer() -> &'static Issuer {
    static ISSUER: OnceLock<Issuer> = OnceLock::new();
    ISSUER.get_or_init(|| {
        let (secret, xy) = (hex::decode(ES256).unwrap(), [vec![4], hex::decode(ES256_PUBLIC).unwrap()].concat());
        let rng = SystemRandom::new();
        Issuer {
            rsa: RsaKeyPair::from_pkcs8(RS256).unwrap(),
            ecdsa: EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, &secret, &xy, &rng)
                .unwrap(),
            eddsa: Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap(),
        }
    })
}

/// The verifier with the issuer's three keys: r, e, d.
pub fn verifier() -> &'static Verifier {
    static VERIFIER: OnceLock<Verifier> = OnceLock::new();
    VERIFIER.get_or_init(|| {
        let issuer = issuer();
        let rsa = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(issuer.rsa.public_key());
        let ecdsa = issuer.ecdsa.public_key().as_ref()[1..].try_into().unwrap();
        let eddsa = issuer.eddsa.public_key().as_ref().try_into().unwrap();
        let keys = [
            ("r", IssuerPublicKey::Rs256 { n: rsa.n, e: rsa.e }),
            ("e", IssuerPublicKey::Es256(ecdsa)),
            ("d", IssuerPublicKey::EdDsa(eddsa)),
        ];
        Verifier { keys: keys.map(|(id, key)| IssuerKey { id: id.into(), key }).into(), ..kit::asked() }
    })
}

/// A token of this header and these claims in the name of key d.
pub fn signed(header: &[u8], claims: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = issuer().eddsa.sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Good tokens by the keys r, e and d, the last of which is committed.
pub fn tokens() -> &'static [String; 3] {
    static TOKENS: OnceLock<[String; 3]> = OnceLock::new();
    TOKENS.get_or_init(|| {
        let part = |algorithm: &str, key: &str| {
            let header = format!(r#"{{"alg":"{algorithm}","kid":"{key}","typ":"JWT"}}"#);
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(CLAIMS))
        };
        let rng = SystemRandom::new();
        let rsa = part("RS256", "r");
        let mut signature = vec![0; issuer().rsa.public().modulus_len()];
        issuer().rsa.sign(&RSA_PKCS1_SHA256, &rng, rsa.as_bytes(), &mut signature).unwrap();
        let ecdsa = part("ES256", "e");
        // Every second one is low-s.
        let low = std::iter::repeat_with(|| issuer().ecdsa.sign(&rng, ecdsa.as_bytes()).unwrap());
        let low = low.map(|signature| signature.as_ref().to_vec()).find(|signature| signature[32] < 0x7f).unwrap();
        [
            format!("{rsa}.{}", URL_SAFE_NO_PAD.encode(signature)),
            format!("{ecdsa}.{}", URL_SAFE_NO_PAD.encode(low)),
            signed(br#"{"alg":"EdDSA","kid":"d","typ":"JWT"}"#, CLAIMS.as_bytes()),
        ]
    })
}

/// The one committed token.
pub fn committed() -> &'static str {
    &tokens()[2]
}

/// A vault's decision about a token: everything but the token itself holds.
pub fn decision(token: &str) -> Result<Grant, Deny> {
    static PROOF: OnceLock<(Hash, Vec<SignedReceipt>, State, Certified)> = OnceLock::new();
    let (hash, receipts, state, header) = PROOF.get_or_init(|| {
        let hash = keccak256(committed().as_bytes());
        let receipts = (1..=4).map(|member| kit::signed_receipt(member, hash)).collect();
        let state = kit::certified(verifier().clone());
        let header = state.header.verify(kit::config()).unwrap();
        (hash, receipts, state, header)
    });
    let named = kit::verifier();
    decide(&Inputs {
        config: kit::config(),
        member: kit::index(2),
        epoch: EpochState { active: true, frozen: false },
        clock: Clock { own: NOW * 1000, floor: 0 },
        seen: Seen { height: 10, time: (NOW - 5) * 1000 },
        not_before: NOW - 1000,
        room: true,
        commitment: Some(&Commitment { token: *hash, temporary: kit::public(Purpose::Other, 1) }),
        pinned: None,
        token,
        named: &named,
        receipts,
        header,
        policy: &state.policy,
        user: &key::user(&VerifierId::new(kit::USER).unwrap()),
        assignment: &state.assignment,
        key: &state.key,
    })
}
