//! Enumeration over a field of eleven elements: k-1 members learn nothing about the secret, k learn it all.
//!
//! Runs the very functions that make rows and columns. Small enough to be exhaustive, and a wrong degree in either
//! variable shows at once.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::{Add, Mul};

use crate::polynomial::{column, evaluate, row};

const P: u8 = 11;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Toy(u8);

impl Add for Toy {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self((self.0 + other.0) % P)
    }
}

impl Mul for Toy {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self((self.0 * other.0) % P)
    }
}

const ZERO: Toy = Toy(0);

/// What a member holds of one polynomial: its row, its column, and the points that all others send it.
fn view_of(f: &[Toy], k: usize, n: u8, member: u8) -> Vec<Toy> {
    let (mut a, mut b) = (vec![ZERO; k], vec![ZERO; k]);
    row(f, Toy(member), &mut a);
    column(f, Toy(member), &mut b);
    let mut view = [a, b].concat();
    for m in 1..=n {
        let (mut a, mut b) = (vec![ZERO; k], vec![ZERO; k]);
        row(f, Toy(m), &mut a);
        column(f, Toy(m), &mut b);
        view.extend([evaluate(&a, Toy(member)).unwrap(), evaluate(&b, Toy(member)).unwrap()]);
    }
    view
}

/// All that colluders see of a dealing until the set is fixed: their views of f and f', and the exponents of the
/// commitments g^f h^f' with h = g^x, as if they could take logarithms.
fn joint_view(both: &[Toy], k: usize, n: u8, colluders: &[u8], x: Toy) -> Vec<Toy> {
    let (f, blind) = both.split_at(k * k);
    let mut view: Vec<Toy> = f.iter().zip(blind).map(|(f, blind)| *f + x * *blind).collect();
    for member in colluders {
        view.extend(view_of(f, k, n, *member));
        view.extend(view_of(blind, k, n, *member));
    }
    view
}

/// All coefficient vectors that `view` maps to zero; `view` is linear.
fn kernel(dimension: usize, view: impl Fn(&[Toy]) -> Vec<Toy>) -> Vec<Vec<Toy>> {
    let columns: Vec<Vec<Toy>> = (0..dimension)
        .map(|unit| {
            let mut vector = vec![ZERO; dimension];
            vector[unit] = Toy(1);
            view(&vector)
        })
        .collect();
    let mut rows: Vec<Vec<Toy>> = (0..columns[0].len()).map(|r| columns.iter().map(|c| c[r]).collect()).collect();
    let mut pivots = Vec::new();
    for c in 0..dimension {
        let from = pivots.len();
        let Some(found) = (from..rows.len()).find(|r| rows[*r][c] != ZERO) else { continue };
        rows.swap(from, found);
        let inverse = (1..P).map(Toy).find(|i| *i * rows[from][c] == Toy(1)).unwrap();
        rows[from].iter_mut().for_each(|v| *v = *v * inverse);
        let pivot = rows[from].clone();
        for (r, row) in rows.iter_mut().enumerate() {
            let factor = Toy((P - row[c].0) % P);
            if r != from && factor != ZERO {
                row.iter_mut().zip(&pivot).for_each(|(v, p)| *v = *v + factor * *p);
            }
        }
        pivots.push(c);
    }
    let free: Vec<usize> = (0..dimension).filter(|c| !pivots.contains(c)).collect();
    let mut all = Vec::new();
    for count in 0..usize::from(P).pow(free.len() as u32) {
        let mut vector = vec![ZERO; dimension];
        let mut rest = count;
        for c in &free {
            vector[*c] = Toy((rest % usize::from(P)) as u8);
            rest /= usize::from(P);
        }
        for (r, c) in pivots.iter().enumerate() {
            let sum = free.iter().fold(ZERO, |sum, f| sum + rows[r][*f] * vector[*f]);
            vector[*c] = Toy((P - sum.0) % P);
        }
        all.push(vector);
    }
    all
}

/// (n, k, t) = (5, 3, 1): for every pair of members, every value of the hidden logarithm and every view, the dealings
/// that fit the view are eleven and hold each of the eleven secrets once.
#[test]
fn two_of_five_learn_nothing_and_three_learn_the_secret() {
    let (k, n) = (3, 5);
    for x in (1..P).map(Toy) {
        for i in 1..=n {
            for j in i + 1..=n {
                let fitting = kernel(2 * k * k, |both| joint_view(both, k, n, &[i, j], x));
                let mut secrets: Vec<u8> = fitting.iter().map(|both| both[0].0).collect();
                secrets.sort_unstable();
                assert_eq!(secrets, (0..P).collect::<Vec<_>>(), "members {i} and {j}");
                for both in &fitting {
                    assert!(joint_view(both, k, n, &[i, j], x).iter().all(|v| *v == ZERO));
                }
                for third in (1..=n).filter(|m| *m != i && *m != j) {
                    let fitting = kernel(2 * k * k, |both| joint_view(both, k, n, &[i, j, third], x));
                    assert_eq!(fitting.len(), 1, "three members hold everything");
                }
            }
        }
    }
}

