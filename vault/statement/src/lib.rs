//! Public formats and their verification: what a vault signs, and what it accepts as proof.
//!
//! Every byte string that crosses a wall of this project, or that a vault key signs, has its one definition here:
//! bounded canonical encodings, the domain of every hash, and the preimage of every signature. The crate verifies
//! and builds; it never signs, holds no secret, and refuses bytes that are not the one encoding of a valid value.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod audit;
pub mod block;
pub mod certificate;
pub mod codec;
pub mod config;
pub mod dkg;
pub mod envelope;
pub mod hash;
pub mod key;
pub mod keycert;
pub mod listing;
pub mod merkle;
pub mod network;
pub mod policy;
pub mod receipt;
pub mod record;
pub mod registry;
pub mod session;
pub mod state;
pub mod succession;
pub mod text;
pub mod transaction;
pub mod vote;

pub use audit::{AuditHead, SignedAuditHead};
pub use block::{Block, Header};
pub use certificate::{Certified, CommitCertificate};
pub use codec::{Malformed, Reader, Wire, Writer};
pub use config::{Committee, EpochConfig, KeyPart, TimeConstants};
pub use hash::{Hash, keccak256, sha256};
pub use key::{PublicKey, Signature};
pub use keycert::KeyCertificate;
pub use listing::{Address, Listing};
pub use merkle::MerkleProof;
pub use network::NetworkFile;
pub use policy::{IssuerKey, Policy, Verifier};
pub use torus_sharing::{Index, Point, Sizes};
pub use transaction::{Body, Transaction};
pub use vote::{SignedVote, Step, Vote};
