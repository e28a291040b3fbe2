//! All members of a running devnet, started and stopped one by one or together.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::ceremony::{Binaries, Founded, give_away, node_program, vault_program};
use crate::chain::{Chain, List};
use crate::issuer::Issuer;
use crate::network_file::NetworkBoard;
use crate::plan::Layout;
use crate::process::{Role, alive, listen};
use crate::supervisor::{Daemon, End, Extra};
use crate::{Result, Trouble};

/// The members of a devnet.
pub struct Fleet {
    founded: Founded,
    layout: Layout,
    board: Arc<NetworkBoard>,
    members: Vec<Pair>,
    list: Option<List>,
}

struct Pair {
    vault: Daemon,
    node: Daemon,
}

impl Fleet {
    /// Supervises the members of a founded network, none of which runs yet.
    pub fn new(
        binaries: &Binaries,
        layout: &Layout,
        founded: &Founded,
        issuer: &Issuer,
        limits: Option<&str>,
        list: Option<List>,
    ) -> Result<Self> {
        let board = Arc::new(NetworkBoard::new(layout, founded, issuer));
        let mut members = Vec::new();
        for member in founded.shape.members() {
            let mut vault = vault_program(binaries, layout, member);
            vault.args.extend(limits.into_iter().flat_map(|limits| ["--limits".into(), limits.into()]));
            let files = layout.member(member);
            vault.listener = Some(listen(files.socket())?);
            give_away(&files)?;
            let mut node = node_program(binaries, layout, founded, member);
            if let Some(list) = &list {
                node.args.extend(args!["--registry", layout.registry()]);
                if let List::Chain(_) = list {
                    node.args.extend(args!["--account-key", files.account()]);
                }
            }
            let daemon = |role, program| Daemon::new(member, role, program, binaries.launcher(), Arc::clone(&board));
            members.push(Pair { vault: daemon(Role::Vault, vault), node: daemon(Role::Node, node) });
        }
        Ok(Self { founded: founded.clone(), layout: layout.clone(), board, members, list })
    }

    /// The chain that the node list is on, if it is on one.
    pub fn chain(&self) -> Option<&Chain> {
        match &self.list {
            Some(List::Chain(chain)) => Some(chain),
            _ => None,
        }
    }

    /// What the network is.
    pub fn founded(&self) -> &Founded {
        &self.founded
    }

    /// Its files.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Starts a member with more variables: the vault, then the node. It listens where it is said to, and if its endpoints
    /// are names on 127.0.0.1 unless that is said otherwise.
    pub async fn start(&self, member: u8, env: Vec<(String, OsString)>, listen: Option<IpAddr>) -> Result<()> {
        let pair = self.pair(member)?;
        pair.vault.start(Extra { env: env.clone(), args: Vec::new() }).await?;
        let named = self.founded.shape.resolver.map(|_| IpAddr::from(Ipv4Addr::LOCALHOST));
        let args = listen.or(named).map_or_else(Vec::new, |ip| args!["--listen-members", ip.to_string()]);
        pair.node.start(Extra { env, args }).await
    }

    /// Ends a member: the node, then the vault. It stays down.
    pub async fn stop(&self, member: u8, end: End) -> Result<()> {
        let pair = self.pair(member)?;
        pair.node.stop(end).await;
        pair.vault.stop(end).await;
        Ok(())
    }

    /// Ends a member's node. It stays down, and the vault's socket is free for whoever has the node's uid.
    pub async fn stop_node(&self, member: u8, end: End) -> Result<()> {
        self.pair(member)?.node.stop(end).await;
        Ok(())
    }

    /// Kills one process of a member as a crash would; it comes back by itself.
    pub async fn kill(&self, member: u8, role: Role) -> Result<()> {
        let pair = self.pair(member)?;
        let daemon = match role {
            Role::Vault => &pair.vault,
            Role::Node => &pair.node,
        };
        if daemon.kill().await { Ok(()) } else { Err(Trouble::Refused(format!("member {member} runs no {role}"))) }
    }

    /// Starts every member.
    pub async fn start_all(&self) -> Result<()> {
        for member in self.founded.shape.members() {
            self.start(member, Vec::new(), None).await?;
        }
        Ok(())
    }

    /// Stops every member, all at the same time.
    pub async fn stop_all(&self) {
        let mut stops = Vec::new();
        for pair in &self.members {
            stops.push(pair.node.stop(End::InOrder));
        }
        join(stops).await;
        let mut stops = Vec::new();
        for pair in &self.members {
            stops.push(pair.vault.stop(End::InOrder));
        }
        join(stops).await;
    }

    /// Kills every process at once, as a power cut would; all come back by themselves.
    pub async fn kill_all(&self) {
        for role in [Role::Vault, Role::Node] {
            for member in self.founded.shape.members() {
                crate::process::signal(self.board.pid(member, role), libc::SIGKILL);
            }
        }
    }

    /// The number of a member's process; 0 while there is none.
    pub fn pid(&self, member: u8, role: Role) -> u32 {
        self.board.pid(member, role)
    }

    /// One line a member: its processes.
    pub fn status(&self) -> String {
        let line = |member| {
            let state = |role| match self.board.pid(member, role) {
                0 => "stopped".to_owned(),
                pid if alive(pid) => format!("pid {pid}"),
                pid => format!("pid {pid}, ending"),
            };
            format!("member {member}: vault {}, node {}", state(Role::Vault), state(Role::Node))
        };
        self.founded.shape.members().map(line).collect::<Vec<_>>().join("\n")
    }

    fn pair(&self, member: u8) -> Result<&Pair> {
        usize::from(member)
            .checked_sub(1)
            .and_then(|slot| self.members.get(slot))
            .ok_or_else(|| Trouble::Refused(format!("there is no member {member}, only 1 to {}", self.founded.shape.n)))
    }
}

/// The variables that put a process's clock `offset` away from the machine's.
pub fn clock_off_by(offset: i64) -> Result<Vec<(String, OsString)>> {
    let missing = || Trouble::Refused("libfaketime is missing: run `make deps-test`".to_owned());
    let library = faketime().ok_or_else(missing)?;
    let off = Duration::from_secs(offset.unsigned_abs()).as_secs();
    let sign = if offset < 0 { '-' } else { '+' };
    Ok(vec![
        ("LD_PRELOAD".to_owned(), library.into()),
        ("FAKETIME".to_owned(), format!("{sign}{off}s").into()),
        // Timeouts run on the monotonic clock, which a wrong wall clock does not touch.
        ("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".into()),
        ("DONT_FAKE_MONOTONIC".to_owned(), "1".into()),
    ])
}

/// The library that gives one process another clock, where Debian's package libfaketime and others put it.
fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let folders = folders.chain(["/usr/lib".into(), "/usr/lib64".into()]);
    folders.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|library| library.exists())
}

async fn join<F: Future<Output = ()>>(futures: Vec<F>) {
    let mut pinned: Vec<_> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        pinned.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if pinned.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
