//! The device that protects a vault's keys: the protocol-level trait, and its form over any PKCS#11 token.
//!
//! Keys are made inside the token and never leave it. The crate offers no call that exports, imports, wraps or copies
//! a key, none that signs bytes of unknown origin under another key's purpose, and it refuses to guess: an object that
//! is not exactly as strict as its template is no key of ours. What objects exist, how records are sealed and what a
//! token must prove before it is used is in `vault/docs/hsm.md`.
//!
//! PKCS#11's types and its unsafe calls end here: nothing of them is in the public interface.
#![deny(unsafe_code)]

mod conformance;
mod counter;
mod device;
mod error;
mod fault;
mod objects;
mod pin;
mod raw;
mod sealed;
mod sealed_key;
mod session;
#[cfg(test)]
mod tests;
mod token;

pub use conformance::{Check, Report, Verdict, conformance};
pub use device::{Device, EpochAttempt, EpochPublic};
pub use error::{DeviceError, PinError, TokenError};
pub use pin::Pin;
pub use sealed::SealedDevice;
pub use sealed_key::{BadSealedKey, SealedKey};
pub use session::Session;
pub use token::{Token, TokenConfig, TokenInfo};
