//! What each method does: parsed parameters in, one outcome out. No socket and no clock here.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use torus_statement::text::{VerifierId, VerifierName};
use torus_statement::{Point, Policy, Sizes, Wire, keccak256, sha256};

use super::backend::{AssignError, Backend, Found, ReleaseInput};
use super::encode;
use super::error::{Outcome, RpcError};
use super::limit::{Buckets, Limits, caller_key};
use super::params::{Call, Commitment, Login, User};
use super::receipts;

/// A key is "new" for this long after the block that assigned it, so that all members say the same.
const NEW_FOR_MS: u64 = 10_000;
/// Addresses that limits remember at once.
const MOST_ADDRESSES: usize = 65_536;
/// Verifiers that limits remember at once; a network has at most 64.
const MOST_VERIFIERS: usize = 256;

/// The interface over a backend.
pub struct Api {
    backend: Arc<dyn Backend>,
    per_address: Buckets<IpAddr>,
    per_verifier: Buckets<VerifierName>,
    assigns_per_address: Buckets<IpAddr>,
    assigns_per_verifier: Buckets<VerifierName>,
}

/// Who calls, and when.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Where the connection comes from.
    pub address: IpAddr,
    /// The wall clock in seconds since 1970.
    pub unix: u64,
    /// Milliseconds of a clock that does not go back.
    pub monotonic: u64,
}

impl Api {
    /// The interface over a backend.
    pub fn new(backend: Arc<dyn Backend>, limits: &Limits) -> Self {
        Self {
            backend,
            per_address: Buckets::new(limits.per_address, MOST_ADDRESSES),
            per_verifier: Buckets::new(limits.per_verifier, MOST_VERIFIERS),
            assigns_per_address: Buckets::new(limits.assigns_per_address, MOST_ADDRESSES),
            assigns_per_verifier: Buckets::new(limits.assigns_per_verifier, MOST_VERIFIERS),
        }
    }

    /// What it stands on.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Answers a call by its method's name.
    pub async fn handle(&self, method: &str, params: &Value, caller: Caller) -> Outcome {
        match Call::parse(method, params) {
            Ok(call) => self.call(call, caller).await,
            Err(error) => Outcome::Error(error),
        }
    }

    /// Answers a call.
    pub async fn call(&self, call: Call, caller: Caller) -> Outcome {
        if !self.per_address.take(caller_key(caller.address), caller.monotonic) {
            // Old clients ask the next member on 502 alone.
            let status = if matches!(call, Call::KeyAssign(_)) { 502 } else { 429 };
            return Outcome::Status(status, Some(1));
        }
        if matches!(call, Call::Share(_) | Call::KeyAssign(_)) && !first_generation(self.backend.config().sizes()) {
            return Outcome::Error(RpcError::not_served(
                "clients of the first generation with so many members. Use torus.js 9 or later",
            ));
        }
        let answer = match call {
            Call::Ping => Ok(json!({"message": encode::address(&self.backend.identity())})),
            Call::Commitment(commitment) => self.commitment(commitment, caller).await,
            Call::Share(login) => self.share(login, caller).await,
            Call::KeyAssign(user) => return self.key_assign(user, caller).await,
            Call::VerifierLookup(user) => self.verifier_lookup(user).await,
            Call::KeyLookup(public) => self.key_lookup(public).await,
            Call::PublicKeyOrAssign(user) => self.public_key_or_assign(user, caller).await,
            Call::ShareOrAssign(login) => self.share_or_assign(login, caller).await,
            Call::CertifiedLookup(user) => self.certified_lookup(user).await,
            Call::NetworkFile => Ok(self.network_file()),
        };
        match answer {
            Ok(result) => Outcome::Result(result),
            Err(error) => Outcome::Error(error),
        }
    }

    async fn commitment(&self, commitment: Commitment, caller: Caller) -> Result<Value, RpcError> {
        let Commitment { token, temporary, verifier, id } = commitment;
        let policy = self.policy(&verifier)?;
        self.spare(&verifier, caller)?;
        let receipt = self.backend.commit(token, temporary, verifier.clone()).await?;
        let (x, y) = encode::coordinates(&self.backend.identity());
        let mut result = json!({
            "signature": hex::encode(receipt.signature),
            "data": receipt.data,
            "nodepubx": x,
            "nodepuby": y,
            "nodeindex": self.backend.member().to_string(),
        });
        if let (Some(id), Some(fields)) = (id, result.as_object_mut()) {
            let found = self.backend.lookup(&verifier, &canonical(&policy, id)?).await;
            let x = found.map(|found| encode::coordinates(&found.key.public).0).unwrap_or_default();
            fields.insert("pub_key_x".to_owned(), Value::String(x));
        }
        Ok(result)
    }

