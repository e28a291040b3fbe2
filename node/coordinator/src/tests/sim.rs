//! Nodes, their vaults and a log, in memory: the coordinators are real, the log is the real state machine, and a
//! scripted vault says what a vault would say and checks that what it is told is proven.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use torus_ipc::{Deny, Progress, Request};
use torus_mapping::{At, Execution, MemoryState, View, genesis, genesis_root, prove};
use torus_statement::certificate::{CommitCertificate, SignedHeader};
use torus_statement::config::Buffer;
use torus_statement::dkg::{Attempt, published_digest};
use torus_statement::envelope::{Envelope, Kind, Label, Session};
use torus_statement::state::{BatchEntry, Phase, Proven, Supply, key};
use torus_statement::{Body, Header, Index, Wire};

use super::net::{Net, START, at, dealing_of, point, public, sign};
use crate::{Ask, Coordinator, Input, Message, Output, Statement};

/// What a scripted vault has done.
#[derive(Default)]
pub(super) struct Vault {
    pub(super) told: Vec<(u64, u32, u8)>,
    pub(super) stored: BTreeSet<Attempt>,
    /// It lost its database: no shares unless it is given the keys.
    pub(super) lost: bool,
    pub(super) refuses: Option<Deny>,
    pub(super) delivered: usize,
    pub(super) given_keys: usize,
    pub(super) outbox: Progress,
}

pub(super) struct Node {
    pub(super) coordinator: Coordinator,
    pub(super) vault: Vault,
    pub(super) up: bool,
    pub(super) sequence: u64,
}

pub(super) struct Sim {
    pub(super) net: Net,
    pub(super) state: MemoryState,
    pub(super) height: u64,
    header: Option<SignedHeader>,
    pub(super) now: u64,
    pub(super) nodes: Vec<Node>,
    wire: VecDeque<(Index, Index, Vec<u8>)>,
    pub(super) submitted: Vec<(Index, Body)>,
    /// Every n-th message is lost.
    pub(super) loss: usize,
    carried: usize,
}

impl Sim {
    pub(super) fn new(n: u8, k: u8, t: u8) -> Self {
        let buffer = Buffer { batch: 3, low_water: 6 };
        let net = Net::new(n, k, t, buffer, |verifiers| genesis_root(verifiers).unwrap());
        let mut state = MemoryState::default();
        state.apply(0, &genesis(&net.verifiers).unwrap());
        let config = Arc::new(net.config.clone());
        let node = |index| Node {
            coordinator: Coordinator::new(config.clone(), index),
            vault: Vault::default(),
            up: true,
            sequence: 0,
        };
        let nodes = net.config.sizes().members().map(node).collect();
        let (wire, submitted) = (VecDeque::new(), Vec::new());
        let mut sim = Self { net, state, height: 0, header: None, now: 0, nodes, wire, submitted, loss: 0, carried: 0 };
        for index in sim.members() {
            sim.input(index, Input::VaultConnected { active: vec![] });
        }
        sim
    }

    pub(super) fn members(&self) -> Vec<Index> {
        self.net.config.sizes().members().collect()
    }

    pub(super) fn node(&mut self, member: u8) -> &mut Node {
        &mut self.nodes[at(member).slot()]
    }

    pub(super) fn entry(&self, batch: u64) -> BatchEntry {
        View::new(&self.state, self.height).batch(batch).unwrap().unwrap()
    }

    pub(super) fn supply(&self) -> Supply {
        View::new(&self.state, self.height).supply().unwrap()
    }

    /// Time passes; every quarter of a second the coordinators hear of it and a block is made of what was submitted.
    pub(super) fn run(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds / 250 {
            self.now += 250;
            for index in self.members() {
                self.input(index, Input::Tick(self.now));
            }
            self.deliver();
            if self.height == 0 || !self.submitted.is_empty() {
                self.block();
            }
            self.deliver();
        }
    }

