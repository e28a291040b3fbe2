//! The coordinator of one node: what goes in, what comes out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use torus_ipc::{Deny, Progress, Request};
use torus_statement::certificate::SignedHeader;
use torus_statement::dkg::{Attempt, published_digest};
use torus_statement::envelope::Envelope;
use torus_statement::state::{BatchEntry, Proven};
use torus_statement::{Body, EpochConfig, Index};

use crate::message::Statement;
use crate::run::Run;

/// Batches that are followed at a time; the oldest published ones go first.
const MAX_RUNS: usize = 128;
/// Statements of one member about attempts that this node has not seen in the log yet.
const MAX_EARLY: usize = 256;
/// How often the vault is asked for what is still worth sending, while a batch is under way: first and at most.
const OUTBOX: (u64, u64) = (20_000, 120_000);
/// How soon after a start.
const OUTBOX_AFTER_START: u64 = 1_000;

/// What happens.
#[derive(Clone, Debug)]
pub enum Input {
    /// A connection to the vault; with it the batches that are pending or not acknowledged by all.
    VaultConnected {
        /// Those batches.
        active: Vec<u64>,
    },
    /// A block was committed that changed the entries of these batches.
    Block {
        /// Those batches.
        batches: Vec<u64>,
    },
    /// To `Prove`: a batch's entry under the newest certified header.
    Entry {
        /// The header.
        header: Box<SignedHeader>,
        /// The batch.
        batch: u64,
        /// Its entry.
        entry: Proven<BatchEntry>,
    },
    /// To `ReadKeys`: the published keys of a batch, in canonical bytes.
    Published {
        /// The attempt.
        attempt: Attempt,
        /// `torus_sharing::PublishedKeys`.
        published: Vec<u8>,
    },
    /// To `Vault`.
    Vault {
        /// What was asked.
        ask: Ask,
        /// The answer. `Busy` does not come here: whoever carries requests asks again.
        answer: Result<Progress, Deny>,
    },
    /// An envelope from another member's vault.
    Envelope(Box<Envelope>),
    /// A statement from a member whose connection is authenticated.
    Statement {
        /// The member.
        from: Index,
        /// What its vault said.
        statement: Statement,
    },
    /// The time in milliseconds; a few times a second.
    Tick(u64),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Read a batch's entry with its proof under the newest certified header: `Input::Entry`.
    Prove(u64),
    /// Read the keys of a published batch: `Input::Published`.
    ReadKeys(Attempt),
    /// Ask the vault; the answer comes as `Input::Vault`.
    Vault {
        /// What is asked, for the answer.
        ask: Ask,
        /// The request.
        request: Box<Request>,
    },
    /// Bring an envelope to a member, until it is acknowledged.
    Carry {
        /// The member.
        to: Index,
        /// The envelope.
        envelope: Box<Envelope>,
    },
    /// Bring a statement to all other members, as far as they can be reached.
    Gossip(Statement),
    /// Sign and submit to the log.
    Submit(Body),
}

/// Which of the vault's verbs was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// `Batch`.
    Batch(u64),
    /// `Keys`.
    Keys(Attempt),
    /// `Deliver`.
    Deliver,
    /// `Outbox`.
    Outbox,
}

/// The coordinator.
pub struct Coordinator {
    config: Arc<EpochConfig>,
    me: Index,
    now: u64,
    runs: BTreeMap<u64, Run>,
    early: BTreeMap<Index, VecDeque<Statement>>,
    outbox: (u64, u64),
}

impl Coordinator {
    /// Of a member in one epoch; it knows nothing until `VaultConnected`.
    pub fn new(config: Arc<EpochConfig>, me: Index) -> Self {
        Self { config, me, now: 0, runs: BTreeMap::new(), early: BTreeMap::new(), outbox: (OUTBOX.0, OUTBOX.0) }
    }

