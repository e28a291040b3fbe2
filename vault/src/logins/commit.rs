//! The commit table: a token's hash belongs to the temporary key that came with it first, for all verifiers.
//!
//! A commit of h also reserves keccak256(hex(h)), the hash that an aggregate form of the same login would have. Entries
//! outlive every token that they could stand for and are never dropped early. The table belongs to the vault, not to an
//! epoch. It refuses a hash that another temporary key holds, and it says nothing before what it says is durable.

use torus_hsm::Device;
use torus_ipc::{CommitReceipt, Deny};
use torus_release::Commitment;
use torus_statement::codec::{Malformed, Reader, Wire, Writer};
use torus_statement::dkg::KeyIndex;
use torus_statement::receipt::{Receipt, reserved};
use torus_statement::text::VerifierName;
use torus_statement::{Hash, Point, TimeConstants, keccak256, sha256};

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
    /// Of which key a share was released for it, if one was.
    pub released: Option<KeyIndex>,
}

/// What was committed, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The token's hash and its temporary key.
    pub commitment: Commitment,
    /// When it was first seen, in milliseconds since 1970.
    pub first: u64,
    /// Of which key a share left for it already, if one did: the quotas counted that.
    pub released: Option<KeyIndex>,
}

impl Held {
    /// Whether a token issued then (seconds since 1970) is younger than its commitment, by more than clocks may differ:
    /// the entry would be dropped while the token still counts, unless [`Commits::outlive`] keeps it.
    pub fn precedes(&self, issued_at: u64, times: &TimeConstants) -> bool {
        issued_at.saturating_mul(1000) > self.first.saturating_add(times.skew.into())
    }
}

