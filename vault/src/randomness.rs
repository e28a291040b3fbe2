//! Randomness of the vault's threads: operating system, device and boot counter together.
//!
//! A cloned machine repeats the operating system's state, a weak device its own; the boot counter ticks in the token
//! at every start. A thread's generator is as good as the better of the two sources and never repeats over starts.

use std::sync::atomic::{AtomicU64, Ordering};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sha2::{Digest, Sha256};
use torus_hsm::{Device, DeviceError};
use zeroize::Zeroizing;

/// Counts the generators of a start, so that no two have one seed even if both sources repeat.
static DRAWN: AtomicU64 = AtomicU64::new(0);

/// A generator for one thread.
///
/// # Errors
/// The operating system or the device gives no randomness: the vault must not serve.
pub fn seeded(device: &mut dyn Device, boot: u64) -> Result<ChaCha20Rng, DeviceError> {
    let mut system = Zeroizing::new([0; 32]);
    getrandom::getrandom(system.as_mut()).map_err(|_| DeviceError::Randomness)?;
    let mut token = Zeroizing::new([0; 32]);
    device.random(token.as_mut())?;
    let mut hash = Sha256::new();
    hash.update(b"torus/seed/v1\0");
    hash.update(system.as_ref());
    hash.update(token.as_ref());
    hash.update(boot.to_be_bytes());
    hash.update(DRAWN.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let mut seed = Zeroizing::new([0; 32]);
    hash.finalize_into(seed.as_mut().into());
    Ok(ChaCha20Rng::from_seed(*seed))
}
