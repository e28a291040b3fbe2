//! What is committed names no host to download from: registries are the installing machine's to choose.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::walls::Graph;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The locks of the npm clients and of the node list's tests, with the packages whose scripts would run when they are
/// installed: they are installed without (`--ignore-scripts`, and `.npmrc` beside the lock).
const NPM_LOCKS: [(&str, &[&str]); 2] = [
    ("tests/js/package-lock.json", &[]),
    ("node/contracts/tests/package-lock.json", &["bufferutil", "es5-ext", "utf-8-validate"]),
];

fn npm_lock(path: &str) -> Value {
    let text = fs::read_to_string(root().join(path)).expect("the lock is committed");
    serde_json::from_str(&text).expect("a lock is JSON")
}

#[test]
fn the_npm_locks_pin_every_package_by_content_and_none_by_host() {
    for (path, scripts) in NPM_LOCKS {
        let lock = npm_lock(path);
        let packages = lock["packages"].as_object().expect("a lock lists packages");
        let installed: Vec<_> = packages.iter().filter(|(path, _)| !path.is_empty()).collect();
        assert!(installed.len() > 10, "{path}");
        let mut run = Vec::new();
        for (package, entry) in installed {
            assert!(entry.get("resolved").is_none(), "{path}: {package} names a host");
            let pinned = entry["integrity"].as_str().is_some_and(|i| i.starts_with("sha512-"));
            assert!(pinned, "{path}: {package} is not pinned");
            if entry.get("hasInstallScript").is_some() {
                run.push(package.rsplit("node_modules/").next().unwrap_or_default());
            }
        }
        assert_eq!(run, scripts, "{path}: what runs code when it is installed");
        let settings = fs::read_to_string(root().join(path).with_file_name(".npmrc")).unwrap_or_default();
        assert!(run.is_empty() || settings.lines().any(|line| line == "ignore-scripts=true"), "{path}");
    }
}

#[test]
fn the_clients_are_pinned_to_the_versions_that_the_documents_name() {
    let [(clients, _), (contracts, _)] = NPM_LOCKS;
    for (path, alias, package, version) in [
        (clients, "torus-legacy", "@toruslabs/torus.js", "8.0.1"),
        (clients, "torus-newest", "@toruslabs/torus.js", "16.0.0"),
        (contracts, "fetch-node-details-legacy", "@toruslabs/fetch-node-details", "4.0.2"),
        (contracts, "fetch-node-details-newer", "@toruslabs/fetch-node-details", "8.1.1"),
    ] {
        let lock = npm_lock(path);
        let entry = &lock["packages"][format!("node_modules/{alias}")];
        assert_eq!((&entry["name"], &entry["version"]), (&package.into(), &version.into()));
    }
}

/// The network's lock, and that of the fuzz targets.
const CARGO_LOCKS: [&str; 2] = ["Cargo.lock", "tests/fuzz/Cargo.lock"];

/// What only the fuzz targets need.
const FUZZING: [&str; 4] = ["torus-fuzz", "libfuzzer-sys", "arbitrary", "jobserver"];

/// The packages of a lock: name and version, and the rest of its entry line by line.
fn packages(lock: &str) -> BTreeMap<(String, String), BTreeSet<String>> {
    let text = fs::read_to_string(root().join(lock)).expect("the lock is committed");
    let entries = text.split("[[package]]").skip(1).map(|entry| {
        let field = |name: &str| entry.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let name = (field("name = ").expect("a name"), field("version = ").expect("a version"));
        (name, entry.lines().map(str::to_owned).collect())
    });
    entries.collect()
}

#[test]
fn the_cargo_locks_take_crates_from_the_registry_alone() {
    for lock in CARGO_LOCKS {
        let text = fs::read_to_string(root().join(lock)).expect("the lock is committed");
        let sources: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("source = ")).collect();
        assert!(sources.len() > 100);
        for source in sources {
            assert_eq!(source, "\"registry+https://github.com/rust-lang/crates.io-index\"", "{lock}");
        }
    }
}

#[test]
fn without_the_advisory_database_the_check_of_dependencies_fails_and_says_how_to_go_without() {
    let output = Command::new(root().join("tests/deny")).env_remove("SKIP_ADVISORIES").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("SKIP_ADVISORIES=1"), "{}: {said}", output.status);
}

#[test]
fn the_lock_of_the_fuzz_targets_knows_what_the_networks_crates_link_now() {
    let graph = Graph::read();
    let fuzz = packages(CARGO_LOCKS[1]);
    let own = fuzz.iter().map(|((name, _), entry)| (name.trim_matches('"'), entry));
    let own: Vec<_> = own.filter(|(name, _)| name.starts_with("torus-") && *name != "torus-fuzz").collect();
    assert!(own.len() >= 10);
    for (name, entry) in own {
        let known =
            |link: &str| entry.iter().any(|line| line.trim().trim_matches(['"', ',']).split(' ').next() == Some(link));
        let unknown: Vec<_> = graph.links(name).into_iter().filter(|link| !known(link)).collect();
        assert!(
            unknown.is_empty(),
            "{name} links {unknown:?}; renew it: cargo metadata --manifest-path tests/fuzz/Cargo.toml"
        );
    }
}

#[test]
fn the_fuzz_targets_are_built_from_the_networks_versions() {
    let [network, fuzz] = CARGO_LOCKS.map(packages);
    let mut alone = BTreeSet::new();
    for (package, entry) in &fuzz {
        let name = package.0.trim_matches('"');
        match network.get(package) {
            // Features differ, and what only tests of the network need is left out here; the content is the same.
            Some(other) => {
                let pinned = |entry: &BTreeSet<String>| entry.iter().find(|line| line.starts_with("checksum")).cloned();
                assert_eq!(pinned(entry), pinned(other), "{package:?}");
            }
            None => assert!(alone.insert(name), "{name} is there twice"),
        }
    }
    assert_eq!(
        alone,
        BTreeSet::from(FUZZING),
        "renew it: cp Cargo.lock tests/fuzz/ && cargo metadata --manifest-path tests/fuzz/Cargo.toml"
    );
}
