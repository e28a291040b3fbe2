//! Evaluation of polynomials in one and two variables, lowest power first, over any field.
//!
//! Generic so that the secrecy test can enumerate a field of eleven elements with the very code that runs.

use core::ops::{Add, Mul};

/// What evaluation needs of a field.
pub(crate) trait Element: Copy + Add<Output = Self> + Mul<Output = Self> {}

impl<F: Copy + Add<Output = F> + Mul<Output = F>> Element for F {}

/// p(x) by Horner. `coefficients` is not empty.
pub(crate) fn evaluate<F: Element>(coefficients: &[F], x: F) -> Option<F> {
    coefficients.iter().rev().copied().reduce(|sum, coefficient| sum * x + coefficient)
}

/// The row f(x, y) as a polynomial in y: out_l = sum_j f_jl x^j. `f` is k x k, j (the power of x) major.
pub(crate) fn row<F: Element>(f: &[F], x: F, out: &mut [F]) {
    let k = out.len();
    for (l, value) in out.iter_mut().enumerate() {
        let powers = f.iter().skip(l).step_by(k);
        if let Some(sum) = powers.rev().copied().reduce(|sum, coefficient| sum * x + coefficient) {
            *value = sum;
        }
    }
}

/// The column f(x, y) as a polynomial in x: out_j = sum_l f_jl y^l.
pub(crate) fn column<F: Element>(f: &[F], y: F, out: &mut [F]) {
    let k = out.len();
    for (value, powers) in out.iter_mut().zip(f.chunks_exact(k)) {
        if let Some(sum) = evaluate(powers, y) {
            *value = sum;
        }
    }
}
