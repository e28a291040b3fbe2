//! Execution of a block: transactions in order, then what time and the buffer ask for, then the new root.

use torus_statement::dkg::KeyIndex;
use torus_statement::state::{BatchEntry, KeyEntry, Phase, Supply, key};
use torus_statement::{Body, EpochConfig, Hash, Transaction};

use crate::at::At;
use crate::error::Failed;
use crate::reject::Reject;
use crate::rules::{Change, Effect, authenticate, effect, vaults_signed};
use crate::state::View;
use crate::tree::{StateReader, TreeUpdate, update};

/// Batches under way at a time, late ones aside.
const MAX_PENDING: usize = 2;
/// How long a batch may take before it is late and the next one opens without it, in milliseconds of header time. Far
/// above what a batch takes: after a restart of many members nobody finishes what was open, and its abandonment is far.
const LATE: u64 = 60_000;
/// Batches under way at a time, late ones included.
const MAX_UNDER_WAY: usize = 64;
/// Published batches with unassigned keys, far above what any sane low-water mark leads to.
const MAX_AVAILABLE: usize = 60_000;

/// What a block does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The root of the state after it.
    pub root: Hash,
    /// Leaves that changed, in the order of their keys.
    pub writes: Vec<(Hash, Vec<u8>)>,
    /// The tree's nodes.
    pub tree: TreeUpdate,
    /// For each transaction, whether it was executed. A block with a refused one is invalid.
    pub results: Vec<Result<(), Reject>>,
    /// Batches whose entry changed, in rising order.
    pub batches: Vec<u64>,
}

/// A block that is being executed: for a proposer, who keeps what is accepted, and for everyone else.
pub struct Execution<'a, R> {
    view: View<'a, R>,
    config: &'a EpochConfig,
    at: At,
    results: Vec<Result<(), Reject>>,
    batches: Vec<u64>,
}

/// Executes a whole block on the state of the height before.
pub fn execute<R: StateReader>(
    reader: &R,
    config: &EpochConfig,
    at: At,
    transactions: &[Transaction],
) -> Result<Outcome, Failed> {
    let mut execution = Execution::new(reader, config, at);
    for transaction in transactions {
        let _ = execution.apply(transaction)?;
    }
    execution.finish()
}

impl Outcome {
    /// Whether every transaction was executed.
    pub fn all_accepted(&self) -> bool {
        self.results.iter().all(Result::is_ok)
    }

    pub(crate) fn of<R: StateReader>(
        view: View<'_, R>,
        height: u64,
        results: Vec<Result<(), Reject>>,
    ) -> Result<Self, Failed> {
        let reader = view.reader();
        let writes = view.into_changes()?;
        let (root, tree) = update(reader, height, &writes)?;
        Ok(Self { root, writes, tree, results, batches: Vec::new() })
    }
}

impl<'a, R: StateReader> Execution<'a, R> {
    /// Begins on the state of the height before.
    pub const fn new(reader: &'a R, config: &'a EpochConfig, at: At) -> Self {
        let view = View::new(reader, at.height.saturating_sub(1));
        Self { view, config, at, results: Vec::new(), batches: Vec::new() }
    }

    /// Executes one transaction; a refused one changes nothing.
    pub fn apply(&mut self, transaction: &Transaction) -> Result<Result<(), Reject>, Failed> {
        let result = self.try_apply(transaction)?;
        self.results.push(result);
        Ok(result)
    }

    /// Does what is due at the end of every block, transactions or not, and computes the root.
    pub fn finish(mut self) -> Result<Outcome, Failed> {
        let mut supply = self.view.supply()?;
        let on_time = self.abandon(&supply)?;
        self.refill(&mut supply, on_time);
        self.view.put(key::supply(), &supply);
        let Self { view, at, results, mut batches, .. } = self;
        batches.sort_unstable();
        batches.dedup();
        Ok(Outcome { batches, ..Outcome::of(view, at.height, results)? })
    }

    fn try_apply(&mut self, transaction: &Transaction) -> Result<Result<(), Reject>, Failed> {
        if let Err(reject) = authenticate(self.config, transaction) {
            return Ok(Err(reject));
        }
        let effect = match effect(&self.view, self.config, self.at, transaction)? {
            Ok(effect) => effect,
            Err(reject) => return Ok(Err(reject)),
        };
        if let Err(reject) = vaults_signed(self.config, transaction, &self.view) {
            return Ok(Err(reject));
        }
        self.change(transaction, effect);
        Ok(Ok(()))
    }

