//! What a batch costs one member in CPU time, split into dealing, verification and opening, and its longest calls.
//!
//! `cargo run --release -p torus-protocol --example keygen-cost`: every message passes through one process; the time of each
//! call is booked on the member that makes it, and the mean over members is printed per key. The longest single call of
//! each kind is by the clock on the wall: the same batch is made several times, call by call the shortest time counts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use torus_memory::Heap;
use torus_protocol::{
    Budget, Digest, Index, Input, Kind, Output, Participant, Promise, PublishedKeys, QualifiedSet, Record, Run, SLICE,
    SecretBytes, Sizes,
};
use torus_sharing::KeysReader;

const BATCH: u16 = 128;
const REPETITIONS: usize = 5;

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
    calls: Vec<(&'static str, Duration)>,
}

fn main() {
    println!("CPU time per key per member, B = {BATCH}, microseconds");
    println!("  n k t   dealing  verification (rows + points)  opening     sum");
    let mut longest = Vec::new();
    for (n, k, t) in [(5, 3, 1), (9, 5, 2)] {
        let Ok(sizes) = Sizes::new(n, k, t) else { continue };
        let all: Vec<Spent> = (0..REPETITIONS).map(|_| batch(sizes)).collect();
        let least = |time: fn(&Spent) -> Duration| {
            let least = all.iter().map(time).min().unwrap_or_default();
            least.as_secs_f64() * 1e6 / f64::from(BATCH) / f64::from(n)
        };
        let (dealing, sends, points) = (least(|s| s.dealing), least(|s| s.sends), least(|s| s.points));
        let opening = least(|s| s.opening);
        println!(
            "  {n} {k} {t}   {dealing:7.0}  {:7.0} ({sends:7.0} + {points:6.0})   {opening:7.0} {:7.0}",
            sends + points,
            dealing + sends + points + opening
        );
        longest.push(((n, k, t), longest_calls(&all)));
    }
    println!("\nLongest single call of each kind, B = {BATCH}, slices of {SLICE} units, milliseconds");
    for ((n, k, t), calls) in longest {
        for (kind, time) in calls {
            println!("  {n} {k} {t}   {:7.2}  {kind}", time.as_secs_f64() * 1e3);
        }
    }
}

/// The same calls come in every repetition: what else the machine did in one of them does not count.
fn longest_calls(all: &[Spent]) -> BTreeMap<&'static str, Duration> {
    let mut longest = BTreeMap::new();
    let calls = all.iter().map(|spent| spent.calls.len()).min().unwrap_or(0);
    for call in 0..calls {
        let times = all.iter().filter_map(|spent| spent.calls.get(call));
        if let Some((kind, time)) = times.min_by_key(|(_, time)| *time) {
            let of_kind: &mut Duration = longest.entry(*kind).or_default();
            *of_kind = (*of_kind).max(*time);
        }
    }
    longest
}

/// Time that this thread has had a processor: other processes do not count. Linux only; its resolution is a tick of the
/// scheduler, which the thousands of calls of a batch even out.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0))
}

impl Spent {
    fn timed<T>(&mut self, kind: &'static str, call: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let value = call();
        self.calls.push((kind, begun.elapsed()));
        value
    }

    /// All that follows from an input, or from what a member was made with.
    fn drive(
        &mut self,
        member: &mut Participant,
        input: Option<(&'static str, Input<'_>)>,
        rng: &mut ChaCha20Rng,
        slices: &'static str,
    ) -> Vec<Output> {
        let mut out = Vec::new();
        if let Some((kind, input)) = input {
            out.extend(self.timed(kind, || member.handle(input, rng)).unwrap_or_default());
        }
        while member.has_work() {
            out.extend(self.timed(slices, || member.handle(Input::Continue(SLICE), rng)).unwrap_or_default());
        }
        out
    }
}

