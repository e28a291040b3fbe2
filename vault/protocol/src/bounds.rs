//! How much one call does, in units of work, in a batch of the usual size among nine: at most its allowance and the
//! piece that uses it up. And how much memory a member's secrets take: at most the room that a run says.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use k256::{ProjectivePoint, Scalar};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use torus_memory::{Heap, Pool};
use torus_sharing::{Budget, Digest, HandOverSet, Index, Point, PublishedKey, PublishedKeys, QualifiedSet, Sizes};

use crate::participant::{Participant, SLICE};
use crate::secret::SecretBytes;
use crate::{HandOver, Input, Kind, Output, Run};

/// The longest piece: the check of one vector.
const PIECE: usize = 64 * 128 + 1;

struct Message {
    from: Index,
    to: Index,
    dealer: Index,
    kind: Kind,
    digest: Digest,
    body: Vec<u8>,
}

fn post(from: Index, out: Vec<Output>, queue: &mut VecDeque<Message>) {
    for output in out {
        if let Output::Send { to, dealer, kind, digest, body } = output {
            let mut bytes = vec![0; body.len()];
            body.write(&mut bytes);
            queue.push_back(Message { from, to, dealer, kind, digest, body: bytes });
        }
    }
}

/// One member, and what its calls took.
struct Measured {
    member: Participant,
    calls: usize,
    longest: usize,
    sum: usize,
    memory: &'static Heap,
    room: usize,
}

impl Measured {
    fn answer(&mut self, input: Option<Input<'_>>, rng: &mut ChaCha20Rng) -> Vec<Output> {
        let mut out = input.map_or_else(Vec::new, |input| self.member.handle(input, rng).unwrap());
        while self.member.has_work() {
            let mut budget = Budget::new(SLICE);
            out.extend(self.member.go_on(&mut budget, rng).unwrap());
            self.calls += 1;
            self.longest = self.longest.max(budget.spent());
            self.sum += budget.spent();
        }
        out
    }
}

#[test]
fn no_call_of_a_batch_of_128_among_nine_does_more_than_its_slice_and_one_piece() {
    let sizes = Sizes::new(9, 5, 2).unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let mut queue: VecDeque<Message> = VecDeque::new();
    let (mut digests, mut members) = (Vec::new(), Vec::new());
    for me in sizes.members() {
        let memory: &'static Heap = Box::leak(Box::new(Heap::part(usize::MAX)));
        let run = Run::new([1; 32], sizes, me, 128, Pool::new(memory)).unwrap();
        let member = Participant::deal(run, &mut rng).unwrap();
        let mut measured = Measured { member, calls: 0, longest: 0, sum: 0, memory, room: run.room() };
        let out = measured.answer(None, &mut rng);
        assert!(measured.calls > 40, "a dealing in {} calls", measured.calls);
        members.push(measured);
        post(me, out, &mut queue);
        digests.push((me, queue.back().unwrap().digest));
    }
    // Member 9 gets nothing of dealer 1, and wrong points of members 2 and 5 in his dealing: it has to search.
    while let Some(mut message) = queue.pop_front() {
        let Message { from, to, dealer, kind, digest, .. } = message;
        if (to.get(), dealer.get()) == (9, 1) {
            if kind == Kind::Send {
                continue;
            }
            if [2, 5].contains(&from.get()) && matches!(kind, Kind::Echo | Kind::Ready) {
                message.body[70] ^= 1;
            }
        }
        let input = Input::Message { from, dealer, kind, digest, body: &message.body };
        let out = members[to.slot()].answer(Some(input), &mut rng);
        post(to, out, &mut queue);
    }
    let set = QualifiedSet::new(sizes, &digests[..sizes.qualified()]).unwrap();
    let mut vectors = Vec::new();
    for (me, member) in sizes.members().zip(&mut members) {
        let out = member.answer(Some(Input::Qualified(&set)), &mut rng);
        assert!(out.iter().any(|output| matches!(output, Output::Seal(_))), "member {me} has all dealings");
        let out = member.answer(Some(Input::Sealed), &mut rng);
        vectors.extend(out.into_iter().filter_map(|output| match output {
            Output::Publish(body) => Some((me, body)),
            _ => None,
        }));
    }
    for (me, member) in sizes.members().zip(&mut members) {
        let mut keys = 0;
        for (from, body) in vectors.iter().rev().filter(|(from, _)| *from != me) {
            let out = member.answer(Some(Input::Vector { from: *from, body }), &mut rng);
            keys += out.iter().filter(|output| matches!(output, Output::Keys(_))).count();
        }
        assert_eq!(keys, 1, "member {me}");
        assert!(member.longest < SLICE + PIECE, "member {me}: {} units in one call", member.longest);
        // Nothing long goes uncounted: each dealing of others is read and summed, the own one committed.
        assert!(member.sum > 128 * 25 * (100 + 8 * 16), "member {me}: {} units in all", member.sum);
    }
    for (me, member) in sizes.members().zip(&members) {
        let peak = member.memory.peak();
        assert!(peak <= member.room, "member {me}: {peak} bytes of {}", member.room);
        assert!(peak > member.room / 4, "member {me}: the room is for much more than {peak} bytes");
    }
    assert!(members[8].sum > members[7].sum + 128 * 25 * 16, "the search is counted");
}

