//! The journal: appends records to the chain, within the room that the log has.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use torus_audit::{Event, Link, MAX_RECORD, Record, START, link};
use torus_ipc::Deny;
use torus_statement::certificate::SignedHeader;
use torus_statement::codec::{Malformed, Reader, Wire, Writer};
use torus_statement::{Hash, SignedAuditHead};

use super::commitments;
use super::refusals::Refusals;
use crate::store::{Change, Store, StoreError, Table, View};
use crate::{advance, clock};

/// Bytes that records may take up before commitments and releases are refused. What is on record is never dropped by the
/// vault itself: whoever could make it forget would begin with that.
pub const ROOM: u64 = 8 << 30;
/// Beyond it, for what a vault writes whatever its node asks: locks, starts, heads, its operator's acts.
const RESERVE: u64 = 1 << 30;
/// Logins of a minute that are remembered, to count their repetitions; beyond them every repetition is a record.
const REMEMBERED: usize = 4096;

const STATE: &[u8] = b"audit";
const HEAD: &[u8] = b"audit-head";

/// Releases by the committed hash: the number of each one's record.
pub type Releases = HashMap<Hash, u64>;

/// The log of this vault. One per process.
pub struct Journal {
    store: Store,
    records: Table,
    /// First release's number -> how often it was repeated in its minute.
    again: Table,
    clock: fn() -> u64,
    height: AtomicU64,
    refusals: Refusals,
    /// Committed hash -> number of its release's record in this minute.
    released: Mutex<Releases>,
    newest: Mutex<Option<SignedAuditHead>>,
    room: u64,
    reserve: u64,
}

/// How far the log has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The number of the first record that is kept.
    pub base: u64,
    /// The link before it.
    pub before: Link,
    /// The number of the next record.
    pub next: u64,
    /// The link before that.
    pub link: Link,
    /// Bytes that kept records take up.
    pub bytes: u64,
    /// Records below this number are under a signed head.
    pub signed: u64,
    /// The number after the last record that peers should hear of soon.
    pub news: u64,
}

impl Journal {
    /// Opens the log of a store, which may have none yet.
    ///
    /// # Errors
    /// The store fails or is damaged.
    pub fn open(store: &Store) -> Result<Arc<Self>, StoreError> {
        Self::with_room(store, ROOM).map(Arc::new)
    }

    pub(super) fn with_room(store: &Store, room: u64) -> Result<Self, StoreError> {
        Self::with_reserve(store, room, RESERVE)
    }

    pub(super) fn with_reserve(store: &Store, room: u64, reserve: u64) -> Result<Self, StoreError> {
        let (records, again) = (store.table("audit")?, store.table("audit-again")?);
        let (height, newest) = store.read(|view| {
            let header = view.get(store.meta(), advance::NEWEST)?.map(SignedHeader::from_bytes).transpose();
            let height = header.map_err(|_| StoreError::Damaged("headers"))?.map_or(0, |signed| signed.header.height);
            let newest = view.get(store.meta(), HEAD)?.map(SignedAuditHead::from_bytes).transpose();
            Ok::<_, StoreError>((height, newest.map_err(|_| DAMAGED)?))
        })?;
        Ok(Self {
            store: store.clone(),
            records,
            again,
            clock: clock::system,
            height: AtomicU64::new(height),
            refusals: Refusals::default(),
            released: Mutex::default(),
            newest: Mutex::new(newest),
            room,
            reserve,
        })
    }

