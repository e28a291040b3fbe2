//! The user's key as the log certifies it: public key and share commitments, proven under a header that a quorum of
//! the network's members signed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use torus_statement::certificate::{CommitCertificate, SignedHeader};
use torus_statement::dkg::KeyIndex;
use torus_statement::network::MAX_NETWORK_FILE;
use torus_statement::state::{self, Assignment, KeyEntry, Proven};
use torus_statement::text::{VerifierId, VerifierName};
use torus_statement::{EpochConfig, Hash, Header, MerkleProof, NetworkFile, Point, Wire};

use crate::error::Fault;
use crate::http::Http;
use crate::network::{Member, Network};
use crate::rpc::{CallError, call, fault};

/// What the proofs rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The hash of the network's founding file, pinned by the caller: members, sizes, constants and verifiers.
    Genesis,
    /// The members' identities in the caller's network file, which certified the keys that signed the header.
    Members,
}

/// A user's key, proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key's number.
    pub index: KeyIndex,
    /// The public key.
    pub public: Point,
    /// S_1..S_n.
    pub commitments: Vec<Point>,
    /// When it was assigned, in milliseconds since 1970.
    pub assigned: u64,
    /// The height of the header that proves it.
    pub height: u64,
}

/// The network's founding file, checked against what the caller knows.
pub(crate) struct Founding {
    pub(crate) file: NetworkFile,
    pub(crate) trust: Trust,
}

impl Founding {
    /// The config of the epoch.
    pub(crate) fn config(&self) -> &EpochConfig {
        &self.file.config
    }
}

/// Fetches the founding file from a member and checks it.
pub(crate) async fn founding(
    http: Http,
    network: Network,
    pinned: Option<Hash>,
    member: Member,
) -> Result<Founding, Fault> {
    let result = call(&http, &member, "NetworkFile", json!({})).await.map_err(|e| e.fault(&member))?;
    read_founding(&network, pinned, &result).map_err(|what| fault(&member, format!("its network file {what}")))
}

/// The founding file in a result, if it is the pinned one's or at least the network's.
pub(crate) fn read_founding(network: &Network, pinned: Option<Hash>, result: &Value) -> Result<Founding, String> {
    let text = result.get("file").and_then(Value::as_str).unwrap_or_default();
    if text.len() > MAX_NETWORK_FILE * 2 {
        return Err("is too long".to_owned());
    }
    let bytes = STANDARD.decode(text).map_err(|_| "is not base64")?;
    let file = NetworkFile::from_bytes(&bytes).map_err(|e| format!("cannot be read: {e}"))?;
    if pinned.is_some_and(|pinned| file.hash() != pinned) {
        return Err("is not the one whose hash is pinned".to_owned());
    }
    let committee = file.config.committee();
    let same = committee.network == network.name
        && committee.epoch == network.epoch
        && committee.sizes == network.sizes
        && committee.members.iter().map(|m| m.identity).eq(network.members.iter().map(|m| m.key));
    if !same {
        return Err("names another network, epoch or other members than yours".to_owned());
    }
    Ok(Founding { file, trust: if pinned.is_some() { Trust::Genesis } else { Trust::Members } })
}

/// What a member says of a user's key.
pub(crate) enum Said {
    /// A key, proven.
    Key(Box<Key>),
    /// That there is none, which cannot be proven.
    Unassigned,
}

/// Asks a member for a user's key and verifies the proof.
pub(crate) async fn lookup(
    http: Http,
    config: EpochConfig,
    verifier: VerifierName,
    id: VerifierId,
    member: Member,
) -> Result<Said, Fault> {
    let params = json!({"verifier": verifier.as_str(), "verifier_id": id.as_str()});
    match call(&http, &member, "CertifiedLookup", params).await {
        Ok(result) => proven(&config, &verifier, &id, &result)
            .map(|key| Said::Key(Box::new(key)))
            .map_err(|what| fault(&member, format!("its proof of the key does not hold: {what}"))),
        Err(CallError::Rpc(text)) if text.contains("not yet been assigned") => Ok(Said::Unassigned),
        Err(error) => Err(error.fault(&member)),
    }
}

pub(crate) fn proven(
    config: &EpochConfig,
    verifier: &VerifierName,
    id: &VerifierId,
    result: &Value,
) -> Result<Key, &'static str> {
    let signed = SignedHeader {
        header: field::<Header>(result, "header")?,
        certificate: field::<CommitCertificate>(result, "certificate")?,
    };
    let certified = signed.verify(config).map_err(|_| "the header is not certified by the members")?;
    let root = certified.header().state;
    let assignment = Proven {
        value: field::<Assignment>(result, "assignment")?,
        proof: field::<MerkleProof>(result, "assignment_proof")?,
    };
    let assignment = assignment
        .verify(&root, &state::key::assignment(verifier, &state::key::user(id)))
        .ok_or("the assignment is not in the certified state")?;
    let index = *assignment.keys.first().ok_or("the assignment names no key")?;
    let key = Proven { value: field::<KeyEntry>(result, "key")?, proof: field::<MerkleProof>(result, "key_proof")? };
    let entry = key.verify(&root, &state::key::key(index)).ok_or("the key is not in the certified state")?;
    if entry.commitments.len() != config.sizes().n() {
        return Err("the key has not one commitment for each member");
    }
    Ok(Key {
        index,
        public: entry.public,
        commitments: entry.commitments.clone(),
        assigned: assignment.time,
        height: certified.header().height,
    })
}

fn field<T: Wire>(result: &Value, name: &str) -> Result<T, &'static str> {
    let text = result.get(name).and_then(Value::as_str).ok_or("a part is missing")?;
    let bytes = hex::decode(text).map_err(|_| "a part is not hex")?;
    T::from_bytes(&bytes).map_err(|_| "a part is malformed")
}
