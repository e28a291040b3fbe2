//! Randomness of the vault's threads: operating system, device and boot counter together.
//!
//! A cloned machine repeats the operating system's state, a weak device its own; the boot counter ticks in the token
//! at every start. A thread's generator is as good as the better of the two sources and never repeats over starts.

use std::sync::atomic::{AtomicU64, Ordering};

use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, RngCore, SeedableRng};
use sha2::{Digest, Sha256};
use torus_hsm::{Device, DeviceError};
use torus_memory::{Exhausted, Kept, Pool, Secret};

/// Counts the generators of a start, so that no two have one seed even if both sources repeat.
static DRAWN: AtomicU64 = AtomicU64::new(0);

/// Why there is no generator.
#[derive(Debug, thiserror::Error)]
pub enum NotSeeded {
    /// The operating system or the device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The memory for it.
    #[error(transparent)]
    Memory(#[from] Exhausted),
}

/// A generator for one thread, with its state in `pool`.
///
/// # Errors
/// The operating system or the device gives no randomness, or there is no memory for it: the vault must not serve.
pub fn seeded(device: &mut dyn Device, boot: u64, pool: Pool) -> Result<Generator, NotSeeded> {
    let mut system = Secret::<32>::zeros(pool)?;
    getrandom::getrandom(system.as_mut_bytes()).map_err(|_| DeviceError::Randomness)?;
    let mut token = Secret::<32>::zeros(pool)?;
    device.random(token.as_mut_bytes())?;
    let mut hash = Sha256::new();
    hash.update(b"torus/seed/v1\0");
    hash.update(system.as_bytes());
    hash.update(token.as_bytes());
    hash.update(boot.to_be_bytes());
    hash.update(DRAWN.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let mut seed = Secret::<32>::zeros(pool)?;
    hash.finalize_into(seed.as_mut_bytes().into());
    Ok(Generator(Kept::new(pool, || ChaCha20Rng::from_seed(*seed.as_bytes()))?))
}

/// A generator whose state lies in the memory for secrets: whoever finds it knows what was drawn with it, what was drawn
/// ahead, and what would have been.
///
/// ```compile_fail,E0277
/// fn print(rng: &torus_vault::randomness::Generator) -> String { format!("{rng:?}") }
/// ```
/// ```compile_fail,E0599
/// use torus_vault::randomness::Generator;
/// fn copy(rng: &Generator) -> Generator { Generator::clone(rng) }
/// ```
pub struct Generator(Kept<ChaCha20Rng>);

impl RngCore for Generator {
    fn next_u32(&mut self) -> u32 {
        self.0.get_mut().next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.get_mut().next_u64()
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        self.0.get_mut().fill_bytes(dest);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.0.get_mut().try_fill_bytes(dest)
    }
}

impl CryptoRng for Generator {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    fn generator(pool: Pool, seed: [u8; 32]) -> Generator {
        Generator(Kept::new(pool, || ChaCha20Rng::from_seed(seed)).unwrap())
    }

    #[test]
    fn a_generator_lies_in_its_pool_and_leaves_neither_its_key_nor_what_it_drew() {
        let memory: &'static mut [u8] = Box::leak(vec![0; 4096].into_boxed_slice());
        let place = memory.as_ptr() as u64;
        // The read is the system's.
        let read = || {
            let mut found = vec![0; 4096];
            File::open("/proc/self/mem").unwrap().read_exact_at(&mut found, place).unwrap();
            found
        };
        let left = |secret: &[u8]| {
            let found = read();
            secret.chunks(4).filter(|word| found.windows(4).any(|window| window == *word)).count()
        };
        let pool = Arena::over(memory).pool();
        let seed: [u8; 32] = core::array::from_fn(|at| 0xa1 ^ (at as u8).wrapping_mul(37));
        let mut drawn = [0; 64];
        let mut kept = generator(pool, seed);
        kept.fill_bytes(&mut drawn);
        assert_eq!((left(&seed), left(&drawn)), (8, 16), "the control finds nothing: this test would show nothing");
        drop(kept);
        assert!(read().iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_generator_in_its_pool_draws_what_the_bare_one_draws() {
        let (mut bare, mut kept) = (ChaCha20Rng::from_seed([7; 32]), generator(torus_memory::Heap::pool(), [7; 32]));
        let (mut a, mut b) = ([0; 100], [0; 100]);
        bare.fill_bytes(&mut a);
        kept.fill_bytes(&mut b);
        assert_eq!((a, bare.next_u32(), bare.next_u64()), (b, kept.next_u32(), kept.next_u64()));
    }
}
