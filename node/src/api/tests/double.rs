//! A network of five in memory, each member a [`Backend`], with keys that anyone can recompute.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use k256::ecdsa::SigningKey;
use k256::ecdsa::signature::hazmat::PrehashSigner;
use k256::{ProjectivePoint, Scalar};
use torus_ipc::{CommitReceipt, Deny, Ecies, Lookup, ReleasedShare, SessionGrant, Status};
use torus_statement::certificate::{CommitCertificate, SignedHeader};
use torus_statement::config::{Buffer, Endpoint, Member, chain_id};
use torus_statement::dkg::KeyIndex;
use torus_statement::keycert::{KeyCertificate, MemberKeys, Residency};
use torus_statement::merkle::{PLACEHOLDER, inner, leaf};
use torus_statement::policy::Policy;
use torus_statement::receipt::Receipt;
use torus_statement::session::SessionToken;
use torus_statement::state::{self, Assignment, AuditEntry, KeyEntry, Proven};
use torus_statement::text::{NetworkName, VerifierId, VerifierName};
use torus_statement::{
    AuditHead, Committee, EpochConfig, Hash, Header, Index, KeyPart, MerkleProof, NetworkFile, Point, Signature,
    SignedAuditHead, Sizes, Step, TimeConstants, Verifier, Vote, Wire, keccak256,
};

use super::super::backend::{AssignError, Backend, CertifiedKey, Found, KeyOwner, NodeStatus, ReleaseInput};

/// Where the double's clock stands unless it is moved, in seconds since 1970.
pub(crate) const NOW: u64 = 1_800_000_000;

/// Seals bytes to a temporary key.
pub(crate) type Seal = fn(&Point, &[u8]) -> Ecies;

/// How a member behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "the client's tests are built from this file too, and each side has its own worries")]
pub(crate) enum Mood {
    Honest,
    /// Its receipts are signed by another key.
    ForgedReceipts,
    /// Its not-before is in the future.
    FreshlyStarted,
    /// Its shares are off by one.
    WrongShares,
    /// It takes so long for a share.
    Slow(Duration),
    /// It answers every login so.
    Denies(Deny),
    /// It cannot assign.
    CannotAssign(AssignError),
}

/// What all members share: the log, as far as users see it.
pub(crate) struct World {
    pub(crate) config: Arc<EpochConfig>,
    pub(crate) file: NetworkFile,
    pub(crate) now: AtomicU64,
    /// How often a member put an assignment into the log.
    pub(crate) submitted: AtomicUsize,
    /// How often a member was shown a token.
    pub(crate) shown: AtomicUsize,
    seal: Seal,
    state: Mutex<BTreeMap<Hash, Owned>>,
}

#[derive(Clone)]
struct Owned {
    verifier: VerifierName,
    user: Hash,
    assignment: Assignment,
}

/// One member.
pub(crate) struct Double {
    pub(crate) world: Arc<World>,
    pub(crate) index: Index,
    pub(crate) mood: Mutex<Mood>,
    pub(crate) status: Mutex<NodeStatus>,
    commitments: Mutex<BTreeMap<Hash, Point>>,
}

/// The signing key of a small number, whose public key every tool knows.
pub(crate) fn signer(secret: u64) -> SigningKey {
    SigningKey::from_bytes(&Scalar::from(secret).to_bytes()).unwrap()
}

pub(crate) fn public(secret: u64) -> Point {
    Point::new(&(ProjectivePoint::GENERATOR * Scalar::from(secret))).unwrap()
}

pub(crate) fn sign(key: &SigningKey, preimage: &[u8]) -> Signature {
    let signature: k256::ecdsa::Signature = key.sign_prehash(&keccak256(preimage)).unwrap();
    let low = signature.normalize_s().unwrap_or(signature);
    Signature::from_bytes(&low.to_bytes().into()).unwrap()
}

/// Member i's identity is i+1, its envelope key 100+i, its consensus key 200+i.
pub(crate) fn identity(index: Index) -> u64 {
    u64::from(index.get()) + 1
}

/// Key number i is the polynomial (i+1) + 7x + 9x^2.
fn share(key: u64, member: Index) -> Scalar {
    let x = Scalar::from(u64::from(member.get()));
    Scalar::from(key + 1) + x * (Scalar::from(7u64) + x * Scalar::from(9u64))
}

