//! Constant-time products of secret scalars with the two fixed generators.
//!
//! A comb without doublings: for each signed 6-bit digit of the scalar one row of 32 affine multiples, all of which are
//! read to select one. The addition formulas are complete; a digit of zero adds a point and drops the sum. The tables
//! hold public points; only digits and sums are secret.

use alloc::vec::Vec;

use k256::elliptic_curve::PrimeField;
use k256::elliptic_curve::sec1::FromEncodedPoint;
use k256::{AffinePoint, EncodedPoint, ProjectivePoint, Scalar};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use torus_memory::apart;
use torus_sharing::{Budget, Point, normalise, second_generator};
use zeroize::{Zeroize, Zeroizing};

const WIDTH: usize = 6;
const ROW: usize = 1 << (WIDTH - 1);
const DIGITS: usize = 257usize.div_ceil(WIDTH);

/// Products that are made without a look at the budget, and what one costs, in additions of points.
pub(crate) const PIECE: usize = 16;
pub(crate) const PRODUCT: usize = 64;

/// x | y of a point as eight words: masking words is several times faster than selecting field elements.
type Entry = [u64; 8];

/// Tables of G and H, 86 KB each; built once per participant.
pub(crate) struct Generators {
    g: Vec<[Entry; ROW]>,
    h: Vec<[Entry; ROW]>,
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

    /// s G for the next scalars from a position on: a piece of them, fewer at the end.
    pub(crate) fn next_products(&self, scalars: &[Scalar], from: usize, budget: &mut Budget) -> Vec<ProjectivePoint> {
        let piece = scalars.iter().skip(from).take(PIECE);
        let products: Vec<_> = apart(|| piece.map(|s| self.mul_g(s)).collect());
        budget.spend(products.len() * PRODUCT);
        products
    }

    /// The one place that commits: s G + s' H.
    pub(crate) fn pedersen(&self, s: &Scalar, blind: &Scalar) -> ProjectivePoint {
        let mut sum = ProjectivePoint::IDENTITY;
        add_product(&mut sum, &self.g, s);
        add_product(&mut sum, &self.h, blind);
        sum
    }
}

fn table(generator: ProjectivePoint) -> Vec<[Entry; ROW]> {
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
    // Small multiples of powers of two of a generator: none is the identity.
    let entries: Vec<Entry> =
        normalise(&points).into_iter().filter_map(|p| Point::from_affine(p).ok()).map(entry).collect();
    entries.chunks_exact(ROW).filter_map(|row| row.try_into().ok()).collect()
}

fn entry(point: Point) -> Entry {
    let mut words = [0; 8];
    for (word, bytes) in words.iter_mut().zip(point.to_xy().chunks_exact(8)) {
        *word = bytes.iter().fold(0, |acc, byte| acc << 8 | u64::from(*byte));
    }
    words
}

fn add_product(sum: &mut ProjectivePoint, table: &[[Entry; ROW]], scalar: &Scalar) {
    let digits = recode(scalar);
    let mut words = Zeroizing::new([0u64; 8]);
    for (row, digit) in table.iter().zip(digits.iter()) {
        let sign = digit >> 7;
        let magnitude = ((digit ^ sign) - sign) as u8;
        let zero = magnitude.ct_eq(&0);
        select(&mut words, row, magnitude + zero.unwrap_u8());
        let mut term = decode(&words);
        let negative = -term;
        term.conditional_assign(&negative, Choice::from((sign & 1) as u8));
        let added = *sum + term;
        sum.conditional_assign(&added, !zero);
        term.zeroize();
    }
}

/// The entry at a position from 1, by reading the whole row.
fn select(words: &mut Entry, row: &[Entry; ROW], wanted: u8) {
    *words = [0; 8];
    for (position, entry) in (1u8..).zip(row) {
        let mask = u64::from(position.ct_eq(&wanted).unwrap_u8()).wrapping_neg();
        for (word, value) in words.iter_mut().zip(entry) {
            *word |= value & mask;
        }
    }
}

fn decode(words: &Entry) -> AffinePoint {
    let mut bytes = [0u8; 64];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
        chunk.copy_from_slice(&word.to_be_bytes());
    }
    let encoded = EncodedPoint::from_untagged_bytes((&bytes).into());
    bytes.zeroize();
    // Always a point: the table was made of points.
    AffinePoint::from_encoded_point(&encoded).unwrap_or(AffinePoint::IDENTITY)
}

/// Signed digits in -31..=32, lowest first, without a branch on the scalar.
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
        scalars.extend([Scalar::ZERO, Scalar::ONE, -Scalar::ONE, Scalar::from(32u64), Scalar::from(33u64)]);
        scalars.extend((0..256).map(|bit| Scalar::from(2u64).pow_vartime([bit])));
        for s in &scalars {
            assert!(tables.mul_g(s) == ProjectivePoint::GENERATOR * s);
            assert!(tables.mul_h(s) == h * s);
            assert!(tables.pedersen(s, &(*s + Scalar::ONE)) == ProjectivePoint::GENERATOR * s + h * (*s + Scalar::ONE));
        }
    }
}
