//! The commit table: a token's hash belongs to the temporary key that came with it first, for all verifiers.
//!
//! A commit of h also reserves keccak256(hex(h)), the hash that an aggregate form of the same login would have. Entries
//! outlive every token that they could stand for and are never dropped early. The table belongs to the vault, not to an
//! epoch. It refuses a hash that another temporary key holds, and it says nothing before what it says is durable.

use torus_hsm::Device;
use torus_ipc::{CommitReceipt, Deny};
use torus_release::Commitment;
use torus_statement::codec::{Malformed, Reader, Wire, Writer};
use torus_statement::receipt::{Receipt, reserved};
use torus_statement::text::VerifierName;
use torus_statement::{Hash, Point, TimeConstants, keccak256};

use crate::clock::Now;
use crate::member::Member;
use crate::signing;
use crate::store::{Change, Store, StoreError, Table, View};

/// Most entries that one transaction drops.
const DROPS: usize = 256;

/// What a user asks to be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Keccak-256 of the token's text.
    pub token: Hash,
    /// His temporary key.
    pub temporary: Point,
    /// The verifier that the receipt names.
    pub verifier: VerifierName,
}

/// An entry of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Committed, or only reserved by another commit of the same key.
    pub committed: bool,
    /// When it was first seen, in milliseconds since 1970.
    pub first: u64,
    /// When it may be dropped, in milliseconds since 1970.
    pub expires: u64,
    /// Whose it is.
    pub temporary: Point,
    /// The vault's not-before then, in seconds since 1970.
    pub not_before: u64,
}

/// The table and its order of expiry.
#[derive(Clone, Copy)]
pub struct Commits {
    entries: Table,
    expiry: Table,
    lifetime: u64,
}

impl Commits {
    /// Opens the table.
    ///
    /// # Errors
    /// The store fails.
    pub fn open(store: &Store, times: &TimeConstants) -> Result<Self, StoreError> {
        Ok(Self { entries: store.table("commits")?, expiry: store.table("commit-expiry")?, lifetime: lifetime(times) })
    }

    /// Commits, or finds the same commitment. What comes back holds once the transaction is durable.
    ///
    /// # Errors
    /// The store fails. The refusals inside are [`Deny::Held`] and [`Deny::Settling`].
    pub fn commit(&self, change: &mut Change<'_>, ask: &Ask, now: &Now) -> Result<Result<Entry, Deny>, StoreError> {
        if now.time < now.guards.receipts_from {
            return Ok(Err(Deny::Settling));
        }
        let twin = reserved(&ask.token);
        let (held, beside) =
            (self.entry(change.get(self.entries, &ask.token)?)?, self.entry(change.get(self.entries, &twin)?)?);
        if [&held, &beside].into_iter().flatten().any(|entry| entry.temporary != ask.temporary) {
            return Ok(Err(Deny::Held));
        }
        if let Some(entry) = held.filter(|entry| entry.committed) {
            return Ok(Ok(entry));
        }
        let entry = Entry {
            committed: true,
            first: now.time,
            expires: now.time.saturating_add(self.lifetime),
            temporary: ask.temporary,
            not_before: now.guards.not_before_seconds(),
        };
        let beside = match beside {
            Some(known) => Entry { expires: known.expires.max(entry.expires), ..known },
            None => Entry { committed: false, ..entry.clone() },
        };
        self.put(change, &ask.token, &entry)?;
        self.put(change, &twin, &beside)?;
        Ok(Ok(entry))
    }

    /// Drops entries whose time is over, a bounded number; only ever called with a believed time.
    ///
    /// # Errors
    /// The store fails.
    pub fn drop_expired(&self, change: &mut Change<'_>, now: &Now) -> Result<(), StoreError> {
        let mut over = Vec::new();
        change.each(self.expiry, &[], |key, _| {
            let expired = key.first_chunk().is_some_and(|time| u64::from_be_bytes(*time) <= now.time);
            if expired {
                over.push(key.to_vec());
            }
            Ok::<_, StoreError>(expired && over.len() < DROPS)
        })?;
        for key in over {
            change.delete(self.expiry, &key)?;
            let Some(token) = key.get(8..) else { continue };
            // An entry whose life was extended has a later key as well.
            if self.entry(change.get(self.entries, token)?)?.is_some_and(|entry| entry.expires <= now.time) {
                change.delete(self.entries, token)?;
            }
        }
        Ok(())
    }

