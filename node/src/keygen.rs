//! Drives the coordinator: blocks, the vault's answers and members' messages in; requests, envelopes, transactions out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use torus_coordinator::{Ask, Coordinator, Input, Message, Output};
use torus_ipc::{Deny, Progress, Request, Response};
use torus_statement::{Body, EpochConfig, Index, Wire};

use crate::chain::NodeChain;
use crate::p2p::{Ack, Inbound, P2p};
use crate::vault_link::{LinkError, VaultLink};
use torus_consensus::Handle;

const TICK: Duration = Duration::from_millis(250);
/// While the vault is busy with key generation.
const BUSY: Duration = Duration::from_millis(50);
/// Envelopes that are with the vault at a time: what waits, waits here and not in its queue.
const AT_THE_VAULT: usize = 8;
/// Requests that wait for the vault, and their bytes; above either no more messages are read from members, who repeat
/// them.
const WAITING: (usize, usize) = (512, 64 << 20);

/// Key generation as the node sees it.
pub struct Keygen {
    /// The config in force.
    pub config: Arc<EpochConfig>,
    /// This member.
    pub me: Index,
    /// The chain.
    pub chain: Arc<NodeChain>,
    /// The engine, for transactions.
    pub engine: Arc<Handle>,
    /// The vault.
    pub link: VaultLink,
    /// The other members.
    pub p2p: P2p,
}

/// With the bytes that the request held.
type Answered = (Ask, Result<Progress, Deny>, usize);

impl Keygen {
    /// Runs until the vault is gone.
    pub async fn run(self, mut inbound: mpsc::Receiver<Inbound>) {
        let mut coordinator = Coordinator::new(Arc::clone(&self.config), self.me);
        let (answers, mut answered) = mpsc::unbounded_channel::<Answered>();
        let places = Arc::new(Semaphore::new(AT_THE_VAULT));
        let (mut waiting, mut bytes) = (0usize, 0usize);
        let mut tips = self.engine.tips();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);

        let mut first = vec![Input::Tick(now()), Input::VaultConnected { active: self.active() }];
        loop {
            let (inputs, ack) = if first.is_empty() {
                tokio::select! {
                    changed = tips.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        let newest = tips.borrow_and_update().certified.clone();
                        if let Some(newest) = newest {
                            // Its height and time move the vault on even when nothing is voted or revealed.
                            let link = self.link.clone();
                            tokio::spawn(async move { link.ask(Request::Advance(Box::new(newest))).await });
                        }
                        (vec![Input::Block { batches: self.chain.take_changed_batches() }], None)
                    }
                    Some((ask, answer, held)) = answered.recv() => {
                        (waiting, bytes) = (waiting.saturating_sub(1), bytes.saturating_sub(held));
                        (vec![Input::Vault { ask, answer }], None)
                    }
                    message = inbound.recv(), if waiting < WAITING.0 && bytes < WAITING.1 => match message {
                        Some(message) => read(message),
                        None => return,
                    },
                    _ = tick.tick() => (vec![Input::Tick(now())], None),
                }
            } else {
                (std::mem::take(&mut first), None)
            };

