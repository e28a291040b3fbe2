//! The operator's own socket, and what the doctor hears over it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::commits::status;
use crate::network::Network;
use crate::rig::{Rig, VAULT};

#[test]
fn a_vault_without_landlock_says_so_to_its_node_and_to_the_doctor() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let genesis = network.file.hash();
    let doctor = || {
        let found = rig.command("doctor").output().unwrap();
        let text = String::from_utf8_lossy(&found.stdout).into_owned();
        assert!(found.status.success(), "{text}");
        text.lines().find(|line| line.contains("  landlock ")).map(str::to_owned)
    };
    for (more, landlock, said) in [(&["--without-landlock"][..], false, "warn"), (&[], true, "pass")] {
        let vault = rig.start_with(more, &genesis);
        assert_eq!(status(&mut vault.node().0).landlock, landlock);
        let line = doctor().unwrap();
        assert!(line.starts_with(said), "{line}");
        // Its log tells it once, and neither question is worth a line.
        assert_eq!(vault.log().contains("without Landlock"), !landlock, "{}", vault.log());
        assert!(!vault.log().contains("the operator's connection"), "{}", vault.log());
        vault.stop();
        std::fs::remove_file(rig.path("log")).unwrap();
    }
    assert_eq!(doctor(), None, "no vault runs");
}

#[test]
fn a_connection_that_says_nothing_or_never_ends_its_line_does_not_hold_up_the_operators_word() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let vault = rig.start(&network.file.hash(), None).served();
    let connect = || UnixStream::connect(rig.path("data").join("operator.sock")).unwrap();
    let (mut silent, mut trickling) = (connect(), connect());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // A byte as often as keeps a read with a timeout content, and never the end of the line.
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) && trickling.write_all(b"f").is_ok() {
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let began = Instant::now();
        let said = Command::new(VAULT).arg("freeze").arg("--data").arg(rig.path("data")).output().unwrap();
        let took = began.elapsed();
        over.store(true, Ordering::Relaxed);
        assert!(said.status.success(), "after {took:?}: {said:?}");
        assert!(took < Duration::from_secs(9), "{took:?}");
    });
    // Both were given up.
    assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(vault.log().matches("no whole line came in time").count(), 2, "{}", vault.log());
    assert!(vault.log().contains("FROZEN"));
    vault.stop();
}
