//! The replicated state machine: the buffer of keys, who has which, the verifiers; its authenticated state and proofs.
//!
//! Sans-IO: a function of a state, a header's height and time, and transactions; it reads no clock, draws nothing at
//! random, knows no store but through `StateReader`, and iterates over no hash map, so that all replicas agree. It
//! refuses, by name, every transaction that would change nothing: a block that holds one is invalid.
#![forbid(unsafe_code)]

mod allowance;
mod at;
mod error;
mod execute;
mod genesis;
mod memory;
mod reject;
mod rules;
mod state;
mod tree;
mod window;

pub use allowance::Rates;
pub use at::At;
pub use error::Failed;
pub use execute::{Execution, Outcome, execute};
pub use genesis::{genesis, genesis_root};
pub use memory::MemoryState;
pub use reject::Reject;
pub use rules::{admit, authenticate, still_admissible};
pub use state::View;
pub use tree::{StaleNode, StateReader, TreeUpdate, prove, root};

#[cfg(test)]
mod tests;
