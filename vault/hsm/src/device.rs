//! What a vault asks of the device that protects its keys, at the level of the protocol.
//!
//! Every operation names its purpose, so that a device can hold a key to it: there is no "sign with key", no
//! "decrypt with key", no export. A device that keeps the shares themselves and computes on them implements the same
//! trait and more.

use crate::error::DeviceError;
use crate::sealed_key::SealedKey;
use core::fmt;
use torus_sharing::Point;

/// One try at an epoch. An epoch that is abandoned and begun again has a new attempt and new keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpochAttempt {
    /// The epoch's number.
    pub epoch: u64,
    /// The attempt within it.
    pub attempt: u32,
}

impl fmt::Display for EpochAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {} attempt {}", self.epoch, self.attempt)
    }
}

/// The public halves of an epoch's keys, as the key certificate names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochPublic {
    /// Verifies votes.
    pub consensus: Point,
    /// Receives envelopes.
    pub envelope: Point,
}

/// The device of one worker thread. All devices of a process speak to the same keys.
///
/// Errors are [`DeviceError`]; an operation that fails has let nothing secret out and leaves output buffers zeroed. What
/// it leaves on the stack is the caller's to wipe.
pub trait Device: Send {
    /// The node's long-term public key.
    fn identity(&mut self) -> Result<Point, DeviceError>;

    /// The public keys of an attempt; `None` if the device has none of its keys. Some without the others is an error.
    fn epoch_keys(&mut self, attempt: EpochAttempt) -> Result<Option<EpochPublic>, DeviceError>;

    /// The attempts of which the device holds at least one key, in order.
    fn epochs(&mut self) -> Result<Vec<EpochAttempt>, DeviceError>;

    /// Makes the identity key. There is one, for ever; a second is refused.
    fn generate_identity(&mut self) -> Result<Point, DeviceError>;

    /// Makes an attempt's consensus, envelope and share key. Refused if any of them exists.
    fn generate_epoch_keys(&mut self, attempt: EpochAttempt) -> Result<EpochPublic, DeviceError>;

    /// Destroys an attempt's keys, and with them whatever was sealed or sent to them. Done twice is done.
    fn destroy_epoch_keys(&mut self, attempt: EpochAttempt) -> Result<(), DeviceError>;

    /// Signs with the identity key: ECDSA over a 32-byte hash whose preimage the vault built; r | s, low s, verified
    /// before it leaves.
    fn sign_identity(&mut self, prehash: &[u8; 32]) -> Result<[u8; 64], DeviceError>;

    /// Signs with an attempt's consensus key; form as [`Device::sign_identity`].
    fn sign_consensus(&mut self, attempt: EpochAttempt, prehash: &[u8; 32]) -> Result<[u8; 64], DeviceError>;

    /// Diffie-Hellman of the envelope key with `peer`: fills `shared` with the x-coordinate, 32 bytes big-endian.
    /// The caller derives its keys from it and wipes it.
    fn agree(&mut self, attempt: EpochAttempt, peer: &Point, shared: &mut [u8; 32]) -> Result<(), DeviceError>;

    /// Seals a data key under an attempt's share key, bound to `aad` (at most 1024 bytes), which opening must repeat.
    fn seal(&mut self, attempt: EpochAttempt, aad: &[u8], data_key: &[u8; 32]) -> Result<SealedKey, DeviceError>;

    /// Opens a sealed data key into `out`. [`DeviceError::Authentication`] if it is not what was sealed for `aad`.
    fn open(
        &mut self,
        attempt: EpochAttempt,
        aad: &[u8],
        sealed: &SealedKey,
        out: &mut [u8; 32],
    ) -> Result<(), DeviceError>;

    /// The anti-rollback counter; 0 if it has never ticked.
    fn counter(&mut self) -> Result<u64, DeviceError>;

    /// Advances the counter by one and gives its new value. Milliseconds: once a start, not once a request.
    fn tick(&mut self) -> Result<u64, DeviceError>;

    /// Fills `out` from the device's generator. Callers mix it with the operating system's.
    fn random(&mut self, out: &mut [u8]) -> Result<(), DeviceError>;
}
