//! Work in pieces: where the pieces end, and what comes between them, changes nothing but the moment.

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use torus_memory::Heap;
use torus_protocol::{Index, Input, Kind, Output, Participant, QualifiedSet, Record, Run, Sizes};

use crate::net::{BASE, Packet, answer, dealt, index, plain};

const KEYS: u16 = 2;

fn run(me: usize) -> Run {
    Run::new(BASE, Sizes::new(5, 3, 1).unwrap(), index(me), KEYS, Heap::pool()).unwrap()
}

/// What a member is given in a batch that all make together, in order.
enum Given {
    Packet(Packet),
    Qualified(QualifiedSet),
    Vector(Index, Vec<u8>),
}

impl Given {
    fn input(&self) -> Input<'_> {
        match self {
            Self::Packet(p) => {
                Input::Message { from: p.from, dealer: p.dealer, kind: p.kind, digest: p.digest, body: &p.body }
            }
            Self::Qualified(set) => Input::Qualified(set),
            Self::Vector(from, body) => Input::Vector { from: *from, body },
        }
    }
}

/// An output as it could be told apart: everything but the types.
fn text(output: &Output) -> String {
    match output {
        Output::Persist(Record::Dealt) => "dealt".into(),
        Output::Persist(Record::Echoed { dealer, digest }) => format!("echoed {dealer} {}", hex::encode(digest)),
        Output::Persist(Record::Promise(promise)) => {
            format!("promise {} {}", promise.dealer(), hex::encode(promise.rows().as_slice()))
        }
        Output::Send { to, dealer, kind, digest, body } => {
            format!("send {to} {dealer} {kind:?} {} {}", hex::encode(digest), hex::encode(plain(body)))
        }
        Output::SignReady { dealer, digest } => format!("sign {dealer} {}", hex::encode(digest)),
        Output::Shared { dealer, digest } => format!("shared {dealer} {}", hex::encode(digest)),
        Output::Seal(shares) => {
            let mut bytes = [0; 32];
            let shares = (0..shares.scalars.len()).map(|b| {
                assert!(shares.scalars.write(b, &mut bytes));
                hex::encode(bytes)
            });
            format!("seal {}", shares.collect::<Vec<_>>().join(" "))
        }
        Output::Publish(bytes) => format!("publish {}", hex::encode(bytes)),
        Output::Keys(keys) => format!("keys {}", hex::encode(keys.digest())),
        Output::Fault { from, reason } => format!("fault {from} {reason}"),
        Output::DealerFault { dealer, reason } => format!("dealer fault {dealer} {reason}"),
    }
}

/// A whole batch of which member 1's part is noted: one dealing never reaches it, one echo of another is wrong, and one
/// vector is somebody else's, so that it has everything to do that there is.
fn script() -> Vec<Given> {
    let sizes = Sizes::new(5, 3, 1).unwrap();
    let mut rngs: Vec<ChaCha20Rng> = (1..=5).map(ChaCha20Rng::seed_from_u64).collect();
    let (mut members, mut queue, mut digests) = (Vec::new(), Vec::new(), Vec::new());
    fn post(from: usize, out: Vec<Output>, queue: &mut Vec<Packet>) {
        for output in out {
            if let Output::Send { to, dealer, kind, digest, body } = output {
                queue.push(Packet { from: index(from), to, dealer, kind, digest, body: plain(&body) });
            }
        }
    }
    for me in 1..=5 {
        let (member, out) = dealt(run(me), &mut rngs[me - 1]);
        members.push(member);
        post(me, out, &mut queue);
        digests.push((index(me), queue.last().unwrap().digest));
    }
    let (mut given, mut next) = (Vec::new(), 0);
    while let Some(mut packet) = queue.get(next).cloned() {
        next += 1;
        let (to, from, dealer) = (packet.to.get(), packet.from.get(), packet.dealer.get());
        if to == 1 && dealer == 2 && packet.kind == Kind::Send {
            continue;
        }
        if to == 1 && dealer == 2 && from == 4 {
            packet.body[64] ^= 1;
        }
        let at = packet.to.slot();
        let given_now = Given::Packet(packet);
        let out = answer(&mut members[at], given_now.input(), &mut rngs[at]);
        post(at + 1, out, &mut queue);
        if to == 1 {
            given.push(given_now);
        }
    }
    let set = QualifiedSet::new(sizes, &digests[..4]).unwrap();
    given.push(Given::Qualified(set.clone()));
    let mut vectors = Vec::new();
    for me in 2..=5 {
        let out = answer(&mut members[me - 1], Input::Qualified(&set), &mut rngs[me - 1]);
        assert!(out.iter().any(|output| matches!(output, Output::Seal(_))));
        let out = answer(&mut members[me - 1], Input::Sealed, &mut rngs[me - 1]);
        vectors.extend(out.into_iter().find_map(|output| match output {
            Output::Publish(body) => Some(body),
            _ => None,
        }));
    }
    vectors.swap(0, 1);
    given.extend((2..).zip(vectors).map(|(from, body)| Given::Vector(index(from), body)));
    given
}

