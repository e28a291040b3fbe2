//! Why a transaction is not executed: stable words, equal on all nodes.

/// Why a transaction is refused. A refused one changes nothing, and no valid block holds one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Reject {
    /// Its config is not the one in force.
    #[error("the transaction is for another network or epoch")]
    Config,
    /// Its encoding is above the bound.
    #[error("the transaction is too large")]
    Size,
    /// Its sender is no member.
    #[error("the sender is no member")]
    Sender,
    /// Its sequence was used, or is 128 or more below the highest.
    #[error("the sequence was used or is too old")]
    Sequence,
    /// The sender's node did not sign it.
    #[error("the sender's signature does not verify")]
    Signature,
    /// The sender assigned too much in a short time.
    #[error("the member's allowance is used up")]
    MemberAllowance,
    /// Too much was assigned under the verifier in a short time.
    #[error("the verifier's allowance is used up")]
    VerifierAllowance,
    /// The verifier is not in the state.
    #[error("the verifier is not known")]
    Verifier,
    /// The user has a key already.
    #[error("the user has a key")]
    Assigned,
    /// No published key is unassigned.
    #[error("no key is left")]
    NoKeys,
    /// No such batch was opened.
    #[error("the batch is not known")]
    Batch,
    /// The log moved on to another attempt, or never opened this one.
    #[error("the attempt is not in force")]
    Attempt,
    /// The batch is not in the phase that the transaction belongs to.
    #[error("the batch is in another phase")]
    Phase,
    /// Not exactly n-t dealings of members in rising order.
    #[error("the qualified set is not n-t dealings in rising order")]
    Dealings,
    /// A dealing comes without the readies of a quorum of distinct members for this very attempt.
    #[error("a dealing lacks the readies of a quorum")]
    Readies,
    /// Not a quorum of distinct members signed these keys for this very attempt.
    #[error("the keys lack the signatures of a quorum")]
    Quorum,
    /// The bytes are not the keys of one batch.
    #[error("the published keys are not those of a batch")]
    Published,
    /// The sender's vault did not sign the acknowledgement of these keys.
    #[error("the acknowledgement's signature does not verify")]
    AckSignature,
    /// The member acknowledged the batch already.
    #[error("the batch is acknowledged already")]
    Acked,
    /// The log has this head of the member's audit log, or a later one.
    #[error("the audit log's head is old")]
    AuditOld,
    /// The sender's vault did not sign the head.
    #[error("the audit log's head is not signed by the sender's vault")]
    AuditSignature,
    /// The head contradicts the known one, as one that is on record does already.
    #[error("the audit log's contradiction is known")]
    AuditContradicted,
}

impl Reject {
    /// Whether the same request may succeed later, when keys or allowances are there again.
    pub const fn passes(self) -> bool {
        matches!(self, Self::NoKeys | Self::MemberAllowance | Self::VerifierAllowance)
    }
}
