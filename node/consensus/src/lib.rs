//! The BFT engine, embedded: blocks in, certified blocks out. The only crate that sees Malachite, and it signs nothing:
//! votes and proposals are the vault's, transactions and state the chain's.
//!
//! How it is embedded, what wakes it, and what is lost when: node/docs/consensus.md.
#![forbid(unsafe_code)]

mod api;
mod app;
mod blocks;
mod book;
mod codec;
mod context;
mod engine;
mod failure;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod gossip;
mod marker;
mod part;
mod peers;
mod settings;
mod signing;
#[cfg(test)]
mod tests;

pub use api::{Chain, ChainFailed, Kept, Refused, Tip, VoteSigner};
pub use engine::{ConsensusConfig, Handle, start};
pub use failure::{NotStarted, Stopped};
pub use settings::Timing;
