//! Points received from other members: their form, and the check on the curve that recovery needs.
//!
//! A point from m is alpha = f(m, i), alpha', beta = f(i, m), beta' for each key. Both alpha and beta are checked: the
//! row is interpolated from the betas, so an unchecked beta would poison it.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use k256::Scalar;
use rand_core::CryptoRngCore;
use subtle::ConstantTimeEq;
use torus_memory::{Exhausted, apart};
use torus_sharing::{Budget, Index, Matrix};
use zeroize::Zeroize;

use crate::combination::{Combination, Left, coefficient};
use crate::rows::powers;
use crate::run::Run;
use crate::secret::{SecretBytes, read_scalar};
use crate::table::Generators;

/// Exactly four (or two) canonical scalars for each key.
pub(crate) fn parse(run: &Run, body: &[u8]) -> Result<Option<SecretBytes>, Exhausted> {
    if body.len() != run.keys() * run.point_length() {
        return Ok(None);
    }
    let canonical = |chunk: &[u8]| read_scalar(chunk).map(|mut scalar| scalar.zeroize()).is_some();
    if !apart(|| body.chunks_exact(32).all(canonical)) {
        return Ok(None);
    }
    SecretBytes::copy_of(run.pool(), body).map(Some)
}

/// Whether a body is what its sender owes, given what is owed to the sender: alpha and beta change places.
/// Equality of canonical bytes, in constant time.
pub(crate) fn mirrors(run: &Run, owed: &SecretBytes, body: &[u8]) -> bool {
    if owed.as_slice().len() != body.len() {
        return false;
    }
    let mut same = subtle::Choice::from(1);
    let (length, half) = (run.point_length(), run.point_length() / 2);
    for (owed, received) in owed.as_slice().chunks_exact(length).zip(body.chunks_exact(length)) {
        let (Some((a, b)), Some((alpha, beta))) = (owed.split_at_checked(half), received.split_at_checked(half)) else {
            return false;
        };
        same &= a.ct_eq(beta) & b.ct_eq(alpha);
    }
    same.into()
}

/// Looks for the senders whose points do not open the matrix, by halving a failed combination.
///
/// Cachin's verify-point for all keys of several senders at once, an own coefficient for every equation:
/// alpha G + alpha' H = sum C_jl m^j i^l and beta G + beta' H = sum C_jl i^j m^l.
pub(crate) struct Search {
    /// Groups of senders, the last one next.
    groups: Vec<Vec<Index>>,
    at: Option<Stage>,
    bad: Vec<Index>,
}

enum Stage {
    /// Senders before this position are in the equations.
    Gathering {
        next: usize,
        left: Left,
        scalars: Vec<Scalar>,
    },
    Summing(Box<Combination>),
}

impl Search {
    pub(crate) fn among(senders: Vec<Index>) -> Self {
        let groups = if senders.is_empty() { Vec::new() } else { vec![senders] };
        Self { groups, at: None, bad: Vec::new() }
    }

    /// Searches until the budget is spent; the bad senders once all groups are judged.
    pub(crate) fn advance<'a>(
        &mut self,
        run: &Run,
        matrix: &Matrix,
        points: impl Fn(Index) -> Option<&'a SecretBytes>,
        generators: &Generators,
        rng: &mut dyn CryptoRngCore,
        budget: &mut Budget,
    ) -> Result<Option<Vec<Index>>, Exhausted> {
        while let Some(group) = self.groups.last() {
            if budget.is_spent() {
                return Ok(None);
            }
            let stage = match self.at.take() {
                Some(stage) => stage,
                None => Stage::Gathering {
                    next: 0,
                    left: Left::zero(run)?,
                    scalars: vec![Scalar::ZERO; matrix.points().len()],
                },
            };
            match stage {
                Stage::Gathering { next, mut left, mut scalars } => match group.get(next) {
                    Some(sender) => {
                        budget.spend(matrix.points().len() / 2);
                        let bytes = points(*sender);
                        let mut enter = |bytes| enter(run, matrix.k(), *sender, bytes, &mut left, &mut scalars, rng);
                        let entered = apart(|| bytes.is_some_and(&mut enter));
                        if entered {
                            self.at = Some(Stage::Gathering { next: next + 1, left, scalars });
                        } else {
                            self.judge(false);
                        }
                    }
                    None => {
                        budget.spend(matrix.points().len() / 2);
                        self.at = Some(Stage::Summing(Box::new(Combination::new(generators, left, &scalars))));
                    }
                },
                Stage::Summing(mut combination) => match combination.advance(matrix, budget) {
                    Some(holds) => self.judge(holds),
                    None => self.at = Some(Stage::Summing(combination)),
                },
            }
        }
        Ok(Some(core::mem::take(&mut self.bad)))
    }

    /// The last group's combination holds, or it is halved.
    fn judge(&mut self, holds: bool) {
        let Some(group) = self.groups.pop().filter(|_| !holds) else { return };
        match group.split_at_checked(group.len() / 2) {
            Some((first, second)) if !first.is_empty() => {
                self.groups.push(second.to_vec());
                self.groups.push(first.to_vec());
            }
            _ => self.bad.extend(group),
        }
    }
}

/// Enters one sender's equations; false if its points are no scalars.
fn enter(
    run: &Run,
    k: usize,
    sender: Index,
    bytes: &SecretBytes,
    left: &mut Left,
    scalars: &mut [Scalar],
    rng: &mut dyn CryptoRngCore,
) -> bool {
    let (theirs, mine) = (powers(sender, k), powers(run.me(), k));
    let (received, width) = (bytes.as_slice().chunks_exact(run.point_length()), run.width());
    for (key, point) in scalars.chunks_exact_mut(k * k).zip(received) {
        let (of_alpha, of_beta) = (coefficient(rng), coefficient(rng));
        for (position, value) in point.chunks_exact(32).enumerate() {
            let Some(mut value) = read_scalar(value) else { return false };
            let weight = if position < width { of_alpha } else { of_beta };
            left.add(position % width, weight * value);
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
    true
}
