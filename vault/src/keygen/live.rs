//! One attempt in memory: its participant, what is still to be done, and what it sent, so that a repetition repeats
//! bytes.

use std::collections::{BTreeMap, VecDeque};

use torus_audit::Generation;
use torus_ipc::deny::Deny;
use torus_ipc::response::Progress;
use torus_protocol::{Body, Input, Kind as Step, Participant, Promise, PublishedKeys, QualifiedSet, Run, SecretBytes};
use torus_sharing::KeysReader;
use torus_statement::codec::{Reader, Wire};
use torus_statement::dkg::{Attempt, Dealing, published_digest};
use torus_statement::envelope::{Envelope, Kind, Label};
use torus_statement::{Hash, Index, Signature};

use super::records::BatchRecord;
use super::refused;
use super::todo::Todo;
use super::tools::Tools;
use crate::secrets::busy;

/// A member's lost vector is sent again so often: its restarts are few.
const ANSWERS: u8 = 8;
/// Faults of others that are told in the log for one attempt.
const TOLD: u32 = 16;

/// An attempt under way, or a published batch whose rows help others.
pub(super) struct Live {
    pub(super) attempt: Attempt,
    pub(super) record: BatchRecord,
    pub(super) run: Run,
    /// There is none before the promises of earlier are open.
    pub(super) participant: Option<Participant>,
    pub(super) promises: Vec<Promise>,
    /// What comes before the participant's own work goes on.
    pub(super) todo: VecDeque<Todo>,
    /// Set while this is only in memory to help a member: then nothing goes to others.
    pub(super) helping: Option<Index>,
    /// Grows with every beginning: the lowest is the oldest.
    pub(super) turn: u64,
    sent: BTreeMap<(Kind, Index, Index, Hash), Envelope>,
    readies: Vec<(Attempt, Dealing, Signature)>,
    keys: Option<(Attempt, Vec<u8>, Signature)>,
    pub(super) vector: Option<Vec<u8>>,
    answered: BTreeMap<Index, u8>,
    /// The digest of the batch's keys in the log.
    pub(super) fact: Option<Hash>,
    pub(super) certified: Option<PublishedKeys>,
    /// The qualified set that each member's vector named, for a member that came too late to see it in the log.
    claims: BTreeMap<Index, Vec<Dealing>>,
    claimed: bool,
    told: u32,
}

impl Live {
    /// Takes part from the beginning.
    pub(super) fn deal(tools: &mut Tools, attempt: Attempt, keys: u16) -> Result<Self, Deny> {
        let run = run(tools, attempt, keys)?;
        let mut live = Self::new(attempt, BatchRecord::new(attempt.attempt, keys), run);
        live.participant = Some(Participant::deal(run, &mut *tools.rng).map_err(busy)?);
        Ok(live)
    }

    /// Goes on from what is durable.
    pub(super) fn revive(tools: &mut Tools, batch: u64, record: BatchRecord) -> Result<Self, Deny> {
        let attempt = Attempt { batch, attempt: record.attempt };
        let run = run(tools, attempt, record.keys)?;
        let set = record.qualified.as_ref().map(|dealings| qualified_set(tools, dealings)).transpose()?;
        let mut live = Self::new(attempt, record, run);
        let stored = tools.records.rows(attempt).map_err(refused)?;
        live.todo.extend(stored.into_iter().map(|(dealer, sealed)| Todo::Promise(dealer, sealed)));
        live.todo.push_back(Todo::Resume(set));
        Ok(live)
    }

    fn new(attempt: Attempt, record: BatchRecord, run: Run) -> Self {
        Self {
            attempt,
            record,
            run,
            participant: None,
            promises: Vec::new(),
            todo: VecDeque::new(),
            helping: None,
            turn: 0,
            sent: BTreeMap::new(),
            readies: Vec::new(),
            keys: None,
            vector: None,
            answered: BTreeMap::new(),
            fact: None,
            certified: None,
            claims: BTreeMap::new(),
            claimed: false,
            told: 0,
        }
    }

    /// Whether the log has the batch's keys.
    pub(super) fn published(&self) -> bool {
        self.fact.is_some() || self.helping.is_some()
    }

    /// Whether something is left of what was asked: `piece` goes on with it, and nothing else is asked before.
    pub(super) fn has_work(&self) -> bool {
        !self.todo.is_empty() || self.participant.as_ref().is_some_and(Participant::has_work)
    }

    /// Gives the participant an input; what it wants done is to be done.
    pub(super) fn feed(&mut self, tools: &mut Tools, input: Input<'_>) {
        let Some(participant) = &mut self.participant else { return };
        match participant.handle(input, &mut *tools.rng) {
            Ok(outputs) if outputs.is_empty() => {}
            Ok(outputs) => self.todo.push_back(Todo::Outputs(outputs)),
            Err(exhausted) => self.todo.push_front(Todo::GiveUp(exhausted)),
        }
    }

