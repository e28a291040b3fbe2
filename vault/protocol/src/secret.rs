//! Containers of secrets: filled in place, wiped when dropped, impossible to print, clone, compare or serialise.
//!
//! ```
//! fn length(secret: &torus_protocol::SecretScalars) -> usize { secret.len() }
//! fn read(secret: &torus_protocol::SecretBytes) -> &[u8] { secret.as_slice() }
//! fn taken(output: torus_protocol::Output, member: torus_protocol::Participant) {}
//! ```
//! ```compile_fail,E0277
//! fn print(secret: &torus_protocol::SecretScalars) -> String { format!("{secret:?}") }
//! ```
//! ```compile_fail,E0599
//! use torus_protocol::SecretScalars;
//! fn copy(secret: &SecretScalars) -> SecretScalars { SecretScalars::clone(secret) }
//! ```
//! ```compile_fail,E0369
//! fn same(a: &torus_protocol::SecretScalars, b: &torus_protocol::SecretScalars) -> bool { a == b }
//! ```
//! ```compile_fail,E0277
//! fn print(secret: &torus_protocol::SecretBytes) -> String { format!("{secret:?}") }
//! ```
//! ```compile_fail,E0599
//! use torus_protocol::SecretBytes;
//! fn copy(secret: &SecretBytes) -> SecretBytes { SecretBytes::clone(secret) }
//! ```
//! ```compile_fail,E0369
//! fn same(a: &torus_protocol::SecretBytes, b: &torus_protocol::SecretBytes) -> bool { a == b }
//! ```
//! ```compile_fail,E0277
//! fn print(secret: &torus_protocol::Output) -> String { format!("{secret:?}") }
//! ```
//! ```compile_fail,E0599
//! use torus_protocol::Output;
//! fn copy(secret: &Output) -> Output { Output::clone(secret) }
//! ```
//! ```compile_fail,E0369
//! fn same(a: &torus_protocol::Output, b: &torus_protocol::Output) -> bool { a == b }
//! ```
//! ```compile_fail,E0277
//! fn print(secret: &torus_protocol::Participant) -> String { format!("{secret:?}") }
//! ```
//! ```compile_fail,E0599
//! use torus_protocol::Participant;
//! fn copy(secret: &Participant) -> Participant { Participant::clone(secret) }
//! ```
//! ```compile_fail,E0369
//! fn same(a: &torus_protocol::Participant, b: &torus_protocol::Participant) -> bool { a == b }
//! ```

use k256::Scalar;
use k256::elliptic_curve::PrimeField;
use rand_core::CryptoRngCore;
use torus_memory::{Exhausted, Pool, Secrets, apart};
use zeroize::{Zeroize, Zeroizing};

/// Secret scalars in a pool's memory.
pub struct SecretScalars(Secrets<Scalar>);

impl SecretScalars {
    /// So many zeros, to be filled in place.
    pub(crate) fn zeros(pool: Pool, length: usize) -> Result<Self, Exhausted> {
        Secrets::filled(pool, length, Scalar::ZERO).map(Self)
    }

    /// In place of those that are taken out.
    pub(crate) fn none(pool: Pool) -> Self {
        Self(Secrets::none(pool))
    }

    /// Overwrites every scalar with a uniform one (by rejection: the chance that a draw is above the order is 2^-128).
    pub(crate) fn fill_random(&mut self, rng: &mut dyn CryptoRngCore) {
        apart(|| {
            let mut bytes = Zeroizing::new([0u8; 32]);
            for scalar in self.as_mut_slice() {
                loop {
                    rng.fill_bytes(bytes.as_mut());
                    if let Some(drawn) = Option::from(Scalar::from_repr((*bytes).into())) {
                        *scalar = drawn;
                        break;
                    }
                }
            }
        });
    }

    /// How many scalars.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// Writes the scalar at a position as 32 big-endian bytes into the caller's buffer; false if there is none.
    pub fn write(&self, position: usize, out: &mut [u8; 32]) -> bool {
        let Some(scalar) = self.as_slice().get(position) else { return false };
        apart(|| write_scalar(scalar, out));
        true
    }

    pub(crate) const fn as_slice(&self) -> &[Scalar] {
        self.0.as_slice()
    }

    pub(crate) const fn as_mut_slice(&mut self) -> &mut [Scalar] {
        self.0.as_mut_slice()
    }
}

/// Secret bytes in a pool's memory, of a length fixed when they are taken.
pub struct SecretBytes(Secrets<u8>);

impl SecretBytes {
    /// So many zeros, to be filled in place.
    ///
    /// # Errors
    /// The pool has no room.
    pub fn zeros(pool: Pool, length: usize) -> Result<Self, Exhausted> {
        Secrets::filled(pool, length, 0).map(Self)
    }

    /// A copy of bytes, for as long as they wait.
    ///
    /// # Errors
    /// The pool has no room.
    pub fn copy_of(pool: Pool, bytes: &[u8]) -> Result<Self, Exhausted> {
        let mut copy = Self::zeros(pool, bytes.len())?;
        copy.as_mut_slice().copy_from_slice(bytes);
        Ok(copy)
    }

    /// In place of those that are taken out.
    pub(crate) fn none(pool: Pool) -> Self {
        Self(Secrets::none(pool))
    }

    /// To read.
    pub const fn as_slice(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// To fill in place.
    pub const fn as_mut_slice(&mut self) -> &mut [u8] {
        self.0.as_mut_slice()
    }
}

/// 32 big-endian bytes into place. To be called [`apart`].
pub(crate) fn write_scalar(scalar: &Scalar, out: &mut [u8]) {
    let mut bytes: [u8; 32] = scalar.to_repr().into();
    for (to, from) in out.iter_mut().zip(bytes.iter()) {
        *to = *from;
    }
    bytes.zeroize();
}

/// A canonical scalar from 32 bytes, to be called [`apart`]; whether the bytes were canonical is the one thing that may leak.
pub(crate) fn read_scalar(bytes: &[u8]) -> Option<Scalar> {
    let mut array = Zeroizing::new([0u8; 32]);
    if bytes.len() != array.len() {
        return None;
    }
    array.copy_from_slice(bytes);
    Option::from(Scalar::from_repr((*array).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scalar_at_or_above_the_order_or_of_another_length_is_refused() {
        let mut order = [0xff; 32];
        order[15] = 0xfe;
        order[16..].copy_from_slice(&[
            0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
        ]);
        assert!(read_scalar(&order).is_none());
        assert!(read_scalar(&[0xff; 32]).is_none());
        order[31] = 0x40;
        assert!(read_scalar(&order) == Some(-Scalar::ONE));
        assert!(read_scalar(&order[..31]).is_none());
        assert!(read_scalar(&[0; 33]).is_none());
    }
}
