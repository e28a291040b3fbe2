//! Where everything of one devnet lies: sizes, ports and paths, fixed at its first start and read back later.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use torus_sharing::Sizes;

use crate::trouble::Naming;
use crate::{Result, Trouble, users};

/// Ephemeral ports begin here on Linux; a listener above may find its port taken by an outgoing connection.
const FIRST_EPHEMERAL: u16 = 32768;
const PORTS_PER_MEMBER: u16 = 10;
/// The longest path that a Unix socket may have, less its terminating zero.
const SOCKET_PATH: usize = 107;

/// What one devnet is, written beside its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// The network's name, which every signature binds.
    pub network: String,
    /// Members.
    pub n: u8,
    /// The first of its ports: the issuer's.
    pub port: u16,
    /// Unassigned keys that the buffer keeps; the network's own default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<u32>,
    /// The name server that members are asked for at; without one their endpoints are addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolver: Option<SocketAddr>,
}

impl Shape {
    /// A shape whose sizes the protocol is sound for and whose ports fit below the ephemeral ones.
    pub fn new(network: &str, n: u8, port: u16, keys: Option<u32>) -> Result<Self> {
        let shape = Self { network: network.to_owned(), n, port, keys, resolver: None };
        shape.sizes()?;
        let last = u32::from(port) + u32::from(PORTS_PER_MEMBER) * (u32::from(n) + 1);
        if port < 1024 || last > u32::from(FIRST_EPHEMERAL) {
            return Err(Trouble::Refused(format!(
                "PORT={port} does not do: {n} members use {port} to {last}, which must lie in 1024..{FIRST_EPHEMERAL}"
            )));
        }
        Ok(shape)
    }

    /// n, k and t.
    pub fn sizes(&self) -> Result<Sizes> {
        let k = self.n / 2 + 1;
        let t = self.n.saturating_sub(k) / 2;
        Sizes::new(self.n, k, t).map_err(|rule| Trouble::Refused(format!("MEMBERS={} does not do: {rule}", self.n)))
    }

    /// 1..=n.
    pub fn members(&self) -> impl Iterator<Item = u8> + use<> {
        1..=self.n
    }

    /// The issuer's origin.
    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The same with names as endpoints, which this server knows.
    pub fn named(self, resolver: Option<SocketAddr>) -> Self {
        Self { resolver, ..self }
    }

    /// The port of the chain, if there is one.
    pub fn chain_port(&self) -> u16 {
        self.port + 1
    }

    /// A member's host, as its endpoints for other members have it.
    pub fn host(&self, member: u8) -> String {
        match self.resolver {
            Some(_) => format!("/dns/member{member}.torus.test"),
            None => "/ip4/127.0.0.1".to_owned(),
        }
    }

    /// A member's four ports.
    pub fn ports(&self, member: u8) -> Ports {
        let first = self.port + PORTS_PER_MEMBER * u16::from(member);
        Ports { api: first, admin: first + 1, p2p: first + 2, bft: first + 3 }
    }
}

/// The ports of one member, all on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// JSON-RPC for users.
    pub api: u16,
    /// Readiness and metrics.
    pub admin: u16,
    /// Vault-to-vault envelopes.
    pub p2p: u16,
    /// The log's engine.
    pub bft: u16,
}

/// The files of one devnet.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
    homes: PathBuf,
    sockets: PathBuf,
}

impl Layout {
    /// The layout under `root`, which is made if it is not there.
    pub fn new(root: &Path) -> Result<Self> {
        private_dir(root)?;
        let root = fs::canonicalize(root).at("find", root)?;
        let sockets = socket_dir(&root)?;
        let homes = home_dir(&root)?;
        for dir in [&root, &homes, &sockets] {
            users::let_pass(dir)?;
        }
        Ok(Self { root, homes, sockets })
    }

    /// The directory of the whole devnet.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the devnet is; its presence says that the ceremony was finished.
    pub fn shape(&self) -> PathBuf {
        self.root.join("devnet.json")
    }

    /// Held by the running launcher.
    pub fn lock(&self) -> PathBuf {
        self.root.join("devnet.lock")
    }

    /// The genesis file of the network.
    pub fn genesis(&self) -> PathBuf {
        self.homes.join("network.torus")
    }

    /// Where nodes read which node list is theirs.
    pub fn registry(&self) -> PathBuf {
        self.homes.join("registry.json")
    }

