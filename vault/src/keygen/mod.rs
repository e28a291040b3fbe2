//! Key generation of a vault: drives the protocol's participants, seals what travels and what rests, and signs promises.
//!
//! It deals, answers and publishes only what certified facts ask for: what the log has not fixed does not happen here. It
//! refuses a second dealing, a second qualified set and a signature over keys that it did not derive itself. A record is
//! durable before its consequence leaves; a write or a device that fails costs the attempt's memory, as a crash would.
//!
//! One thread owns a [`Keygen`]. A request is taken up at once and done in pieces, those of several batches by turns: no
//! piece is longer than some milliseconds and one operation of the device or one write to disk, and between two of them
//! nothing is lost by a death that a death between two messages would keep.

mod early;
mod envelope;
mod facts;
mod live;
mod messages;
mod records;
mod rows;
mod sessions;
mod shares;
mod tasks;
#[cfg(test)]
pub(crate) mod tests;
mod todo;
mod tools;
mod work;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand_core::CryptoRngCore;
use torus_hsm::Device;
use torus_ipc::deny::Deny;
use torus_ipc::response::Progress;
use torus_memory::Pool;
use torus_statement::certificate::Certified;
use torus_statement::dkg::Attempt;
use torus_statement::envelope::Envelope;
use torus_statement::state::{BatchEntry, Proven};
use torus_statement::{EpochConfig, Index, Signature};

use crate::audit::Journal;
use crate::store::{Store, StoreError};
use early::Early;
use live::Live;
use records::Records;
use sessions::Sessions;
use tasks::{Step, Tasks};
use tools::Tools;

pub use shares::{ShareError, ShareStore};

/// Attempts in the making that this vault holds in memory at a time: two that move, and those of the last ten minutes
/// that nobody can finish and that the log has not abandoned yet, two a minute.
const MAX_MAKING: usize = 24;
/// Published batches that it recovers its shares of, or helps others with, at a time.
const MAX_LATE: usize = 2;
/// Envelopes that one answer to the node holds, in bytes: a message has 16 MiB, and what is no envelope needs some.
const ROOM: usize = 12 << 20;

/// What key generation works with.
pub struct Setup {
    /// The config of the epoch in force.
    pub config: Arc<EpochConfig>,
    /// This member.
    pub me: Index,
    /// The device of this thread.
    pub device: Box<dyn Device>,
    /// The vault's database.
    pub store: Store,
    /// The audit log in it.
    pub audit: Arc<Journal>,
    /// The generator of this thread.
    pub rng: Box<dyn CryptoRngCore + Send>,
    /// The height of the newest certified header when the vault started: only attempts opened above it are dealt in.
    pub start_height: u64,
    /// Where secrets lie.
    pub pool: Pool,
}

/// What the node may ask of key generation.
pub enum Call {
    /// A batch's state under a certified header. Open makes the vault deal, qualified makes it sum, seal and publish,
    /// published makes it acknowledge and, once all have, destroy its rows. Facts may come again and in any order.
    ///
    /// Refused with [`Deny::Header`] under another config, [`Deny::Proof`], [`Deny::Stale`] for an attempt that the log
    /// has left behind, [`Deny::Busy`] if too many attempts are under way (ask again), [`Deny::Attempt`] if the fact
    /// contradicts an earlier one, [`Deny::Store`] and [`Deny::Device`] if those fail: then nothing has left.
    Batch {
        /// The header.
        header: Box<Certified>,
        /// The batch.
        batch: u64,
        /// Its entry.
        entry: Box<Proven<BatchEntry>>,
    },
    /// The keys of a published batch, for a member that could not derive them. The certified fact comes first.
    ///
    /// Refused with [`Deny::Attempt`] without the fact, [`Deny::Proof`] if the digest is another, [`Deny::Malformed`],
    /// and as `Batch` is.
    Keys {
        /// The attempt.
        attempt: Attempt,
        /// Canonical bytes.
        published: Vec<u8>,
    },
    /// An envelope of another vault. One that is of no use any more is taken and dropped; one that comes before its
    /// attempt is held.
    ///
    /// Refused with [`Deny::Envelope`] if it is not from a member, not for this vault or does not open; [`Deny::Busy`] if
    /// it came too early and there is no room, or its sender begins sessions too fast (send again); and as `Batch` is.
    Envelope {
        /// The envelope.
        envelope: Box<Envelope>,
        /// Milliseconds from any fixed point; it only limits rates.
        now: u64,
    },
    /// What is still worth sending, as it was sent: for a node that has forgotten. As much as one message holds; asked
    /// again it goes on with what had no room. Answered when all that was asked before is answered.
    Outbox,
}

