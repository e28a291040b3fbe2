//! The published keys of a batch: public keys and every member's share commitment, in one canonical form.

use alloc::vec::Vec;

use sha2::{Digest as _, Sha256};

use crate::{Budget, Digest, Index, MAX_KEYS, Point, Sizes};

const COMPRESSED: usize = 33;
/// What a square root costs, in additions of points.
const ROOT: usize = 32;

/// One key: its public point and S_1..S_n.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedKey {
    /// The public key.
    pub public: Point,
    /// S_j = s_j G for j = 1..=n.
    pub commitments: Vec<Point>,
}

/// All keys of a batch in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedKeys {
    /// One entry a key.
    pub keys: Vec<PublishedKey>,
}

/// Why bytes are no published keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    /// Not exactly 33 * (1 + n) bytes for each of the batch's keys.
    #[error("wrong length for a batch of these sizes")]
    Length,
    /// A point is not canonical.
    #[error("an entry is not a point of secp256k1")]
    Point,
}

impl PublishedKeys {
    /// The exact number of bytes of a batch.
    pub const fn byte_length(sizes: Sizes, keys: usize) -> usize {
        COMPRESSED * (1 + sizes.n()) * if keys > MAX_KEYS { MAX_KEYS } else { keys }
    }

    /// For each key PK, S_1, .., S_n, compressed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let points = self.keys.iter().map(|key| 1 + key.commitments.len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(points * COMPRESSED);
        for key in &self.keys {
            bytes.extend_from_slice(&key.public.to_compressed());
            for commitment in &key.commitments {
                bytes.extend_from_slice(&commitment.to_compressed());
            }
        }
        bytes
    }

    /// Parses what `to_bytes` gives for a batch of so many keys; the length is checked before anything is allocated.
    pub fn parse(sizes: Sizes, keys: usize, bytes: &[u8]) -> Result<Self, BadKeys> {
        check_length(sizes, keys, bytes.len())?;
        KeysReader::new(sizes, keys, bytes.to_vec())?.read(&mut Budget::unlimited())?.ok_or(BadKeys::Length)
    }

    /// SHA-256("torus/published-keys/v1\0" | `to_bytes`): what vaults sign as the keys of a batch, within a session that
    /// fixes n and the number of keys.
    pub fn digest(&self) -> Digest {
        Sha256::new().chain_update(b"torus/published-keys/v1\0").chain_update(self.to_bytes()).finalize().into()
    }

    /// Every key's commitment of one member.
    pub fn of(&self, member: Index) -> impl Iterator<Item = Option<&Point>> {
        self.keys.iter().map(move |key| key.commitments.get(member.slot()))
    }
}

/// Published keys that are parsed in pieces: each point takes a square root.
pub struct KeysReader {
    n: usize,
    parsed: Vec<PublishedKey>,
    bytes: Vec<u8>,
}

impl KeysReader {
    /// Takes the bytes over, if their length is that of a batch of so many keys.
    pub fn new(sizes: Sizes, keys: usize, bytes: Vec<u8>) -> Result<Self, BadKeys> {
        check_length(sizes, keys, bytes.len())?;
        Ok(Self { n: sizes.n(), parsed: Vec::with_capacity(keys), bytes })
    }

    /// Parses until the budget is spent; the keys once they are whole. After that, or an error, the reader is of no use.
    pub fn read(&mut self, budget: &mut Budget) -> Result<Option<PublishedKeys>, BadKeys> {
        let done = self.parsed.len();
        for chunk in self.bytes.chunks_exact(COMPRESSED * (1 + self.n)).skip(done) {
            if budget.is_spent() {
                return Ok(None);
            }
            budget.spend(ROOT * (1 + self.n));
            let mut points = chunk.chunks_exact(COMPRESSED).map(|point| {
                let point = point.try_into().map_err(|_| BadKeys::Length)?;
                Point::from_compressed(point).map_err(|_| BadKeys::Point)
            });
            let public = points.next().ok_or(BadKeys::Length)??;
            self.parsed.push(PublishedKey { public, commitments: points.collect::<Result<_, _>>()? });
        }
        Ok(Some(PublishedKeys { keys: core::mem::take(&mut self.parsed) }))
    }
}

fn check_length(sizes: Sizes, keys: usize, length: usize) -> Result<(), BadKeys> {
    let right = keys != 0 && keys <= MAX_KEYS && length == PublishedKeys::byte_length(sizes, keys);
    if right { Ok(()) } else { Err(BadKeys::Length) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k256::{ProjectivePoint, Scalar};

    #[test]
    fn published_keys_have_one_form_and_every_other_length_is_refused() {
        let sizes = Sizes::new(5, 3, 1).unwrap();
        let point = |i: u64| Point::new(&(ProjectivePoint::GENERATOR * Scalar::from(i))).unwrap();
        let key =
            |from: u64| PublishedKey { public: point(from), commitments: (1..=5).map(|i| point(from + i)).collect() };
        let keys = PublishedKeys { keys: alloc::vec![key(1), key(10)] };
        let bytes = keys.to_bytes();
        assert_eq!(PublishedKeys::parse(sizes, 2, &bytes).as_ref(), Ok(&keys));
        for (count, length) in [(1, bytes.len()), (3, bytes.len()), (2, bytes.len() - 1), (0, 0), (257, 0)] {
            assert_eq!(PublishedKeys::parse(sizes, count, &bytes[..length]), Err(BadKeys::Length));
        }
        let mut reader = KeysReader::new(sizes, 2, bytes.clone()).unwrap();
        assert_eq!(reader.read(&mut Budget::new(1)), Ok(None), "one key a call at least, and here at most");
        assert_eq!(reader.read(&mut Budget::new(1)), Ok(Some(keys)));
        let mut bad = bytes.clone();
        bad[33] = 4;
        assert_eq!(PublishedKeys::parse(sizes, 2, &bad), Err(BadKeys::Point));
    }
}
