//! Commitments are counted, not listed: anybody may ask for one, so they are one record a minute. Count and digest are
//! durable with the commitments themselves.

use torus_audit::Event;
use torus_statement::codec::{Reader, Writer};
use torus_statement::{Hash, sha256};

use crate::store::{Change, Store, StoreError};

const KEY: &[u8] = b"audit-commits";

/// Adds commitments, each by its hash, to those of this minute.
pub(super) fn add(change: &mut Change<'_>, store: &Store, made: &[Hash]) -> Result<(), StoreError> {
    let (mut count, mut digest) = read(change, store)?.unwrap_or_default();
    for one in made {
        digest = sha256("torus/audit-commits/v1\0", &[&digest, one]);
        count = count.saturating_add(1);
    }
    let mut w = Writer::default();
    w.u8(1).u32(count).raw(&digest);
    change.put(store.meta(), KEY, &w.into_bytes())
}

/// Ends the minute: its record, if anything was committed in it.
pub(super) fn take(change: &mut Change<'_>, store: &Store) -> Result<Option<Event>, StoreError> {
    let made = read(change, store)?;
    change.delete(store.meta(), KEY)?;
    Ok(made.map(|(count, digest)| Event::Commits { count, digest }))
}

fn read(change: &Change<'_>, store: &Store) -> Result<Option<(u32, Hash)>, StoreError> {
    let damaged = |_| StoreError::Damaged("the minute's commitments");
    let Some(bytes) = change.get(store.meta(), KEY)? else { return Ok(None) };
    let mut r = Reader::new(bytes);
    if r.u8().map_err(damaged)? != 1 {
        return Err(StoreError::Damaged("the minute's commitments"));
    }
    let made = (r.u32().map_err(damaged)?, r.array().map_err(damaged)?);
    r.finish().map_err(damaged)?;
    Ok(Some(made))
}
