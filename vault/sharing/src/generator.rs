//! The second generator H, whose logarithm to G nobody knows.

use k256::elliptic_curve::hash2curve::{ExpandMsgXmd, GroupDigest};
use k256::{ProjectivePoint, Secp256k1};
use sha2::Sha256;

const DST: &[u8] = b"torus/second-generator/v1";
const MESSAGE: &[u8] = b"torus/second-generator/v1";

/// H = hash_to_curve("torus/second-generator/v1") under RFC 9380's suite secp256k1_XMD:SHA-256_SSWU_RO_, with the
/// same text as domain separation tag. Recomputed at each call (tens of microseconds): keep the result.
#[expect(clippy::expect_used, reason = "fails only for an empty tag or an output above 64 KiB; all are constants")]
pub fn second_generator() -> ProjectivePoint {
    Secp256k1::hash_from_bytes::<ExpandMsgXmd<Sha256>>(&[MESSAGE], &[DST]).expect("constant lengths")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Point;

    #[test]
    fn the_second_generator_is_another_point_and_stays_the_same() {
        let h = second_generator();
        assert_ne!(h, ProjectivePoint::GENERATOR);
        assert_ne!(h, -ProjectivePoint::GENERATOR);
        assert_eq!(h, second_generator());
        assert!(Point::new(&h).is_ok());
    }
}
