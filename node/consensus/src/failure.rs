//! Why the engine did not start, and why it is no more.

use torus_statement::Index;

use super::api::ChainFailed;

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// The index or the p2p key is not that of a member of the config.
    #[error("this node is no member of the config: {0}")]
    Stranger(&'static str),
    /// A member's p2p key is none.
    #[error("the p2p key of member {0} is no Ed25519 key")]
    Peer(Index),
    /// The directory cannot be used.
    #[error("the engine's directory: {0}")]
    Directory(#[from] std::io::Error),
    /// The vault does not sign this node's proof of validator.
    #[error("the vault does not vouch for this node's peer id")]
    Proof,
    /// The engine does not start.
    #[error("the engine: {0}")]
    Engine(String),
}

/// Why the engine is no more. The process ends, and its supervisor starts it again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// Asked to.
    #[error("stopped")]
    Asked,
    /// The chain failed.
    #[error("{0}")]
    Chain(String),
    /// The engine gave up by itself.
    #[error("the engine stopped")]
    Engine,
    /// The epoch's last block is committed: the next height has other validators.
    #[error("the epoch ended")]
    EpochEnded,
}

impl From<ChainFailed> for Stopped {
    fn from(error: ChainFailed) -> Self {
        Self::Chain(error.to_string())
    }
}
