//! The commitment to one dealing: for each of B keys a k x k matrix of points (Cachin et al. 2002, section 3), Pedersen's
//! where keys are generated, Feldman's where they are handed over.

use alloc::vec::Vec;

use k256::AffinePoint;
use sha2::{Digest as _, Sha256};

use crate::point::POINT_BYTES;
use crate::{Budget, Digest, MAX_KEYS, Point, Sizes};

/// C_jl = f_jl G + f'_jl H for each key; j is the power of x, l the power of y. No entry is the identity.
pub struct Matrix {
    k: usize,
    keys: usize,
    points: Vec<AffinePoint>,
    bytes: Vec<u8>,
}

/// Why bytes are no matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMatrix {
    /// Not k*k points for each of the batch's keys: another degree, another batch, or trailing bytes.
    #[error("a matrix has exactly k*k points of 64 bytes for each key")]
    Length,
    /// An entry is off the curve, not canonical, or the identity.
    #[error("an entry is not a point of secp256k1")]
    Point,
}

impl Matrix {
    /// The exact number of bytes of a batch's matrix: 64 for each of k*k points of each key.
    pub const fn byte_length(sizes: Sizes, keys: usize) -> usize {
        sizes.k() * sizes.k() * POINT_BYTES * if keys > MAX_KEYS { MAX_KEYS } else { keys }
    }

    /// Parses keys * k * k points, each x | y, in the order key, power of x, power of y. The length is checked
    /// before anything is allocated.
    pub fn parse(sizes: Sizes, keys: usize, bytes: &[u8]) -> Result<Self, BadMatrix> {
        check_length(sizes, keys, bytes.len())?;
        MatrixReader::new(sizes, keys, bytes.to_vec())?.read(&mut Budget::unlimited())?.ok_or(BadMatrix::Length)
    }

    /// A dealer's own matrix from its points, in the order of `parse`.
    pub fn from_points(sizes: Sizes, keys: usize, points: Vec<AffinePoint>) -> Result<Self, BadMatrix> {
        let mut writer = MatrixWriter::new(sizes, keys)?;
        writer.push(&points)?;
        writer.finish()
    }

    /// The bytes that `parse` takes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The one digest of the whole commitment, bound to its session:
    /// SHA-256("torus/matrix/v1\0" | sid | k | keys as u16 big-endian | bytes).
    pub fn digest(&self, sid: &Digest) -> Digest {
        let mut hash = Sha256::new();
        hash.update(b"torus/matrix/v1\0");
        hash.update(sid);
        hash.update([self.k as u8]);
        hash.update((self.keys as u16).to_be_bytes());
        hash.update(&self.bytes);
        hash.finalize().into()
    }

    /// All points, in the order key, power of x, power of y.
    pub fn points(&self) -> &[AffinePoint] {
        &self.points
    }

    /// The points C_j0 of each key: the commitment to f(x, 0), on which the shares lie.
    pub fn share_polynomials(&self) -> impl Iterator<Item = impl Iterator<Item = &AffinePoint>> {
        self.points.chunks_exact(self.k * self.k).map(|key| key.iter().step_by(self.k))
    }

    /// The points C_00 of each key: the commitment to what is shared.
    pub fn constants(&self) -> impl Iterator<Item = &AffinePoint> {
        self.points.chunks_exact(self.k * self.k).filter_map(<[AffinePoint]>::first)
    }

    /// Powers plus one in either variable: the configured k.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Keys in the batch.
    pub fn keys(&self) -> usize {
        self.keys
    }
}

/// A matrix that is parsed in pieces.
pub struct MatrixReader {
    k: usize,
    keys: usize,
    points: Vec<AffinePoint>,
    bytes: Vec<u8>,
}

impl MatrixReader {
    /// Takes the bytes over, if their length is that of a batch.
    pub fn new(sizes: Sizes, keys: usize, bytes: Vec<u8>) -> Result<Self, BadMatrix> {
        check_length(sizes, keys, bytes.len())?;
        Ok(Self { k: sizes.k(), keys, points: Vec::with_capacity(bytes.len() / POINT_BYTES), bytes })
    }

    /// Parses until the budget is spent; the matrix once it is whole. After that, or an error, the reader is of no use.
    pub fn read(&mut self, budget: &mut Budget) -> Result<Option<Matrix>, BadMatrix> {
        let done = self.points.len();
        for chunk in self.bytes.chunks_exact(POINT_BYTES).skip(done) {
            if budget.is_spent() {
                return Ok(None);
            }
            budget.spend(1);
            let xy = chunk.try_into().map_err(|_| BadMatrix::Length)?;
            self.points.push(*Point::from_xy(xy).map_err(|_| BadMatrix::Point)?.affine());
        }
        let (points, bytes) = (core::mem::take(&mut self.points), core::mem::take(&mut self.bytes));
        Ok(Some(Matrix { k: self.k, keys: self.keys, points, bytes }))
    }
}

/// A dealer's matrix that grows as its points are made.
pub struct MatrixWriter(Matrix);

