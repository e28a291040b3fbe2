//! Which crate may link which: read from cargo itself, for the graph that is built and shipped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Crates of the vault's side that a node may link: they know public values only.
const PUBLIC: [&str; 3] = ["torus-ipc", "torus-statement", "torus-sharing"];

/// Crates that reach for a network or a runtime; a vault has neither.
const FOREIGN_TO_A_VAULT: [&str; 15] = [
    "tokio",
    "async-std",
    "smol",
    "libp2p",
    "hyper",
    "reqwest",
    "ethers",
    "alloy",
    "rustls",
    "quinn",
    "h2",
    "openssl",
    "native-tls",
    "mio",
    "socket2",
];

/// Heavy or delicate crates of which two versions would be two truths.
const ONE_VERSION: [&str; 17] = [
    "k256",
    "p256",
    "elliptic-curve",
    "sha2",
    "sha3",
    "hmac",
    "aes",
    "aes-gcm",
    "zeroize",
    "subtle",
    "ring",
    "tokio",
    "libp2p",
    "hyper",
    "rustls",
    "heed",
    "cryptoki",
];

/// The resolved graph, over normal and build dependencies: what tests link beside is not shipped.
pub(crate) struct Graph {
    names: BTreeMap<String, String>,
    folders: BTreeMap<String, PathBuf>,
    edges: BTreeMap<String, BTreeSet<String>>,
    members: BTreeSet<String>,
}

impl Graph {
    pub(crate) fn read() -> Self {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        let json: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let list = |value: &Value| value.as_array().expect("a list").clone();

        let mut graph = Self {
            names: BTreeMap::new(),
            folders: BTreeMap::new(),
            edges: BTreeMap::new(),
            members: list(&json["workspace_members"]).iter().map(text).collect(),
        };
        for package in list(&json["packages"]) {
            let manifest = PathBuf::from(text(&package["manifest_path"]));
            graph.names.insert(text(&package["id"]), text(&package["name"]));
            graph.folders.insert(text(&package["id"]), manifest.parent().expect("a folder").to_owned());
        }
        for node in list(&json["resolve"]["nodes"]) {
            let shipped = |dep: &Value| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev");
            let deps = list(&node["deps"]);
            let deps = deps.iter().filter(|dep| shipped(dep)).map(|dep| text(&dep["pkg"])).collect();
            graph.edges.insert(text(&node["id"]), deps);
        }
        graph
    }

    fn id(&self, name: &str) -> &str {
        let mut found = self.members.iter().filter(|id| self.names[*id] == name);
        let id = found.next().unwrap_or_else(|| panic!("no crate {name} in the workspace"));
        assert!(found.next().is_none());
        id
    }

    /// The names of all that `name` links, itself included.
    fn linked_by(&self, name: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::from([self.id(name)]);
        let mut todo: Vec<&str> = seen.iter().copied().collect();
        while let Some(id) = todo.pop() {
            for dep in &self.edges[id] {
                if seen.insert(dep) {
                    todo.push(dep);
                }
            }
        }
        seen.into_iter().map(|id| self.names[id].as_str()).collect()
    }

    /// The names of what `name` itself links or is built with.
    pub(crate) fn links(&self, name: &str) -> BTreeSet<&str> {
        self.edges[self.id(name)].iter().map(|id| self.names[id].as_str()).collect()
    }

    /// The workspace's crates whose folder begins so, relative to its root.
    fn members_under(&self, folder: &str) -> Vec<&str> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
        let root = root.canonicalize().expect("the folder is there");
        let under = self.members.iter().filter(|id| self.folders[*id].starts_with(&root));
        under.map(|id| self.names[id].as_str()).collect()
    }
}

#[test]
fn the_node_links_no_crate_of_the_vault_but_the_public_ones() {
    let graph = Graph::read();
    let linked = graph.linked_by("torus-node");
    let vault = graph.members_under("vault");
    assert!(vault.len() >= 7, "the vault's crates were not found: {vault:?}");
    for name in vault {
        assert!(PUBLIC.contains(&name) || !linked.contains(name), "torus-node links {name}");
    }
    assert!(linked.contains("torus-ipc"));
}

#[test]
fn no_crate_of_the_node_links_a_secret_one() {
    let graph = Graph::read();
    for name in graph.members_under("node") {
        for secret in ["torus-protocol", "torus-hsm", "torus-release", "torus-audit", "torus-vault"] {
            assert!(!graph.linked_by(name).contains(secret), "{name} links {secret}");
        }
    }
}

#[test]
fn the_public_crates_of_the_vault_link_no_secret_one() {
    let graph = Graph::read();
    for name in PUBLIC {
        for secret in ["torus-protocol", "torus-hsm", "torus-release", "torus-audit", "torus-vault"] {
            assert!(!graph.linked_by(name).contains(secret), "{name} links {secret}");
        }
    }
}

#[test]
fn the_vault_links_no_network_and_no_runtime() {
    let graph = Graph::read();
    let linked = graph.linked_by("torus-vault");
    assert!(linked.contains("cryptoki") && linked.contains("heed"), "the graph was not read whole");
    for foreign in FOREIGN_TO_A_VAULT {
        let parts = |name: &&&str| **name == foreign || name.starts_with(&format!("{foreign}-"));
        let found: Vec<_> = linked.iter().filter(parts).collect();
        assert!(found.is_empty(), "torus-vault links {found:?}");
    }
    for name in graph.members_under("node") {
        assert!(!linked.contains(name), "torus-vault links {name}");
    }
}