    /// The log fixed the qualified set: once, for ever.
    pub(super) fn qualify(&mut self, tools: &mut Tools, dealings: &[Dealing]) -> Result<(), Deny> {
        if let Some(known) = &self.record.qualified {
            if known == dealings {
                return Ok(());
            }
            crate::alarm!("batch {}: the log shows a second qualified set", self.attempt.batch);
            return Err(Deny::Attempt);
        }
        let set = qualified_set(tools, dealings)?;
        self.update(tools, |record| record.qualified = Some(dealings.to_vec()))?;
        self.feed(tools, Input::Qualified(&set));
        Ok(())
    }

    /// The log has the keys, and this vault has not acknowledged them. Shown again, questions are repeated.
    pub(super) fn publish_fact(&mut self, tools: &Tools, digest: Hash, progress: &mut Progress) {
        match self.fact.replace(digest) {
            None if self.record.qualified.is_none() => self.ask_vectors(tools),
            None => self.todo.push_back(Todo::Acknowledge),
            Some(_) => self.ask_again(progress),
        }
    }

    /// The questions that are still open, as they were asked.
    fn ask_again(&self, progress: &mut Progress) {
        for ((kind, _, _, digest), sent) in &self.sent {
            if *kind == Kind::Need || (*kind, *digest) == (Kind::Vector, ASK) {
                progress.envelopes.push(sent.clone());
            }
        }
    }

    /// The certified keys: a late member's shares must match them. Given again, questions are repeated.
    pub(super) fn certified_keys(
        &mut self,
        tools: &Tools,
        bytes: Vec<u8>,
        progress: &mut Progress,
    ) -> Result<(), Deny> {
        if self.fact.ok_or(Deny::Attempt)? != published_digest(&bytes) {
            return Err(Deny::Proof);
        }
        if self.certified.is_some() {
            self.ask_again(progress);
            return Ok(());
        }
        let keys =
            KeysReader::new(tools.config.sizes(), self.record.keys.into(), bytes).map_err(|_| Deny::Malformed)?;
        self.todo.push_back(Todo::Keys(keys));
        Ok(())
    }

    /// A message of an authenticated member.
    pub(super) fn message(
        &mut self,
        tools: &mut Tools,
        from: Index,
        label: &Label,
        body: &[u8],
        progress: &mut Progress,
    ) -> Result<(), Deny> {
        let Dealing { dealer, digest } = label.dealing;
        match step(label.kind) {
            Some(kind) => {
                self.feed(tools, Input::Message { from, dealer, kind, digest, body });
                Ok(())
            }
            None => self.on_vector(tools, from, label, body, progress),
        }
    }

    /// Asks everybody for his vector: an empty one.
    pub(super) fn ask_vectors(&mut self, tools: &Tools) {
        self.vector_to_all(tools, ASK);
    }

    /// Sends everybody the own vector, or asks him for his.
    pub(super) fn vector_to_all(&mut self, tools: &Tools, digest: Hash) {
        let others = tools.config.sizes().members().filter(|member| *member != tools.me);
        self.todo.extend(others.map(|to| Todo::Vector { to, digest }));
    }

    /// What is still worth sending, as it was sent, within `room` bytes of envelopes; whether all had room.
    pub(super) fn repeat(&self, progress: &mut Progress, room: &mut usize) -> bool {
        if self.helping.is_some() {
            return true;
        }
        progress.readies.extend(self.readies.iter().copied());
        progress.keys.extend(self.keys.clone());
        // Later kinds first: they are the smaller and the nearer to the end.
        for envelope in self.sent.values().rev() {
            let Some(left) = room.checked_sub(envelope.ciphertext.len()) else { return false };
            *room = left;
            progress.envelopes.push(envelope.clone());
        }
        true
    }

    /// What an answer will say is repeated when it is asked for again. `known` counts the envelopes and readies that are
    /// remembered already.
    pub(super) fn remember(&mut self, said: &Progress, known: &mut (usize, usize)) {
        if self.helping.is_some() {
            return;
        }
        for envelope in said.envelopes.iter().skip(known.0) {
            let Dealing { dealer, digest } = envelope.label.dealing;
            let place = (envelope.label.kind, envelope.session.receiver, dealer, digest);
            self.sent.insert(place, envelope.clone());
        }
        self.readies.extend(said.readies.iter().skip(known.1).copied());
        if let Some(keys) = said.keys.last() {
            self.keys = Some(keys.clone());
        }
        *known = (said.envelopes.len(), said.readies.len());
    }

    pub(super) fn update(&mut self, tools: &Tools, change: impl FnOnce(&mut BatchRecord)) -> Result<(), Deny> {
        let mut record = self.record.clone();
        change(&mut record);
        if record != self.record {
            let records = &tools.records;
            records.write(|change| records.put_batch(change, self.attempt.batch, &record)).map_err(refused)?;
            self.record = record;
        }
        Ok(())
    }

    pub(super) fn send(
        &mut self,
        tools: &mut Tools,
        to: Index,
        label: Label,
        body: &Body,
        progress: &mut Progress,
    ) -> Result<(), Deny> {
        if self.helping.is_some_and(|helped| helped != to) {
            return Ok(());
        }
        progress.envelopes.push(tools.seal(to, label, body)?);
        Ok(())
    }

