//! The vault process: holds the shares, believes nothing that the node says.
//!
//! It answers the verbs of `torus-ipc` and no others: there is none that reads a share, writes one, signs bytes of the
//! caller's choosing or decrypts. What leaves it, and why, is in `vault/README.md`.
#![deny(unsafe_code)]

pub mod accept;
pub mod advance;
pub mod boot;
pub mod clock;
pub mod commit;
pub mod connection;
pub mod descriptors;
pub mod doctor;
pub mod ecies;
pub mod init;
pub mod keygen;
pub mod log;
pub mod member;
pub mod randomness;
pub mod reveal;
pub mod run;
pub mod scrub;
pub mod server;
pub mod serving;
pub mod signing;
pub mod store;
pub mod votes;
pub mod voting;
pub mod workers;
