//! Five nodes on loopback. Each has a runtime of its own, which a kill tears down wherever it stands.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use tokio::runtime::{Builder, Runtime};
use torus_statement::{EpochConfig, Index};

use super::chain::MemoryChain;
use super::kit::{config, config_with, index, p2p};
use super::vault::{Mood, RuleVault};
use crate::{Chain, ConsensusConfig, Handle, Stopped, Timing, VoteSigner, start};

/// Whose p2p key is no member's.
const STRANGER: u8 = 99;
/// The heartbeat of the tests.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(6);

pub(super) struct Cluster {
    pub(super) config: Arc<EpochConfig>,
    directory: PathBuf,
    nodes: Vec<Node>,
    began: Instant,
    /// At what address the first is told at its start that the second is; its endpoint's, if nothing is said.
    pub(super) told: BTreeMap<(u8, u8), Vec<SocketAddr>>,
    /// Who has another p2p key than the others know, and believes that he has the right one.
    pub(super) impostor: Option<u8>,
    /// Who listens somewhere else than at his endpoint.
    pub(super) moved: BTreeMap<u8, SocketAddr>,
}

struct Node {
    chain: Arc<MemoryChain>,
    vault: Arc<RuleVault>,
    running: Option<(Runtime, Handle)>,
}

impl Cluster {
    /// Clusters of one process have names and first ports of their own.
    pub(super) fn new(name: &str, ports: u16) -> Self {
        let config = Arc::new(config(free_ports(ports)));
        let directory = std::env::temp_dir().join(format!("torus-consensus-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        let node = |member| Node {
            chain: Arc::new(MemoryChain::new(config.clone(), index(member))),
            vault: Arc::new(RuleVault::new(config.clone(), index(member))),
            running: None,
        };
        let nodes = (1..=5).map(node).collect();
        Self {
            nodes,
            config,
            directory,
            began: Instant::now(),
            told: BTreeMap::new(),
            impostor: None,
            moved: BTreeMap::new(),
        }
    }

    /// Where a member's endpoint is.
    pub(super) fn endpoint(&self, member: u8) -> SocketAddr {
        let text = &self.config.keys().endpoints[usize::from(member) - 1].bft;
        format!("127.0.0.1:{}", text.rsplit_once('/').unwrap().1).parse().unwrap()
    }

    /// The config as the impostor has it.
    fn others(&self) -> EpochConfig {
        let ports = self.endpoint(1).port() - 1;
        config_with(ports, |member| if self.impostor == Some(member) { p2p(STRANGER) } else { p2p(member) })
    }

    fn listens(&self, member: u8) -> Multiaddr {
        let at = self.moved.get(&member).copied().unwrap_or(self.endpoint(member));
        format!("/ip4/{}/tcp/{}", at.ip(), at.port()).parse().unwrap()
    }

    fn addresses(&self, member: u8) -> BTreeMap<Index, Vec<SocketAddr>> {
        let others = (1..=5).filter(|other| *other != member);
        let told = |other| self.told.get(&(member, other)).cloned().unwrap_or_else(|| vec![self.endpoint(other)]);
        others.map(|other| (index(other), told(other))).collect()
    }

    /// Tells a running engine where another is.
    pub(super) fn seek(&self, member: u8, other: u8, at: SocketAddr) {
        let (runtime, handle) = self.nodes[usize::from(member) - 1].running.as_ref().unwrap();
        runtime.block_on(handle.seek(index(other), &[at]));
    }

    pub(super) fn say(&self, what: &str) {
        println!("{:6.1} s  {what}", self.began.elapsed().as_secs_f64());
    }

    pub(super) fn start(&mut self, members: &[u8]) {
        // All at once, as a launcher does.
        let starting: Vec<_> = members
            .iter()
            .map(|member| {
                let member = *member;
                let node = &self.nodes[usize::from(member) - 1];
                assert!(node.running.is_none(), "member {member} runs already");
                let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
                let bring = ConsensusConfig {
                    directory: self.directory.join(member.to_string()),
                    listen: self.listens(member),
                    addresses: self.addresses(member),
                    keypair: if self.impostor == Some(member) { p2p(STRANGER) } else { p2p(member) },
                    config: if self.impostor == Some(member) { self.others() } else { (*self.config).clone() },
                    index: index(member),
                    timing: Timing {
                        propose: Duration::from_secs(1),
                        vote: Duration::from_millis(400),
                        heartbeat: HEARTBEAT,
                    },
                };
                let (chain, vault): (Arc<dyn Chain>, Arc<dyn VoteSigner>) = (node.chain.clone(), node.vault.clone());
                let task = runtime.spawn(start(bring, chain, vault));
                (member, runtime, task)
            })
            .collect();
        for (member, runtime, task) in starting {
            let handle = runtime.block_on(task).unwrap().unwrap_or_else(|error| panic!("member {member}: {error}"));
            self.nodes[usize::from(member) - 1].running = Some((runtime, handle));
        }
    }

    pub(super) fn kill(&mut self, members: &[u8]) {
        for member in members {
            let (runtime, _) = self.nodes[usize::from(*member) - 1].running.take().unwrap();
            runtime.shutdown_timeout(Duration::from_secs(2));
        }
    }

    pub(super) fn lose_log(&self, member: u8) {
        std::fs::remove_file(self.directory.join(member.to_string()).join("wal")).unwrap();
    }

    /// Something that is no log at all.
    pub(super) fn garble_log(&self, member: u8) {
        std::fs::write(self.directory.join(member.to_string()).join("wal"), b"this is not a log of the engine")
            .unwrap();
    }

    /// A log with one entry that cannot be read.
    pub(super) fn spoil_log(&self, member: u8) {
        let path = self.directory.join(member.to_string()).join("wal");
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        std::fs::write(path, bytes).unwrap();
    }

    pub(super) fn stopped(&self, member: u8) -> Stopped {
        let (runtime, handle) = self.nodes[usize::from(member) - 1].running.as_ref().unwrap();
        let stopped = async { tokio::time::timeout(Duration::from_secs(20), handle.stopped()).await };
        runtime.block_on(stopped).expect("the engine stops")
    }

    pub(super) fn is_marked(&self, member: u8) -> bool {
        let mark = self.directory.join(member.to_string()).join("wal.drop");
        std::fs::metadata(mark).is_ok_and(|mark| mark.len() > 0)
    }

    pub(super) fn chain(&self, member: u8) -> &MemoryChain {
        &self.nodes[usize::from(member) - 1].chain
    }

    pub(super) fn vault(&self, member: u8) -> &RuleVault {
        &self.nodes[usize::from(member) - 1].vault
    }

    pub(super) fn mood(&self, mood: Mood) {
        for node in &self.nodes {
            node.vault.mood(mood);
        }
    }

    pub(super) fn handle(&self, member: u8) -> &Handle {
        &self.nodes[usize::from(member) - 1].running.as_ref().unwrap().1
    }

    pub(super) fn height(&self, member: u8) -> u64 {
        self.chain(member).tip().height
    }

    pub(super) fn wait(&self, what: &str, seconds: u64, condition: impl Fn(&Self) -> bool) -> Duration {
        let began = Instant::now();
        while !condition(self) {
            if began.elapsed() >= Duration::from_secs(seconds) {
                for member in 1..=5 {
                    let (height, votes) = (self.height(member), self.vault(member).votes());
                    println!(
                        "member {member}: height {height}, odd answers {:?}, votes {votes:?}",
                        self.vault(member).odd_answers()
                    );
                }
                panic!("{what}: not within {seconds} s");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        began.elapsed()
    }

    /// Waits until the members agree on a height, and returns it.
    pub(super) fn settle(&self, members: &[u8]) -> u64 {
        let first = members[0];
        self.wait("the members settle", 30, |c| {
            let height = c.height(first);
            std::thread::sleep(Duration::from_millis(300));
            members.iter().all(|member| c.height(*member) == height)
        });
        self.height(first)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some((runtime, _)) = node.running.take() {
                runtime.shutdown_background();
            }
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The first of six ports below 32768 that nobody listens on; TORUS_TEST_PORT names it instead.
fn free_ports(from: u16) -> u16 {
    if let Some(port) = std::env::var("TORUS_TEST_PORT").ok().and_then(|port| port.parse::<u16>().ok()) {
        return port + from;
    }
    let first = 20_000 + from + (std::process::id() % 500) as u16 * 8;
    (first..32_000)
        .step_by(8)
        .find(|port| (1..=5).all(|member| TcpListener::bind(("127.0.0.1", port + member)).is_ok()))
        .unwrap()
}
