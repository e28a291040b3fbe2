//! A node's life: open everything, then serve, until a signal, the vault or the engine ends it.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use libp2p::identity::Keypair;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use torus_statement::network::MAX_NETWORK_FILE;
use torus_statement::{Index, NetworkFile, Wire};

use crate::api::{Backend, Limits, Metrics, Server, Tls, serve_admin, serve_api};
use crate::audit::AuditHeads;
use crate::backend::{NodeBackend, Parts};
use crate::chain::NodeChain;
use crate::keygen::Keygen;
use crate::listed::{self, Keeper, Plan};
use crate::members::Members;
use crate::names::Names;
use crate::p2p;
use crate::seek::Places;
use crate::signer::VaultSigner;
use crate::store::Store;
use crate::vault_link::{LinkError, VaultLink};
use torus_consensus::{Chain, ConsensusConfig, Timing, VoteSigner};
use torus_policies::{Access, Confined, Role};

/// How long a start waits for the vault's socket.
const VAULT_PATIENCE: Duration = Duration::from_secs(30);
/// How long the engine may take to listen.
const LISTENING: Duration = Duration::from_secs(20);
/// The engine's log, under the data directory.
const ENGINE: &str = "engine";
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
    /// The address at which to listen for other members, if it is not their endpoint's.
    pub listen: Option<IpAddr>,
    /// Name servers instead of the system's.
    pub resolvers: Vec<SocketAddr>,
    /// Certificate chain and key, both in PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Where the node list is.
    pub list: Option<listed::Options>,
    /// The p2p key.
    pub key: ed25519_dalek::SigningKey,
}

/// The listeners for front ends and for the operator: ports that only root may have are bound while the node is root.
pub struct Listeners {
    api: TcpListener,
    admin: TcpListener,
}

/// What was opened before the process was locked down.
pub struct Opened {
    options: Options,
    network: NetworkFile,
    bytes: Vec<u8>,
    me: Index,
    listeners: Listeners,
    tls: Option<Tls>,
    store: Store,
    members: Members,
    list: Option<Plan>,
}

/// Why a node ends, in words for its operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Ended(String);

impl Listeners {
    /// Binds both.
    pub fn bind(api: SocketAddr, admin: SocketAddr) -> Result<Self, Ended> {
        let bind = |address: SocketAddr| {
            let refused = |e| Ended(format!("cannot listen on {address} ({e}): is the port free?"));
            TcpListener::bind(address).map_err(refused)
        };
        Ok(Self { api: bind(api)?, admin: bind(admin)? })
    }
}

impl Opened {
    /// What the process may still do once it serves.
    pub fn role(&self) -> Role {
        if self.tls.is_some() { Role::NodeTls } else { Role::Node }
    }

    /// Files and ports that the node needs after it was confined: the engine's log; certificates that are replaced; the
    /// other members and the name servers. And while the engine starts, what its library reads for a resolver of its
    /// own: it insists on one, although it is never given a name. The node's own has read both files by now.
    pub fn access(&self) -> Access {
        let names = ["/etc/resolv.conf", "/etc/hosts"].into_iter().map(PathBuf::from).filter(|path| path.exists());
        let certificates = self.tls.iter().flat_map(Tls::directories);
        Access {
            read: names.chain(certificates).collect(),
            keep: vec![self.options.data.join(ENGINE)],
            bind: self.members.bind.clone(),
            connect: self.members.connect.iter().copied().chain(self.list.iter().flat_map(Plan::ports)).collect(),
        }
    }
}

/// Opens what the node needs: files and the store.
pub fn open(options: Options, listeners: Listeners) -> Result<Opened, Ended> {
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
    let tls = options.tls.as_ref().map(|(certificate, key)| Tls::load(certificate, key)).transpose();
    let tls = tls.map_err(|e| Ended(e.to_string()))?;
    let members = Members::of(&network.config, me, options.listen, &options.resolvers);
    let mut members = members.map_err(|e| Ended(e.to_string()))?;
    let list = match &options.list {
        None => None,
        Some(list) => Some(open_list(list, &options, &mut members)?),
    };
    let store = Store::open(&options.data.join("store"), &network).map_err(|e| Ended(e.to_string()))?;
    let engine = options.data.join(ENGINE);
    std::fs::create_dir_all(&engine).map_err(|e| Ended(format!("{}: {e}", engine.display())))?;
    Ok(Opened { options, network, bytes, me, listeners, tls, store, members, list })
}

/// The list's endpoints may be names where no member's is: then there is somebody to ask, if the system says whom.
fn open_list(list: &listed::Options, options: &Options, members: &mut Members) -> Result<Plan, Ended> {
    let names = match &members.names {
        Some(names) => Some(Arc::clone(names)),
        None => match Names::new(&options.resolvers) {
            Ok(names) => {
                members.connect.extend(names.ports());
                Some(Arc::new(names))
            }
            Err(error) => {
                tracing::warn!("the node list's endpoints must be addresses: {error}");
                None
            }
        },
    };
    Plan::open(list, &options.data, names).map_err(|e| Ended(e.to_string()))
}

