//! Points received from other members: their form, and the check on the curve that recovery needs.
//!
//! A point from m is alpha = f(m, i), alpha', beta = f(i, m), beta' for each key. Both alpha and beta are checked: the
//! row is interpolated from the betas, so an unchecked beta would poison it.

use alloc::vec;
use alloc::vec::Vec;

use k256::Scalar;
use rand_core::CryptoRngCore;
use subtle::ConstantTimeEq;
use torus_sharing::{Index, Matrix, multi_exponentiate};
use zeroize::Zeroize;

use crate::rows::powers;
use crate::run::Run;
use crate::secret::{SecretBytes, read_scalar};
use crate::table::Generators;

/// alpha, alpha', beta, beta': 32 bytes each, for one key.
pub(crate) const POINT_LENGTH: usize = 128;

/// Exactly four canonical scalars for each key.
pub(crate) fn parse(run: &Run, body: &[u8]) -> Option<SecretBytes> {
    if body.len() != run.keys() * POINT_LENGTH {
        return None;
    }
    for chunk in body.chunks_exact(32) {
        read_scalar(chunk)?.zeroize();
    }
    let mut copy = SecretBytes::zeros(body.len());
    copy.as_mut_slice().copy_from_slice(body);
    Some(copy)
}

/// Whether a body is what its sender owes, given what is owed to the sender: alpha and beta change places.
/// Equality of canonical bytes, in constant time.
pub(crate) fn mirrors(owed: &SecretBytes, body: &[u8]) -> bool {
    if owed.as_slice().len() != body.len() {
        return false;
    }
    let mut same = subtle::Choice::from(1);
    for (owed, received) in owed.as_slice().chunks_exact(POINT_LENGTH).zip(body.chunks_exact(POINT_LENGTH)) {
        let (Some((a, b)), Some((alpha, beta))) = (owed.split_at_checked(64), received.split_at_checked(64)) else {
            return false;
        };
        same &= a.ct_eq(beta) & b.ct_eq(alpha);
    }
    same.into()
}

/// The senders whose points do not open the matrix, found by halving a failed combination.
pub(crate) fn bad_senders(
    run: &Run,
    matrix: &Matrix,
    points: &[(Index, &SecretBytes)],
    generators: &Generators,
    rng: &mut dyn CryptoRngCore,
) -> Vec<Index> {
    if points.is_empty() || verify(run, matrix, points, generators, rng) {
        return Vec::new();
    }
    if let [(sender, _)] = points {
        return vec![*sender];
    }
    let (first, second) = points.split_at_checked(points.len() / 2).unwrap_or_default();
    let mut bad = bad_senders(run, matrix, first, generators, rng);
    bad.extend(bad_senders(run, matrix, second, generators, rng));
    bad
}

/// A fresh private 128-bit coefficient.
pub(crate) fn coefficient(rng: &mut dyn CryptoRngCore) -> Scalar {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    Scalar::from(u128::from_be_bytes(bytes))
}

/// Cachin's verify-point for all keys of several senders by one combination, an own coefficient for every equation:
/// alpha G + alpha' H = sum C_jl m^j i^l and beta G + beta' H = sum C_jl i^j m^l.
fn verify(
    run: &Run,
    matrix: &Matrix,
    points: &[(Index, &SecretBytes)],
    generators: &Generators,
    rng: &mut dyn CryptoRngCore,
) -> bool {
    let k = matrix.k();
    let mine = powers(run.me(), k);
    let mut scalars = vec![Scalar::ZERO; matrix.points().len()];
    let (mut left, mut left_blind) = (Scalar::ZERO, Scalar::ZERO);
    for (sender, bytes) in points {
        let theirs = powers(*sender, k);
        let received = bytes.as_slice().chunks_exact(POINT_LENGTH);
        for (key, point) in scalars.chunks_exact_mut(k * k).zip(received) {
            let (of_alpha, of_beta) = (coefficient(rng), coefficient(rng));
            for (position, value) in point.chunks_exact(32).enumerate() {
                let Some(mut value) = read_scalar(value) else { return false };
                let weight = if position < 2 { of_alpha } else { of_beta };
                if position % 2 == 0 {
                    left += weight * value
                } else {
                    left_blind += weight * value
                }
                value.zeroize();
            }
            let rows = key.chunks_exact_mut(k).zip(theirs.iter().zip(&mine));
            for (entries, (their_j, my_j)) in rows {
                let (alpha, beta) = (of_alpha * their_j, of_beta * my_j);
                for (entry, (their_l, my_l)) in entries.iter_mut().zip(theirs.iter().zip(&mine)) {
                    *entry += alpha * my_l + beta * their_l;
                }
            }
        }
    }
    let right = multi_exponentiate(matrix.points(), &scalars);
    let ok = generators.pedersen(&left, &left_blind) == right;
    left.zeroize();
    left_blind.zeroize();
    ok
}
