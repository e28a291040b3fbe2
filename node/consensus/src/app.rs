//! The loop between the engine and the chain: answers what the engine asks, and decides when a height begins.

mod catch_up;
mod state;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use malachitebft_app::engine::host::Next;
use malachitebft_app::streaming::StreamContent;
use malachitebft_app::types::PeerId;
use malachitebft_app_channel::{AppMsg, NetworkRequest, Reply};
use malachitebft_core_consensus::{LocallyProposedValue, ProposedValue};
use malachitebft_core_types::{
    CommitCertificate as EngineCertificate, HeightParams, LinearTimeouts, Round, SignedProposal,
};
use tokio::sync::{mpsc, watch};
use torus_ipc::HeldVotes;
use torus_statement::certificate::SignedHeader;
use torus_statement::{CommitCertificate, EpochConfig, Index, Signature};
use tracing::{debug, info, warn};

pub(super) use self::state::State;
use self::state::{Ready, Rest};
use super::api::{Chain, Tip};
use super::blocks::{Blocks, Offered};
use super::context::{BlockId, Height, Torus, ValidatorSet};
use super::failure::Stopped;
use super::gossip::Gossip;
use super::marker::Marker;
use super::part::Part;
use super::peers::Peers;
use super::signing::{SharedBook, Shown};

/// How often the loop looks at its clocks.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// The engine starts without a quorum of peers after this.
const PATIENCE: Duration = Duration::from_secs(3);
/// A mere claim that others moved on wakes after this: a liar can make one empty block a second, not more.
const NUDGE: Duration = Duration::from_secs(1);
/// After an empty block, work waits this long: a transaction that no block can take must not spin.
const BREATH: Duration = Duration::from_millis(200);
/// How often this node says at which height it works.
const ANNOUNCE: Duration = Duration::from_secs(2);
/// A height that lasts longer has its votes sent again, and again after as long.
const STUCK: Duration = Duration::from_secs(8);

/// What the engine tells everyone who listens, as far as the loop cares.
pub(super) enum Heard {
    /// This member's engine publishes a proposal: its block goes along.
    Published(SignedProposal<Torus>),
    /// Somebody votes or proposes at a height.
    At(u64),
}

/// The loop's state.
pub(super) struct App {
    pub(super) chain: Arc<dyn Chain>,
    pub(super) config: Arc<EpochConfig>,
    pub(super) index: Index,
    pub(super) timeouts: LinearTimeouts,
    pub(super) heartbeat: Duration,
    pub(super) book: SharedBook,
    pub(super) shown: Arc<Shown>,
    pub(super) marker: Arc<Marker>,
    pub(super) held: Option<HeldVotes>,
    pub(super) gossip: Gossip,
    pub(super) requests: mpsc::Sender<NetworkRequest>,
    pub(super) tips: watch::Sender<Tip>,
    pub(super) peers: Arc<AtomicUsize>,
    pub(super) list: Arc<Peers>,
    pub(super) blocks: Blocks,
    pub(super) set: ValidatorSet,
    pub(super) state: State,
}

impl App {
    /// Answers one message of the engine.
    pub(super) fn answer(&mut self, message: AppMsg<Torus>) -> Result<(), Stopped> {
        match message {
            AppMsg::ConsensusReady { reply } => self.state.ready = Some(Ready { reply, since: Instant::now() }),
            AppMsg::StartedRound { height, round, role, reply_value, .. } => {
                debug!(%height, %round, ?role, "round");
                let values = self.round_started(height.0)?;
                send(reply_value, values);
            }
            AppMsg::GetValue { height, round, reply, .. } => {
                if let Some(id) = self.value_to_propose(height.0, round)? {
                    send(reply, LocallyProposedValue::new(height, round, id));
                }
            }
            AppMsg::ReceivedProposalPart { from, published_by, part, reply } => {
                // The author, whose signature over the whole message gossipsub has verified (it is strict). Not `from`,
                // the neighbour: a stranger's message may come by way of a member, and a member's by way of a stranger,
                // whom to refuse would be to lose it, since it is delivered once.
                let known = published_by.is_some_and(|author| self.list.is_member(&author));
                let value = match part.content {
                    StreamContent::Data(part) if known => self.part(from, part)?,
                    StreamContent::Data(_) | StreamContent::Fin => None,
                };
                send(reply, value);
            }
            // The engine publishes the proposal as well, and every published proposal takes its block along.
            AppMsg::RestreamProposal { .. } => {}
            AppMsg::Decided { certificate, reply, .. } => {
                self.decided(&certificate)?;
                send(reply, ());
            }
            AppMsg::Finalized { evidence, reply, .. } => {
                if !evidence.is_empty() {
                    warn!(?evidence, "members voted or proposed twice");
                }
                let tip = self.chain.tip();
                if tip.certified.is_some_and(|newest| newest.header.next_config != self.config.hash()) {
                    return Err(Stopped::EpochEnded);
                }
                self.state.rest = Some(Rest { reply, since: Instant::now() });
                self.wake();
            }
            AppMsg::GetHistoryMinHeight { reply } => send(reply, Height(self.chain.min_height())),
            AppMsg::GetDecidedValues { range, reply } => send(reply, self.stored(range.start().0, range.end().0)),
            AppMsg::ProcessSyncedValue { height, round, proposer, value_bytes, reply } => {
                send(reply, self.synced(height, round, proposer, &value_bytes)?);
            }
            // Extensions are switched off; an engine that asks nonetheless gets the answer that changes nothing.
            AppMsg::ExtendVote { reply, .. } => send(reply, None),
            AppMsg::VerifyVoteExtensions { extensions, reply, .. } => {
                send(reply, extensions.into_iter().map(|(member, _)| (member, Ok(()))).collect());
            }
        }
        Ok(())
    }

