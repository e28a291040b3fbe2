//! A secret of fixed length: filled in place, wiped when dropped, impossible to print, clone or compare.

use zeroize::Zeroize;

/// So many secret bytes on the heap, never moved once allocated. They are read and filled through
/// [`Secret::as_bytes`] and [`Secret::as_mut_bytes`] only: a type that dereferences would lend its array's own `clone`,
/// `==` and `{:?}`.
///
/// ```
/// fn key(secret: &torus_hsm::Secret<32>) -> &[u8; 32] { secret.as_bytes() }
/// ```
/// ```compile_fail,E0277
/// fn print(secret: &torus_hsm::Secret<32>) -> String { format!("{secret:?}") }
/// ```
/// ```compile_fail,E0599
/// fn copy(secret: &torus_hsm::Secret<32>) -> torus_hsm::Secret<32> { torus_hsm::Secret::clone(secret) }
/// ```
/// ```compile_fail,E0369
/// fn same(a: &torus_hsm::Secret<32>, b: &torus_hsm::Secret<32>) -> bool { a == b }
/// ```
/// ```compile_fail,E0614
/// fn bytes(secret: &torus_hsm::Secret<32>) -> [u8; 32] { **secret }
/// ```
pub struct Secret<const N: usize>(Box<[u8; N]>);

impl<const N: usize> Secret<N> {
    /// Zeros, to be filled in place.
    pub fn zeros() -> Self {
        Self(Box::new([0; N]))
    }

    /// To read.
    pub const fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }

    /// To fill in place.
    pub const fn as_mut_bytes(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_dropped_secret_leaves_nothing_of_itself() {
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        let mut secret = Secret::<4096>::zeros();
        secret.as_mut_bytes().fill(0xd7);
        let place = secret.as_bytes().as_ptr() as u64;
        let mut found = [0; 4096];
        let mut left = || {
            // Memory that was given back to the system holds nothing.
            found.fill(0);
            let _ = memory.read_exact_at(&mut found, place);
            found.iter().filter(|byte| **byte == 0xd7).count()
        };
        assert_eq!(left(), 4096, "the control finds nothing: this test would show nothing");
        drop(secret);
        assert_eq!(left(), 0);
    }
}
