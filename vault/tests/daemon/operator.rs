//! The operator's own socket, and what the doctor hears over it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::network::Network;
use crate::rig::{Rig, VAULT};

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
