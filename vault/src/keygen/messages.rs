//! Envelopes that arrive: to the attempt that they name, held if it has not begun, or used to help a late member.

use torus_ipc::deny::Deny;
use torus_ipc::response::Progress;
use torus_statement::dkg::Attempt;
use torus_statement::envelope::{Envelope, Kind};

use super::live::Live;
use super::records::BatchRecord;
use super::{Keygen, MAX_LATE, join, refused};

/// One member's requests make this vault read a batch's rows again at most so often, in milliseconds.
const HELP_EVERY: u64 = 2_000;

impl Keygen {
    pub(super) fn on_envelope(&mut self, envelope: Envelope, now: u64) -> Result<Progress, Deny> {
        self.now = self.now.max(now);
        if !self.tools.sessions.admits(&self.tools.config, &envelope.session) {
            return Err(Deny::Envelope);
        }
        let attempt = envelope.label.attempt;
        if self.live.get(&attempt.batch).is_some_and(|live| live.attempt == attempt) {
            return self.open_and_handle(&envelope, now);
        }
        let record = self.tools.records.batch(attempt.batch).map_err(refused)?;
        match record {
            // Of an attempt that the log left behind, or of a batch that everybody has.
            Some(record) if record.attempt > attempt.attempt || record.done => Ok(Progress::default()),
            Some(record) if record.attempt == attempt.attempt && record.acked.is_some() => {
                self.help(&envelope, record, now)
            }
            // Of an attempt that this vault will see in the log, or that waits for a place.
            _ if self.early.hold(envelope) => Ok(Progress::default()),
            _ => Err(Deny::Busy),
        }
    }

    /// Envelopes that waited for their attempt; what is wrong with one is nobody's answer.
    pub(super) fn deliver_early(&mut self, attempt: Attempt, progress: &mut Progress) {
        for envelope in self.early.take(attempt) {
            if let Ok(more) = self.on_envelope(envelope, self.now) {
                join(progress, more);
            }
        }
    }

    fn open_and_handle(&mut self, envelope: &Envelope, now: u64) -> Result<Progress, Deny> {
        let body = self.tools.open(envelope, now)?;
        let (from, label) = (envelope.session.sender, &envelope.label);
        let progress = self.with_live(label.attempt.batch, |live, tools, progress| {
            if live.helping.is_some() {
                live.helping = Some(from);
            }
            live.message(tools, from, label, body.as_slice(), progress)
        })?;
        self.settle(label.attempt.batch, &progress);
        Ok(progress)
    }

    /// Reads the rows of an acknowledged batch again, for a member that has not got its shares yet.
    fn help(&mut self, envelope: &Envelope, record: BatchRecord, now: u64) -> Result<Progress, Deny> {
        let (from, label) = (envelope.session.sender, &envelope.label);
        if !matches!(label.kind, Kind::Need | Kind::Vector) {
            return Ok(Progress::default());
        }
        if self.helped.get(&from).is_some_and(|last| now < last.saturating_add(HELP_EVERY)) {
            return Err(Deny::Busy);
        }
        // Opened first: only the member itself makes this vault work.
        let body = self.tools.open(envelope, now)?;
        self.helped.insert(from, now);
        self.make_room();
        let batch = label.attempt.batch;
        let (mut live, outputs) = Live::revive(&mut self.tools, batch, record)?;
        live.helping = Some(from);
        live.turn = self.turn();
        self.live.insert(batch, live);
        self.with_live(batch, |live, tools, progress| {
            live.carry(tools, outputs, progress)?;
            live.message(tools, from, label, body.as_slice(), progress)
        })
    }

    /// Of those that only help, the oldest goes.
    fn make_room(&mut self) {
        let helping = |live: &Live| live.helping.is_some();
        if self.live.values().filter(|live| helping(live)).count() >= MAX_LATE {
            let oldest = self.live.iter().filter(|(_, live)| helping(live)).min_by_key(|(_, live)| live.turn);
            if let Some(batch) = oldest.map(|(batch, _)| *batch) {
                self.live.remove(&batch);
            }
        }
    }

    pub(super) fn turn(&mut self) -> u64 {
        self.next_turn += 1;
        self.next_turn
    }

    /// After a step: an acknowledged batch leaves memory, its acknowledgement stays until the log shows it.
    pub(super) fn settle(&mut self, batch: u64, progress: &Progress) {
        if let Some(ack) = progress.acks.iter().find(|(attempt, _)| attempt.batch == batch) {
            self.acks.insert(batch, *ack);
            self.live.remove(&batch);
        }
    }
}
