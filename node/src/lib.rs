//! The node process: network and no secret.

pub mod api;
mod assign;
pub mod audit;
pub mod backend;
pub mod chain;
pub mod doctor;
pub mod genesis;
pub mod keygen;
pub mod listed;
mod members;
pub mod names;
pub mod p2p;
pub mod place;
pub mod run;
mod seek;
pub mod signer;
pub mod store;
pub mod vault_link;

#[cfg(test)]
#[allow(dead_code)] // Shared with the state machine's tests.
#[path = "../mapping/src/tests/net.rs"]
mod testnet;
