//! The unit files, judged by systemd itself.

use std::path::Path;
use std::process::Command;

/// Tenths: an exposure of 1.0 or less.
const MOST: &str = "10";

#[test]
fn the_unit_files_leave_an_exposure_of_one_or_less() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/systemd");
    for unit in ["torus-vault.service", "torus-node.service"] {
        let judged = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", "--threshold", MOST])
            .arg(root.join(unit).canonicalize().unwrap())
            .output()
            .expect("systemd-analyze is missing: make deps-test");
        let said = String::from_utf8_lossy(&judged.stdout).into_owned();
        assert!(judged.status.success() && said.contains("Overall exposure level"), "{unit}: {said}");
    }
    // The gate is one: a unit without any of it is refused.
    let dir = tempfile::tempdir().unwrap();
    let bare = dir.path().join("bare.service");
    std::fs::write(&bare, "[Service]\nExecStart=/bin/true\n").unwrap();
    let judged = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "--threshold", MOST])
        .arg(&bare)
        .output()
        .unwrap();
    assert!(!judged.status.success());
}

#[test]
fn the_unit_files_keep_the_vault_apart() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/systemd");
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let (vault, node, socket) = (read("torus-vault.service"), read("torus-node.service"), read("torus-vault.socket"));
    for line in [
        "Type=notify",
        "LoadCredential=pin:",
        // With both, a file that is not there leaves the defaults.
        "LoadCredential=limits:/etc/torus/limits",
        "SetCredential=limits:#",
        "PrivateNetwork=yes",
        "RestartPreventExitStatus=3",
        "User=torus-vault",
    ] {
        assert!(vault.lines().any(|found| found.starts_with(line)), "{line}");
    }
    assert!(vault.contains(" --limits-file %d/limits\n"));
    assert!(node.contains("\nType=notify\n") && node.contains("\nUser=torus-node\n"));
    assert!(socket.contains("\nSocketUser=torus-node\n") && socket.contains("\nSocketMode=0600\n"));
}

#[test]
fn systemd_passes_over_nothing_in_the_unit_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/systemd").canonicalize().unwrap();
    // What a unit names need not be installed here; what it says must be read.
    let verify = |unit: &Path| {
        let said = Command::new("systemd-analyze").arg("verify").arg(unit).output().expect("make deps-test");
        String::from_utf8_lossy(&said.stderr).into_owned()
    };
    let misread = |said: &str| ["ignoring", "Unknown", "Invalid"].iter().any(|word| said.contains(word));
    for unit in ["torus-vault.service", "torus-node.service", "torus-vault.socket"] {
        let said = verify(&root.join(unit));
        assert!(!misread(&said), "{said}");
    }
    let dir = tempfile::tempdir().unwrap();
    let wrong = dir.path().join("wrong.service");
    std::fs::write(&wrong, "[Service]\nExecStart=/bin/true\nSetCredential=limits:\n").unwrap();
    assert!(misread(&verify(&wrong)), "what it does not read it tells");
}
