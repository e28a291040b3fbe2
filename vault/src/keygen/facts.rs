//! What the log says of a batch, and what this vault does about it.

use torus_audit::Generation;
use torus_ipc::deny::Deny;
use torus_statement::Hash;
use torus_statement::certificate::Certified;
use torus_statement::dkg::Attempt;
use torus_statement::state::{BatchEntry, Phase, Proven, key};

use super::live::{Live, acknowledged};
use super::records::BatchRecord;
use super::tasks::{Step, Task};
use super::tools::Tools;
use super::{Keygen, MAX_LATE, MAX_MAKING, refused};

impl Keygen {
    pub(super) fn on_batch(
        &mut self,
        header: &Certified,
        batch: u64,
        entry: &Proven<BatchEntry>,
        task: &mut Task,
    ) -> Result<(), Deny> {
        if header.header().config != self.tools.config.hash() {
            return Err(Deny::Header);
        }
        let entry = entry.verify(&header.header().state, &key::batch(batch)).ok_or(Deny::Proof)?;
        let attempt = entry.attempt_of(batch);
        let record = self.in_force(attempt)?;
        match &entry.phase {
            Phase::Open => {
                let may_deal = record.is_none() && entry.height > self.start_height;
                self.engage(attempt, entry.keys, record, &Begin { may_deal, fact: None }, task)
            }
            Phase::Qualified { dealings, .. } => {
                self.engage(attempt, entry.keys, record, &Begin::default(), task)?;
                task.steps.push_back(Step::Qualify(dealings.clone()));
                Ok(())
            }
            Phase::Published { digest, acks } => self.on_published(attempt, entry.keys, (*digest, *acks), record, task),
        }
    }

    pub(super) fn on_keys(&mut self, attempt: Attempt, published: Vec<u8>, task: &mut Task) -> Result<(), Deny> {
        let batch = attempt.batch;
        let live = self.live.get_mut(&batch).filter(|live| live.attempt == attempt && live.helping.is_none());
        let Some(live) = live else {
            let record = self.tools.records.batch(batch).map_err(refused)?;
            let over = record.is_some_and(|record| record.attempt == attempt.attempt && record.acked.is_some());
            return if over { Ok(()) } else { Err(Deny::Attempt) };
        };
        live.certified_keys(&self.tools, published, &mut task.progress)
    }

    /// Attempts of an epoch that is over go on no more, and its envelopes open no more: their rows are destroyed. Sealed shares
    /// are laid apart: this epoch's share key does not open them. Sessions bind the config, so that an attempt of the
    /// same number is another one.
    pub(super) fn leave_behind(&mut self) -> Result<(), Deny> {
        let records = &self.tools.records;
        let config = self.tools.config.hash();
        let known = records.config().map_err(refused)?;
        if known == Some(config) {
            return Ok(());
        }
        let left = records.write(|change| {
            let void = known.map_or(Ok(Vec::new()), |before| records.lay_apart(change, &before))?;
            for (batch, record) in void {
                let attempt = Attempt { batch, attempt: record.attempt };
                self.tools.on_record(change, attempt, Generation::Void)?;
            }
            records.put_config(change, &config)
        });
        left.map_err(refused)
    }

    /// After a start: attempts that this vault took part in go on at once, the lowest first; others when they are asked
    /// for.
    pub(super) fn take_up(&mut self) -> Result<(), Deny> {
        let unfinished = self.tools.records.unfinished().map_err(refused)?;
        for (batch, record) in unfinished.into_iter().filter(|(_, record)| record.acked.is_none()).take(MAX_MAKING) {
            self.tasks.add(None, batch, Step::TakeUp(record));
        }
        Ok(())
    }

    /// The record of an attempt, if it is the one in force; what is left of an abandoned one is destroyed.
    fn in_force(&mut self, attempt: Attempt) -> Result<Option<BatchRecord>, Deny> {
        let Some(record) = self.tools.records.batch(attempt.batch).map_err(refused)? else { return Ok(None) };
        if record.attempt > attempt.attempt {
            return Err(Deny::Stale);
        }
        if record.attempt == attempt.attempt {
            return Ok(Some(record));
        }
        if record.acked.is_some() {
            crate::alarm!("batch {}: the log abandons an attempt that it had published", attempt.batch);
            return Err(Deny::Attempt);
        }
        let records = &self.tools.records;
        let forgotten = records.write(|change| {
            records.forget_rows(change, attempt.batch)?;
            records.forget_shares(change, attempt.batch, record.keys)?;
            records.forget_batch(change, attempt.batch)?;
            let abandoned = Attempt { attempt: record.attempt, ..attempt };
            self.tools.on_record(change, abandoned, Generation::Abandoned)
        });
        forgotten.map_err(refused)?;
        self.live.remove(&attempt.batch);
        Ok(None)
    }

    /// Brings an attempt into memory: deals if it may, else goes on from what is durable.
    pub(super) fn engage(
        &mut self,
        attempt: Attempt,
        keys: u16,
        record: Option<BatchRecord>,
        how: &Begin,
        task: &mut Task,
    ) -> Result<(), Deny> {
        let batch = attempt.batch;
        if self.live.get(&batch).is_some_and(|live| live.helping.is_none()) {
            return Ok(());
        }
        if record.as_ref().is_some_and(|record| record.done || record.acked.is_some()) {
            return Ok(());
        }
        let full = if how.fact.is_some() { self.late() >= MAX_LATE } else { self.under_way() >= MAX_MAKING };
        if full || !self.has_memory(keys) {
            return Err(Deny::Busy);
        }
        let mut live = begin(&mut self.tools, attempt, keys, record, how)?;
        live.turn = self.turn_of_memory();
        live.fact = how.fact;
        self.live.insert(batch, live);
        task.steps.push_back(Step::TakeEarly(attempt));
        Ok(())
    }

