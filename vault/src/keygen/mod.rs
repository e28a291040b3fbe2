//! Key generation of a vault: drives the protocol's participants, seals what travels and what rests, and signs promises.
//!
//! It deals, answers and publishes only what certified facts ask for: what the log has not fixed does not happen here. It
//! refuses a second dealing, a second qualified set and a signature over keys that it did not derive itself. A record is
//! durable before its consequence leaves; a write or a device that fails costs the attempt's memory, as a crash would.
//!
//! One thread owns a [`Keygen`]. No call waits for anything but its own device and disk; the longest are one dealing and
//! one opening of a batch, which `vault/docs/shares-at-rest.md` gives the sizes of.

mod early;
mod envelope;
mod facts;
mod live;
mod messages;
mod records;
mod rows;
mod sessions;
mod shares;
#[cfg(test)]
mod tests;
mod tools;

use std::collections::BTreeMap;
use std::sync::Arc;

use rand_core::CryptoRngCore;
use torus_hsm::Device;
use torus_ipc::deny::Deny;
use torus_ipc::response::Progress;
use torus_statement::certificate::Certified;
use torus_statement::dkg::Attempt;
use torus_statement::envelope::Envelope;
use torus_statement::state::{BatchEntry, Proven};
use torus_statement::{EpochConfig, Index, Signature};

use crate::scrub;
use crate::store::{Store, StoreError};
use early::Early;
use live::Live;
use records::Records;
use sessions::Sessions;
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
    /// The generator of this thread.
    pub rng: Box<dyn CryptoRngCore + Send>,
    /// The height of the newest certified header when the vault started: only attempts opened above it are dealt in.
    pub start_height: u64,
}

/// The key generation of one vault in one epoch.
pub struct Keygen {
    tools: Tools,
    live: BTreeMap<u64, Live>,
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
    /// Takes up what was durable: repeats the Readies that this vault promised and asks for what it has lost.
    ///
    /// # Errors
    /// The store or the device does not work.
    pub fn start(setup: Setup) -> Result<(Self, Progress), Deny> {
        scrub::clean(|| {
            let records = Records::open(&setup.store).map_err(refused)?;
            let sessions = Sessions::new(setup.me);
            let tools =
                Tools { config: setup.config, me: setup.me, device: setup.device, records, rng: setup.rng, sessions };
            let (live, acks) = (BTreeMap::new(), BTreeMap::new());
            let (early, start_height) = (Early::default(), setup.start_height);
            let helped = BTreeMap::new();
            let (next_turn, next_outbox, now) = (0, 0, 0);
            let mut keygen = Self { tools, live, early, acks, helped, start_height, next_turn, next_outbox, now };
            let progress = keygen.take_up()?;
            Ok((keygen, progress))
        })
    }

    /// A batch's state under a certified header. Open makes the vault deal, qualified makes it sum, seal and publish,
    /// published makes it acknowledge and, once all have, destroy its rows. Facts may come again and in any order.
    ///
    /// # Errors
    /// [`Deny::Header`] under another config, [`Deny::Proof`], [`Deny::Stale`] for an attempt that the log has left
    /// behind, [`Deny::Busy`] if too many attempts are under way (ask again), [`Deny::Attempt`] if the fact contradicts
    /// an earlier one, [`Deny::Store`] and [`Deny::Device`] if those fail: then nothing has left.
    pub fn handle_batch(
        &mut self,
        header: &Certified,
        batch: u64,
        entry: &Proven<BatchEntry>,
    ) -> Result<Progress, Deny> {
        scrub::clean(|| self.on_batch(header, batch, entry))
    }

    /// The keys of a published batch, for a member that could not derive them. The certified fact comes first.
    ///
    /// # Errors
    /// [`Deny::Attempt`] without the fact, [`Deny::Proof`] if the digest is another, [`Deny::Malformed`], and those of
    /// `handle_batch`.
    pub fn handle_keys(&mut self, attempt: Attempt, published: &[u8]) -> Result<Progress, Deny> {
        scrub::clean(|| self.on_keys(attempt, published))
    }

    /// An envelope of another vault; `now` counts milliseconds from any fixed point and only limits rates. An envelope
    /// that is of no use any more is taken and dropped; one that comes before its attempt is held.
    ///
    /// # Errors
    /// [`Deny::Envelope`] if it is not from a member, not for this vault or does not open; [`Deny::Busy`] if it came
    /// too early and there is no room, or its sender begins sessions too fast (send again); those of `handle_batch`.
    pub fn deliver(&mut self, envelope: Envelope, now: u64) -> Result<Progress, Deny> {
        scrub::clean(|| self.on_envelope(envelope, now))
    }

    /// What is still worth sending, as it was sent: for a node that has forgotten. As much as one message holds; asked
    /// again it goes on with what had no room.
    pub fn outbox(&mut self) -> Progress {
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

    /// Changes live state; if that fails, what was in memory is forgotten as in a crash: only what is durable counts,
    /// and nothing of this call leaves.
    fn with_live(
        &mut self,
        batch: u64,
        act: impl FnOnce(&mut Live, &mut Tools, &mut Progress) -> Result<(), Deny>,
    ) -> Result<Progress, Deny> {
        let mut progress = Progress::default();
        let Some(live) = self.live.get_mut(&batch) else { return Ok(progress) };
        if let Err(deny) = act(live, &mut self.tools, &mut progress) {
            if matches!(deny, Deny::Store | Deny::Device | Deny::Commitment) {
                self.live.remove(&batch);
            }
            return Err(deny);
        }
        Ok(progress)
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
