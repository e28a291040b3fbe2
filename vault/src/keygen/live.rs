//! One attempt in memory: its participant, and what it sent, so that a repetition repeats bytes.

use std::collections::{BTreeMap, VecDeque};

use torus_ipc::deny::Deny;
use torus_ipc::response::Progress;
use torus_protocol::{Input, Kind as Step, Output, Participant, PublishedKeys, QualifiedSet, Record, Run, Shares};
use torus_statement::codec::{Reader, Wire, Writer};
use torus_statement::dkg::{Attempt, Dealing, published_digest};
use torus_statement::envelope::{Envelope, Kind, Label};
use torus_statement::{Hash, Index, Signature};

use super::records::BatchRecord;
use super::tools::Tools;
use super::{refused, rows, shares};

/// A member's lost vector is sent again so often: its restarts are few.
const ANSWERS: u8 = 8;
/// Faults of others that are told in the log for one attempt.
const TOLD: u32 = 16;

/// An attempt under way, or a published batch whose rows help others.
pub(super) struct Live {
    pub(super) attempt: Attempt,
    pub(super) record: BatchRecord,
    participant: Participant,
    /// Set while this is only in memory to help a member: then nothing goes to others.
    pub(super) helping: Option<Index>,
    /// Grows with every beginning: the lowest is the oldest.
    pub(super) turn: u64,
    sent: BTreeMap<(Kind, Index, Index, Hash), Envelope>,
    readies: Vec<(Attempt, Dealing, Signature)>,
    keys: Option<(Attempt, Vec<u8>, Signature)>,
    vector: Option<Vec<u8>>,
    answered: BTreeMap<Index, u8>,
    /// The digest of the batch's keys in the log.
    pub(super) fact: Option<Hash>,
    certified: Option<PublishedKeys>,
    /// The qualified set that each member's vector named, for a member that came too late to see it in the log.
    claims: BTreeMap<Index, Vec<Dealing>>,
    claimed: bool,
    told: u32,
}

impl Live {
    /// Takes part from the beginning. What follows is to be given to `carry`.
    pub(super) fn deal(tools: &mut Tools, attempt: Attempt, keys: u16) -> Result<(Self, Vec<Output>), Deny> {
        let run = run(tools, attempt, keys)?;
        let (participant, outputs) = Participant::deal(run, &mut *tools.rng);
        Ok((Self::new(attempt, BatchRecord::new(attempt.attempt, keys), participant), outputs))
    }

    /// Goes on from what is durable.
    pub(super) fn revive(tools: &mut Tools, batch: u64, record: BatchRecord) -> Result<(Self, Vec<Output>), Deny> {
        let attempt = Attempt { batch, attempt: record.attempt };
        let run = run(tools, attempt, record.keys)?;
        let mut promises = Vec::new();
        for (dealer, stored) in tools.records.rows(attempt).map_err(refused)? {
            match rows::open(tools, attempt, &run, dealer, &stored)? {
                Some(promise) => promises.push(promise),
                None => crate::alarm!("batch {batch}: the rows of dealer {dealer} do not open; the promise is lost"),
            }
        }
        let (mut participant, mut outputs) = Participant::resume(run, promises, &mut *tools.rng);
        if let Some(dealings) = &record.qualified {
            let set = qualified_set(tools, dealings)?;
            outputs.extend(participant.handle(Input::Qualified(&set), &mut *tools.rng));
        }
        Ok((Self::new(attempt, record, participant), outputs))
    }

