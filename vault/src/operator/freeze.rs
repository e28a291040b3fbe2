//! The operator's own socket: stops and resumes the vault while it runs, whatever its node does.
//!
//! It lies in the vault's directory, which only the vault's user may enter, and takes connections of that user (or root)
//! only. A word is one line: `freeze REASON`, `unfreeze`, `approve HASH`, `withdraw` (`approve.rs`), or the question `landlock`. A
//! frozen vault signs no receipt and releases nothing, durably, over restarts too; it still votes and generates keys, which
//! give nothing away. What a contradiction stopped is not resumed here.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use torus_audit::{Event, Operator as Act};
use torus_statement::Hash;
use torus_statement::receipt::{hex, unhex};

use crate::advance::bounded;
use crate::audit::Journal;
use crate::configs;
use crate::descriptors::{either, either_until, own_uid, peer_pid, peer_uid};
use crate::member::Member;
use crate::store::{Change, Store, StoreError};

const NAME: &str = "operator.sock";
const HELD: &[u8] = b"held";
/// Most bytes of a line.
const LINE: usize = 512;
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a whole line may take. Lines come one after another, so that some connections which say nothing leave the next
/// one its answer in time.
const DEADLINE: Duration = Duration::from_secs(2);
/// Asks whether Landlock is in force.
const LANDLOCK: &str = "landlock";

/// What the operator says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Stop; the reason is for the log.
    Freeze(String),
    /// Resume.
    Unfreeze,
    /// The committee of the next epoch is approved, by its hash.
    Approve(Hash),
    /// No committee is approved any more.
    Withdraw,
}

/// Why the operator's word did not arrive, or had no effect.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// There is no running vault there.
    #[error("no vault is running on {}: {source}", path.display())]
    Absent {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The connection broke; look at the vault's log.
    #[error("the vault did not answer: {0}")]
    Silent(io::Error),
    /// The vault says no.
    #[error("the vault refuses: {0}")]
    Refused(String),
}

impl Word {
    fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("freeze", reason) => Some(Self::Freeze(reason.trim().chars().filter(|c| !c.is_control()).collect())),
            ("unfreeze", "") => Some(Self::Unfreeze),
            ("withdraw", "") => Some(Self::Withdraw),
            ("approve", hash) => unhex(hash).map(Self::Approve),
            _ => None,
        }
    }

    fn line(&self) -> String {
        match self {
            // No longer than the record of it: a line that is too long would not be heard.
            Self::Freeze(reason) => format!("freeze {}\n", bounded(reason).replace(char::is_control, " ")),
            Self::Unfreeze => "unfreeze\n".to_owned(),
            Self::Withdraw => "withdraw\n".to_owned(),
            Self::Approve(committee) => format!("approve {}\n", hex(committee)),
        }
    }
}

/// Says something to the vault that runs on `data`.
///
/// # Errors
/// It does not run, or refuses.
pub fn say(data: &Path, word: &Word) -> Result<String, OperatorError> {
    exchange(data, &word.line())
}

/// Whether Landlock binds the vault that runs on `data`.
///
/// # Errors
/// None runs, or it does not say.
pub fn landlock(data: &Path) -> Result<bool, OperatorError> {
    match exchange(data, &format!("{LANDLOCK}\n"))?.as_str() {
        "yes" => Ok(true),
        "no" => Ok(false),
        other => Err(OperatorError::Refused(other.to_owned())),
    }
}

fn exchange(data: &Path, line: &str) -> Result<String, OperatorError> {
    let path = data.join(NAME);
    let mut stream = UnixStream::connect(&path).map_err(|source| OperatorError::Absent { path, source })?;
    let mut answer = String::new();
    let spoken = stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.write_all(line.as_bytes()))
        .and_then(|()| stream.take(LINE as u64).read_to_string(&mut answer));
    spoken.map_err(OperatorError::Silent)?;
    match answer.trim_end().split_once(' ') {
        Some(("ok", text)) => Ok(text.to_owned()),
        _ => Err(OperatorError::Refused(answer.trim_end().to_owned())),
    }
}

/// The process of the vault that runs on `data`; `None` if none does.
pub fn running(data: &Path) -> Option<u32> {
    UnixStream::connect(data.join(NAME)).ok().and_then(|stream| peer_pid(&stream).ok())
}

/// The operator's end of the vault.
pub struct Operator {
    listener: UnixListener,
    /// The vault's own user, who is the operator.
    uid: u32,
    /// Readable once the vault is told to stop.
    stop: OwnedFd,
}

