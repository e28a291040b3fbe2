//! Starts the engine: its network, log and actors, and the loop beside them. It opens one socket and one directory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use libp2p::Multiaddr;
use libp2p::identity::Keypair;
use malachitebft_app::config::NodeConfig;
use malachitebft_app::events::RxEvent;
use malachitebft_app::metrics::SharedRegistry;
use malachitebft_app::wal::Log;
use malachitebft_app_channel::spawn::spawn_network_actor;
use malachitebft_app_channel::{
    AppMsg, Channels, ConsensusContext, EngineBuilder, EngineHandle, NetworkIdentity, RequestContext, SyncContext,
    WalContext,
};
use malachitebft_codec::Codec;
use malachitebft_core_consensus::SignedConsensusMsg;
use malachitebft_signing::Signer;
use tokio::sync::{broadcast, mpsc, watch};
use torus_ipc::HeldVotes;
use torus_statement::transaction::MAX_TRANSACTION;
use torus_statement::{EpochConfig, Index};
use tracing::{info, warn};

use super::api::{Chain, Refused, Tip, VoteSigner};
use super::app::{App, Heard, State, TICK};
use super::blocks::Blocks;
use super::book::Book;
use super::codec::EngineCodec;
use super::context::{Member, Torus, ValidatorSet};
use super::failure::{NotStarted, Stopped};
use super::gossip::Gossip;
use super::marker::Marker;
use super::peers::{First, Peers};
use super::settings::{EngineConfig, Timing, peer_id, timeouts};
use super::signing::{SharedBook, Shown, TorusVerifier, VaultSigner};

/// How long a start waits for the log of a process that was just killed.
const LOG_PATIENCE: Duration = Duration::from_secs(10);
/// Most transactions of this node that wait for the loop.
const SUBMISSIONS: usize = 4096;

/// What a node brings to start its engine.
pub struct ConsensusConfig {
    /// Where the engine's log lives; made if missing, used by nobody else.
    pub directory: PathBuf,
    /// Where the engine listens.
    pub listen: Multiaddr,
    /// Where the other members are. One of whom nothing is known yet may be missing: it may call, and `Handle::seek`
    /// says more. The config's endpoints may be names, and are not looked at.
    pub addresses: BTreeMap<Index, Vec<SocketAddr>>,
    /// The node's p2p key, the one that its key certificate names.
    pub keypair: Keypair,
    /// The epoch's config: members and keys.
    pub config: EpochConfig,
    /// This member.
    pub index: Index,
    /// How long the engine waits.
    pub timing: Timing,
}

/// A running engine. Dropping it ends the engine.
pub struct Handle {
    chain: Arc<dyn Chain>,
    submissions: mpsc::Sender<Bytes>,
    tips: watch::Receiver<Tip>,
    peers: Arc<AtomicUsize>,
    list: Arc<Peers>,
    listening: watch::Receiver<bool>,
    stopped: watch::Receiver<Option<Stopped>>,
    stop: watch::Sender<bool>,
}

impl Handle {
    /// Takes a transaction into the mempool and sends it to the other members. `false`: it was there before.
    pub fn submit(&self, transaction: Vec<u8>) -> Result<bool, Refused> {
        if transaction.len() > MAX_TRANSACTION {
            return Err(Refused("the transaction is too large".into()));
        }
        let new = self.chain.submit(&transaction)?;
        // A queue that is full costs the others' copies, not the transaction: it waits for this member's own turn.
        if new && self.submissions.try_send(transaction.into()).is_err() {
            warn!("too many transactions at once; one is not sent to the others");
        }
        Ok(new)
    }

    /// The newest committed block, and each one after it (those that follow each other at once may be skipped).
    pub fn tips(&self) -> watch::Receiver<Tip> {
        self.tips.clone()
    }

    /// Peers of the engine that are connected, about a second ago.
    pub fn peers(&self) -> usize {
        self.peers.load(Ordering::Relaxed)
    }

    /// Says where a member is now. It is dialled there unless it is connected.
    pub async fn seek(&self, member: Index, addresses: &[SocketAddr]) {
        self.list.seek(member, addresses).await;
    }

    /// Returns when the engine listens for other members: from then on it opens and binds nothing. Never, if it stops
    /// before.
    pub async fn listening(&self) {
        let mut listening = self.listening.clone();
        if listening.wait_for(|listening| *listening).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Why the engine stopped, once it has.
    pub async fn stopped(&self) -> Stopped {
        let mut stopped = self.stopped.clone();
        match stopped.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or(Stopped::Engine),
            Err(_) => Stopped::Engine,
        }
    }

