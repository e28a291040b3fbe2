//! The journal in a store: what is durable with what, what is counted, what is bounded, what a copy proves.

use std::sync::Arc;

use k256::ecdsa::SigningKey;
use k256::ecdsa::signature::hazmat::PrehashSigner;
use torus_audit::event::Checkpoint;
use torus_audit::verify::What;
use torus_audit::{Event, Record};
use torus_ipc::Deny;
use torus_statement::codec::Wire;
use torus_statement::state::AuditEntry;
use torus_statement::{Address, AuditHead, Index, Point, PublicKey, Signature, SignedAuditHead, keccak256, sha256};

use super::copies::{CopyError, begin_pruning, export, prune, prune_in, verify};
use super::journal::{Journal, Releases};
use super::seen::{give_up_past, judge};
use crate::store::{Store, StoreError};

struct Log {
    journal: Journal,
    store: Store,
    key: SigningKey,
    dir: tempfile::TempDir,
}

/// A log of its own, for whoever needs one to count refusals in.
pub(crate) fn scratch() -> Arc<Journal> {
    let dir = tempfile::tempdir().unwrap();
    Journal::open(&Store::create(dir.path()).unwrap()).unwrap()
}

const CHAIN: [u8; 32] = [9; 32];

fn member() -> Index {
    Index::new(1).unwrap()
}

impl Log {
    fn new() -> Self {
        Self::with_room(u64::MAX)
    }

    fn with_room(room: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("data")).unwrap();
        let key = SigningKey::from_slice(&[5; 32]).unwrap();
        Self { journal: Journal::with_room(&store, room).unwrap(), store, key, dir }
    }

    fn again(&mut self) {
        self.journal = Journal::with_room(&self.store, u64::MAX).unwrap();
    }

    fn public(&self) -> PublicKey {
        Point::from_affine(*self.key.verifying_key().as_affine()).unwrap()
    }

    fn append(&self, event: Event) -> Result<u64, StoreError> {
        self.journal.write(|change| self.journal.append(change, event))
    }

    fn locks(&self, mut heights: impl Iterator<Item = u64>) {
        let append = |change: &mut crate::store::Change<'_>, height| self.journal.append(change, lock(height));
        self.journal.write(|change| heights.try_for_each(|height| append(change, height).map(|_| ()))).unwrap();
    }

    fn release(&self, token: u8) -> Result<(), StoreError> {
        let event = Event::Release { epoch: 1, user: [token; 32], key: [1; 32], temporary: [2; 32], session: 60 };
        let mut releases = Releases::default();
        self.journal.write(|change| self.journal.release(change, &mut releases, [token; 32], event))?;
        self.journal.released(releases);
        Ok(())
    }

    fn head(&self, start: u64) -> SignedAuditHead {
        let extent = self.journal.extent().unwrap();
        let head = AuditHead { start, count: extent.next, link: extent.link, time: 7 };
        let signature: k256::ecdsa::Signature =
            self.key.sign_prehash(&keccak256(&head.preimage(&CHAIN, member()))).unwrap();
        let signature = signature.normalize_s().unwrap_or(signature);
        SignedAuditHead { head, signature: Signature::from_bytes(&signature.to_bytes().into()).unwrap() }
    }

    fn checkpoint(&self, start: u64) -> SignedAuditHead {
        let signed = self.head(start);
        let AuditHead { start, count, time, .. } = signed.head;
        let checkpoint = Checkpoint { chain: CHAIN, member: member(), start, count, time, signature: signed.signature };
        assert!(self.journal.sign_off(&signed, checkpoint).unwrap());
        signed
    }

    fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        self.store
            .read(|view| {
                self.journal.each(view, 0, |record, _| {
                    events.push(Record::from_bytes(record).unwrap().event);
                    Ok::<_, StoreError>(true)
                })
            })
            .unwrap();
        events
    }

    /// A copy, taken as an operator takes it of a vault that runs: by another process, so of a copied directory here.
    fn copy(&self, name: &str) -> std::path::PathBuf {
        let data = self.dir.path().join("copied");
        let _ = std::fs::remove_dir_all(&data);
        std::fs::create_dir(&data).unwrap();
        std::fs::copy(self.dir.path().join("data/data.mdb"), data.join("data.mdb")).unwrap();
        let out = self.dir.path().join(name);
        export(&data, &out).unwrap();
        out
    }
}

fn lock(height: u64) -> Event {
    Event::Lock { height, round: 0, block: [3; 32] }
}