impl Operator {
    /// Opens the socket. Before lockdown.
    ///
    /// # Errors
    /// The system refuses.
    pub fn listen(data: &Path, stop: OwnedFd) -> io::Result<Self> {
        let path = data.join(NAME);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, uid: own_uid(), stop })
    }

    /// Listens to the operator until the signal to stop.
    pub fn attend(&self, member: &Member) {
        loop {
            match either(&self.stop, &self.listener) {
                Ok((false, _)) => {}
                Ok((true, _)) => return,
                Err(error) => {
                    crate::alarm!("the operator's socket cannot be watched, the vault hears him no more: {error}");
                    return;
                }
            }
            // A failed accept is that connection's loss; the pause keeps a lasting failure from spinning.
            let Ok((stream, _)) = self.listener.accept() else {
                std::thread::sleep(Duration::from_millis(100));
                continue;
            };
            if let Err(error) = self.hear(member, stream) {
                crate::warning!("the operator's connection: {error}");
            }
        }
    }

    fn hear(&self, member: &Member, mut stream: UnixStream) -> io::Result<()> {
        let uid = peer_uid(&stream)?;
        if uid != self.uid && uid != 0 {
            crate::warning!("a connection of uid {uid} to the operator's socket was refused");
            return Ok(());
        }
        stream.set_write_timeout(Some(DEADLINE))?;
        let end = Instant::now() + DEADLINE;
        let mut line = Vec::new();
        while !line.ends_with(b"\n") && line.len() < LINE {
            let mut more = [0; LINE];
            match either_until(&self.stop, &stream, end)? {
                (true, _) => return Ok(()),
                (_, false) => return Err(io::Error::new(io::ErrorKind::TimedOut, "no whole line came in time")),
                (_, true) => {}
            }
            match stream.read(&mut more)? {
                0 => break,
                len => line.extend_from_slice(more.get(..len).unwrap_or_default()),
            }
        }
        // Who only looks whether there is a vault.
        if line.is_empty() {
            return Ok(());
        }
        let line = String::from_utf8_lossy(&line);
        let said = line.strip_suffix('\n');
        let answer = match said.and_then(Word::parse) {
            None if said == Some(LANDLOCK) => {
                let in_force = member.health.landlock.load(Ordering::Relaxed);
                format!("ok {}\n", if in_force { "yes" } else { "no" })
            }
            None => "no such word: freeze REASON, unfreeze, approve HASH, withdraw, landlock\n".to_owned(),
            Some(word) => match member.obey(&word) {
                Ok(text) => format!("ok {text}\n"),
                Err(error) => format!("it cannot be kept: {error}\n"),
            },
        };
        stream.write_all(answer.as_bytes())
    }
}

/// The operator's reason for a stop that is in force.
///
/// # Errors
/// The store fails.
pub fn held(store: &Store) -> Result<Option<String>, StoreError> {
    store.read(|view| Ok(view.get(store.meta(), HELD)?.map(|reason| String::from_utf8_lossy(reason).into_owned())))
}

/// Whether the operator has stopped the vault, as a transaction finds it.
///
/// # Errors
/// The store fails.
pub fn is_held(change: &Change<'_>, store: &Store) -> Result<bool, StoreError> {
    Ok(change.get(store.meta(), HELD)?.is_some())
}

/// Makes the operator's word durable.
///
/// # Errors
/// The store fails; nothing has changed then.
pub fn keep(audit: &Journal, store: &Store, word: &Word) -> Result<(), StoreError> {
    audit.write(|change| {
        let act = match word {
            Word::Freeze(reason) => {
                change.put(store.meta(), HELD, reason.as_bytes())?;
                Act::Froze { reason: bounded(reason) }
            }
            Word::Unfreeze => {
                change.delete(store.meta(), HELD)?;
                Act::Unfroze
            }
            Word::Withdraw => {
                configs::withdraw(change, store)?;
                Act::Withdrew
            }
            Word::Approve(committee) => {
                configs::approve(change, store, committee)?;
                Act::Approved { committee: *committee }
            }
        };
        audit.append(change, Event::Operator(act)).map(drop)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_heard_as_it_was_said_and_nothing_else_is_one() {
        for word in [
            Word::Freeze("the node was broken into".into()),
            Word::Freeze(String::new()),
            Word::Unfreeze,
            Word::Approve([0xa5; 32]),
            Word::Withdraw,
        ] {
            assert_eq!(Word::parse(word.line().trim_end_matches('\n')), Some(word));
        }
        for nonsense in ["", " ", "melt", "freezer", "unfreeze now", "FREEZE", "\u{0}", "approve", "approve A5"] {
            assert_eq!(Word::parse(nonsense), None, "{nonsense:?}");
        }
        assert_eq!(Word::Freeze("a\nunfreeze".into()).line(), "freeze a unfreeze\n");
        assert!(Word::Freeze("é".repeat(10_000)).line().len() < LINE, "a reason of any length freezes");
    }

    #[test]
    fn a_stop_is_kept_until_it_is_lifted() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        assert_eq!(held(&store).unwrap(), None);
        let audit = Journal::open(&store).unwrap();
        keep(&audit, &store, &Word::Freeze("look".into())).unwrap();
        drop((audit, store));
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(held(&store).unwrap(), Some("look".into()));
        keep(&Journal::open(&store).unwrap(), &store, &Word::Unfreeze).unwrap();
        assert_eq!(held(&store).unwrap(), None);
    }
}
