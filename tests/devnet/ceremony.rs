//! The founding of a devnet: a token and keys for every vault, a p2p key for every node, one genesis file, in the
//! order that operators on separate hosts would keep, by the same commands.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use torus_statement::Wire;
use torus_statement::network::NetworkFile;

use crate::issuer::Issuer;
use crate::plan::{Layout, MemberLayout, Shape, private_dir, write_whole};
use crate::process::{Program, Role, run};
use crate::trouble::Naming;
use crate::{Result, Trouble, users};

/// Where Debian's package softhsm2 puts its module.
const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// Keys of a batch, unless fewer are wanted in all: large enough for its fixed costs to be small in each key's.
const LARGEST_BATCH: u32 = 128;

/// The binaries of a network, found beside the launcher's own.
#[derive(Clone, Debug)]
pub struct Binaries {
    dir: PathBuf,
    module: PathBuf,
}

impl Binaries {
    /// The binaries in `dir`; each that is missing is named. SOFTHSM2_MODULE names another place for SoftHSM.
    pub fn find(dir: &Path) -> Result<Self> {
        let module = std::env::var_os("SOFTHSM2_MODULE").map_or_else(|| PathBuf::from(SOFTHSM), PathBuf::from);
        if !module.exists() {
            return Err(Trouble::Refused(format!(
                "SoftHSM is not at {}: run `make deps`, or set SOFTHSM2_MODULE",
                module.display()
            )));
        }
        let found = Self { dir: dir.to_owned(), module };
        for binary in [found.vault(), found.node(), found.client(), found.launcher()] {
            if !binary.is_file() {
                return Err(Trouble::Refused(format!("{} is not built: run `make build`", binary.display())));
            }
        }
        Ok(found)
    }

    /// torus-vault.
    pub fn vault(&self) -> PathBuf {
        self.dir.join("torus-vault")
    }

    /// torus-node.
    pub fn node(&self) -> PathBuf {
        self.dir.join("torus-node")
    }

    /// The users' command line.
    pub fn client(&self) -> PathBuf {
        self.dir.join("torus")
    }

    /// A program of an `examples` folder; it may not be built.
    pub fn example(&self, name: &str) -> PathBuf {
        self.dir.join("examples").join(name)
    }

    /// The launcher, which becomes the daemons.
    pub fn launcher(&self) -> PathBuf {
        self.dir.join("torus-devnet")
    }

    fn token_args(&self, member: &MemberLayout) -> Vec<OsString> {
        args![
            "--module",
            &self.module,
            "--token-label",
            member.label(),
            "--pin-file",
            member.pin(),
            "--data",
            member.vault(),
        ]
    }
}

/// A network that was founded: what its members are started with.
#[derive(Clone, Debug)]
pub struct Founded {
    /// The sizes and ports.
    pub shape: Shape,
    /// The hash of the genesis file, hex.
    pub genesis: String,
    /// The members' identity keys as x and y, 64 hex digits each.
    pub identities: Vec<(String, String)>,
}

/// Founds the network that `shape` describes, or reads back the one that was founded here before.
pub fn found(
    binaries: &Binaries,
    layout: &Layout,
    shape: &Shape,
    issuer: &Issuer,
    tell: &dyn Fn(&str),
) -> Result<Founded> {
    match layout.saved_shape()? {
        Some(saved) if saved == *shape => tell("starting the network that is on disk"),
        Some(saved) => {
            return Err(Trouble::Refused(format!(
                "{} holds a network of {} members at port {}; start it with MEMBERS={} PORT={}, or clear it with FRESH=1",
                layout.root().display(),
                saved.n,
                saved.port,
                saved.n,
                saved.port
            )));
        }
        None => {
            layout.clear_members()?;
            for member in shape.members() {
                tell(&format!("member {member}: token, keys and key certificate"));
                found_member(binaries, &layout.member(member), shape)?;
            }
            tell("genesis file");
            found_network(binaries, layout, shape, issuer)?;
            approve(binaries, layout, &read_founded(layout, shape)?)?;
            let saved = serde_json::to_vec_pretty(shape).unwrap_or_default();
            write_whole(&layout.shape(), &saved, 0o600)?;
        }
    }
    read_founded(layout, shape)
}

