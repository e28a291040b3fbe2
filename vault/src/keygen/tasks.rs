//! Requests under way: those of one batch one after another, those of different batches by turns, a piece at a time.

use std::collections::{BTreeMap, VecDeque};

use torus_ipc::deny::Deny;
use torus_ipc::response::Progress;
use torus_protocol::SecretBytes;
use torus_statement::certificate::Certified;
use torus_statement::dkg::{Attempt, Dealing};
use torus_statement::envelope::Envelope;
use torus_statement::state::{BatchEntry, Proven};

use super::records::BatchRecord;

/// What one request has still to bring about in its batch.
pub(super) struct Task {
    /// The request's number; none if nobody asked (what is taken up at a start).
    pub(super) number: Option<u64>,
    /// Grows with every task.
    age: u64,
    pub(super) steps: VecDeque<Step>,
    /// The answer so far.
    pub(super) progress: Progress,
    /// How many of its envelopes and readies the attempt remembers already.
    pub(super) remembered: (usize, usize),
    /// The refusal that the answer will be.
    pub(super) denied: Option<Deny>,
    /// What goes wrong with the present step is nobody's answer.
    pub(super) early: bool,
    /// The batch was acknowledged in this task, and has left memory.
    pub(super) settled: bool,
}

/// A step begins when nothing is left to do of the one before.
pub(super) enum Step {
    /// Something the log says.
    Fact(Box<Certified>, Box<Proven<BatchEntry>>),
    /// The log fixed the qualified set.
    Qualify(Vec<Dealing>),
    /// An attempt from before the start.
    TakeUp(BatchRecord),
    /// The keys of a published batch.
    Keys(Attempt, Vec<u8>),
    /// An envelope, and when it came.
    Envelope(Box<Envelope>, u64),
    /// One that was held for its attempt.
    Early(Box<Envelope>),
    /// What it asked for when the attempt was revived to help its sender.
    Help(Box<Envelope>, SecretBytes),
    /// Envelopes that waited for the attempt.
    TakeEarly(Attempt),
}

/// All requests under way.
#[derive(Default)]
pub(super) struct Tasks {
    by_batch: BTreeMap<u64, VecDeque<Task>>,
    /// Batches that have tasks; the first is next.
    turns: VecDeque<u64>,
    /// Requests for the outbox, which wait for all that was asked before.
    outboxes: VecDeque<(u64, u64)>,
    next_age: u64,
}

impl Tasks {
    /// Queues a request behind those of its batch.
    pub(super) fn add(&mut self, number: Option<u64>, batch: u64, step: Step) {
        let task = Task {
            number,
            age: self.age(),
            steps: VecDeque::from([step]),
            progress: Progress::default(),
            remembered: (0, 0),
            denied: None,
            early: false,
            settled: false,
        };
        let queue = self.by_batch.entry(batch).or_default();
        if queue.is_empty() {
            self.turns.push_back(batch);
        }
        queue.push_back(task);
    }

    pub(super) fn add_outbox(&mut self, number: u64) {
        let age = self.age();
        self.outboxes.push_back((number, age));
    }

    fn age(&mut self) -> u64 {
        self.next_age += 1;
        self.next_age
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty() && self.outboxes.is_empty()
    }

    /// The request that the next piece is for.
    pub(super) fn turn(&self) -> Option<u64> {
        match self.turns.front() {
            Some(batch) => self.by_batch.get(batch)?.front()?.number,
            None => self.outboxes.front().map(|(number, _)| *number),
        }
    }

    /// Takes out the task whose turn it is; `put_back` or `finished` follows.
    pub(super) fn take(&mut self) -> Option<(u64, Task)> {
        let batch = *self.turns.front()?;
        let task = self.by_batch.get_mut(&batch)?.pop_front()?;
        Some((batch, task))
    }

    /// It goes on later; another batch is next.
    pub(super) fn put_back(&mut self, batch: u64, task: Task) {
        self.by_batch.entry(batch).or_default().push_front(task);
        self.turns.rotate_left(1);
    }

    /// It is over.
    pub(super) fn finished(&mut self, batch: u64) {
        self.turns.pop_front();
        if self.by_batch.get(&batch).is_some_and(|queue| !queue.is_empty()) {
            self.turns.push_back(batch);
        } else {
            self.by_batch.remove(&batch);
        }
    }

    /// Whether a batch has tasks, taken out or not.
    pub(super) fn of(&self, batch: u64) -> bool {
        self.by_batch.contains_key(&batch)
    }

    /// A request for the outbox that has waited for all that was asked before it.
    pub(super) fn outbox(&mut self) -> Option<u64> {
        let (number, age) = *self.outboxes.front()?;
        let oldest = self.by_batch.values().filter_map(|queue| queue.front()).map(|task| task.age).min();
        if oldest.is_some_and(|oldest| oldest < age) {
            return None;
        }
        self.outboxes.pop_front();
        Some(number)
    }
}