    fn change(&mut self, transaction: &Transaction, Effect { sender, change }: Effect) {
        self.view.put(key::member(transaction.sender), &sender);
        match (change, &transaction.body) {
            (Change::Assign { supply, allowance, assignment }, Body::Assign { verifier, user }) => {
                self.view.put(key::supply(), &supply);
                self.view.put(key::verifier_allowance(verifier), &allowance);
                self.view.put(key::assignment(verifier, user), &assignment);
            }
            (Change::Qualify { entry } | Change::Ack { entry }, body) => self.put_batch(batch_of(body), &entry),
            (Change::Publish { supply, entry, keys }, body) => {
                let batch = batch_of(body);
                self.view.put(key::supply(), &supply);
                self.put_batch(batch, &entry);
                for (position, published) in (0..).zip(keys) {
                    let Some(index) = KeyIndex::new(batch, position) else { break };
                    let entry = KeyEntry { public: published.public, commitments: published.commitments };
                    self.view.put(key::key(index), &entry);
                }
            }
            (Change::Audit { entry }, _) => self.view.put(key::audit(transaction.sender), &entry),
            (Change::Assign { .. }, _) => {}
        }
    }

    /// Ends attempts that took too long by header time: the next attempt opens. Returns how many keys and batches are
    /// still expected in time: one that was qualified long ago holds up no other.
    fn abandon(&mut self, supply: &Supply) -> Result<(u64, usize), Failed> {
        let times = &self.config.committee().times;
        let (mut keys, mut count) = (0u64, 0usize);
        for batch in &supply.pending {
            let Some(mut entry) = self.view.batch(*batch)? else {
                return Err(Failed::Damaged(format!("pending batch {batch} has no entry")));
            };
            let (since, limit) = match &entry.phase {
                Phase::Open => (entry.time, times.abandon_open),
                Phase::Qualified { time, .. } => (*time, times.abandon_qualified),
                Phase::Published { .. } => return Err(Failed::Damaged(format!("published batch {batch} is pending"))),
            };
            let age = self.at.time.saturating_sub(since);
            if age >= u64::from(limit) {
                entry = self.opened(entry.attempt.saturating_add(1), entry.keys);
                self.put_batch(*batch, &entry);
            } else if age >= LATE {
                continue;
            }
            keys = keys.saturating_add(u64::from(entry.keys));
            count = count.saturating_add(1);
        }
        Ok((keys, count))
    }

    /// Opens batches until enough keys are there or on their way.
    fn refill(&mut self, supply: &mut Supply, (mut keys, mut count): (u64, usize)) {
        let buffer = self.config.committee().buffer;
        while supply.unassigned().saturating_add(keys) < u64::from(buffer.low_water)
            && count < MAX_PENDING
            && supply.pending.len() < MAX_UNDER_WAY
            && supply.available.len() < MAX_AVAILABLE
        {
            let batch = supply.next_batch;
            // The last number that still has room for its keys' indices.
            let Some(next) = batch.checked_add(1).filter(|next| KeyIndex::new(*next, 255).is_some()) else { break };
            let entry = self.opened(0, buffer.batch);
            self.put_batch(batch, &entry);
            supply.next_batch = next;
            supply.pending.push(batch);
            keys = keys.saturating_add(u64::from(buffer.batch));
            count = count.saturating_add(1);
        }
    }

    const fn opened(&self, attempt: u32, keys: u16) -> BatchEntry {
        BatchEntry { attempt, keys, height: self.at.height, time: self.at.time, phase: Phase::Open }
    }

    fn put_batch(&mut self, batch: u64, entry: &BatchEntry) {
        self.view.put(key::batch(batch), entry);
        self.batches.push(batch);
    }
}

const fn batch_of(body: &Body) -> u64 {
    match body {
        Body::Propose { attempt, .. } | Body::Keys { attempt, .. } | Body::Ack { attempt, .. } => attempt.batch,
        Body::Assign { .. } | Body::AuditHead(_) => 0,
    }
}
