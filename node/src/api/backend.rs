//! What the interface needs of the rest of the node, as one trait.

use std::sync::Arc;

use async_trait::async_trait;
use torus_ipc::{CommitReceipt, Deny, Lookup, ReleasedShare, Status};
use torus_statement::certificate::SignedHeader;
use torus_statement::dkg::KeyIndex;
use torus_statement::receipt::SignedReceipt;
use torus_statement::state::{Assignment, KeyEntry};
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
    /// Keys ever assigned.
    pub assigned: u64,
}
