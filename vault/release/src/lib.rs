//! The pure decision to release a share: token, receipts, certified mapping, clock -> Release or Deny.
//!
//! Everything that the decision rests on is an argument; the crate reads no clock, no storage and no network, holds no
//! secret, and refuses whatever it can't prove. A token counts only in its **one text**: if two texts were one login, the
//! second would be a fresh commitment for whoever saw the first.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod base64url;
mod clock;
mod decide;
mod deny;
mod json;
mod jws;
mod policy;
mod receipts;
mod signature;
#[cfg(test)]
mod tests;

pub use clock::Clock;
pub use decide::{Commitment, EpochState, Grant, Inputs, Seen, decide, issue_time};
pub use deny::Deny;
pub use jws::{MAX_TOKEN, Token};
pub use policy::{Login, evaluate, issued};
