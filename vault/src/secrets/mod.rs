//! What secrets are drawn from, signed with and wiped by. No secret has a home here: shares are key generation's, keys the
//! token's.

pub mod randomness;
pub mod scrub;
pub mod signing;
