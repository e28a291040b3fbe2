//! Quotas: how many shares leave in an hour, in all, for one verifier, of one key. What bounds a theft that nothing else
//! noticed.
//!
//! Durable: a restart gives nothing back. An hour slides: what the last full hour saw counts by the part of it that is
//! not yet sixty minutes ago. Of the quota in all, every verifier has a part of its own, so that one that is flooded
//! starves no other. A login that counted once does not count again; who asks whether there is room uses none of it up.

use torus_statement::Hash;
use torus_statement::dkg::KeyIndex;

use crate::limits::Limits;
use crate::store::{Change, Store, StoreError, Table, View};

const HOUR: u64 = 3_600_000;
/// Most counts of hours that are over that one transaction drops.
const DROPS: usize = 64;

/// A release as the quotas see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// The verifier's place in the state: a hash.
    pub verifier: Hash,
    /// The key.
    pub key: KeyIndex,
    /// Vault time in milliseconds since 1970.
    pub time: u64,
}

/// The counters of a vault.
#[derive(Clone, Copy)]
pub struct Quotas {
    counts: Table,
    limits: Limits,
    /// What is left of `all` when every verifier has its own part.
    common: u32,
}

/// What is counted apart. The byte is the place in the table.
#[derive(Clone, Copy)]
enum Count<'a> {
    /// What went beyond the verifiers' own parts.
    Common,
    Verifier(&'a Hash),
    Key(KeyIndex),
}

impl Count<'_> {
    fn place(&self, hour: u64) -> Vec<u8> {
        let hour = hour.to_be_bytes();
        match self {
            Self::Common => [hour.as_slice(), &[0]].concat(),
            Self::Verifier(name) => [hour.as_slice(), &[1], name.as_slice()].concat(),
            Self::Key(key) => [hour.as_slice(), &[2], &key.number().to_be_bytes()].concat(),
        }
    }
}

impl Quotas {
    /// Opens the counters for a network of so many verifiers.
    ///
    /// # Errors
    /// The store fails.
    pub fn open(store: &Store, limits: Limits, verifiers: usize) -> Result<Self, StoreError> {
        let parts = limits.reserved.saturating_mul(u32::try_from(verifiers).unwrap_or(u32::MAX));
        Ok(Self { counts: store.table("quotas")?, limits, common: limits.all.saturating_sub(parts) })
    }

    /// Whether there is room for a release. Uses nothing up.
    ///
    /// # Errors
    /// The store fails.
    pub fn room(&self, view: &View<'_>, draw: &Draw) -> Result<bool, StoreError> {
        self.fits(draw, |place| number(view.get(self.counts, place)?))
    }

    /// Counts a release; `false` if there is no room, and nothing changes.
    ///
    /// # Errors
    /// The store fails.
    pub fn draw(&self, change: &mut Change<'_>, draw: &Draw) -> Result<bool, StoreError> {
        if !self.fits(draw, |place| number(change.get(self.counts, place)?))? {
            return Ok(false);
        }
        let hour = draw.time / HOUR;
        let verifier = Count::Verifier(&draw.verifier);
        let beyond = self.used(draw, &verifier, |place| number(change.get(self.counts, place)?))? >= self.reserved();
        let common = beyond.then_some(Count::Common);
        for count in [verifier, Count::Key(draw.key)].into_iter().chain(common) {
            let place = count.place(hour);
            let more = number(change.get(self.counts, &place)?)?.saturating_add(1);
            change.put(self.counts, &place, &more.to_be_bytes())?;
        }
        self.drop_past(change, hour)?;
        Ok(true)
    }

    fn fits(&self, draw: &Draw, read: impl Fn(&[u8]) -> Result<u32, StoreError>) -> Result<bool, StoreError> {
        let verifier = self.used(draw, &Count::Verifier(&draw.verifier), &read)?;
        let key = self.used(draw, &Count::Key(draw.key), &read)?;
        let own = verifier < self.reserved();
        let common = own || self.used(draw, &Count::Common, &read)? < u64::from(self.common);
        Ok(verifier < u64::from(self.limits.verifier) && key < u64::from(self.limits.key) && common)
    }

    /// What counts of the last sixty minutes.
    fn used(
        &self,
        draw: &Draw,
        count: &Count<'_>,
        read: impl Fn(&[u8]) -> Result<u32, StoreError>,
    ) -> Result<u64, StoreError> {
        let (hour, into) = (draw.time / HOUR, draw.time % HOUR);
        let before = match hour.checked_sub(1) {
            Some(before) => u64::from(read(&count.place(before))?),
            None => 0,
        };
        let part = before.saturating_mul(HOUR.saturating_sub(into)).div_ceil(HOUR);
        Ok(u64::from(read(&count.place(hour))?).saturating_add(part))
    }

    fn reserved(&self) -> u64 {
        self.limits.reserved.into()
    }