    /// The node list, where it is a file.
    pub fn node_list(&self) -> PathBuf {
        self.homes.join("node-list.json")
    }

    /// The verifiers that genesis starts with.
    pub fn verifiers(&self) -> PathBuf {
        self.root.join("verifiers.json")
    }

    /// What clients are pointed at.
    pub fn network(&self) -> PathBuf {
        self.root.join("network.json")
    }

    /// The issuer's signing keys.
    pub fn issuer(&self) -> PathBuf {
        self.root.join("issuer")
    }

    /// Where a running launcher takes orders.
    pub fn control(&self) -> PathBuf {
        self.sockets.join("control.sock")
    }

    /// The files of one member.
    pub fn member(&self, member: u8) -> MemberLayout {
        MemberLayout {
            root: self.homes.join(format!("member-{member}")),
            socket: self.sockets.join(format!("vault-{member}.sock")),
            member,
        }
    }

    /// The shape that an earlier start left here, if its ceremony was finished.
    pub fn saved_shape(&self) -> Result<Option<Shape>> {
        let path = self.shape();
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|e| Trouble::Refused(format!("{} is not a devnet's description: {e}", path.display()))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).at("read", &path),
        }
    }

    /// Clears members of a ceremony that was not finished: no other member ever saw their keys.
    pub fn clear_members(&self) -> Result<()> {
        if self.shape().exists() {
            return Err(Trouble::Refused(format!("{} holds a founded network", self.root.display())));
        }
        let gone = |path: &Path, removed: std::io::Result<()>| match removed {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).at("remove", path),
            _ => Ok(()),
        };
        gone(&self.genesis(), fs::remove_file(self.genesis()))?;
        for member in 1..=u8::MAX {
            let root = self.member(member).root;
            gone(&root, fs::remove_dir_all(&root))?;
        }
        Ok(())
    }

    /// Clears what a devnet left here, and only that: a directory with anything else in it is refused.
    pub fn clear(&self) -> Result<()> {
        let ours = |name: &str| {
            ["devnet.json", "devnet.lock", "network.torus", "verifiers.json", "network.json", "issuer", "sockets"]
                .contains(&name)
                || ["registry.json", "node-list.json", "chain.json", "chain.log", "chain.pid"].contains(&name)
                || name.starts_with("member-")
                || name.ends_with(".new")
        };
        let mut doomed = Vec::new();
        for dir in [&self.root, &self.homes] {
            for entry in fs::read_dir(dir).at("list", dir)? {
                let entry = entry.at("list", dir)?;
                let name = entry.file_name();
                if !name.to_str().is_some_and(ours) {
                    return Err(Trouble::Refused(format!("not cleared: {} is not a devnet's", entry.path().display())));
                }
                if name != "devnet.lock" && name != "sockets" && !doomed.contains(&entry.path()) {
                    doomed.push(entry.path());
                }
            }
        }
        // First the mark that says the rest is whole.
        doomed.sort_by_key(|path| *path != self.shape());
        for path in doomed {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.at("remove", &path)?;
        }
        Ok(())
    }
}

/// The files of one member.
#[derive(Clone, Debug)]
pub struct MemberLayout {
    root: PathBuf,
    socket: PathBuf,
    member: u8,
}

impl MemberLayout {
    /// The member's index.
    pub fn index(&self) -> u8 {
        self.member
    }

    /// The directory of the member.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of its SoftHSM token, configuration and PINs.
    pub fn token(&self) -> PathBuf {
        self.root.join("token")
    }

    /// Where SoftHSM keeps the token's objects.
    pub fn objects(&self) -> PathBuf {
        self.token().join("tokens")
    }

    /// SoftHSM's configuration, the vault's alone.
    pub fn softhsm_conf(&self) -> PathBuf {
        self.token().join("softhsm2.conf")
    }

    /// The user PIN.
    pub fn pin(&self) -> PathBuf {
        self.token().join("pin")
    }

    /// The security officer's PIN.
    pub fn so_pin(&self) -> PathBuf {
        self.token().join("so-pin")
    }

    /// The token's label.
    pub fn label(&self) -> String {
        format!("torus-{}", self.member)
    }

    /// The vault's data.
    pub fn vault(&self) -> PathBuf {
        self.root.join("vault")
    }

    /// The node's data.
    pub fn node(&self) -> PathBuf {
        self.root.join("node")
    }

    /// The key of the operator's Ethereum account.
    pub fn account(&self) -> PathBuf {
        self.node().join("account.key")
    }

