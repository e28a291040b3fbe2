//! The certified log as the vault follows it, the votes that it casts for it, and what its member says of itself.

pub mod advance;
pub mod configs;
pub mod listing;
pub mod next_keys;
pub mod succession;
pub mod votes;
pub mod voting;
