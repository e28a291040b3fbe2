//! The body of the fuzz target `client`: what members answer, and the files and tokens that a user brings. Compiled for
//! tests and for fuzzing alone.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a finding is a panic")]

#[allow(unreachable_pub, reason = "shared with the other targets")]
#[path = "../../../tests/fuzz/src/kit.rs"]
mod kit;

use std::collections::BTreeSet;
use std::sync::OnceLock;

use aes::cipher::{BlockEncryptMut, KeyIvInit};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use k256::elliptic_curve::point::AffineCoordinates;
use k256::{ProjectivePoint, SecretKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};
use torus_statement::receipt::SignedReceipt;
use torus_statement::text::VerifierId;
use torus_statement::{NetworkFile, Point, Wire};

use self::kit::Purpose;
use crate::certified::{Key, Trust, proven, read_founding};
use crate::commit::{self, Wanted};
use crate::network::{Member, Network};
use crate::reveal::{self, Reveal};
use crate::rpc::{self, printable};
use crate::secret::TemporaryKey;
use crate::token::Token;

/// The committed token's hash.
const TOKEN: [u8; 32] = [6; 32];

/// Whether the bytes are what the first of them names: the answer of member 1 to one of four questions, a network's file
/// or a token.
///
/// # Panics
/// If an answer is believed that the members' keys did not sign, or a file or token is not what its type promises.
pub fn body(data: &[u8]) -> bool {
    let Some((kind, bytes)) = data.split_first() else { return false };
    match kind {
        0 => founding(bytes),
        1 => lookup(bytes),
        2 => receipt(bytes),
        3 => share(bytes),
        4 => network(bytes),
        5 => token(bytes),
        _ => false,
    }
}

fn answer(bytes: &[u8]) -> Option<Value> {
    match rpc::result(200, bytes) {
        Ok(result) => Some(result),
        Err(error) => {
            let fault = error.fault(&world().network.members[0]);
            assert!(fault.what.len() < 2000 && printable(&fault.what).len() <= fault.what.len());
            assert!(!fault.what.contains(char::is_control), "a member writes to the terminal");
            None
        }
    }
}

fn founding(bytes: &[u8]) -> bool {
    let Some(result) = answer(bytes) else { return false };
    let World { network, file, .. } = world();
    if let Ok(founding) = read_founding(network, Some(file.hash()), &result) {
        assert!(founding.trust == Trust::Genesis && founding.file == *file);
    }
    let Ok(founding) = read_founding(network, None, &result) else { return false };
    assert_eq!(founding.trust, Trust::Members);
    // Whatever else stands in it, the keys are those that the members certified.
    assert_eq!(founding.config().keys().certificates, file.config.keys().certificates);
    true
}

fn lookup(bytes: &[u8]) -> bool {
    let Some(result) = answer(bytes) else { return false };
    let id = VerifierId::new(kit::USER).unwrap();
    let Ok(key) = proven(kit::config(), &kit::verifier(), &id, &result) else { return false };
    assert_eq!(key, world().reveal.key);
    true
}

fn receipt(bytes: &[u8]) -> bool {
    let Some(result) = answer(bytes) else { return false };
    let wanted = Wanted {
        token: TOKEN,
        temporary: kit::public(Purpose::Other, 1),
        verifier: kit::verifier(),
        issued: Some(kit::NOW - 10),
    };
    let network = &world().network;
    if commit::check(network, &wanted, &network.members[0], &result).is_err() {
        return false;
    }
    assert_eq!(result["data"], kit::receipt(1, TOKEN).text());
    true
}

fn share(bytes: &[u8]) -> bool {
    let Some(result) = answer(bytes) else { return false };
    let World { network, reveal, .. } = world();
    let Ok(revealed) = reveal::check(reveal, &network.members[0], &result) else { return false };
    if let Some(session) = revealed.session {
        assert_eq!((session.member, session.token.as_str()), (1, SESSION));
    }
    true
}

fn network(bytes: &[u8]) -> bool {
    let Ok(network) = Network::parse(bytes) else { return false };
    assert!(network.members.iter().map(|member| member.index).eq(network.sizes.members()));
    let keys: BTreeSet<_> = network.members.iter().map(|member| member.key).collect();
    assert_eq!(keys.len(), network.sizes.n());
    assert!(network.members.iter().all(|member| member.endpoint.host().is_some()));
    true
}

fn token(bytes: &[u8]) -> bool {
    let Some(text) = std::str::from_utf8(bytes).ok() else { return false };
    let Ok(token) = Token::normalise(text) else { return false };
    let again = Token::normalise(token.text()).unwrap_or_else(|error| panic!("normal, and refused: {error}"));
    assert_eq!((again.text(), again.hash()), (token.text(), token.hash()));
    // Only the signature is ever rewritten.
    let signed = |text: &str| text.trim().rsplit_once('.').map(|(signed, _)| signed.to_owned());
    assert_eq!(signed(token.text()), signed(text));
    let _ = (token.issued(), token.claim("email"));
    true
}

/// What a member's session token says here.
const SESSION: &str = "eyJleHAiOjF9";

