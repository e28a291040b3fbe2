//! Vault time and the guards after a start: before which time tokens and receipts do not count here.
//!
//! The vault's own clock is believed only near the newest certified header; outside that band nothing is committed,
//! released or expired and no floor rises. Guards that a start or an epoch asks for are set at the first moment at
//! which the clock is believed, and durably, before anything is decided by them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use torus_ipc::Deny;
use torus_release::Clock;
use torus_statement::TimeConstants;
use torus_statement::codec::{Malformed, Reader, Wire, Writer};

use crate::store::{Change, Store, StoreError};

const KEY: &[u8] = b"guards";

/// What the vault remembers of the time, in milliseconds since 1970. Nothing in it ever falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Guards {
    /// The highest vault time that anything durable was done at.
    pub floor: u64,
    /// Tokens issued before this do not count.
    pub not_before: u64,
    /// No receipt is signed before this.
    pub receipts_from: u64,
    /// A start without a clean stop before it still asks for its guards.
    pub start_pending: bool,
    /// The epoch was taken up and still asks for its guard.
    pub epoch_pending: bool,
}

/// One moment of believed time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Vault time in milliseconds since 1970.
    pub time: u64,
    /// The guards then.
    pub guards: Guards,
    /// The operating system's clock then.
    pub own: u64,
}

impl Guards {
    /// Vault time, if the clock is believed; sets what is pending. `newest` is the time of the newest certified header,
    /// `last` that of the block that the epoch began after.
    ///
    /// # Errors
    /// [`Deny::Clock`] outside the band; nothing has changed then.
    pub fn at(&mut self, own: u64, newest: u64, last: u64, times: &TimeConstants) -> Result<u64, Deny> {
        let clock = Clock { own, floor: self.floor };
        let time = clock.time(newest, times).map_err(|_| Deny::Clock)?;
        if self.epoch_pending {
            self.epoch_pending = false;
            self.not_before = self.not_before.max(last.max(time).saturating_add(times.epoch_guard.into()));
        }
        if self.start_pending {
            self.start_pending = false;
            self.not_before = self.not_before.max(time.saturating_add(times.start_guard.into()));
            let silence = u64::from(times.receipt_window).saturating_add(times.clock_behind.into());
            self.receipts_from = self.receipts_from.max(time.saturating_add(silence));
        }
        self.floor = time;
        Ok(time)
    }

    /// Not-before in whole seconds, as tokens and receipts count: rounded up.
    pub const fn not_before_seconds(&self) -> u64 {
        self.not_before.div_ceil(1000)
    }

    /// Asks for the guards of a start that no clean stop came before.
    ///
    /// # Errors
    /// The store fails.
    pub fn mark_start(change: &mut Change<'_>, store: &Store) -> Result<(), StoreError> {
        let guards = Self { start_pending: true, ..stored(change.get(store.meta(), KEY)?)? };
        guards.save(change, store)
    }

    /// Asks for the guard of an epoch that is taken up.
    ///
    /// # Errors
    /// The store fails.
    pub fn mark_epoch(change: &mut Change<'_>, store: &Store) -> Result<(), StoreError> {
        let guards = Self { epoch_pending: true, ..stored(change.get(store.meta(), KEY)?)? };
        guards.save(change, store)
    }

    /// Writes the guards.
    ///
    /// # Errors
    /// The store fails.
    pub fn save(&self, change: &mut Change<'_>, store: &Store) -> Result<(), StoreError> {
        change.put(store.meta(), KEY, &self.to_bytes())
    }

    /// The later of two in every respect.
    fn later(&self, other: &Self) -> Self {
        Self {
            floor: self.floor.max(other.floor),
            not_before: self.not_before.max(other.not_before),
            receipts_from: self.receipts_from.max(other.receipts_from),
            start_pending: self.start_pending && other.start_pending,
            epoch_pending: self.epoch_pending && other.epoch_pending,
        }
    }

    /// As they are stored once they have settled what was pending before them: what was asked for since stays asked.
    fn settling(&self, before: &Self, known: &Self) -> Self {
        let still = |before: bool, now: bool, known: bool| known && (now || !before);
        Self {
            start_pending: still(before.start_pending, self.start_pending, known.start_pending),
            epoch_pending: still(before.epoch_pending, self.epoch_pending, known.epoch_pending),
            ..self.later(known)
        }
    }

    /// Of an epoch that begins: what it asks for is asked, whatever was.
    fn on_top_of(&self, other: &Self) -> Self {
        Self { epoch_pending: self.epoch_pending, ..self.later(other) }
    }

    const fn asks(&self) -> bool {
        self.start_pending || self.epoch_pending
    }
}

/// The vault's one keeper of time, shared by its threads.
pub struct Timekeeper {
    store: Store,
    times: TimeConstants,
    last: AtomicU64,
    own: fn() -> u64,
    guards: Mutex<Guards>,
}

