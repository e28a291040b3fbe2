//! The mark that the engine's log must not be replayed, and the log's removal.
//!
//! The engine re-derives its votes from its log and stops for good if one differs from what the log holds. A vault
//! may have answered with another vote than the engine derives, so such a log is dropped at the next start: the
//! vault, not the log, is what keeps this member from voting twice.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tracing::error;

/// The mark's file beside the log: empty, or the height of the log that is not to be replayed. It is opened once, since
/// a node that serves opens no file.
pub(super) struct Marker {
    file: File,
    set: Mutex<Option<u64>>,
}

impl Marker {
    /// The marker of a directory.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(directory.join("wal.drop"))?;
        // A mark that is set later is durable only if its file's name is.
        File::open(directory)?.sync_all()?;
        Ok(Self { file, set: Mutex::new(None) })
    }

    /// Marks the log of a height, durably.
    pub(super) fn set(&self, height: u64) {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        if *set == Some(height) {
            return;
        }
        match self.file.write_all_at(&height.to_be_bytes(), 0).and_then(|()| self.file.sync_data()) {
            Ok(()) => *set = Some(height),
            // The engine's own log shares this disk, so it fails next and stops the engine.
            Err(error) => error!(%error, "cannot mark the engine's log"),
        }
    }

    /// Removes the log if it is marked for this height (or the mark does not say), then the mark. `true` if it was.
    pub(super) fn apply(&self, log: &Path, height: u64) -> io::Result<bool> {
        let mut bytes = [0; 9];
        let marked = match self.read(&mut bytes)? {
            [] => return Ok(false),
            bytes => bytes.try_into().map_or(height, u64::from_be_bytes),
        };
        // A log of an older height is emptied by the engine itself.
        let drop = marked >= height && log.exists();
        if drop {
            fs::remove_file(log)?;
            log.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())?;
        }
        self.file.set_len(0)?;
        self.file.sync_all()?;
        Ok(drop)
    }

    fn read<'a>(&self, bytes: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let mut length = 0;
        while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, length as u64)? {
                0 => break,
                read => length += read,
            }
        }
        Ok(bytes.get(..length).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marked_log_is_dropped_once_and_only_at_its_height() {
        let directory = std::env::temp_dir().join(format!("torus-marker-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let log = directory.join("wal");
        let open = || Marker::open(&directory).unwrap();
        let marker = open();
        fs::write(&log, b"log").unwrap();
        assert!(!marker.apply(&log, 7).unwrap(), "no mark, no removal");
        marker.set(7);
        assert!(!open().apply(&log, 8).unwrap(), "the height was decided since");
        assert!(log.exists());
        open().set(8);
        assert!(open().apply(&log, 8).unwrap());
        assert!(!log.exists());
        fs::write(&log, b"log").unwrap();
        assert!(!open().apply(&log, 8).unwrap(), "the mark went with the log");
        fs::write(directory.join("wal.drop"), b"torn").unwrap();
        assert!(open().apply(&log, 8).unwrap(), "a torn mark counts");
        fs::remove_dir_all(&directory).unwrap();
    }
}