    /// Ends the engine; `stopped` says when it is done.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// The engine's own metrics in Prometheus' text format.
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        malachitebft_app::metrics::export(&mut text);
        text
    }
}

/// Starts the engine on the chain's tip. Waits for the vault, and for the log of a predecessor that was killed.
pub fn start(
    config: ConsensusConfig,
    chain: Arc<dyn Chain>,
    vault: Arc<dyn VoteSigner>,
) -> Pin<Box<dyn Future<Output = Result<Handle, NotStarted>> + Send>> {
    // Boxed, so that the engine is compiled in this crate and in none that uses it.
    Box::pin(open(config, chain, vault))
}

async fn open(start: ConsensusConfig, chain: Arc<dyn Chain>, vault: Arc<dyn VoteSigner>) -> Result<Handle, NotStarted> {
    let ConsensusConfig { directory, listen, addresses, keypair, config, index, timing } = start;
    let config = Arc::new(config);
    let me = config.member(index).ok_or(NotStarted::Stranger("its index"))?;
    if peer_id(&me.p2p) != Some(keypair.public().to_peer_id()) {
        return Err(NotStarted::Stranger("its p2p key"));
    }
    let consensus_key = me.consensus.to_compressed().to_vec();
    let first = First::new(&config, index, &addresses)?;
    let engine_config = EngineConfig::new(&config, index, listen, first.all());

    std::fs::create_dir_all(&directory)?;
    let log = directory.join("wal");
    let height = chain.tip().height.saturating_add(1);
    wait_for_log(&log).await?;
    let marker = Arc::new(Marker::open(&directory)?);
    if marker.apply(&log, height)? {
        info!(height, "the engine's log is dropped: the vault cast other votes than the engine derives");
    }

    let book = SharedBook::new(Book::new(config.sizes()));
    let shown = Arc::new(Shown::new(Arc::clone(&chain), Arc::clone(&vault)));
    shown.now().await;
    let held = vault.held().await.and_then(|held| usable(held, height, &config));
    if let Some(held) = &held {
        for vote in held.own.iter().chain(&held.polka) {
            book.with(|book| book.record(vote.clone()));
        }
    }
    let signer = VaultSigner {
        config: Arc::clone(&config),
        index,
        vault,
        book: book.clone(),
        marker: Arc::clone(&marker),
        shown: Arc::clone(&shown),
    };
    let me = keypair.public().to_peer_id();
    let proof = signer.sign_validator_proof(consensus_key, me.to_bytes()).await.map_err(|_| NotStarted::Proof)?;
    let proof = EngineCodec.encode(&proof).map_err(|_| NotStarted::Proof)?;

    let engine_peer = malachitebft_app::types::PeerId::from_bytes(&me.to_bytes())
        .map_err(|error| NotStarted::Engine(error.to_string()))?;

    let registry = SharedRegistry::global().with_moniker(engine_config.moniker());
    let identity =
        NetworkIdentity::new_validator(engine_config.moniker.clone(), keypair, Member(index).to_string(), proof);
    let failed = |error: &dyn std::fmt::Display| NotStarted::Engine(error.to_string());
    let (network, to_network) =
        spawn_network_actor(identity, engine_config.consensus(), engine_config.value_sync(), &registry, EngineCodec)
            .await
            .map_err(|error| failed(&error))?;
    let verifier = TorusVerifier::new(Arc::clone(&config), book.clone());
    let context = ConsensusContext::new_validator(Member(index), Box::new(verifier), Box::new(signer));
    let (channels, engine) = EngineBuilder::new(Torus, engine_config)
        .with_default_wal(WalContext::new(log, EngineCodec))
        .with_custom_network(network.clone(), to_network)
        .with_default_sync(SyncContext::new(EngineCodec))
        .with_default_consensus(context)
        .with_default_request(RequestContext::new(16))
        .build()
        .await
        .map_err(|error| failed(&error))?;

    let (tips, tips_of_handle) = watch::channel(chain.tip());
    let peers = Arc::new(AtomicUsize::new(0));
    let list = Arc::new(first.kept(channels.net_requests.clone()));
    let app = App {
        blocks: Blocks::load(Arc::clone(&chain), Arc::clone(&config)),
        set: ValidatorSet::new(&config),
        timeouts: timeouts(&timing),
        heartbeat: timing.heartbeat,
        gossip: Gossip::new(network, engine_peer),
        requests: channels.net_requests.clone(),
        state: State::new(),
        chain: Arc::clone(&chain),
        peers: Arc::clone(&peers),
        list: Arc::clone(&list),
        config,
        index,
        book,
        shown,
        marker,
        held,
        tips,
    };
    let (stop, asked) = watch::channel(false);
    let (done, stopped) = watch::channel(None);
    let (listens, listening) = watch::channel(false);
    let (submissions, submitted) = mpsc::channel(SUBMISSIONS);
    tokio::spawn(async move {
        let reason = run(app, channels, engine, submitted, asked, listens).await;
        warn!(%reason, "the engine is stopped");
        done.send_replace(Some(reason));
    });
    Ok(Handle { chain, submissions, tips: tips_of_handle, peers, list, listening, stopped, stop })
}