    fn new(attempt: Attempt, record: BatchRecord, participant: Participant) -> Self {
        Self {
            attempt,
            record,
            participant,
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

    /// The log fixed the qualified set: once, for ever.
    pub(super) fn qualify(
        &mut self,
        tools: &mut Tools,
        dealings: &[Dealing],
        progress: &mut Progress,
    ) -> Result<(), Deny> {
        if let Some(known) = &self.record.qualified {
            if known == dealings {
                return Ok(());
            }
            crate::alarm!("batch {}: the log shows a second qualified set", self.attempt.batch);
            return Err(Deny::Attempt);
        }
        let set = qualified_set(tools, dealings)?;
        self.update(tools, |record| record.qualified = Some(dealings.to_vec()))?;
        let outputs = self.participant.handle(Input::Qualified(&set), &mut *tools.rng);
        self.carry(tools, outputs, progress)
    }

    /// The log has the keys, and this vault has not acknowledged them. Shown again, questions are repeated.
    pub(super) fn publish_fact(
        &mut self,
        tools: &mut Tools,
        digest: Hash,
        progress: &mut Progress,
    ) -> Result<(), Deny> {
        match self.fact.replace(digest) {
            None if self.record.qualified.is_none() => self.ask_vectors(tools, progress),
            None => self.acknowledge(tools, progress),
            Some(_) => {
                self.ask_again(progress);
                Ok(())
            }
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
        tools: &mut Tools,
        bytes: &[u8],
        progress: &mut Progress,
    ) -> Result<(), Deny> {
        if self.fact.ok_or(Deny::Attempt)? != published_digest(bytes) {
            return Err(Deny::Proof);
        }
        if self.certified.is_some() {
            self.ask_again(progress);
            return Ok(());
        }
        let keys =
            PublishedKeys::parse(tools.config.sizes(), self.record.keys.into(), bytes).map_err(|_| Deny::Malformed)?;
        let outputs = self.participant.handle(Input::Keys(&keys), &mut *tools.rng);
        self.certified = Some(keys);
        self.carry(tools, outputs, progress)?;
        self.use_claims(tools, progress)
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
        let Some(kind) = step(label.kind) else { return self.on_vector(tools, from, label, body, progress) };
        let input = Input::Message { from, dealer, kind, digest, body };
        let outputs = self.participant.handle(input, &mut *tools.rng);
        self.carry(tools, outputs, progress)
    }

    /// Does what the participant asks for, records first: all records of a step are one transaction, and nothing that
    /// follows them leaves unless it succeeded.
    pub(super) fn carry(
        &mut self,
        tools: &mut Tools,
        outputs: Vec<Output>,
        progress: &mut Progress,
    ) -> Result<(), Deny> {
        self.persist(tools, &outputs)?;
        let mut queue = VecDeque::from(outputs);
        while let Some(output) = queue.pop_front() {
            match output {
                Output::Persist(_) | Output::Shared { .. } => {}
                Output::Send { to, dealer, kind, digest, body } => {
                    let label = self.label(sealed_kind(kind), Dealing { dealer, digest });
                    self.send(tools, to, label, body.as_slice(), progress)?;
                }
                Output::SignReady { dealer, digest } => {
                    self.sign_ready(tools, Dealing { dealer, digest }, progress)?;
                }
                Output::Seal(shares) => {
                    let more = self.store(tools, &shares, progress)?;
                    drop(shares);
                    self.persist(tools, &more)?;
                    queue.extend(more);
                }
                Output::Publish(bytes) => self.publish(tools, &bytes, progress)?,
                Output::Keys(keys) => self.on_keys(tools, &keys, progress)?,
                Output::Fault { from, reason } => self.tell(from, reason),
            }
        }
        Ok(())
    }

    /// Asks everybody for his vector: an empty one.
    pub(super) fn ask_vectors(&mut self, tools: &mut Tools, progress: &mut Progress) -> Result<(), Deny> {
        let me = tools.me;
        for to in tools.config.clone().sizes().members().filter(|member| *member != me) {
            let label = self.label(Kind::Vector, Dealing { dealer: me, digest: ASK });
            self.send(tools, to, label, &[], progress)?;
        }
        Ok(())
    }

    /// What is still worth sending, as it was sent, within `room` bytes of envelopes; whether all had room.
    pub(super) fn repeat(&self, progress: &mut Progress, room: &mut usize) -> bool {
        if self.helping.is_some() {
            return true;
        }
        progress.readies.extend(self.readies.iter().cloned());
        progress.keys.extend(self.keys.clone());
        // Later kinds first: they are the smaller and the nearer to the end.
        for envelope in self.sent.values().rev() {
            let Some(left) = room.checked_sub(envelope.ciphertext.len()) else { return false };
            *room = left;
            progress.envelopes.push(envelope.clone());
        }
        true
    }

    fn persist(&mut self, tools: &mut Tools, outputs: &[Output]) -> Result<(), Deny> {
        let (mut dealt, mut echoes, mut promised) = (false, Vec::new(), Vec::new());
        for output in outputs {
            match output {
                Output::Persist(Record::Dealt) => dealt = true,
                Output::Persist(Record::Echoed { dealer, digest }) => echoes.push((*dealer, *digest)),
                Output::Persist(Record::Promise(promise)) => {
                    promised.push((promise.dealer(), rows::seal(tools, self.attempt, promise)?));
                }
                _ => {}
            }
        }
        if !dealt && echoes.is_empty() && promised.is_empty() {
            return Ok(());
        }
        let records = &tools.records;
        let write = records.write(|change| {
            if dealt {
                records.put_batch(change, self.attempt.batch, &self.record)?;
            }
            for (dealer, digest) in &echoes {
                records.put_echo(change, self.attempt, *dealer, digest)?;
            }
            for (dealer, sealed) in &promised {
                records.put_rows(change, self.attempt, *dealer, sealed)?;
            }
            Ok(())
        });
        write.map_err(refused)
    }

    fn update(&mut self, tools: &Tools, change: impl FnOnce(&mut BatchRecord)) -> Result<(), Deny> {
        let mut record = self.record.clone();
        change(&mut record);
        if record != self.record {
            let records = &tools.records;
            records.write(|change| records.put_batch(change, self.attempt.batch, &record)).map_err(refused)?;
            self.record = record;
        }
        Ok(())
    }

    fn send(
        &mut self,
        tools: &mut Tools,
        to: Index,
        label: Label,
        body: &[u8],
        progress: &mut Progress,
    ) -> Result<(), Deny> {
        if self.helping.is_some_and(|helped| helped != to) {
            return Ok(());
        }
        let envelope = tools.seal(to, label, body)?;
        if self.helping.is_none() {
            let Dealing { dealer, digest } = label.dealing;
            self.sent.insert((label.kind, to, dealer, digest), envelope.clone());
        }
        progress.envelopes.push(envelope);
        Ok(())
    }

    fn sign_ready(&mut self, tools: &mut Tools, dealing: Dealing, progress: &mut Progress) -> Result<(), Deny> {
        // Once the set is fixed, certificates of dealings are of no use any more.
        if self.published() || self.record.qualified.is_some() {
            return Ok(());
        }
        let preimage = self.attempt.ready(&tools.config, &dealing);
        let ready = (self.attempt, dealing, tools.sign(&preimage)?);
        self.readies.push(ready);
        progress.readies.push(ready);
        Ok(())
    }

    /// Seals and stores the shares, once; then goes on with the participant.
    fn store(&mut self, tools: &mut Tools, shares: &Shares, progress: &mut Progress) -> Result<Vec<Output>, Deny> {
        if !self.record.stored {
            let matched = self.certified.as_ref().map(|keys| {
                keys.keys.len() == shares.commitments.len()
                    && keys.of(tools.me).zip(&shares.commitments).all(|(certified, own)| certified == Some(own))
            });
            if matched == Some(false) {
                crate::alarm!("batch {}: own shares differ from the certified keys", self.attempt.batch);
                return Err(Deny::Commitment);
            }
            let value = shares::seal(tools, self.attempt, shares)?;
            let mut record = self.record.clone();
            record.stored = true;
            if matched == Some(true) {
                record.derived = self.fact;
            }
            let (records, batch) = (&tools.records, self.attempt.batch);
            let write = records.write(|change| {
                records.put_shares(change, batch, record.keys, &value)?;
                records.put_batch(change, batch, &record)
            });
            write.map_err(refused)?;
            self.record = record;
        }
        let more = self.participant.handle(Input::Sealed, &mut *tools.rng);
        self.acknowledge(tools, progress)?;
        Ok(more)
    }

    /// Sends the own vector to all, with the set that it is for.
    fn publish(&mut self, tools: &mut Tools, bytes: &[u8], progress: &mut Progress) -> Result<(), Deny> {
        let Some(vector) = self.named_set(bytes) else { return Ok(()) };
        self.vector = Some(vector.clone());
        if self.fact.is_some() {
            return Ok(());
        }
        let me = tools.me;
        for to in tools.config.clone().sizes().members().filter(|member| *member != me) {
            let label = self.label(Kind::Vector, Dealing { dealer: me, digest: GIVE });
            self.send(tools, to, label, &vector, progress)?;
        }
        Ok(())
    }

    /// The body of a vector message: the set that the log fixed, then the vector.
    fn named_set(&self, vector: &[u8]) -> Option<Vec<u8>> {
        let mut w = Writer::default();
        w.list(self.record.qualified.as_ref()?, |w, dealing| dealing.write(w)).raw(vector);
        Some(w.into_bytes())
    }

    /// Keys that the participant derived, or that match its shares.
    fn on_keys(&mut self, tools: &mut Tools, keys: &PublishedKeys, progress: &mut Progress) -> Result<(), Deny> {
        if self.helping.is_some() {
            return Ok(());
        }
        let bytes = keys.to_bytes();
        let digest = published_digest(&bytes);
        if self.fact.is_some_and(|fact| fact != digest) {
            crate::alarm!("batch {}: the keys in the log are not those derived here", self.attempt.batch);
            return Ok(());
        }
        self.update(tools, |record| record.derived = Some(digest))?;
        if self.fact.is_none() {
            let signature = tools.sign(&self.attempt.keys(&tools.config, &digest))?;
            self.keys = Some((self.attempt, bytes, signature));
            progress.keys.extend(self.keys.clone());
        }
        self.acknowledge(tools, progress)
    }

    /// Acknowledges once the shares of exactly the keys in the log are durable here.
    fn acknowledge(&mut self, tools: &mut Tools, progress: &mut Progress) -> Result<(), Deny> {
        let Some(fact) = self.fact.filter(|_| self.helping.is_none()) else { return Ok(()) };
        if self.record.stored && self.record.derived == Some(fact) && self.record.acked.is_none() {
            self.update(tools, |record| record.acked = Some(fact))?;
            let signature = tools.sign(&self.attempt.ack(&tools.config, &fact))?;
            progress.acks.push((self.attempt, signature));
        }
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
            let outputs = self.participant.handle(Input::Vector { from, body }, &mut *tools.rng);
            self.carry(tools, outputs, progress)?;
        }
        self.use_claims(tools, progress)
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
        self.send(tools, from, self.label(Kind::Vector, dealing), &vector, progress)
    }

    /// A late member learns the set from k vectors that name the same: one of them is honest. It publishes nothing, and
    /// stores only shares that match the certified keys.
    fn use_claims(&mut self, tools: &mut Tools, progress: &mut Progress) -> Result<(), Deny> {
        let late = self.fact.is_some() && self.certified.is_some() && self.helping.is_none();
        if !late || self.claimed || self.record.qualified.is_some() {
            return Ok(());
        }
        let k = tools.config.sizes().k();
        let named = self.claims.values().find(|claim| self.claims.values().filter(|other| other == claim).count() >= k);
        let Some(set) = named.and_then(|dealings| qualified_set(tools, dealings).ok()) else { return Ok(()) };
        self.claimed = true;
        let outputs = self.participant.handle(Input::Qualified(&set), &mut *tools.rng);
        self.carry(tools, outputs, progress)
    }

    fn label(&self, kind: Kind, dealing: Dealing) -> Label {
        Label { attempt: self.attempt, kind, dealing }
    }

    fn tell(&mut self, from: Index, reason: torus_protocol::Reason) {
        if self.told < TOLD {
            self.told += 1;
            crate::warning!("batch {}: member {from}: {reason}", self.attempt.batch);
        }
    }
}

/// The digest in the label of a vector.
const GIVE: Hash = [0; 32];
/// The digest in the label of a request for a vector.
const ASK: Hash = [0xff; 32];

fn run(tools: &Tools, attempt: Attempt, keys: u16) -> Result<Run, Deny> {
    Run::new(attempt.session(&tools.config), tools.config.sizes(), tools.me, keys).map_err(|_| Deny::Attempt)
}

fn qualified_set(tools: &Tools, dealings: &[Dealing]) -> Result<QualifiedSet, Deny> {
    let list: Vec<(Index, Hash)> = dealings.iter().map(|dealing| (dealing.dealer, dealing.digest)).collect();
    QualifiedSet::new(tools.config.sizes(), &list).map_err(|_| Deny::Attempt)
}

const fn sealed_kind(step: Step) -> Kind {
    match step {
        Step::Send => Kind::Send,
        Step::Echo => Kind::Echo,
        Step::Ready => Kind::Ready,
        Step::Need => Kind::Need,
        Step::Matrix => Kind::Matrix,
        Step::Points => Kind::Points,
    }
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
