//! Signed heads: after so many records, or so long after something new, the identity signs how far the log has come.
//!
//! A thread of its own does it, with a session of its own: nobody waits for it, and it waits for nobody. When there is
//! nothing new it signs nothing. It also ends the minutes in which refusals are counted.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use torus_audit::event::Checkpoint;
use torus_hsm::Device;
use torus_statement::{AuditHead, SignedAuditHead, keccak256};

use crate::member::Member;
use crate::signing;
use crate::store::StoreError;

/// Records after which a head is signed, whatever they are.
pub const RECORDS: u64 = 1024;
/// How long after something new a head is signed.
pub const PATIENCE: Duration = Duration::from_secs(30);
const MINUTE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_secs(1);
/// Parts of a hundred of the log's room at which its operator is told.
const LEVELS: [u64; 5] = [50, 75, 90, 95, 100];

/// The thread that signs heads. Told to stop, it signs what there is and ends.
pub struct Heads {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

struct Signer {
    member: Arc<Member>,
    device: Box<dyn Device>,
    start: u64,
    news_since: Option<Instant>,
    minute: Instant,
    /// An error was told, and lasts.
    told: bool,
    /// How full the log was when that was told last, in parts of a hundred.
    filled: u64,
}

impl Heads {
    /// Starts it. `start` is the token's counter.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start(member: Arc<Member>, device: Box<dyn Device>, start: u64) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let signer = Signer { member, device, start, news_since: None, minute: Instant::now(), told: false, filled: 0 };
        let run = move || signer.run(&stopped);
        Ok(Self { stop, thread: thread::Builder::new().name("audit".to_owned()).spawn(run)? })
    }

    /// Ends it, once it has signed everything that is on record.
    pub fn finish(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

impl Signer {
    fn run(mut self, stopped: &Receiver<()>) {
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK) {
            let minute = self.minute.elapsed() >= MINUTE;
            if minute {
                self.minute = Instant::now();
            }
            let looked = self.look(minute);
            self.tell(looked);
        }
        let last = self.last();
        self.tell(last);
    }

    fn look(&mut self, minute: bool) -> Result<(), StoreError> {
        let journal = self.member.audit.clone();
        if minute {
            journal.end_minute()?
        } else {
            journal.keep_refusals()?
        }
        let extent = journal.extent()?;
        self.room(journal.filled(&extent));
        if extent.news <= extent.signed {
            self.news_since = None;
        } else if self.news_since.is_none() {
            self.news_since = Some(Instant::now());
        }
        let waited = self.news_since.is_some_and(|since| since.elapsed() >= PATIENCE);
        if waited || extent.next.saturating_sub(extent.signed) >= RECORDS { self.sign() } else { Ok(()) }
    }

    /// Tells in time that the log fills: without room in it nobody logs in.
    fn room(&mut self, filled: u64) {
        let Some(level) = LEVELS.into_iter().rev().find(|level| filled >= *level) else {
            self.filled = 0;
            return;
        };
        if level > self.filled {
            crate::alarm!(
                "the audit log's room is {filled} % used, and without room nothing is released: `torus-vault audit export`, \
                 then `audit prune`"
            );
        }
        self.filled = level;
    }

    /// At a stop: everything that was counted becomes a record, and everything on record is signed.
    fn last(&mut self) -> Result<(), StoreError> {
        self.member.audit.end_minute()?;
        let extent = self.member.audit.extent()?;
        if extent.news > extent.signed { self.sign() } else { Ok(()) }
    }

    fn sign(&mut self) -> Result<(), StoreError> {
        let (member, journal) = (&self.member, &self.member.audit);
        let extent = journal.extent()?;
        let (guards, own) = member.keeper.look();
        let time = own.max(guards.floor);
        let head = AuditHead { start: self.start, count: extent.next, link: extent.link, time };
        let chain = member.config.committee().chain;
        let prehash = keccak256(&head.preimage(&chain, member.index));
        // A device that fails has been told of; the next look tries again.
        let Ok(signature) = member.health.device(signing::identity(self.device.as_mut(), &prehash)) else {
            return Ok(());
        };
        let signed = SignedAuditHead { head, signature };
        let AuditHead { start, count, time, .. } = head;
        let checkpoint = Checkpoint { chain, member: member.index, start, count, time, signature };
        if journal.sign_off(&signed, checkpoint)? {
            self.news_since = None;
        }
        Ok(())
    }

    fn tell(&mut self, looked: Result<(), StoreError>) {
        match looked {
            Ok(()) => self.told = false,
            Err(error) if !self.told => {
                self.told = true;
                crate::alarm!("the audit log is not signed: {error}");
            }
            Err(_) => {}
        }
    }
}