/// What became of a request to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The entry, for the receipt.
    pub entry: Entry,
    /// Whether it was made now; else the same was committed before.
    pub new: bool,
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
    pub fn commit(&self, change: &mut Change<'_>, ask: &Ask, now: &Now) -> Result<Result<Kept, Deny>, StoreError> {
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
            return Ok(Ok(Kept { entry, new: false }));
        }
        let entry = Entry {
            committed: true,
            first: now.time,
            expires: now.time.saturating_add(self.lifetime),
            temporary: ask.temporary,
            not_before: now.guards.not_before_seconds(),
            released: None,
        };
        let beside = match beside {
            Some(known) => Entry { expires: known.expires.max(entry.expires), ..known },
            None => Entry { committed: false, ..entry.clone() },
        };
        self.put(change, &ask.token, &entry)?;
        self.put(change, &twin, &beside)?;
        Ok(Ok(Kept { entry, new: true }))
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
    pub fn find(&self, view: &View<'_>, token: &Hash) -> Result<Option<Held>, StoreError> {
        let entry = self.entry(view.get(self.entries, token)?)?.filter(|entry| entry.committed);
        Ok(entry.map(|entry| Held {
            commitment: Commitment { token: *token, temporary: entry.temporary },
            first: entry.first,
            released: entry.released,
        }))
    }

    /// Of which key a share was released for a commitment.
    ///
    /// # Errors
    /// The store fails.
    pub fn released(&self, change: &Change<'_>, token: &Hash) -> Result<Option<KeyIndex>, StoreError> {
        Ok(self.entry(change.get(self.entries, token)?)?.and_then(|entry| entry.released))
    }

    /// Notes that a share of this key was released for a commitment.
    ///
    /// # Errors
    /// The store fails.
    pub fn release(&self, change: &mut Change<'_>, token: &Hash, key: KeyIndex) -> Result<(), StoreError> {
        match self.entry(change.get(self.entries, token)?)? {
            Some(entry) => change.put(self.entries, token, &Entry { released: Some(key), ..entry }.to_bytes()),
            None => Ok(()),
        }
    }

    /// Keeps a commitment and what it reserves as if both had been made when the token says that it was issued (seconds
    /// since 1970). Only for a token that its issuer signed; never shortens anything.
    ///
    /// # Errors
    /// The store fails.
    pub fn outlive(&self, change: &mut Change<'_>, token: &Hash, issued_at: u64) -> Result<(), StoreError> {
        let needed = issued_at.saturating_mul(1000).saturating_add(self.lifetime);
        for hash in [*token, reserved(token)] {
            match self.entry(change.get(self.entries, &hash)?)? {
                Some(entry) if entry.expires < needed => {
                    self.put(change, &hash, &Entry { expires: needed, ..entry })?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// An entry, with a place in the order of expiry beside those that it had before.
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

/// What the audit log counts of a commitment: a hash that shows whether it was this one.
pub fn leaf(ask: &Ask) -> Hash {
    let mut w = Writer::default();
    w.raw(&ask.token).point(&ask.temporary);
    ask.verifier.write(&mut w);
    sha256("torus/audit-commit/v1\0", &[&w.into_bytes()])
}

/// How long an entry is kept: the oldest token that any policy takes, all that permitted clocks may differ, the window.
fn lifetime(times: &TimeConstants) -> u64 {
    [times.token_age, times.clock_ahead, times.clock_behind, times.receipt_window].into_iter().map(u64::from).sum()
}

impl Wire for Entry {
    fn write(&self, w: &mut Writer) {
        w.u8(3).bool(self.committed).u64(self.first).u64(self.expires).point(&self.temporary).u64(self.not_before);
        w.bool(self.released.is_some()).u64(self.released.map_or(0, KeyIndex::number));
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if r.u8()? != 3 {
            return Err(Malformed::Version);
        }
        Ok(Self {
            committed: r.bool()?,
            first: r.u64()?,
            expires: r.u64()?,
            temporary: r.point()?,
            not_before: r.u64()?,
            released: match (r.bool()?, r.u64()?) {
                (true, key) => Some(KeyIndex::from_number(key)),
                (false, 0) => None,
                (false, _) => return Err(Malformed::Field("released")),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Guards;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use k256::{ProjectivePoint, Scalar};
    use proptest::prelude::*;
    use ring::signature::{Ed25519KeyPair, KeyPair};
    use torus_release::{evaluate, issued};
    use torus_statement::policy::{IssuerKey, IssuerPublicKey, Policy, Verifier};

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
            let kept = self.store.write(|change| self.commits.commit(change, &ask, &now(time))).unwrap();
            kept.map(|kept| kept.entry)
        }

        fn found(&self, token: Hash) -> bool {
            self.store.read(|view| self.commits.find(view, &token)).unwrap().is_some()
        }

        /// A reveal's part in the table: what the token says of itself is learned.
        fn shown(&self, token: Hash, issued_at: u64) {
            let held = self.store.read(|view| self.commits.find(view, &token)).unwrap().unwrap();
            if held.precedes(issued_at, &TimeConstants::DEFAULT) {
                self.store.write(|change| self.commits.outlive(change, &token, issued_at)).unwrap();
            }
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

    /// A token of the test's issuer, issued and expiring at these seconds.
    fn signed(issuer: &Ed25519KeyPair, issued: u64, expires: u64) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let claims = format!(r#"{{"iss":"i","aud":"a","sub":"alice","iat":{issued},"exp":{expires}}}"#);
        let text = format!("{}.{}", part(r#"{"alg":"EdDSA","kid":"1"}"#), part(&claims));
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(issuer.sign(text.as_bytes())))
    }

    fn verifier(issuer: &Ed25519KeyPair) -> Verifier {
        let key = IssuerPublicKey::EdDsa(issuer.public_key().as_ref().try_into().unwrap());
        Verifier {
            name: VerifierName::new("demo").unwrap(),
            policy: Policy {
                issuer: "i".to_owned(),
                audiences: vec!["a".to_owned()],
                id_claim: "sub".to_owned(),
                lowercase_id: false,
                max_age: 3600,
                low_s: false,
            },
            keys: vec![IssuerKey { id: "1".to_owned(), key }],
        }
    }

    proptest! {
        #[test]
        fn no_token_that_was_shown_counts_once_its_commitment_is_forgotten(
            ahead in prop_oneof![-3_600_000i64..20_000, 350_000..400_000i64, 0..20_000_000i64],
            lives in 1..20_000u64,
            shown in 0..5_000_000u64,
            later in 0..30_000_000u64,
        ) {
            // His token is committed at T, shown at T + shown, whatever the answer; then another asks for its hash.
            let (table, issuer) = (Table::new(), Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap());
            let (times, verifier) = (TimeConstants::DEFAULT, verifier(&issuer));
            let issued_at = T.saturating_add_signed(ahead) / 1000;
            let text = signed(&issuer, issued_at, issued_at + lives);
            let token = keccak256(text.as_bytes());
            let first = table.commit(token, 7, "demo", T).unwrap().first;
            prop_assert_eq!(issued(&text, &verifier), Some(issued_at));
            table.shown(token, issued_at);
            let then = first + shown + later;
            table.drop_expired(then);
            if table.commit(token, 8, "demo", then).is_ok() {
                // The time of another vault that still releases may be behind by all that clocks may differ.
                let spread = u64::from(times.clock_ahead + times.clock_behind);
                for behind in [0, 1, spread / 2, spread] {
                    prop_assert!(evaluate(&text, &verifier, &times, then - behind).is_err(), "{behind} ms behind");
                }
            } else {
                // Nor is anything held much longer than that: its latest use, all differences, one drop.
                let last = (issued_at * 1000 + 10_000).max(T) + LIFE;
                prop_assert!(then < last, "still held at {then}, {last} would do");
            }
        }
    }

    #[test]
    fn a_post_dated_token_that_was_shown_keeps_its_commitment_and_its_twin() {
        let table = Table::new();
        let token = [1; 32];
        table.commit(token, 7, "demo", T).unwrap();
        // Issued 3 hours ahead: it will count long after an ordinary entry is dropped.
        table.shown(token, T / 1000 + 10_800);
        for hash in [token, reserved(&token)] {
            table.drop_expired(T + 10_800_000 + LIFE - 1);
            assert_eq!(table.commit(hash, 8, "demo", T + 10_800_000 + LIFE - 1), Err(Deny::Held));
        }
        table.drop_expired(T + 10_800_000 + LIFE);
        assert!(table.commit(token, 8, "demo", T + 10_800_000 + LIFE).is_ok());
    }

    #[test]
    fn a_token_as_clocks_make_them_is_no_post_dated_one() {
        let held = Held { commitment: Commitment { token: [1; 32], temporary: point(7) }, first: T, released: None };
        let precedes = |issued_at| held.precedes(issued_at, &TimeConstants::DEFAULT);
        assert!(!precedes(0) && !precedes(T / 1000) && !precedes(T / 1000 + 10));
        assert!(precedes(T / 1000 + 11) && precedes(u64::MAX));
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
