//! A vault's process as its operator and launcher run it, and the node's end of its socket.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use torus_ipc::frame::{Assembler, encode};
use torus_ipc::{Deny, Hello, IPC_VERSION, Request, Response};
use torus_statement::codec::Wire;
use torus_statement::receipt::hex;
use torus_statement::{Hash, KeyCertificate};

pub(crate) const VAULT: &str = env!("CARGO_BIN_EXE_torus-vault");
/// Where Debian and others install SoftHSM.
const MODULES: [&str; 3] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/libsofthsm2.so",
];

/// A user and group that nobody else is: numbers that systemd's list of ranges leaves unused.
pub(crate) const SERVANT: u32 = 61_000;

/// One member's directories and files.
pub(crate) struct Rig {
    dir: tempfile::TempDir,
    index: u8,
}

/// A vault that runs.
pub(crate) struct Running {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

/// The node's end.
pub(crate) struct Node {
    stream: UnixStream,
    assembler: Assembler,
    next: u64,
}

impl Rig {
    /// A token's and a vault's empty places.
    pub(crate) fn empty() -> Self {
        let rig = Self { dir: tempfile::tempdir().unwrap(), index: 1 };
        std::fs::create_dir(rig.path("tokens")).unwrap();
        let conf = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            rig.path("tokens").display()
        );
        std::fs::write(rig.path("softhsm.conf"), conf).unwrap();
        for pin in ["pin", "so-pin"] {
            private(&rig.path(pin), "12345678\n");
        }
        rig
    }

    /// A member that is made.
    pub(crate) fn made() -> (Self, KeyCertificate) {
        Self::made_as(1)
    }