    /// Whether there is memory for the secrets of one more attempt, if all use as much as they can.
    pub(super) fn has_memory(&self, keys: u16) -> bool {
        let room = |keys| torus_protocol::room(self.tools.config.sizes(), usize::from(keys));
        let taken: usize = self.live.values().map(|live| room(live.record.keys)).sum();
        taken.saturating_add(room(keys)) <= self.tools.pool.capacity()
    }

    /// Published batches whose keys or shares are not all here yet.
    fn late(&self) -> usize {
        self.live.values().filter(|live| live.published() && live.helping.is_none()).count()
    }

    fn on_published(
        &mut self,
        attempt: Attempt,
        keys: u16,
        (digest, acks): (Hash, u32),
        record: Option<BatchRecord>,
        task: &mut Task,
    ) -> Result<(), Deny> {
        let batch = attempt.batch;
        let record = match record {
            Some(record) if record.acked.is_some() => return self.on_acks(attempt, digest, acks, record, task),
            // The shares of exactly these keys are here: no memory of the attempt is needed.
            Some(record) if record.stored && record.derived == Some(digest) => {
                return acknowledge(&mut self.tools, attempt, digest, record, task);
            }
            other => other,
        };
        let late = self.late();
        match self.live.get_mut(&batch).filter(|live| live.helping.is_none()) {
            None => self.engage(attempt, keys, record, &Begin { may_deal: false, fact: Some(digest) }, task),
            // Whoever hears of keys, but never from the others, would keep every batch in memory: one more is recovered
            // later, from what is durable.
            Some(live) if live.fact.is_none() && late >= MAX_MAKING => {
                self.live.remove(&batch);
                Err(Deny::Busy)
            }
            Some(live) => {
                live.publish_fact(&self.tools, digest, &mut task.progress);
                Ok(())
            }
        }
    }

    /// The log's acknowledgements of a batch that this vault acknowledged: once they are all there, rows are destroyed.
    fn on_acks(
        &mut self,
        attempt: Attempt,
        digest: Hash,
        acks: u32,
        record: BatchRecord,
        task: &mut Task,
    ) -> Result<(), Deny> {
        let batch = attempt.batch;
        if record.acked != Some(digest) {
            crate::alarm!("batch {batch}: the log shows other keys than those acknowledged");
            return Err(Deny::Attempt);
        }
        let bit = |slot: usize| u32::try_from(slot).ok().and_then(|slot| 1u32.checked_shl(slot)).unwrap_or(0);
        let all = self.tools.config.sizes().members().fold(0, |all, member| all | bit(member.slot()));
        if acks & all == all {
            if !record.done {
                let (records, record) = (&self.tools.records, BatchRecord { done: true, ..record });
                let done = records.write(|change| {
                    records.forget_rows(change, batch)?;
                    records.put_batch(change, batch, &record)?;
                    self.tools.on_record(change, attempt, Generation::Finished)
                });
                done.map_err(refused)?;
            }
            self.live.remove(&batch);
        }
        if acks & bit(self.tools.me.slot()) != 0 {
            self.acks.remove(&batch);
            return Ok(());
        }
        let ack = match self.acks.get(&batch) {
            Some(ack) => *ack,
            None => (attempt, self.tools.sign(&attempt.ack(&self.tools.config, &digest))?),
        };
        self.acks.insert(batch, ack);
        task.settled = true;
        task.progress.acks.push(ack);
        Ok(())
    }
}

/// How an attempt begins here.
#[derive(Default)]
pub(super) struct Begin {
    /// The log opened it after this vault's start, and there is no record of it.
    may_deal: bool,
    /// The digest of its keys, if the log has them.
    fact: Option<Hash>,
}

/// An attempt's beginning; others' vectors are asked for if they were lost, or never came.
fn begin(
    tools: &mut Tools,
    attempt: Attempt,
    keys: u16,
    record: Option<BatchRecord>,
    how: &Begin,
) -> Result<Live, Deny> {
    if how.may_deal {
        return Live::deal(tools, attempt, keys);
    }
    let (record, new) = match record {
        Some(record) => (record, false),
        None => (BatchRecord::new(attempt.attempt, keys), true),
    };
    let ask = record.qualified.is_some() || how.fact.is_some();
    let mut live = Live::revive(tools, attempt.batch, record)?;
    if new {
        // Noted before anything leaves: in an attempt that it has once only watched, a vault never deals. Noted only now:
        // a batch that cannot be begun would be taken up in vain at every start.
        let records = &tools.records;
        records.write(|change| records.put_batch(change, attempt.batch, &live.record)).map_err(refused)?;
    }
    if ask {
        live.ask_vectors(tools);
    }
    Ok(live)
}

fn acknowledge(
    tools: &mut Tools,
    attempt: Attempt,
    digest: Hash,
    record: BatchRecord,
    task: &mut Task,
) -> Result<(), Deny> {
    acknowledged(tools, attempt, record, digest)?;
    let signature = tools.sign(&attempt.ack(&tools.config, &digest))?;
    task.progress.acks.push((attempt, signature));
    Ok(())
}