    /// What was committed under a token's hash; a mere reservation is none.
    ///
    /// # Errors
    /// The store fails.
    pub fn find(&self, view: &View<'_>, token: &Hash) -> Result<Option<Commitment>, StoreError> {
        let entry = self.entry(view.get(self.entries, token)?)?.filter(|entry| entry.committed);
        Ok(entry.map(|entry| Commitment { token: *token, temporary: entry.temporary }))
    }

    fn put(&self, change: &mut Change<'_>, token: &Hash, entry: &Entry) -> Result<(), StoreError> {
        change.put(self.entries, token, &entry.to_bytes())?;
        let key = [entry.expires.to_be_bytes().as_slice(), token].concat();
        change.put(self.expiry, &key, &[])
    }

    fn entry(&self, bytes: Option<&[u8]>) -> Result<Option<Entry>, StoreError> {
        bytes.map(|bytes| Entry::from_bytes(bytes).map_err(|_| StoreError::Damaged("commitments"))).transpose()
    }
}

/// The receipt of an entry, signed by the identity.
///
/// # Errors
/// The device fails.
pub fn receipt(member: &Member, device: &mut dyn Device, ask: &Ask, entry: &Entry) -> Result<CommitReceipt, Deny> {
    let committee = member.config.committee();
    let data = Receipt {
        token: ask.token,
        temporary: entry.temporary,
        verifier: ask.verifier.clone(),
        time: entry.first / 1000,
        network: committee.network.clone(),
        epoch: committee.epoch,
        member: member.index,
        not_before: entry.not_before,
    }
    .text();
    let prehash = keccak256(data.as_bytes());
    let signature = member.health.device(signing::identity(device, &prehash))?;
    let signature = signature.with_recovery(&member.identity, &prehash).ok_or(Deny::Device)?;
    Ok(CommitReceipt { data, signature })
}

/// How long an entry is kept: the oldest token that any policy takes, all that permitted clocks may differ, the window.
fn lifetime(times: &TimeConstants) -> u64 {
    [times.token_age, times.clock_ahead, times.clock_behind, times.receipt_window].into_iter().map(u64::from).sum()
}