/// A batch goes over from nine to nine, of whom one gets nothing from one dealer and wrong points from two members.
#[test]
fn handing_a_batch_over_takes_no_more_than_its_room_and_its_slices() {
    let sizes = Sizes::new(9, 5, 2).unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(4);
    // One polynomial for all keys: what is measured does not depend on what they are.
    let at = |x: u8| (1..=5u64).rev().fold(Scalar::ZERO, |sum, c| sum * Scalar::from(u64::from(x)) + Scalar::from(c));
    let point = |x| Point::new(&(ProjectivePoint::GENERATOR * at(x))).unwrap();
    let key = PublishedKey { public: point(0), commitments: (1..=9).map(point).collect() };
    let old = PublishedKeys { keys: vec![key; 128] };
    let mut queue: VecDeque<Message> = VecDeque::new();
    let mut dealt = Vec::new();
    for dealer in sizes.members() {
        let memory: &'static Heap = Box::leak(Box::new(Heap::part(usize::MAX)));
        let run = Run::hand_over([1; 32], sizes, sizes, dealer, 128, Pool::new(memory)).unwrap();
        let bytes: [u8; 32] = at(dealer.get()).to_bytes().into();
        let shares = SecretBytes::copy_of(run.pool(), &bytes.repeat(128)).unwrap();
        let mut dealing = HandOver::new(run, &shares, &mut rng).unwrap();
        let mut calls = 0;
        while dealing.has_work() {
            post(dealer, dealing.go_on(SLICE).unwrap(), &mut queue);
            calls += 1;
        }
        assert!(calls > 40, "a dealing in {calls} calls");
        dealt.push((dealer, queue.back().unwrap().digest));
        let (peak, room) = (memory.peak(), run.room());
        assert!(peak <= room && peak > room / 2, "dealer {dealer}: {peak} bytes of {room}");
    }
    let mut members: Vec<Measured> = Vec::new();
    for me in sizes.members() {
        let memory: &'static Heap = Box::leak(Box::new(Heap::part(usize::MAX)));
        let run = Run::take_over([1; 32], sizes, sizes, me, 128, Pool::new(memory)).unwrap();
        let member = Participant::take_over(run, &old, None).unwrap();
        members.push(Measured { member, calls: 0, longest: 0, sum: 0, memory, room: run.room() });
    }
    while let Some(mut message) = queue.pop_front() {
        let Message { from, to, dealer, kind, digest, .. } = message;
        if (to.get(), dealer.get()) == (9, 1) {
            if kind == Kind::Send {
                continue;
            }
            if [2, 5].contains(&from.get()) && matches!(kind, Kind::Echo | Kind::Ready) {
                message.body[40] ^= 1;
            }
        }
        let input = match kind {
            Kind::Send => Input::Dealing { dealer, digest, body: &message.body },
            _ => Input::Message { from, dealer, kind, digest, body: &message.body },
        };
        let out = members[to.slot()].answer(Some(input), &mut rng);
        post(to, out, &mut queue);
    }
    let set = HandOverSet::new(sizes, &[0, 1, 2, 3, 5, 7, 8].map(|at| dealt[at])).unwrap();
    for (me, member) in sizes.members().zip(&mut members) {
        let mut out = member.answer(Some(Input::HandOver(&set)), &mut rng);
        out.extend(member.answer(Some(Input::Sealed), &mut rng));
        let keys = out.iter().filter(|output| matches!(output, Output::Keys(_))).count();
        assert_eq!(keys, 1, "member {me}");
        assert!(member.longest < SLICE + PIECE, "member {me}: {} units in one call", member.longest);
        let (peak, room) = (member.memory.peak(), member.room);
        assert!(peak <= room && peak > room / 4, "member {me}: {peak} bytes of {room}");
    }
    assert!(members[8].sum > members[7].sum + 128 * 25 * 16, "the search is counted");
}
