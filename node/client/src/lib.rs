//! The user's side of the network: finds a key, has one assigned, logs in and rebuilds the private key.
//!
//! It believes no member: a token is revealed only after a quorum's receipts verified, keys count only with their proof
//! under a certified header, and each share is checked against its certified commitment, so that a member that
//! answers wrongly is named. It refuses to wait for all: a threshold is enough, and slow members are overtaken.
//! It holds the user's key and temporary key only in memory that is wiped, and is linked by no daemon.
#![forbid(unsafe_code)]

mod address;
mod certified;
mod client;
mod commit;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod hedge;
mod http;
mod network;
mod random;
mod reveal;
mod rpc;
mod secret;
mod token;

pub use address::address;
pub use certified::{Key, Trust};
pub use client::{Client, Login, Options};
pub use error::{Error, Fault};
pub use http::{Http, Timeouts};
pub use network::{Member, Network, VerifierInfo};
pub use reveal::Session;
pub use secret::{PrivateKey, TemporaryKey};
pub use token::Token;
