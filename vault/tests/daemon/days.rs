//! A vault whose clock runs: what its libraries do once in hours happens within the test.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use torus_ipc::{Request, Response};

use crate::network::Network;
use crate::rig::{Rig, until};

/// An hour a second: OpenSSL's generators reseed after an hour at the latest, by a system call that nothing else makes.
const RUN: Duration = Duration::from_secs(6);

/// The library that gives one process another clock, where Debian's package libfaketime and others put it.
fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let folders = folders.chain(["/usr/lib".into(), "/usr/lib64".into()]);
    folders.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|library| library.exists())
}

#[test]
fn a_vault_whose_clock_runs_for_days_still_signs() {
    let library = faketime().expect("faketime is missing: make deps-test");
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let library = library.display();
    let faster = format!("export LD_PRELOAD={library} FAKETIME='+0 x36000' DONT_FAKE_MONOTONIC=1;");
    let vault = rig.start_after(&faster, &network.file.hash(), None);
    let (mut node, _) = vault.node();
    let (started, mut signed) = (Instant::now(), 0);
    while started.elapsed() < RUN {
        match node.ask(&Request::SignProofOfValidator(vec![7; 38])) {
            Response::Signature(_) => signed += 1,
            other => panic!("{other:?}\n{}", vault.log()),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(signed > 100, "{signed}");
    // Its log is the witness that its clock ran. It is killed: the library that runs the clock removes a file at the end,
    // which the vault's filter does not let it.
    drop(node);
    until(Duration::from_secs(20), || vault.log().contains("connection ended").then_some(()));
    let log = vault.log();
    vault.kill();
    let day = |line: Option<&str>| line.map(|line| line[..10].to_owned());
    assert_ne!(day(log.lines().next()), day(log.lines().last()), "{log}");
}
