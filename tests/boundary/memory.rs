//! The vault takes every secret's place of its own memory: the heap as a pool is for tests and for devices.

use std::fs;
use std::path::{Path, PathBuf};

/// What the vault is built of, where secrets are.
const CRATES: [&str; 4] = ["vault/src", "vault/protocol/src", "vault/audit/src", "vault/hsm/src"];
/// The pool that is not for it.
const HEAP: &str = "Heap";

/// What is built into the vault of a source file: all but its tests.
fn built(source: &str) -> &str {
    source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_vault_takes_no_secret_of_the_heap() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap();
    let mut files = Vec::new();
    CRATES.iter().for_each(|folder| sources(&root.join(folder), &mut files));
    let test = |path: &PathBuf| {
        let text = path.to_string_lossy();
        text.contains("/tests/") || text.ends_with("/tests.rs") || text.ends_with("/bounds.rs")
    };
    let (tests, built_in): (Vec<_>, Vec<_>) = files.into_iter().partition(test);
    let uses = |path: &&PathBuf| built(&fs::read_to_string(path).unwrap()).contains(HEAP);
    assert!(tests.iter().any(|path| uses(&path)), "tests do: this would find it");
    assert!(built_in.len() > 60, "{}", built_in.len());
    let found: Vec<_> = built_in.iter().filter(uses).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn what_a_file_has_for_its_tests_is_not_built_in() {
    assert_eq!(built("use a;\n\n#[cfg(test)]\nmod tests {\n    use torus_memory::Heap;\n}\n"), "use a;\n\n");
    assert!(built("#[cfg(test)]\nmod secrecy;\nuse torus_memory::Heap;\n").contains(HEAP));
}
