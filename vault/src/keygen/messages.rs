//! Envelopes that arrive: to the attempt that they name, held if it has not begun, or used to help a late member.

use torus_ipc::deny::Deny;
use torus_protocol::SecretBytes;
use torus_statement::envelope::{Envelope, Kind};

use super::live::Live;
use super::records::BatchRecord;
use super::tasks::{Step, Task};
use super::{Keygen, MAX_LATE, refused};

/// One member's requests make this vault read a batch's rows again at most so often, in milliseconds.
const HELP_EVERY: u64 = 2_000;

impl Keygen {
    pub(super) fn on_envelope(&mut self, envelope: Box<Envelope>, now: u64, task: &mut Task) -> Result<(), Deny> {
        self.now = self.now.max(now);
        if !self.tools.sessions.admits(&self.tools.config, &envelope.session) {
            return Err(Deny::Envelope);
        }
        let attempt = envelope.label.attempt;
        if self.live.get(&attempt.batch).is_some_and(|live| live.attempt == attempt) {
            let body = self.tools.open(&envelope, now)?;
            return self.give(&envelope, &body, task);
        }
        let record = self.tools.records.batch(attempt.batch).map_err(refused)?;
        match record {
            // Of an attempt that the log left behind, or of a batch that everybody has.
            Some(record) if record.attempt > attempt.attempt || record.done => Ok(()),
            Some(record) if record.attempt == attempt.attempt && record.acked.is_some() => {
                self.help(envelope, record, now, task)
            }
            // Of an attempt that this vault will see in the log, or that waits for a place.
            _ if self.early.hold(*envelope) => Ok(()),
            _ => Err(Deny::Busy),
        }
    }

    /// Gives an attempt in memory a message for it.
    pub(super) fn give(&mut self, envelope: &Envelope, body: &SecretBytes, task: &mut Task) -> Result<(), Deny> {
        let (from, label) = (envelope.session.sender, &envelope.label);
        let Some(live) = self.live.get_mut(&label.attempt.batch) else { return Ok(()) };
        if live.helping.is_some() {
            live.helping = Some(from);
        }
        live.message(&mut self.tools, from, label, body.as_slice(), &mut task.progress)
    }

    /// Reads the rows of an acknowledged batch again, for a member that has not got its shares yet.
    fn help(&mut self, envelope: Box<Envelope>, record: BatchRecord, now: u64, task: &mut Task) -> Result<(), Deny> {
        let from = envelope.session.sender;
        if !matches!(envelope.label.kind, Kind::Need | Kind::Vector) {
            return Ok(());
        }
        if self.helped.get(&from).is_some_and(|last| now < last.saturating_add(HELP_EVERY)) {
            return Err(Deny::Busy);
        }
        // Opened first: only the member itself makes this vault work.
        let body = self.tools.open(&envelope, now)?;
        if !self.make_room() || !self.has_memory(record.keys) {
            return Err(Deny::Busy);
        }
        self.helped.insert(from, now);
        let batch = envelope.label.attempt.batch;
        let mut live = Live::revive(&mut self.tools, batch, record)?;
        live.helping = Some(from);
        live.turn = self.turn_of_memory();
        self.live.insert(batch, live);
        task.steps.push_front(Step::Help(envelope, body));
        Ok(())
    }

    /// Of those that only help, the oldest goes, unless all are at it just now.
    fn make_room(&mut self) -> bool {
        let helping = |live: &Live| live.helping.is_some();
        if self.live.values().filter(|live| helping(live)).count() < MAX_LATE {
            return true;
        }
        let idle = self.live.iter().filter(|(batch, live)| helping(live) && !self.tasks.of(**batch));
        let oldest = idle.min_by_key(|(_, live)| live.turn).map(|(batch, _)| *batch);
        oldest.is_some_and(|batch| self.live.remove(&batch).is_some())
    }

    pub(super) fn turn_of_memory(&mut self) -> u64 {
        self.next_turn += 1;
        self.next_turn
    }
}
