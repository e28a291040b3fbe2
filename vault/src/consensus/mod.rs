//! The certified log as the vault follows it, and the votes that it casts for it.

pub mod advance;
pub mod votes;
pub mod voting;
