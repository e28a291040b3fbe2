//! Constant-time products of secret scalars with the two fixed generators.
//!
//! A comb without doublings: for each signed 5-bit digit of the scalar one row of 16 affine multiples, all of which are
//! read to select one. The addition formulas are complete, so digits of zero take no other path. The tables hold public
//! points; only digits and sums are secret.

use alloc::vec::Vec;

use k256::elliptic_curve::PrimeField;
use k256::{AffinePoint, ProjectivePoint, Scalar};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use torus_sharing::{normalise, second_generator};
use zeroize::{Zeroize, Zeroizing};

const WIDTH: usize = 5;
const ROW: usize = 1 << (WIDTH - 1);
const DIGITS: usize = 257usize.div_ceil(WIDTH);

/// Tables of G and H, about 75 KB each; built once per participant.
pub(crate) struct Generators {
    g: Vec<[AffinePoint; ROW]>,
    h: Vec<[AffinePoint; ROW]>,
}

impl Generators {
    pub(crate) fn new() -> Self {
        Self { g: table(ProjectivePoint::GENERATOR), h: table(second_generator()) }
    }

    /// s G.
    pub(crate) fn mul_g(&self, s: &Scalar) -> ProjectivePoint {
        let mut sum = ProjectivePoint::IDENTITY;
        add_product(&mut sum, &self.g, s);
        sum
    }

    /// s' H.
    pub(crate) fn mul_h(&self, blind: &Scalar) -> ProjectivePoint {
        let mut sum = ProjectivePoint::IDENTITY;
        add_product(&mut sum, &self.h, blind);
        sum
    }

    /// The one place that commits: s G + s' H.
    pub(crate) fn pedersen(&self, s: &Scalar, blind: &Scalar) -> ProjectivePoint {
        let mut sum = ProjectivePoint::IDENTITY;
        add_product(&mut sum, &self.g, s);
        add_product(&mut sum, &self.h, blind);
        sum
    }
}

fn table(generator: ProjectivePoint) -> Vec<[AffinePoint; ROW]> {
    let mut points = Vec::with_capacity(DIGITS * ROW);
    let mut base = generator;
    for _ in 0..DIGITS {
        let mut multiple = base;
        for _ in 0..ROW {
            points.push(multiple);
            multiple += base;
        }
        (0..WIDTH).for_each(|_| base = base.double());
    }
    normalise(&points).chunks_exact(ROW).filter_map(|row| row.try_into().ok()).collect()
}

fn add_product(sum: &mut ProjectivePoint, table: &[[AffinePoint; ROW]], scalar: &Scalar) {
    let digits = recode(scalar);
    let mut term = AffinePoint::IDENTITY;
    for (row, digit) in table.iter().zip(digits.iter()) {
        select(&mut term, row, *digit);
        *sum += term;
    }
    term.zeroize();
}

/// |digit| * base by reading the whole row, negated for a negative digit; the identity for zero.
fn select(term: &mut AffinePoint, row: &[AffinePoint; ROW], digit: i8) {
    let sign = digit >> 7;
    let magnitude = ((digit ^ sign) - sign) as u8;
    *term = AffinePoint::IDENTITY;
    for (position, entry) in (1u8..).zip(row) {
        term.conditional_assign(entry, position.ct_eq(&magnitude));
    }
    let negative = -*term;
    term.conditional_assign(&negative, Choice::from((sign & 1) as u8));
}

/// Signed digits in -15..=16, lowest first, without a branch on the scalar.
fn recode(scalar: &Scalar) -> Zeroizing<[i8; DIGITS]> {
    let mut bytes: [u8; 32] = scalar.to_repr().into();
    let mut limbs = Zeroizing::new([0u64; 5]);
    for (limb, chunk) in limbs.iter_mut().zip(bytes.rchunks(8)) {
        *limb = chunk.iter().fold(0, |acc, byte| acc << 8 | u64::from(*byte));
    }
    bytes.zeroize();
    let mut digits = Zeroizing::new([0i8; DIGITS]);
    let mut carry = 0i32;
    for (position, digit) in digits.iter_mut().enumerate() {
        // Positions are public: these branches and look-ups do not depend on the scalar.
        let (limb, shift) = (position * WIDTH / 64, position * WIDTH % 64);
        let low = limbs.get(limb).map_or(0, |l| l >> shift);
        let high = if shift == 0 { 0 } else { limbs.get(limb + 1).map_or(0, |l| l << (64 - shift)) };
        let value = ((low | high) & ((1 << WIDTH) - 1)) as i32 + carry;
        carry = ((ROW as i32 - value) >> 31) & 1;
        *digit = (value - (carry << WIDTH)) as i8;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use k256::elliptic_curve::Field;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn both_tables_agree_with_the_library_at_the_edges_and_at_random() {
        let tables = Generators::new();
        let h = second_generator();
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let mut scalars: Vec<Scalar> = (0..40).map(|_| Scalar::random(&mut rng)).collect();
        scalars.extend([Scalar::ZERO, Scalar::ONE, -Scalar::ONE, Scalar::from(16u64), Scalar::from(17u64)]);
        scalars.extend((0..256).map(|bit| Scalar::from(2u64).pow_vartime([bit])));
        for s in &scalars {
            assert!(tables.mul_g(s) == ProjectivePoint::GENERATOR * s);
            assert!(tables.mul_h(s) == h * s);
            assert!(tables.pedersen(s, &(*s + Scalar::ONE)) == ProjectivePoint::GENERATOR * s + h * (*s + Scalar::ONE));
        }
    }
}
