//! An honest run of key generation, which the body of `participant` bends.

use std::collections::{BTreeMap, VecDeque};
use std::sync::OnceLock;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use torus_memory::Heap;
use torus_protocol::{
    Digest, Index, Input, Kind, Output, Participant, PublishedKeys, QualifiedSet, Record, Run, SLICE,
};

use crate::kit;

/// Most pieces that the work of some hundred messages may come in.
const MAX_PIECES: usize = 4096;

/// A message to member 1.
#[derive(Clone)]
pub(crate) struct Packet {
    pub(crate) from: Index,
    pub(crate) dealer: Index,
    pub(crate) kind: Kind,
    pub(crate) digest: Digest,
    pub(crate) body: Vec<u8>,
}

/// A promise as member 1 stored it.
pub(crate) struct Stored {
    pub(crate) dealer: Index,
    pub(crate) digest: Digest,
    pub(crate) rows: Vec<u8>,
    pub(crate) matrix: Vec<u8>,
}

/// An honest run of (5,3,1) with one key, as member 1 saw it.
pub(crate) struct World {
    pub(crate) packets: Vec<Packet>,
    /// What the others answer if they are asked: the matrices, and the points of their readies again.
    pub(crate) answers: Vec<Packet>,
    pub(crate) qualified: QualifiedSet,
    pub(crate) vectors: Vec<(Index, Vec<u8>)>,
    pub(crate) keys: PublishedKeys,
    pub(crate) promises: Vec<Stored>,
}

/// A member's run.
pub(crate) fn run(member: u8) -> Run {
    Run::new([7; 32], kit::sizes(), kit::index(member), 1, Heap::pool()).unwrap()
}

/// A member's randomness.
pub(crate) fn rng(member: u8) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(u64::from(member))
}

/// The run, once.
pub(crate) fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(honest)
}

fn honest() -> World {
    let mut rngs: Vec<_> = (1..=5).map(rng).collect();
    let mut members = Vec::new();
    let mut queue = VecDeque::new();
    for member in 1..=5u8 {
        let rng = &mut rngs[usize::from(member) - 1];
        let mut participant = Participant::deal(run(member), rng).unwrap();
        queue.push_back((member, finished(&mut participant, rng)));
        members.push(participant);
    }
    let (mut packets, mut vectors, mut promises, mut keys) = (Vec::new(), Vec::new(), Vec::new(), None);
    let mut readies = BTreeMap::<Index, (Digest, usize)>::new();
    let mut qualified = None;
    loop {
        while let Some((by, outputs)) = queue.pop_front() {
            let from = kit::index(by);
            for output in outputs {
                let (to, input) = match output {
                    Output::Send { to, dealer, kind, digest, body } => {
                        let mut text = vec![0; body.len()];
                        body.write(&mut text);
                        let packet = Packet { from, dealer, kind, digest, body: text };
                        if to.get() == 1 {
                            packets.push(packet.clone());
                        }
                        (vec![to], Some(packet))
                    }
                    Output::SignReady { dealer, digest } => {
                        readies.entry(dealer).or_insert((digest, 0)).1 += 1;
                        continue;
                    }
                    Output::Persist(Record::Promise(promise)) if by == 1 => {
                        promises.push(Stored {
                            dealer: promise.dealer(),
                            digest: promise.digest(),
                            rows: promise.rows().as_slice().to_vec(),
                            matrix: promise.matrix().to_vec(),
                        });
                        continue;
                    }
                    Output::Seal(_) => (vec![from], None),
                    Output::Publish(bytes) => {
                        vectors.push((from, bytes));
                        continue;
                    }
                    Output::Keys(found) => {
                        assert!(keys.as_ref().is_none_or(|known| *known == found));
                        keys = Some(found);
                        continue;
                    }
                    Output::Persist(_) | Output::Shared { .. } => continue,
                    Output::Fault { .. } | Output::DealerFault { .. } => panic!("an honest run has no fault"),
                };
                for to in to {
                    let input = input.as_ref().map_or(Input::Sealed, Packet::input);
                    let (member, rng) = (&mut members[to.slot()], &mut rngs[to.slot()]);
                    let mut outputs = member.handle(input, rng).unwrap();
                    outputs.extend(finished(member, rng));
                    queue.push_back((to.get(), outputs));
                }
            }
        }
        let Some(fixed) = &qualified else {
            let complete = readies.iter().filter(|(_, (_, count))| *count == 5);
            let dealings: Vec<_> = complete.map(|(dealer, (digest, _))| (*dealer, *digest)).take(4).collect();
            let set = QualifiedSet::new(kit::sizes(), &dealings).expect("all dealings are complete");
            for member in kit::sizes().members() {
                let (participant, rng) = (&mut members[member.slot()], &mut rngs[member.slot()]);
                let mut outputs = participant.handle(Input::Qualified(&set), rng).unwrap();
                outputs.extend(finished(participant, rng));
                queue.push_back((member.get(), outputs));
            }
            qualified = Some(set);
            continue;
        };
        if let Some(keys) = keys {
            let answers = answers(&packets, &promises);
            return World { packets, answers, qualified: fixed.clone(), vectors, keys, promises };
        }
        let mut outputs = Vec::new();
        vectors.retain(|(from, _)| from.get() != 1);
        for (from, body) in &vectors {
            outputs.extend(members[0].handle(Input::Vector { from: *from, body }, &mut rngs[0]).unwrap());
        }
        outputs.extend(finished(&mut members[0], &mut rngs[0]));
        queue.push_back((1, outputs));
    }
}

/// What comes of all work that is under way.
pub(crate) fn finished(participant: &mut Participant, rng: &mut ChaCha20Rng) -> Vec<Output> {
    let mut outputs = Vec::new();
    for _ in 0..MAX_PIECES {
        if !participant.has_work() {
            return outputs;
        }
        outputs.extend(participant.handle(Input::Continue(SLICE), rng).unwrap());
    }
    panic!("work without an end");
}

fn answers(packets: &[Packet], promises: &[Stored]) -> Vec<Packet> {
    let readies = packets.iter().filter(|packet| packet.kind == Kind::Ready);
    let answers = readies.flat_map(|ready| {
        let matrix = &promises.iter().find(|promise| promise.dealer == ready.dealer).expect("all were promised").matrix;
        let matrix = Packet { kind: Kind::Matrix, body: matrix.clone(), ..ready.clone() };
        [matrix, Packet { kind: Kind::Points, ..ready.clone() }]
    });
    answers.collect()
}

impl Packet {
    /// As the participant takes it.
    pub(crate) fn input(&self) -> Input<'_> {
        let Self { from, dealer, kind, digest, body } = self;
        Input::Message { from: *from, dealer: *dealer, kind: *kind, digest: *digest, body }
    }
}