    /// Reacts.
    pub fn handle(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::VaultConnected { active } => self.connected(&active, &mut out),
            Input::Block { batches } => out.extend(batches.into_iter().map(Output::Prove)),
            Input::Entry { header, batch, entry } => self.entry(header, batch, entry, &mut out),
            Input::Published { attempt, published } => {
                let request = Box::new(Request::Keys { attempt, published });
                out.push(Output::Vault { ask: Ask::Keys(attempt), request });
            }
            Input::Vault { ask, answer } => self.answer(ask, answer, &mut out),
            Input::Envelope(envelope) => self.deliver(envelope, &mut out),
            Input::Statement { from, statement } => self.statement(from, statement, &mut out),
            Input::Tick(now) => self.tick(now, &mut out),
        }
        out
    }

    fn connected(&mut self, active: &[u64], out: &mut Vec<Output>) {
        for run in self.runs.values_mut() {
            run.vault_is_new(self.now);
        }
        let known: Vec<u64> = self.runs.keys().copied().collect();
        let newest = active.iter().rev().take(MAX_RUNS).rev().copied();
        let mut all: Vec<u64> = known.into_iter().chain(newest).collect();
        all.sort_unstable();
        all.dedup();
        out.extend(all.into_iter().map(Output::Prove));
        // Once the entries are here: what the vault repeats of an unknown batch would be lost.
        self.outbox = (self.now.saturating_add(OUTBOX_AFTER_START), OUTBOX.0);
    }

    fn entry(&mut self, header: Box<SignedHeader>, batch: u64, entry: Proven<BatchEntry>, out: &mut Vec<Output>) {
        let now = self.now;
        let run = match self.runs.get_mut(&batch) {
            Some(run) => {
                run.update(entry.value.clone(), now);
                run
            }
            None => self.runs.entry(batch).or_insert_with(|| Run::new(batch, entry.value.clone(), now)),
        };
        if run.tell(&self.config) {
            let request = Box::new(Request::Batch { header, batch, entry });
            out.push(Output::Vault { ask: Ask::Batch(batch), request });
        }
        self.take_early(batch);
        self.submit(batch, out);
        self.tidy();
    }

    fn answer(&mut self, ask: Ask, answer: Result<Progress, Deny>, out: &mut Vec<Output>) {
        if let Ask::Batch(batch) = ask
            && let Some(run) = self.runs.get_mut(&batch)
        {
            run.told(answer.is_ok(), answer == Err(Deny::Attempt), self.now);
        }
        if let Ok(progress) = answer {
            self.progress(progress, out);
        }
        self.tidy();
    }

    fn progress(&mut self, progress: Progress, out: &mut Vec<Output>) {
        let Progress { envelopes, readies, keys, acks } = progress;
        for envelope in envelopes {
            out.push(Output::Carry { to: envelope.session.receiver, envelope: Box::new(envelope) });
        }
        for (attempt, dealing, signature) in readies {
            self.say(Statement::Ready { attempt, dealing, signature }, out);
        }
        for (attempt, published, signature) in keys {
            let digest = published_digest(&published);
            if let Some(run) = self.run_of(attempt) {
                run.derived(published);
            }
            self.say(Statement::Keys { attempt, digest, signature }, out);
        }
        for (attempt, signature) in acks {
            if let Some(run) = self.run_of(attempt) {
                run.acknowledge(signature);
            }
            self.submit(attempt.batch, out);
        }
    }

    fn say(&mut self, statement: Statement, out: &mut Vec<Output>) {
        let (me, attempt) = (self.me, statement.attempt());
        if self.run_of(attempt).is_some_and(|run| run.say(me, statement.clone())) {
            out.push(Output::Gossip(statement));
            self.submit(attempt.batch, out);
        }
    }

    fn deliver(&self, envelope: Box<Envelope>, out: &mut Vec<Output>) {
        let session = &envelope.session;
        if session.receiver == self.me && session.sender != self.me && session.config == self.config.hash() {
            out.push(Output::Vault { ask: Ask::Deliver, request: Box::new(Request::Deliver(envelope)) });
        }
    }

    fn statement(&mut self, from: Index, statement: Statement, out: &mut Vec<Output>) {
        if from == self.me || self.config.member(from).is_none() {
            return;
        }
        let attempt = statement.attempt();
        let known = self.runs.get(&attempt.batch).map(|run| run.entry.attempt);
        if known.is_none_or(|known| known < attempt.attempt) {
            let early = self.early.entry(from).or_default();
            if !early.contains(&statement) {
                early.push_back(statement);
            }
            if early.len() > MAX_EARLY {
                early.pop_front();
            }
            return;
        }
        self.count(from, &statement);
        self.submit(attempt.batch, out);
    }

    fn count(&mut self, from: Index, statement: &Statement) {
        let config = self.config.clone();
        let Some(run) = self.run_of(statement.attempt()) else { return };
        if run.wants(from, statement) && statement.verifies(&config, from) {
            run.note(from, statement);
        }
    }

    /// Statements that came before the log's word.
    fn take_early(&mut self, batch: u64) {
        let Some(attempt) = self.runs.get(&batch).map(Run::attempt) else { return };
        let mut ready = Vec::new();
        for (from, early) in &mut self.early {
            let waiting = std::mem::take(early);
            for statement in waiting {
                let of = statement.attempt();
                if of == attempt {
                    ready.push((*from, statement));
                } else if of.batch != batch || of.attempt > attempt.attempt {
                    early.push_back(statement);
                }
            }
        }
        for (from, statement) in ready {
            self.count(from, &statement);
        }
    }

    fn tick(&mut self, now: u64, out: &mut Vec<Output>) {
        self.now = self.now.max(now);
        let (me, now) = (self.me, self.now);
        let batches: Vec<u64> = self.runs.keys().copied().collect();
        for batch in batches {
            self.submit(batch, out);
            let Some(run) = self.runs.get_mut(&batch) else { continue };
            out.extend(run.repeat(now).into_iter().map(Output::Gossip));
            if run.retells(&self.config, now) {
                out.push(Output::Prove(batch));
            }
            if run.lacks_shares(me, now) {
                out.push(Output::ReadKeys(run.attempt()));
            }
        }
        if self.runs.values().all(Run::is_published) {
            self.outbox = (now.saturating_add(OUTBOX.0), OUTBOX.0);
        } else if now >= self.outbox.0 {
            let wait = self.outbox.1;
            self.outbox = (now.saturating_add(wait), wait.saturating_mul(2).min(OUTBOX.1));
            out.push(Output::Vault { ask: Ask::Outbox, request: Box::new(Request::Outbox) });
        }
    }

    fn submit(&mut self, batch: u64, out: &mut Vec<Output>) {
        let (config, me, now) = (self.config.clone(), self.me, self.now);
        let due = self.runs.get_mut(&batch).and_then(|run| run.due(&config, me, now));
        out.extend(due.map(Output::Submit));
    }

    fn run_of(&mut self, attempt: Attempt) -> Option<&mut Run> {
        self.runs.get_mut(&attempt.batch).filter(|run| run.attempt() == attempt)
    }

    fn tidy(&mut self) {
        let config = self.config.clone();
        self.runs.retain(|_, run| !run.done(&config));
        while self.runs.len() > MAX_RUNS {
            let oldest = self.runs.iter().find(|(_, run)| run.is_published()).or_else(|| self.runs.iter().next());
            let Some(oldest) = oldest.map(|(batch, _)| *batch) else { break };
            self.runs.remove(&oldest);
        }
    }
}
