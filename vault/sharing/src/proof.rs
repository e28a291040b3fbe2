//! One proof of knowledge for a whole batch: the publisher knows every (s_b, s'_b) with S_b = s_b G, V_b - S_b = s'_b H.
//!
//! The proof of Kate, Huang and Goldberg ("Distributed Key Generation in the Wild", section 4) with one nonce pair for
//! the batch and an independent 128-bit challenge for each key. Everything that could be replayed is hashed: session,
//! publisher, qualified set with digests, every V and S, full coordinates.

use alloc::vec::Vec;

use k256::elliptic_curve::PrimeField;
use k256::{AffinePoint, ProjectivePoint, Scalar};
use sha2::{Digest as _, Sha256};

use crate::point::{POINT_BYTES, scalar_from_bytes};
use crate::{Digest, Index, Point, QualifiedSet, multi_exponentiate, second_generator};

/// Bytes of a proof: T1, T2 as x | y, then u1, u2.
pub(crate) const PROOF_BYTES: usize = 2 * POINT_BYTES + 2 * 32;

/// What a batch proof speaks of.
pub struct Claim<'a> {
    /// The hash of network, epoch, config, batch and attempt.
    pub base: &'a Digest,
    /// The authenticated publisher.
    pub index: Index,
    /// The qualified set with digests.
    pub qualified: &'a QualifiedSet,
    /// V_b: the publisher's Pedersen share commitments, computed by the verifier itself.
    pub commitments: &'a [Point],
    /// S_b: the published vector.
    pub vector: &'a [Point],
}

/// T1 = v1 G, T2 = v2 H; u1 = v1 - sum e_b s_b, u2 = v2 - sum e_b s'_b.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchProof {
    /// Commitment to the first nonce.
    pub t1: Point,
    /// Commitment to the second nonce.
    pub t2: Point,
    /// First response.
    pub u1: Scalar,
    /// Second response.
    pub u2: Scalar,
}

/// Not a proof: wrong length, a malformed point or a response at or above the group order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed proof")]
pub struct BadProof;

impl Claim<'_> {
    /// The challenges e_b, 128 bits each. `None` if vectors differ in length or a challenge is zero.
    pub fn challenges(&self, t1: &Point, t2: &Point) -> Option<Vec<Scalar>> {
        if self.commitments.len() != self.vector.len() || self.vector.is_empty() {
            return None;
        }
        let seed = self.transcript(t1, t2);
        (0..self.vector.len() as u32).map(|key| challenge(&seed, key)).collect()
    }

    /// SHA-256 of all that the proof binds.
    fn transcript(&self, t1: &Point, t2: &Point) -> Digest {
        let mut hash = Sha256::new();
        hash.update(b"torus/opening/v1\0");
        hash.update(self.base);
        hash.update([self.index.get()]);
        hash.update([self.qualified.dealings().len() as u8]);
        for (dealer, digest) in self.qualified.dealings() {
            hash.update([dealer.get()]);
            hash.update(digest);
        }
        let generators = [ProjectivePoint::GENERATOR, second_generator()];
        for generator in generators.iter().filter_map(|g| Point::new(g).ok()) {
            hash.update(generator.to_xy());
        }
        hash.update((self.vector.len() as u16).to_be_bytes());
        for point in self.commitments.iter().chain(self.vector).chain([t1, t2]) {
            hash.update(point.to_xy());
        }
        hash.finalize().into()
    }
}

fn challenge(seed: &Digest, key: u32) -> Option<Scalar> {
    let digest = Sha256::new().chain_update(b"torus/opening-challenge/v1\0").chain_update(seed);
    let digest = digest.chain_update(key.to_be_bytes()).finalize();
    nonzero(digest.first_chunk()?)
}

/// A challenge of zero would leave its key out of the proof.
fn nonzero(bytes: &[u8; 16]) -> Option<Scalar> {
    let value = u128::from_be_bytes(*bytes);
    (value != 0).then(|| Scalar::from(value))
}

impl BatchProof {
    /// T1 | T2 | u1 | u2: 64 + 64 + 32 + 32 bytes.
    pub fn to_bytes(&self) -> [u8; 192] {
        let mut out = [0; PROOF_BYTES];
        let parts: [&[u8]; 4] = [&self.t1.to_xy(), &self.t2.to_xy(), &self.u1.to_repr(), &self.u2.to_repr()];
        for (to, from) in out.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        out
    }

    /// Parses exactly 192 bytes; points and scalars must be canonical and no point the identity.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadProof> {
        let (t1, rest) = bytes.split_first_chunk::<64>().ok_or(BadProof)?;
        let (t2, rest) = rest.split_first_chunk::<64>().ok_or(BadProof)?;
        let (u1, rest) = rest.split_first_chunk::<32>().ok_or(BadProof)?;
        let u2: &[u8; 32] = rest.try_into().map_err(|_| BadProof)?;
        Ok(Self {
            t1: Point::from_xy(t1).map_err(|_| BadProof)?,
            t2: Point::from_xy(t2).map_err(|_| BadProof)?,
            u1: scalar_from_bytes(u1).ok_or(BadProof)?,
            u2: scalar_from_bytes(u2).ok_or(BadProof)?,
        })
    }

    /// u1 G + sum e_b S_b == T1 and u2 H + sum e_b (V_b - S_b) == T2, in variable time.
    pub fn verify(&self, claim: &Claim<'_>) -> bool {
        let Some(challenges) = claim.challenges(&self.t1, &self.t2) else { return false };
        let affine = |points: &[Point]| points.iter().map(|p| *p.affine()).collect::<Vec<AffinePoint>>();
        let shares = multi_exponentiate(&affine(claim.vector), &challenges);
        let blinded = multi_exponentiate(&affine(claim.commitments), &challenges);
        let first = ProjectivePoint::GENERATOR * self.u1 + shares;
        let second = second_generator() * self.u2 + blinded - shares;
        first == self.t1.projective() && second == self.t2.projective()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_of_zero_is_refused() {
        assert_eq!(nonzero(&[0; 16]), None);
        assert_eq!(nonzero(&1u128.to_be_bytes()), Some(Scalar::ONE));
        for byte in 0..16 {
            let mut bytes = [0; 16];
            bytes[byte] = 1;
            assert_eq!(nonzero(&bytes), Some(Scalar::from(u128::from_be_bytes(bytes))), "every byte counts");
        }
    }

    #[test]
    fn a_challenge_is_the_first_half_of_its_hash() {
        let hash = |key: u32| {
            let text = [b"torus/opening-challenge/v1\0".as_slice(), &[7; 32], &key.to_be_bytes()].concat();
            Sha256::digest(text)
        };
        for key in [0, 1, 0x0102_0304] {
            assert_eq!(challenge(&[7; 32], key), nonzero(hash(key).first_chunk().unwrap()));
        }
    }
}
