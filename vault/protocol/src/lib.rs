//! The secret half of key generation and hand-over, sans-IO: scalars, bivariate polynomials, AVSS, DKG and PSS participant.
//!
//! Asynchronous verifiable secret sharing of Cachin, Kursawe, Lysyanskaya and Strobl (CCS 2002, section 3) with degree
//! k-1 in both variables, summed over a qualified set and opened after it is fixed. The crate refuses to hand out a
//! polynomial or a share except as the messages and records listed in [`Output`]; its secrets can't be printed, cloned
//! or compared. Time does not occur, randomness is given, and the caller guarantees: authenticated, confidential
//! channels between members; that each output is carried out in order, a record being durable before what follows it
//! leaves; that a qualified set comes with its certificate checked; that it goes on while there is work; and that the
//! stack is wiped after each call.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod body;
#[cfg(test)]
mod bounds;
mod candidate;
mod check;
mod combination;
mod deal;
mod dealing;
mod handover;
mod held;
mod instance;
mod message;
mod opening;
mod participant;
mod points;
mod polynomial;
mod rows;
mod run;
#[cfg(test)]
mod secrecy;
mod secret;
mod table;
mod taking;

pub use body::Body;
pub use handover::{BadShares, HandOver};
pub use message::{BadPromise, Input, Kind, Output, Promise, PromiseReader, Reason, Record, Shares};
pub use participant::{NotTheBatch, Participant, SLICE};
pub use run::{BadRun, Run, hand_over_room, room, take_over_room};
pub use secret::{SecretBytes, SecretScalars};
pub use torus_sharing::{Budget, Digest, HandOverSet, Index, PublishedKeys, QualifiedSet, Sizes};
