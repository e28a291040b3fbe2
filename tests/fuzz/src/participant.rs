//! What vaults send each other, opened: a participant of key generation gets messages of an honest run, bent and out of
//! order, and invented ones. Whatever it gets, it deals, echoes and promises once, nothing leaves before its record, it
//! ends with the honest run's shares and keys or with none, and blames nobody who sent what he should.

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::ChaCha20Rng;
use torus_memory::Heap;
use torus_protocol::{
    Digest, Index, Input, Kind, Output, Participant, Promise, QualifiedSet, Reason, Record, SecretBytes,
};
use torus_sharing::ShareVector;

use crate::honest::{Packet, finished, rng, run, world};
use crate::{Target, kit};

/// The first byte: 1 from stored promises, else from the beginning; with 2 work is left until a step goes on with it.
/// Then steps, see [`Script`].
pub const TARGET: Target = Target { name: "participant", body, seeds, memory: (4 << 20, 4096) };

/// Most messages of one run: an honest one has 44 for a member.
const MAX_STEPS: usize = 160;

/// Steps read from the input: a byte that selects one, and its arguments.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn slice(&mut self, length: usize) -> &[u8] {
        let (slice, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        slice
    }

    /// One of a list.
    fn pick<'b, T>(&mut self, list: &'b [T]) -> Option<&'b T> {
        list.get(usize::from(self.byte()?) % list.len().max(1))
    }

    /// A member or one stranger.
    fn member(&mut self) -> Option<Index> {
        Some(kit::index(1 + self.byte()? % 6))
    }

    fn kind(&mut self) -> Option<Kind> {
        Kind::from_byte(1 + self.byte()? % 6)
    }

    /// A dealing's digest, or one that nobody made.
    fn digest(&mut self) -> Option<Digest> {
        let byte = self.byte()?;
        let known = world().promises.get(usize::from(byte)).map(|promise| promise.digest);
        Some(known.unwrap_or([byte; 32]))
    }

    /// Changes one byte of some bytes, if it is told to.
    fn bend(&mut self, bytes: &mut [u8]) -> Option<()> {
        let place = usize::from(self.byte()?) << 8 | usize::from(self.byte()?);
        let change = self.byte()?;
        if let Some(length) = bytes.len().checked_sub(1) {
            bytes[place % (length + 1)] ^= change;
        }
        Some(())
    }
}

fn body(data: &[u8]) -> bool {
    let Some((first, rest)) = data.split_first() else { return false };
    let mut script = Script(rest);
    let mut watch = Watch::start(first & 1 == 1, first & 2 == 2, &mut script);
    let mut next = 0;
    while watch.steps < MAX_STEPS && step(&mut script, &mut watch, &mut next).is_some() {}
    watch.finish();
    assert_ne!(watch.dealt, first & 1 == 1, "whoever begins deals once, whoever comes back never");
    watch.keys
}

fn step(script: &mut Script<'_>, watch: &mut Watch, next: &mut usize) -> Option<()> {
    let world = world();
    match script.byte()? % 12 {
        0 => watch.deliver(script.pick(&world.packets)?.clone()),
        1 => {
            let mut packet = script.pick(&world.packets)?.clone();
            script.bend(&mut packet.body)?;
            watch.deliver(packet);
        }
        2 => {
            let body = script.pick(&world.packets)?.body.clone();
            let (from, dealer, kind, digest) = (script.member()?, script.member()?, script.kind()?, script.digest()?);
            watch.deliver(Packet { from, dealer, kind, digest, body });
        }
        3 => {
            let (from, dealer, kind, digest) = (script.member()?, script.member()?, script.kind()?, script.digest()?);
            let length = usize::from(script.byte()?);
            watch.deliver(Packet { from, dealer, kind, digest, body: script.slice(length).to_vec() });
        }
        4 => {
            let mut dealings = world.qualified.dealings().to_vec();
            let (place, change) = (usize::from(script.byte()?) % dealings.len(), script.byte()?);
            dealings[place].1[0] ^= change;
            let set = QualifiedSet::new(kit::sizes(), &dealings).unwrap();
            watch.handle(Input::Qualified(&set));
        }
        // Only a vault that was told to seal says that it has.
        5 if watch.sealing => {
            watch.sealed = true;
            watch.handle(Input::Sealed);
        }
        5 => {}
        6 => {
            let (from, mut body) = script.pick(&world.vectors)?.clone();
            let honest = body.clone();
            script.bend(&mut body)?;
            if body != honest {
                watch.bent.insert(from);
            }
            watch.handle(Input::Vector { from, body: &body });
        }
        7 => watch.handle(Input::Keys(&world.keys)),
        8 => {
            for answer in world.answers.iter().take(usize::from(script.byte()?)) {
                watch.deliver(answer.clone());
            }
        }
        9 => {
            let units = usize::from(script.byte()?) << 4;
            watch.handle(Input::Continue(units));
        }
        10 => watch.finish(),
        _ => {
            for _ in 0..script.byte()? {
                let Some(packet) = world.packets.get(*next) else { break };
                watch.deliver(packet.clone());
                *next += 1;
            }
        }
    }
    Some(())
}