/// Constant-time arithmetic on secrets comes from k256 and p256; a crate of numbers of any size has none.
#[test]
fn no_secret_meets_arithmetic_whose_time_depends_on_it() {
    let graph = Graph::read();
    for program in ["torus-vault", "torus-client"] {
        let linked = graph.linked_by(program);
        for numbers in ["num-bigint", "num-bigint-dig", "rug", "gmp-mpfr-sys", "dashu", "ibig", "ramp", "rsa"] {
            assert!(!linked.contains(numbers), "{program} links {numbers}");
        }
    }
}

#[test]
fn the_users_side_is_linked_by_no_daemon() {
    let graph = Graph::read();
    for daemon in ["torus-node", "torus-vault"] {
        assert!(!graph.linked_by(daemon).contains("torus-client"), "{daemon} links the client");
    }
}

#[test]
fn no_daemon_links_what_is_for_tests() {
    let graph = Graph::read();
    for daemon in ["torus-node", "torus-registry", "torus-vault", "torus-client"] {
        let linked = graph.linked_by(daemon);
        for name in ["torus-tests", "trybuild"] {
            assert!(!linked.contains(name), "{daemon} links {name}");
        }
        // Others may name these two: ethers-core for chains that it can start, const-hex as an option that is off.
        for own in graph.members.iter().map(|id| graph.names[id].as_str()).filter(|own| linked.contains(own)) {
            for name in ["proptest", "tempfile"] {
                assert!(!graph.links(own).contains(name), "{own} links {name}");
            }
        }
    }
}

#[test]
fn ethereum_is_spoken_by_one_crate_that_brings_no_other_http_or_tls() {
    let graph = Graph::read();
    for id in &graph.members {
        let name = graph.names[id].as_str();
        let speaks = graph.links(name).iter().any(|link| link.starts_with("ethers") || link.starts_with("alloy"));
        assert_eq!(speaks, name == "torus-registry", "{name}");
    }
    let linked = graph.linked_by("torus-registry");
    for foreign in ["ethers", "ethers-providers", "ethers-signers", "reqwest", "native-tls", "openssl-sys", "aws-lc-rs"]
    {
        assert!(!linked.contains(foreign), "torus-registry links {foreign}");
    }
}

#[test]
fn crates_of_which_two_versions_would_be_two_truths_are_there_once() {
    let graph = Graph::read();
    let mut linked = BTreeMap::<&str, BTreeSet<&str>>::new();
    for daemon in ["torus-node", "torus-registry", "torus-vault", "torus-client"] {
        let mut seen = BTreeSet::from([graph.id(daemon)]);
        let mut todo: Vec<&str> = seen.iter().copied().collect();
        while let Some(id) = todo.pop() {
            linked.entry(&graph.names[id]).or_default().insert(id);
            todo.extend(graph.edges[id].iter().map(String::as_str).filter(|dep| seen.insert(dep)));
        }
    }
    let twice: Vec<_> =
        ONE_VERSION.iter().filter_map(|name| linked.get(name)).filter(|versions| versions.len() > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

/// The lines of code of a crate: neither blank, nor comments, nor tests.
fn lines_of(folder: &Path) -> usize {
    let mut lines = 0;
    let mut todo = vec![folder.join("src")];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if path.is_dir() && name != "tests" {
                todo.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests.rs" {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
                let code = code.lines().map(str::trim);
                lines += code.filter(|line| !line.is_empty() && !line.starts_with("//")).count();
            }
        }
    }
    lines
}

#[test]
fn the_vaults_page_lists_every_crate_that_it_links_and_how_long_its_own_are() {
    let graph = Graph::read();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("vault/README.md")).unwrap();
    let section = page.split("## What may link what").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();

    let linked = graph.linked_by("torus-vault");
    let own = graph.members.iter().filter(|id| linked.contains(graph.names[*id].as_str()));
    let rows: BTreeMap<&str, usize> = section
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
            let name = cells.next()?.trim_end_matches('`');
            Some((name, cells.next()?.parse().unwrap_or_else(|_| panic!("{name}: no number of lines"))))
        })
        .collect();
    let (mut named, mut wrong) = (BTreeSet::new(), Vec::new());
    for id in own {
        let name = graph.names[id].as_str();
        let (shown, found) = (rows.get(name).copied().unwrap_or_default(), lines_of(&graph.folders[id]));
        if shown.abs_diff(found) * 10 > found + 200 {
            wrong.push(format!("{name} has {found} lines, the page says {shown}"));
        }
        named.insert(name);
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(rows.keys().copied().collect::<BTreeSet<_>>(), named, "the page's crates and the vault's own");

    let others = section.split("From others:").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
    let listed: BTreeSet<&str> = others.split('`').skip(1).step_by(2).collect();
    let foreign: BTreeSet<&str> = linked.into_iter().filter(|name| !named.contains(name)).collect();
    let missing: Vec<_> = foreign.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&foreign).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not on the page: {missing:?}; not linked any more: {gone:?}");
}

/// What `deny.toml` says of two advisories.
#[test]
fn what_resolves_names_is_built_without_dnssec() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let json: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let nodes = json["resolve"]["nodes"].as_array().expect("a list");
    let hickory: Vec<_> =
        nodes.iter().filter(|node| node["id"].as_str().is_some_and(|id| id.contains("hickory-"))).collect();
    assert_eq!(hickory.len(), 2, "hickory-proto and hickory-resolver, once each");
    for node in hickory {
        let features = node["features"].as_array().expect("a list");
        assert!(!features.is_empty());
        let more = |feature: &str| ["dnssec", "tls", "https", "quic", "h3"].iter().any(|name| feature.contains(name));
        assert!(!features.iter().filter_map(Value::as_str).any(more), "{features:?}");
    }
}
