//! `torus-devnet`: a network of vault and node pairs on this machine, for trying and testing. It refuses to listen on
//! anything but loopback and to clear a directory that holds anything else.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use torus_tests::control::{self, Order};
use torus_tests::plan::Layout;
use torus_tests::process::{Role, become_daemon};
use torus_tests::progress::{Goal, until};
use torus_tests::running::{Wish, patience, with_network};
use torus_tests::{Result, Trouble, bench, demo};

/// A network of vault and node pairs on this machine.
#[derive(Parser)]
#[command(name = "torus-devnet")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a network, or the one that is on disk, and run it until Ctrl-C or SIGTERM.
    Run {
        #[command(flatten)]
        network: Network,
        /// Where its files are.
        #[arg(long, default_value = "target/devnet")]
        dir: PathBuf,
        /// Clear the network that is on disk first.
        #[arg(long)]
        fresh: bool,
    },
    /// Start a fresh network and show logins, a lost member and a restart from disk.
    Demo {
        #[command(flatten)]
        network: Network,
        /// Where its files are; a network there is cleared.
        #[arg(long, default_value = "target/demo")]
        dir: PathBuf,
    },
    /// Start a fresh network and measure it.
    Bench {
        #[command(flatten)]
        network: Network,
        /// Where its files are; a network there is cleared.
        #[arg(long, default_value = "target/bench")]
        dir: PathBuf,
    },
    /// Stop one member of the running network; it stays stopped.
    StopMember {
        #[command(flatten)]
        member: Member,
        /// Its node alone: the vault goes on.
        #[arg(long)]
        node: bool,
    },
    /// Start a member again.
    StartMember {
        #[command(flatten)]
        member: Member,
        /// Give it a clock that is off by so many seconds.
        #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
        clock_offset: i64,
        /// Let its node listen for other members at this address.
        #[arg(long)]
        listen: Option<IpAddr>,
    },
    /// Kill one process of a member with SIGKILL; it is started again.
    KillMember {
        #[command(flatten)]
        member: Member,
        /// The vault.
        #[arg(long, conflicts_with = "node", required_unless_present = "node")]
        vault: bool,
        /// The node.
        #[arg(long)]
        node: bool,
    },
    /// Kill every process at once with SIGKILL; all are started again.
    KillAll(Where),
    /// Stop the whole network and start it from disk.
    RestartAll(Where),
    /// Which processes run.
    Status(Where),
    /// The step between the launcher and a daemon.
    #[command(hide = true)]
    Become {
        launcher: u32,
        #[arg(value_parser = ["listening", "plain"])]
        socket: String,
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
}

#[derive(Args)]
struct Network {
    /// Members: 5 or 9.
    #[arg(long)]
    members: Option<u8>,
    /// The first of its ports.
    #[arg(long)]
    port: Option<u16>,
    /// Unassigned keys that the buffer keeps.
    #[arg(long)]
    keys: Option<u32>,
    /// Members' endpoints are names, member1.torus.test and so on, which this name server knows (by TCP).
    #[arg(long, value_name = "IP:PORT")]
    resolver: Option<SocketAddr>,
    /// The network has a node list: on a chain of its own where anvil is installed, else as a file. (The demo always has.)
    #[arg(long)]
    node_list: bool,
}

#[derive(Args)]
struct Where {
    /// Where the network's files are.
    #[arg(long, default_value = "target/devnet")]
    dir: PathBuf,
}

#[derive(Args)]
struct Member {
    /// Its index.
    index: u8,
    #[command(flatten)]
    place: Where,
}

fn main() -> ExitCode {
    match obey(Cli::parse().command) {
        Ok(code) => code,
        Err(trouble) => {
            eprintln!("torus-devnet: {trouble}");
            ExitCode::FAILURE
        }
    }
}

fn obey(command: Command) -> Result<ExitCode> {
    let tell = |place: Where, order| {
        println!("{}", control::send(&Layout::new(&place.dir)?, order)?);
        Ok(ExitCode::SUCCESS)
    };
    match command {
        Command::Run { network, dir, fresh } => run(&network.wish(dir, fresh)),
        Command::Demo { network, dir } => {
            let wish = Wish { node_list: true, ..network.wish(dir, true) };
            to_the_end(with_network(&wish, &beside()?, demo::run)?)
        }
        Command::Bench { network, dir } => {
            let wish = Wish { limits: Some(bench::LIMITS), ..network.wish(dir, true) };
            to_the_end(with_network(&wish, &beside()?, bench::run)?)
        }
        Command::StopMember { member, node } => {
            tell(member.place, if node { Order::StopNode(member.index) } else { Order::Stop(member.index) })
        }
        Command::StartMember { member, clock_offset, listen } => {
            tell(member.place, Order::Start(member.index, clock_offset, listen))
        }
        Command::KillMember { member, vault, .. } => {
            tell(member.place, Order::Kill(member.index, if vault { Role::Vault } else { Role::Node }))
        }
        Command::KillAll(place) => tell(place, Order::KillAll),
        Command::RestartAll(place) => tell(place, Order::RestartAll),
        Command::Status(place) => tell(place, Order::Status),
        Command::Become { launcher, socket, program } => match program.split_first() {
            Some((path, args)) => Err(become_daemon(launcher, socket == "listening", path.as_ref(), args)),
            None => Err(Trouble::Refused("nothing to become".to_owned())),
        },
    }
}

/// What was stopped by a signal was not done to the end.
fn to_the_end(done: Option<()>) -> Result<ExitCode> {
    Ok(if done.is_some() { ExitCode::SUCCESS } else { ExitCode::from(130) })
}

fn run(wish: &Wish) -> Result<ExitCode> {
    with_network(wish, &beside()?, async |fleet, _| {
        let shape = fleet.founded().shape.clone();
        let layout = fleet.layout().clone();
        let all: Vec<u8> = shape.members().collect();
        match until(Goal::Filled, "starting the network", &shape, &layout, &all, patience(&shape)).await {
            Ok(took) => println!("ready after {:.1} s: {}", took.as_secs_f32(), layout.network().display()),
            // It goes on running: a member that is late may still come, and the logs are there to be read.
            Err(trouble) => eprintln!("torus-devnet: {trouble}"),
        }
        if let Some(chain) = fleet.chain() {
            match chain.begin().await {
                Ok(()) => println!("the contract lists all members, epoch 1 is in force"),
                Err(trouble) => eprintln!("torus-devnet: {trouble}"),
            }
        }
        std::future::pending::<Result<()>>().await
    })?;
    println!("stopped");
    Ok(ExitCode::SUCCESS)
}

impl Network {
    fn wish(self, dir: PathBuf, fresh: bool) -> Wish {
        let (members, port, keys, resolver) = (self.members, self.port, self.keys, self.resolver);
        Wish { dir, members, port, keys, resolver, fresh, limits: None, node_list: self.node_list }
    }
}

/// The directory of this binary, where the others of the same build are.
fn beside() -> Result<PathBuf> {
    let exe = std::env::current_exe().map_err(|source| Trouble::Io { what: "find this binary".to_owned(), source })?;
    Ok(exe.parent().map(PathBuf::from).unwrap_or_default())
}