#[test]
fn an_act_that_fails_leaves_no_record_and_a_record_that_fails_undoes_the_act() {
    let log = Log::new();
    let failed: Result<(), StoreError> = log.journal.write(|change| {
        log.journal.append(change, lock(1))?;
        Err(StoreError::Full)
    });
    assert!(failed.is_err() && log.events().is_empty());
    let log = Log::with_room(0);
    let acts = log.store.table("acts").unwrap();
    let failed: Result<(), StoreError> = log.journal.write(|change| {
        change.put(acts, b"act", b"")?;
        log.journal.committed(change, &[[1; 32]])
    });
    assert!(matches!(failed, Err(StoreError::AuditFull)));
    assert!(log.store.read(|view| view.get(acts, b"act").map(|act| act.is_none())).unwrap());
}

#[test]
fn a_log_without_room_releases_commits_and_lists_nothing_and_goes_on_otherwise() {
    let log = Log::with_room(400);
    let mut released = 0u8;
    while log.release(released).is_ok() {
        released += 1;
    }
    assert!(released > 0 && released < 4, "{released}");
    log.locks(0..50);
    let commit: Result<(), StoreError> = log.journal.write(|change| log.journal.committed(change, &[[1; 32]]));
    assert!(matches!(commit, Err(StoreError::AuditFull)));
    let listed =
        Event::Listed { epoch: 1, account: Address([1; 20]), contract: Address([2; 20]), chain: 1, digest: [3; 32] };
    assert!(matches!(log.append(listed), Err(StoreError::AuditFull)));
    log.checkpoint(1);
}

#[test]
fn a_flood_of_commitments_is_one_record_a_minute_and_none_is_forgotten() {
    let mut log = Log::new();
    let commit =
        |log: &Log, made: &[[u8; 32]]| log.journal.write(|change| log.journal.committed(change, made)).unwrap();
    for one in 0..=255 {
        commit(&log, &[[one; 32], [7; 32]]);
    }
    commit(&log, &[]);
    assert!(log.events().is_empty());
    // A kill: what was counted is durable.
    log.again();
    commit(&log, &[[1; 32]]);
    log.journal.end_minute().unwrap();
    let [Event::Commits { count: 513, digest }] = log.events()[..] else { panic!("{:?}", log.events()) };
    // Whoever has the list shows that it was this one.
    let list = (0..=255).flat_map(|one| [[one; 32], [7; 32]]).chain([[1; 32]]);
    let shown = list.fold([0; 32], |digest, one| sha256("torus/audit-commits/v1\0", &[&digest, &one]));
    assert_eq!(digest, shown);
    log.journal.end_minute().unwrap();
    assert_eq!(log.events().len(), 1, "a minute without");
}

#[test]
fn a_login_shown_many_times_in_one_group_is_one_record() {
    let log = Log::new();
    let event = Event::Release { epoch: 1, user: [1; 32], key: [1; 32], temporary: [2; 32], session: 60 };
    let mut releases = Releases::default();
    let group: Result<(), StoreError> = log
        .journal
        .write(|change| (0..64).try_for_each(|_| log.journal.release(change, &mut releases, [3; 32], event.clone())));
    group.unwrap();
    log.journal.released(releases);
    log.journal.end_minute().unwrap();
    assert!(matches!(log.events()[..], [Event::Release { .. }, Event::Again { release: 0, count: 63 }]));
}

#[test]
fn a_log_without_any_room_is_pruned() {
    let log = Log::with_room(400);
    log.locks(0..8);
    log.checkpoint(1);
    let copy = log.copy("copy");
    let copied = log.dir.path().join("copied");
    let store = Store::open(&copied).unwrap();
    let journal = Journal::with_reserve(&store, 400, 0).unwrap();
    assert!(prune_in(&journal, &copy, log.public()).is_ok());
}

#[test]
fn a_login_shown_again_and_again_costs_two_records_a_minute_and_each_time_counts() {
    let mut log = Log::new();
    (0..500).for_each(|_| log.release(7).unwrap());
    assert_eq!(log.events().len(), 1);
    // What was counted is durable with each: a kill forgets none of it.
    log.again();
    log.journal.end_minute().unwrap();
    assert_eq!(log.events()[1..], [Event::Again { release: 0, count: 499 }]);
    log.release(7).unwrap();
    assert!(matches!(log.events()[2..], [Event::Release { .. }]), "another minute");
}

