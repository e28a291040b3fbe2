//! A user's login in its two steps: the commitment of a token's hash, and the reveal that releases a share as ciphertext;
//! with what bounds both: the pinned owners of keys, the quotas, the device's time.

pub mod budget;
pub mod commit;
pub mod ecies;
pub mod limits;
pub mod owners;
pub mod quota;
pub mod reveal;
pub mod users;
