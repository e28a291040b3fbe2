//! What the launcher gives to a process, and how long it lives. Shells stand in for the daemons.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use torus_tests::ceremony::Founded;
use torus_tests::issuer::Issuer;
use torus_tests::network_file::NetworkBoard;
use torus_tests::plan::{Layout, Shape};
use torus_tests::process::{Program, Role, alive, listen, signal};
use torus_tests::supervisor::{Daemon, End, Extra};

const LAUNCHER: &str = env!("CARGO_BIN_EXE_torus-devnet");

fn shell(dir: &Path, script: &str) -> Program {
    Program {
        path: PathBuf::from("/bin/sh"),
        args: vec![OsString::from("-c"), script.into()],
        env: Vec::new(),
        listener: None,
        log: dir.join("log"),
    }
}

async fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    for _ in 0..200 {
        if holds() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

fn board(dir: &TempDir) -> Arc<NetworkBoard> {
    let layout = Layout::new(dir.path()).unwrap();
    let shape = Shape::new("devnet", 5, 16_300, None).unwrap();
    let issuer = Issuer::open(&layout.issuer(), &shape.issuer()).unwrap();
    let identities = vec![("0".repeat(64), "0".repeat(64)); 5];
    Arc::new(NetworkBoard::new(&layout, &Founded { shape, genesis: "00".repeat(32), identities }, &issuer))
}

#[tokio::test(flavor = "current_thread")]
async fn a_daemon_gets_its_socket_as_descriptor_three_and_nothing_else_of_ours() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = shell(
        dir.path(),
        r#"test "$LISTEN_PID" = $$ && echo own-pid; echo "fds=$LISTEN_FDS"; for fd in /proc/$$/fd/*; do echo "$(basename $fd)=$(readlink $fd)"; done; env | cut -d= -f1"#,
    );
    program.listener = Some(listen(&dir.path().join("socket")).unwrap());
    let mut child = program.start(Path::new(LAUNCHER)).unwrap();
    assert!(child.wait().await.unwrap().success());
    let said = std::fs::read_to_string(dir.path().join("log")).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.contains(&"own-pid") && lines.contains(&"fds=1"), "{said}");
    assert!(lines.contains(&"0=/dev/null"), "{said}");
    assert!(lines.iter().any(|line| line.starts_with("3=socket:")), "{said}");
    let sockets = lines.iter().filter(|line| line.contains("=socket:")).count();
    assert_eq!(sockets, 1, "{said}");
    for secret in ["CARGO", "CARGO_MANIFEST_DIR", "SSH_AUTH_SOCK"] {
        assert!(!lines.contains(&secret), "{secret} is handed on");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn what_dies_comes_back_and_what_was_stopped_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let board = board(&dir);
    let program = shell(dir.path(), "exec sleep 600");
    let daemon = Daemon::new(2, Role::Node, program, PathBuf::from(LAUNCHER), Arc::clone(&board));
    daemon.start(Extra::default()).await.unwrap();
    let first = board.pid(2, Role::Node);
    assert!(alive(first));

    assert!(daemon.kill().await);
    assert!(eventually(|| !matches!(board.pid(2, Role::Node), 0) && board.pid(2, Role::Node) != first).await);
    let second = board.pid(2, Role::Node);
    assert!(alive(second) && !alive(first));

    // A death that nobody ordered counts the same.
    signal(second, libc::SIGKILL);
    assert!(eventually(|| !matches!(board.pid(2, Role::Node), 0) && board.pid(2, Role::Node) != second).await);
    let third = board.pid(2, Role::Node);

    let text = std::fs::read_to_string(dir.path().join("network.json")).unwrap();
    let network: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(network["members"][1]["pids"]["node"], third);
    assert_eq!(network["members"][1]["pids"]["vault"], 0);

    daemon.stop(End::InOrder).await;
    assert!(!alive(third));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(board.pid(2, Role::Node), 0);
    daemon.start(Extra::default()).await.unwrap();
    assert!(alive(board.pid(2, Role::Node)));
    daemon.stop(End::Crash).await;
    assert_eq!(board.pid(2, Role::Node), 0);
}

#[test]
fn a_daemon_does_not_outlive_a_launcher_that_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    // A shell stands in for the launcher: it starts a daemon, writes its pid down, and is killed.
    let pid_file = dir.path().join("pid");
    let script =
        format!("{LAUNCHER} become $$ plain -- /bin/sh -c 'echo $$ > {}; exec sleep 600' & wait", pid_file.display());
    let mut stand_in = std::process::Command::new("/bin/sh").args(["-c", &script]).spawn().unwrap();
    let read = || std::fs::read_to_string(&pid_file).ok()?.trim().parse::<u32>().ok();
    let wait = |holds: &dyn Fn() -> bool| {
        (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            holds()
        })
    };
    assert!(wait(&|| read().is_some_and(alive)));
    let pid = read().unwrap();
    stand_in.kill().unwrap();
    stand_in.wait().unwrap();
    let gone = wait(&|| !alive(pid));
    signal(pid, libc::SIGKILL);
    assert!(gone);
}
