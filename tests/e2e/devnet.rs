//! A devnet as its user has it: a child process, its directory, its network.json and its commands.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use torus_tests::issuer::now;
use torus_tests::process::{alive, signal};
use torus_tests::progress::Readiness;

use crate::rpc;

/// A running devnet; it ends with this value.
pub(crate) struct Devnet {
    launcher: Option<Child>,
    bin: PathBuf,
    dir: PathBuf,
    start: Vec<String>,
    members: u8,
    only_locked: bool,
}

/// The network whose vaults do without the kernel's secret memory.
pub(crate) const LOCKED: &str = "locked";
/// The longest file of processes that do without secret memory: shorter than what a vault maps for secrets, and longer
/// than anything that a small network writes.
const SHORT: &str = "--fsize=67108864";

impl Devnet {
    /// Founds a fresh network and waits until every member is ready and the buffer is filled.
    #[allow(dead_code, reason = "used by one of the programs that share this")]
    pub(crate) fn start(name: &str, members: u8, port: u16, keys: Option<u32>) -> Self {
        Self::start_with(name, members, port, keys, Vec::new())
    }

    /// The same with more arguments to the launcher.
    pub(crate) fn start_with(name: &str, members: u8, port: u16, keys: Option<u32>, more: Vec<String>) -> Self {
        let bin = binaries();
        // Beside the binaries, so that the logs are there when a check has failed.
        let dir = bin.join("../e2e").join(name);
        let mut start = vec!["--members".to_owned(), members.to_string(), "--port".to_owned(), port.to_string()];
        if let Some(keys) = keys {
            start.extend(["--keys".to_owned(), keys.to_string()]);
        }
        start.extend(more);
        let mut net = Self { launcher: None, bin, dir, start, members, only_locked: name == LOCKED };
        net.launch(true);
        net.wait_filled(Duration::from_secs(150 + 60 * u64::from(members)));
        net
    }

