//! What an attempt has still to do, piece by piece: a piece is one operation of the device, one write, one envelope or
//! some milliseconds of arithmetic.
//!
//! The records of one step are durable before anything that follows them is even sealed. A vault that dies between two
//! pieces has on disk what a vault has that dies between two messages.

use torus_audit::Generation;
use torus_ipc::deny::Deny;
use torus_ipc::response::Progress;
use torus_memory::Exhausted;
use torus_protocol::{
    Budget, Input, Kind as Step, Output, Participant, PromiseReader, PublishedKeys, QualifiedSet, Record, SLICE, Shares,
};
use torus_sharing::KeysReader;
use torus_statement::codec::{Wire, Writer};
use torus_statement::dkg::{Dealing, published_digest};
use torus_statement::envelope::Kind;
use torus_statement::{Hash, Index};

use super::live::{GIVE, Live, acknowledged, plain};
use super::tools::Tools;
use super::{refused, rows, shares};
use crate::secrets::busy;

/// Something to do.
pub(super) enum Todo {
    /// Open a stored promise of this dealer.
    Promise(Index, Vec<u8>),
    /// Parse it.
    Reading(Box<PromiseReader>),
    /// Begin the participant from the promises, with the set if the log had fixed it.
    Resume(Option<QualifiedSet>),
    /// Make records durable; what follows them comes next.
    Outputs(Vec<Output>),
    /// Do what the participant asks for.
    Output(Output),
    /// Seal shares and store them.
    Sealing(Box<shares::Sealing>),
    /// Parse certified keys.
    Keys(KeysReader),
    /// Send a member the own vector, or ask him for his.
    Vector { to: Index, digest: Hash },
    /// Acknowledge, if there is something to acknowledge.
    Acknowledge,
    /// The memory for secrets was used up: the attempt is given up here, and begun again from what is durable.
    GiveUp(Exhausted),
}

impl Live {
    /// Does one piece. After an error of the store or the device, or if there was no memory ([`Deny::Busy`]), the attempt is
    /// of no use any more.
    pub(super) fn piece(&mut self, tools: &mut Tools, progress: &mut Progress) -> Result<(), Deny> {
        match self.todo.pop_front() {
            None => self.feed(tools, Input::Continue(SLICE)),
            Some(Todo::Promise(dealer, stored)) => match rows::open(tools, self.attempt, &self.run, dealer, &stored)? {
                Some(reader) => self.todo.push_front(Todo::Reading(Box::new(reader))),
                None => self.lost(dealer),
            },
            Some(Todo::Reading(mut reader)) => match reader.read(&mut Budget::new(SLICE)) {
                Ok(None) => self.todo.push_front(Todo::Reading(reader)),
                Ok(Some(promise)) => self.promises.push(promise),
                Err(_) => self.lost(reader.dealer()),
            },
            Some(Todo::Resume(set)) => {
                self.participant = Some(Participant::resume(self.run, std::mem::take(&mut self.promises)));
                if let Some(set) = set {
                    self.feed(tools, Input::Qualified(&set));
                }
            }
            Some(Todo::Outputs(outputs)) => {
                self.persist(tools, &outputs)?;
                for output in outputs.into_iter().rev() {
                    self.todo.push_front(Todo::Output(output));
                }
            }
            Some(Todo::Output(output)) => self.carry(tools, output, progress)?,
            Some(Todo::Sealing(mut sealing)) => match sealing.advance()? {
                None => self.todo.push_front(Todo::Sealing(sealing)),
                Some(value) => self.store(tools, &value)?,
            },
            Some(Todo::Keys(mut reader)) => match reader.read(&mut Budget::new(SLICE)).map_err(|_| Deny::Malformed)? {
                None => self.todo.push_front(Todo::Keys(reader)),
                Some(keys) => {
                    self.feed(tools, Input::Keys(&keys));
                    self.certified = Some(keys);
                    self.use_claims(tools);
                }
            },
            Some(Todo::Vector { to, digest }) => {
                let vector = if digest == GIVE { self.vector.clone().unwrap_or_default() } else { Vec::new() };
                let label = self.label(Kind::Vector, Dealing { dealer: tools.me, digest });
                self.send(tools, to, label, &plain(tools, &vector)?, progress)?;
            }
            Some(Todo::Acknowledge) => self.acknowledge(tools, progress)?,
            Some(Todo::GiveUp(exhausted)) => return Err(busy(exhausted)),
        }
        Ok(())
    }

    fn lost(&self, dealer: Index) {
        crate::alarm!("batch {}: the rows of dealer {dealer} do not open; the promise is lost", self.attempt.batch);
    }

