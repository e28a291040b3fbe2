//! One piece of one request: the next thing that its attempt has to do, or the next step of the request.

use torus_ipc::deny::Deny;
use torus_ipc::response::Progress;
use torus_statement::dkg::Attempt;

use super::facts::Begin;
use super::tasks::{Step, Task};
use super::{Answers, Keygen, join};

impl Keygen {
    /// Does one piece of the task whose turn it is.
    pub(super) fn piece(&mut self) -> Answers {
        let mut answers = Answers::new();
        if let Some((batch, mut task)) = self.tasks.take() {
            if self.go_on(batch, &mut task) {
                self.tasks.finished(batch);
                answers.extend(self.answer(task));
            } else {
                self.tasks.put_back(batch, task);
            }
        }
        if let Some(number) = self.tasks.outbox() {
            let outbox = self.outbox();
            answers.push((number, Ok(outbox)));
        }
        answers
    }

    fn answer(&mut self, task: Task) -> Option<(u64, Result<Progress, Deny>)> {
        let Task { number, mut progress, denied, .. } = task;
        match (number, denied) {
            (Some(number), Some(deny)) => Some((number, Err(deny))),
            (Some(number), None) => {
                join(&mut progress, std::mem::take(&mut self.unsaid));
                Some((number, Ok(progress)))
            }
            (None, Some(_)) => None,
            (None, None) => {
                join(&mut self.unsaid, progress);
                None
            }
        }
    }

    /// Whether the task is over.
    fn go_on(&mut self, batch: u64, task: &mut Task) -> bool {
        let (outcome, working) = match self.live.get_mut(&batch) {
            Some(live) if live.has_work() => (live.piece(&mut self.tools, &mut task.progress), true),
            _ => {
                self.settle(batch, task);
                match task.steps.pop_front() {
                    Some(step) => (self.begin(batch, task, step), false),
                    None => return true,
                }
            }
        };
        let Err(deny) = outcome else { return false };
        // In the midst of its work an attempt is only busy if there was no memory for its secrets.
        if matches!(deny, Deny::Store | Deny::Device | Deny::Commitment) || working && deny == Deny::Busy {
            // As in a crash: only what is durable counts, and nothing that this request brought about leaves.
            self.live.remove(&batch);
        }
        if !task.early {
            task.denied = Some(deny);
            task.steps.clear();
        }
        false
    }

    fn begin(&mut self, batch: u64, task: &mut Task, step: Step) -> Result<(), Deny> {
        task.early = matches!(step, Step::Early(_)) || task.early && matches!(step, Step::Help(..));
        match step {
            Step::Fact(header, entry) => self.on_batch(&header, batch, &entry, task),
            Step::Qualify(dealings) => match self.live.get_mut(&batch) {
                Some(live) => live.qualify(&mut self.tools, &dealings),
                None => Ok(()),
            },
            Step::TakeUp(record) => {
                let attempt = Attempt { batch, attempt: record.attempt };
                self.engage(attempt, record.keys, Some(record), &Begin::default(), task)
            }
            Step::Keys(attempt, published) => self.on_keys(attempt, published, task),
            Step::Envelope(envelope, now) => self.on_envelope(envelope, now, task),
            Step::Early(envelope) => self.on_envelope(envelope, self.now, task),
            Step::Help(envelope, body) => self.give(&envelope, &body, task),
            Step::TakeEarly(attempt) => {
                for envelope in self.early.take(attempt).into_iter().rev() {
                    task.steps.push_front(Step::Early(Box::new(envelope)));
                }
                Ok(())
            }
        }
    }

    /// Between two steps: what was said is remembered, and an acknowledged batch leaves memory; its acknowledgement stays
    /// until the log shows it.
    fn settle(&mut self, batch: u64, task: &mut Task) {
        if task.denied.is_some() {
            return;
        }
        if let Some(live) = self.live.get_mut(&batch) {
            live.remember(&task.progress, &mut task.remembered);
        }
        let ack = task.progress.acks.iter().find(|(attempt, _)| attempt.batch == batch);
        if let Some(ack) = ack.filter(|_| !task.settled) {
            self.acks.insert(batch, *ack);
            self.live.remove(&batch);
            task.settled = true;
        }
    }
}