    /// Starts the launcher on what is on disk.
    pub(crate) fn launch(&mut self, fresh: bool) {
        fs::create_dir_all(self.dir.parent().expect("a parent")).expect("a directory for networks");
        let log = self.dir.with_extension("log");
        let log = fs::OpenOptions::new().create(true).append(true).open(log).expect("the launcher's log");
        let launcher = self.bin.join("torus-devnet");
        let mut command = Command::new(if self.only_locked { Path::new("prlimit") } else { &launcher });
        if self.only_locked {
            command.arg(SHORT).arg(&launcher);
        }
        // Tied to this process, so that tests that are broken off leave nothing behind either.
        command.args(["become", &std::process::id().to_string(), "plain", "--"]);
        command.arg(&launcher).arg("run").arg("--dir").arg(&self.dir).args(&self.start);
        if fresh {
            command.arg("--fresh");
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("torus-devnet starts: build it first");
        self.launcher = Some(child);
    }

    /// Members of the network.
    pub(crate) fn members(&self) -> u8 {
        self.members
    }

    /// The binary of that name.
    pub(crate) fn binary(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// The network's directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// network.json's path.
    pub(crate) fn network_file(&self) -> PathBuf {
        self.dir.join("network.json")
    }

    /// network.json. It is there from the moment that a process runs, and whole at every moment.
    pub(crate) fn network(&self) -> Value {
        let mut text = Vec::new();
        let there = within(Duration::from_secs(20), || {
            text = fs::read(self.network_file()).unwrap_or_default();
            !text.is_empty()
        });
        assert!(there, "{} is missing", self.network_file().display());
        serde_json::from_slice(&text).expect("network.json is whole at every moment")
    }

    /// The API port of a member, 1 to n.
    pub(crate) fn api(&self, member: u8) -> u16 {
        port_of(&self.network()["members"][usize::from(member) - 1]["endpoint"])
    }

    /// The admin port of a member.
    pub(crate) fn admin(&self, member: u8) -> u16 {
        port_of(&self.network()["members"][usize::from(member) - 1]["admin"])
    }

    /// The pid of a process of a member, `vault` or `node`.
    pub(crate) fn pid(&self, member: u8, role: &str) -> u32 {
        let pid = self.network()["members"][usize::from(member) - 1]["pids"][role].as_u64().expect("a pid");
        u32::try_from(pid).expect("a pid")
    }

    /// All pids of daemons.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let roles = ["vault", "node"];
        (1..=self.members).flat_map(|m| roles.map(|role| self.pid(m, role))).filter(|pid| *pid != 0).collect()
    }

    /// A fresh token for an address; `more` as `&aud=…`.
    pub(crate) fn mint(&self, alg: &str, email: &str, more: &str) -> String {
        let mint = self.network()["mint"].as_str().expect("a mint").to_owned();
        let port = port_of(&self.network()["mint"]);
        assert!(mint.contains("/mint?alg=ES256&email="));
        let answer = rpc::get(port, &format!("/mint?alg={alg}&email={email}{more}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }

    /// Tells the launcher something, as `make stop-member N=2` does.
    pub(crate) fn tell(&self, words: &[&str]) -> String {
        let output = Command::new(self.bin.join("torus-devnet"))
            .args(words)
            .arg("--dir")
            .arg(&self.dir)
            .output()
            .expect("torus-devnet runs");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What a member's /readyz says; `None` while it does not answer.
    pub(crate) fn readiness(&self, member: u8) -> Option<Readiness> {
        Readiness::parse(&rpc::try_get(self.admin(member), "/readyz").ok()?.json(), now())
    }

    /// Waits until a member is ready.
    pub(crate) fn wait_ready(&self, member: u8, limit: Duration) {
        let mut last = None;
        let ready = within(limit, || {
            last = self.readiness(member);
            last.as_ref().is_some_and(|said| said.ready)
        });
        assert!(ready, "member {member} is not ready after {limit:?}: {last:?}");
    }

    /// Waits until every member is ready.
    pub(crate) fn wait_all_ready(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        for member in 1..=self.members {
            self.wait_ready(member, deadline.saturating_duration_since(Instant::now()));
        }
    }

    /// Waits until every member is ready and sees a filled buffer.
    pub(crate) fn wait_filled(&mut self, limit: Duration) {
        let mut last = Vec::new();
        let filled = within(limit, || {
            let ended = self.launcher.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(
                ended.is_none(),
                "the launcher ended ({ended:?}): see {}",
                self.dir.with_extension("log").display()
            );
            if !self.network_file().exists() {
                return false;
            }
            last = (1..=self.members).map(|member| self.readiness(member)).collect();
            last.iter().all(|said| said.as_ref().is_some_and(|said| said.ready && said.buffer >= said.target))
        });
        assert!(filled, "not filled after {limit:?}: {last:?}");
    }

    /// Whatever a failed check left down is started again.
    pub(crate) fn make_whole(&mut self) {
        let running = self.launcher.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)));
        if running {
            for member in 1..=self.members {
                self.tell(&["start-member", &member.to_string()]);
            }
        } else {
            self.launch(false);
        }
        self.wait_filled(Duration::from_secs(240));
    }

    /// Ends the launcher with a signal and returns how it ended.
    pub(crate) fn end(&mut self, with: i32) -> std::process::ExitStatus {
        let mut child = self.launcher.take().expect("a running launcher");
        signal(child.id(), with);
        let ended = within(Duration::from_secs(60), || matches!(child.try_wait(), Ok(Some(_))));
        if !ended {
            let _ = child.kill();
        }
        let status = child.wait().expect("the launcher is ours");
        assert!(ended, "the launcher did not end by signal {with}");
        status
    }

    /// Processes that have this network's directory in their arguments.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let dir = self.dir.canonicalize().expect("the directory is there");
        let needle = dir.to_string_lossy().into_owned();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains(&needle) && alive(pid) {
                found.push(pid);
            }
        }
        found
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        if self.launcher.is_some() {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.end(libc::SIGTERM)));
        }
    }
}

/// Tries until it holds or the time is over.
pub(crate) fn within(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(150));
    }
}

/// Where cargo put the binaries: two levels above this one, which lies in `deps`.
fn binaries() -> PathBuf {
    let exe = std::env::current_exe().expect("this binary's path");
    exe.parent().and_then(Path::parent).expect("a target directory").to_owned()
}

fn port_of(url: &Value) -> u16 {
    let url = url.as_str().expect("a URL");
    let rest = url.strip_prefix("http://127.0.0.1:").expect("a loopback URL");
    rest.split('/').next().and_then(|port| port.parse().ok()).expect("a port")
}
