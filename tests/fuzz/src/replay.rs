//! Every body over its seeds and their mutants, as far as an ordinary test run has the time: libFuzzer is the long run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::{Target, audit, certified, claims, ipc, participant, relay, run, sharing, statement, token};

/// How long the mutants of one target are tried.
const TIME: Duration = Duration::from_secs(8);

fn replay(target: &Target) {
    let seeds = (target.seeds)();
    for (number, seed) in seeds.iter().enumerate() {
        assert!(run(target, seed), "seed {number} of {} is refused", target.name);
    }
    let started = Instant::now();
    let mut tried = 0;
    // Every seed's turn comes round, so that each gets its part of the time.
    for turn in 0.. {
        let mutants: Vec<_> = seeds.iter().filter_map(|seed| mutant(seed, turn)).collect();
        if mutants.is_empty() || started.elapsed() > TIME {
            break;
        }
        for mutant in mutants {
            let held = catch_unwind(AssertUnwindSafe(|| run(target, &mutant)));
            assert!(held.is_ok(), "{}: the property does not hold for {mutant:02x?}", target.name);
            tried += 1;
        }
    }
    assert!(tried >= 50, "{tried} mutants of {} in {TIME:?}", target.name);
}

/// A seed with one byte changed, or cut at it; places from both ends in turn.
fn mutant(seed: &[u8], turn: usize) -> Option<Vec<u8>> {
    const CHANGES: [Option<u8>; 4] = [Some(0x01), Some(0x80), Some(0xff), None];
    let step = turn / CHANGES.len();
    let place = if step.is_multiple_of(2) { step / 2 } else { seed.len().checked_sub(step / 2 + 1)? };
    if step >= seed.len() {
        return None;
    }
    let mut bytes = seed.to_vec();
    match CHANGES[turn % CHANGES.len()] {
        Some(change) => *bytes.get_mut(place)? ^= change,
        None => bytes.truncate(place),
    }
    Some(bytes)
}

macro_rules! replays {
    ($($name:ident: $target:expr;)+) => {$(
        #[test]
        fn $name() {
            replay(&$target);
        }
    )+};
}

replays! {
    requests_answers_and_streams_have_one_form_however_they_arrive: ipc::TARGET;
    statements_have_one_encoding: statement::TARGET;
    nothing_is_believed_that_nobody_signed: certified::TARGET;
    matrices_vectors_keys_and_sets_have_one_form: sharing::TARGET;
    a_participant_bears_bent_messages_and_blames_nobody_honest: participant::TARGET;
    no_text_but_the_committed_one_releases: token::TARGET;
    what_logs_in_reads_the_same_to_every_parser: claims::TARGET;
    a_copy_is_found_the_same_in_pieces_and_only_the_vault_makes_one: audit::TARGET;
    messages_between_nodes_have_one_form: relay::TARGET;
}
