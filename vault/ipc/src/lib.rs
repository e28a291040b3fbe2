//! Messages between node and vault, and their bounded codec.
//!
//! The node asks, the vault decides. Every verb is an act of the protocol: there is none that reads a share, writes a
//! share, signs bytes of the caller's choosing or decrypts. The vault takes nothing on the node's word: whatever a
//! request claims comes with its proof, and a refusal is a code without detail.
#![forbid(unsafe_code)]

pub mod deny;
pub mod frame;
pub mod request;
pub mod response;
#[cfg(test)]
mod tests;

pub use deny::Deny;
pub use request::{LoginProof, Lookup, Request, SeenAudit, VoteRequest};
pub use response::{CommitReceipt, Ecies, HeldVotes, Hello, Progress, ReleasedShare, Response, SessionGrant, Status};

/// The version of the protocol; the first frame of a connection carries it.
pub const IPC_VERSION: u16 = 5;
