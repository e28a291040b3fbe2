//! What is under way, durable before it leaves: so that no transaction is made twice, whatever ends the process when.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use torus_statement::{Hash, keccak256};

/// Most bytes that are kept.
pub const MAX_KEPT: usize = 64 << 10;

/// A place for one record. Calls return when it is done; they take as long as the disk does.
pub trait Journal: Send + Sync {
    /// What was kept last; `None` if nothing is.
    fn load(&self) -> io::Result<Option<Vec<u8>>>;

    /// Keeps this instead. When it returns, it survives the loss of power.
    fn keep(&self, record: &[u8]) -> io::Result<()>;

    /// Keeps nothing more.
    fn clear(&self) -> io::Result<()>;
}

const MAGIC: &[u8; 8] = b"torusjr1";
/// Magic, number, length, checksum.
const HEAD: usize = 8 + 8 + 4 + 32;
const SLOT: u64 = (HEAD + MAX_KEPT) as u64;

/// A journal in a file that is opened once, before the lockdown, and written in place. It has two slots that are written
/// in turn, so that a write that is cut off leaves the record before.
pub struct FileJournal {
    file: File,
    /// The number of the newest record.
    newest: Mutex<u64>,
}

impl FileJournal {
    /// Opens or makes the file, of mode 600.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        let slots = [slot(&file, 0)?, slot(&file, 1)?];
        // The first record goes into the second slot: when there is anything in the first one, a record has been whole.
        let mut second = [0; 8];
        if slots.iter().all(Option::is_none) && read(&file, &mut second, 0)? && second != [0; 8] {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "both records are damaged: look for pending transactions of the account before you remove the file",
            ));
        }
        let newest = slots.iter().flatten().map(|(number, _)| *number).max().unwrap_or_default();
        Ok(Self { file, newest: Mutex::new(newest) })
    }
}

impl Journal for FileJournal {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        let newest = *self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let record = slot(&self.file, newest % 2)?.filter(|(number, _)| *number == newest);
        match record {
            Some((_, record)) => Ok(Some(record).filter(|record| !record.is_empty())),
            None if newest == 0 => Ok(None),
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "the newest record is damaged")),
        }
    }

    fn keep(&self, record: &[u8]) -> io::Result<()> {
        if record.len() > MAX_KEPT {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the record is too large"));
        }
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let number = newest.checked_add(1).ok_or(io::ErrorKind::InvalidData)?;
        let mut bytes = Vec::with_capacity(HEAD + record.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(record.len()).unwrap_or_default().to_be_bytes());
        bytes.extend_from_slice(&checksum(number, record));
        bytes.extend_from_slice(record);
        self.file.write_all_at(&bytes, (number % 2) * SLOT)?;
        self.file.sync_data()?;
        *newest = number;
        Ok(())
    }

    fn clear(&self) -> io::Result<()> {
        self.keep(&[])
    }
}

/// The number and record in a slot; `None` if it holds no whole one.
fn slot(file: &File, slot: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut head = [0; HEAD];
    if !read(file, &mut head, slot * SLOT)? {
        return Ok(None);
    }
    let (magic, rest) = head.split_at(8);
    let (number, rest) = rest.split_at(8);
    let (length, sum) = rest.split_at(4);
    let number = number.try_into().map(u64::from_be_bytes).unwrap_or_default();
    let length = length.try_into().map(u32::from_be_bytes).unwrap_or_default() as usize;
    if magic != MAGIC || length > MAX_KEPT {
        return Ok(None);
    }
    let mut record = vec![0; length];
    let whole = read(file, &mut record, slot * SLOT + HEAD as u64)?;
    Ok((whole && sum == checksum(number, &record)).then_some((number, record)))
}

/// Whether all of the bytes are there.
fn read(file: &File, bytes: &mut [u8], at: u64) -> io::Result<bool> {
    match file.read_exact_at(bytes, at) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn checksum(number: u64, record: &[u8]) -> Hash {
    keccak256(&[&number.to_be_bytes(), record].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_last_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let journal = FileJournal::open(&path).unwrap();
        assert_eq!(journal.load().unwrap(), None);
        for round in 0u8..5 {
            journal.keep(&[round; 100]).unwrap();
            assert_eq!(journal.load().unwrap(), Some(vec![round; 100]));
            assert_eq!(FileJournal::open(&path).unwrap().load().unwrap(), Some(vec![round; 100]));
        }
        journal.clear().unwrap();
        assert_eq!(FileJournal::open(&path).unwrap().load().unwrap(), None);
        assert!(journal.keep(&vec![0; MAX_KEPT + 1]).is_err());
    }

    #[test]
    fn a_write_that_was_cut_off_leaves_the_record_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let journal = FileJournal::open(&path).unwrap();
        journal.keep(b"one").unwrap();
        journal.keep(b"two").unwrap();
        // The third goes into the first one's slot.
        for cut in [0, 8, 20, HEAD as u64, HEAD as u64 + 2] {
            journal.file.write_all_at(&[0xa5; 4], SLOT + cut).unwrap();
            assert_eq!(FileJournal::open(&path).unwrap().load().unwrap(), Some(b"two".to_vec()), "at {cut}");
        }
    }

    #[test]
    fn a_file_of_which_nothing_is_whole_is_not_taken_for_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let journal = FileJournal::open(&path).unwrap();
        journal.keep(b"one").unwrap();
        journal.keep(b"two").unwrap();
        for slot in [0, 1] {
            journal.file.write_all_at(&[0xff; 16], slot * SLOT).unwrap();
        }
        assert!(FileJournal::open(&path).is_err());
    }
}
