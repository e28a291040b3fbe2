//! Addresses of hosts, asked for by TCP alone. Where to ask is read once, before the node is locked down; from then on
//! no file is opened and never a datagram sent, which the filter would end the node for.
//!
//! An answer is a hint: there is no DNSSEC, and a name server can lead anywhere. Whoever dials what it says knows his
//! peer by a key. Names are asked for as they are, without search domains.

use std::future::ready;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::name_server::GenericConnector;
use hickory_resolver::proto::runtime::{RuntimeProvider, TokioRuntimeProvider};
use hickory_resolver::proto::xfer::Protocol;
use hickory_resolver::{Name, Resolver, system_conf};

/// Most name servers that are asked.
const SERVERS: usize = 3;
/// How long one server may take to be connected and to answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long an answer may take in all, whatever number of servers is asked how often.
const PATIENCE: Duration = Duration::from_secs(8);
/// Most addresses of a host that are used.
const ADDRESSES: usize = 8;
/// Answers that are kept, those of 30 members twice over and some more.
const KEPT: usize = 128;
/// An answer is kept as long as it says, within these bounds: long enough that redialling is no flood of questions, and
/// not so long that a wrong one stays for days.
const LIVES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(3600));
/// That a name does not exist is believed no longer than this.
const MISSING: Duration = Duration::from_secs(10);

/// Resolves names of hosts.
pub struct Names {
    resolver: Resolver<GenericConnector<TcpOnly>>,
    servers: Vec<SocketAddr>,
}

/// There is nobody to ask.
#[derive(Debug, thiserror::Error)]
#[error("no name server to ask: {0}; name one with --resolvers IP:PORT")]
pub struct NoServer(String);

/// A name has no address, or none was found out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name {host} does not resolve: {why}")]
pub struct Unresolved {
    host: String,
    why: String,
}

impl Unresolved {
    pub(crate) fn new(host: &str, why: &str) -> Self {
        Self { host: host.to_owned(), why: why.to_owned() }
    }
}

impl Names {
    /// Reads whom to ask: these servers, or if there are none those of /etc/resolv.conf. /etc/hosts is read in any case and
    /// goes before them. What is in the files later counts at the next start.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, NoServer> {
        let mut all = if servers.is_empty() { of_the_system()? } else { servers.to_vec() };
        let mut seen = Vec::new();
        all.retain(|server| {
            !seen.contains(server) && {
                seen.push(*server);
                true
            }
        });
        all.truncate(SERVERS);
        let by_tcp = |server: &SocketAddr| NameServerConfig::new(*server, Protocol::Tcp);
        let config = ResolverConfig::from_parts(None, Vec::new(), all.iter().map(by_tcp).collect::<Vec<_>>());
        let mut builder = Resolver::builder_with_config(config, GenericConnector::new(TcpOnly::default()));
        *builder.options_mut() = options();
        Ok(Self { resolver: builder.build(), servers: all })
    }

    /// The ports that name servers are dialled at.
    pub fn ports(&self) -> Vec<u16> {
        self.servers.iter().map(SocketAddr::port).collect()
    }

    /// The addresses of a host, in one order whatever order they came in: at least one. An address is its own name.
    pub async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Unresolved> {
        let failed = |why: String| Unresolved::new(host, &why);
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let name = name(host).map_err(failed)?;
        let answer = match tokio::time::timeout(PATIENCE, self.resolver.lookup_ip(name)).await {
            Ok(answer) => answer.map_err(|error| failed(error.to_string()))?,
            Err(_) => return Err(failed(format!("no answer within {PATIENCE:?}"))),
        };
        let mut addresses: Vec<IpAddr> = answer.iter().map(|ip| ip.to_canonical()).filter(is_one_host).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(ADDRESSES);
        if addresses.is_empty() { Err(failed("no address of a host in the answer".into())) } else { Ok(addresses) }
    }
}

/// The name of a host, complete: no domain is tried behind it.
fn name(host: &str) -> Result<Name, String> {
    let mut name = Name::from_ascii(host).map_err(|error| format!("it is no name: {error}"))?;
    if name.num_labels() == 0 || name.is_wildcard() {
        return Err("it is no name of a host".into());
    }
    name.set_fqdn(true);
    Ok(name)
}

/// Whether a text can be asked for as a name.
pub fn is_name(host: &str) -> bool {
    name(host).is_ok()
}

/// Neither "this machine's every address", to which a connection would go home, nor many hosts' at once.
fn is_one_host(address: &IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(address.is_unspecified() || address.is_multicast() || broadcast)
}

fn of_the_system() -> Result<Vec<SocketAddr>, NoServer> {
    let read = system_conf::read_system_conf();
    let (config, _) = read.map_err(|error| NoServer(format!("/etc/resolv.conf: {error}")))?;
    // Each is there twice, by UDP and by TCP.
    Ok(config.name_servers().iter().map(|server| server.socket_addr).collect())
}

fn options() -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = TIMEOUT;
    options.attempts = 1;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.cache_size = KEPT;
    options.use_hosts_file = ResolveHosts::Always;
    (options.positive_min_ttl, options.positive_max_ttl) = (Some(LIVES.0), Some(LIVES.1));
    options.negative_max_ttl = Some(MISSING);
    options
}

/// The connections of a resolver: TCP from any port. A datagram is refused here, before the filter ends the process.
#[derive(Clone, Default)]
struct TcpOnly(TokioRuntimeProvider);

type Connecting<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl RuntimeProvider for TcpOnly {
    type Handle = <TokioRuntimeProvider as RuntimeProvider>::Handle;
    type Timer = <TokioRuntimeProvider as RuntimeProvider>::Timer;
    type Udp = <TokioRuntimeProvider as RuntimeProvider>::Udp;
    type Tcp = <TokioRuntimeProvider as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> Self::Handle {
        self.0.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        _: Option<SocketAddr>,
        patience: Option<Duration>,
    ) -> Connecting<Self::Tcp> {
        self.0.connect_tcp(server, None, patience)
    }

    fn bind_udp(&self, _: SocketAddr, _: SocketAddr) -> Connecting<Self::Udp> {
        Box::pin(ready(Err(io::Error::new(io::ErrorKind::Unsupported, "names are asked for by TCP"))))
    }
}

#[cfg(test)]
pub(crate) mod tests;