    async fn share(&self, login: Login, caller: Caller) -> Result<Value, RpcError> {
        let ready = self.check(login, caller)?;
        let found = self.backend.lookup(&ready.verifier, &ready.id).await.ok_or_else(|| {
            RpcError::internal(
                "share request could not retrieve keyIndexes: Verifier + VerifierID has not yet been assigned",
            )
        })?;
        let (verifier, id) = (ready.verifier.to_string(), ready.id.to_string());
        let released = self.backend.release(ready).await?;
        let mut verifiers = serde_json::Map::new();
        verifiers.insert(verifier, json!([id]));
        same_key(&released, &found)?;
        Ok(json!({"keys": [{
            "Index": key_index(&found),
            "PublicKey": encode::point(&found.key.public),
            "Threshold": 1,
            "Verifiers": verifiers,
            "Share": encode::share(&released.share),
            "Metadata": encode::metadata(&released.share),
        }]}))
    }

    async fn share_or_assign(&self, login: Login, caller: Caller) -> Result<Value, RpcError> {
        let client_time = login.user.client_time;
        let ready = self.check(login, caller)?;
        let found = self.found_or_assigned(&ready.verifier, &ready.id, caller).await?;
        let released = self.backend.release(ready).await?;
        same_key(&released, &found)?;
        let (x, y) = encode::coordinates(&self.backend.identity());
        let session = &released.session;
        Ok(json!({
            "keys": [{
                "index": {"index": key_index(&found), "service_group_id": "0", "tag": "generated"},
                "public_key": encode::point(&found.key.public),
                "threshold": "1",
                "node_index": self.backend.member().to_string(),
                "share": encode::share(&released.share),
                "share_metadata": encode::metadata(&released.share),
            }],
            "session_tokens": [encode::ciphertext(&session.token)],
            "session_token_metadata": [encode::metadata(&session.token)],
            "session_token_sigs": [encode::ciphertext(&session.signature)],
            "session_token_sig_metadata": [encode::metadata(&session.signature)],
            "node_pubx": x,
            "node_puby": y,
            "is_new_key": is_new(&found, client_time).to_string(),
            "server_time_offset": offset(client_time, caller.unix),
        }))
    }

    async fn public_key_or_assign(&self, user: User, caller: Caller) -> Result<Value, RpcError> {
        let client_time = user.client_time;
        let (verifier, id) = self.known(user)?;
        let found = self.found_or_assigned(&verifier, &id, caller).await?;
        let (x, y) = encode::coordinates(&found.key.public);
        Ok(json!({
            "keys": [{"pub_key_X": x, "pub_key_Y": y, "address": encode::address(&found.key.public)}],
            "is_new_key": is_new(&found, client_time),
            "node_index": self.backend.member().to_string(),
            "server_time_offset": offset(client_time, caller.unix),
        }))
    }

    /// Old clients take an error for success and fail later: what makes them ask another member is 502.
    async fn key_assign(&self, user: User, caller: Caller) -> Outcome {
        let (verifier, id) = match self.known(user) {
            Ok(known) => known,
            Err(error) => return Outcome::Error(error),
        };
        match self.assigned(&verifier, &id, caller).await {
            Ok(found) => Outcome::Result(listed(&found)),
            Err(AssignError::Timeout) => Outcome::Status(504, Some(1)),
            Err(AssignError::NoKeys | AssignError::RateLimited | AssignError::NotReady) => {
                Outcome::Status(502, Some(10))
            }
        }
    }

    async fn verifier_lookup(&self, user: User) -> Result<Value, RpcError> {
        let (verifier, id) = self.known(user)?;
        let found = self.backend.lookup(&verifier, &id).await.ok_or_else(RpcError::unassigned)?;
        Ok(listed(&found))
    }

    async fn key_lookup(&self, public: Point) -> Result<Value, RpcError> {
        let key = self.backend.key_owner(&public).await.ok_or_else(|| RpcError::input("no log of public key"))?;
        let (verifier, user) = key.owner.ok_or_else(|| RpcError::input("no key assignment found for public key"))?;
        let mut verifiers = serde_json::Map::new();
        verifiers.insert(verifier.to_string(), json!([hex::encode(user)]));
        Ok(json!({
            "Index": encode::number(&key.index.number().to_be_bytes()),
            "PublicKey": encode::point(&public),
            "Threshold": 1,
            "Verifiers": verifiers,
            "verifiers": verifiers,
        }))
    }

    async fn certified_lookup(&self, user: User) -> Result<Value, RpcError> {
        let (verifier, id) = self.known(user)?;
        let certified = self.backend.certified(&verifier, &id).await.ok_or_else(RpcError::unassigned)?;
        let (assignment, key) = (&certified.lookup.assignment, &certified.lookup.key);
        Ok(json!({
            "header": hex::encode(certified.header.header.to_bytes()),
            "certificate": hex::encode(certified.header.certificate.to_bytes()),
            "assignment": hex::encode(assignment.value.to_bytes()),
            "assignment_proof": hex::encode(assignment.proof.to_bytes()),
            "key": hex::encode(key.value.to_bytes()),
            "key_proof": hex::encode(key.proof.to_bytes()),
        }))
    }

