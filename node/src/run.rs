//! A node's life: open everything, then serve, until a signal, the vault or the engine ends it.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use libp2p::identity::Keypair;
use libp2p::{Multiaddr, multiaddr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use torus_statement::network::MAX_NETWORK_FILE;
use torus_statement::{EpochConfig, Index, NetworkFile, Wire};

use crate::api::{Backend, Limits, Metrics, Server, Tls, serve_admin, serve_api};
use crate::backend::{NodeBackend, Parts};
use crate::chain::NodeChain;
use crate::keygen::Keygen;
use crate::p2p::{self, Peer, peer_id};
use crate::signer::VaultSigner;
use crate::store::Store;
use crate::vault_link::{LinkError, VaultLink};
use torus_consensus::{Chain, ConsensusConfig, Timing, VoteSigner};

/// How long a start waits for the vault's socket.
const VAULT_PATIENCE: Duration = Duration::from_secs(30);
/// Threads that serve.
const WORKERS: usize = 4;
/// How long an orderly end may take.
const GOODBYE: Duration = Duration::from_secs(10);

/// What a node is started with.
pub struct Options {
    /// Store, engine's log and p2p key.
    pub data: PathBuf,
    /// The vault's socket.
    pub vault_socket: PathBuf,
    /// The network's file.
    pub network_file: PathBuf,
    /// This member.
    pub index: u8,
    /// Where users' front ends call.
    pub listen: SocketAddr,
    /// Where the operator looks.
    pub admin: SocketAddr,
    /// Certificate chain and key, both in PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The p2p key.
    pub key: ed25519_dalek::SigningKey,
}

/// What was opened before the process was locked down.
pub struct Opened {
    options: Options,
    network: NetworkFile,
    bytes: Vec<u8>,
    me: Index,
    api: TcpListener,
    admin: TcpListener,
    tls: Option<Tls>,
    store: Store,
}

/// Why a node ends, in words for its operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Ended(String);

/// Opens what the node needs: files, the store, its listeners.
pub fn open(options: Options) -> Result<Opened, Ended> {
    let path = options.network_file.display().to_string();
    let bytes = std::fs::read(&options.network_file).map_err(|e| Ended(format!("the network file {path}: {e}")))?;
    if bytes.len() > MAX_NETWORK_FILE {
        return Err(Ended(format!("the network file {path} is too large")));
    }
    let network = NetworkFile::from_bytes(&bytes).map_err(|e| Ended(format!("the network file {path}: {e}")))?;
    let me = network.config.sizes().member(options.index);
    let me = me.ok_or_else(|| Ended(format!("--index {}: the network has no such member", options.index)))?;
    let certified = network.config.member(me).map(|keys| keys.p2p);
    if certified != Some(options.key.verifying_key().to_bytes()) {
        let data = options.data.display();
        return Err(Ended(format!("the p2p key in {data} is not the one that member {me} was certified with")));
    }
    let bind = |address: SocketAddr| {
        TcpListener::bind(address).map_err(|e| Ended(format!("cannot listen on {address} ({e}): is the port free?")))
    };
    let (api, admin) = (bind(options.listen)?, bind(options.admin)?);
    let tls = options.tls.as_ref().map(|(certificate, key)| Tls::load(certificate, key)).transpose();
    let tls = tls.map_err(|e| Ended(e.to_string()))?;
    let store = Store::open(&options.data.join("store"), &network).map_err(|e| Ended(e.to_string()))?;
    Ok(Opened { options, network, bytes, me, api, admin, tls, store })
}

/// Serves until a signal comes (`Ok`) or something ends (`Err`). Starts the first threads: call `lockdown` before.
pub fn serve(opened: Opened) -> Result<(), Ended> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = runtime.map_err(|error| Ended(error.to_string()))?;
    let outcome = runtime.block_on(live(opened));
    // Whatever still runs in the background holds nothing that must be kept.
    runtime.shutdown_timeout(Duration::from_secs(2));
    outcome
}

