//! The engine itself, five times on loopback, with vaults that keep the vote rule and stores that outlive their nodes.

mod bench;
mod chain;
mod cluster;
mod kit;
mod scenario;
mod vault;