/// The loop: one message after another, so that the order of the log is the order of the chain.
async fn run(
    mut app: App,
    mut channels: Channels<Torus>,
    mut engine: EngineHandle,
    mut submitted: mpsc::Receiver<Bytes>,
    mut asked: watch::Receiver<bool>,
    listens: watch::Sender<bool>,
) -> Stopped {
    let (to_loop, mut heard) = mpsc::unbounded_channel();
    let listener = tokio::spawn(listen(channels.events.subscribe(), to_loop, Arc::clone(&app.marker)));
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let reason = loop {
        tokio::select! {
            message = channels.consensus.recv() => match message {
                Some(message) => {
                    // The engine asks for its first height once its listener is bound.
                    if matches!(message, AppMsg::ConsensusReady { .. }) {
                        listens.send_replace(true);
                    }
                    if let Err(reason) = app.answer(message) {
                        break reason;
                    }
                }
                None => break Stopped::Engine,
            },
            Some(heard) = heard.recv() => app.heard(heard),
            Some(transaction) = submitted.recv() => {
                let mut transactions = vec![transaction];
                while let Ok(more) = submitted.try_recv() {
                    transactions.push(more);
                }
                app.submitted(transactions);
            }
            _ = ticks.tick() => app.tick().await,
            _ = &mut engine.handle => break Stopped::Engine,
            () = asked_to_stop(&mut asked) => break Stopped::Asked,
        }
    };
    // What the engine said last may be that its log is bad.
    tokio::time::sleep(TICK).await;
    listener.abort();
    let why = Some(reason.to_string());
    engine.actor.get_cell().stop_children(why.clone());
    engine.actor.stop(why);
    reason
}

/// Returns when the handle says stop, or is gone.
async fn asked_to_stop(asked: &mut watch::Receiver<bool>) {
    drop(asked.wait_for(|asked| *asked).await);
}

/// Picks what the loop cares for from the engine's events; it never blocks, so none are lost while the loop is busy.
async fn listen(mut events: RxEvent<Torus>, to_loop: mpsc::UnboundedSender<Heard>, marker: Arc<Marker>) {
    use malachitebft_app::engine::util::events::Event;

    loop {
        let heard = match events.recv().await {
            Ok(Event::Published(SignedConsensusMsg::Proposal(proposal))) => Heard::Published(proposal),
            Ok(Event::Received(message)) => Heard::At(message.height().0),
            // The engine stops for good next, so the mark is made here and now.
            Ok(Event::WalReplayError(_) | Event::WalCorrupted(_)) => {
                marker.set(u64::MAX);
                continue;
            }
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        if to_loop.send(heard).is_err() {
            return;
        }
    }
}

/// The vault's votes of this height that verify; a vault at another height has none to give.
fn usable(mut held: HeldVotes, height: u64, config: &EpochConfig) -> Option<HeldVotes> {
    if held.height != height {
        return None;
    }
    let sound = |vote: &torus_statement::SignedVote| vote.vote.height == height && vote.verifies(config);
    held.own.retain(sound);
    held.polka.retain(sound);
    (!held.own.is_empty() || !held.polka.is_empty()).then_some(held)
}

/// Waits until nobody else holds the log: after SIGKILL the lock lives a little longer than the process. A log that is
/// none is removed: the vault remembers what this member voted.
async fn wait_for_log(log: &Path) -> Result<(), NotStarted> {
    let deadline = tokio::time::Instant::now() + LOG_PATIENCE;
    loop {
        match Log::open(log) {
            Ok(_) => return Ok(()),
            // The engine's library gives the lock no kind of its own.
            Err(error) if error.to_string().contains("lock") => {
                if tokio::time::Instant::now() >= deadline {
                    return Err(NotStarted::Directory(error));
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(error) => {
                warn!(%error, "the engine's log cannot be opened and is removed");
                std::fs::remove_file(log)?;
            }
        }
    }
}