#[test]
fn refusals_are_one_record_a_minute_however_many_they_are() {
    let mut log = Log::new();
    for _ in 0..10_000 {
        log.journal.refused(Deny::Stale);
    }
    log.journal.refused(Deny::Malformed);
    // The next transaction, whatever it is of, makes them durable.
    log.append(lock(1)).unwrap();
    log.again();
    log.journal.refused(Deny::Stale);
    log.journal.end_minute().unwrap();
    let counts = vec![(Deny::Malformed.code(), 1), (Deny::Stale.code(), 10_001)];
    assert!(matches!(&log.events()[1..], [Event::Denials { counts: kept, .. }] if *kept == counts));
    log.journal.end_minute().unwrap();
    assert_eq!(log.events().len(), 2, "a minute without refusals");
}

#[test]
fn refusals_of_a_transaction_that_fails_are_counted_once() {
    let log = Log::new();
    log.journal.refused(Deny::Held);
    let failed: Result<(), StoreError> = log.journal.write(|_| Err(StoreError::Full));
    assert!(failed.is_err());
    log.journal.end_minute().unwrap();
    assert!(matches!(&log.events()[..], [Event::Denials { counts, .. }] if *counts == [(Deny::Held.code(), 1)]));
}

#[test]
fn every_refusal_has_its_place_in_rising_order() {
    let log = Log::new();
    Deny::ALL.iter().for_each(|(deny, _)| log.journal.refused(*deny));
    log.journal.end_minute().unwrap();
    let [Event::Denials { counts, .. }] = &log.events()[..] else { panic!("one record") };
    assert_eq!(counts.len(), Deny::ALL.len());
    assert!(counts.is_sorted_by(|(a, _), (b, _)| a < b) && counts.iter().all(|(_, count)| *count == 1));
}

#[test]
fn a_copy_is_proven_pruned_by_and_then_only_what_followed_is_left() {
    let log = Log::new();
    log.append(Event::Start { start: 1, standing: torus_audit::Standing::Clean }).unwrap();
    (0..20).for_each(|token| log.release(token).unwrap());
    assert!(matches!(
        verify(&log.copy("unsigned"), log.public(), None, |_| {}),
        Err(CopyError::Fault { fault, .. }) if fault.what == What::Unsigned
    ));
    let signed = log.checkpoint(1);
    (20..30).for_each(|token| log.release(token).unwrap());
    let first = log.copy("first");
    let found = verify(&first, log.public(), Some(signed.head.link), |_| {}).unwrap();
    assert_eq!((found.first, found.next, found.proven.count), (0, 32, 21));

    // The records themselves go in a copied directory, as `prune` opens it by itself.
    let copied = log.dir.path().join("copied");
    assert_eq!(prune(&copied, &first, log.public()).unwrap(), 21);
    let second = log.dir.path().join("second");
    assert_eq!(export(&copied, &second).unwrap(), 12);
    let found = verify(&second, log.public(), Some(signed.head.link), |_| {}).unwrap();
    assert_eq!((found.first, found.next), (21, 33));
    // Once more it removes nothing, and a copy that lacks the beginning removes nothing of the whole log.
    assert_eq!(prune(&copied, &first, log.public()).unwrap(), 21);
    log.copy("third");
    assert!(matches!(prune(&copied, &second, log.public()), Err(CopyError::Later)));
    // Nor does a copy of another log.
    let other = Log::new();
    other.append(lock(1)).unwrap();
    other.checkpoint(1);
    assert!(matches!(prune(&copied, &other.copy("other"), other.public()), Err(CopyError::Another)));
    let copied = Journal::open(&Store::open(&copied).unwrap()).unwrap();
    assert_eq!(copied.extent().unwrap().base, 0);
}