    fn on_vector(
        &mut self,
        tools: &mut Tools,
        from: Index,
        label: &Label,
        body: &[u8],
        progress: &mut Progress,
    ) -> Result<(), Deny> {
        if label.dealing.dealer != from {
            return Err(Deny::Envelope);
        }
        if label.dealing.digest == ASK {
            return self.answer(tools, from, progress);
        }
        let mut r = Reader::new(body);
        let dealings = r.list(30, Dealing::read).map_err(|_| Deny::Envelope)?;
        self.claims.entry(from).or_insert(dealings);
        let body = r.rest();
        if !body.is_empty() {
            self.feed(tools, Input::Vector { from, body });
        }
        self.use_claims(tools);
        Ok(())
    }

    /// The own vector again, for a member that lost it or came late. Once the keys are acknowledged the set alone will
    /// do, if the rows for the vector are not all here.
    fn answer(&mut self, tools: &mut Tools, from: Index, progress: &mut Progress) -> Result<(), Deny> {
        let set = || self.named_set(&[]).filter(|_| self.record.acked.is_some());
        let Some(vector) = self.vector.clone().or_else(set) else { return Ok(()) };
        let answered = self.answered.entry(from).or_default();
        if *answered >= ANSWERS {
            return Err(Deny::Busy);
        }
        *answered += 1;
        let dealing = Dealing { dealer: tools.me, digest: GIVE };
        if let Some(sent) = self.sent.get(&(Kind::Vector, from, dealing.dealer, dealing.digest)) {
            progress.envelopes.push(sent.clone());
            return Ok(());
        }
        self.send(tools, from, self.label(Kind::Vector, dealing), &plain(tools, &vector)?, progress)
    }

    /// A late member learns the set from k vectors that name the same: one of them is honest. It publishes nothing, and
    /// stores only shares that match the certified keys.
    pub(super) fn use_claims(&mut self, tools: &mut Tools) {
        let late = self.fact.is_some() && self.certified.is_some() && self.helping.is_none();
        if !late || self.claimed || self.record.qualified.is_some() {
            return;
        }
        let k = tools.config.sizes().k();
        let named = self.claims.values().find(|claim| self.claims.values().filter(|other| other == claim).count() >= k);
        let Some(set) = named.and_then(|dealings| qualified_set(tools, dealings).ok()) else { return };
        self.claimed = true;
        self.feed(tools, Input::Qualified(&set));
    }

    pub(super) fn label(&self, kind: Kind, dealing: Dealing) -> Label {
        Label { attempt: self.attempt, kind, dealing }
    }

    pub(super) fn tell(&mut self, from: Index, reason: torus_protocol::Reason) {
        if self.told < TOLD {
            self.told += 1;
            crate::warning!("batch {}: member {from}: {reason}", self.attempt.batch);
        }
    }
}

/// The record of a batch whose keys are acknowledged from now on, durable.
pub(super) fn acknowledged(
    tools: &Tools,
    attempt: Attempt,
    record: BatchRecord,
    digest: Hash,
) -> Result<BatchRecord, Deny> {
    let (records, record) = (&tools.records, BatchRecord { acked: Some(digest), ..record });
    let written = records.write(|change| {
        records.put_batch(change, attempt.batch, &record)?;
        tools.on_record(change, attempt, Generation::Acknowledged(digest))
    });
    written.map_err(refused)?;
    Ok(record)
}

/// The digest in the label of a vector.
pub(super) const GIVE: Hash = [0; 32];
/// The digest in the label of a request for a vector.
pub(super) const ASK: Hash = [0xff; 32];

fn run(tools: &Tools, attempt: Attempt, keys: u16) -> Result<Run, Deny> {
    Run::new(attempt.session(&tools.config), tools.config.sizes(), tools.me, keys, tools.pool)
        .map_err(|_| Deny::Attempt)
}

/// A message that says something public.
pub(super) fn plain(tools: &Tools, bytes: &[u8]) -> Result<Body, Deny> {
    SecretBytes::copy_of(tools.pool, bytes).map(Body::from).map_err(busy)
}

fn qualified_set(tools: &Tools, dealings: &[Dealing]) -> Result<QualifiedSet, Deny> {
    let list: Vec<(Index, Hash)> = dealings.iter().map(|dealing| (dealing.dealer, dealing.digest)).collect();
    QualifiedSet::new(tools.config.sizes(), &list).map_err(|_| Deny::Attempt)
}

/// The participant's kind; a vector has none.
const fn step(kind: Kind) -> Option<Step> {
    Some(match kind {
        Kind::Send => Step::Send,
        Kind::Echo => Step::Echo,
        Kind::Ready => Step::Ready,
        Kind::Need => Step::Need,
        Kind::Matrix => Step::Matrix,
        Kind::Points => Step::Points,
        Kind::Vector => return None,
    })
}