/// Member 1 given all of it, with so many units after each input (none: the inputs wait), and to the end at the end.
fn told(given: &[Given], units: &[usize]) -> Vec<String> {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut member = Participant::deal(run(1), &mut rng).unwrap();
    let mut told = Vec::new();
    let mut note = |member: &mut Participant, rng: &mut ChaCha20Rng, out: Vec<Output>| {
        let mut rest = std::collections::VecDeque::from(out);
        while let Some(output) = rest.pop_front() {
            told.push(text(&output));
            if matches!(output, Output::Seal(_)) {
                rest.extend(member.handle(Input::Sealed, rng).unwrap());
            }
        }
    };
    for (given, units) in given.iter().zip(units.iter().cycle()) {
        if *units > 0 {
            let out = member.handle(Input::Continue(*units), &mut rng).unwrap();
            note(&mut member, &mut rng, out);
        }
        let out = member.handle(given.input(), &mut rng).unwrap();
        note(&mut member, &mut rng, out);
    }
    while member.has_work() {
        let out = member.handle(Input::Continue(units.iter().copied().max().unwrap().max(1)), &mut rng).unwrap();
        note(&mut member, &mut rng, out);
    }
    assert!(member.handle(Input::Continue(1000), &mut rng).unwrap().is_empty(), "without work nothing happens");
    told
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// All inputs come before the vectors' check, so that nothing of what member 1 says depends on the pieces: outputs
    /// are the same bytes in the same order. What is sealed while inputs wait is answered when they are through, which
    /// moves the end of the run only.
    #[test]
    fn wherever_the_pieces_end_the_same_bytes_leave_in_the_same_order(
        units in proptest::collection::vec(prop_oneof![Just(0usize), 1usize..64, 64usize..5000], 1..6),
    ) {
        let given = script();
        let whole = told(&given, &[usize::MAX]);
        prop_assert!(whole.iter().any(|line| line.starts_with("keys")));
        prop_assert!(whole.iter().any(|line| line.starts_with("fault 4")), "the wrong points were found");
        prop_assert!(whole.iter().filter(|line| line.starts_with("fault")).count() >= 3, "and the exchanged vectors");
        let pieces = told(&given, &units);
        prop_assert_eq!(whole, pieces);
    }
}

#[test]
fn a_dealing_leaves_when_it_is_whole_and_its_record_comes_first() {
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let mut member = Participant::deal(run(1), &mut rng).unwrap();
    let mut calls = 0;
    let out = loop {
        assert!(member.has_work());
        let out = member.handle(Input::Continue(1), &mut rng).unwrap();
        calls += 1;
        if !out.is_empty() {
            break out;
        }
    };
    assert!(calls > 3, "two keys took {calls} calls");
    assert!(matches!(out.first(), Some(Output::Persist(Record::Dealt))));
    assert_eq!(out.iter().filter(|output| matches!(output, Output::Send { kind: Kind::Send, .. })).count(), 4);
    assert!(!member.has_work());
}

#[test]
fn an_input_that_comes_while_there_is_work_waits_for_it() {
    let mut rng = ChaCha20Rng::seed_from_u64(8);
    let (_, out) = dealt(run(2), &mut rng);
    let send = out.into_iter().find_map(|output| match output {
        Output::Send { to, digest, body, .. } if to == index(1) => Some((digest, body)),
        _ => None,
    });
    let (digest, body) = send.unwrap();
    let mut member = Participant::deal(run(1), &mut rng).unwrap();
    let (from, dealer) = (index(2), index(2));
    let input = Input::Message { from, dealer, kind: Kind::Send, digest, body: &plain(&body) };
    assert!(member.handle(input, &mut rng).unwrap().is_empty());
    let own = member.handle(Input::Continue(usize::MAX), &mut rng).unwrap();
    assert!(matches!(own.first(), Some(Output::Persist(Record::Dealt))), "the own dealing first");
    assert!(member.has_work(), "the other's still waits");
    let echo = member.handle(Input::Continue(usize::MAX), &mut rng).unwrap();
    assert!(matches!(echo.first(), Some(Output::Persist(Record::Echoed { dealer, .. })) if *dealer == index(2)));
}
