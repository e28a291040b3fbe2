//! The interface's view of the node: the store, the engine and the vault behind one trait.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use torus_ipc::{CommitReceipt, Deny, LoginProof, Lookup, ReleasedShare, Request, Response, Status};
use torus_mapping::Failed;
use torus_statement::state::AuditEntry;
use torus_statement::text::{VerifierId, VerifierName};
use torus_statement::{EpochConfig, Hash, Index, Point, Policy};

use crate::api::{
    AssignError, Backend, BatchStatus, CertifiedKey, Found, KeyOwner, MAX_BATCHES, NodeStatus, ReleaseInput,
};
use crate::assign;
use crate::chain::NodeChain;
use crate::listed::Standing;
use crate::p2p::P2p;
use crate::store::{CertifiedLookup, Snapshot};
use crate::vault_link::{LinkError, VaultLink};
use torus_consensus::Handle;

/// How long a call waits for its assignment to be in a block.
const ASSIGN: Duration = Duration::from_secs(9);
/// How long a user's call waits for the vault.
const VAULT: Duration = Duration::from_secs(10);
/// How often a login is shown again because a block came in between.
const STALE: usize = 3;
/// How often the vault is asked how it is.
const POLL: Duration = Duration::from_secs(1);
/// A log that stands still for so many heartbeats is not followed.
const MISSED_HEARTBEATS: u64 = 3;

/// The node behind its interface.
pub struct NodeBackend {
    me: Index,
    identity: Point,
    config: Arc<EpochConfig>,
    network_file: Arc<Vec<u8>>,
    chain: Arc<NodeChain>,
    engine: Arc<Handle>,
    link: VaultLink,
    p2p: P2p,
    vault: watch::Receiver<Option<Status>>,
    list: Option<Arc<Standing>>,
}

/// What a backend is made of.
pub struct Parts {
    /// This member.
    pub me: Index,
    /// The config in force.
    pub config: Arc<EpochConfig>,
    /// The bytes of the network's file.
    pub network_file: Arc<Vec<u8>>,
    /// The chain.
    pub chain: Arc<NodeChain>,
    /// The engine.
    pub engine: Arc<Handle>,
    /// The vault.
    pub link: VaultLink,
    /// The other members.
    pub p2p: P2p,
    /// How this member stands in the node list, if there is one.
    pub list: Option<Arc<Standing>>,
}

impl NodeBackend {
    /// A backend that keeps asking the vault how it is. `None` if `me` is no member.
    pub fn start(parts: Parts) -> Option<Self> {
        let Parts { me, config, network_file, chain, engine, link, p2p, list } = parts;
        let identity = config.member(me)?.identity;
        let (said, vault) = watch::channel(None);
        let poll = link.clone();
        tokio::spawn(async move {
            loop {
                let status = match poll.ask_within(Request::Status, VAULT).await {
                    Ok(Response::Status(status)) => Some(status),
                    _ => None,
                };
                if said.send(status).is_err() {
                    return;
                }
                tokio::time::sleep(POLL).await;
            }
        });
        Some(Self { me, identity, config, network_file, chain, engine, link, p2p, vault, list })
    }

    fn read<T>(&self, what: impl FnOnce(&Snapshot<'_>) -> Result<Option<T>, Failed>) -> Option<T> {
        let read = self.chain.store().snapshot().map_err(Failed::from).and_then(|snapshot| what(&snapshot));
        read.unwrap_or_else(|error| {
            tracing::error!(%error, "the store cannot be read");
            None
        })
    }

    fn found(&self, verifier: &VerifierName, id: &VerifierId) -> Option<Found> {
        let (assignment, index, key) = self.read(|snapshot| snapshot.lookup(verifier, id))?;
        Some(Found { assignment, index, key })
    }

    async fn ask(&self, request: Request) -> Result<Response, Deny> {
        match self.link.ask_within(request, VAULT).await {
            Ok(Response::Denied(deny)) => Err(deny),
            Ok(response) => Ok(response),
            Err(LinkError::Frame(_)) => Err(Deny::Malformed),
            Err(_) => Err(Deny::Busy),
        }
    }
}

#[async_trait]
impl Backend for NodeBackend {
    fn member(&self) -> Index {
        self.me
    }

    fn identity(&self) -> Point {
        self.identity
    }

    fn config(&self) -> Arc<EpochConfig> {
        Arc::clone(&self.config)
    }

    fn network_file(&self) -> Arc<Vec<u8>> {
        Arc::clone(&self.network_file)
    }

