//! Property tests: any schedule, any crash, up to t hostile members; every invariant after every step.
//!
//! A failing case prints its seed and its actors; the run is a function of them. `TORUS_SIM_CASES` multiplies the cases.

use std::collections::BTreeSet;

use proptest::prelude::*;
use torus_protocol::{Index, Sizes};

use crate::byzantine::{ALL, Behaviour, any_behaviour};
use crate::net::{Net, index};

pub(crate) fn cases(base: u32) -> ProptestConfig {
    let factor = std::env::var("TORUS_SIM_CASES").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1);
    ProptestConfig {
        cases: base * factor,
        failure_persistence: None,
        max_shrink_iters: 64,
        ..ProptestConfig::default()
    }
}

fn five() -> Sizes {
    Sizes::new(5, 3, 1).unwrap()
}

fn nine() -> Sizes {
    Sizes::new(9, 5, 2).unwrap()
}

fn hostile(sizes: Sizes) -> impl Strategy<Value = Vec<(usize, Behaviour)>> {
    let member = 1..=sizes.n();
    proptest::collection::btree_map(member, any_behaviour(), 0..=sizes.t()).prop_map(|map| map.into_iter().collect())
}

fn run_hostile(sizes: Sizes, seed: u64, actors: &[(usize, Behaviour)]) {
    let mut net = Net::new(sizes, 2, seed, actors);
    net.duplicate = 50;
    net.start_all();
    net.settle();
    net.check_finished();
}

/// Every member may die at any output, a bounded number of times; whatever comes out is right.
fn run_crashing(
    sizes: Sizes,
    seed: u64,
    fragile: BTreeSet<Index>,
    crashes: usize,
    actors: &[(usize, Behaviour)],
) -> Net {
    let mut net = Net::new(sizes, 1, seed, actors);
    net.duplicate = 20;
    net.crash = 15;
    net.fragile = fragile;
    net.crashes_left = crashes;
    net.start_all();
    net.settle();
    net
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn five_members_finish_under_any_schedule_with_a_hostile_one(seed: u64, actors in hostile(five())) {
        run_hostile(five(), seed, &actors);
    }

    #[test]
    fn up_to_t_members_crash_and_return_at_any_time_and_everybody_finishes(seed: u64, who in 1usize..=5, crashes in 1usize..6) {
        let mut net = run_crashing(five(), seed, BTreeSet::from([index(who)]), crashes, &[]);
        net.check_finished();
    }

    #[test]
    fn any_number_of_crashes_with_a_hostile_member_breaks_no_safety(seed: u64, actors in hostile(five()), crashes in 1usize..12) {
        let mut net = run_crashing(five(), seed, five().members().collect(), crashes, &actors);
        net.check_safe();
    }

    #[test]
    fn k_minus_one_hostile_members_may_stop_a_batch_but_break_no_safety(
        seed: u64,
        first in any_behaviour(),
        second in any_behaviour(),
        equivocate: bool,
    ) {
        let first = if equivocate { Behaviour::Equivocate } else { first };
        let second = if equivocate { Behaviour::Equivocate } else { second };
        let mut net = Net::new(five(), 1, seed, &[(2, first), (5, second)]);
        net.duplicate = 50;
        net.start_all();
        net.settle();
        net.check_safe();
    }

    #[test]
    fn all_killed_after_the_set_is_fixed_still_finish_with_a_hostile_member(seed: u64, actors in hostile(five()), again in 0usize..3) {
        killed_after_qualification(five(), seed, &actors, again);
    }
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn nine_members_finish_under_any_schedule_with_two_hostile_ones(seed: u64, actors in hostile(nine())) {
        run_hostile(nine(), seed, &actors);
    }

    #[test]
    fn nine_killed_after_the_set_is_fixed_still_finish(seed: u64, actors in hostile(nine())) {
        killed_after_qualification(nine(), seed, &actors, 1);
    }
}

/// Q is in the log, nobody has published: all processes die (some of them again while they recover), all come back.
fn killed_after_qualification(sizes: Sizes, seed: u64, actors: &[(usize, Behaviour)], again: usize) {
    let mut net = Net::new(sizes, 2, seed, actors);
    net.hold_publication = true;
    net.start_all();
    while net.log.qualified.is_none() {
        assert!(!net.queue.is_empty(), "no qualified set");
        net.step();
    }
    net.kill_all();
    // What was in flight towards a dead vault and not acknowledged is repeated; half of it is lost for good with the
    // senders that died.
    let mut keep = false;
    net.queue.retain(|_| {
        keep = !keep;
        keep
    });
    net.hold_publication = false;
    net.crash = 10;
    net.crashes_left = again;
    net.fragile = sizes.members().collect();
    net.start_all();
    net.settle();
    net.check_finished();
}

#[test]
fn each_hostile_behaviour_alone_stops_nobody() {
    for (number, behaviour) in ALL.into_iter().enumerate() {
        for seed in 0..3 {
            run_hostile(five(), 100 * number as u64 + seed, &[(1 + (number + seed as usize) % 5, behaviour)]);
        }
    }
}

#[test]
fn all_vaults_killed_between_the_set_and_the_first_acknowledgement_publish_the_batch() {
    killed_after_qualification(five(), 11, &[], 0);
    killed_after_qualification(nine(), 12, &[], 0);
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let keys = |seed| {
        let mut net = Net::new(five(), 1, seed, &[]);
        net.start_all();
        net.settle();
        net.check_finished();
        (net.steps, net.members[0].keys.clone())
    };
    assert!(keys(3) == keys(3));
    assert!(keys(3) != keys(4));
}