    /// All records of a step in one transaction.
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
                tools.on_record(change, self.attempt, Generation::Dealt(self.record.keys))?;
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

    fn carry(&mut self, tools: &mut Tools, output: Output, progress: &mut Progress) -> Result<(), Deny> {
        match output {
            Output::Persist(_) | Output::Shared { .. } => Ok(()),
            Output::Send { to, dealer, kind, digest, body } => {
                let label = self.label(sealed_kind(kind), Dealing { dealer, digest });
                self.send(tools, to, label, &body, progress)
            }
            Output::SignReady { dealer, digest } => self.sign_ready(tools, Dealing { dealer, digest }, progress),
            Output::Seal(shares) => self.seal(tools, shares),
            Output::Publish(bytes) => {
                self.publish(tools, &bytes);
                Ok(())
            }
            Output::Keys(keys) => self.on_keys(tools, &keys, progress),
            Output::Fault { from, reason } | Output::DealerFault { dealer: from, reason } => {
                self.tell(from, reason);
                Ok(())
            }
        }
    }

    fn sign_ready(&mut self, tools: &mut Tools, dealing: Dealing, progress: &mut Progress) -> Result<(), Deny> {
        // Once the set is fixed, certificates of dealings are of no use any more.
        if self.published() || self.record.qualified.is_some() {
            return Ok(());
        }
        let preimage = self.attempt.ready(&tools.config, &dealing);
        progress.readies.push((self.attempt, dealing, tools.sign(&preimage)?));
        Ok(())
    }

    /// Begins to seal the shares, once; if they are stored the participant goes on.
    fn seal(&mut self, tools: &mut Tools, shares: Shares) -> Result<(), Deny> {
        if self.record.stored {
            self.sealed(tools);
            return Ok(());
        }
        let certified = self.certified.as_ref();
        if certified.is_some_and(|keys| !matches(keys, tools.me, &shares)) {
            crate::alarm!("batch {}: own shares differ from the certified keys", self.attempt.batch);
            return Err(Deny::Commitment);
        }
        let sealing = shares::Sealing::begin(tools, self.attempt, shares)?;
        self.todo.push_front(Todo::Sealing(Box::new(sealing)));
        Ok(())
    }

    /// Stores the sealed shares; those that were checked against certified keys are derived with it.
    fn store(&mut self, tools: &mut Tools, value: &[u8]) -> Result<(), Deny> {
        let mut record = self.record.clone();
        record.stored = true;
        if self.certified.is_some() {
            record.derived = self.fact;
        }
        let (records, batch) = (&tools.records, self.attempt.batch);
        let write = records.write(|change| {
            records.put_shares(change, batch, record.keys, value)?;
            records.put_batch(change, batch, &record)?;
            tools.on_record(change, self.attempt, Generation::Stored(record.keys))
        });
        write.map_err(refused)?;
        self.record = record;
        self.sealed(tools);
        Ok(())
    }

    fn sealed(&mut self, tools: &mut Tools) {
        self.todo.push_front(Todo::Acknowledge);
        self.feed(tools, Input::Sealed);
    }

    /// Sends the own vector to all, with the set that it is for.
    fn publish(&mut self, tools: &Tools, bytes: &[u8]) {
        let Some(vector) = self.named_set(bytes) else { return };
        self.vector = Some(vector);
        if self.fact.is_none() {
            self.vector_to_all(tools, GIVE);
        }
    }

    /// The body of a vector message: the set that the log fixed, then the vector.
    pub(super) fn named_set(&self, vector: &[u8]) -> Option<Vec<u8>> {
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
            progress.keys.push((self.attempt, bytes, signature));
        }
        self.todo.push_front(Todo::Acknowledge);
        Ok(())
    }

    /// Acknowledges once the shares of exactly the keys in the log are durable here.
    fn acknowledge(&mut self, tools: &mut Tools, progress: &mut Progress) -> Result<(), Deny> {
        let Some(fact) = self.fact.filter(|_| self.helping.is_none()) else { return Ok(()) };
        if self.record.stored && self.record.derived == Some(fact) && self.record.acked.is_none() {
            self.record = acknowledged(tools, self.attempt, self.record.clone(), fact)?;
            let signature = tools.sign(&self.attempt.ack(&tools.config, &fact))?;
            progress.acks.push((self.attempt, signature));
        }
        Ok(())
    }
}

/// Whether shares are those of certified keys.
fn matches(keys: &PublishedKeys, me: Index, shares: &Shares) -> bool {
    keys.keys.len() == shares.commitments.len()
        && keys.of(me).zip(&shares.commitments).all(|(certified, own)| certified == Some(own))
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
