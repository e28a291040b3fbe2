//! Multi-exponentiation of public points by public scalars, in variable time (Pippenger's buckets, signed digits).

use alloc::vec;
use alloc::vec::Vec;

use k256::elliptic_curve::group::Curve;
use k256::elliptic_curve::{Group, PrimeField};
use k256::{AffinePoint, ProjectivePoint, Scalar};

use crate::Budget;

/// Points that are added without a look at the budget.
const PIECE: usize = 512;

/// Sum of scalar * point over the pairs; the longer list's rest is ignored. Short scalars cost in proportion.
pub fn multi_exponentiate(points: &[AffinePoint], scalars: &[Scalar]) -> ProjectivePoint {
    let scalars = scalars.get(..points.len()).unwrap_or(scalars);
    Products::new(scalars).advance(points, &mut Budget::unlimited()).unwrap_or(ProjectivePoint::IDENTITY)
}

/// The same sum in pieces. The points are the caller's to keep, and the same at every call.
pub struct Products {
    /// By scalar, then window, lowest first.
    digits: Vec<i32>,
    width: usize,
    windows: usize,
    /// Windows that are not added up yet; the highest of them is next, from this point on.
    left: usize,
    next: usize,
    buckets: Vec<Option<ProjectivePoint>>,
    sum: ProjectivePoint,
}

impl Products {
    /// Takes the scalars: costs about a tenth of the sum.
    pub fn new(scalars: &[Scalar]) -> Self {
        let bytes: Vec<[u8; 32]> = scalars.iter().map(|s| s.to_repr().into()).collect();
        let bits = bytes.iter().map(bit_length).max().unwrap_or(0);
        let width = window(bytes.len(), bits);
        let windows = (bits + 1).div_ceil(width);
        let digits = bytes.iter().flat_map(|b| signed_digits(b, width, windows)).collect();
        let buckets = vec![None; 1 << (width - 1)];
        Self { digits, width, windows, left: windows, next: 0, buckets, sum: ProjectivePoint::IDENTITY }
    }

    /// Adds until the budget is spent; the sum once it is complete. `points` beyond the scalars are ignored.
    pub fn advance(&mut self, points: &[AffinePoint], budget: &mut Budget) -> Option<ProjectivePoint> {
        while let Some(window) = self.left.checked_sub(1) {
            if budget.is_spent() {
                return None;
            }
            let piece = points.iter().skip(self.next).take(PIECE);
            let digits = self.digits.iter().skip(window + self.next * self.windows).step_by(self.windows);
            let mut added = 0;
            for (point, digit) in piece.zip(digits) {
                drop_into(&mut self.buckets, point, *digit);
                added += 1;
            }
            budget.spend(added);
            self.next += added;
            if added < PIECE {
                budget.spend(2 * self.buckets.len());
                for _ in 0..self.width {
                    self.sum = self.sum.double();
                }
                self.sum += empty(&mut self.buckets);
                (self.left, self.next) = (window, 0);
            }
        }
        Some(self.sum)
    }
}

/// factor * point for a small public factor, by doubling and adding.
pub fn small_multiple(point: &ProjectivePoint, factor: u128) -> ProjectivePoint {
    let mut sum = ProjectivePoint::IDENTITY;
    for bit in (0..128 - factor.leading_zeros()).rev() {
        sum = sum.double();
        if factor >> bit & 1 == 1 {
            sum += point;
        }
    }
    sum
}

/// All points in affine form with one inversion; the identity stays the identity.
pub fn normalise(points: &[ProjectivePoint]) -> Vec<AffinePoint> {
    let mut affine = vec![AffinePoint::IDENTITY; points.len()];
    // The library's batch inversion is not defined for none, and without identities only in later versions.
    if points.is_empty() || points.iter().any(|p| bool::from(p.is_identity())) {
        return points.iter().map(ProjectivePoint::to_affine).collect();
    }
    ProjectivePoint::batch_normalize(points, &mut affine);
    affine
}

fn bit_length(bytes: &[u8; 32]) -> usize {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    let top = bytes.get(zeros).map_or(0, |b| b.leading_zeros() as usize);
    if zeros == 32 { 0 } else { 256 - 8 * zeros - top }
}

/// The window that minimises additions: per window one per point, two per bucket less the first point
/// of each, and `width` doublings.
fn window(points: usize, bits: usize) -> usize {
    let cost = |w: &usize| (bits + 1).div_ceil(*w) * (points + (1 << (w - 1)) + w);
    (3..=13).min_by_key(cost).unwrap_or(3)
}

/// Digits in -2^(w-1)..=2^(w-1), lowest first, `windows` of them.
fn signed_digits(bytes: &[u8; 32], width: usize, windows: usize) -> impl Iterator<Item = i32> {
    let mut little = [0u64; 5];
    for (limb, chunk) in little.iter_mut().zip(bytes.rchunks(8)) {
        *limb = chunk.iter().fold(0, |acc, byte| acc << 8 | u64::from(*byte));
    }
    let mut carry = 0i32;
    (0..windows).map(move |w| {
        let bit = w * width;
        let low = little.get(bit / 64).copied().unwrap_or(0) >> (bit % 64);
        let high = little.get(bit / 64 + 1).copied().unwrap_or(0);
        let joined = if bit.is_multiple_of(64) { low } else { low | high << (64 - bit % 64) };
        let digit = (joined & ((1 << width) - 1)) as i32 + carry;
        carry = i32::from(digit > 1 << (width - 1));
        digit - (carry << width)
    })
}