    fn network_file(&self) -> Value {
        let bytes = self.backend.network_file();
        json!({"hash": hex::encode(sha256("torus/network/v1\0", &[&bytes])), "file": encode::base64(&bytes)})
    }

    /// Refuses early and in words what the vault would refuse by a code.
    fn check(&self, login: Login, caller: Caller) -> Result<ReleaseInput, RpcError> {
        let Login { user, token, receipts, session_seconds } = login;
        let (verifier, id) = (user.verifier, user.id);
        let policy = self.policy(&verifier)?;
        let id = canonical(&policy, id)?;
        if named_user(&token, &policy).is_some_and(|named| named != id.as_str()) {
            return Err(RpcError::verifying("the token names another user than verifier_id"));
        }
        self.spare(&verifier, caller)?;
        let config = self.backend.config();
        let receipts = receipts::quorum(&config, &keccak256(token.as_bytes()), &verifier, receipts)?;
        Ok(ReleaseInput { token, verifier, id, receipts, session_seconds })
    }

    async fn found_or_assigned(
        &self,
        verifier: &VerifierName,
        id: &VerifierId,
        caller: Caller,
    ) -> Result<Found, RpcError> {
        Ok(self.assigned(verifier, id, caller).await?)
    }

    async fn assigned(&self, verifier: &VerifierName, id: &VerifierId, caller: Caller) -> Result<Found, AssignError> {
        if let Some(found) = self.backend.lookup(verifier, id).await {
            return Ok(found);
        }
        let spare = self.assigns_per_address.take(caller_key(caller.address), caller.monotonic)
            && self.assigns_per_verifier.take(verifier.clone(), caller.monotonic);
        if spare { self.backend.assign(verifier, id).await } else { Err(AssignError::RateLimited) }
    }

    fn known(&self, user: User) -> Result<(VerifierName, VerifierId), RpcError> {
        let id = canonical(&self.policy(&user.verifier)?, user.id)?;
        Ok((user.verifier, id))
    }

    fn policy(&self, verifier: &VerifierName) -> Result<Policy, RpcError> {
        self.backend.verifier(verifier).ok_or_else(RpcError::unknown_verifier)
    }

    fn spare(&self, verifier: &VerifierName, caller: Caller) -> Result<(), RpcError> {
        if self.per_verifier.take(verifier.clone(), caller.monotonic) {
            return Ok(());
        }
        Err(RpcError::internal("Too many logins with this verifier. Try again in a few seconds."))
    }
}

/// Clients of the first generation stop at 3*floor(n/4)+1 receipts and read members' indices as hex digits: where that
/// is below the quorum, or an index has two digits, none of their logins could succeed.
pub(super) const fn first_generation(sizes: Sizes) -> bool {
    sizes.n() / 4 * 3 + 1 >= sizes.q() && sizes.n() <= 9
}

/// The id as the mapping knows it.
fn canonical(policy: &Policy, id: VerifierId) -> Result<VerifierId, RpcError> {
    if !policy.lowercase_id {
        return Ok(id);
    }
    VerifierId::new(&id.as_str().to_ascii_lowercase()).ok_or_else(|| RpcError::input("VerifierID is empty"))
}

/// The user that an unchecked token names, in canonical form. Only for a clearer refusal: the vault reads it itself.
fn named_user(token: &str, policy: &Policy) -> Option<String> {
    use base64::Engine;
    let payload = token.split('.').nth(1)?;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Value = serde_json::from_slice(&bytes).ok()?;
    let named = claims.get(&policy.id_claim)?.as_str()?;
    Some(if policy.lowercase_id { named.to_ascii_lowercase() } else { named.to_owned() })
}

fn key_index(found: &Found) -> String {
    encode::number(&found.index.number().to_be_bytes())
}

fn listed(found: &Found) -> Value {
    let (x, y) = encode::coordinates(&found.key.public);
    let address = encode::address(&found.key.public);
    json!({"keys": [{"key_index": key_index(found), "pub_key_X": x, "pub_key_Y": y, "address": address}]})
}

/// The same on all members: it compares the assigning block's time with the caller's clock, not with theirs.
fn is_new(found: &Found, client_time: Option<u64>) -> bool {
    client_time.is_some_and(|client| found.assignment.time.saturating_add(NEW_FOR_MS) > client.saturating_mul(1000))
}

fn offset(client_time: Option<u64>, unix: u64) -> String {
    client_time.map_or(0, |client| i128::from(unix) - i128::from(client)).to_string()
}

/// The vault answers for the key that its proof names; a node whose mapping says otherwise has to be repaired.
fn same_key(released: &torus_ipc::ReleasedShare, found: &Found) -> Result<(), RpcError> {
    if released.key == found.index && released.public == found.key.public {
        return Ok(());
    }
    tracing::error!(key = released.key.number(), "the vault released another key than the mapping names");
    Err(torus_ipc::Deny::Proof.into())
}