fn entry(key: u64, sizes: Sizes) -> KeyEntry {
    let commitment = |m| Point::new(&(ProjectivePoint::GENERATOR * share(key, m))).unwrap();
    KeyEntry { public: public(key + 1), commitments: sizes.members().map(commitment).collect() }
}

/// Nothing is hidden: for tests that look at shapes.
pub(crate) fn bare_seal(_: &Point, bytes: &[u8]) -> Ecies {
    Ecies { iv: [0x11; 16], ephemeral: public(3).to_xy(), ciphertext: bytes.into(), mac: [0x22; 32] }
}

impl World {
    pub(crate) fn new(seal: Seal) -> Arc<Self> {
        let sizes = Sizes::new(5, 3, 1).unwrap();
        let network = NetworkName::new("devnet").unwrap();
        let genesis_time = (NOW - 1000) * 1000;
        let certificate = |index: Index| {
            let i = u64::from(index.get());
            let keys = MemberKeys {
                network: network.clone(),
                epoch: 1,
                attempt: 0,
                index,
                identity: public(identity(index)),
                envelope: public(100 + i),
                consensus: public(200 + i),
                p2p: [index.get(); 32],
                residency: Residency::Sealed,
            };
            let signature = sign(&signer(identity(index)), &keys.preimage());
            KeyCertificate { keys, signature }
        };
        let member = |index| Member { identity: public(identity(index)), residency: Residency::Sealed };
        let committee = Committee {
            network: network.clone(),
            chain: chain_id(&network, genesis_time),
            epoch: 1,
            predecessor: [0; 32],
            sizes,
            members: sizes.members().map(member).collect(),
            end: u64::MAX,
            times: TimeConstants::DEFAULT,
            buffer: Buffer { batch: 4, low_water: 4 },
            genesis_time,
            genesis_root: [0; 32],
        };
        let endpoint = |_| Endpoint { http: String::new(), p2p: String::new(), bft: String::new() };
        let keys = KeyPart {
            attempt: 0,
            certificates: sizes.members().map(certificate).collect(),
            endpoints: sizes.members().map(endpoint).collect(),
        };
        let config = EpochConfig::new(committee, keys).unwrap();
        let verifier = |name: &str, lowercase_id| Verifier {
            name: VerifierName::new(name).unwrap(),
            policy: Policy {
                issuer: "https://issuer.example".into(),
                audiences: vec!["torus".into()],
                id_claim: "email".into(),
                lowercase_id,
                max_age: 120,
                low_s: true,
            },
            keys: Vec::new(),
        };
        let file =
            NetworkFile { config: config.clone(), verifiers: vec![verifier("cased", false), verifier("demo", true)] };
        Arc::new(Self {
            config: Arc::new(config),
            file,
            now: AtomicU64::new(NOW),
            submitted: AtomicUsize::new(0),
            shown: AtomicUsize::new(0),
            seal,
            state: Mutex::default(),
        })
    }

    pub(crate) fn member(self: &Arc<Self>, index: u8) -> Arc<Double> {
        let status = NodeStatus {
            vault: Some(Status {
                device: true,
                clock: true,
                time: NOW * 1000,
                height: 7,
                not_before: NOW - 500,
                receipts_from: NOW - 400,
                shares: 8,
                batches: 0,
                landlock: true,
            }),
            height: 7,
            certified_time: NOW * 1000 - 5000,
            engine_peers: 4,
            envelope_peers: 4,
            caught_up: true,
            buffer_unassigned: 6,
            buffer_target: 8,
            batches_pending: 0,
            batches: Vec::new(),
            assigned: 2,
        };
        Arc::new(Double {
            world: Arc::clone(self),
            index: Index::new(index).unwrap(),
            mood: Mutex::new(Mood::Honest),
            status: Mutex::new(status),
            commitments: Mutex::default(),
        })
    }

    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn owned(&self, verifier: &VerifierName, id: &VerifierId) -> Option<Owned> {
        let place = state::key::assignment(verifier, &state::key::user(id));
        self.state.lock().unwrap().get(&place).cloned()
    }

    fn found(&self, owned: &Owned) -> Found {
        let index = owned.assignment.keys[0];
        Found { assignment: owned.assignment.clone(), index, key: entry(index.number(), self.config.sizes()) }
    }