struct World {
    network: Network,
    file: NetworkFile,
    reveal: Reveal,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let (committee, state) = (kit::config().committee(), kit::state());
        let member = |(index, member): (_, &torus_statement::config::Member)| Member {
            index,
            endpoint: "http://127.0.0.1:8001/jrpc".parse().unwrap(),
            key: member.identity,
        };
        let key = Key {
            index: state.assignment.value.keys[0],
            public: state.key.value.public,
            commitments: state.key.value.commitments.clone(),
            assigned: state.assignment.value.time,
            height: state.header.header.height,
        };
        World {
            network: Network {
                name: committee.network.clone(),
                epoch: committee.epoch,
                sizes: committee.sizes,
                members: committee.sizes.members().zip(&committee.members).map(member).collect(),
                verifiers: Vec::new(),
                mint: None,
                genesis: None,
            },
            file: NetworkFile { config: kit::config().clone(), verifiers: Vec::new() },
            reveal: Reveal {
                token: Token::normalise(&jwt()).unwrap(),
                verifier: kit::verifier(),
                id: VerifierId::new(kit::USER).unwrap(),
                receipts: Vec::new(),
                temporary: TemporaryKey::danger_known(SecretKey::from(kit::secret(Purpose::Other, 1))),
                key,
                session_seconds: 60,
            },
        }
    })
}

fn jwt() -> String {
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    format!("{}.{}.{}", part(r#"{"alg":"ES256"}"#), part(r#"{"email":"a","iat":17}"#), URL_SAFE_NO_PAD.encode([7; 64]))
}

/// As a vault seals to the temporary key, under an ephemeral key and an initialisation vector that are always the same.
fn sealed(plain: &[u8]) -> (String, Value) {
    let ephemeral = SecretKey::from(kit::secret(Purpose::Other, 2));
    let shared = kit::public(Purpose::Other, 1).projective() * *ephemeral.to_nonzero_scalar();
    let keys = Sha512::digest(shared.to_affine().x());
    let (iv, point) = ([9; 16], Point::new(&(ProjectivePoint::GENERATOR * *ephemeral.to_nonzero_scalar())).unwrap());
    let padding = 16 - plain.len() % 16;
    let mut ciphertext = [plain, &vec![padding as u8; padding]].concat();
    let mut cipher = cbc::Encryptor::<aes::Aes256>::new_from_slices(&keys[..32], &iv).unwrap();
    for block in ciphertext.chunks_exact_mut(16) {
        cipher.encrypt_block_mut(block.into());
    }
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&keys[32..]).unwrap();
    for part in [&iv[..], &[4], &point.to_xy(), &ciphertext] {
        mac.update(part);
    }
    let metadata = json!({
        "iv": hex::encode(iv),
        "ephemPublicKey": format!("04{}", hex::encode(point.to_xy())),
        "mac": hex::encode(mac.finalize().into_bytes()),
        "mode": "AES256",
    });
    (hex::encode(ciphertext), metadata)
}

/// A good answer to each question, a network's file, a token, and errors.
///
/// # Panics
/// Never: they are constants.
pub fn seeds() -> Vec<Vec<u8>> {
    let state = kit::state();
    let file = json!({"file": STANDARD.encode(world().file.to_bytes())});
    let lookup = json!({
        "header": hex::encode(state.header.header.to_bytes()),
        "certificate": hex::encode(state.header.certificate.to_bytes()),
        "assignment": hex::encode(state.assignment.value.to_bytes()),
        "assignment_proof": hex::encode(state.assignment.proof.to_bytes()),
        "key": hex::encode(state.key.value.to_bytes()),
        "key_proof": hex::encode(state.key.proof.to_bytes()),
    });
    let SignedReceipt { data, signature } = kit::signed_receipt(1, TOKEN);
    let receipt = json!({"data": data, "signature": format!("{}1b", hex::encode(signature.to_bytes()))});
    let (share, share_metadata) = sealed(&kit::secret(Purpose::Other, 101).to_bytes());
    let (session, session_metadata) = sealed(&STANDARD.decode(SESSION).unwrap());
    let signature = kit::sign(&kit::secret(Purpose::Identity, 1), SESSION.as_bytes());
    let (signature, signature_metadata) = sealed(&[&signature.to_bytes()[..], &[27]].concat());
    let share = json!({
        "keys": [{"share": STANDARD.encode(share), "share_metadata": share_metadata}],
        "session_tokens": [session],
        "session_token_metadata": [session_metadata],
        "session_token_sigs": [signature],
        "session_token_sig_metadata": [signature_metadata],
    });
    let members = world().network.members.iter().map(|member| {
        let xy = member.key.to_xy();
        json!({
            "index": member.index.get(),
            "endpoint": member.endpoint.to_string(),
            "pubkey": {"x": hex::encode(&xy[..32]), "y": hex::encode(&xy[32..])},
        })
    });
    let network = json!({
        "network": "devnet", "epoch": 1, "n": 5, "k": 3, "t": 1, "members": members.collect::<Vec<_>>(),
        "verifiers": [{"name": "demo"}], "mint": "http://127.0.0.1/", "genesis": "ab".repeat(32),
    });
    let mut seeds: Vec<_> = (0..)
        .zip([file, lookup, receipt, share])
        .map(|(kind, result)| {
            let answer = json!({"jsonrpc": "2.0", "id": 10, "result": result});
            [vec![kind], answer.to_string().into_bytes()].concat()
        })
        .collect();
    seeds.push([vec![4], network.to_string().into_bytes()].concat());
    seeds.push([vec![5], jwt().into_bytes()].concat());
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_believed_only_as_they_were_signed_and_errors_are_printable() {
        for (number, seed) in seeds().into_iter().enumerate() {
            assert!(body(&seed), "seed {number} is refused");
            for place in 1..seed.len().min(3000) {
                let mut bent = seed.clone();
                bent[place] ^= 1;
                body(&bent);
            }
            assert!(!body(&seed[..seed.len() / 2]), "seed {number} cut in half");
        }
        let error = br#"{"error":{"code":-1,"data":"red \u001b[31m"}}"#;
        assert!(!body(&[&[0], &error[..]].concat()));
    }
}
