//! Copies of the log: taken while the vault runs or not, verified anywhere, and what makes it safe to remove records.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use torus_audit::{Event, Fault, Found, Link, Operator, Pseudonym, Record, Verifier, copy};
use torus_statement::PublicKey;
use torus_statement::codec::Wire;

use super::{Journal, text};
use crate::store::{Store, StoreError};

const READ: usize = 64 << 10;
/// Records that one transaction removes.
const DROPS: usize = 10_000;

/// Why a copy is not made, not proven or not enough.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The copy is not proven.
    #[error("{}: {fault}\n{}", path.display(), text::proven(fault.proven.as_deref()))]
    Fault {
        /// The file.
        path: PathBuf,
        /// The first fault.
        fault: Fault,
    },
    /// The copy is of another log.
    #[error("the copy is not of this vault's log, or holds nothing that the log still has")]
    Another,
    /// The copy begins after the log does.
    #[error("the copy lacks the log's first records: take one of the whole log")]
    Later,
}

/// Writes a copy of all kept records; how many.
///
/// # Errors
/// Store or file fails; no half-written file is left under the name.
pub fn export(data: &Path, out: &Path) -> Result<u64, CopyError> {
    let store = Store::open(data)?;
    let journal = Journal::open(&store)?;
    let failed = |source| CopyError::File { path: out.into(), source };
    let part = out.with_extension("part");
    let mut file = BufWriter::new(private(&part).map_err(failed)?);
    let count = store.read(|view| {
        let extent = journal.extent_in(view)?;
        file.write_all(&copy::beginning(extent.base, &extent.before)).map_err(failed)?;
        journal.each(view, extent.base, |record, link| {
            file.write_all(&copy::entry(record, link)).map_err(failed)?;
            Ok::<_, CopyError>(true)
        })?;
        file.write_all(&copy::end(extent.next, &extent.link)).map_err(failed)?;
        Ok::<_, CopyError>(extent.next - extent.base)
    })?;
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&part, out).map_err(failed)?;
    Ok(count)
}

/// A new file for its owner alone: whom it is shown to is his to decide.
fn private(path: &Path) -> io::Result<File> {
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Verifies a copy; `see` is shown its records as far as they are in their places.
///
/// # Errors
/// The file fails, or its first fault.
pub fn verify(
    path: &Path,
    key: PublicKey,
    head: Option<Link>,
    mut see: impl FnMut(&Record),
) -> Result<Found, CopyError> {
    let failed = |source| CopyError::File { path: path.into(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut verifier = Verifier::new(key, head);
    let mut buffer = vec![0; READ];
    loop {
        let count = file.read(&mut buffer).map_err(failed)?;
        if count == 0 {
            break;
        }
        verifier.push(buffer.get(..count).unwrap_or_default(), &mut see);
    }
    verifier.finish().map_err(|fault| CopyError::Fault { path: path.into(), fault })
}

/// The releases of a user in the log, and how often each was repeated in its minute: one line a record.
///
/// # Errors
/// The store fails or is damaged.
pub fn releases(store: &Store, user: &Pseudonym) -> Result<Vec<String>, CopyError> {
    let journal = Journal::open(store)?;
    let (mut lines, mut numbers) = (Vec::new(), BTreeSet::new());
    store.read(|view| {
        journal.each(view, 0, |bytes, _| {
            let record = Record::from_bytes(bytes).map_err(|_| StoreError::Damaged("the audit log"))?;
            let of = match &record.event {
                Event::Release { user: of, .. } if of == user => numbers.insert(record.number),
                Event::Again { release, .. } => numbers.contains(release),
                _ => false,
            };
            if of {
                lines.push(text::line(&record));
            }
            Ok::<_, StoreError>(true)
        })
    })?;
    Ok(lines)
}

/// Removes the records that a proven copy holds, up to its newest checkpoint; the number that the log then begins at.
/// The removal is itself on record. The vault may run.
///
/// # Errors
/// The copy is not proven or not of this log, or the store fails.
pub fn prune(data: &Path, path: &Path, key: PublicKey) -> Result<u64, CopyError> {
    let journal = Journal::open(&Store::open(data)?)?;
    prune_in(&journal, path, key)
}

pub(super) fn prune_in(journal: &Journal, path: &Path, key: PublicKey) -> Result<u64, CopyError> {
    let below = begin_pruning(journal, path, key, DROPS)?;
    while journal.write(|change| journal.drop_some(change, DROPS))? {}
    Ok(below)
}

/// The first transaction, after which the log begins where the copy's proof ends: whole, whatever becomes of the others.
/// They remove what it holds no more, and the vault that runs writes between them. What a crash leaves of it the next
/// pruning removes.
pub(super) fn begin_pruning(journal: &Journal, path: &Path, key: PublicKey, most: usize) -> Result<u64, CopyError> {
    let found = verify(path, key, None, |_| {})?;
    let (below, link) = (found.proven.count, found.proven.link);
    journal.write(|change| {
        let base = journal.extent_of(change)?.base;
        if found.first > base {
            return Err(CopyError::Later);
        }
        if journal.link_of(change, below)? != Some(link) {
            return Err(CopyError::Another);
        }
        if below > base {
            journal.begin_at(change, below, link)?;
            // First, so that there is room for the record where all was used up.
            journal.drop_some(change, most)?;
            journal.append(change, Event::Operator(Operator::Pruned { below }))?;
        }
        Ok(())
    })?;
    Ok(below)
}
