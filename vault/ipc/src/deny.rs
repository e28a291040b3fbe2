//! Refusals: stable numbers for the node and the front end, grouped by what the caller can do about them.

/// Why the vault refuses. The number is on the wire and in clients; its text is the doc line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Deny {
    /// The request cannot be read.
    #[error("the request cannot be read")]
    Malformed,
    /// The vault's queue is full; ask again.
    #[error("the vault is busy")]
    Busy,
    /// The device did not answer as it must.
    #[error("the device does not work")]
    Device,
    /// The store did not take a record; nothing happened.
    #[error("the store does not take records")]
    Store,
    /// The vault's clock is outside the band around the newest certified header.
    #[error("the clock is outside the certified band")]
    Clock,
    /// The header is not certified under the config that the vault trusts.
    #[error("the header is not certified")]
    Header,
    /// The header is older than one that the vault has seen, or too old to be fresh.
    #[error("the header is stale")]
    Stale,
    /// A proof does not lead to the header's state root.
    #[error("the proof does not verify")]
    Proof,
    /// The vote is not for the height above the newest certified header.
    #[error("the vote is for another height")]
    Height,
    /// The round is above the vault's own without evidence.
    #[error("no evidence for the round")]
    Evidence,
    /// The vault votes no more in this epoch.
    #[error("the vault does not vote")]
    NoVote,
    /// The attempt is not one that this vault takes part in.
    #[error("the attempt is not taken part in")]
    Attempt,
    /// The envelope is not from a member, not for this vault, or does not open.
    #[error("the envelope does not open")]
    Envelope,
    /// The token's hash, or the hash that it reserves, is committed to another temporary key.
    #[error("the commitment is held by another key")]
    Held,
    /// After a start without a clean stop the vault signs no receipt for a while.
    #[error("no receipts yet after the start")]
    Settling,
    /// The verifier is not known.
    #[error("the verifier is not known")]
    Verifier,
    /// The token is not in its one text, or not a token.
    #[error("the token is not in its one form")]
    TokenForm,
    /// The token's algorithm or key is not allowed.
    #[error("the token's key is not allowed")]
    TokenKey,
    /// The token's signature does not verify.
    #[error("the token's signature does not verify")]
    TokenSignature,
    /// The token's issuer is another.
    #[error("the token's issuer is another")]
    TokenIssuer,
    /// The token's audience is another.
    #[error("the token's audience is another")]
    TokenAudience,
    /// The token is not yet valid, expired or too old.
    #[error("the token's times do not hold")]
    TokenTime,
    /// The token was issued before the vault's not-before.
    #[error("the token is older than the vault's not-before")]
    NotBefore,
    /// The token does not name its user as the policy asks.
    #[error("the token does not name its user")]
    TokenId,
    /// The token names another user than the one whose key was proven.
    #[error("the token names another user")]
    TokenUser,
    /// The vault holds no commitment of the token's hash.
    #[error("the token was not committed here")]
    NotCommitted,
    /// Fewer than a quorum of distinct members signed receipts for this hash, temporary key and verifier in the window.
    #[error("too few receipts")]
    Receipts,
    /// The vault holds no share of the key.
    #[error("the share is not held")]
    NoShare,
    /// The share does not match its certified commitment.
    #[error("the share does not match its commitment")]
    Commitment,
    /// The key was first released to another user.
    #[error("the key has another owner")]
    Owner,
    /// The epoch is not active or has ended.
    #[error("the epoch is not active")]
    Epoch,
    /// The vault was stopped, by its operator or by a contradiction.
    #[error("the vault is stopped")]
    Frozen,
    /// The next epoch's committee is not the one that the vault's operator approved.
    #[error("the committee is not approved")]
    Approval,
    /// A quota of this hour is used up.
    #[error("the quota is used up")]
    Quota,
}

impl Deny {
    /// Every refusal and its number; numbers are never given a second meaning.
    pub const ALL: [(Self, u16); 34] = [
        (Self::Malformed, 1),
        (Self::Busy, 2),
        (Self::Device, 3),
        (Self::Store, 4),
        (Self::Clock, 5),
        (Self::Header, 10),
        (Self::Stale, 11),
        (Self::Proof, 12),
        (Self::Height, 20),
        (Self::Evidence, 21),
        (Self::NoVote, 22),
        (Self::Attempt, 30),
        (Self::Envelope, 31),
        (Self::Held, 40),
        (Self::Settling, 41),
        (Self::Verifier, 50),
        (Self::TokenForm, 51),
        (Self::TokenKey, 52),
        (Self::TokenSignature, 53),
        (Self::TokenIssuer, 54),
        (Self::TokenAudience, 55),
        (Self::TokenTime, 56),
        (Self::NotBefore, 57),
        (Self::TokenId, 58),
        (Self::TokenUser, 59),
        (Self::NotCommitted, 60),
        (Self::Receipts, 61),
        (Self::NoShare, 70),
        (Self::Commitment, 71),
        (Self::Owner, 72),
        (Self::Epoch, 80),
        (Self::Frozen, 81),
        (Self::Quota, 82),
        (Self::Approval, 83),
    ];

    /// The number.
    pub fn code(self) -> u16 {
        Self::ALL.iter().find(|(deny, _)| *deny == self).map_or(0, |(_, code)| *code)
    }

    /// The refusal of a number.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.iter().find(|(_, number)| *number == code).map(|(deny, _)| *deny)
    }
}
