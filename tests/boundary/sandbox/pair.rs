//! One member of a network whose others are away: its real vault and node, started by the real launcher.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use torus_tests::ceremony::{Binaries, Founded, found, give_away, node_program, vault_program};
use torus_tests::issuer::Issuer;
use torus_tests::plan::{Layout, Shape};
use torus_tests::process::{Role, listen};

const LAUNCHER: &str = env!("CARGO_BIN_EXE_torus-devnet");
const PORT: u16 = 16_400;

/// A vault and a node that serve; both end with this value.
pub(super) struct Pair {
    pub(super) vault: Daemon,
    pub(super) node: Daemon,
}

/// A daemon, its user and its log.
pub(super) struct Daemon {
    child: tokio::process::Child,
    log: PathBuf,
    from: u64,
    pub(super) user: u32,
}

struct Network {
    binaries: Binaries,
    layout: Layout,
    founded: Founded,
}

/// Founded once for all tests of this process.
fn network() -> &'static Network {
    static NETWORK: OnceLock<Network> = OnceLock::new();
    static FOUNDING: Mutex<()> = Mutex::new(());
    let _one = FOUNDING.lock();
    NETWORK.get_or_init(|| {
        let bin = Path::new(LAUNCHER).parent().unwrap();
        let layout = Layout::new(&bin.join("../boundary")).unwrap();
        layout.clear().unwrap();
        let shape = Shape::new("boundary", 5, PORT, Some(16)).unwrap();
        let issuer = Issuer::open(&layout.issuer(), &shape.issuer()).unwrap();
        let binaries = Binaries::find(bin).unwrap();
        let founded = found(&binaries, &layout, &shape, &issuer, &|_| ()).unwrap();
        Network { binaries, layout, founded }
    })
}

impl Daemon {
    pub(super) fn pid(&self) -> u32 {
        self.child.id().expect("it was not waited for")
    }

    /// What it said since it was started.
    pub(super) fn said(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(usize::try_from(self.from).unwrap()..).unwrap_or_default()).into_owned()
    }

    /// Waits until it is locked down and serves.
    async fn serves(&mut self) {
        for _ in 0..1200 {
            let said = self.said();
            if said.contains("locked down") && said.contains("serving") {
                return;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "it has ended:\n{said}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it does not serve:\n{}", self.said());
    }

    pub(super) fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) async fn ended(&mut self) -> std::process::ExitStatus {
        let ended = tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await;
        ended.expect("it goes on").unwrap()
    }
}

impl Drop for Daemon {
    /// Its end is waited for: two vaults do not run on one store.
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        for _ in 0..400 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Starts the vault of a member.
pub(super) async fn vault(member: u8) -> Daemon {
    let Network { binaries, layout, .. } = network();
    let files = layout.member(member);
    let mut program = vault_program(binaries, layout, member);
    program.listener = Some(listen(files.socket()).unwrap());
    give_away(&files).unwrap();
    let mut daemon = start(&program, member, Role::Vault);
    daemon.serves().await;
    daemon
}

/// Starts both.
pub(super) async fn pair(member: u8) -> Pair {
    pair_with(member, &[]).await
}

/// Starts both, the node with more arguments.
pub(super) async fn pair_with(member: u8, more: &[OsString]) -> Pair {
    let Network { binaries, layout, founded } = network();
    let vault = vault(member).await;
    let mut program = node_program(binaries, layout, founded, member);
    program.args.extend_from_slice(more);
    let mut node = start(&program, member, Role::Node);
    node.serves().await;
    Pair { vault, node }
}

fn start(program: &torus_tests::process::Program, member: u8, role: Role) -> Daemon {
    let from = std::fs::metadata(&program.log).map_or(0, |meta| meta.len());
    let child = program.start(Path::new(LAUNCHER)).unwrap();
    let user = torus_tests::users::of(member, role).unwrap_or_else(torus_tests::process::own_uid);
    Daemon { child, log: program.log.clone(), from, user }
}