fn found_member(binaries: &Binaries, member: &MemberLayout, shape: &Shape) -> Result<()> {
    for dir in [member.root().to_owned(), member.token(), member.objects(), member.vault(), member.node()] {
        private_dir(&dir)?;
    }
    let conf = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
        member.objects().display()
    );
    write_whole(&member.softhsm_conf(), conf.as_bytes(), 0o600)?;
    for file in [member.pin(), member.so_pin()] {
        write_whole(&file, fresh_pin()?.as_bytes(), 0o600)?;
    }
    let failed = |step: &str, role, reason: String| {
        // The command's words go where the daemon's will, so that one place tells the whole story.
        let log = member.log(role);
        let _ = fs::write(&log, format!("{reason}\n"));
        Trouble::Member { step: step.to_owned(), member: member.index(), reason, log }
    };
    let p2p_key = run(&binaries.node(), &[OsString::from("init"), "--data".into(), member.node().into()], &[])
        .map_err(|reason| failed("making the p2p key", Role::Node, reason))?;
    let p2p_key = p2p_key.trim();
    if p2p_key.len() != 64 || !p2p_key.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(failed("making the p2p key", Role::Node, format!("torus-node init printed {p2p_key:?}, no key")));
    }
    let mut init = args!["init"];
    init.extend(binaries.token_args(member));
    init.extend(args![
        "--create-token",
        "--so-pin-file",
        member.so_pin(),
        "--network",
        &shape.network,
        "--index",
        member.index().to_string(),
        "--p2p-key",
        p2p_key,
        "--out",
        member.member_file(),
    ]);
    run(&binaries.vault(), &init, &[("SOFTHSM2_CONF", &member.softhsm_conf())])
        .map(|_| ())
        .map_err(|reason| failed("torus-vault init", Role::Vault, reason))
}

fn found_network(binaries: &Binaries, layout: &Layout, shape: &Shape, issuer: &Issuer) -> Result<()> {
    let verifiers = serde_json::to_vec_pretty(&issuer.verifiers()).unwrap_or_default();
    write_whole(&layout.verifiers(), &verifiers, 0o644)?;
    let sizes = shape.sizes()?;
    let mut genesis = args![
        "genesis",
        "--network",
        &shape.network,
        "--out",
        layout.genesis(),
        "--verifiers",
        layout.verifiers(),
        "--sizes",
        format!("{},{},{}", sizes.n(), sizes.k(), sizes.t()),
    ];
    if let Some(keys) = shape.keys {
        let batch = keys.clamp(1, LARGEST_BATCH).to_string();
        genesis.extend(args!["--low-water", keys.to_string(), "--batch", batch]);
    }
    for member in shape.members() {
        let p = shape.ports(member);
        let host = shape.host(member);
        let endpoint = format!("{member}=http://127.0.0.1:{}/jrpc,{host}/tcp/{},{host}/tcp/{}", p.api, p.p2p, p.bft);
        genesis.extend(args!["--endpoint", endpoint]);
    }
    genesis.extend(shape.members().map(|member| layout.member(member).member_file().into_os_string()));
    run(&binaries.node(), &genesis, &[]).map(|_| ()).map_err(|reason| Trouble::Step {
        step: "torus-node genesis".to_owned(),
        reason,
        logs: layout.root().to_owned(),
    })
}

