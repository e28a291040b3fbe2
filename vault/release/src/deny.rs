//! Why a share is not released; every condition of the decision has its own name.

/// A refusal. The names are those of the wire, where they have numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Deny {
    /// The epoch is not active or has ended.
    #[error("the epoch is not active")]
    Epoch,
    /// The vault was stopped, by its operator or by a contradiction.
    #[error("the vault is stopped")]
    Frozen,
    /// A quota of this hour is used up.
    #[error("the quota is used up")]
    Quota,
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
    /// The verifier's policy is not proven under the header's state root.
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
    /// The key was first released to another user.
    #[error("the key has another owner")]
    Owner,
}
