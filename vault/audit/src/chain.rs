//! The chain: each record's link hashes the link before it and the record's bytes, so a link stands for all of them.

use torus_statement::hash::sha256;

/// What stands for a record and everything before it.
pub type Link = [u8; 32];

/// The link before the first record.
pub const START: Link = [0; 32];

/// How many records may lie between a head and the checkpoint that holds its signature: a device signs while others
/// write. Whoever verifies keeps as many links.
pub const WINDOW: u64 = 4096;

/// The link of a record.
pub fn link(before: &Link, record: &[u8]) -> Link {
    sha256("torus/audit-link/v1\0", &[before, record])
}
