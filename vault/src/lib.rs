//! The vault process: holds the shares, believes nothing that the node says.
//!
//! It answers the verbs of `torus-ipc` and no others: there is none that reads a share, writes one, signs bytes of the
//! caller's choosing or decrypts. What leaves it, and why, is in `vault/README.md`.
//!
//! Requests come in at the [`door`] and wait in the queues of [`workers`]; [`serving`] says what each worker does with
//! them: votes in [`consensus`], key generation in [`keygen`], users in [`logins`]. [`daemon`] starts and ends all that,
//! [`operator`] is what a person does on the host, [`secrets`] where secrets lie. [`store`] and [`clock`] are
//! what is remembered, [`audit`] what is on record of it.
#![deny(unsafe_code)]

pub mod audit;
pub mod clock;
pub mod consensus;
pub mod daemon;
pub mod door;
pub mod keygen;
#[cfg(test)]
mod known;
pub mod log;
pub mod logins;
pub mod operator;
pub mod secrets;
pub mod serving;
pub mod store;
pub mod workers;

// Every module by its own name, whatever room it stands in.
pub use consensus::{advance, configs, listing, next_keys, succession, votes, voting};
pub use daemon::{boot, member, run};
pub use door::{connection, descriptors, server};
pub use logins::{budget, commit, ecies, limits, owners, quota, reveal, users};
pub use operator::{accept, approve, doctor, findings, freeze, init, prove, trust};
pub use secrets::{arena, randomness, signing, stack, strongroom};
