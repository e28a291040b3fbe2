//! What a batch costs one member in CPU time, split into dealing, verification and opening.
//!
//! `cargo run --release -p torus-protocol --example keygen-cost`: every message passes through one process; the time of each
//! call is booked on the member that makes it, and the mean over members is printed per key.

use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use torus_protocol::{Digest, Index, Input, Kind, Output, Participant, QualifiedSet, Run, Sizes};

const BATCH: u16 = 128;

struct Message {
    from: Index,
    to: Index,
    dealer: Index,
    kind: Kind,
    digest: Digest,
    body: Vec<u8>,
}

#[derive(Default)]
struct Spent {
    dealing: Duration,
    sends: Duration,
    points: Duration,
    opening: Duration,
}

fn main() {
    println!("CPU time per key per member, B = {BATCH}, microseconds");
    println!("  n k t   dealing  verification (rows + points)  opening     sum");
    for (n, k, t) in [(5, 3, 1), (9, 5, 2)] {
        let Ok(sizes) = Sizes::new(n, k, t) else { continue };
        let spent = batch(sizes);
        let per_key = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(BATCH) / f64::from(n);
        let (dealing, sends, points) = (per_key(spent.dealing), per_key(spent.sends), per_key(spent.points));
        let opening = per_key(spent.opening);
        println!(
            "  {n} {k} {t}   {dealing:7.0}  {:7.0} ({sends:7.0} + {points:6.0})   {opening:7.0} {:7.0}",
            sends + points,
            dealing + sends + points + opening
        );
    }
}

/// Time that this thread has had a processor: other processes do not count. Linux only; its resolution is a tick of the
/// scheduler, which the thousands of calls of a batch even out.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0))
}

fn batch(sizes: Sizes) -> Spent {
    let mut spent = Spent::default();
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut members = Vec::new();
    let mut queue = Vec::new();
    let mut readies: Vec<(Index, Digest)> = Vec::new();
    for me in sizes.members() {
        let Ok(run) = Run::new([1; 32], sizes, me, BATCH) else { return spent };
        let start = cpu_time();
        let (member, out) = Participant::deal(run, &mut rng);
        spent.dealing += cpu_time().saturating_sub(start);
        members.push(member);
        take(me, out, &mut queue, &mut readies);
    }
    let mut next = 0;
    while let Some(message) = queue.get_mut(next) {
        let body = core::mem::take(&mut message.body);
        let Message { from, to, dealer, kind, digest, .. } = *message;
        next += 1;
        let input = Input::Message { from, dealer, kind, digest, body: &body };
        let Some(member) = members.get_mut(to.slot()) else { continue };
        let start = cpu_time();
        let out = member.handle(input, &mut rng);
        *(if kind == Kind::Send { &mut spent.sends } else { &mut spent.points }) += cpu_time().saturating_sub(start);
        take(to, out, &mut queue, &mut readies);
    }
    open(sizes, &mut members, &readies, &mut rng, &mut spent);
    spent
}

fn open(
    sizes: Sizes,
    members: &mut [Participant],
    readies: &[(Index, Digest)],
    rng: &mut ChaCha20Rng,
    spent: &mut Spent,
) {
    let mut set = readies.to_vec();
    set.sort();
    set.dedup();
    // Not consecutive: the dearer case of the interpolation.
    let set: Vec<_> = set.into_iter().rev().take(sizes.qualified()).rev().collect();
    let Ok(set) = QualifiedSet::new(sizes, &set) else { return };
    let mut vectors = Vec::new();
    for (member, me) in members.iter_mut().zip(sizes.members()) {
        let start = cpu_time();
        member.handle(Input::Qualified(&set), rng);
        let out = member.handle(Input::Sealed, rng);
        spent.opening += cpu_time().saturating_sub(start);
        vectors.extend(out.into_iter().filter_map(|output| match output {
            Output::Publish(body) => Some((me, body)),
            _ => None,
        }));
    }
    let mut finished = 0;
    for (member, me) in members.iter_mut().zip(sizes.members()) {
        let start = cpu_time();
        // Odd members first, so that the sets are not consecutive.
        let odd_first = vectors.iter().filter(|(i, _)| i.get() % 2 == 1).chain(vectors.iter());
        for (from, body) in odd_first.filter(|(from, _)| *from != me) {
            let out = member.handle(Input::Vector { from: *from, body }, rng);
            finished += out.iter().filter(|output| matches!(output, Output::Keys(_))).count();
        }
        spent.opening += cpu_time().saturating_sub(start);
    }
    assert_eq!(finished, sizes.n(), "every member derives the keys");
}

fn take(me: Index, out: Vec<Output>, queue: &mut Vec<Message>, readies: &mut Vec<(Index, Digest)>) {
    for output in out {
        match output {
            Output::Send { to, dealer, kind, digest, body } => {
                queue.push(Message { from: me, to, dealer, kind, digest, body: body.as_slice().to_vec() });
            }
            Output::SignReady { dealer, digest } => readies.push((dealer, digest)),
            _ => {}
        }
    }
}