    /// What the vault's ceremony publishes of the member.
    pub fn member_file(&self) -> PathBuf {
        self.root.join("member.json")
    }

    /// The socket between vault and node.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The log of one of its processes.
    pub fn log(&self, role: crate::process::Role) -> PathBuf {
        self.root.join(format!("{role}.log"))
    }
}

/// A directory that only its owner enters. Those above it that are missing get the usual mode: the daemons' users pass
/// through them.
pub fn private_dir(path: &Path) -> Result<()> {
    if let Some(above) = path.parent() {
        fs::create_dir_all(above).at("make directory", above)?;
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).at("make directory", path)
}

/// Writes a whole file or leaves the old one: to a name beside it, then renamed.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let _ = fs::remove_file(&beside);
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside).at("create", &beside)?;
    file.write_all(bytes).at("write", &beside)?;
    fs::rename(&beside, path).at("rename to", path)
}

/// `root/sockets`, or where that is too long a name for a socket, a directory of our own under the temporary one.
fn socket_dir(root: &Path) -> Result<PathBuf> {
    let near = root.join("sockets");
    if near.as_os_str().len() + "/control.sock".len() + 4 <= SOCKET_PATH {
        private_dir(&near)?;
        return Ok(near);
    }
    far_dir(root, "")
}

/// The root itself, or where a daemon's user cannot pass through the directories above it, as root's home, one of our
/// own under the temporary directory.
fn home_dir(root: &Path) -> Result<PathBuf> {
    if users::passable(root) { Ok(root.to_owned()) } else { far_dir(root, "-members") }
}

/// A directory under the temporary one that is ours alone and always the same for one root.
fn far_dir(root: &Path, purpose: &str) -> Result<PathBuf> {
    let digest = Sha256::digest(root.as_os_str().as_encoded_bytes());
    let name = hex::encode(digest.get(..8).unwrap_or_default());
    let far = std::env::temp_dir().join(format!("torus-devnet-{name}{purpose}"));
    private_dir(&far)?;
    let meta = fs::symlink_metadata(&far).at("look at", &far)?;
    if !meta.is_dir() || meta.uid() != crate::process::own_uid() || meta.mode() & 0o022 != 0 {
        return Err(Trouble::Refused(format!("{} is not a directory that we alone write", far.display())));
    }
    Ok(far)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_the_protocol_is_not_sound_for_are_refused() {
        for n in [5, 9] {
            assert!(Shape::new("devnet", n, 17000, None).is_ok());
        }
        for n in [0, 1, 3, 7, 8] {
            assert!(Shape::new("devnet", n, 17000, None).is_err(), "n = {n}");
        }
    }

    #[test]
    fn no_port_is_shared_and_none_is_ephemeral() {
        let shape = Shape::new("devnet", 9, 32_000, None).unwrap();
        let mut all = vec![shape.port];
        for member in shape.members() {
            let p = shape.ports(member);
            all.extend([p.api, p.admin, p.p2p, p.bft]);
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(all.iter().all(|port| *port < FIRST_EPHEMERAL));
        assert!(Shape::new("devnet", 9, 32_700, None).is_err());
    }

    #[test]
    fn a_directory_with_something_of_somebody_else_is_not_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        fs::write(layout.network(), "{}").unwrap();
        fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();
        assert!(layout.clear().is_err());
        assert!(layout.network().exists());
        fs::remove_file(dir.path().join("thesis.txt")).unwrap();
        layout.clear().unwrap();
        assert!(!layout.network().exists());
    }

    #[test]
    fn missing_directories_above_can_be_passed_through() {
        let dir = tempfile::tempdir().unwrap();
        users::let_pass(dir.path()).unwrap();
        let root = dir.path().join("target/devnet");
        let layout = Layout::new(&root).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode();
        assert_ne!(mode(&dir.path().join("target")) & 0o011, 0);
        assert_eq!(mode(&root) & 0o066, 0);
        assert_eq!(layout.homes, layout.root);
    }

    #[test]
    fn sockets_of_a_deep_directory_move_to_a_short_one() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(120));
        let layout = Layout::new(&deep).unwrap();
        assert!(layout.control().as_os_str().len() <= SOCKET_PATH);
        assert!(!layout.control().starts_with(&deep));
        let _ = fs::remove_dir(layout.control().parent().unwrap());
        let _ = fs::remove_dir(&layout.homes);
    }
}
