//! Randomness of the vault's threads: operating system, device and boot counter together.
//!
//! A cloned machine repeats the operating system's state, a weak device its own; the boot counter ticks in the token
//! at every start. A thread's generator is as good as the better of the two sources and never repeats over starts.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, RngCore, SeedableRng};
use sha2::{Digest, Sha256};
use torus_hsm::{Device, DeviceError, Secret};

/// Counts the generators of a start, so that no two have one seed even if both sources repeat.
static DRAWN: AtomicU64 = AtomicU64::new(0);

/// A generator for one thread.
///
/// # Errors
/// The operating system or the device gives no randomness: the vault must not serve.
pub fn seeded(device: &mut dyn Device, boot: u64) -> Result<Generator, DeviceError> {
    let mut system = Secret::<32>::zeros();
    getrandom::getrandom(system.as_mut_bytes()).map_err(|_| DeviceError::Randomness)?;
    let mut token = Secret::<32>::zeros();
    device.random(token.as_mut_bytes())?;
    let mut hash = Sha256::new();
    hash.update(b"torus/seed/v1\0");
    hash.update(system.as_bytes());
    hash.update(token.as_bytes());
    hash.update(boot.to_be_bytes());
    hash.update(DRAWN.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let mut seed = Secret::<32>::zeros();
    hash.finalize_into(seed.as_mut_bytes().into());
    Ok(Generator(ChaCha20Rng::from_seed(*seed.as_bytes())))
}

/// A generator whose state is wiped when it is dropped: whoever finds that state knows what was drawn with it, and what
/// would have been.
///
/// ```compile_fail,E0277
/// fn print(rng: &torus_vault::randomness::Generator) -> String { format!("{rng:?}") }
/// ```
/// ```compile_fail,E0599
/// use torus_vault::randomness::Generator;
/// fn copy(rng: &Generator) -> Generator { Generator::clone(rng) }
/// ```
pub struct Generator(ChaCha20Rng);

impl RngCore for Generator {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        self.0.fill_bytes(dest);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.0.try_fill_bytes(dest)
    }
}

impl CryptoRng for Generator {}

impl Drop for Generator {
    fn drop(&mut self) {
        // A new generator has an empty block, so key, position and what was drawn ahead are all written over. It is then
        // shown to the compiler as if it were read: a write that nobody reads would be left out.
        self.0 = ChaCha20Rng::from_seed([0; 32]);
        black_box(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    const SIZE: usize = size_of::<Option<Generator>>();

    /// How many words of `secret` lie in the generator's place. The read is the system's.
    fn left(memory: &File, place: u64, secret: &[u8]) -> usize {
        let mut found = [0; SIZE];
        memory.read_exact_at(&mut found, place).unwrap();
        secret.chunks(4).filter(|word| found.windows(4).any(|window| window == *word)).count()
    }

    #[test]
    fn a_dropped_generator_leaves_neither_its_key_nor_what_it_drew() {
        let memory = File::open("/proc/self/mem").unwrap();
        let seed: [u8; 32] = core::array::from_fn(|at| 0xa1 ^ (at as u8).wrapping_mul(37));
        let mut drawn = [0; 64];
        // Dropped in place: the place itself stays ours.
        let mut kept = Box::new(Some(Generator(ChaCha20Rng::from_seed(seed))));
        kept.as_mut().as_mut().unwrap().fill_bytes(&mut drawn);
        let place = std::ptr::from_ref(kept.as_ref()) as u64;
        assert_eq!(left(&memory, place, &seed), 8, "the control finds nothing: this test would show nothing");
        assert_eq!(left(&memory, place, &drawn), 16);
        *kept = None;
        assert_eq!(left(&memory, place, &seed), 0);
        assert_eq!(left(&memory, place, &drawn), 0);
        assert!(black_box(kept).is_none());
    }

    #[test]
    fn a_wiped_generator_draws_what_the_bare_one_draws() {
        let (mut bare, mut wiped) = (ChaCha20Rng::from_seed([7; 32]), Generator(ChaCha20Rng::from_seed([7; 32])));
        let (mut a, mut b) = ([0; 100], [0; 100]);
        bare.fill_bytes(&mut a);
        wiped.fill_bytes(&mut b);
        assert_eq!((a, bare.next_u32(), bare.next_u64()), (b, wiped.next_u32(), wiped.next_u64()));
    }
}