    pub(super) fn input(&mut self, index: Index, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            if !self.nodes[index.slot()].up {
                return;
            }
            for output in self.nodes[index.slot()].coordinator.handle(input) {
                inputs.extend(self.output(index, output));
            }
        }
    }

    fn output(&mut self, index: Index, output: Output) -> Option<Input> {
        match output {
            Output::Prove(batch) => {
                let header = Box::new(self.header.clone()?);
                let (value, proof) = prove(&self.state, self.height, &key::batch(batch)).unwrap()?;
                let entry = Proven { value: BatchEntry::from_bytes(&value).unwrap(), proof };
                Some(Input::Entry { header, batch, entry })
            }
            Output::ReadKeys(attempt) => {
                Some(Input::Published { attempt, published: self.net.published(attempt).to_bytes() })
            }
            Output::Vault { ask, request } => {
                let answer = self.ask(index, *request);
                // An answer of the vault must be one to what was asked.
                Some(Input::Vault { ask, answer })
            }
            Output::Carry { to, envelope } => {
                self.send(index, to, &Message::Envelope(envelope));
                None
            }
            Output::Gossip(statement) => {
                for to in self.members() {
                    if to != index {
                        self.send(index, to, &Message::Statement(statement.clone()));
                    }
                }
                None
            }
            Output::Submit(body) => {
                self.submitted.push((index, body));
                None
            }
        }
    }

    pub(super) fn send(&mut self, from: Index, to: Index, message: &Message) {
        self.carried += 1;
        if self.loss == 0 || !self.carried.is_multiple_of(self.loss) {
            self.wire.push_back((from, to, message.to_bytes()));
        }
    }

    pub(super) fn deliver(&mut self) {
        while let Some((from, to, bytes)) = self.wire.pop_front() {
            match Message::from_bytes(&bytes).unwrap() {
                Message::Envelope(envelope) => self.input(to, Input::Envelope(envelope)),
                Message::Statement(statement) => self.input(to, Input::Statement { from, statement }),
            }
        }
    }

    pub(super) fn block(&mut self) {
        let place = At { height: self.height + 1, time: START + self.now };
        let mut execution = Execution::new(&self.state, &self.net.config, place);
        for (index, body) in std::mem::take(&mut self.submitted) {
            let node = &mut self.nodes[index.slot()];
            node.sequence += 1;
            let transaction = self.net.transaction(index.get(), node.sequence, body);
            let _ = execution.apply(&transaction).unwrap();
        }
        let outcome = execution.finish().unwrap();
        self.state.apply(place.height, &outcome);
        self.height = place.height;
        let config = &self.net.config;
        let header = Header {
            chain: config.committee().chain,
            epoch: 1,
            height: place.height,
            parent: [0; 32],
            time: place.time,
            proposer: at(1),
            transactions: [0; 32],
            state: outcome.root,
            config: config.hash(),
            next_config: config.hash(),
        };
        self.header = Some(SignedHeader { header, certificate: CommitCertificate { round: 0, signatures: vec![] } });
        for index in self.members() {
            self.input(index, Input::Block { batches: outcome.batches.clone() });
        }
    }

    fn ask(&mut self, index: Index, request: Request) -> Result<Progress, Deny> {
        let config = &self.net.config;
        let identity = &self.net.identities[index.slot()];
        let vault = &mut self.nodes[index.slot()].vault;
        let mut progress = Progress::default();
        match request {
            Request::Outbox => progress = vault.outbox.clone(),
            Request::Deliver(_) => vault.delivered += 1,
            Request::Keys { attempt, published } => {
                vault.given_keys += 1;
                vault.stored.insert(attempt);
                progress.acks.push((attempt, sign(identity, &attempt.ack(config, &published_digest(&published)))));
            }
            Request::Batch { header, batch, entry } => {
                let entry = entry.verify(&header.header.state, &key::batch(batch)).expect("a proof that verifies");
                if let Some(deny) = vault.refuses {
                    return Err(deny);
                }
                let attempt = entry.attempt_of(batch);
                match &entry.phase {
                    Phase::Open => {
                        vault.told.push((batch, entry.attempt, 0));
                        for dealer in config.sizes().members() {
                            let dealing = dealing_of(dealer.get());
                            progress.readies.push((attempt, dealing, sign(identity, &attempt.ready(config, &dealing))));
                            if dealer != index {
                                progress.envelopes.push(envelope(&self.net, index, dealer, attempt));
                            }
                        }
                        vault.outbox.readies.extend(progress.readies.iter().cloned());
                        vault.outbox.envelopes.extend(progress.envelopes.iter().cloned());
                    }
                    Phase::Qualified { .. } => {
                        vault.told.push((batch, entry.attempt, 1));
                        if !vault.lost {
                            vault.stored.insert(attempt);
                            let published = self.net.published(attempt).to_bytes();
                            let preimage = attempt.keys(config, &published_digest(&published));
                            progress.keys.push((attempt, published, sign(identity, &preimage)));
                            vault.outbox.keys.extend(progress.keys.iter().cloned());
                        }
                    }
                    Phase::Published { digest, .. } => {
                        vault.told.push((batch, entry.attempt, 2));
                        if vault.stored.contains(&attempt) {
                            progress.acks.push((attempt, sign(identity, &attempt.ack(config, digest))));
                        }
                        vault.outbox.readies.retain(|(of, ..)| *of != attempt);
                        vault.outbox.keys.retain(|(of, ..)| *of != attempt);
                        vault.outbox.envelopes.retain(|envelope| envelope.label.attempt != attempt);
                    }
                }
            }
            other => panic!("not a verb of key generation: {other:?}"),
        }
        Ok(progress)
    }
}

pub(super) fn envelope(net: &Net, sender: Index, receiver: Index, attempt: Attempt) -> Envelope {
    let ephemeral = point(77);
    let preimage = Session::preimage(&net.config, sender, receiver, &ephemeral);
    let signature = sign(&net.identities[sender.slot()], &preimage);
    assert_eq!(public(&net.identities[sender.slot()]), net.config.member(sender).unwrap().identity);
    Envelope {
        session: Session { config: net.config.hash(), sender, receiver, ephemeral, signature },
        counter: 1,
        label: Label { attempt, kind: Kind::Send, dealing: dealing_of(sender.get()) },
        ciphertext: vec![1, 2, 3],
    }
}

/// How many coordinators submitted each kind of body, by the batch.
pub(super) fn count(submitted: &[(Index, Body)]) -> BTreeMap<(&'static str, u64), usize> {
    let mut counts = BTreeMap::new();
    for (_, body) in submitted {
        let kind = match body {
            Body::Propose { attempt, .. } => ("propose", attempt.batch),
            Body::Keys { attempt, .. } => ("keys", attempt.batch),
            Body::Ack { attempt, .. } => ("ack", attempt.batch),
            Body::Assign { .. } => ("assign", 0),
            Body::AuditHead(_) => ("audit head", 0),
        };
        *counts.entry(kind).or_default() += 1;
    }
    counts
}

/// A ready of `member`, as gossip.
pub(super) fn ready(net: &Net, attempt: Attempt, dealer: u8, member: u8) -> Statement {
    let dealing = dealing_of(dealer);
    Statement::Ready { attempt, dealing, signature: net.ready(attempt, &dealing, member).1 }
}

pub(super) const fn is_vault_batch(output: &Output) -> bool {
    matches!(output, Output::Vault { ask: Ask::Batch(_), .. })
}
