//! Signatures of the vault's two signing keys in the form that everyone verifies. Preimages come from `torus-statement`.

use torus_hsm::{Device, DeviceError, EpochAttempt};
use torus_statement::{Hash, Signature};

/// Signs with the identity.
///
/// # Errors
/// The device fails.
pub fn identity(device: &mut dyn Device, prehash: &Hash) -> Result<Signature, DeviceError> {
    let bytes = device.sign_identity(prehash)?;
    Signature::from_bytes(&bytes).ok_or(DeviceError::BadSignature)
}

/// Signs with an attempt's consensus key.
///
/// # Errors
/// The device fails.
pub fn consensus(device: &mut dyn Device, attempt: EpochAttempt, prehash: &Hash) -> Result<Signature, DeviceError> {
    let bytes = device.sign_consensus(attempt, prehash)?;
    Signature::from_bytes(&bytes).ok_or(DeviceError::BadSignature)
}
