//! Lagrange coefficients over sets of distinct members.
//!
//! A set is ascending and duplicate-free by construction, and its members are 1..=255: no denominator is ever zero and
//! no abscissa is the secret's. The number of points is the caller's configured k, never read off the data.

use alloc::vec::Vec;

use k256::Scalar;

use crate::{Index, Sizes};

/// Distinct members in ascending order, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexSet(Vec<Index>);

/// Why a list of members is no set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSet {
    /// A member named twice, or out of order.
    #[error("indices are not strictly ascending")]
    Order,
    /// A member above n.
    #[error("index outside the committee")]
    Outside,
    /// Nothing to interpolate.
    #[error("empty set")]
    Empty,
}

impl IndexSet {
    /// Strictly ascending members of the committee.
    pub fn new(sizes: Sizes, members: Vec<Index>) -> Result<Self, BadSet> {
        if members.is_empty() {
            return Err(BadSet::Empty);
        }
        if members.iter().any(|member| sizes.member(member.get()).is_none()) {
            return Err(BadSet::Outside);
        }
        if members.iter().zip(members.iter().skip(1)).any(|(a, b)| a >= b) {
            return Err(BadSet::Order);
        }
        Ok(Self(members))
    }

    /// The members in order.
    pub fn members(&self) -> &[Index] {
        &self.0
    }

    /// The coefficients L_i(x), so that p(x) = sum of L_i(x) p(i) for every p of degree below the set's size.
    pub fn coefficients(&self, x: u8) -> Vec<Scalar> {
        let at = Scalar::from(u64::from(x));
        self.0
            .iter()
            .map(|i| {
                let (numerator, denominator) = self.others(*i).fold((Scalar::ONE, Scalar::ONE), |(up, down), j| {
                    (up * (at - j), down * (Scalar::from(u64::from(i.get())) - j))
                });
                // Never zero: members are distinct and far below the group order.
                numerator * denominator.invert().unwrap_or(Scalar::ZERO)
            })
            .collect()
    }

    /// The same coefficients as integers over one denominator, if they fit: c_i and D with L_i(x) = c_i / D, D > 0.
    pub(crate) fn integers(&self, x: u8) -> Option<(Vec<i128>, i128)> {
        let mut fractions = Vec::with_capacity(self.0.len());
        let mut common: i128 = 1;
        for i in &self.0 {
            let (mut up, mut down) = (1i128, 1i128);
            for j in self.0.iter().filter(|j| *j != i) {
                up = up.checked_mul(i128::from(x) - i128::from(j.get()))?;
                down = down.checked_mul(i128::from(i.get()) - i128::from(j.get()))?;
                let divisor = gcd(up, down);
                (up, down) = (up.checked_div(divisor)?, down.checked_div(divisor)?);
            }
            if down < 0 {
                (up, down) = (-up, -down);
            }
            common = common.checked_div(gcd(common, down))?.checked_mul(down)?;
            fractions.push((up, down));
        }
        let integers = fractions.iter().map(|(up, down)| up.checked_mul(common.checked_div(*down)?));
        Some((integers.collect::<Option<Vec<_>>>()?, common))
    }

    /// Coefficients, lowest power first, of each basis polynomial L_i: row i of the inverse Vandermonde matrix.
    pub fn basis(&self) -> Vec<Vec<Scalar>> {
        self.0
            .iter()
            .map(|i| {
                let mut polynomial = Vec::with_capacity(self.0.len());
                polynomial.push(Scalar::ONE);
                let mut denominator = Scalar::ONE;
                for j in self.others(*i) {
                    denominator *= Scalar::from(u64::from(i.get())) - j;
                    // Multiply by (x - j).
                    let mut carry = Scalar::ZERO;
                    for coefficient in &mut polynomial {
                        let old = *coefficient;
                        *coefficient = carry - old * j;
                        carry = old;
                    }
                    polynomial.push(carry);
                }
                let scale = denominator.invert().unwrap_or(Scalar::ZERO);
                polynomial.iter_mut().for_each(|coefficient| *coefficient *= scale);
                polynomial
            })
            .collect()
    }

    fn others(&self, i: Index) -> impl Iterator<Item = Scalar> + '_ {
        self.0.iter().filter(move |j| **j != i).map(|j| Scalar::from(u64::from(j.get())))
    }
}

fn gcd(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i128::try_from(a).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(members: &[u8]) -> IndexSet {
        let sizes = Sizes::new(9, 5, 2).unwrap();
        IndexSet::new(sizes, members.iter().filter_map(|m| Index::new(*m)).collect()).unwrap()
    }

    #[test]
    fn duplicate_unordered_foreign_and_empty_sets_are_refused() {
        let sizes = Sizes::new(5, 3, 1).unwrap();
        let new = |members: &[u8]| IndexSet::new(sizes, members.iter().filter_map(|m| Index::new(*m)).collect());
        assert_eq!(new(&[1, 1, 2]), Err(BadSet::Order));
        assert_eq!(new(&[2, 1]), Err(BadSet::Order));
        assert_eq!(new(&[1, 6]), Err(BadSet::Outside));
        assert_eq!(new(&[]), Err(BadSet::Empty));
        assert!(Index::new(0).is_none());
    }

    #[test]
    fn coefficients_integers_and_basis_agree_on_a_polynomial() {
        let polynomial: Vec<Scalar> = (3u64..8).map(Scalar::from).collect();
        let at = |x: u8| polynomial.iter().rev().fold(Scalar::ZERO, |acc, c| acc * Scalar::from(u64::from(x)) + c);
        for members in [[1, 2, 3, 4, 5], [1, 3, 4, 8, 9], [2, 4, 5, 7, 9]] {
            let set = set(&members);
            for x in 0..=9 {
                let sum: Scalar = set.coefficients(x).iter().zip(set.members()).map(|(c, i)| *c * at(i.get())).sum();
                assert_eq!(sum, at(x));
                let (integers, denominator) = set.integers(x).unwrap();
                let signed = |v: i128| {
                    let magnitude = Scalar::from(v.unsigned_abs());
                    if v < 0 { -magnitude } else { magnitude }
                };
                let scaled: Scalar = integers.iter().zip(set.members()).map(|(c, i)| signed(*c) * at(i.get())).sum();
                assert_eq!(scaled, at(x) * signed(denominator));
            }
            let mut rebuilt = [Scalar::ZERO; 5];
            for (basis, i) in set.basis().iter().zip(set.members()) {
                for (sum, c) in rebuilt.iter_mut().zip(basis) {
                    *sum += *c * at(i.get());
                }
            }
            assert_eq!(rebuilt.as_slice(), polynomial.as_slice());
        }
    }
}