/// k = 2 without any algebra: all 11^4 polynomials, grouped by what one member sees.
#[test]
fn every_view_of_one_member_fits_every_secret_equally_often() {
    for member in 1..=3 {
        let mut counts: BTreeMap<Vec<Toy>, [u32; P as usize]> = BTreeMap::new();
        for code in 0..u32::from(P).pow(4) {
            let f: Vec<Toy> = (0..4).map(|place| Toy((code / 11u32.pow(place) % 11) as u8)).collect();
            counts.entry(view_of(&f, 2, 3, member)).or_default()[usize::from(f[0].0)] += 1;
        }
        assert!(counts.values().all(|secrets| secrets.iter().all(|count| *count == 1)));
        assert_eq!(counts.len(), 1331);
    }
}

/// The counter-example that the enumeration must catch.
#[test]
fn a_polynomial_of_lower_degree_in_one_variable_would_leak() {
    // Degree 1 instead of 2 in y (the top coefficients zero): two columns then determine f(0, 0). The test of secrecy
    // above would fail for it, so it can fail.
    let k = 3;
    let thin = |coefficients: &[Toy]| {
        let mut f = vec![ZERO; 9];
        for j in 0..3 {
            f[j * 3] = coefficients[j * 2];
            f[j * 3 + 1] = coefficients[j * 2 + 1];
        }
        f
    };
    let fitting = kernel(6, |c| [view_of(&thin(c), k, 5, 1), view_of(&thin(c), k, 5, 2)].concat());
    assert!(fitting.iter().all(|c| c[0] == ZERO), "two members would know the secret");
}

/// A hand-over as colluders see it, without what commitments hide: coefficients are those of the old sharing (k), then of
/// each of k dealers' polynomials all but the constant (k' k' - 1), which is the dealer's share. They see the shares and
/// the polynomials of old members, and the views of new ones.
fn handed_over(all: &[Toy], (k, new_k): (usize, usize), new_n: u8, old: &[u8], new: &[u8]) -> Vec<Toy> {
    let (sharing, dealt) = all.split_at(k);
    let share = |member: u8| evaluate(sharing, Toy(member)).unwrap();
    let mut view: Vec<Toy> = old.iter().map(|member| share(*member)).collect();
    for (dealer, rest) in (1..).zip(dealt.chunks_exact(new_k * new_k - 1)) {
        let f = [&[share(dealer)], rest].concat();
        if old.contains(&dealer) {
            view.extend(rest);
        }
        new.iter().for_each(|member| view.extend(view_of(&f, new_k, new_n, *member)));
    }
    view
}

/// From (5,3,1) to (5,3,1): whichever two old and two new members collude, the handings-over that fit what they see are
/// as many for each of the eleven secrets; with a third member of either committee there is one secret left.
#[test]
fn two_old_and_two_new_members_together_learn_nothing() {
    let (k, n) = (3, 5);
    let dimension = k + k * (k * k - 1);
    let secrets = |old: &[u8], new: &[u8]| {
        let fitting = kernel(dimension, |all| handed_over(all, (k, k), n, old, new));
        let mut secrets: Vec<u8> = fitting.iter().map(|all| all[0].0).collect();
        secrets.sort_unstable();
        secrets
    };
    let every: Vec<u8> = (0..P).collect();
    for (a, b) in [(1, 2), (2, 3), (1, 3), (1, 4), (3, 5), (4, 5)] {
        for (c, d) in [(1, 2), (1, 3), (2, 5), (4, 5)] {
            let fitting = secrets(&[a, b], &[c, d]);
            let times = fitting.len() / usize::from(P);
            let expected: Vec<u8> = every.iter().flat_map(|secret| core::iter::repeat_n(*secret, times)).collect();
            assert_eq!(fitting, expected, "old {a} and {b}, new {c} and {d}");
        }
    }
    assert!(secrets(&[1, 2, 5], &[1, 2]).iter().all(|secret| *secret == 0), "three old shares are the key");
    assert!(secrets(&[1, 2], &[1, 2, 4]).iter().all(|secret| *secret == 0), "and so are three new ones");
}
