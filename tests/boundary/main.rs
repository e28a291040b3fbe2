//! Checks of the walls between vault, node and client, made from outside the crates: what is linked, what is locked, what
//! a process is given.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a check fails by panicking")]

mod launcher;
mod lockfiles;
mod map;
mod memory;
mod sandbox;
mod walls;