/// Each operator's word for the network.
fn approve(binaries: &Binaries, layout: &Layout, founded: &Founded) -> Result<()> {
    for member in founded.shape.members().map(|member| layout.member(member)) {
        let args = args!["trust", "--data", member.vault(), &founded.genesis];
        run(&binaries.vault(), &args, &[]).map_err(|reason| Trouble::Member {
            step: "torus-vault trust".to_owned(),
            member: member.index(),
            reason,
            log: member.log(Role::Vault),
        })?;
    }
    Ok(())
}

fn read_founded(layout: &Layout, shape: &Shape) -> Result<Founded> {
    let path = layout.genesis();
    let bytes = fs::read(&path).at("read", &path)?;
    let file = NetworkFile::from_bytes(&bytes)
        .map_err(|e| Trouble::Refused(format!("{} is no network file: {e}", path.display())))?;
    let identities = file.config.committee().members.iter().map(|member| {
        let point = member.identity.to_xy();
        let (x, y) = point.split_at(32);
        (hex::encode(x), hex::encode(y))
    });
    Ok(Founded { shape: shape.clone(), genesis: hex::encode(file.hash()), identities: identities.collect() })
}

/// How a member's vault is started, less its socket.
pub fn vault_program(binaries: &Binaries, layout: &Layout, member: u8) -> Program {
    let files = layout.member(member);
    let mut args = args!["run"];
    args.extend(binaries.token_args(&files));
    args.extend(args![
        "--network-file",
        layout.genesis(),
        "--node-uid",
        users::of(member, Role::Node).unwrap_or_else(crate::process::own_uid).to_string(),
        "--token-dir",
        files.objects(),
    ]);
    args.extend(confinement(member, Role::Vault));
    Program {
        path: binaries.vault(),
        args,
        env: vec![("SOFTHSM2_CONF".to_owned(), files.softhsm_conf().into_os_string())],
        listener: None,
        log: files.log(Role::Vault),
    }
}

/// How a member's node is started.
pub fn node_program(binaries: &Binaries, layout: &Layout, founded: &Founded, member: u8) -> Program {
    let files = layout.member(member);
    let ports = founded.shape.ports(member);
    let mut args = args![
        "run",
        "--data",
        files.node(),
        "--vault-socket",
        files.socket(),
        "--network-file",
        layout.genesis(),
        "--index",
        member.to_string(),
        "--listen",
        format!("127.0.0.1:{}", ports.api),
        "--admin",
        format!("127.0.0.1:{}", ports.admin),
    ];
    if let Some(resolver) = founded.shape.resolver {
        args.extend(args!["--resolvers", resolver.to_string()]);
    }
    args.extend(confinement(member, Role::Node));
    Program { path: binaries.node(), args, env: Vec::new(), listener: None, log: files.log(Role::Node) }
}

/// Who a daemon becomes, and whether it does without Landlock: only if WITHOUT_LANDLOCK is set, which make hands on.
fn confinement(member: u8, role: Role) -> Vec<OsString> {
    let mut args = Vec::new();
    if let Some(user) = users::of(member, role) {
        args.extend(args!["--uid", user.to_string(), "--gid", user.to_string()]);
    }
    if std::env::var_os("WITHOUT_LANDLOCK").is_some_and(|value| !value.is_empty()) {
        args.extend(args!["--without-landlock"]);
    }
    args
}

/// Gives each daemon its files, where it is a user of its own: again at every start, since a network may have been
/// founded by another launcher.
pub fn give_away(member: &MemberLayout) -> Result<()> {
    users::let_pass(member.root())?;
    let (vault, node) = (users::of(member.index(), Role::Vault), users::of(member.index(), Role::Node));
    for dir in [member.token(), member.vault()] {
        users::give(&dir, vault)?;
    }
    users::give(&member.node(), node)?;
    users::give(member.socket(), node)
}

/// 16 digits from the system's randomness.
fn fresh_pin() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::getrandom(&mut bytes).map_err(|e| Trouble::Refused(format!("no randomness: {e}")))?;
    Ok(bytes.iter().map(|b| char::from(b'0' + b % 10)).collect())
}