            let mut ack = ack;
            let mut inputs = VecDeque::from(inputs);
            while let Some(input) = inputs.pop_front() {
                for output in coordinator.handle(input) {
                    match output {
                        Output::Prove(batch) => inputs.extend(self.prove(batch)),
                        Output::ReadKeys(attempt) => {
                            let read = self.chain.store().snapshot().map_err(Into::into);
                            match read.and_then(|snapshot| snapshot.published(attempt.batch)) {
                                Ok(Some((attempt, published))) => {
                                    inputs.push_back(Input::Published { attempt, published })
                                }
                                Ok(None) => {}
                                Err(error) => tracing::error!(%error, "published keys cannot be read"),
                            }
                        }
                        Output::Vault { ask, request } => {
                            let held = size(&request);
                            (waiting, bytes) = (waiting.saturating_add(1), bytes.saturating_add(held));
                            // Only an envelope that was just read is acknowledged by the vault's answer to it.
                            let ack = matches!(ask, Ask::Deliver).then(|| ack.take()).flatten();
                            let (link, answers, places) = (self.link.clone(), answers.clone(), Arc::clone(&places));
                            tokio::spawn(async move {
                                let answer = if matches!(ask, Ask::Deliver) {
                                    let _place = places.acquire().await;
                                    ask_once(&link, *request).await
                                } else {
                                    insist(&link, *request).await
                                };
                                // What was not taken is not acknowledged: its sender repeats it.
                                if let Some(ack) = ack.filter(|_| answer != Err(Deny::Busy)) {
                                    ack.accept();
                                }
                                let _ = answers.send((ask, answer, held));
                            });
                        }
                        Output::Carry { to, envelope } => {
                            self.p2p.send(to, Message::Envelope(envelope).to_bytes()).await;
                        }
                        Output::Gossip(statement) => {
                            let bytes = Message::Statement(statement).to_bytes();
                            for to in self.config.sizes().members().filter(|to| *to != self.me) {
                                self.p2p.send(to, bytes.clone()).await;
                            }
                        }
                        Output::Submit(body) => self.submit(body),
                    }
                }
            }
            if let Some(ack) = ack {
                ack.accept();
            }
        }
    }

    fn active(&self) -> Vec<u64> {
        let active = self.chain.store().snapshot().map_err(Into::into).and_then(|snapshot| snapshot.active_batches());
        active.unwrap_or_else(|error| {
            tracing::error!(%error, "batches under way cannot be read");
            Vec::new()
        })
    }

    fn prove(&self, batch: u64) -> Option<Input> {
        let proof = self.chain.store().snapshot().map_err(Into::into).and_then(|snapshot| snapshot.batch(batch));
        match proof {
            Ok(proof) => proof.map(|(header, entry)| Input::Entry { header: Box::new(header), batch, entry }),
            Err(error) => {
                tracing::error!(%error, batch, "a batch's proof cannot be made");
                None
            }
        }
    }

    fn submit(&self, body: Body) {
        let transaction = self.chain.sign(body);
        // Refused means that another member was first; the coordinator tries again if it was not.
        if let Err(refused) = self.engine.submit(transaction.to_bytes()) {
            tracing::debug!(%refused, "a transaction of key generation");
        }
    }
}

/// The vault's answer, waited for while it is busy; `Busy` once it is gone.
async fn insist(link: &VaultLink, request: Request) -> Result<Progress, Deny> {
    loop {
        match ask_once(link, request.clone()).await {
            Err(Deny::Busy) if !link.is_gone() => tokio::time::sleep(BUSY).await,
            answer => return answer,
        }
    }
}

/// The vault's answer; `Busy` if it has none now.
async fn ask_once(link: &VaultLink, request: Request) -> Result<Progress, Deny> {
    match link.ask(request).await {
        Ok(Response::Denied(deny)) => Err(deny),
        Ok(Response::Progress(progress)) => Ok(progress),
        Ok(_) => Ok(Progress::default()),
        Err(LinkError::Closed) => Err(Deny::Busy),
        Err(LinkError::Timeout(_)) => {
            tracing::warn!("the vault is slow with key generation");
            Err(Deny::Busy)
        }
        Err(error) => {
            tracing::error!(%error, "a request of key generation");
            Err(Deny::Malformed)
        }
    }
}

/// The bytes that a request holds, as far as others decide them.
fn size(request: &Request) -> usize {
    match request {
        Request::Deliver(envelope) => envelope.ciphertext.len(),
        Request::Keys { published, .. } => published.len(),
        _ => 0,
    }
}

fn read(message: Inbound) -> (Vec<Input>, Option<Ack>) {
    let Inbound { from, bytes, ack } = message;
    match Message::from_bytes(&bytes) {
        Ok(Message::Envelope(envelope)) => (vec![Input::Envelope(envelope)], Some(ack)),
        Ok(Message::Statement(statement)) => (vec![Input::Statement { from, statement }], Some(ack)),
        Err(error) => {
            tracing::warn!(member = %from, %error, "a member's message cannot be read");
            (Vec::new(), Some(ack))
        }
    }
}

fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
