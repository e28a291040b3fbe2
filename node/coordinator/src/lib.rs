//! Runs of key generation seen from a node, sans-IO: tells the vault what the log says, carries what vaults send each
//! other, gathers what they signed, and proposes it to the log.
//!
//! It holds no secret and opens no envelope. It decides nothing that counts: a vault checks every fact that it is
//! told, the log checks every quorum. A peer's statement whose signature does not verify is refused here, so that no
//! member can spoil another's proposals. Time is an input, in milliseconds of any clock that does not go back.
#![forbid(unsafe_code)]

mod coordinator;
mod message;
mod run;

pub use coordinator::{Ask, Coordinator, Input, Output};
pub use message::{Message, Statement};

#[cfg(test)]
mod tests;
