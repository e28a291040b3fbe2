//! Where secrets lie and what they are drawn from and signed with. What they say is known elsewhere: shares are key
//! generation's, keys the token's.

pub mod arena;
mod extents;
pub mod randomness;
pub mod signing;
pub mod stack;
pub mod strongroom;

use torus_ipc::Deny;
use torus_memory::Exhausted;

/// Memory for secrets that is used up is a request to be made again later.
pub(crate) fn busy(exhausted: Exhausted) -> Deny {
    crate::warning!("{exhausted}: a request is refused as busy");
    Deny::Busy
}
