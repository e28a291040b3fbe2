//! What handing a batch over costs one member in CPU time, and how much of its pool it takes.
//!
//! `cargo run --release -p torus-protocol --example handover-cost`: every message passes through one process; the time of
//! each call is booked on the member that makes it, and the mean over members is printed per key. Who is in both
//! committees pays all columns.

use std::time::Duration;

use k256::elliptic_curve::{Field, PrimeField};
use k256::{ProjectivePoint, Scalar};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use torus_memory::{Heap, Pool};
use torus_protocol::{
    Digest, HandOver, HandOverSet, Index, Input, Kind, Output, Participant, PublishedKeys, Run, SLICE, SecretBytes,
    Sizes,
};
use torus_sharing::{Point, PublishedKey};

const BATCH: u16 = 128;
const REPETITIONS: usize = 3;
const BASE: Digest = [1; 32];

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
    taking: Duration,
    /// Bytes of the pool: least room that was left below what a run says, of a dealer and of a receiver.
    peaks: [(usize, usize); 2],
}

fn main() {
    println!("Hand-over, CPU time per key per member, B = {BATCH}, microseconds; pool in KiB (of the room)");
    println!("  from    to      dealing  verification (rows + points)  taking     sum   dealer's, receiver's pool");
    let sizes = |n: u8, t| Sizes::new(n, n / 2 + 1, t);
    for (old, new) in [((5, 1), (5, 1)), ((9, 2), (9, 2)), ((5, 1), (9, 2)), ((9, 2), (5, 1))] {
        let (Ok(old), Ok(new)) = (sizes(old.0, old.1), sizes(new.0, new.1)) else { continue };
        let all: Vec<Spent> = (0..REPETITIONS).map(|_| hand_over(old, new)).collect();
        let least = |members: usize, time: fn(&Spent) -> Duration| {
            let least = all.iter().map(time).min().unwrap_or_default();
            least.as_secs_f64() * 1e6 / f64::from(BATCH) / members as f64
        };
        let dealing = least(old.n(), |s| s.dealing);
        let (sends, points) = (least(new.n(), |s| s.sends), least(new.n(), |s| s.points));
        let taking = least(new.n(), |s| s.taking);
        let pool = |at: usize| {
            let (peak, room) = all.iter().filter_map(|spent| spent.peaks.get(at)).max().copied().unwrap_or_default();
            format!("{} ({})", peak >> 10, room >> 10)
        };
        println!(
            "  {} {} {}   {} {} {}   {dealing:7.0}  {:7.0} ({sends:7.0} + {points:6.0})   {taking:7.0} {:7.0}   {}, {}",
            old.n(),
            old.k(),
            old.t(),
            new.n(),
            new.k(),
            new.t(),
            sends + points,
            dealing + sends + points + taking,
            pool(0),
            pool(1),
        );
    }
}

/// Time that this thread has had a processor: other processes do not count. Linux only.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0))
}

/// Memory of its own for one member, never given back.
fn memory() -> &'static Heap {
    Box::leak(Box::new(Heap::part(usize::MAX)))
}

/// Keys of the old committee, and its members' shares as bytes.
fn keys(old: Sizes, rng: &mut ChaCha20Rng) -> (PublishedKeys, Vec<Vec<u8>>) {
    let mut shares = vec![Vec::new(); old.n()];
    let point = |scalar: &Scalar| Point::new(&(ProjectivePoint::GENERATOR * scalar));
    let mut keys = Vec::new();
    for _ in 0..BATCH {
        let polynomial: Vec<Scalar> = (0..old.k()).map(|_| Scalar::random(&mut *rng)).collect();
        let at = |x: u8| {
            let x = Scalar::from(u64::from(x));
            polynomial.iter().rev().fold(Scalar::ZERO, |sum, coefficient| sum * x + coefficient)
        };
        let values: Vec<Scalar> = old.members().map(|member| at(member.get())).collect();
        for (of, value) in shares.iter_mut().zip(&values) {
            of.extend_from_slice(&value.to_repr());
        }
        let commitments = values.iter().filter_map(|value| point(value).ok()).collect();
        let Ok(public) = point(&at(0)) else { continue };
        keys.push(PublishedKey { public, commitments });
    }
    (PublishedKeys { keys }, shares)
}

