//! What is committed names no host to download from: registries are the installing machine's to choose.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_npm_lock_pins_every_package_by_content_and_none_by_host() {
    let text = fs::read_to_string(root().join("tests/js/package-lock.json")).expect("the lock is committed");
    let lock: Value = serde_json::from_str(&text).expect("a lock is JSON");
    let packages = lock["packages"].as_object().expect("a lock lists packages");
    let installed: Vec<_> = packages.iter().filter(|(path, _)| !path.is_empty()).collect();
    assert!(installed.len() > 10);
    for (path, package) in installed {
        assert!(package.get("resolved").is_none(), "{path} names a host");
        assert!(package["integrity"].as_str().is_some_and(|i| i.starts_with("sha512-")), "{path} is not pinned");
        assert!(package.get("hasInstallScript").is_none(), "{path} runs code when installed");
    }
}

#[test]
fn the_clients_are_pinned_to_the_versions_that_the_documents_name() {
    let text = fs::read_to_string(root().join("tests/js/package-lock.json")).expect("the lock is committed");
    let lock: Value = serde_json::from_str(&text).expect("a lock is JSON");
    for (alias, version) in [("torus-legacy", "8.0.1"), ("torus-newest", "16.0.0")] {
        let package = &lock["packages"][format!("node_modules/{alias}")];
        assert_eq!((&package["name"], &package["version"]), (&"@toruslabs/torus.js".into(), &version.into()));
    }
}

#[test]
fn the_cargo_lock_takes_crates_from_the_registry_alone() {
    let text = fs::read_to_string(root().join("Cargo.lock")).expect("the lock is committed");
    let sources: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("source = ")).collect();
    assert!(sources.len() > 100);
    for source in sources {
        assert_eq!(source, "\"registry+https://github.com/rust-lang/crates.io-index\"");
    }
}
