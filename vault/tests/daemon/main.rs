//! The vault's process, through its real socket and over a real token (SoftHSM).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod audit;
mod bench;
mod commits;
mod days;
mod door;
mod epochs;
mod flood;
mod full;
mod gate;
mod listings;
mod network;
mod operator;
mod reveals;
mod rig;
mod starts;
mod votes;
mod whole;
