//! Who may come in, and what a bad visitor costs.

use torus_ipc::frame::MAX_FRAME;
use torus_ipc::{Deny, IPC_VERSION, Request, Response};

use crate::network::Network;
use crate::rig::{Rig, own_uid, until};
use std::time::Duration;

#[test]
fn bad_visitors_lose_their_connection_and_nobody_else_loses_anything() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own.clone());
    let genesis = network.file.hash();
    let vault = rig.start(&genesis, None);

    let (mut node, hello) = vault.node();
    assert_eq!((hello.network, hello.index, hello.height), (genesis, own.keys.index, 0));
    assert_eq!(hello.identity, own.keys.identity);
    assert!(matches!(node.ask(&Request::Status), Response::Status(status) if status.device && status.clock));
    drop(node);

    // Another version is told ours before the door closes.
    let mut old = vault.connect();
    old.send(&Request::Hello(IPC_VERSION + 1));
    assert!(matches!(old.next_answer(), Some((_, Response::Hello(hello))) if hello.version == IPC_VERSION));
    assert_eq!(old.next_answer(), None);

    // No greeting, a second greeting, a frame above the bound, a frame below it, chunks out of order, noise.
    let mut silent = vault.connect();
    silent.send(&Request::Status);
    assert_eq!(silent.next_answer(), None);
    let (mut twice, _) = vault.node();
    twice.send(&Request::Hello(IPC_VERSION));
    assert_eq!(twice.next_answer(), None);
    for bytes in [
        ((MAX_FRAME + 1) as u32).to_be_bytes().to_vec(),
        u32::MAX.to_be_bytes().to_vec(),
        vec![0; 4],
        [&9u32.to_be_bytes()[..], &[0; 8], &[7]].concat(),
        vec![0xff; 4096],
    ] {
        let (mut bad, _) = vault.node();
        bad.raw(&bytes);
        assert_eq!(bad.next_answer(), None, "{bytes:?}");
    }

    // A request that cannot be read inside a sound frame is refused, and the connection goes on.
    let (mut node, _) = vault.node();
    node.raw(&[&11u32.to_be_bytes()[..], &77u64.to_be_bytes(), &[1, 99, 0]].concat());
    assert_eq!(node.next_answer(), Some((77, Response::Denied(Deny::Malformed))));
    assert!(matches!(node.ask(&Request::Status), Response::Status(_)));

    let log = vault.log();
    for reason in ["a frame has an impossible length", "chunks are out of order", "another version", "no greeting"] {
        assert!(log.contains(reason), "{reason} is not in\n{log}");
    }
    vault.stop();
}

#[test]
fn a_door_without_descriptors_waits_and_the_vault_goes_on() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let vault = rig.start(&network.file.hash(), None);
    drop(vault.node());
    until(Duration::from_secs(10), || vault.log().contains("connection ended").then_some(()));
    std::thread::sleep(Duration::from_millis(300));
    // The next connection would take the lowest free descriptor: none is free below the limit.
    vault.descriptors(vault.lowest_free_descriptor());
    let mut node = vault.connect();
    let id = node.send(&Request::Hello(IPC_VERSION));
    until(Duration::from_secs(10), || vault.log().contains("no connection can be taken up now").then_some(()));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(vault.log().matches("no connection can be taken up now").count(), 1, "{}", vault.log());
    // Once there are some again it serves whoever waited.
    vault.descriptors(1024);
    assert!(matches!(node.next_answer(), Some((answered, Response::Hello(_))) if answered == id));
    assert!(matches!(node.ask(&Request::Status), Response::Status(status) if status.device));
    drop(node);
    vault.stop();
}

#[test]
fn a_flood_of_unreadable_requests_is_a_few_lines_of_the_log() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let vault = rig.start(&network.file.hash(), None);
    let (mut node, _) = vault.node();
    let unreadable = [&11u32.to_be_bytes()[..], &77u64.to_be_bytes(), &[1, 99, 0]].concat();
    for _ in 0..500 {
        node.raw(&unreadable);
        assert_eq!(node.next_answer(), Some((77, Response::Denied(Deny::Malformed))));
    }
    drop(node);
    for _ in 0..100 {
        let (mut bad, _) = vault.node();
        bad.raw(&u32::MAX.to_be_bytes());
        assert_eq!(bad.next_answer(), None);
    }
    let log = vault.log();
    for kind in ["a request cannot be read", "a frame has an impossible length"] {
        let lines = log.matches(kind).count();
        assert!((1..=20).contains(&lines), "{lines} lines of {kind:?}");
    }
    assert!(log.contains("more like this are only counted"), "{log}");
    assert!(log.len() < 10_000, "{} bytes", log.len());
    vault.stop();
}

#[test]
fn another_uid_is_refused() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let vault = rig.start(&network.file.hash(), Some(own_uid() + 4242));
    let mut stranger = vault.connect();
    stranger.send(&Request::Hello(IPC_VERSION));
    assert_eq!(stranger.next_answer(), None);
    until(Duration::from_secs(10), || vault.log().contains("was refused").then_some(()));
}

#[test]
fn a_second_node_waits_until_the_first_is_gone() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let vault = rig.start(&network.file.hash(), None);
    let (first, _) = vault.node();
    let mut second = vault.connect();
    let id = second.send(&Request::Hello(IPC_VERSION));
    std::thread::sleep(Duration::from_millis(300));
    drop(first);
    assert!(matches!(second.next_answer(), Some((answered, Response::Hello(_))) if answered == id));
}
