//! A member that goes and comes back, and what waits for it meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use libp2p::identity::Keypair;
use tokio::sync::mpsc;
use torus_statement::Index;

use super::{Inbound, P2p, Peer, start};

fn member(index: u8, port: u16) -> (Keypair, Peer) {
    let key = Keypair::generate_ed25519();
    let id = key.public().to_peer_id();
    let address = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
    (key, Peer { index: Index::new(index).unwrap(), id, address })
}

async fn next(incoming: &mut mpsc::Receiver<Inbound>) -> Vec<u8> {
    let message = tokio::time::timeout(Duration::from_secs(20), incoming.recv()).await.unwrap().unwrap();
    message.ack.accept();
    message.bytes
}

async fn connected(p2p: &P2p, count: usize) {
    let reached = async {
        while p2p.connected() != count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap();
}

#[tokio::test]
async fn a_member_that_comes_back_gets_what_was_sent_meanwhile() {
    let ((key1, one), (key2, two)) = (member(1, 21_881), member(2, 21_882));
    let (first, _inbox) = start(key1, one.address.clone(), vec![two.clone()]).unwrap();
    let (second, mut from_one) = start(key2.clone(), two.address.clone(), vec![one.clone()]).unwrap();
    first.send(two.index, vec![0]).await;
    assert_eq!(next(&mut from_one).await, [0]);

    // It goes: its task ends with the last handle, its connections with the task.
    drop((second, from_one));
    connected(&first, 0).await;
    for number in 1..=100 {
        first.send(two.index, vec![number]).await;
    }

    // The port may be held for a moment by the task that ends.
    let (_second, mut from_one) = start(key2, two.address.clone(), vec![one.clone()]).unwrap();
    // At least once: what it had not acknowledged when it went comes again, too.
    let mut got = BTreeSet::new();
    while got.range(1..).count() < 100 {
        got.extend(next(&mut from_one).await);
    }
    connected(&first, 1).await;
    let more = tokio::time::timeout(Duration::from_millis(500), from_one.recv()).await;
    assert!(more.is_err(), "what was acknowledged came again");
}

#[tokio::test]
async fn messages_for_a_member_that_is_away_are_bounded_and_hold_up_no_other() {
    let ((key1, one), (_, away), (key3, three)) = (member(1, 21_883), member(2, 21_884), member(3, 21_885));
    let (first, _inbox) = start(key1, one.address.clone(), vec![away.clone(), three.clone()]).unwrap();
    let (_third, mut from_one) = start(key3, three.address.clone(), vec![one.clone()]).unwrap();
    connected(&first, 1).await;
    // More than fits: the rest is dropped, and whoever sends is not held up.
    let send = async {
        for _ in 0..super::QUEUE + 1000 {
            first.send(away.index, vec![7; 16]).await;
        }
        first.send(three.index, vec![3]).await;
    };
    tokio::time::timeout(Duration::from_secs(20), send).await.unwrap();
    assert_eq!(next(&mut from_one).await, [3]);
}
