//! From nothing, or from disk, to a running network and back: what every use of the launcher has in common.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::ceremony::{Binaries, found};
use crate::chain;
use crate::control;
use crate::fleet::Fleet;
use crate::issuer::Issuer;
use crate::plan::{Layout, Shape};
use crate::process::lock;
use crate::trouble::Naming;
use crate::{Result, Trouble, users};

const NETWORK: &str = "torus-devnet";
const MEMBERS: u8 = 5;
const PORT: u16 = 17_000;

/// What the caller wants; what he leaves open is as on disk, or else the default.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The devnet's directory.
    pub dir: PathBuf,
    /// Members.
    pub members: Option<u8>,
    /// The first port.
    pub port: Option<u16>,
    /// Unassigned keys that the buffer keeps.
    pub keys: Option<u32>,
    /// The name server for members whose endpoints are names.
    pub resolver: Option<SocketAddr>,
    /// Whether a network on disk is cleared first.
    pub fresh: bool,
    /// Limits of the vaults, where they are not the default ones.
    pub limits: Option<&'static str>,
    /// Whether it has a node list: on a chain where anvil is installed, else as a file.
    pub node_list: bool,
}

impl Wish {
    fn shape(&self, saved: Option<&Shape>) -> Result<Shape> {
        Shape::new(
            NETWORK,
            self.members.or(saved.map(|s| s.n)).unwrap_or(MEMBERS),
            self.port.or(saved.map(|s| s.port)).unwrap_or(PORT),
            self.keys.or(saved.and_then(|s| s.keys)),
        )
        .map(|shape| shape.named(self.resolver.or(saved.and_then(|s| s.resolver))))
    }
}

/// How the body of a run ended.
enum Ended<T> {
    ByItself(Result<T>),
    BySignal,
}

/// Starts the network, lets `body` use it, and stops it: when the body ends, or on SIGINT or SIGTERM, which count as a
/// wish and not as a failure (`None`). No process is left behind on any way out.
pub fn with_network<T>(
    wish: &Wish,
    binaries: &Path,
    body: impl AsyncFnOnce(Arc<Fleet>, &Binaries) -> Result<T>,
) -> Result<Option<T>> {
    // One thread: members are tied to the life of the thread that starts them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .naming(|| "start the launcher's runtime".to_owned())?;
    runtime.block_on(async {
        let mut stop = Stop::listen()?;
        let binaries = Binaries::find(binaries)?;
        let layout = Layout::new(&wish.dir)?;
        let _lock = lock(&layout.lock())?;
        if wish.fresh {
            layout.clear()?;
        }
        let shape = wish.shape(layout.saved_shape()?.as_ref())?;
        ports_are_free(&shape)?;
        let issuer = Issuer::open(&layout.issuer(), &shape.issuer())?;
        Arc::clone(&issuer).serve(shape.port).await?;
        println!("{}", users::notice());
        let founded = found(&binaries, &layout, &shape, &issuer, &|what| println!("{what}"))?;
        let list = match wish.node_list {
            true => Some(chain::open(&binaries, &layout, &founded, chain::anvil()).await?),
            false => None,
        };
        list.iter().for_each(|list| println!("{}", list.notice()));
        let fleet = Arc::new(Fleet::new(&binaries, &layout, &founded, &issuer, wish.limits, list)?);
        control::serve(&layout, Arc::clone(&fleet))?;

        let ended = tokio::select! {
            result = async { fleet.start_all().await?; body(Arc::clone(&fleet), &binaries).await } => Ended::ByItself(result),
            () = stop.wanted() => Ended::BySignal,
        };
        tokio::select! {
            () = fleet.stop_all() => {}
            // Whoever asks twice does not want to wait: leaving kills what still runs.
            () = stop.wanted() => {}
        }
        match ended {
            Ended::ByItself(result) => result.map(Some),
            Ended::BySignal => Ok(None),
        }
    })
}

struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn listen() -> Result<Self> {
        let on = |kind| signal(kind).naming(|| "listen for signals".to_owned());
        Ok(Self { interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())? })
    }

    async fn wanted(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn ports_are_free(shape: &Shape) -> Result<()> {
    let members = shape.members().map(|member| shape.ports(member));
    let ports = members.flat_map(|p| [p.api, p.admin, p.p2p, p.bft]).chain([shape.port, shape.chain_port()]);
    for port in ports {
        if let Err(e) = std::net::TcpListener::bind(("127.0.0.1", port)) {
            return Err(Trouble::Refused(format!("port {port} can't be had ({e}): choose another with PORT=")));
        }
    }
    Ok(())
}

/// How long a network may take until every member is ready: founding keys takes most of it.
pub fn patience(shape: &Shape) -> Duration {
    Duration::from_secs(120 + 60 * u64::from(shape.n))
}
