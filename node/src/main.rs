//! `torus-node`: the network's side of a member. It holds no secret of any user.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand};
use torus_node::doctor::{Patient, doctor};
use torus_node::genesis::{self, GenesisArgs};
use torus_node::listed;
use torus_node::run::{Listeners, Options, open, serve};
use torus_policies::{Landlock, User, begin};

/// A member's node: network and no secret.
#[derive(Parser)]
#[command(name = "torus-node", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the node's p2p key and print its public half.
    Init {
        /// The node's data directory.
        #[arg(long)]
        data: PathBuf,
    },
    /// Make the network's file from the members' files.
    Genesis(GenesisArgs),
    /// Say what a network's file holds, and its hash.
    Show {
        /// The network's file.
        file: PathBuf,
    },
    /// Serve.
    Run(RunArgs),
    /// Check a node from beside it: its files, the running node, and what the node list says of this member.
    Doctor(DoctorArgs),
}

#[derive(Args)]
struct DoctorArgs {
    /// The node's data directory.
    #[arg(long)]
    data: PathBuf,
    /// The network's file.
    #[arg(long)]
    network_file: PathBuf,
    /// This member's index.
    #[arg(long)]
    index: u8,
    /// The running node's --admin.
    #[arg(long)]
    admin: Option<SocketAddr>,
    /// Whom to ask for names, by TCP, instead of the servers in /etc/resolv.conf.
    #[arg(long, value_name = "IP:PORT", value_delimiter = ',')]
    resolvers: Vec<SocketAddr>,
    #[command(flatten)]
    list: ListArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ListArgs {
    /// Where the node list is: a JSON file whose part `registry` names a contract, or a file. A node does not serve if it
    /// and the list disagree.
    #[arg(long, value_name = "FILE")]
    registry: Option<PathBuf>,
    /// The operator's Ethereum account, 64 hex digits in a file of mode 600: with it the node lists itself, and tells the
    /// contract what the log has decided.
    #[arg(long, requires = "registry", value_name = "FILE")]
    account_key: Option<PathBuf>,
    /// Certificate authorities in PEM for the endpoints of the chain, where they are https.
    #[arg(long, requires = "registry", value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt")]
    rpc_authorities: PathBuf,
    /// The most that a unit of gas may cost, in gwei: above it the node waits.
    #[arg(long, requires = "registry", value_name = "GWEI", default_value_t = 100)]
    max_fee: u32,
}

impl ListArgs {
    fn options(self, anew: bool) -> Option<listed::Options> {
        let (account, authorities, max_fee) = (self.account_key, self.rpc_authorities, self.max_fee);
        self.registry.map(|file| listed::Options { file, account, authorities, anew, max_fee })
    }
}

#[derive(Args)]
struct RunArgs {
    /// The node's data directory.
    #[arg(long)]
    data: PathBuf,
    /// The socket of this member's vault.
    #[arg(long)]
    vault_socket: PathBuf,
    /// The network's file.
    #[arg(long)]
    network_file: PathBuf,
    /// This member's index.
    #[arg(long)]
    index: u8,
    /// Where users' front ends call.
    #[arg(long)]
    listen: SocketAddr,
    /// Where the operator looks: readiness and metrics.
    #[arg(long)]
    admin: SocketAddr,
    /// At which one address of this machine to listen for other members, at the endpoint's ports: needed if this member's
    /// endpoint is a name, or an address that another machine has for it.
    #[arg(long, value_name = "IP")]
    listen_members: Option<IpAddr>,
    /// Whom to ask for members whose endpoints are names, by TCP, instead of the servers in /etc/resolv.conf.
    #[arg(long, value_name = "IP:PORT", value_delimiter = ',')]
    resolvers: Vec<SocketAddr>,
    #[command(flatten)]
    list: ListArgs,
    /// Replace this account's listing where it differs, as long as its set is in the making.
    #[arg(long, requires = "account_key")]
    list_anew: bool,
    /// TLS certificate chain in PEM; read again when it changes.
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// TLS key in PEM.
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The user to become, if root starts the node: it binds its listeners as root and opens everything else as him.
    #[arg(long, requires = "gid")]
    uid: Option<u32>,
    /// His group.
    #[arg(long, requires = "uid")]
    gid: Option<u32>,
    /// Start without Landlock where the kernel has none (it needs Linux 6.7). The log and the metrics tell.
    #[arg(long)]
    without_landlock: bool,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Init { data } => genesis::init(&data).map(|key| println!("{key}")).map_err(|e| e.to_string()),
        Command::Genesis(args) => {
            genesis::genesis(&args, now()).map(|said| println!("{said}")).map_err(|e| e.to_string())
        }
        Command::Show { file } => genesis::show(&file).map(|said| println!("{said}")).map_err(|e| e.to_string()),
        Command::Run(args) => run(args),
        Command::Doctor(args) => return examine(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("torus-node: {error}");
            ExitCode::FAILURE
        }
    }
}

fn examine(args: DoctorArgs) -> ExitCode {
    let DoctorArgs { data, network_file, index, admin, resolvers, list, json } = args;
    let patient = Patient { data, network_file, index, admin, resolvers, list: list.options(false) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime.inspect_err(|error| eprintln!("torus-node: {error}")) else { return ExitCode::FAILURE };
    let found = runtime.block_on(doctor(&patient));
    if json {
        println!("{}", found.json())
    } else {
        print!("{}", found.text())
    }
    if found.healthy() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Listens, becomes its user, opens, and serves when it is locked down.
fn run(args: RunArgs) -> Result<(), String> {
    let start = begin(&[]).map_err(|e| e.to_string())?;
    let listeners = Listeners::bind(args.listen, args.admin).map_err(|e| e.to_string())?;
    let user = User::from_args(args.uid, args.gid)?;
    let process = start.become_user(user).map_err(|e| e.to_string())?;
    let levels = tracing_subscriber::EnvFilter::try_from_env("TORUS_LOG").unwrap_or_else(|_| {
        let (engine, own) = ("arc_malachitebft=warn,informalsystems_malachitebft=warn,libp2p=warn", "info");
        tracing_subscriber::EnvFilter::new(format!("{own},{engine}"))
    });
    tracing_subscriber::fmt().with_env_filter(levels).with_writer(std::io::stderr).with_ansi(false).init();
    let key = genesis::load_p2p_key(&args.data).map_err(|e| e.to_string())?;
    let options = Options {
        data: args.data,
        vault_socket: args.vault_socket,
        network_file: args.network_file,
        index: args.index,
        listen: args.listen_members,
        resolvers: args.resolvers,
        tls: args.tls_cert.zip(args.tls_key),
        list: args.list.options(args.list_anew),
        key,
    };
    let opened = open(options, listeners).map_err(|e| e.to_string())?;
    let landlock = if args.without_landlock { Landlock::Without } else { Landlock::Required };
    let confined = process.confine(opened.role(), &opened.access(), landlock).map_err(|e| e.to_string())?;
    serve(opened, confined).map_err(|e| e.to_string())
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