fn batch(sizes: Sizes) -> Spent {
    let mut spent = Spent::default();
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut members = Vec::new();
    let mut queue = Vec::new();
    let mut readies: Vec<(Index, Digest)> = Vec::new();
    let mut promise = None;
    for me in sizes.members() {
        let Ok(run) = Run::new([1; 32], sizes, me, BATCH, Heap::pool()) else { return spent };
        let start = cpu_time();
        let dealt = spent.timed("deal: the polynomials", || Participant::deal(run, &mut rng));
        let Ok(mut member) = dealt else { return spent };
        let out = spent.drive(&mut member, None, &mut rng, "deal: a slice");
        spent.dealing += cpu_time().saturating_sub(start);
        members.push(member);
        take(me, out, &mut queue, &mut readies, &mut promise);
    }
    let mut next = 0;
    while let Some(message) = queue.get_mut(next) {
        let body = core::mem::take(&mut message.body);
        let Message { from, to, dealer, kind, digest, .. } = *message;
        next += 1;
        let input = Input::Message { from, dealer, kind, digest, body: &body };
        let Some(member) = members.get_mut(to.slot()) else { continue };
        let start = cpu_time();
        let (taken, slices) = match kind {
            Kind::Send => ("Send: taken", "Send: a slice"),
            _ => ("Echo, Ready: taken", "Echo, Ready: a slice"),
        };
        let out = spent.drive(member, Some((taken, input)), &mut rng, slices);
        *(if kind == Kind::Send { &mut spent.sends } else { &mut spent.points }) += cpu_time().saturating_sub(start);
        take(to, out, &mut queue, &mut readies, &mut promise);
    }
    open(sizes, &mut members, &readies, &mut rng, &mut spent);
    if let Some((me, promise)) = promise {
        restart(sizes, me, &promise, &mut rng, &mut spent);
    }
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
        spent.drive(member, Some(("the set: taken", Input::Qualified(&set))), rng, "the set: a slice");
        let out = spent.drive(member, Some(("Sealed: publishes", Input::Sealed)), rng, "Sealed: a slice");
        spent.opening += cpu_time().saturating_sub(start);
        vectors.extend(out.into_iter().filter_map(|output| match output {
            Output::Publish(body) => Some((me, body)),
            _ => None,
        }));
    }
    let mut finished: Vec<PublishedKeys> = Vec::new();
    for (member, me) in members.iter_mut().zip(sizes.members()) {
        let start = cpu_time();
        // Odd members first, so that the sets are not consecutive.
        let odd_first = vectors.iter().filter(|(i, _)| i.get() % 2 == 1).chain(vectors.iter());
        for (from, body) in odd_first.filter(|(from, _)| *from != me) {
            let input = Input::Vector { from: *from, body };
            let out = spent.drive(member, Some(("vector: taken", input)), rng, "vector, keys: a slice");
            finished.extend(out.into_iter().filter_map(|output| match output {
                Output::Keys(keys) => Some(keys),
                _ => None,
            }));
        }
        spent.opening += cpu_time().saturating_sub(start);
    }
    assert_eq!(finished.len(), sizes.n(), "every member derives the keys");
    let bytes = finished.first().map(PublishedKeys::to_bytes).unwrap_or_default();
    if let Ok(mut reader) = KeysReader::new(sizes, BATCH.into(), bytes) {
        while matches!(spent.timed("certified keys: a slice", || reader.read(&mut Budget::new(SLICE))), Ok(None)) {}
    }
}

/// What a member does with a promise that it finds after a restart.
fn restart(sizes: Sizes, me: Index, promise: &Promise, rng: &mut ChaCha20Rng, spent: &mut Spent) {
    let Ok(run) = Run::new([1; 32], sizes, me, BATCH, Heap::pool()) else { return };
    let Ok(rows) = SecretBytes::copy_of(run.pool(), promise.rows().as_slice()) else { return };
    let matrix = promise.matrix().to_vec();
    let Ok(mut reader) = torus_protocol::PromiseReader::new(&run, promise.dealer(), promise.digest(), rows, matrix)
    else {
        return;
    };
    loop {
        match spent.timed("a stored promise: a slice", || reader.read(&mut Budget::new(SLICE))) {
            Ok(None) => {}
            Ok(Some(promise)) => {
                let mut member = Participant::resume(run, vec![promise]);
                spent.drive(&mut member, None, rng, "a promise repeated: a slice");
                return;
            }
            Err(_) => return,
        }
    }
}

fn take(
    me: Index,
    out: Vec<Output>,
    queue: &mut Vec<Message>,
    readies: &mut Vec<(Index, Digest)>,
    kept: &mut Option<(Index, Promise)>,
) {
    for output in out {
        match output {
            Output::Send { to, dealer, kind, digest, body } => {
                let mut text = vec![0; body.len()];
                body.write(&mut text);
                queue.push(Message { from: me, to, dealer, kind, digest, body: text });
            }
            Output::SignReady { dealer, digest } => readies.push((dealer, digest)),
            Output::Persist(Record::Promise(promise)) => *kept = Some((me, promise)),
            _ => {}
        }
    }
}