    /// A member of this index that is made.
    pub(crate) fn made_as(index: u8) -> (Self, KeyCertificate) {
        let rig = Self { index, ..Self::empty() };
        let made = rig.init(&["--create-token", "--so-pin-file", rig.path("so-pin").to_str().unwrap()]);
        assert!(made.status.success(), "{made:?}");
        let certificate = rig.certificate();
        // What other operators will read in the network file.
        assert!(String::from_utf8_lossy(&made.stdout).contains(&certificate.keys.fingerprint_text()), "{made:?}");
        (rig, certificate)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn init(&self, more: &[&str]) -> Output {
        self.command("init")
            .args(["--network", "testnet", "--index", &self.index.to_string(), "--p2p-key", &hex(&[self.index; 32])])
            .arg("--out")
            .arg(self.path("member.json"))
            .args(more)
            .output()
            .unwrap()
    }

    pub(crate) fn command(&self, verb: &str) -> Command {
        self.command_of(&[verb])
    }

    pub(crate) fn command_of(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(VAULT);
        command.env("SOFTHSM2_CONF", self.path("softhsm.conf")).args(verb).arg("--module").arg(module());
        command.args(["--token-label", "member-1", "--pin-file"]).arg(self.path("pin"));
        command.arg("--data").arg(self.path("data"));
        command
    }

    fn certificate(&self) -> KeyCertificate {
        let text = std::fs::read_to_string(self.path("member.json")).unwrap();
        let (_, rest) = text.split_once("\"certificate\": \"").unwrap();
        let (bytes, _) = rest.split_once('"').unwrap();
        let bytes: Vec<u8> =
            (0..bytes.len() / 2).map(|at| u8::from_str_radix(&bytes[2 * at..2 * at + 2], 16).unwrap()).collect();
        KeyCertificate::from_bytes(&bytes).unwrap()
    }

    /// Its operator approves a network.
    pub(crate) fn trust(&self, network: &Hash) -> Output {
        Command::new(VAULT).arg("trust").arg("--data").arg(self.path("data")).arg(hex(network)).output().unwrap()
    }

    /// Approves the network and starts the vault; the node's uid is that of this process unless said.
    pub(crate) fn start(&self, genesis: &Hash, uid: Option<u32>) -> Running {
        self.start_after("", genesis, uid)
    }

    /// Starts it after a word of the shell, as a limit on its resources.
    pub(crate) fn start_after(&self, first: &str, genesis: &Hash, uid: Option<u32>) -> Running {
        // Idempotent. What is refused here shows in the start.
        let _ = self.trust(genesis);
        self.start_as(first, &[], uid)
    }

    /// Starts it with more arguments.
    pub(crate) fn start_with(&self, more: &[&str], genesis: &Hash) -> Running {
        let _ = self.trust(genesis);
        self.start_as("", more, None)
    }

    /// Starts it in whatever network it trusts.
    pub(crate) fn start_unasked(&self) -> Running {
        self.start_as("", &[], None)
    }

    /// Starts it after a word of the shell, with more arguments, in whatever network it trusts.
    pub(crate) fn start_as(&self, first: &str, more: &[&str], uid: Option<u32>) -> Running {
        let socket = self.path("vault.sock");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let log = self.path("log");
        let uid = uid.unwrap_or_else(own_uid).to_string();
        let vault = self.command("run");
        // The launcher's part: the listening socket becomes descriptor 3.
        let script = format!("exec 3<&0 0</dev/null; {first} exec \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).arg(vault.get_program()).args(vault.get_args());
        command.arg("--network-file").arg(self.path("network.torus")).arg("--token-dir").arg(self.path("tokens"));
        command.args(["--node-uid", &uid]).args(more).args(self.given_away());
        command.env("SOFTHSM2_CONF", self.path("softhsm.conf")).env("LISTEN_FDS", "1").env_remove("LISTEN_PID");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let child = command.stdin(Stdio::from(OwnedFd::from(listener))).stderr(file).spawn().unwrap();
        Running { child, socket, log }
    }

    /// A vault does not serve as root: where the tests run as root it becomes another user, who must own its files.
    fn given_away(&self) -> Vec<String> {
        if own_uid() != 0 {
            return Vec::new();
        }
        std::fs::set_permissions(self.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let owner = format!("{SERVANT}:{SERVANT}");
        assert!(Command::new("chown").args(["-R", &owner]).arg(self.dir.path()).status().unwrap().success());
        ["--uid", &SERVANT.to_string(), "--gid", &SERVANT.to_string()].map(str::to_owned).to_vec()
    }

    /// The files of the token's objects.
    pub(crate) fn objects(&self) -> BTreeSet<PathBuf> {
        let entries = |dir: PathBuf| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        entries(self.path("tokens"))
            .flat_map(entries)
            .filter(|file| file.extension().is_some_and(|e| e == "object"))
            .collect()
    }

    /// Copies the store away, or back.
    pub(crate) fn copy_store(&self, from: &str, to: &str) {
        let (from, to) = (self.path(from), self.path(to));
        std::fs::create_dir_all(&to).unwrap();
        for file in ["data.mdb", "lock.mdb"] {
            std::fs::copy(from.join(file), to.join(file)).unwrap();
        }
    }
}

impl Running {
    /// Connects and greets.
    pub(crate) fn node(&self) -> (Node, Hello) {
        let mut node = self.connect();
        match node.ask(&Request::Hello(IPC_VERSION)) {
            Response::Hello(hello) => (node, *hello),
            other => panic!("{other:?}\n{}", self.log()),
        }
    }

    pub(crate) fn connect(&self) -> Node {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Node { stream, assembler: Assembler::default(), next: 0 }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sets the most descriptors that the process may have open.
    pub(crate) fn descriptors(&self, most: usize) {
        self.limit("nofile", most as u64);
    }

    /// Sets a limit of the process, which may be widened again.
    pub(crate) fn limit(&self, resource: &str, most: u64) {
        let pid = self.child.id().to_string();
        let mut set = Command::new("prlimit");
        set.args(["--pid", &pid, &format!("--{resource}={most}:")]);
        if own_uid() == 0 {
            // Root without every capability may set only its own: as the vault's user it may.
            set.uid(SERVANT).gid(SERVANT);
        }
        assert!(set.status().unwrap().success());
    }

    /// The descriptor that the process would open next.
    pub(crate) fn lowest_free_descriptor(&self) -> usize {
        let open = PathBuf::from(format!("/proc/{}/fd", self.child.id()));
        (0..).find(|number| open.join(number.to_string()).symlink_metadata().is_err()).unwrap()
    }

    /// A field of the status of each of its threads.
    pub(crate) fn of_each_thread(&self, field: &str) -> Vec<String> {
        let value = |text: String| text.lines().find_map(|line| line.strip_prefix(field)).unwrap().trim().to_owned();
        self.each_thread("status").map(value).collect()
    }

    /// Processor time of its threads.
    pub(crate) fn cpu(&self) -> Duration {
        let spent = |text: String| Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap());
        self.each_thread("schedstat").map(spent).sum()
    }

    fn each_thread(&self, file: &'static str) -> impl Iterator<Item = String> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        threads.map(move |thread| std::fs::read_to_string(thread.unwrap().path().join(file)).unwrap())
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it serves: before that a signal ends it as any process.
    pub(crate) fn served(self) -> Self {
        drop(self.node());
        self
    }

    /// SIGTERM.
    pub(crate) fn tell_to_stop(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Whether it has not ended.
    pub(crate) fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGTERM; the vault must end by itself with code 0.
    pub(crate) fn stop(mut self) {
        self.tell_to_stop();
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }

    /// Waits for an end that the vault chose itself.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        (status.code(), self.log())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Node {
    pub(crate) fn ask(&mut self, request: &Request) -> Response {
        let id = self.send(request);
        let (answered, response) = self.next_answer().expect("the vault closed the connection");
        assert_eq!(answered, id);
        response
    }

    pub(crate) fn denied(&mut self, request: &Request) -> Deny {
        match self.ask(request) {
            Response::Denied(deny) => deny,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(crate) fn send(&mut self, request: &Request) -> u64 {
        self.next += 1;
        self.raw(&encode(self.next, request).unwrap());
        self.next
    }

    /// A write may fail: the vault may have closed already.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next answer; `None` once the vault has closed the connection.
    pub(crate) fn next_answer(&mut self) -> Option<(u64, Response)> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            if let Some(answer) = self.assembler.next_parsed::<Response>().unwrap() {
                return Some(answer);
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(len) => self.assembler.push(&buffer[..len]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                // A read with a deadline ends so when the machine itself was paused.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Asks until the answer satisfies, for at most a time.
pub(crate) fn until<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < limit, "not within {limit:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// SoftHSM, where SOFTHSM2_MODULE or the distribution puts it.
fn module() -> PathBuf {
    let named = std::env::var_os("SOFTHSM2_MODULE").map(PathBuf::from);
    let found = || MODULES.iter().map(PathBuf::from).find(|module| module.exists());
    named.or_else(found).expect("these tests need SoftHSM: make deps")
}

pub(crate) fn own_uid() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid()
}

fn private(path: &Path, text: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