fn hand_over(old: Sizes, new: Sizes) -> Spent {
    let mut spent = Spent::default();
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let (keys, shares) = keys(old, &mut rng);
    let (mut queue, mut dealt) = (Vec::new(), Vec::new());
    for (dealer, shares) in old.members().zip(&shares) {
        let memory = memory();
        let Ok(run) = Run::hand_over(BASE, old, new, dealer, BATCH, Pool::new(memory)) else { continue };
        let Ok(shares) = SecretBytes::copy_of(run.pool(), shares) else { continue };
        let start = cpu_time();
        let Ok(mut dealing) = HandOver::new(run, &shares, &mut rng) else { continue };
        let mut out = Vec::new();
        while dealing.has_work() {
            out.extend(dealing.go_on(SLICE).unwrap_or_default());
        }
        spent.dealing += cpu_time().saturating_sub(start);
        spent.peaks[0] = spent.peaks[0].max((memory.peak(), run.room()));
        post(dealer, out, &mut queue);
        dealt.extend(queue.last().map(|message: &Message| (dealer, message.digest)));
    }
    let mut members: Vec<(Participant, &'static Heap, usize)> = Vec::new();
    for me in new.members() {
        let memory = memory();
        let Ok(run) = Run::take_over(BASE, old, new, me, BATCH, Pool::new(memory)) else { continue };
        let Ok(member) = Participant::take_over(run, &keys, None) else { continue };
        members.push((member, memory, run.room()));
    }
    let mut next = 0;
    while let Some(message) = queue.get_mut(next) {
        let body = core::mem::take(&mut message.body);
        let Message { from, to, dealer, kind, digest, .. } = *message;
        next += 1;
        let input = match kind {
            Kind::Send => Input::Dealing { dealer, digest, body: &body },
            _ => Input::Message { from, dealer, kind, digest, body: &body },
        };
        let Some((member, ..)) = members.get_mut(to.slot()) else { continue };
        let start = cpu_time();
        let out = drive(member, input, &mut rng);
        *(if kind == Kind::Send { &mut spent.sends } else { &mut spent.points }) += cpu_time().saturating_sub(start);
        post(to, out, &mut queue);
    }
    // Not consecutive: the dearer case of the interpolation.
    dealt.remove(1);
    dealt.truncate(HandOverSet::size(old));
    let Ok(set) = HandOverSet::new(old, &dealt) else { return spent };
    let mut finished = 0;
    for (member, memory, room) in &mut members {
        let start = cpu_time();
        let mut out = drive(member, Input::HandOver(&set), &mut rng);
        out.extend(drive(member, Input::Sealed, &mut rng));
        spent.taking += cpu_time().saturating_sub(start);
        finished += out.iter().filter(|output| matches!(output, Output::Keys(_))).count();
        spent.peaks[1] = spent.peaks[1].max((memory.peak(), *room));
    }
    assert_eq!(finished, new.n(), "every member takes the batch over");
    spent
}

/// All that follows from an input.
fn drive(member: &mut Participant, input: Input<'_>, rng: &mut ChaCha20Rng) -> Vec<Output> {
    let mut out = member.handle(input, rng).unwrap_or_default();
    while member.has_work() {
        out.extend(member.handle(Input::Continue(SLICE), rng).unwrap_or_default());
    }
    out
}

fn post(from: Index, out: Vec<Output>, queue: &mut Vec<Message>) {
    for output in out {
        if let Output::Send { to, dealer, kind, digest, body } = output {
            let mut text = vec![0; body.len()];
            body.write(&mut text);
            queue.push(Message { from, to, dealer, kind, digest, body: text });
        }
    }
}