impl Timekeeper {
    /// A keeper over what the store remembers. `last` is the time of the block that the epoch began after, `own` the
    /// operating system's clock.
    ///
    /// # Errors
    /// The store fails.
    pub fn new(store: Store, times: TimeConstants, last: u64, own: fn() -> u64) -> Result<Self, StoreError> {
        let guards = store.read(|view| stored(view.get(store.meta(), KEY)?))?;
        Ok(Self { store, times, last: AtomicU64::new(last), own, guards: Mutex::new(guards) })
    }

    /// The time, if it is believed. Guards that were pending are durable when this returns.
    ///
    /// # Errors
    /// [`Deny::Clock`] outside the band, [`Deny::Store`] if the guards cannot be kept.
    pub fn now(&self, newest: u64) -> Result<Now, Deny> {
        let own = (self.own)();
        let (mut guards, last) = (self.lock(), self.last.load(Ordering::Acquire));
        let mut next = *guards;
        let time = next.at(own, newest, last, &self.times)?;
        if guards.asks() {
            let settled = *guards;
            let kept = self.store.write(|change| {
                let known = stored(change.get(self.store.meta(), KEY)?)?;
                next.settling(&settled, &known).save(change, &self.store)
            });
            kept.map_err(|error: StoreError| {
                crate::alarm!("the guards of this start cannot be kept: {error}");
                Deny::Store
            })?;
            crate::info!(
                "tokens count from {} s, receipts from {} s",
                next.not_before_seconds(),
                next.receipts_from / 1000
            );
        }
        *guards = next;
        Ok(Now { time, guards: next, own })
    }

    /// Makes the guards of a moment durable, in a transaction of the caller's. Moments may come in any order.
    ///
    /// # Errors
    /// The store fails.
    pub fn keep(&self, change: &mut Change<'_>, guards: &Guards) -> Result<(), StoreError> {
        let known = stored(change.get(self.store.meta(), KEY)?)?;
        // What is pending is settled by `now` alone, and was when this moment was made.
        let Guards { start_pending, epoch_pending, .. } = known;
        Guards { start_pending, epoch_pending, ..guards.later(&known) }.save(change, &self.store)
    }

    /// The guards with which the next epoch begins after a block of this time. Where the clock is not believed, the
    /// epoch's is set by that block at least, and stays pending.
    pub fn entering(&self, last: u64) -> Guards {
        let mut next = Guards { epoch_pending: true, ..*self.lock() };
        next.not_before = next.not_before.max(last.saturating_add(self.times.epoch_guard.into()));
        let _ = next.at((self.own)(), last, last, &self.times);
        next
    }

    /// Makes the guards of an epoch that begins durable, in a transaction of the caller's. [`Timekeeper::enter`] follows.
    ///
    /// # Errors
    /// The store fails.
    pub fn keep_entering(&self, change: &mut Change<'_>, entering: &Guards) -> Result<(), StoreError> {
        entering.on_top_of(&stored(change.get(self.store.meta(), KEY)?)?).save(change, &self.store)
    }

    /// Guards by them: the epoch begins after a block of this time.
    pub fn enter(&self, entering: &Guards, last: u64) {
        let mut guards = self.lock();
        self.last.store(last, Ordering::Release);
        *guards = entering.on_top_of(&guards);
    }

    /// The guards as they are, and the operating system's clock.
    pub fn look(&self) -> (Guards, u64) {
        (*self.lock(), (self.own)())
    }

