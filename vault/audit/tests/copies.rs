//! Whatever is done to a copy is noticed, and the first record that it was done to is named.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use k256::ecdsa::SigningKey;
use k256::ecdsa::signature::hazmat::PrehashSigner;
use proptest::prelude::*;
use torus_audit::event::Checkpoint;
use torus_audit::verify::What;
use torus_audit::{
    Event, Fault, Found, Generation, KeyAct, Link, MAX_RECORD, Operator, Record, START, Standing, Verifier, WINDOW,
    copy, link,
};
use torus_statement::codec::Wire;
use torus_statement::dkg::Attempt;
use torus_statement::text::NetworkName;
use torus_statement::{Address, AuditHead, Index, Point, PublicKey, Signature, keccak256};

const CHAIN: [u8; 32] = [9; 32];

fn key(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).unwrap()
}

fn public(key: &SigningKey) -> PublicKey {
    Point::from_affine(*key.verifying_key().as_affine()).unwrap()
}

fn sign(key: &SigningKey, preimage: &[u8]) -> Signature {
    let signature: k256::ecdsa::Signature = key.sign_prehash(&keccak256(preimage)).unwrap();
    let signature = signature.normalize_s().unwrap_or(signature);
    Signature::from_bytes(&signature.to_bytes().into()).unwrap()
}

/// A vault that writes a log.
#[derive(Clone)]
struct Log {
    key: SigningKey,
    first: u64,
    before: Link,
    entries: Vec<(Vec<u8>, Link)>,
    start: u64,
}

impl Log {
    fn new() -> Self {
        Self { key: key(1), first: 0, before: START, entries: Vec::new(), start: 0 }
    }

    fn of(events: &[u8]) -> Self {
        let mut log = Self::new();
        log.append(Event::Start { start: 1, standing: Standing::Clean });
        log.start = 1;
        for event in events {
            log.happens(*event);
        }
        log.checkpoint(log.next());
        log
    }

    fn happens(&mut self, event: u8) {
        let event = match event % 10 {
            0 => Event::Commits { count: event.into(), digest: [event; 32] },
            1 => Event::Denials { since: 5, counts: vec![(1, event.into()), (40, 2)] },
            2 => Event::Lock { height: event.into(), round: 0, block: [event; 32] },
            3 => Event::Frozen { reason: "x".repeat(usize::from(event)) },
            4 => Event::Generation { attempt: Attempt { batch: event.into(), attempt: 0 }, step: Generation::Dealt(8) },
            5 => Event::Operator(Operator::Pruned { below: event.into() }),
            6 => return self.checkpoint(self.next()),
            // Signed while others wrote.
            7 => return self.checkpoint(self.next().saturating_sub(u64::from(event / 64)).max(self.first)),
            8 => {
                self.start += 1;
                Event::Start { start: self.start, standing: Standing::Unclean }
            }
            _ => Event::Release {
                epoch: 1,
                user: [event; 32],
                key: [1; 32],
                temporary: [event; 32],
                session: event.into(),
            },
        };
        self.append(event);
    }

    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn link_at(&self, count: u64) -> Link {
        let index = (count - self.first) as usize;
        if index == 0 { self.before } else { self.entries[index - 1].1 }
    }

    fn append(&mut self, event: Event) {
        let number = self.next();
        self.push(Record { number, time: 1000 + number, height: number / 3, event }.to_bytes());
    }

    fn push(&mut self, bytes: Vec<u8>) {
        assert!(bytes.len() <= MAX_RECORD);
        let link = link(&self.link_at(self.next()), &bytes);
        self.entries.push((bytes, link));
    }

    fn checkpoint(&mut self, count: u64) {
        let member = Index::new(2).unwrap();
        let head = AuditHead { start: self.start, count, link: self.link_at(count), time: 77 };
        let signature = sign(&self.key, &head.preimage(&CHAIN, member));
        self.append(Event::Checkpoint(Checkpoint {
            chain: CHAIN,
            member,
            start: self.start,
            count,
            time: 77,
            signature,
        }));
    }

    /// The same, without the records below a number.
    fn pruned(&self, below: u64) -> Self {
        let cut = (below - self.first) as usize;
        Self { first: below, before: self.link_at(below), entries: self.entries[cut..].to_vec(), ..self.clone() }
    }

    /// Links as a forger would make them anew.
    fn rechained(&self) -> Self {
        let mut log = Self { entries: Vec::new(), ..self.clone() };
        self.entries.iter().for_each(|(bytes, _)| log.push(bytes.clone()));
        log
    }