    fn assign(&self, verifier: &VerifierName, id: &VerifierId) -> Found {
        self.submitted.fetch_add(1, Ordering::Relaxed);
        let user = state::key::user(id);
        let mut state = self.state.lock().unwrap();
        let next = state.len() as u64;
        let fresh = || Owned {
            verifier: verifier.clone(),
            user,
            assignment: Assignment { keys: vec![KeyIndex::from_number(next)], time: self.now() * 1000 },
        };
        let owned = state.entry(state::key::assignment(verifier, &user)).or_insert_with(fresh).clone();
        drop(state);
        self.found(&owned)
    }

    /// Every leaf of the state, and the header over them that all members signed.
    fn certified(&self, owned: &Owned) -> CertifiedKey {
        let mut leaves: BTreeMap<Hash, Vec<u8>> = BTreeMap::new();
        for (place, owned) in &*self.state.lock().unwrap() {
            let index = owned.assignment.keys[0];
            leaves.insert(*place, owned.assignment.to_bytes());
            leaves.insert(state::key::key(index), entry(index.number(), self.config.sizes()).to_bytes());
        }
        let leaves: Vec<(Hash, Vec<u8>)> = leaves.into_iter().collect();
        let committee = self.config.committee();
        let header = Header {
            chain: committee.chain,
            epoch: 1,
            height: 7,
            parent: [1; 32],
            time: self.now() * 1000,
            proposer: Index::new(1).unwrap(),
            transactions: [2; 32],
            state: root(&leaves, 0),
            config: self.config.hash(),
            next_config: self.config.hash(),
        };
        let vote = Vote { step: Step::Precommit, height: 7, round: 0, block: Some(header.hash()) };
        let preimage = vote.preimage(&self.config);
        let voters = self.config.sizes().members().take(self.config.sizes().engine_quorum());
        let signatures = voters.map(|i| (i, sign(&signer(200 + u64::from(i.get())), &preimage))).collect();
        let found = self.found(owned);
        let place = state::key::assignment(&owned.verifier, &owned.user);
        CertifiedKey {
            header: SignedHeader { header, certificate: CommitCertificate { round: 0, signatures } },
            lookup: Lookup {
                user: owned.user,
                assignment: Proven { value: found.assignment, proof: proof(&leaves, &place) },
                key: Proven { value: found.key, proof: proof(&leaves, &state::key::key(found.index)) },
            },
        }
    }
}

fn bit(key: &Hash, depth: usize) -> bool {
    key[depth / 8] & (0x80 >> (depth % 8)) != 0
}

/// The root of a tree in which a subtree of one leaf is that leaf.
fn root(leaves: &[(Hash, Vec<u8>)], depth: usize) -> Hash {
    match leaves {
        [] => PLACEHOLDER,
        [(key, value)] => leaf(key, value),
        _ => {
            let (left, right) = leaves.split_at(leaves.partition_point(|(key, _)| !bit(key, depth)));
            inner(&root(left, depth + 1), &root(right, depth + 1))
        }
    }
}

fn proof(leaves: &[(Hash, Vec<u8>)], place: &Hash) -> MerkleProof {
    let (mut leaves, mut siblings) = (leaves, Vec::new());
    for depth in 0.. {
        if leaves.len() < 2 {
            break;
        }
        let (left, right) = leaves.split_at(leaves.partition_point(|(key, _)| !bit(key, depth)));
        let (mine, other) = if bit(place, depth) { (right, left) } else { (left, right) };
        siblings.push(root(other, depth + 1));
        leaves = mine;
    }
    siblings.reverse();
    MerkleProof { siblings }
}

impl Double {
    pub(crate) fn become_(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn mood(&self) -> Mood {
        self.mood.lock().unwrap().clone()
    }
}

#[async_trait]
impl Backend for Double {
    fn member(&self) -> Index {
        self.index
    }

    fn identity(&self) -> Point {
        public(identity(self.index))
    }

    fn config(&self) -> Arc<EpochConfig> {
        Arc::clone(&self.world.config)
    }

    fn network_file(&self) -> Arc<Vec<u8>> {
        Arc::new(self.world.file.to_bytes())
    }

    fn verifier(&self, name: &VerifierName) -> Option<Policy> {
        self.world.file.verifiers.iter().find(|v| v.name == *name).map(|v| v.policy.clone())
    }

