//! Why the state machine stops: never because of input.

/// The state cannot be read, or contradicts itself.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The store did not answer.
    #[error("the state's store failed: {0}")]
    Store(String),
    /// A leaf or node of the state is not what this build wrote.
    #[error("the state is damaged: {0}")]
    Damaged(String),
}
