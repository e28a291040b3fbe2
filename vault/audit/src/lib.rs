//! The vault's audit log: what a record says, how records are chained, and what a copy of the log proves.
//!
//! Pure: it knows no disk, no clock and no device. A record names no user but by a keyed hash, and holds no token and no
//! secret; the one secret here is the key of those hashes. A copy is read in pieces of any size, in bounded memory, and
//! the first record that is bad, missing or out of its place is named. What a copy cannot show is that it goes on to the
//! log's end: for that there are the signed heads that the vault's peers hold.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod chain;
pub mod copy;
pub mod event;
pub mod subject;
pub mod verify;

pub use chain::{Link, START, WINDOW, link};
pub use event::{Event, Generation, KeyAct, MAX_RECORD, Operator, Record, Standing};
pub use subject::{Pseudonym, SubjectKey};
pub use verify::{Fault, Found, Proven, Verifier};