async fn live(opened: Opened) -> Result<(), Ended> {
    let Opened { options, network, bytes, me, api, admin, tls, store } = opened;
    let (genesis, config) = (network.hash(), Arc::new(network.config));
    let end = |error: &dyn std::fmt::Display| Ended(error.to_string());

    let (link, hello) = connect(&options).await?;
    let identity = config.member(me).map(|keys| keys.identity);
    if hello.network != genesis || hello.index != me || Some(hello.identity) != identity {
        return Err(Ended(
            "the vault is another member's or was started with another network file: give node and vault the same"
                .into(),
        ));
    }
    tracing::info!(member = %me, height = hello.height, "the vault has greeted");

    let chain = NodeChain::open(Arc::new(store), Arc::clone(&config), me, options.key.clone());
    let chain = Arc::new(chain.map_err(|e| end(&e))?);
    let keypair = keypair(&options.key)?;
    let (p2p, inbound) =
        p2p::start(keypair.clone(), listen_address(&config, me)?, peers(&config, me)?).map_err(|e| end(&e))?;

    let bft = config.keys().endpoints.get(me.slot()).map(|endpoint| endpoint.bft.clone()).unwrap_or_default();
    let start = ConsensusConfig {
        directory: options.data.join("engine"),
        listen: address(&bft, me)?,
        keypair,
        config: config.as_ref().clone(),
        index: me,
        timing: Timing::of(&config.committee().times),
    };
    let signer: Arc<dyn VoteSigner> = Arc::new(VaultSigner::new(link.clone()));
    let engine =
        torus_consensus::start(start, Arc::clone(&chain) as Arc<dyn Chain>, signer).await.map_err(|e| end(&e))?;
    let engine = Arc::new(engine);

    let parts = Parts {
        me,
        config: Arc::clone(&config),
        network_file: Arc::new(bytes),
        chain: Arc::clone(&chain),
        engine: Arc::clone(&engine),
        link: link.clone(),
        p2p: p2p.clone(),
    };
    let backend: Arc<dyn Backend> =
        Arc::new(NodeBackend::start(parts).ok_or_else(|| Ended("this node is no member".into()))?);
    let told = Arc::clone(&engine);
    let metrics = Arc::new(Metrics::new(Some(Arc::new(move || told.metrics()))));
    let (stop, stopped) = watch::channel(false);
    let server = Server {
        backend: Arc::clone(&backend),
        limits: Limits::default(),
        metrics: Arc::clone(&metrics),
        tls: tls.map(Arc::new),
    };
    let keygen = Keygen { config, me, chain, engine: Arc::clone(&engine), link: link.clone(), p2p };
    let generating = tokio::spawn(keygen.run(inbound));
    let serving = tokio::spawn(serve_api(api, server, stopped.clone()));
    let showing = tokio::spawn(serve_admin(admin, backend, metrics, stopped));
    tracing::info!(listen = %options.listen, admin = %options.admin, "serving");

    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate()).map_err(|e| end(&e))?, signal(SignalKind::interrupt()).map_err(|e| end(&e))?);
    let outcome = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        () = link.gone() => Err(Ended("the vault has gone away".into())),
        why = engine.stopped() => Err(Ended(format!("the engine has stopped: {why:?}"))),
        _ = generating => Err(Ended("key generation has stopped".into())),
    };
    // Answers that are under way are finished; the engine's log and the store are whole at any moment.
    let _ = stop.send(true);
    engine.stop();
    let _ = tokio::time::timeout(GOODBYE, async { (serving.await, showing.await) }).await;
    outcome
}

async fn connect(options: &Options) -> Result<(VaultLink, torus_ipc::Hello), Ended> {
    let begun = tokio::time::Instant::now();
    loop {
        match VaultLink::connect(&options.vault_socket).await {
            Ok(connected) => return Ok(connected),
            Err(error @ (LinkError::Connect(..) | LinkError::Closed)) if begun.elapsed() < VAULT_PATIENCE => {
                tracing::debug!(%error, "waiting for the vault");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(error) => return Err(Ended(error.to_string())),
        }
    }
}

fn keypair(key: &ed25519_dalek::SigningKey) -> Result<Keypair, Ended> {
    Keypair::ed25519_from_bytes(key.to_bytes()).map_err(|error| Ended(format!("the p2p key: {error}")))
}

fn peers(config: &EpochConfig, me: Index) -> Result<Vec<Peer>, Ended> {
    let others = config.sizes().members().filter(|index| *index != me);
    let peer = |index: Index| {
        let endpoint = config.keys().endpoints.get(index.slot()).map(|endpoint| endpoint.p2p.as_str());
        let id = config.member(index).and_then(|keys| peer_id(&keys.p2p));
        let id = id.ok_or_else(|| Ended(format!("the p2p key of member {index} is no Ed25519 key")))?;
        Ok(Peer { index, id, address: address(endpoint.unwrap_or_default(), index)? })
    };
    others.map(peer).collect()
}

fn listen_address(config: &EpochConfig, me: Index) -> Result<Multiaddr, Ended> {
    let endpoint = config.keys().endpoints.get(me.slot()).map(|endpoint| endpoint.p2p.as_str());
    address(endpoint.unwrap_or_default(), me)
}

fn address(text: &str, index: Index) -> Result<Multiaddr, Ended> {
    text.parse().map_err(|error: multiaddr::Error| {
        Ended(format!("the endpoint {text} of member {index} is no multiaddress: {error}"))
    })
}
