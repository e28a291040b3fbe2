//! The protocol in a simulated network: deterministic, seeded, hostile.
//!
//! `net` is the network and its log, `change` another for a batch that goes over to the next committee, `byzantine` what a hostile member does to its own messages, `schedule` the
//! property tests, `rejects` one named test for each thing that must be refused, `slices` what work in pieces must not
//! change, `vectors` the known answers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

mod byzantine;
mod change;
mod net;
mod rejects;
mod schedule;
mod slices;
mod vectors;
