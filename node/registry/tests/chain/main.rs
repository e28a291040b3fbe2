//! The node list on a real chain: anvil, the committed contract, endpoints that lie, lag, hang or flood, reorganisations,
//! stuck transactions and restarts. Each test has a chain of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod anvil;
mod endpoints;
mod epochs;
mod network;
mod people;
mod proxy;
mod refusals;
mod sending;