    /// Whether the clock is believed now.
    pub fn believed(&self, newest: u64) -> bool {
        let (guards, own) = self.look();
        Clock { own, floor: guards.floor }.time(newest, &self.times).is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, Guards> {
        self.guards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The highest vault time that anything durable was done at, as a transaction finds it.
///
/// # Errors
/// The store fails or is damaged.
pub fn floor(change: &Change<'_>, store: &Store) -> Result<u64, StoreError> {
    Ok(stored(change.get(store.meta(), KEY)?)?.floor)
}

/// The operating system's clock in milliseconds since 1970.
pub fn system() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn stored(bytes: Option<&[u8]>) -> Result<Guards, StoreError> {
    match bytes {
        None => Ok(Guards::default()),
        Some(bytes) => Guards::from_bytes(bytes).map_err(|_| StoreError::Damaged("guards")),
    }
}

impl Wire for Guards {
    fn write(&self, w: &mut Writer) {
        w.u8(1).u64(self.floor).u64(self.not_before).u64(self.receipts_from);
        w.bool(self.start_pending).bool(self.epoch_pending);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if r.u8()? != 1 {
            return Err(Malformed::Version);
        }
        Ok(Self {
            floor: r.u64()?,
            not_before: r.u64()?,
            receipts_from: r.u64()?,
            start_pending: r.bool()?,
            epoch_pending: r.bool()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: TimeConstants = TimeConstants::DEFAULT;
    const T: u64 = 1_800_000_000_000;

    #[test]
    fn outside_the_band_there_is_no_time_and_nothing_changes() {
        let pending = Guards { start_pending: true, epoch_pending: true, ..Guards::default() };
        for own in [T - 20_001, T + 300_001, 0, u64::MAX] {
            let mut guards = pending;
            assert_eq!(guards.at(own, T, T, &TIMES), Err(Deny::Clock));
            assert_eq!(guards, pending);
        }
        for own in [T - 20_000, T + 300_000] {
            assert_eq!(Guards::default().at(own, T, T, &TIMES), Ok(own));
        }
    }

    #[test]
    fn a_clock_that_steps_back_within_the_band_does_not_take_vault_time_with_it() {
        let mut guards = Guards::default();
        assert_eq!(guards.at(T + 200_000, T, T, &TIMES), Ok(T + 200_000));
        assert_eq!(guards.at(T - 10_000, T, T, &TIMES), Ok(T + 200_000));
    }

    #[test]
    fn after_an_unclean_start_tokens_and_receipts_wait() {
        let mut guards = Guards { start_pending: true, ..Guards::default() };
        guards.at(T, T, T, &TIMES).unwrap();
        assert_eq!((guards.not_before, guards.receipts_from), (T + 10_000, T + 80_000));
        let before = guards;
        guards.at(T + 1000, T, T, &TIMES).unwrap();
        assert_eq!((guards.not_before, guards.receipts_from), (before.not_before, before.receipts_from));
    }

    #[test]
    fn an_epoch_counts_tokens_from_half_a_minute_after_the_later_of_block_and_clock() {
        for (own, last, expected) in [(T, T - 5000, T + 30_000), (T, T + 5000, T + 35_000)] {
            let mut guards = Guards { epoch_pending: true, ..Guards::default() };
            guards.at(own, T, last, &TIMES).unwrap();
            assert_eq!((guards.not_before, guards.receipts_from), (expected, 0));
        }
    }

    #[test]
    fn not_before_never_falls() {
        let mut guards = Guards { not_before: T + 60_000, start_pending: true, ..Guards::default() };
        guards.at(T, T, T, &TIMES).unwrap();
        assert_eq!(guards.not_before, T + 60_000);
        assert_eq!(Guards { not_before: 1001, ..guards }.not_before_seconds(), 2);
    }

    #[test]
    fn moments_kept_in_another_order_take_nothing_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let keeper = Timekeeper::new(store.clone(), TIMES, T, || T).unwrap();
        let first = keeper.now(T).unwrap();
        let later = Guards { floor: T + 5, not_before: T + 7, ..first.guards };
        for guards in [later, first.guards] {
            store.write(|change| keeper.keep(change, &guards)).unwrap();
        }
        assert_eq!(Timekeeper::new(store, TIMES, T, || T).unwrap().look().0, later);
    }

    #[test]
    fn an_epochs_guard_outlives_moments_that_were_made_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        // The last block is dated so far ahead that the clock is not believed beside it.
        let keeper = Timekeeper::new(store.clone(), TIMES, T - 1_000_000, || T).unwrap();
        let before = keeper.now(T).unwrap().guards;
        let last = T + 21_000;
        let entering = keeper.entering(last);
        store.write(|change| keeper.keep_entering(change, &entering)).unwrap();
        // A group that took its moment before writes after; and one more moment is asked for in between.
        store.write(|change| keeper.keep(change, &before)).unwrap();
        keeper.enter(&entering, last);
        for guards in [keeper.look().0, Timekeeper::new(store.clone(), TIMES, last, || T).unwrap().look().0] {
            assert!(guards.epoch_pending && guards.not_before >= last + 30_000, "{guards:?}");
        }
        let now = keeper.now(T).unwrap().guards;
        assert!(!now.epoch_pending && now.not_before >= last + 30_000, "{now:?}");
        let stored = Timekeeper::new(store, TIMES, last, || T).unwrap().look().0;
        assert_eq!((stored.epoch_pending, stored.not_before), (false, now.not_before));
    }

    #[test]
    fn guards_of_a_start_that_are_set_beside_an_epochs_take_nothing_of_it_back() {
        let [pending, known] = [(true, false), (true, true)].map(|(start_pending, epoch_pending)| Guards {
            start_pending,
            epoch_pending,
            ..Guards::default()
        });
        let known = Guards { not_before: T + 90_000, ..known };
        let mut settled = pending;
        settled.at(T, T, T, &TIMES).unwrap();
        let kept = settled.settling(&pending, &known);
        assert_eq!((kept.start_pending, kept.epoch_pending, kept.not_before), (false, true, T + 90_000));
    }

    #[test]
    fn guards_of_a_start_survive_the_keeper() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        store.write(|change| Guards::mark_start(change, &store)).unwrap();
        let keeper = Timekeeper::new(store.clone(), TIMES, T, || T).unwrap();
        assert!(keeper.look().0.start_pending);
        keeper.now(T).unwrap();
        let again = Timekeeper::new(store, TIMES, T, || T + 50_000).unwrap().now(T).unwrap();
        assert_eq!((again.guards.receipts_from, again.guards.not_before), (T + 80_000, T + 10_000));
    }
}