impl Wire for Entry {
    fn write(&self, w: &mut Writer) {
        w.u8(1).bool(self.committed).u64(self.first).u64(self.expires).point(&self.temporary).u64(self.not_before);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if r.u8()? != 1 {
            return Err(Malformed::Version);
        }
        Ok(Self {
            committed: r.bool()?,
            first: r.u64()?,
            expires: r.u64()?,
            temporary: r.point()?,
            not_before: r.u64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Guards;
    use k256::{ProjectivePoint, Scalar};

    const T: u64 = 1_800_000_000_000;
    const LIFE: u64 = 3_600_000 + 320_000 + 60_000;

    struct Table {
        store: Store,
        commits: Commits,
        _dir: tempfile::TempDir,
    }

    impl Table {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::create(dir.path()).unwrap();
            let commits = Commits::open(&store, &TimeConstants::DEFAULT).unwrap();
            Self { store, commits, _dir: dir }
        }

        fn commit(&self, token: Hash, key: u64, verifier: &str, time: u64) -> Result<Entry, Deny> {
            let ask = Ask { token, temporary: point(key), verifier: VerifierName::new(verifier).unwrap() };
            self.store.write(|change| self.commits.commit(change, &ask, &now(time))).unwrap()
        }

        fn found(&self, token: Hash) -> bool {
            self.store.read(|view| self.commits.find(view, &token)).unwrap().is_some()
        }

        fn drop_expired(&self, time: u64) {
            self.store.write(|change| self.commits.drop_expired(change, &now(time))).unwrap();
        }
    }

    fn now(time: u64) -> Now {
        Now { time, guards: Guards { not_before: T - 5000, ..Guards::default() }, own: time }
    }

    fn point(secret: u64) -> Point {
        Point::new(&(ProjectivePoint::GENERATOR * Scalar::from(secret))).unwrap()
    }

    #[test]
    fn the_same_request_again_gets_the_same_answer_with_its_first_time() {
        let table = Table::new();
        let first = table.commit([1; 32], 7, "demo", T).unwrap();
        assert_eq!(table.commit([1; 32], 7, "demo", T + 50_000), Ok(first.clone()));
        assert_eq!(first.first, T);
    }

    #[test]
    fn a_second_temporary_key_for_a_held_hash_is_refused_under_any_verifier() {
        let table = Table::new();
        table.commit([1; 32], 7, "demo", T).unwrap();
        assert_eq!(table.commit([1; 32], 8, "demo", T + 1), Err(Deny::Held));
        assert_eq!(table.commit([1; 32], 8, "other", T + 1), Err(Deny::Held));
        assert!(table.commit([1; 32], 7, "other", T + 1).is_ok());
    }

    #[test]
    fn a_commit_reserves_the_aggregate_form_of_its_token() {
        let table = Table::new();
        table.commit([1; 32], 7, "demo", T).unwrap();
        assert_eq!(table.commit(reserved(&[1; 32]), 8, "demo", T), Err(Deny::Held));
        assert!(!table.found(reserved(&[1; 32])));
        assert!(table.commit(reserved(&[1; 32]), 7, "demo", T).is_ok());
        assert!(table.found(reserved(&[1; 32])));
    }

    #[test]
    fn a_commit_after_somebody_elses_commit_of_its_aggregate_form_is_refused() {
        let table = Table::new();
        table.commit(reserved(&[1; 32]), 8, "demo", T).unwrap();
        assert_eq!(table.commit([1; 32], 7, "demo", T), Err(Deny::Held));
        assert!(!table.found([1; 32]));
    }

    #[test]
    fn an_entry_is_kept_for_the_whole_life_of_its_token_and_not_longer() {
        let table = Table::new();
        table.commit([1; 32], 7, "demo", T).unwrap();
        table.drop_expired(T + LIFE - 1);
        assert_eq!(table.commit([1; 32], 8, "demo", T + LIFE - 1), Err(Deny::Held));
        table.drop_expired(T + LIFE);
        assert!(table.commit([1; 32], 8, "demo", T + LIFE).is_ok());
    }

    #[test]
    fn a_reservation_that_a_later_commit_needs_longer_lives_longer() {
        let table = Table::new();
        let twin = reserved(&[1; 32]);
        table.commit(twin, 7, "demo", T).unwrap();
        table.commit([1; 32], 7, "demo", T + 1000).unwrap();
        table.drop_expired(T + LIFE);
        assert_eq!(table.commit(twin, 8, "demo", T + LIFE), Err(Deny::Held));
        table.drop_expired(T + LIFE + 1000);
        assert!(!table.found([1; 32]) && !table.found(twin));
    }

    #[test]
    fn after_an_unclean_start_nothing_is_committed_for_a_while() {
        let table = Table::new();
        let ask = Ask { token: [1; 32], temporary: point(7), verifier: VerifierName::new("demo").unwrap() };
        let guards = Guards { receipts_from: T + 80_000, ..Guards::default() };
        for (time, expected) in [(T, Some(Deny::Settling)), (T + 79_999, Some(Deny::Settling)), (T + 80_000, None)] {
            let now = Now { time, guards, own: time };
            let answer: Result<_, StoreError> = table.store.write(|change| table.commits.commit(change, &ask, &now));
            assert_eq!(answer.unwrap().err(), expected);
        }
    }
}