    /// Drops counts of hours that count no more, a bounded number.
    fn drop_past(&self, change: &mut Change<'_>, hour: u64) -> Result<(), StoreError> {
        let mut past = Vec::new();
        change.each(self.counts, &[], |place, _| {
            let over = place.first_chunk().is_some_and(|then| u64::from_be_bytes(*then).saturating_add(1) < hour);
            if over {
                past.push(place.to_vec());
            }
            Ok::<_, StoreError>(over && past.len() < DROPS)
        })?;
        past.iter().try_for_each(|place| change.delete(self.counts, place).map(drop))
    }
}

fn number(bytes: Option<&[u8]>) -> Result<u32, StoreError> {
    bytes.map_or(Ok(0), |bytes| bytes.try_into().map(u32::from_be_bytes).map_err(|_| StoreError::Damaged("quotas")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const T: u64 = 1_800_000_000_000 / HOUR * HOUR;
    const FEW: Limits = Limits { all: 10, verifier: 6, key: 3, reserved: 2, commits: 66 };

    struct Vault {
        store: Store,
        quotas: Quotas,
        dir: tempfile::TempDir,
    }

    impl Vault {
        fn new(limits: Limits, verifiers: usize) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::create(dir.path()).unwrap();
            let quotas = Quotas::open(&store, limits, verifiers).unwrap();
            Self { store, quotas, dir }
        }

        fn draw(&self, verifier: u8, key: u64, time: u64) -> bool {
            let draw = Draw { verifier: [verifier; 32], key: KeyIndex::from_number(key), time };
            let room = self.store.read(|view| self.quotas.room(view, &draw)).unwrap();
            let drawn = self.store.write(|change| self.quotas.draw(change, &draw)).unwrap();
            assert_eq!(room, drawn, "who asks is told what he would get");
            drawn
        }
    }

    #[test]
    fn a_key_a_verifier_and_all_together_have_their_hour() {
        let vault = Vault::new(FEW, 2);
        assert_eq!((0..5).filter(|_| vault.draw(1, 1, T)).count(), 3, "one key");
        assert_eq!((2..9).filter(|key| vault.draw(1, *key, T)).count(), 3, "one verifier has 6");
        // 10 in all: 2 + 2 are the verifiers' own, of 6 common ones 4 are used.
        assert_eq!((10..20).filter(|key| vault.draw(2, *key, T)).count(), 4);
    }

    #[test]
    fn a_flooded_verifier_leaves_the_others_their_part() {
        let vault = Vault::new(Limits { all: 10, verifier: 100, key: 3, reserved: 2, commits: 66 }, 3);
        assert_eq!((0..50).filter(|key| vault.draw(1, *key, T)).count(), 6, "its own 2 and the common 4");
        assert_eq!((50..99).filter(|key| vault.draw(2, *key, T)).count(), 2);
        assert_eq!((100..150).filter(|key| vault.draw(3, *key, T)).count(), 2);
    }

    #[test]
    fn an_hour_slides_and_is_not_doubled_where_two_meet() {
        let vault = Vault::new(FEW, 1);
        for _ in 0..3 {
            assert!(vault.draw(1, 1, T + HOUR - 1));
        }
        assert!(!vault.draw(1, 1, T + HOUR), "a moment later");
        assert!(!vault.draw(1, 1, T + HOUR + HOUR / 4));
        assert!(vault.draw(1, 1, T + HOUR + HOUR / 2), "half of three is two, rounded up");
        assert!(vault.draw(1, 1, T + 3 * HOUR));
    }

    #[test]
    fn a_restart_gives_nothing_back() {
        let vault = Vault::new(FEW, 1);
        assert_eq!((0..9).filter(|_| vault.draw(1, 1, T)).count(), 3);
        let Vault { store, dir, .. } = vault;
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        let quotas = Quotas::open(&store, FEW, 1).unwrap();
        assert!(!Vault { store, quotas, dir }.draw(1, 1, T + 1));
    }

    #[test]
    fn counts_of_hours_that_are_over_are_dropped() {
        let vault = Vault::new(Limits { all: 1000, verifier: 1000, ..FEW }, 1);
        for hour in 0..40 {
            assert!(vault.draw(1, hour, T + hour * HOUR));
        }
        let left = vault.store.write(|change| change.len(vault.quotas.counts)).unwrap();
        assert!(left <= 6, "{left} counts are left");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whatever_is_asked_no_hour_has_more_than_all_and_no_verifier_less_than_its_part(
            asks in proptest::collection::vec((0..3u8, 0..40u64, 0..HOUR / 8), 1..60),
        ) {
            let vault = Vault::new(Limits { all: 10, verifier: 8, key: 3, reserved: 2, commits: 66 }, 3);
            let (mut time, mut drawn) = (T, Vec::new());
            for (verifier, key, later) in asks {
                time += later;
                let of = |who: u8| drawn.iter().filter(|(then, other)| *other == who && then + 2 * HOUR > time).count();
                let fresh = of(verifier) == 0;
                let got = vault.draw(verifier, 1000 * u64::from(verifier) + key, time);
                let of_key = key;
                prop_assert!(got || !fresh, "verifier {verifier} key {of_key} is starved");
                if got {
                    drawn.push((time, verifier));
                }
                let hour = drawn.iter().filter(|(then, _)| *then / HOUR == time / HOUR).count();
                prop_assert!(hour <= 10, "{hour} in one hour");
            }
        }
    }
}