    /// A transaction of the store. Refusals that were counted so far become durable with it.
    ///
    /// # Errors
    /// Those of `write`, or the store fails: then nothing happened.
    pub fn write<T, E: From<StoreError>>(&self, write: impl FnOnce(&mut Change<'_>) -> Result<T, E>) -> Result<T, E> {
        let mut taken = None;
        let written = self.store.write(|change| {
            let value = write(change)?;
            taken = Some(self.refusals.keep(change, &self.store, (self.clock)())?);
            Ok(value)
        });
        if let (Err(_), Some(taken)) = (&written, taken) {
            self.refusals.give_back(&taken);
        }
        written
    }

    /// Appends a record; its number. It counts once the transaction is durable.
    ///
    /// # Errors
    /// The store fails or is damaged, or the room for what a node can cause is used up.
    pub fn append(&self, change: &mut Change<'_>, event: Event) -> Result<u64, StoreError> {
        let mut extent = self.extent_of(change)?;
        let caused = matches!(event, Event::Release { .. } | Event::Listed { .. });
        let room = if caused { self.room } else { self.room.saturating_add(self.reserve) };
        let news = event.is_news();
        let time = (self.clock)().max(clock::floor(change, &self.store)?);
        let record = Record { number: extent.next, time, height: self.height.load(Ordering::Relaxed), event };
        let mut bytes = record.to_bytes();
        let size = bytes.len() as u64 + 32;
        if bytes.len() > MAX_RECORD || extent.bytes.saturating_add(size) > room {
            return Err(StoreError::AuditFull);
        }
        extent.link = link(&extent.link, &bytes);
        bytes.extend(extent.link);
        change.append(self.records, &record.number.to_be_bytes(), &bytes)?;
        extent.next = extent.next.checked_add(1).ok_or(StoreError::AuditFull)?;
        extent.bytes = extent.bytes.saturating_add(size);
        if news {
            extent.news = extent.next;
        }
        self.put(change, &extent)?;
        Ok(record.number)
    }

    /// Counts commitments, each by its hash; they become a record with the minute's end.
    ///
    /// # Errors
    /// The store fails, or the room for what a node can cause is used up.
    pub fn committed(&self, change: &mut Change<'_>, made: &[Hash]) -> Result<(), StoreError> {
        if made.is_empty() {
            return Ok(());
        }
        if self.extent_of(change)?.bytes >= self.room {
            return Err(StoreError::AuditFull);
        }
        commitments::add(change, &self.store, made)
    }

    /// Appends the record of a release of this committed hash, or counts it as a repetition of one in this minute: a node
    /// that shows one login again and again does not fill the disk. `releases` are those of the same transaction; once it
    /// is durable they are for `released`.
    ///
    /// # Errors
    /// As `append`.
    pub fn release(
        &self,
        change: &mut Change<'_>,
        releases: &mut Releases,
        token: Hash,
        event: Event,
    ) -> Result<(), StoreError> {
        let known = lock(&self.released).get(&token).or_else(|| releases.get(&token)).copied();
        match known {
            None => {
                releases.insert(token, self.append(change, event)?);
            }
            Some(number) => {
                let key = number.to_be_bytes();
                let before = change.get(self.again, &key)?.map(u32::from_bytes).transpose()?.unwrap_or(0);
                change.put(self.again, &key, &before.saturating_add(1).to_be_bytes())?;
            }
        }
        Ok(())
    }

    /// Remembers releases that are durable.
    pub fn released(&self, releases: Releases) {
        let mut released = lock(&self.released);
        for (token, number) in releases {
            if released.len() < REMEMBERED {
                released.insert(token, number);
            }
        }
    }

    /// Counts a refusal that leaves.
    pub fn refused(&self, deny: Deny) {
        self.refusals.count(deny);
    }

    /// Makes counted refusals durable, if there are any.
    ///
    /// # Errors
    /// The store fails.
    pub fn keep_refusals(&self) -> Result<(), StoreError> {
        if self.refusals.is_empty() { Ok(()) } else { self.write(|_| Ok(())) }
    }

    /// Ends a minute: what was counted in it becomes records.
    ///
    /// # Errors
    /// As `append`.
    pub fn end_minute(&self) -> Result<(), StoreError> {
        self.keep_refusals()?;
        self.store.write(|change| {
            if let Some(event) = commitments::take(change, &self.store)? {
                self.append(change, event)?;
            }
            if let Some((since, counts)) = Refusals::take(change, &self.store)? {
                self.append(change, Event::Denials { since, counts })?;
            }
            let mut again = Vec::new();
            change.each(self.again, &[], |key, value| {
                again.push((number(key)?, u32::from_bytes(value)?));
                Ok::<_, StoreError>(true)
            })?;
            for (release, count) in again {
                self.append(change, Event::Again { release, count })?;
            }
            change.clear(self.again)
        })?;
        lock(&self.released).clear();
        Ok(())
    }

    /// Notes the certified height, which records bear.
    pub fn at_height(&self, height: u64) {
        self.height.fetch_max(height, Ordering::Relaxed);
    }

    /// The newest signed head, durable in this log.
    pub fn newest(&self) -> Option<SignedAuditHead> {
        *lock(&self.newest)
    }

    /// How far the log has come.
    ///
    /// # Errors
    /// The store fails or is damaged.
    pub fn extent(&self) -> Result<Extent, StoreError> {
        self.store.read(|view| self.extent_in(view))
    }

    /// As `extent`, in a view.
    ///
    /// # Errors
    /// The store fails or is damaged.
    pub fn extent_in(&self, view: &View<'_>) -> Result<Extent, StoreError> {
        read(view.get(self.store.meta(), STATE)?)
    }

    /// As `extent`, in a transaction.
    ///
    /// # Errors
    /// The store fails or is damaged.
    pub fn extent_of(&self, change: &Change<'_>) -> Result<Extent, StoreError> {
        read(change.get(self.store.meta(), STATE)?)
    }

    /// The link after the first `count` records; `None` if they are not all there, or no more.
    ///
    /// # Errors
    /// The store fails or is damaged.
    pub fn link_at(&self, view: &View<'_>, count: u64) -> Result<Option<Link>, StoreError> {
        let extent = self.extent_in(view)?;
        let value = view.get(self.records, &count.saturating_sub(1).to_be_bytes())?;
        extent.link_at(count, value)
    }

    /// As `link_at`, in a transaction.
    ///
    /// # Errors
    /// The store fails or is damaged.
    pub fn link_of(&self, change: &Change<'_>, count: u64) -> Result<Option<Link>, StoreError> {
        let extent = self.extent_of(change)?;
        let value = change.get(self.records, &count.saturating_sub(1).to_be_bytes())?;
        extent.link_at(count, value)
    }

    /// Visits kept records in order, each with its link, from a number on, until `visit` answers false.
    ///
    /// # Errors
    /// Those of `visit`; the store fails or is damaged.
    pub fn each<E: From<StoreError>>(
        &self,
        view: &View<'_>,
        from: u64,
        mut visit: impl FnMut(&[u8], &Link) -> Result<bool, E>,
    ) -> Result<(), E> {
        let from = from.max(self.extent_in(view)?.base);
        view.each_from(self.records, &from.to_be_bytes(), |_, value| {
            let (record, link) = value.split_last_chunk().ok_or(DAMAGED)?;
            visit(record, link)
        })
    }

    /// How much of its room the log takes up, in parts of a hundred.
    pub fn filled(&self, extent: &Extent) -> u64 {
        extent.bytes.saturating_mul(100) / self.room.max(1)
    }

    /// Keeps a signed head as the newest, with its checkpoint's record.
    pub(super) fn sign_off(
        &self,
        signed: &SignedAuditHead,
        checkpoint: torus_audit::event::Checkpoint,
    ) -> Result<bool, StoreError> {
        let kept = self.write(|change| {
            let extent = self.extent_of(change)?;
            // Others wrote so much meanwhile that nobody would find what was signed.
            if extent.next.saturating_sub(signed.head.count) > torus_audit::WINDOW {
                return Ok(false);
            }
            self.append(change, Event::Checkpoint(checkpoint))?;
            let extent = self.extent_of(change)?;
            self.put(change, &Extent { signed: signed.head.count, ..extent })?;
            change.put(self.store.meta(), HEAD, &signed.to_bytes())?;
            Ok::<_, StoreError>(true)
        })?;
        if kept {
            *lock(&self.newest) = Some(*signed);
        }
        Ok(kept)
    }

    /// Lets the log begin at a later record. The records themselves go by `drop_below`.
    pub(super) fn begin_at(&self, change: &mut Change<'_>, below: u64, before: Link) -> Result<(), StoreError> {
        let extent = self.extent_of(change)?;
        self.put(change, &Extent { base: below, before, ..extent })
    }

    /// Drops records below the log's beginning, a bounded number; whether there were that many.
    pub(super) fn drop_some(&self, change: &mut Change<'_>, most: usize) -> Result<bool, StoreError> {
        let mut extent = self.extent_of(change)?;
        let mut old = Vec::new();
        change.each(self.records, &[], |key, value| {
            let below = number(key)? < extent.base;
            if below {
                old.push((key.to_vec(), value.len() as u64));
            }
            Ok::<_, StoreError>(below && old.len() < most)
        })?;
        for (key, size) in &old {
            change.delete(self.records, key)?;
            extent.bytes = extent.bytes.saturating_sub(*size);
        }
        self.put(change, &extent)?;
        Ok(old.len() == most)
    }

    pub(super) const fn store(&self) -> &Store {
        &self.store
    }

    fn put(&self, change: &mut Change<'_>, extent: &Extent) -> Result<(), StoreError> {
        change.put(self.store.meta(), STATE, &extent.to_bytes())
    }
}

impl Extent {
    /// The link after `count` records, of which `last` is the last's value.
    fn link_at(&self, count: u64, last: Option<&[u8]>) -> Result<Option<Link>, StoreError> {
        if count == self.base {
            return Ok(Some(self.before));
        }
        if count < self.base || count > self.next {
            return Ok(None);
        }
        last.and_then(|value| value.last_chunk().copied()).map(Some).ok_or(DAMAGED)
    }
}

const DAMAGED: StoreError = StoreError::Damaged("the audit log");

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number(key: &[u8]) -> Result<u64, StoreError> {
    key.try_into().map(u64::from_be_bytes).map_err(|_| DAMAGED)
}

trait Count: Sized {
    fn from_bytes(bytes: &[u8]) -> Result<Self, StoreError>;
}

impl Count for u32 {
    fn from_bytes(bytes: &[u8]) -> Result<Self, StoreError> {
        bytes.try_into().map(Self::from_be_bytes).map_err(|_| DAMAGED)
    }
}

fn read(bytes: Option<&[u8]>) -> Result<Extent, StoreError> {
    match bytes {
        None => Ok(Extent { base: 0, before: START, next: 0, link: START, bytes: 0, signed: 0, news: 0 }),
        Some(bytes) => Extent::from_bytes(bytes).map_err(|_| DAMAGED),
    }
}

impl Wire for Extent {
    fn write(&self, w: &mut Writer) {
        w.u8(1).u64(self.base).raw(&self.before).u64(self.next).raw(&self.link);
        w.u64(self.bytes).u64(self.signed).u64(self.news);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if r.u8()? != 1 {
            return Err(Malformed::Version);
        }
        Ok(Self {
            base: r.u64()?,
            before: r.array()?,
            next: r.u64()?,
            link: r.array()?,
            bytes: r.u64()?,
            signed: r.u64()?,
            news: r.u64()?,
        })
    }
}
