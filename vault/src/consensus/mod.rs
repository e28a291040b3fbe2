//! The certified log as the vault follows it, and the votes that it casts for it.

pub mod advance;
pub mod configs;
pub mod next_keys;
pub mod succession;
pub mod votes;
pub mod voting;
