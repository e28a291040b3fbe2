//! What can go wrong in a launcher, told so that the reader knows where to look next.

use std::path::{Path, PathBuf};

/// A failure of the launcher.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// A file, socket or process could not be had.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, with the path.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The request can't be met; the text says what to do instead.
    #[error("{0}")]
    Refused(String),
    /// A step on one member failed.
    #[error("{step} failed on member {member}: {reason}; its log is {}", log.display())]
    Member {
        /// The step, in words.
        step: String,
        /// The member's index.
        member: u8,
        /// Why.
        reason: String,
        /// Where to read on.
        log: PathBuf,
    },
    /// A step of the whole network failed.
    #[error("{step} failed: {reason}; the logs are {}", logs.display())]
    Step {
        /// The step, in words.
        step: String,
        /// Why.
        reason: String,
        /// Where to read on.
        logs: PathBuf,
    },
}

/// The launcher's results.
pub type Result<T> = std::result::Result<T, Trouble>;

/// Names what was tried when the system refuses.
pub(crate) trait Naming<T> {
    fn naming(self, what: impl FnOnce() -> String) -> Result<T>;

    fn at(self, what: &str, path: &Path) -> Result<T>
    where
        Self: Sized,
    {
        self.naming(|| format!("{what} {}", path.display()))
    }
}

impl<T> Naming<T> for std::io::Result<T> {
    fn naming(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Trouble::Io { what: what(), source })
    }
}