/// Serves until a signal comes (`Ok`) or something ends (`Err`). The threads that it starts inherit what the process is
/// confined to; when all listeners are open, the filter goes on for all of them, and only then the first caller is
/// answered.
pub fn serve(opened: Opened, confined: Confined) -> Result<(), Ended> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = runtime.map_err(|error| Ended(error.to_string()))?;
    let outcome = runtime.block_on(live(opened, confined));
    // Whatever still runs in the background holds nothing that must be kept.
    runtime.shutdown_timeout(Duration::from_secs(2));
    outcome
}

async fn live(opened: Opened, confined: Confined) -> Result<(), Ended> {
    let Opened { options, network, bytes, me, listeners, tls, store, members, list } = opened;
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
    // Name servers answer before the filter goes on, since the engine is told at its start; so nobody else is heard yet.
    let places = Places::new(members.engines, members.names.clone());
    let addresses = places.first().await;
    let started = p2p::start(keypair.clone(), members.listen.0, members.peers, members.names);
    let (p2p, inbound) = started.map_err(|e| end(&e))?;

    let start = ConsensusConfig {
        directory: options.data.join(ENGINE),
        listen: members.listen.1,
        addresses,
        keypair,
        config: config.as_ref().clone(),
        index: me,
        timing: Timing::of(&config.committee().times),
    };
    let signer: Arc<dyn VoteSigner> = Arc::new(VaultSigner::new(link.clone()));
    let engine =
        torus_consensus::start(start, Arc::clone(&chain) as Arc<dyn Chain>, signer).await.map_err(|e| end(&e))?;
    let engine = Arc::new(engine);
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate()).map_err(|e| end(&e))?, signal(SignalKind::interrupt()).map_err(|e| end(&e))?);
    // Everything is open: the engine's listener was the last.
    tokio::select! {
        () = engine.listening() => {}
        why = engine.stopped() => return Err(Ended(format!("the engine has stopped: {why:?}"))),
        () = tokio::time::sleep(LISTENING) => {
            return Err(Ended(format!("the engine does not listen at its endpoint (is the port free, the address this machine's?) after {LISTENING:?}")));
        }
    }
    let mut locked = confined.filter().map_err(|e| end(&e))?;
    tracing::info!("locked down: {}", locked.report());
    if locked.without_landlock() {
        tracing::error!(
            "running without Landlock, as --without-landlock says: a hole in the node reaches more files and ports"
        );
    }

    let keeper = match list {
        None => None,
        Some(plan) => tokio::select! {
            keeper = plan.begin(Arc::clone(&config), me, link.clone()) => Some(keeper.map_err(|e| end(&e))?),
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            () = link.gone() => return Err(Ended("the vault has gone away".into())),
            why = engine.stopped() => return Err(Ended(format!("the engine has stopped: {why:?}"))),
        },
    };

    let parts = Parts {
        me,
        config: Arc::clone(&config),
        network_file: Arc::new(bytes),
        chain: Arc::clone(&chain),
        engine: Arc::clone(&engine),
        link: link.clone(),
        p2p: p2p.clone(),
        list: keeper.as_ref().map(Keeper::standing),
    };
    let backend: Arc<dyn Backend> =
        Arc::new(NodeBackend::start(parts).ok_or_else(|| Ended("this node is no member".into()))?);
    let told = Arc::clone(&engine);
    let metrics = Arc::new(Metrics::new(Some(Arc::new(move || told.metrics()))));
    metrics.landlock(!locked.without_landlock());
    let (stop, stopped) = watch::channel(false);
    let server = Server {
        backend: Arc::clone(&backend),
        limits: Limits::default(),
        metrics: Arc::clone(&metrics),
        tls: tls.map(Arc::new),
    };
    let heads = AuditHeads { me, chain: Arc::clone(&chain), engine: Arc::clone(&engine), link: link.clone() };
    let heading = tokio::spawn(heads.run());
    tokio::spawn(places.keep(Arc::clone(&engine)));
    if let Some(keeper) = keeper {
        tokio::spawn(keeper.run());
    }
    let keygen = Keygen { config, me, chain, engine: Arc::clone(&engine), link: link.clone(), p2p };
    let (listen, admin) = (listeners.api.local_addr().ok(), listeners.admin.local_addr().ok());
    let generating = tokio::spawn(keygen.run(inbound));
    let serving = tokio::spawn(serve_api(listeners.api, server, stopped.clone()));
    let showing = tokio::spawn(serve_admin(listeners.admin, backend, metrics, stopped));
    tracing::info!(?listen, ?admin, "serving");
    locked.ready().map_err(|e| end(&e))?;

    let outcome = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        () = link.gone() => Err(Ended("the vault has gone away".into())),
        why = engine.stopped() => Err(Ended(format!("the engine has stopped: {why:?}"))),
        _ = generating => Err(Ended("key generation has stopped".into())),
        _ = heading => Err(Ended("the way of audit heads has stopped".into())),
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