impl MatrixWriter {
    /// An empty one.
    pub fn new(sizes: Sizes, keys: usize) -> Result<Self, BadMatrix> {
        let length = Matrix::byte_length(sizes, keys);
        check_length(sizes, keys, length)?;
        let (points, bytes) = (Vec::with_capacity(length / POINT_BYTES), Vec::with_capacity(length));
        Ok(Self(Matrix { k: sizes.k(), keys, points, bytes }))
    }

    /// How many points there are.
    pub fn len(&self) -> usize {
        self.0.points.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.points.is_empty()
    }

    /// Appends points, none of them the identity.
    pub fn push(&mut self, points: &[AffinePoint]) -> Result<(), BadMatrix> {
        for point in points {
            self.0.bytes.extend_from_slice(&Point::from_affine(*point).map_err(|_| BadMatrix::Point)?.to_xy());
            self.0.points.push(*point);
        }
        Ok(())
    }

    /// The matrix, if it has exactly the points of its batch.
    pub fn finish(self) -> Result<Matrix, BadMatrix> {
        let Self(matrix) = self;
        let whole = matrix.points.len() == matrix.keys * matrix.k * matrix.k;
        if whole { Ok(matrix) } else { Err(BadMatrix::Length) }
    }
}

fn check_length(sizes: Sizes, keys: usize, length: usize) -> Result<(), BadMatrix> {
    let right = keys != 0 && keys <= MAX_KEYS && length == Matrix::byte_length(sizes, keys);
    if right { Ok(()) } else { Err(BadMatrix::Length) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k256::ProjectivePoint;

    fn matrix(keys: usize) -> (Sizes, Vec<u8>) {
        let sizes = Sizes::new(5, 3, 1).unwrap();
        let points = (0..keys * 9)
            .map(|i| (ProjectivePoint::GENERATOR * k256::Scalar::from(i as u64 + 1)).to_affine())
            .collect();
        (sizes, Matrix::from_points(sizes, keys, points).unwrap().as_bytes().to_vec())
    }

    #[test]
    fn a_matrix_of_another_degree_or_with_trailing_bytes_is_refused_before_it_is_parsed() {
        let (sizes, bytes) = matrix(2);
        let parse = |keys, bytes: &[u8]| Matrix::parse(sizes, keys, bytes).map(|_| ());
        assert_eq!(parse(2, &bytes), Ok(()));
        assert_eq!(parse(2, &bytes[..bytes.len() - 1]), Err(BadMatrix::Length));
        assert_eq!(parse(1, &bytes), Err(BadMatrix::Length));
        assert_eq!(parse(3, &bytes), Err(BadMatrix::Length));
        assert_eq!(parse(0, &[]), Err(BadMatrix::Length));
        assert_eq!(parse(usize::MAX, &bytes), Err(BadMatrix::Length));
        let mut long = bytes.clone();
        long.push(0);
        assert_eq!(parse(2, &long), Err(BadMatrix::Length));
        let wider = Sizes::new(6, 4, 1).unwrap();
        assert_eq!(Matrix::parse(wider, 2, &bytes).map(|_| ()), Err(BadMatrix::Length));
    }

    #[test]
    fn an_identity_or_off_curve_entry_is_refused() {
        let (sizes, mut bytes) = matrix(1);
        bytes[64..128].fill(0);
        assert_eq!(Matrix::parse(sizes, 1, &bytes).map(|_| ()), Err(BadMatrix::Point));
        let (_, mut bytes) = matrix(1);
        bytes[127] ^= 1;
        assert_eq!(Matrix::parse(sizes, 1, &bytes).map(|_| ()), Err(BadMatrix::Point));
        let identity = alloc::vec![AffinePoint::IDENTITY; 9];
        assert_eq!(Matrix::from_points(sizes, 1, identity).map(|_| ()), Err(BadMatrix::Point));
    }

    #[test]
    fn a_matrix_read_in_pieces_is_the_same_and_a_bad_point_is_found_where_it_is() {
        let (sizes, mut bytes) = matrix(2);
        let read = |bytes: &[u8], units| {
            let mut reader = MatrixReader::new(sizes, 2, bytes.to_vec()).unwrap();
            for calls in 1.. {
                match reader.read(&mut Budget::new(units)) {
                    Ok(None) => {}
                    Ok(Some(matrix)) => return (calls, Ok(matrix)),
                    Err(error) => return (calls, Err(error)),
                }
            }
            unreachable!()
        };
        for (units, expected) in [(1, 18), (5, 4), (17, 2), (18, 1)] {
            let (calls, whole) = read(&bytes, units);
            assert_eq!(calls, expected);
            assert!(whole.is_ok_and(|whole| whole.as_bytes() == bytes));
        }
        bytes[17 * 64 + 3] ^= 1;
        assert_eq!(read(&bytes, 5).1.err(), Some(BadMatrix::Point));
    }

    #[test]
    fn the_digest_binds_session_and_every_byte() {
        let (sizes, mut bytes) = matrix(1);
        let digest = |bytes: &[u8], sid: u8| Matrix::parse(sizes, 1, bytes).unwrap().digest(&[sid; 32]);
        let first = digest(&bytes, 1);
        assert_ne!(first, digest(&bytes, 2));
        let (head, tail) = bytes.split_at_mut(64);
        head.swap_with_slice(&mut tail[..64]);
        assert_ne!(first, digest(&bytes, 1));
    }
}
