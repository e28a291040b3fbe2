//! The mark that the engine's log must not be replayed, and the log's removal.
//!
//! The engine re-derives its votes from its log and stops for good if one differs from what the log holds. A vault
//! may have answered with another vote than the engine derives, so such a log is dropped at the next start: the
//! vault, not the log, is what keeps this member from voting twice.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tracing::error;

/// The mark's file beside the log.
pub(super) struct Marker {
    path: PathBuf,
    set: Mutex<Option<u64>>,
}

impl Marker {
    /// The marker of a directory.
    pub(super) fn new(directory: &Path) -> Self {
        Self { path: directory.join("wal.drop"), set: Mutex::new(None) }
    }

    /// Marks the log of a height, durably.
    pub(super) fn set(&self, height: u64) {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        if *set == Some(height) {
            return;
        }
        match write(&self.path, height) {
            Ok(()) => *set = Some(height),
            // The engine's own log shares this disk, so it fails next and stops the engine.
            Err(error) => error!(%error, "cannot mark the engine's log"),
        }
    }

    /// Removes the log if it is marked for this height (or the mark does not say), then the mark. `true` if it was.
    pub(super) fn apply(&self, log: &Path, height: u64) -> io::Result<bool> {
        let marked = match fs::read(&self.path) {
            Ok(bytes) => bytes.try_into().map_or(Some(height), |bytes| Some(u64::from_be_bytes(bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let Some(marked) = marked else { return Ok(false) };
        // A log of an older height is emptied by the engine itself.
        let drop = marked >= height && log.exists();
        if drop {
            fs::remove_file(log)?;
        }
        fs::remove_file(&self.path)?;
        sync_directory(&self.path)?;
        Ok(drop)
    }
}

fn write(path: &Path, height: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&height.to_be_bytes())?;
    file.sync_all()?;
    sync_directory(path)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marked_log_is_dropped_once_and_only_at_its_height() {
        let directory = std::env::temp_dir().join(format!("torus-marker-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let log = directory.join("wal");
        let marker = Marker::new(&directory);
        fs::write(&log, b"log").unwrap();
        assert!(!marker.apply(&log, 7).unwrap(), "no mark, no removal");
        marker.set(7);
        assert!(!Marker::new(&directory).apply(&log, 8).unwrap(), "the height was decided since");
        assert!(log.exists());
        Marker::new(&directory).set(8);
        assert!(Marker::new(&directory).apply(&log, 8).unwrap());
        assert!(!log.exists());
        fs::write(&log, b"log").unwrap();
        assert!(!Marker::new(&directory).apply(&log, 8).unwrap(), "the mark went with the log");
        fs::write(directory.join("wal.drop"), b"torn").unwrap();
        assert!(Marker::new(&directory).apply(&log, 8).unwrap(), "a torn mark counts");
        fs::remove_dir_all(&directory).unwrap();
    }
}