    fn copy(&self) -> Vec<u8> {
        let mut bytes = copy::beginning(self.first, &self.before);
        for (record, link) in &self.entries {
            bytes.extend(copy::entry(record, link));
        }
        bytes.extend(copy::end(self.next(), &self.link_at(self.next())));
        bytes
    }

    /// Where each record's entry is in the copy.
    fn spans(&self) -> Vec<std::ops::Range<usize>> {
        let mut at = copy::beginning(0, &START).len();
        let span = |(record, _): &(Vec<u8>, Link)| {
            let from = at;
            at += 4 + record.len() + 32;
            from..at
        };
        self.entries.iter().map(span).collect()
    }

    fn verdict(&self) -> Result<Found, Fault> {
        verify(&self.copy())
    }
}

fn verify(copy: &[u8]) -> Result<Found, Fault> {
    verify_for(copy, None)
}

fn verify_for(copy: &[u8], wanted: Option<Link>) -> Result<Found, Fault> {
    let mut verifier = Verifier::new(public(&key(1)), wanted);
    verifier.push(copy, |_| {});
    verifier.finish()
}

fn events() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 2..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_whole_copy_verifies_in_pieces_of_any_size(events in events(), size in 1usize..200) {
        let log = Log::of(&events);
        let mut verifier = Verifier::new(public(&key(1)), None);
        let mut seen = 0;
        for piece in log.copy().chunks(size) {
            verifier.push(piece, |record| {
                assert_eq!(record.number, seen);
                seen += 1;
            });
        }
        let found = verifier.finish().unwrap();
        prop_assert_eq!((found.first, found.next, seen), (0, log.next(), log.next()));
        prop_assert_eq!(found.proven.count, log.next() - 1, "its last record is a checkpoint");
        prop_assert_eq!((found.proven.link, found.last), (log.link_at(log.next() - 1), log.link_at(log.next())));
    }

    #[test]
    fn a_record_cut_out_is_named(events in events(), at: prop::sample::Index) {
        let log = Log::of(&events);
        // The last one's absence contradicts the end mark; every other's, the one that follows.
        let at = at.index(log.entries.len());
        let whole = log.copy();
        let span = log.spans()[at].clone();
        let fault = verify(&[&whole[..span.start], &whole[span.end..]].concat()).unwrap_err();
        let last = at + 1 == log.entries.len();
        let expected = if last { (None, What::End) } else { (Some(at as u64), What::Missing(at as u64 + 1)) };
        prop_assert_eq!((fault.record, fault.what), expected);
        prop_assert!(fault.proven.is_none_or(|proven| proven.count <= at as u64));
    }

    #[test]
    fn two_swapped_records_are_named(events in events(), a: prop::sample::Index, b: prop::sample::Index) {
        let log = Log::of(&events);
        let (a, b) = (a.index(log.entries.len()), b.index(log.entries.len()));
        prop_assume!(a < b);
        let mut swapped = log.clone();
        swapped.entries.swap(a, b);
        let fault = verify(&swapped.copy()).unwrap_err();
        prop_assert_eq!((fault.record, fault.what), (Some(a as u64), What::Displaced(b as u64)));
        // A forger who chains them anew, numbers and all, has no signature for it.
        let mut forged = log.clone();
        for (at, from) in [(a, b), (b, a)] {
            let record = Record::from_bytes(&log.entries[from].0).unwrap();
            forged.entries[at].0 = Record { number: at as u64, ..record }.to_bytes();
        }
        prop_assume!(forged.entries[a].0 != log.entries[a].0);
        let fault = forged.rechained().verdict().unwrap_err();
        prop_assert!(matches!(fault.what, What::Signature | What::Start | What::Unsigned), "{:?}", fault);
        prop_assert!(fault.proven.is_none_or(|proven| proven.count <= a as u64));
    }

    #[test]
    fn a_record_repeated_is_named(events in events(), at: prop::sample::Index) {
        let mut log = Log::of(&events);
        let at = at.index(log.entries.len());
        log.entries.insert(at, log.entries[at].clone());
        let mut copy = log.copy();
        copy.truncate(copy.len() - 44);
        let fault = verify(&copy).unwrap_err();
        prop_assert_eq!((fault.record, fault.what), (Some(at as u64), What::Repeated));
    }

    #[test]
    fn a_flipped_bit_is_named_where_it_is(events in events(), at: prop::sample::Index, bit in 0u8..8) {
        let log = Log::of(&events);
        let mut copy = log.copy();
        let at = at.index(copy.len());
        copy[at] ^= 1 << bit;
        let fault = verify(&copy).unwrap_err();
        if let Some(record) = log.spans().iter().position(|span| span.contains(&at)) {
            prop_assert_eq!(fault.record, Some(record as u64), "{:?}", fault);
            prop_assert!(fault.proven.is_none_or(|proven| proven.count <= record as u64));
        }
    }

    #[test]
    fn a_copy_that_was_cut_anywhere_is_refused(events in events(), at: prop::sample::Index) {
        let log = Log::of(&events);
        let copy = log.copy();
        let at = at.index(copy.len());
        let fault = verify(&copy[..at]).unwrap_err();
        prop_assert_eq!(fault.what, What::Cut);
        let whole = log.spans().iter().filter(|span| span.end <= at).count();
        prop_assert_eq!(fault.record, (at >= log.spans()[0].start).then_some(whole as u64));
    }

    #[test]
    fn a_log_cut_with_a_new_end_mark_lacks_the_head_that_peers_hold(events in events(), keep: prop::sample::Index) {
        let log = Log::of(&events);
        let wanted = log.link_at(log.next() - 1);
        prop_assert!(verify_for(&log.copy(), Some(wanted)).is_ok());
        let mut cut = log.clone();
        cut.entries.truncate(1 + keep.index(log.entries.len() - 2));
        prop_assert!(verify_for(&cut.copy(), Some(wanted)).is_err());
        // Without such a head nothing gives a clean cut away, and the answer says how far the proof goes.
        if let Ok(found) = cut.verdict() {
            prop_assert!(found.proven.count <= cut.next());
        }
    }

    #[test]
    fn an_altered_record_that_is_chained_anew_fails_at_the_next_checkpoint(events in events(), at: prop::sample::Index) {
        let log = Log::of(&events);
        let at = at.index(log.entries.len() - 1);
        let mut forged = log.clone();
        let record = Record::from_bytes(&log.entries[at].0).unwrap();
        forged.entries[at].0 = Record { time: record.time + 1, ..record }.to_bytes();
        let fault = forged.rechained().verdict().unwrap_err();
        prop_assert_eq!(fault.what, What::Signature);
        prop_assert!(fault.record > Some(at as u64));
        prop_assert!(fault.proven.is_none_or(|proven| proven.count <= at as u64));
    }

    #[test]
    fn what_is_left_after_pruning_verifies(events in events(), below: prop::sample::Index) {
        let log = Log::of(&events);
        let below = below.index(log.entries.len()) as u64;
        let pruned = log.pruned(below);
        let found = pruned.verdict().unwrap();
        prop_assert_eq!((found.first, found.last), (below, log.link_at(log.next())));
        prop_assert!(verify_for(&pruned.copy(), Some(log.link_at(below))).is_ok());
        // The link before the first record is proven, too.
        let mut forged = pruned.clone();
        forged.before[0] ^= 1;
        prop_assert!(forged.verdict().is_err());
        prop_assert!(forged.rechained().verdict().is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_records_have_one_encoding(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(verify(&bytes).is_err());
        prop_assert!(verify(&[copy::beginning(0, &START), bytes.clone()].concat()).is_err());
        if let Ok(record) = Record::from_bytes(&bytes) {
            prop_assert_eq!(record.to_bytes(), bytes);
        }
    }
}

#[test]
fn another_key_proves_nothing() {
    let log = Log::of(&[0, 6, 9]);
    let mut verifier = Verifier::new(public(&key(2)), None);
    verifier.push(&log.copy(), |_| {});
    let fault = verifier.finish().unwrap_err();
    assert_eq!((fault.record, fault.what, fault.proven), (Some(2), What::Signature, None));
}

#[test]
fn a_log_without_a_checkpoint_is_not_proven() {
    let mut log = Log::new();
    assert_eq!(log.verdict().unwrap_err().what, What::Unsigned);
    log.happens(0);
    assert_eq!(log.verdict().unwrap_err().what, What::Unsigned);
}

#[test]
fn bytes_after_the_end_are_refused() {
    let mut copy = Log::of(&[0, 1]).copy();
    copy.push(0);
    assert_eq!(verify(&copy).unwrap_err().what, What::End);
}

#[test]
fn a_checkpoint_reaches_back_over_the_window_and_not_further() {
    for (back, sound) in [(WINDOW, true), (WINDOW + 1, false)] {
        let mut log = Log::of(&[]);
        let count = log.next();
        (0..back).for_each(|_| log.happens(2));
        log.checkpoint(count);
        assert_eq!(log.verdict().is_ok(), sound, "{back}");
    }
}

#[test]
fn starts_never_fall_and_a_checkpoint_is_of_the_start_that_it_follows() {
    let mut log = Log::of(&[8, 8]);
    log.start = 1;
    log.checkpoint(log.next());
    assert_eq!(log.verdict().unwrap_err().what, What::Start);
    let mut log = Log::of(&[8, 8]);
    log.append(Event::Start { start: 3, standing: Standing::Unclean });
    log.checkpoint(log.next());
    assert!(log.verdict().is_ok(), "a start cut short is made again");
    log.append(Event::Start { start: 2, standing: Standing::Behind });
    assert_eq!(log.verdict().unwrap_err().what, What::Start);
}

#[test]
fn a_checkpoint_of_another_network_is_refused() {
    let mut log = Log::of(&[0]);
    let member = Index::new(2).unwrap();
    let head = AuditHead { start: log.start, count: log.next(), link: log.link_at(log.next()), time: 1 };
    let signature = sign(&log.key, &head.preimage(&[8; 32], member));
    let AuditHead { start, count, time, .. } = head;
    log.append(Event::Checkpoint(Checkpoint { chain: [8; 32], member, start, count, time, signature }));
    assert_eq!(log.verdict().unwrap_err().what, What::Elsewhere);
}

/// One record of every kind, and what its encoding hashes to: a change of bytes is a change of version.
#[test]
fn the_records_bytes_are_final() {
    let signature = sign(&key(1), b"vector");
    let attempt = Attempt { batch: 7, attempt: 2 };
    let events = [
        Event::Made {
            network: NetworkName::new("testnet").unwrap(),
            member: Index::new(2).unwrap(),
            certificate: [1; 32],
        },
        Event::Start { start: 3, standing: Standing::Behind },
        Event::Stop { start: 3 },
        Event::Epoch { epoch: 1, network: [2; 32], config: [3; 32] },
        Event::Release { epoch: 1, user: [4; 32], key: [5; 32], temporary: [6; 32], session: 60 },
        Event::Again { release: 4, count: 9 },
        Event::Commits { count: 2, digest: [7; 32] },
        Event::Denials { since: 8, counts: vec![(1, 2), (3, 4)] },
        Event::Generation { attempt, step: Generation::Dealt(128) },
        Event::Generation { attempt, step: Generation::Acknowledged([8; 32]) },
        Event::Lock { height: 9, round: 1, block: [9; 32] },
        Event::Frozen { reason: "why".into() },
        Event::Operator(Operator::AcceptedStore { from_height: 5, start: 6 }),
        Event::Operator(Operator::Pruned { below: 5 }),
        Event::Operator(Operator::Froze { reason: "why".into() }),
        Event::Operator(Operator::Unfroze),
        Event::Operator(Operator::Trusted { network: [10; 32] }),
        Event::Operator(Operator::Approved { committee: [11; 32] }),
        Event::Operator(Operator::Withdrew),
        Event::Generation { attempt, step: Generation::Void },
        Event::Keys { epoch: 2, attempt: 1, act: KeyAct::Made },
        Event::Keys { epoch: 2, attempt: 1, act: KeyAct::Destroyed },
        Event::Keys { epoch: 2, attempt: 1, act: KeyAct::Certified([12; 32]) },
        Event::Listed { epoch: 2, account: Address([13; 20]), contract: Address([14; 20]), chain: 1, digest: [15; 32] },
        Event::Checkpoint(Checkpoint {
            chain: CHAIN,
            member: Index::new(2).unwrap(),
            start: 3,
            count: 10,
            time: 11,
            signature,
        }),
    ];
    let mut last = START;
    for (number, event) in (0..).zip(events) {
        let record = Record { number, time: 1, height: 2, event };
        let bytes = record.to_bytes();
        assert_eq!(Record::from_bytes(&bytes), Ok(record));
        (0..bytes.len()).for_each(|len| assert!(Record::from_bytes(&bytes[..len]).is_err()));
        last = link(&last, &bytes);
    }
    assert_eq!(torus_statement::receipt::hex(&last), include_str!("../../../tests/vectors/audit.txt").trim());
}
