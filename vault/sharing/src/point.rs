//! Points of secp256k1 that are valid and not the identity.

use k256::elliptic_curve::PrimeField;
use k256::elliptic_curve::sec1::{FromEncodedPoint, ToEncodedPoint};
use k256::{AffinePoint, EncodedPoint, ProjectivePoint, PublicKey, Scalar};

/// Bytes of the uncompressed form x | y.
pub(crate) const POINT_BYTES: usize = 64;

/// A point on the curve, never the identity. Compares and hashes by its uncompressed coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point(AffinePoint);

/// Not the encoding of a point: wrong length or prefix, a coordinate at or above p, off the curve, or the identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a point of secp256k1")]
pub struct BadPoint;

impl Point {
    /// A point from its projective form; the identity is refused.
    pub fn new(point: &ProjectivePoint) -> Result<Self, BadPoint> {
        Self::from_affine(point.to_affine())
    }

    /// A point from its affine form; the identity is refused.
    pub fn from_affine(point: AffinePoint) -> Result<Self, BadPoint> {
        if point == AffinePoint::IDENTITY { Err(BadPoint) } else { Ok(Self(point)) }
    }

    /// Parses x | y, 64 bytes big-endian. The curve equation is checked; no square root is needed.
    pub fn from_xy(bytes: &[u8; 64]) -> Result<Self, BadPoint> {
        let encoded = EncodedPoint::from_untagged_bytes(bytes.into());
        Option::from(AffinePoint::from_encoded_point(&encoded)).map(Self).ok_or(BadPoint)
    }

    /// Parses the compressed form, 33 bytes with prefix 2 or 3.
    pub fn from_compressed(bytes: &[u8; 33]) -> Result<Self, BadPoint> {
        if !matches!(bytes.first(), Some(2 | 3)) {
            return Err(BadPoint);
        }
        let encoded = EncodedPoint::from_bytes(bytes).map_err(|_| BadPoint)?;
        Option::from(AffinePoint::from_encoded_point(&encoded)).map(Self).ok_or(BadPoint)
    }

    /// x | y, 64 bytes big-endian.
    pub fn to_xy(&self) -> [u8; 64] {
        let encoded = self.0.to_encoded_point(false);
        let mut out = [0; 64];
        if let Some(xy) = encoded.as_bytes().get(1..65) {
            out.copy_from_slice(xy);
        }
        out
    }

    /// The compressed form, 33 bytes.
    pub fn to_compressed(&self) -> [u8; 33] {
        let encoded = self.0.to_encoded_point(true);
        let mut out = [0; 33];
        if let Some(bytes) = encoded.as_bytes().get(..33) {
            out.copy_from_slice(bytes);
        }
        out
    }

    /// The affine form, for arithmetic.
    pub fn affine(&self) -> &AffinePoint {
        &self.0
    }

    /// The projective form, for arithmetic.
    pub fn projective(&self) -> ProjectivePoint {
        self.0.into()
    }
}

impl From<PublicKey> for Point {
    fn from(key: PublicKey) -> Self {
        Self(*key.as_affine())
    }
}

impl core::hash::Hash for Point {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.to_xy().hash(state);
    }
}

impl PartialOrd for Point {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Point {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.to_xy().cmp(&other.to_xy())
    }
}

/// A scalar from its 32 canonical big-endian bytes; a value at or above the group order is refused. For public
/// scalars (challenges, responses): secret ones are parsed by `torus-protocol`.
pub fn scalar_from_bytes(bytes: &[u8; 32]) -> Option<Scalar> {
    Option::from(Scalar::from_repr((*bytes).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_but_the_two_of_a_valid_point_is_refused() {
        let g = ProjectivePoint::GENERATOR;
        let point = Point::new(&g);
        let Ok(point) = point else { panic!("the generator is a point") };
        assert_eq!(Point::from_xy(&point.to_xy()), Ok(point));
        assert_eq!(Point::from_compressed(&point.to_compressed()), Ok(point));
        assert_eq!(Point::new(&ProjectivePoint::IDENTITY), Err(BadPoint));
        assert_eq!(Point::from_xy(&[0; 64]), Err(BadPoint));
        assert_eq!(Point::from_xy(&[0xff; 64]), Err(BadPoint));
        let mut off = point.to_xy();
        off[63] ^= 1;
        assert_eq!(Point::from_xy(&off), Err(BadPoint));
        for prefix in [0, 1, 4, 5, 6, 7, 0xff] {
            let mut bytes = point.to_compressed();
            bytes[0] = prefix;
            assert_eq!(Point::from_compressed(&bytes), Err(BadPoint), "prefix {prefix}");
        }
    }
}