/// Member 1, and what may never come of it.
struct Watch {
    participant: Participant,
    rng: ChaCha20Rng,
    steps: usize,
    /// Work waits for a step that goes on with it.
    leaves: bool,
    /// Who sent something else than in the honest run.
    bent: BTreeSet<Index>,
    dealt: bool,
    echoed: BTreeMap<Index, Digest>,
    promised: BTreeMap<Index, Digest>,
    ready: BTreeSet<Index>,
    sealing: bool,
    sealed: bool,
    published: bool,
    keys: bool,
}

impl Watch {
    fn start(resumed: bool, leaves: bool, script: &mut Script<'_>) -> Self {
        let mut rng = rng(1);
        let mut promised = BTreeMap::new();
        let participant = if resumed {
            let stored = world().promises.iter().filter_map(|promise| {
                let (mut rows, mut matrix) = (promise.rows.clone(), promise.matrix.clone());
                match script.byte()? % 4 {
                    0 => return None,
                    1 => script.bend(&mut matrix)?,
                    2 => script.bend(&mut rows)?,
                    _ => {}
                }
                let honest = matrix == promise.matrix;
                let rows = SecretBytes::copy_of(Heap::pool(), &rows).ok()?;
                let parsed = Promise::parse(&run(1), promise.dealer, promise.digest, rows, &matrix).ok()?;
                assert!(honest, "another matrix under the same digest");
                promised.insert(promise.dealer, promise.digest);
                Some(parsed)
            });
            // Rows at rest are authenticated: those that were bent have no place here.
            let stored: Vec<_> = stored.filter(honest_rows).collect();
            promised.retain(|dealer, _| stored.iter().any(|promise| promise.dealer() == *dealer));
            Participant::resume(run(1), stored)
        } else {
            Participant::deal(run(1), &mut rng).unwrap()
        };
        let mut watch = Self {
            participant,
            rng,
            steps: 0,
            leaves,
            bent: BTreeSet::new(),
            dealt: false,
            echoed: BTreeMap::new(),
            promised,
            ready: BTreeSet::new(),
            sealing: false,
            sealed: false,
            published: false,
            keys: false,
        };
        if !leaves {
            watch.finish();
        }
        watch
    }

    fn deliver(&mut self, packet: Packet) {
        let same = |known: &Packet| {
            (known.from, known.dealer, known.kind, known.digest)
                == (packet.from, packet.dealer, packet.kind, packet.digest)
                && known.body == packet.body
        };
        if !world().packets.iter().chain(&world().answers).any(same) {
            self.bent.insert(packet.from);
        }
        self.handle(packet.input());
    }

    fn handle(&mut self, input: Input<'_>) {
        self.steps += 1;
        let outputs = self.participant.handle(input, &mut self.rng).unwrap();
        self.check(outputs);
        if !self.leaves {
            self.finish();
        }
    }

    fn finish(&mut self) {
        let outputs = finished(&mut self.participant, &mut self.rng);
        self.check(outputs);
    }