    fn audits(&self) -> Vec<(Index, AuditEntry)> {
        let head = AuditHead { start: 3, count: 40, link: [6; 32], time: 7 };
        let signature =
            sign(&signer(identity(self.index)), &head.preimage(&self.world.config.committee().chain, self.index));
        let newest = SignedAuditHead { head, signature };
        vec![(self.index, AuditEntry { newest, contradiction: None })]
    }

    fn status(&self) -> NodeStatus {
        self.status.lock().unwrap().clone()
    }

    async fn commit(&self, token: Hash, temporary: Point, verifier: VerifierName) -> Result<CommitReceipt, Deny> {
        let held = *self.commitments.lock().unwrap().entry(token).or_insert(temporary);
        if held != temporary {
            return Err(Deny::Held);
        }
        let now = self.world.now();
        let not_before = if self.mood() == Mood::FreshlyStarted { now + 10 } else { now - 500 };
        let committee = self.world.config.committee();
        let receipt = Receipt {
            token,
            temporary,
            verifier,
            time: now,
            network: committee.network.clone(),
            epoch: committee.epoch,
            member: self.index,
            not_before,
        };
        let data = receipt.text();
        let secret = if self.mood() == Mood::ForgedReceipts { 999 } else { identity(self.index) };
        let signature = sign(&signer(secret), data.as_bytes());
        let signature = signature.with_recovery(&public(secret), &keccak256(data.as_bytes())).unwrap();
        Ok(CommitReceipt { data, signature })
    }

    async fn lookup(&self, verifier: &VerifierName, id: &VerifierId) -> Option<Found> {
        self.world.owned(verifier, id).map(|owned| self.world.found(&owned))
    }

    async fn certified(&self, verifier: &VerifierName, id: &VerifierId) -> Option<CertifiedKey> {
        self.world.owned(verifier, id).map(|owned| self.world.certified(&owned))
    }

    async fn assign(&self, verifier: &VerifierName, id: &VerifierId) -> Result<Found, AssignError> {
        match self.mood() {
            Mood::CannotAssign(why) => return Err(why),
            Mood::Slow(time) => tokio::time::sleep(time).await,
            _ => {}
        }
        Ok(self.world.assign(verifier, id))
    }

    async fn release(&self, login: ReleaseInput) -> Result<ReleasedShare, Deny> {
        self.world.shown.fetch_add(1, Ordering::Relaxed);
        let mut off = Scalar::ZERO;
        match self.mood() {
            Mood::Denies(deny) => return Err(deny),
            Mood::Slow(time) => tokio::time::sleep(time).await,
            Mood::WrongShares => off = Scalar::ONE,
            _ => {}
        }
        let held = self.commitments.lock().unwrap().get(&keccak256(login.token.as_bytes())).copied();
        let temporary = held.ok_or(Deny::NotCommitted)?;
        let owned = self.world.owned(&login.verifier, &login.id).ok_or(Deny::Proof)?;
        let found = self.world.found(&owned);
        let secret = share(found.index.number(), self.index) + off;
        let expires = self.world.now() + u64::from(login.session_seconds);
        let session = SessionToken { expires, temporary: &temporary, verifier: &login.verifier, id: &login.id };
        let (token, json) = (session.text(), session.json());
        let signature = sign(&signer(identity(self.index)), token.as_bytes());
        let signature = signature.with_recovery(&self.identity(), &keccak256(token.as_bytes())).unwrap();
        let seal = self.world.seal;
        Ok(ReleasedShare {
            key: found.index,
            public: found.key.public,
            share: seal(&temporary, &secret.to_bytes()),
            session: SessionGrant { token: seal(&temporary, json.as_bytes()), signature: seal(&temporary, &signature) },
        })
    }

    async fn key_owner(&self, public: &Point) -> Option<KeyOwner> {
        let state = self.world.state.lock().unwrap();
        let owners = state.values().map(|owned| (owned.assignment.keys[0], owned));
        let mine = |index: KeyIndex| entry(index.number(), self.world.config.sizes()).public == *public;
        if let Some((index, owned)) = owners.clone().find(|(index, _)| mine(*index)) {
            return Some(KeyOwner { index, owner: Some((owned.verifier.clone(), owned.user)) });
        }
        let next = KeyIndex::from_number(state.len() as u64);
        mine(next).then_some(KeyOwner { index: next, owner: None })
    }
}