fn drop_into(buckets: &mut [Option<ProjectivePoint>], point: &AffinePoint, digit: i32) {
    let slot = (digit.unsigned_abs() as usize).checked_sub(1);
    match slot.and_then(|s| buckets.get_mut(s)) {
        Some(Some(bucket)) if digit < 0 => *bucket -= *point,
        Some(Some(bucket)) => *bucket += *point,
        Some(empty) => *empty = Some(if digit < 0 { -ProjectivePoint::from(*point) } else { (*point).into() }),
        None => {}
    }
}

/// The sum of each bucket times its place; the buckets are empty again.
fn empty(buckets: &mut [Option<ProjectivePoint>]) -> ProjectivePoint {
    let (mut running, mut sum) = (ProjectivePoint::IDENTITY, ProjectivePoint::IDENTITY);
    for bucket in buckets.iter_mut().rev() {
        running += bucket.take().unwrap_or(ProjectivePoint::IDENTITY);
        sum += running;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(seed: u64) -> Scalar {
        let mut s = Scalar::from(seed + 7);
        for _ in 0..9 {
            s = s.square() + Scalar::from(seed ^ 0x9e37_79b9);
        }
        s
    }

    #[test]
    fn buckets_agree_with_single_products_for_every_length_of_scalar() {
        let g = ProjectivePoint::GENERATOR;
        for count in [0usize, 1, 2, 7, 60, 400] {
            for kind in 0..4 {
                let points: Vec<_> = (0..count as u64).map(|i| (g * scalar(i)).to_affine()).collect();
                let scalars: Vec<_> = (0..count as u64)
                    .map(|i| match kind {
                        0 => scalar(i + 99),
                        1 => -Scalar::from(i),
                        2 => Scalar::from(u128::MAX - u128::from(i)),
                        _ => Scalar::from(i),
                    })
                    .collect();
                let plain: ProjectivePoint = points.iter().zip(&scalars).map(|(p, s)| *p * *s).sum();
                assert_eq!(multi_exponentiate(&points, &scalars), plain, "{count} points, kind {kind}");
            }
        }
    }

    #[test]
    fn a_sum_in_pieces_is_the_same_sum_and_no_piece_is_longer_than_it_may_be() {
        let g = ProjectivePoint::GENERATOR;
        for count in [0u64, 1, 511, 512, 513, 1100] {
            let points: Vec<_> = (0..count).map(|i| (g * Scalar::from(i + 1)).to_affine()).collect();
            let scalars: Vec<_> = (0..count).map(|i| scalar(i + 5)).collect();
            let mut products = Products::new(&scalars);
            let mut calls = 0;
            let sum = loop {
                let mut budget = Budget::new(1);
                let sum = products.advance(&points, &mut budget);
                assert!(budget.spent() <= PIECE + (2 << 12));
                calls += 1;
                if let Some(sum) = sum {
                    break sum;
                }
            };
            assert_eq!(sum, multi_exponentiate(&points, &scalars), "{count} points");
            assert!(count < 2 || calls > 20, "{count} points in {calls} calls");
        }
    }

    #[test]
    fn equal_opposite_and_absent_points_among_many_are_summed_right() {
        // A hostile dealer chooses its points: all equal, in opposite pairs, with identities between.
        let g = ProjectivePoint::GENERATOR;
        for pattern in 0..4u64 {
            let point = |i: u64| match (pattern, i % 3) {
                (0, _) => g,
                (1, r) => {
                    if r == 0 {
                        -g
                    } else {
                        g
                    }
                }
                (2, 0) => ProjectivePoint::IDENTITY,
                (_, r) => g * scalar(i / 2 % 5) * if r == 1 { Scalar::ONE } else { -Scalar::ONE },
            };
            let points: Vec<_> = (0..500).map(|i| point(i).to_affine()).collect();
            for same in [true, false] {
                let scalars: Vec<_> =
                    (0..500).map(|i| Scalar::from(if same { 77 } else { i * i + u64::from(i % 2 == 0) })).collect();
                let plain: ProjectivePoint = points.iter().zip(&scalars).map(|(p, s)| *p * *s).sum();
                assert_eq!(multi_exponentiate(&points, &scalars), plain, "pattern {pattern}, same {same}");
            }
        }
    }

    #[test]
    fn small_products_agree_with_the_library() {
        let g = ProjectivePoint::GENERATOR;
        for f in [0u128, 1, 2, 9, 255, 1 << 77, u128::MAX] {
            assert_eq!(small_multiple(&g, f), g * Scalar::from(f));
        }
    }

    #[test]
    fn normalising_keeps_the_identity_and_takes_none() {
        let g = ProjectivePoint::GENERATOR;
        let mixed = [g, ProjectivePoint::IDENTITY, g.double()];
        assert!(normalise(&[]).is_empty());
        assert_eq!(normalise(&mixed), mixed.iter().map(ProjectivePoint::to_affine).collect::<Vec<_>>());
    }
}