/// Answers by the numbers of their requests.
pub type Answers = Vec<(u64, Result<Progress, Deny>)>;

/// The key generation of one vault in one epoch.
pub struct Keygen {
    tools: Tools,
    live: BTreeMap<u64, Live>,
    tasks: Tasks,
    /// What nobody asked for: leaves with the next answer.
    unsaid: Progress,
    early: Early,
    /// Acknowledgements that the log has not shown yet.
    acks: BTreeMap<u64, (Attempt, Signature)>,
    /// When each member was last helped with a batch that is over here.
    helped: BTreeMap<Index, u64>,
    start_height: u64,
    next_turn: u64,
    /// The batch that the next `outbox` begins with: what had no room in one answer is in a later one.
    next_outbox: u64,
    /// The latest time that came with an envelope.
    now: u64,
}

impl Keygen {
    /// Takes up what was durable: repeats the Readies that this vault promised and asks for what it has lost, in the
    /// first slices.
    ///
    /// # Errors
    /// The store does not work.
    pub fn start(setup: Setup) -> Result<Self, Deny> {
        let records = Records::open(&setup.store).map_err(refused)?;
        let sessions = Sessions::new(setup.me, setup.pool);
        let Setup { config, me, device, audit, rng, start_height, pool, .. } = setup;
        let tools = Tools { config, me, device, records, audit, rng, sessions, pool };
        let (live, acks, tasks) = (BTreeMap::new(), BTreeMap::new(), Tasks::default());
        let (early, unsaid) = (Early::default(), Progress::default());
        let helped = BTreeMap::new();
        let (next_turn, next_outbox, now) = (0, 0, 0);
        let mut keygen =
            Self { tools, live, tasks, unsaid, early, acks, helped, start_height, next_turn, next_outbox, now };
        keygen.leave_behind()?;
        keygen.take_up()?;
        Ok(keygen)
    }

    /// Takes a request; its answer comes out of a later slice, under this number.
    pub fn ask(&mut self, number: u64, call: Call) {
        match call {
            Call::Batch { header, batch, entry } => self.tasks.add(Some(number), batch, Step::Fact(header, entry)),
            Call::Keys { attempt, published } => {
                self.tasks.add(Some(number), attempt.batch, Step::Keys(attempt, published));
            }
            Call::Envelope { envelope, now } => {
                let batch = envelope.label.attempt.batch;
                self.tasks.add(Some(number), batch, Step::Envelope(envelope, now));
            }
            Call::Outbox => self.tasks.add_outbox(number),
        }
    }

    /// Whether something is left to do.
    pub fn has_work(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// The request that the next slice works for; none if it is for what nobody asked.
    pub fn turn(&self) -> Option<u64> {
        self.tasks.turn()
    }

    /// Works for about so long, and for one piece at least; what is answered comes back at once. The stack is the caller's
    /// to wipe.
    pub fn slice(&mut self, time: Duration) -> Answers {
        let begun = Instant::now();
        loop {
            let answers = self.piece();
            if !answers.is_empty() || !self.has_work() || begun.elapsed() >= time {
                return answers;
            }
        }
    }

    /// What is still worth sending.
    fn outbox(&mut self) -> Progress {
        self.outbox_within(ROOM)
    }

    fn outbox_within(&mut self, mut room: usize) -> Progress {
        let mut progress = Progress::default();
        let next = std::mem::take(&mut self.next_outbox);
        for (batch, live) in self.live.range(next..).chain(self.live.range(..next)) {
            if !live.repeat(&mut progress, &mut room) {
                self.next_outbox = *batch;
                break;
            }
        }
        progress.acks.extend(self.acks.values().copied());
        progress
    }

    /// Attempts that are under way here.
    pub fn under_way(&self) -> usize {
        self.live.values().filter(|live| !live.published()).count()
    }
}

/// A refusal of the store, told to the operator once here.
fn refused(error: StoreError) -> Deny {
    crate::alarm!("key generation: {error}");
    Deny::Store
}

/// Takes out the envelopes that one message to the node has no room for: what was sealed is kept, and `outbox` gives it.
pub fn fit(progress: &mut Progress) {
    let mut room = ROOM;
    progress.envelopes.retain(|envelope| {
        let left = room.checked_sub(envelope.ciphertext.len());
        room = left.unwrap_or(room);
        left.is_some()
    });
}

/// Adds what a further step gave.
fn join(progress: &mut Progress, more: Progress) {
    progress.envelopes.extend(more.envelopes);
    progress.readies.extend(more.readies);
    progress.keys.extend(more.keys);
    progress.acks.extend(more.acks);
}
