//! The reveal: the token goes to members with the receipts, and each answer is opened and checked by itself.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use torus_statement::text::{VerifierId, VerifierName};
use torus_statement::{Point, Signature};

use crate::certified::Key;
use crate::error::Fault;
use crate::http::Http;
use crate::network::Member;
use crate::rpc::{call_patiently, fault};
use crate::secret::{Sealed, Share, TemporaryKey};
use crate::token::Token;

/// Most hex digits of a ciphertext that a member may send.
const MAX_CIPHERTEXT: usize = 8192;

/// What is revealed.
pub(crate) struct Reveal {
    pub(crate) token: Token,
    pub(crate) verifier: VerifierName,
    pub(crate) id: VerifierId,
    pub(crate) receipts: Vec<Value>,
    pub(crate) temporary: TemporaryKey,
    pub(crate) key: Key,
    pub(crate) session_seconds: u32,
}

/// A member's answer after every check.
pub(crate) struct Revealed {
    pub(crate) share: Share,
    pub(crate) session: Option<Session>,
}

/// A session token of one member, for services that trust its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// The member.
    pub member: u8,
    /// Base64 text.
    pub token: String,
    /// r | s | v over Keccak-256 of the text.
    pub signature: [u8; 65],
}

/// Asks a member for its share.
pub(crate) async fn one(http: Http, reveal: Arc<Reveal>, member: Member) -> Result<Revealed, Fault> {
    let params = json!({
        "encrypted": "yes",
        "use_temp": true,
        "key_type": "secp256k1",
        "distributed_metadata": true,
        "verifieridentifier": reveal.verifier.as_str(),
        "temppubx": "",
        "temppuby": "",
        "item": [{
            "verifier_id": reveal.id.as_str(),
            "idtoken": reveal.token.text(),
            "key_type": "secp256k1",
            "nodesignatures": reveal.receipts,
            "verifieridentifier": reveal.verifier.as_str(),
            "session_token_exp_second": reveal.session_seconds,
        }],
        "one_key_flow": true,
    });
    let result = call_patiently(&http, &member, "GetShareOrKeyAssign", params).await.map_err(|e| e.fault(&member))?;
    check(&reveal, &member, &result).map_err(|what| fault(&member, what))
}

/// Whether a result holds this member's share.
pub(crate) fn check(reveal: &Reveal, member: &Member, result: &Value) -> Result<Revealed, &'static str> {
    let key = result.get("keys").and_then(|keys| keys.get(0)).ok_or("it answers without a key")?;
    let text = key.get("share").and_then(Value::as_str).filter(|text| text.len() <= MAX_CIPHERTEXT);
    let ciphertext = text.and_then(|text| STANDARD.decode(text).ok()).and_then(|bytes| String::from_utf8(bytes).ok());
    let sealed = ciphertext
        .and_then(|ciphertext| sealed(&ciphertext, key.get("share_metadata")?))
        .ok_or("its share is not a ciphertext")?;
    let plain = reveal.temporary.open(&sealed).ok_or("its share does not open with the temporary key")?;
    let commitment = reveal.key.commitments.get(member.index.slot()).ok_or("the key has no commitment of it")?;
    let share = Share::checked(member.index, &plain, commitment)
        .ok_or("its share is wrong: it does not match its certified commitment")?;
    Ok(Revealed { share, session: session(reveal, member, result) })
}

/// The session token, if it is there and signed; a login does without.
fn session(reveal: &Reveal, member: &Member, result: &Value) -> Option<Session> {
    let open = |ciphertexts: &str, metadata: &str| {
        let ciphertext = result.get(ciphertexts)?.get(0)?.as_str()?;
        reveal.temporary.open(&sealed(ciphertext, result.get(metadata)?.get(0)?)?)
    };
    let token = open("session_tokens", "session_token_metadata")?;
    let signature = open("session_token_sigs", "session_token_sig_metadata")?;
    let signature: [u8; 65] = signature.as_slice().try_into().ok()?;
    let parsed = Signature::from_bytes(signature.first_chunk()?)?;
    // Sealed is the JSON, signed its base64; a member that seals the base64 itself means the same.
    let token = if token.first() == Some(&b'{') {
        STANDARD.encode(token.as_slice())
    } else {
        String::from_utf8(token.to_vec()).ok()?
    };
    if !parsed.verifies(&member.key, token.as_bytes()) {
        return None;
    }
    Some(Session { member: member.index.get(), token, signature })
}

fn sealed(ciphertext: &str, metadata: &Value) -> Option<Sealed> {
    if ciphertext.len() > MAX_CIPHERTEXT {
        return None;
    }
    let text = |name: &str| metadata.get(name).and_then(Value::as_str);
    let mut sealed = Sealed {
        iv: [0; 16],
        ephemeral: {
            let mut bytes = [0; 65];
            hex::decode_to_slice(text("ephemPublicKey")?, &mut bytes).ok()?;
            let (4, xy) = bytes.split_first().map(|(first, xy)| (*first, xy))? else { return None };
            Point::from_xy(xy.try_into().ok()?).ok()?
        },
        mac: [0; 32],
        ciphertext: hex::decode(ciphertext).ok()?,
    };
    hex::decode_to_slice(text("iv")?, &mut sealed.iv).ok()?;
    hex::decode_to_slice(text("mac")?, &mut sealed.mac).ok()?;
    Some(sealed)
}