    fn verifier(&self, name: &VerifierName) -> Option<Policy> {
        self.read(|snapshot| snapshot.verifier(name)).map(|verifier| verifier.policy)
    }

    fn node_list(&self) -> Option<serde_json::Value> {
        self.list.as_ref().map(|standing| standing.to_json())
    }

    fn audits(&self) -> Vec<(Index, AuditEntry)> {
        let of = |member| Some((member, self.read(|snapshot| snapshot.view().audit(member))?));
        self.config.sizes().members().filter_map(of).collect()
    }

    fn status(&self) -> NodeStatus {
        let tip = self.engine.tips().borrow().clone();
        let supply = self.read(|snapshot| snapshot.supply().map(Some)).unwrap_or_default();
        let committee = self.config.committee();
        let still = MISSED_HEARTBEATS.saturating_mul(committee.times.heartbeat.into());
        NodeStatus {
            // What was said last is no news once nobody is there to say it.
            vault: self.vault.borrow().clone().filter(|_| !self.link.is_gone()),
            height: tip.height,
            certified_time: tip.time,
            engine_peers: u16::try_from(self.engine.peers()).unwrap_or(u16::MAX),
            envelope_peers: u16::try_from(self.p2p.connected()).unwrap_or(u16::MAX),
            caught_up: now().saturating_sub(tip.time) < still,
            buffer_unassigned: supply.unassigned(),
            buffer_target: committee.buffer.low_water.into(),
            batches_pending: supply.pending.len() as u64,
            batches: self.read(|snapshot| newest_batches(snapshot).map(Some)).unwrap_or_default(),
            assigned: supply.assigned,
        }
    }

    async fn commit(&self, token: Hash, temporary: Point, verifier: VerifierName) -> Result<CommitReceipt, Deny> {
        match self.ask(Request::Commit { token, temporary, verifier }).await? {
            Response::Receipt(receipt) => Ok(receipt),
            _ => Err(Deny::Malformed),
        }
    }

    async fn lookup(&self, verifier: &VerifierName, id: &VerifierId) -> Option<Found> {
        self.found(verifier, id)
    }

    async fn certified(&self, verifier: &VerifierName, id: &VerifierId) -> Option<CertifiedKey> {
        let certified = self.read(|snapshot| snapshot.certified(verifier, id))?;
        let CertifiedLookup { header, user, assignment, key, .. } = certified;
        Some(CertifiedKey { header, lookup: Lookup { user, assignment, key } })
    }

    async fn assign(&self, verifier: &VerifierName, id: &VerifierId) -> Result<Found, AssignError> {
        let found = || self.found(verifier, id);
        assign::assign(&self.chain, &*self.engine, (verifier, id), found, ASSIGN).await
    }

    async fn release(&self, login: ReleaseInput) -> Result<ReleasedShare, Deny> {
        let ReleaseInput { token, verifier, id, receipts, session_seconds } = login;
        let proven = || self.read(|snapshot| snapshot.certified(&verifier, &id)).ok_or(Deny::Proof);
        let CertifiedLookup { header, policy, user, assignment, key } = proven()?;
        let lookup = Lookup { user, assignment, key };
        let verifier = verifier.clone();
        let mut proof = Box::new(LoginProof { token, verifier, receipts, header, policy, lookup, session_seconds });
        for _ in 0..STALE {
            match self.ask(Request::Release(proof.clone())).await {
                Ok(Response::Share(share)) => return Ok(*share),
                Ok(_) => return Err(Deny::Malformed),
                // A block was certified in between: the vault wants the proof under the newest header that it knows.
                Err(Deny::Stale) => {
                    let CertifiedLookup { header, policy, user, assignment, key } = proven()?;
                    (proof.header, proof.policy, proof.lookup) = (header, policy, Lookup { user, assignment, key });
                }
                Err(deny) => return Err(deny),
            }
        }
        Err(Deny::Stale)
    }

    async fn key_owner(&self, public: &Point) -> Option<KeyOwner> {
        let (index, owner) = self.read(|snapshot| Ok(snapshot.key_by_public(public)?))?;
        Some(KeyOwner { index, owner })
    }
}

fn newest_batches(snapshot: &Snapshot<'_>) -> Result<Vec<BatchStatus>, Failed> {
    let active = snapshot.active_batches()?;
    let mut batches = Vec::new();
    for batch in active.iter().skip(active.len().saturating_sub(MAX_BATCHES)) {
        batches.extend(snapshot.view().batch(*batch)?.map(|entry| BatchStatus::of(*batch, &entry)));
    }
    Ok(batches)
}

fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
