//! One operating-system process of a member: started with its socket, tied to the launcher's life, ended by its id.
//!
//! The launcher starts a daemon through a small step of its own binary, which becomes the daemon: between fork and
//! exec only there may descriptors be placed and `LISTEN_PID` name the right process.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::trouble::Naming;
use crate::{Result, Trouble};

/// The first descriptor that a socket-activated daemon looks at.
const LISTEN_FD: i32 = 3;

/// Names the program of `policies/examples/without.rs`, through which a daemon is then started.
pub const WITHOUT: &str = "TORUS_WITHOUT";

/// The two processes of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// torus-vault.
    Vault,
    /// torus-node.
    Node,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vault => "vault",
            Self::Node => "node",
        })
    }
}

impl std::str::FromStr for Role {
    type Err = Trouble;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "vault" => Ok(Self::Vault),
            "node" => Ok(Self::Node),
            _ => Err(Trouble::Refused(format!("a member has a vault and a node, no {text}"))),
        }
    }
}

/// What to start and how.
pub struct Program {
    /// The daemon.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables added to a nearly empty environment.
    pub env: Vec<(String, OsString)>,
    /// The listening socket that it gets as descriptor 3.
    pub listener: Option<std::os::unix::net::UnixListener>,
    /// Where both its output streams go, appended.
    pub log: PathBuf,
}

impl Program {
    /// Starts it. The child dies with the launcher, however that ends.
    pub fn start(&self, launcher: &Path) -> Result<tokio::process::Child> {
        let log = || fs::OpenOptions::new().create(true).append(true).open(&self.log).at("open", &self.log);
        let listener = self.listener.as_ref().map(|l| l.try_clone()).transpose();
        let listener = listener.naming(|| "duplicate the listening socket".to_owned())?;
        let stdin = listener.map_or_else(Stdio::null, |l| Stdio::from(OwnedFd::from(l)));
        let mut command = tokio::process::Command::new(launcher);
        command
            .arg("become")
            .arg(std::process::id().to_string())
            .arg(if self.listener.is_some() { "listening" } else { "plain" })
            .arg("--")
            .arg(&self.path)
            .args(&self.args)
            .env_clear()
            .envs(inherited())
            .envs(self.env.iter().map(|(k, v)| (k.as_str(), v.as_os_str())))
            .stdin(stdin)
            .stdout(Stdio::from(log()?))
            .stderr(Stdio::from(log()?))
            // Ctrl-C reaches the launcher alone; it ends the members in order.
            .process_group(0)
            .kill_on_drop(true);
        command.spawn().at("start", &self.path)
    }
}

/// What a daemon may see of the launcher's own environment.
fn inherited() -> impl Iterator<Item = (String, OsString)> {
    ["PATH", "HOME", "TMPDIR", "RUST_LOG", "RUST_BACKTRACE"]
        .into_iter()
        .filter_map(|name| std::env::var_os(name).map(|value| (name.to_owned(), value)))
}

/// The body of the `become` step: ties this process to its launcher, places the socket and turns into the daemon.
/// Returns only if that failed.
pub fn become_daemon(launcher: u32, listening: bool, program: &Path, args: &[OsString]) -> Trouble {
    if let Err(e) = torus_policies::end_with_parent(launcher) {
        return Trouble::Refused(format!("not tied to the launcher: {e}"));
    }
    let mut command = match std::env::var_os(WITHOUT) {
        None => std::process::Command::new(program),
        Some(without) => {
            let mut command = std::process::Command::new(without);
            command.arg(program).env_remove(WITHOUT);
            command
        }
    };
    command.args(args);
    if listening {
        // SAFETY: dup2 on two descriptor numbers; 3 belongs to nobody in this process, which has opened nothing.
        if unsafe { libc::dup2(libc::STDIN_FILENO, LISTEN_FD) } != LISTEN_FD {
            let source = std::io::Error::last_os_error();
            return Trouble::Io { what: "place the listening socket".to_owned(), source };
        }
        command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "vault").env("LISTEN_PID", std::process::id().to_string());
    }
    let source = command.stdin(Stdio::null()).exec();
    Trouble::Io { what: format!("start {}", program.display()), source }
}

/// Sends a signal to one process of ours by its id.
pub fn signal(pid: u32, signal: i32) {
    let Ok(pid) = i32::try_from(pid) else { return };
    if pid > 1 {
        // SAFETY: kill touches no memory; pid names one process, never a group.
        unsafe { libc::kill(pid, signal) };
    }
}

/// Whether a process with this id exists and is no zombie.
pub fn alive(pid: u32) -> bool {
    state(Path::new(&format!("/proc/{pid}/stat"))).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// The state's letter in a `stat` of /proc.
fn state(stat: &Path) -> Option<char> {
    let stat = fs::read_to_string(stat).ok()?;
    // The name in parentheses may hold anything; the state follows the last one.
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Whether all of a process stands still after a SIGSTOP.
pub fn stopped(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut states = threads.map(|thread| state(&thread.path().join("stat"))).peekable();
    states.peek().is_some() && states.all(|state| state == Some('T'))
}

/// The uid of this process.
pub fn own_uid() -> u32 {
    // SAFETY: geteuid has no arguments and cannot fail.
    unsafe { libc::geteuid() }
}

/// Takes the lock of a devnet directory, or says that a launcher runs there already.
pub fn lock(path: &Path) -> Result<fs::File> {
    use std::os::fd::AsRawFd;
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(path).at("open", path)?;
    // SAFETY: flock on a descriptor that `file` keeps open.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
        return Err(Trouble::Refused(format!(
            "a devnet runs in {} already; stop it first, or choose another directory with --dir",
            path.parent().unwrap_or(path).display()
        )));
    }
    Ok(file)
}

/// Binds a listening Unix socket at `path`, in place of one that a dead launcher left.
pub fn listen(path: &Path) -> Result<std::os::unix::net::UnixListener> {
    let _ = fs::remove_file(path);
    let listener = std::os::unix::net::UnixListener::bind(path).at("listen on", path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).at("protect", path)?;
    Ok(listener)
}

/// Runs a short command to its end and gives its standard output; its complaint otherwise.
pub fn run(program: &Path, args: &[OsString], env: &[(&str, &Path)]) -> std::result::Result<String, String> {
    let mut command = std::process::Command::new(program);
    command.args(args).envs(env.iter().copied()).stdin(Stdio::null());
    let output = command.output().map_err(|e| format!("{}: {e}", program.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {}: {}", program.display(), output.status, said.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
