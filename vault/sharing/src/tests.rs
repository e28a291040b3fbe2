//! What holds over the modules: the degree is the configured one, whatever the polynomials happen to be.

use alloc::vec::Vec;

use k256::{ProjectivePoint, Scalar};

use crate::{Index, OpeningError, Point, Sizes, interpolate_keys};

/// The shares of a key whose polynomial has these coefficients, as points.
fn vectors(sizes: Sizes, polynomial: &[u64]) -> Vec<(Index, [Point; 1])> {
    let at = |x: u64| polynomial.iter().rev().fold(Scalar::ZERO, |sum, c| sum * Scalar::from(x) + Scalar::from(*c));
    let point = |index: Index| Point::new(&(ProjectivePoint::GENERATOR * at(index.get().into()))).unwrap();
    sizes.members().map(|index| (index, [point(index)])).collect()
}

#[test]
fn an_aggregate_of_a_lower_degree_still_takes_k_and_gives_the_same_key() {
    // Dealers whose leading coefficients cancel, or a sum that is constant: the threshold is the configured k, never
    // what the polynomial would allow.
    for (n, k, t) in [(5, 3, 1), (6, 4, 1), (9, 5, 2)] {
        let sizes = Sizes::new(n, k, t).unwrap();
        for degree in 0..sizes.k() - 1 {
            let polynomial: Vec<u64> = (0..=degree as u64).map(|c| 7 + c).collect();
            let all = vectors(sizes, &polynomial);
            let of = |members: &[usize]| {
                let list: Vec<_> = members.iter().map(|i| (all[*i].0, all[*i].1.as_slice())).collect();
                interpolate_keys(sizes, &list)
            };
            let first: Vec<usize> = (0..sizes.k()).collect();
            let last: Vec<usize> = (sizes.n() - sizes.k()..sizes.n()).collect();
            let keys = of(&first).unwrap();
            assert_eq!(keys, of(&last).unwrap(), "degree {degree} of {n}");
            assert_eq!(keys.keys[0].public.projective(), ProjectivePoint::GENERATOR * Scalar::from(7u64));
            assert_eq!(keys.keys[0].commitments, all.iter().map(|(_, v)| v[0]).collect::<Vec<_>>());
            for fewer in 1..sizes.k() {
                assert_eq!(of(&first[..fewer]).err(), Some(OpeningError::Shape), "{fewer} of degree {degree}");
            }
        }
    }
}

#[test]
fn shares_that_interpolate_to_the_identity_make_no_key() {
    // A key of zero: f(x) = x, and f(x) = 1 - x, which is zero at member 1.
    let sizes = Sizes::new(5, 3, 1).unwrap();
    let all = vectors(sizes, &[0, 1]);
    let list: Vec<_> = all.iter().take(3).map(|(i, v)| (*i, v.as_slice())).collect();
    assert_eq!(interpolate_keys(sizes, &list).err(), Some(OpeningError::Identity));
    let at = |x: u64| Scalar::ONE - Scalar::from(x);
    let point = |i: &Index| [Point::new(&(ProjectivePoint::GENERATOR * at(i.get().into()))).unwrap()];
    let all: Vec<_> = sizes.members().skip(2).map(|i| (i, point(&i))).collect();
    let list: Vec<_> = all.iter().map(|(i, v)| (*i, v.as_slice())).collect();
    assert_eq!(interpolate_keys(sizes, &list).err(), Some(OpeningError::Identity), "a share of zero");
}