    fn check(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Persist(Record::Dealt) => assert!(!std::mem::replace(&mut self.dealt, true)),
                Output::Persist(Record::Echoed { dealer, digest }) => {
                    assert_eq!(self.echoed.insert(dealer, digest), None, "a second echo");
                }
                Output::Persist(Record::Promise(promise)) => {
                    assert!(honest_rows(&promise), "other rows than were dealt");
                    assert_eq!(self.promised.insert(promise.dealer(), promise.digest()), None, "a second promise");
                }
                Output::Send { to, dealer, kind, digest, .. } => self.sent(to, dealer, kind, digest),
                Output::SignReady { dealer, digest } => {
                    assert_eq!(self.promised.get(&dealer), Some(&digest), "ready without a promise");
                    assert!(self.ready.insert(dealer), "ready twice");
                }
                Output::Shared { dealer, digest } => assert_eq!(self.promised.get(&dealer), Some(&digest)),
                Output::Seal(shares) => {
                    assert!(!std::mem::replace(&mut self.sealing, true), "sealed twice");
                    let own: Vec<_> = world().keys.of(kit::index(1)).flatten().copied().collect();
                    assert_eq!(shares.commitments, own, "another share");
                    assert_eq!(shares.scalars.len(), 1);
                }
                Output::Publish(bytes) => {
                    assert!(self.sealed && !std::mem::replace(&mut self.published, true));
                    let vector = ShareVector::parse(1, &bytes).expect("what it publishes has a form");
                    let own: Vec<_> = world().keys.of(kit::index(1)).flatten().copied().collect();
                    assert_eq!(vector.points, own);
                }
                Output::Keys(keys) => {
                    assert!(keys == world().keys, "other keys");
                    self.keys = true;
                }
                Output::Fault { from, reason } => self.blamed(from, reason),
                Output::DealerFault { .. } => panic!("no other committee deals here"),
            }
        }
    }

    fn sent(&self, to: Index, dealer: Index, kind: Kind, digest: Digest) {
        assert_ne!(to.get(), 1);
        match kind {
            Kind::Send => assert!(self.dealt && dealer.get() == 1),
            Kind::Echo => assert_eq!(self.echoed.get(&dealer), Some(&digest), "an echo before its record"),
            Kind::Ready => assert_eq!(self.promised.get(&dealer), Some(&digest), "a ready before its record"),
            Kind::Need | Kind::Matrix | Kind::Points => {}
        }
    }

    fn blamed(&self, from: Index, reason: Reason) {
        match reason {
            Reason::SecondQualified => assert_eq!(from.get(), 1),
            // This vault's own fault, and never one here: certified keys are the honest ones.
            Reason::OwnSharesDiffer | Reason::Unopenable => panic!("{reason}"),
            // Asking again and answering late is nobody's crime, and counted all the same.
            Reason::Unasked | Reason::Flood => {}
            _ => assert!(self.bent.contains(&from), "member {} is blamed: {reason}", from.get()),
        }
    }
}

/// Whether a promise of an honest dealing holds the rows that were dealt.
fn honest_rows(promise: &Promise) -> bool {
    let stored = world().promises.iter().find(|stored| stored.dealer == promise.dealer());
    stored.is_some_and(|stored| {
        stored.digest == promise.digest()
            && stored.rows == promise.rows().as_slice()
            && stored.matrix == promise.matrix()
    })
}

fn seeds() -> Vec<Vec<u8>> {
    let qualified = [4, 0, 0];
    let vectors = [5, 6, 0, 0, 0, 0, 6, 1, 0, 0, 0, 6, 2, 0, 0, 0];
    let end = [&qualified[..], &vectors].concat();
    let packets = 0..world().packets.len() as u8;
    let echo = world().packets.iter().position(|packet| packet.kind == Kind::Echo).expect("members echo") as u8;
    let one_by_one: Vec<u8> = packets.clone().flat_map(|packet| [0, packet]).collect();
    let backwards: Vec<u8> = packets.rev().flat_map(|packet| [0, packet]).collect();
    vec![
        [&[0, 11, 255][..], &end].concat(),
        [&[0][..], &one_by_one, &end].concat(),
        [&[0][..], &backwards, &end].concat(),
        // Everything at once, then all of its work; and piece by piece.
        [&[2, 11, 255, 4, 0, 0, 10][..], &vectors].concat(),
        [&[2, 9, 255, 11, 9, 9, 40, 9, 1, 11, 255, 9, 200, 4, 0, 0, 9, 255, 10][..], &vectors].concat(),
        // One bent message, two that say something else, and the honest rest.
        [&[0, 1, echo, 0, 9, 1, 2, 3, 4, 1, 4, 0, 3, 2, 2, 3, 9, 4, 1, 2, 3, 4, 11, 255][..], &end].concat(),
        // After a restart: with all promises; with one lost, so that the others are asked; when the keys are certified.
        [&[1, 3, 3, 3, 3, 3, 11, 255][..], &end].concat(),
        [&[1, 0, 3, 3, 3, 3, 11, 255][..], &qualified, &[8, 255], &vectors].concat(),
        [&[1, 3, 3, 3, 3, 3, 7][..], &end].concat(),
    ]
}
