//! Logins by hand: whoever makes one chooses the temporary key, the members and the order.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k256::{ProjectivePoint, Scalar, SecretKey};
use serde_json::{Value, json};
use torus_ipc::{CommitReceipt, Ecies, LoginProof, Request, Response};
use torus_node::store::CertifiedLookup;
use torus_statement::receipt::SignedReceipt;
use torus_statement::{Hash, Point, Signature, keccak256};

use crate::client::VERIFIER;
use crate::rpc;
use crate::siege::{Held, Siege, verifier};

/// A temporary key and its secret.
#[derive(Clone)]
pub(crate) struct Temporary {
    pub(crate) secret: Scalar,
    pub(crate) public: Point,
}

impl Temporary {
    /// A fresh key.
    pub(crate) fn new() -> Self {
        let secret = *SecretKey::random(&mut rand_core::OsRng).to_nonzero_scalar();
        Self { secret, public: Point::new(&(ProjectivePoint::GENERATOR * secret)).expect("not zero") }
    }

    /// A fresh key of a thief's, who tries it on everything.
    pub(crate) fn of_a_thief(siege: &Siege) -> Self {
        let temporary = Self::new();
        siege.loot.borrow_mut().add_key(temporary.secret);
        temporary
    }
}

/// A login as hostile nodes see it pass: the token, and the receipts of all members.
pub(crate) struct SeenLogin {
    pub(crate) token: String,
    pub(crate) receipts: Vec<SignedReceipt>,
    /// The shares, sealed to the user's temporary key.
    pub(crate) released: Vec<Ecies>,
}

impl SeenLogin {
    /// A login that is committed at all members, none of which is hostile, and revealed to some.
    pub(crate) fn at(siege: &Siege, email: &str, temporary: &Temporary, members: &[u8]) -> Self {
        let token = siege.net.mint("ES256", email, "");
        let hash = keccak256(token.as_bytes());
        let receipts: Vec<Value> = (1..=siege.net.members())
            .map(|member| commit_by_http(siege, member, &hash, &temporary.public).expect("a receipt"))
            .collect();
        let shares = members.iter().map(|member| reveal_by_http(siege, *member, &token, email, &receipts));
        let released = shares.map(|share| share.expect("a share")).collect();
        Self { token, receipts: receipts.iter().map(receipt_of).collect(), released }
    }

    /// A login whose commitment some hostile nodes carry to their vaults, as they should.
    pub(crate) fn committed(siege: &Siege, held: &mut Held, token: String, temporary: &Temporary) -> Self {
        let hash = keccak256(token.as_bytes());
        let mut receipts = commit(held, &hash, &temporary.public);
        for member in honest(siege, held) {
            receipts.push(receipt_of(&commit_by_http(siege, member, &hash, &temporary.public).expect("a receipt")));
        }
        Self { token, receipts, released: Vec::new() }
    }

    /// The reveal of this login for a user's key.
    pub(crate) fn proof(&self, held: &Held, email: &str) -> LoginProof {
        let CertifiedLookup { header, policy, .. } = held.certified(email);
        LoginProof {
            token: self.token.clone(),
            verifier: verifier(),
            receipts: self.receipts.clone(),
            header,
            policy,
            lookup: held.lookup(email),
            session_seconds: 3600,
        }
    }
}

/// The members whose nodes are not held.
pub(crate) fn honest(siege: &Siege, held: &Held) -> Vec<u8> {
    let hostile = |member: &u8| held.vaults.iter().any(|vault| vault.member.get() == *member);
    (1..=siege.net.members()).filter(|member| !hostile(member)).collect()
}

/// A commitment.
pub(crate) fn commitment(hash: &Hash, temporary: &Point) -> Request {
    Request::Commit { token: *hash, temporary: *temporary, verifier: verifier() }
}

/// Commits at every held vault, and gives the receipts of those that sign one.
pub(crate) fn commit(held: &mut Held, hash: &Hash, temporary: &Point) -> Vec<SignedReceipt> {
    let request = commitment(hash, temporary);
    let answers = held.vaults.iter_mut().map(|vault| vault.ask(&request));
    answers
        .filter_map(|answer| if let Response::Receipt(receipt) = answer { Some(signed(receipt)) } else { None })
        .collect()
}

/// A receipt as a reveal carries it.
fn signed(CommitReceipt { data, signature }: CommitReceipt) -> SignedReceipt {
    let signature = signature.first_chunk().and_then(Signature::from_bytes).expect("vaults sign in the one form");
    SignedReceipt { data, signature }
}

/// Commits at an honest member, as anybody may.
pub(crate) fn commit_by_http(siege: &Siege, member: u8, hash: &Hash, temporary: &Point) -> Result<Value, Value> {
    rpc::call(&siege.net, member, "CommitmentRequest", &commitment_json(hash, temporary))
}

/// The parameters of a commitment.
pub(crate) fn commitment_json(hash: &Hash, temporary: &Point) -> Value {
    let xy = temporary.to_xy();
    let (x, y) = xy.split_at(32);
    json!({"messageprefix": "mug00", "tokencommitment": hex::encode(hash), "temppubx": hex::encode(x),
        "temppuby": hex::encode(y), "verifieridentifier": VERIFIER})
}

/// A receipt out of a member's answer.
pub(crate) fn receipt_of(answer: &Value) -> SignedReceipt {
    let text = |field: &str| answer[field].as_str().expect("a text").to_owned();
    let bytes = hex::decode(text("signature")).expect("hex");
    let signature = bytes.first_chunk().and_then(Signature::from_bytes).expect("a signature");
    SignedReceipt { data: text("data"), signature }
}

/// Receipts as clients forward them.
pub(crate) fn receipts_as_json(receipts: &[SignedReceipt]) -> Vec<Value> {
    let json = |receipt: &SignedReceipt| json!({"data": receipt.data, "signature": format!("{}1b", hex::encode(receipt.signature.to_bytes()))});
    receipts.iter().map(json).collect()
}

/// Reveals a token to an honest member and gives the sealed share.
pub(crate) fn reveal_by_http(
    siege: &Siege,
    member: u8,
    token: &str,
    email: &str,
    receipts: &[Value],
) -> Result<Ecies, Value> {
    let params = json!({"encrypted": "yes", "item": [{
        "verifier_id": email, "idtoken": token, "nodesignatures": receipts, "verifieridentifier": VERIFIER,
    }]});
    let answer = rpc::call(&siege.net, member, "ShareRequest", &params)?;
    let key = &answer["keys"][0];
    let hex_of = |text: &Value| hex::decode(text.as_str().expect("hex")).expect("hex");
    let metadata = |field: &str| hex_of(&key["Metadata"][field]);
    let ciphertext = STANDARD.decode(key["Share"].as_str().expect("a share")).expect("base64");
    Ok(Ecies {
        iv: metadata("iv").try_into().expect("16 bytes"),
        ephemeral: metadata("ephemPublicKey")[1..].try_into().expect("a point"),
        ciphertext: hex::decode(ciphertext).expect("hex"),
        mac: metadata("mac").try_into().expect("32 bytes"),
    })
}
