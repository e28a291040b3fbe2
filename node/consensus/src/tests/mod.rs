//! The engine itself, five times on loopback, with vaults that keep the vote rule and stores that outlive their nodes.

mod bench;
mod chain;
mod cluster;
mod kit;
mod places;
mod scenario;
mod vault;