    /// Takes notice of what the engine sends or hears.
    pub(super) fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Published(proposal) => {
                if let Some(known) = self.blocks.get(&proposal.message.value.0) {
                    let bytes = known.bytes.clone();
                    self.gossip.block(proposal, bytes);
                }
            }
            Heard::At(height) => self.claim(height),
        }
    }

    /// Hands on transactions that this node's own mempool took.
    pub(super) fn submitted(&mut self, transactions: Vec<Bytes>) {
        self.gossip.transactions(transactions);
        self.wake();
    }

    /// Looks at the clocks.
    pub(super) async fn tick(&mut self) {
        let now = Instant::now();
        if self.state.ready.is_some() || now.duration_since(self.state.counted) >= Duration::from_secs(1) {
            self.state.counted = now;
            self.count_peers().await;
        }
        self.begin();
        self.wake();
        if now.duration_since(self.state.announced) >= ANNOUNCE {
            self.announce();
        }
        let in_progress = self.state.working > self.chain.tip().height;
        if in_progress && now.duration_since(self.state.resent) >= STUCK {
            self.state.resent = now;
            self.resend();
        }
    }

    /// The engine's first height, once enough peers are there for a quorum (or after a while without).
    fn begin(&mut self) {
        let quorum = self.config.sizes().engine_quorum();
        let enough = self.peers.load(Ordering::Relaxed).saturating_add(1) >= quorum;
        if self.state.ready.as_ref().is_some_and(|ready| enough || ready.since.elapsed() >= PATIENCE)
            && let Some(Ready { reply, .. }) = self.state.ready.take()
        {
            let height = self.chain.tip().height.saturating_add(1);
            info!(height, "the engine starts");
            send(reply, (Height(height), self.params()));
        }
    }

    /// Begins the height above the tip if there is a reason to.
    fn wake(&mut self) {
        let Some(rest) = &self.state.rest else { return };
        let (rested, next) = (rest.since.elapsed(), self.chain.tip().height.saturating_add(1));
        let behind = self.state.synced && self.state.claimed > next;
        let nudged = self.state.claimed >= next && rested >= NUDGE;
        let work = (!self.state.empty || rested >= BREATH) && self.chain.has_work();
        if (work || behind || nudged || self.state.proposed || rested >= self.heartbeat)
            && let Some(rest) = self.state.rest.take()
        {
            send(rest.reply, Next::Start(Height(next), self.params()));
        }
    }

    fn params(&self) -> HeightParams<Torus> {
        HeightParams::new(self.set.clone(), self.timeouts, None)
    }

    fn round_started(&mut self, height: u64) -> Result<Vec<ProposedValue<Torus>>, Stopped> {
        if height != self.state.working {
            self.state.working = height;
            self.state.started = Instant::now();
            self.state.resent = self.state.started;
            self.announce();
        }
        if self.held.as_ref().is_some_and(|held| held.height < height) {
            self.held = None;
        }
        if let Some(held) = &self.held {
            // What the engine is fed lands in its log, which then no longer tells what the engine would derive.
            self.marker.set(height);
            self.gossip.feed(&held.own, &held.polka);
            self.gossip.votes(&held.own, &held.polka);
        }
        Ok(self.blocks.values(now())?)
    }

    /// The block for this member's turn: the same as before in this round, else that of the highest polka, else a new one.
    fn value_to_propose(&mut self, height: u64, round: Round) -> Result<Option<BlockId>, Stopped> {
        let (Some(round), tip) = (round.as_u32(), self.chain.tip()) else { return Ok(None) };
        if tip.height.checked_add(1) != Some(height) {
            return Ok(None);
        }
        if let Some(own) = self.blocks.own(round) {
            return Ok(Some(BlockId(own)));
        }
        let polka = self.book.with(|book| book.polka(height).map(|polka| polka.block));
        let again = polka.and_then(|hash| self.blocks.get(&hash)).map(|known| known.block.clone());
        let block = match again {
            Some(block) => block,
            None => self.chain.build(now())?,
        };
        Ok(Some(BlockId(self.blocks.propose(round, block)?)))
    }

    fn part(&mut self, from: PeerId, part: Part) -> Result<Option<ProposedValue<Torus>>, Stopped> {
        match part {
            Part::Block { proposal, block } => {
                let (height, next) = (proposal.message.height.0, self.chain.tip().height.saturating_add(1));
                let offered = self.blocks.offer(proposal, block, now())?;
                if !matches!(offered, Offered::Refused) {
                    self.state.proposed |= height == next;
                    self.claim(height);
                }
                Ok(match offered {
                    Offered::Value(value) => Some(value),
                    Offered::Ahead | Offered::Refused => None,
                })
            }
            Part::Transactions(transactions) => {
                let size = transactions.iter().map(Bytes::len).fold(0, usize::saturating_add);
                if self.state.gate.admits(from, size, Instant::now()) {
                    for transaction in &transactions {
                        if let Err(refused) = self.chain.submit(transaction) {
                            debug!(%from, %refused, "a transaction of a peer");
                        }
                    }
                    self.wake();
                } else {
                    debug!(%from, "too many transactions from one peer");
                }
                Ok(None)
            }
            Part::At(height) => {
                self.claim(height);
                Ok(None)
            }
        }
    }

    fn claim(&mut self, height: u64) {
        self.state.claimed = self.state.claimed.max(height);
        self.wake();
    }

    fn decided(&mut self, certificate: &EngineCertificate<Torus>) -> Result<(), Stopped> {
        let hash = certificate.value_id.0;
        let known = self.blocks.get(&hash);
        let block =
            known.map(|known| known.block.clone()).ok_or_else(|| failed("a block was decided that is not here"))?;
        let certificate = plain(certificate).ok_or_else(|| failed("the engine's certificate is malformed"))?;
        let newest = SignedHeader { header: block.header.clone(), certificate };
        newest.verify(&self.config).map_err(|error| failed(&format!("the engine's certificate: {error}")))?;
        self.chain.commit(&block, &newest.certificate)?;
        let height = block.header.height;
        debug!(height, round = newest.certificate.round, transactions = block.transactions.len(), "committed");
        self.state.empty = block.transactions.is_empty();
        self.state.synced = self.state.fetched == Some(hash);
        self.blocks.next_height();
        self.state.proposed = self.blocks.awaited();
        // Claims about this height and below say nothing any more.
        self.state.claimed = if self.state.claimed > height { self.state.claimed } else { 0 };
        self.tips.send_replace(self.chain.tip());
        let shown = Arc::clone(&self.shown);
        tokio::spawn(async move { shown.now().await });
        Ok(())
    }

    fn announce(&mut self) {
        self.state.announced = Instant::now();
        // While it rests a node works at nothing above its tip.
        let height = if self.state.rest.is_some() { self.chain.tip().height } else { self.state.working };
        self.gossip.at(height);
    }

    /// Sends this member's votes of the height and its highest polka to the others again.
    fn resend(&mut self) {
        let (height, index) = (self.state.working, self.index);
        let (votes, polka) = self.book.with(|book| {
            let polka = book.polka(height).map(|polka| polka.votes.clone());
            (book.of(height, index), polka.unwrap_or_default())
        });
        warn!(height, votes = votes.len(), "no decision yet; sending this member's votes again");
        self.gossip.votes(&votes, &polka);
    }

    async fn count_peers(&mut self) {
        let dump = tokio::time::timeout(Duration::from_millis(500), NetworkRequest::dump_state(&self.requests)).await;
        if let Ok(Ok(Some(dump))) = dump {
            self.peers.store(self.list.count(&dump.peers), Ordering::Relaxed);
        }
    }
}

fn failed(what: &str) -> Stopped {
    Stopped::Chain(what.into())
}

/// Milliseconds since 1970 by this machine's clock.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Replies; an engine that stopped waiting has moved on.
fn send<T>(reply: Reply<T>, value: T) {
    if reply.send(value).is_err() {
        debug!("the engine no longer waits for this answer");
    }
}

/// The engine's certificate in our form.
fn plain(certificate: &EngineCertificate<Torus>) -> Option<CommitCertificate> {
    let mut signatures = BTreeMap::new();
    for signature in &certificate.commit_signatures {
        signatures.insert(signature.address.0, Signature::from_bytes(&signature.signature.0)?);
    }
    Some(CommitCertificate { round: certificate.round.as_u32()?, signatures: signatures.into_iter().collect() })
}
