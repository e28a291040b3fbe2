//! Tokens that fail the start-up gate: the process ends, names the check that failed, and has done nothing by then.

use torus_ipc::{IPC_VERSION, Request};

use crate::network::Network;
use crate::rig::Rig;

/// Takes AES-GCM away by SoftHSM's list of mechanisms, as an operator's slip does; gives the sound configuration.
fn take_sealing_away(rig: &Rig) -> String {
    let sound = std::fs::read_to_string(rig.path("softhsm.conf")).unwrap();
    let lacking = format!("{sound}slots.mechanisms = CKM_ECDSA,CKM_ECDH1_DERIVE\n");
    std::fs::write(rig.path("softhsm.conf"), lacking).unwrap();
    sound
}

/// The gate's words for a token without AES-GCM; 3 is the code of a refused PIN, which this is not.
fn refused_for_want_of_sealing(code: Option<i32>, said: &str) {
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("the token fails the start-up gate and is not used") && said.contains("sealing-opens"),
        "{said}"
    );
}

#[test]
fn init_with_a_token_that_fails_the_gate_names_the_check_and_makes_nothing() {
    let rig = Rig::empty();
    let sound = take_sealing_away(&rig);
    let made = rig.init(&["--create-token", "--so-pin-file", rig.path("so-pin").to_str().unwrap()]);
    refused_for_want_of_sealing(made.status.code(), &String::from_utf8_lossy(&made.stderr));
    assert!(!rig.path("data").exists() && !rig.path("member.json").exists());
    // No key was made either: init runs once, and on the same token it still may.
    std::fs::write(rig.path("softhsm.conf"), sound).unwrap();
    let made = rig.init(&[]);
    assert!(made.status.success(), "{made:?}");
}

#[test]
fn a_token_that_fails_the_gate_is_not_served_with_and_the_check_is_named() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let genesis = network.file.hash();
    let starts = |expected: &str| {
        let doctor = rig.command("doctor").output().unwrap();
        let found = String::from_utf8_lossy(&doctor.stdout).into_owned();
        assert!(found.contains(expected), "{found}");
        (doctor.status.success(), found)
    };
    assert!(starts("start 1, stopped cleanly").0);

    let sound = take_sealing_away(&rig);
    let vault = rig.start(&genesis, None);
    let mut node = vault.connect();
    node.send(&Request::Hello(IPC_VERSION));
    let (code, log) = vault.ended();
    refused_for_want_of_sealing(code, &log);
    assert_eq!(node.next_answer(), None);
    assert!(!log.contains("serving") && !log.contains("locked down"), "{log}");
    let (healthy, found) = starts("start 1, stopped cleanly");
    assert!(!healthy && found.contains("FAIL  gate/sealing-opens"), "{found}");

    // It was no start at all: the same token, sound again, goes on where it stopped.
    std::fs::write(rig.path("softhsm.conf"), sound).unwrap();
    let vault = rig.start(&genesis, None);
    vault.node();
    assert!(vault.log().contains("start 2,") && !vault.log().contains("not clean"), "{}", vault.log());
    vault.stop();
}