#[test]
fn a_pruning_that_is_cut_short_leaves_a_whole_log_and_the_next_one_removes_the_rest() {
    let log = Log::new();
    log.locks(0..50);
    let signed = log.checkpoint(1);
    log.locks(50..60);
    let copy = log.copy("copy");
    let copied = log.dir.path().join("copied");
    // What lies in the store, whether the log has it or not, and what the log says that it takes up.
    let held = || {
        let store = Store::open(&copied).unwrap();
        let (mut count, mut bytes) = (0, 0);
        let all = store.table("audit").unwrap();
        let read = store.read(|view| {
            view.each(all, &[], |_, value| {
                (count, bytes) = (count + 1, bytes + value.len() as u64);
                Ok::<_, StoreError>(true)
            })
        });
        read.unwrap();
        (count, bytes, Journal::open(&store).unwrap().extent().unwrap())
    };
    let proven = |name: &str| {
        let out = log.dir.path().join(name);
        let count = export(&copied, &out).unwrap();
        let found = verify(&out, log.public(), Some(signed.head.link), |_| {}).unwrap();
        assert_eq!((found.first, found.next), (50, 50 + count));
        count
    };
    // The process ends after the first transaction, which removes a few records.
    let journal = Journal::open(&Store::open(&copied).unwrap()).unwrap();
    assert_eq!(begin_pruning(&journal, &copy, log.public(), 10).unwrap(), 50);
    drop(journal);
    let (count, bytes, extent) = held();
    assert_eq!((extent.base, extent.next, count), (50, 62, 62 - 10));
    assert_eq!(extent.bytes, bytes, "the room of what is not removed yet is not free");
    assert_eq!(proven("between"), 12);
    // And after another; the vault goes on writing.
    let journal = Journal::open(&Store::open(&copied).unwrap()).unwrap();
    assert!(journal.write(|change| journal.drop_some(change, 25)).unwrap(), "there is more");
    journal.write(|change| journal.append(change, lock(99))).unwrap();
    drop(journal);
    assert_eq!(proven("later"), 13);
    assert_eq!(prune(&copied, &copy, log.public()).unwrap(), 50);
    let (count, bytes, extent) = held();
    assert_eq!((extent.base, extent.next, count), (50, 63, 13), "one record of one pruning");
    assert_eq!(extent.bytes, bytes);
    assert_eq!(proven("after"), 13);
}

#[test]
fn what_a_damaged_file_says_is_refused_by_the_record() {
    let log = Log::new();
    log.locks(0..10);
    log.checkpoint(1);
    let copy = log.copy("copy");
    let mut bytes = std::fs::read(&copy).unwrap();
    // The block of the sixth record.
    let size = (bytes.len() - 60 - 44) / 11;
    bytes[60 + 5 * size + 50] ^= 1;
    std::fs::write(&copy, bytes).unwrap();
    match verify(&copy, log.public(), None, |_| {}) {
        Err(CopyError::Fault { fault, .. }) => assert_eq!((fault.record, fault.what), (Some(5), What::Altered)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_head_signed_while_many_wrote_is_not_kept() {
    let log = Log::new();
    log.append(lock(1)).unwrap();
    let signed = log.head(1);
    log.locks(0..=torus_audit::WINDOW);
    let AuditHead { start, count, time, .. } = signed.head;
    let checkpoint = Checkpoint { chain: CHAIN, member: member(), start, count, time, signature: signed.signature };
    assert!(!log.journal.sign_off(&signed, checkpoint).unwrap());
    assert_eq!(log.journal.newest(), None);
}

#[test]
fn a_certified_head_that_this_log_does_not_have_is_noticed_until_the_operator_gives_up_the_past() {
    let log = Log::new();
    log.locks(0..5);
    let signed = log.checkpoint(4);
    let entry = |newest| AuditEntry { newest, contradiction: None };
    assert_eq!(judge(&log.journal, &entry(signed)).unwrap(), None);
    let ahead = SignedAuditHead { head: AuditHead { count: 60, ..signed.head }, ..signed };
    assert!(judge(&log.journal, &entry(ahead)).unwrap().is_some_and(|reason| reason.contains("old copies")));
    let other = SignedAuditHead { head: AuditHead { link: [1; 32], ..signed.head }, ..signed };
    assert!(judge(&log.journal, &entry(other)).unwrap().is_some_and(|reason| reason.contains("another history")));
    log.store.write(|change| give_up_past(change, &log.store, 4)).unwrap();
    assert_eq!(judge(&log.journal, &entry(ahead)).unwrap(), None);
    let later = SignedAuditHead { head: AuditHead { start: 5, ..ahead.head }, ..signed };
    assert!(judge(&log.journal, &entry(later)).unwrap().is_some());
}

#[test]
fn what_every_block_brings_is_no_news() {
    let log = Log::new();
    let news = |log: &Log| log.journal.extent().map(|extent| extent.news > extent.signed).unwrap();
    log.locks(0..5);
    assert!(!news(&log));
    log.release(1).unwrap();
    assert!(news(&log));
    log.checkpoint(1);
    assert!(!news(&log), "the checkpoint itself is none");
}
