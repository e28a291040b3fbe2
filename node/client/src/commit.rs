//! Commitments: every member is told the token's hash and the temporary key, in random order, and a quorum's receipts
//! are verified. Nothing of the token itself is sent here.

use serde_json::{Value, json};
use tokio::task::JoinSet;
use torus_statement::receipt::{MAX_RECEIPT, Receipt, SignedReceipt, hex as hex_of};
use torus_statement::text::VerifierName;
use torus_statement::{Hash, Index, Point, Signature};

use crate::error::{Error, Fault};
use crate::http::Http;
use crate::network::{Member, Network};
use crate::random;
use crate::rpc::{call_patiently, fault};

/// A quorum's receipts.
pub(crate) struct Committed {
    /// As they go to every member with the token.
    pub(crate) receipts: Vec<Value>,
    /// The members that signed them.
    pub(crate) signers: Vec<Index>,
    pub(crate) faults: Vec<Fault>,
    /// Members that are still being told; they go on for as long as this lives.
    _rest: JoinSet<Result<(Index, Value), Fault>>,
}

/// What is committed.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) token: Hash,
    pub(crate) temporary: Point,
    pub(crate) verifier: VerifierName,
    /// When the token was issued, if it says so.
    pub(crate) issued: Option<u64>,
}

/// Collects receipts of a quorum. Fails without having revealed the token.
pub(crate) async fn commit(http: &Http, network: &Network, wanted: Wanted) -> Result<Committed, Error> {
    let mut members = network.members.clone();
    random::shuffle(&mut members)?;
    let mut running = JoinSet::new();
    for member in members {
        running.spawn(one(http.clone(), network.clone(), wanted.clone(), member));
    }
    let needed = network.sizes.q();
    let mut done = Committed { receipts: Vec::new(), signers: Vec::new(), faults: Vec::new(), _rest: JoinSet::new() };
    while let Some(answer) = running.join_next().await {
        match answer {
            Ok(Ok((signer, receipt))) => {
                done.signers.push(signer);
                done.receipts.push(receipt);
            }
            Ok(Err(fault)) => done.faults.push(fault),
            // A panic in a task; its member counts as silent.
            Err(_) => {}
        }
        if done.receipts.len() >= needed {
            done._rest = running;
            return Ok(done);
        }
    }
    let what = "no quorum of receipts, so the token was not revealed";
    Err(Error::too_few(network.sizes, what, done.receipts.len(), needed, done.faults))
}

async fn one(http: Http, network: Network, wanted: Wanted, member: Member) -> Result<(Index, Value), Fault> {
    let xy = wanted.temporary.to_xy();
    let (x, y) = xy.split_at(32);
    let params = json!({
        "messageprefix": "mug00",
        "keytype": "secp256k1",
        "tokencommitment": hex_of(&wanted.token),
        "temppubx": hex_of(x),
        "temppuby": hex_of(y),
        "verifieridentifier": wanted.verifier.as_str(),
    });
    let result = call_patiently(&http, &member, "CommitmentRequest", params).await.map_err(|e| e.fault(&member))?;
    match check(&network, &wanted, &member, &result) {
        Ok(()) => Ok((member.index, result)),
        Err(what) => Err(fault(&member, what)),
    }
}

/// Whether a result is this member's receipt for exactly what was asked.
pub(crate) fn check(network: &Network, wanted: &Wanted, member: &Member, result: &Value) -> Result<(), String> {
    let signed = read(result).ok_or("its receipt cannot be read")?;
    if !signed.signature.verifies(&member.key, signed.data.as_bytes()) {
        return Err("its receipt is not signed by its key".to_owned());
    }
    let receipt = Receipt::parse(&signed.data).ok_or("its receipt is not the text of one")?;
    if receipt.member != member.index {
        return Err(format!("it signed a receipt as member {}", receipt.member));
    }
    if receipt.network != network.name || receipt.epoch != network.epoch {
        return Err(format!("its receipt is of network {} and epoch {}", receipt.network, receipt.epoch));
    }
    if receipt.token != wanted.token || receipt.temporary != wanted.temporary || receipt.verifier != wanted.verifier {
        return Err("its receipt is for another token, temporary key or verifier".to_owned());
    }
    if let Some(issued) = wanted.issued.filter(|issued| *issued < receipt.not_before) {
        let late = receipt.not_before.saturating_sub(issued);
        return Err(format!("it takes only tokens issued {late} s later than this one: sign in again for a fresh one"));
    }
    Ok(())
}

fn read(result: &Value) -> Option<SignedReceipt> {
    let data = result.get("data")?.as_str()?;
    let mut rsv = [0; 65];
    hex::decode_to_slice(result.get("signature")?.as_str()?, &mut rsv).ok()?;
    if data.len() > MAX_RECEIPT {
        return None;
    }
    Some(SignedReceipt { data: data.to_owned(), signature: Signature::from_bytes(rsv.first_chunk()?)? })
}
