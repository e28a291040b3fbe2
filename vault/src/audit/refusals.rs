//! Refusals are counted, not listed: one record a minute, whatever a node asks.
//!
//! A count is in memory until the next transaction of the vault, which for commitments and reveals is the one before
//! their answers; for votes and key generation, which have none then, at most a second.

use std::sync::atomic::{AtomicU32, Ordering};

use torus_ipc::Deny;
use torus_statement::codec::{Reader, Writer};

use crate::store::{Change, Store, StoreError};

const KEY: &[u8] = b"audit-refusals";
const KINDS: usize = Deny::ALL.len();

/// What was refused since the last transaction, by the order of `Deny::ALL`.
pub(super) struct Refusals([AtomicU32; KINDS]);

/// Codes and how often, in rising order of the codes.
type Counts = Vec<(u16, u32)>;

impl Default for Refusals {
    fn default() -> Self {
        Self([const { AtomicU32::new(0) }; KINDS])
    }
}

impl Refusals {
    pub(super) fn count(&self, deny: Deny) {
        self.add(deny.code(), 1);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|count| count.load(Ordering::Relaxed) == 0)
    }

    /// Adds what was counted to what is durable; what it was.
    pub(super) fn keep(&self, change: &mut Change<'_>, store: &Store, now: u64) -> Result<Counts, StoreError> {
        let taken: Counts = Deny::ALL
            .iter()
            .zip(&self.0)
            .map(|((_, code), count)| (*code, count.swap(0, Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect();
        if taken.is_empty() {
            return Ok(taken);
        }
        let kept = read(change, store).and_then(|known| {
            let (since, mut counts) = known.unwrap_or((now, Counts::new()));
            for (code, count) in &taken {
                match counts.binary_search_by_key(code, |(code, _)| *code) {
                    Ok(place) => {
                        if let Some((_, known)) = counts.get_mut(place) {
                            *known = known.saturating_add(*count);
                        }
                    }
                    Err(place) => counts.insert(place, (*code, *count)),
                }
            }
            let mut w = Writer::default();
            w.u8(1).u64(since).list(&counts, |w, (code, count)| {
                w.u16(*code).u32(*count);
            });
            change.put(store.meta(), KEY, &w.into_bytes())
        });
        kept.inspect_err(|_| self.give_back(&taken))?;
        Ok(taken)
    }

    /// Counts again what did not become durable.
    pub(super) fn give_back(&self, taken: &Counts) {
        taken.iter().for_each(|(code, count)| self.add(*code, *count));
    }

    /// Takes the durable counts, and since when they were counted.
    pub(super) fn take(change: &mut Change<'_>, store: &Store) -> Result<Option<(u64, Counts)>, StoreError> {
        let counts = read(change, store)?;
        change.delete(store.meta(), KEY)?;
        Ok(counts)
    }

    fn add(&self, code: u16, by: u32) {
        let place = Deny::ALL.iter().position(|(_, known)| *known == code);
        if let Some(count) = place.and_then(|place| self.0.get(place)) {
            let add = |count: u32| Some(count.saturating_add(by));
            let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        }
    }
}

fn read(change: &Change<'_>, store: &Store) -> Result<Option<(u64, Counts)>, StoreError> {
    let damaged = |_| StoreError::Damaged("refusals");
    let Some(bytes) = change.get(store.meta(), KEY)? else { return Ok(None) };
    let mut r = Reader::new(bytes);
    if r.u8().map_err(damaged)? != 1 {
        return Err(StoreError::Damaged("refusals"));
    }
    let since = r.u64().map_err(damaged)?;
    let counts = r.list(KINDS, |r| Ok((r.u16()?, r.u32()?))).map_err(damaged)?;
    r.finish().map_err(damaged)?;
    Ok(Some((since, counts)))
}
