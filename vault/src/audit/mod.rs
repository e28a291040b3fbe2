//! The audit log of this vault: written in the very transaction of the act that a record is of.
//!
//! So a record and its act are durable together or not at all, with one write to disk, and nothing is to be reconciled
//! after a crash. What may leave once a record is there leaves after that transaction and not before. Why the records are
//! in the database and not in a file: `vault/docs/adr/0002-audit-records-in-the-database.md`.

pub mod command;
mod commitments;
pub mod copies;
pub mod heads;
pub mod journal;
pub mod refusals;
pub mod seen;
pub mod subjects;
#[cfg(test)]
pub(crate) mod tests;
pub mod text;

pub use heads::Heads;
pub use journal::{Extent, Journal, Releases};
