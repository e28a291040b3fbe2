//! What the interface needs of the rest of the node, as one trait.

use std::sync::Arc;

use async_trait::async_trait;
use torus_ipc::{CommitReceipt, Deny, Lookup, ReleasedShare, Status};
use torus_statement::certificate::SignedHeader;
use torus_statement::dkg::{Attempt, KeyIndex};
use torus_statement::receipt::SignedReceipt;
use torus_statement::state::{Assignment, AuditEntry, BatchEntry, KeyEntry, Phase};
use torus_statement::text::{VerifierId, VerifierName};
use torus_statement::{EpochConfig, Hash, Index, Point, Policy};

/// The rest of the node. Ids that come here are canonical: lowered already where the verifier's policy says so.
/// Answers about the mapping are of committed state; nothing here may block the thread.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// This member.
    fn member(&self) -> Index;

    /// The key that signs this member's receipts.
    fn identity(&self) -> Point;

    /// The config in force.
    fn config(&self) -> Arc<EpochConfig>;

    /// The bytes of the network's file, whose hash operators approved.
    fn network_file(&self) -> Arc<Vec<u8>>;

    /// The policy of a verifier; `None` if the network has none of this name.
    fn verifier(&self, name: &VerifierName) -> Option<Policy>;

    /// How the member is, without waiting.
    fn status(&self) -> NodeStatus;

    /// What is certified of the members' audit logs, in the order of the members.
    fn audits(&self) -> Vec<(Index, AuditEntry)>;

    /// How this member stands in the node list; `None` if it was started without one.
    fn node_list(&self) -> Option<serde_json::Value> {
        None
    }

    /// A commitment, for the vault.
    async fn commit(&self, token: Hash, temporary: Point, verifier: VerifierName) -> Result<CommitReceipt, Deny>;

    /// The user's key, if he has one.
    async fn lookup(&self, verifier: &VerifierName, id: &VerifierId) -> Option<Found>;

    /// The user's key with everything that proves it to someone who knows only the network's file.
    async fn certified(&self, verifier: &VerifierName, id: &VerifierId) -> Option<CertifiedKey>;

    /// The user's key, assigned first if he has none. Returns once the assignment is in a certified block; asked again,
    /// it gives the same key and takes no other.
    async fn assign(&self, verifier: &VerifierName, id: &VerifierId) -> Result<Found, AssignError>;

    /// A login, for the vault; the header and the mapping's proof are added here.
    async fn release(&self, login: ReleaseInput) -> Result<ReleasedShare, Deny>;

    /// Which key this is, and whose.
    async fn key_owner(&self, public: &Point) -> Option<KeyOwner>;
}

/// A user's key as the mapping has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which keys the user has, and since when.
    pub assignment: Assignment,
    /// The lowest of them: the one that clients use.
    pub index: KeyIndex,
    /// Its entry.
    pub key: KeyEntry,
}

/// A user's key with its proof under a certified header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedKey {
    /// The header and its certificate.
    pub header: SignedHeader,
    /// Assignment and key with their proofs under the header's state root.
    pub lookup: Lookup,
}

/// Why no key could be assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssignError {
    /// No unassigned key is left; the buffer fills again by itself.
    #[error("no unassigned key is left")]
    NoKeys,
    /// The assignment is not in a certified block yet; it may still come.
    #[error("the assignment is not certified yet")]
    Timeout,
    /// The allowance of this member or verifier is used up for now.
    #[error("too many assignments")]
    RateLimited,
    /// The member does not take part in the log yet or any more.
    #[error("the member is not ready")]
    NotReady,
}

/// A login as it goes to the vault.
pub struct ReleaseInput {
    /// The id token's text.
    pub token: String,
    /// The verifier.
    pub verifier: VerifierName,
    /// The id that the request names, for finding the mapping's proof; the vault takes the token's.
    pub id: VerifierId,
    /// Receipts of distinct members for this token, each of which verifies.
    pub receipts: Vec<SignedReceipt>,
    /// How long the session token shall live, in seconds.
    pub session_seconds: u32,
}

/// Whose a key is. The log holds hashes of ids, so that is what can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyOwner {
    /// The key.
    pub index: KeyIndex,
    /// The verifier and the hash of the user's id (`state::key::user`); `None` while it is unassigned.
    pub owner: Option<(VerifierName, Hash)>,
}

/// How a member is. Times are in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// What the vault said last; `None` if it does not answer.
    pub vault: Option<Status>,
    /// The height of the newest certified header that the node holds, 0 for genesis.
    pub height: u64,
    /// The time of that header.
    pub certified_time: u64,
    /// Other members that the engine is connected to.
    pub engine_peers: u16,
    /// Other members that envelopes reach.
    pub envelope_peers: u16,
    /// Whether the node has caught up with the log as far as it knows.
    pub caught_up: bool,
    /// Unassigned keys.
    pub buffer_unassigned: u64,
    /// Keys that the buffer is filled to.
    pub buffer_target: u64,
    /// Batches under way.
    pub batches_pending: u64,
    /// The newest batches that are under way or not acknowledged by every member, in rising order; at most
    /// `MAX_BATCHES`.
    pub batches: Vec<BatchStatus>,
    /// Keys ever assigned.
    pub assigned: u64,
}

/// Batches that a status names. A member that is away for long leaves many without its acknowledgement.
pub const MAX_BATCHES: usize = 32;

/// How far a batch of keys is, as the newest certified state has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchStatus {
    /// The batch and the attempt in force.
    pub attempt: Attempt,
    /// How far the attempt is.
    pub stage: BatchStage,
    /// Members that acknowledged it: only of a published one.
    pub acks: u32,
}

/// How far a batch is, in an operator's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchStage {
    /// Members deal; the log has not fixed the set yet.
    Open,
    /// The log has fixed the qualified set; the keys are not published yet.
    Qualified,
    /// The keys are in the buffer; some member has not acknowledged its shares.
    Published,
}

impl BatchStage {
    /// All of them, in their order.
    pub const ALL: [Self; 3] = [Self::Open, Self::Qualified, Self::Published];

    /// As `/readyz` and the metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Qualified => "qualified",
            Self::Published => "published",
        }
    }
}

impl BatchStatus {
    /// What the log's entry of a batch says.
    pub const fn of(batch: u64, entry: &BatchEntry) -> Self {
        let (stage, acks) = match entry.phase {
            Phase::Open => (BatchStage::Open, 0),
            Phase::Qualified { .. } => (BatchStage::Qualified, 0),
            Phase::Published { acks, .. } => (BatchStage::Published, acks.count_ones()),
        };
        Self { attempt: entry.attempt_of(batch), stage, acks }
    }
}
