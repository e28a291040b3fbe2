//! A member that goes and comes back, and what waits for it meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use libp2p::identity::Keypair;
use tokio::sync::mpsc;
use torus_statement::Index;

use super::{Inbound, P2p, Peer, start};
use crate::names::tests::Server;
use crate::place::{Place, multiaddr};

fn member(index: u8, port: u16) -> (Keypair, Peer) {
    let key = Keypair::generate_ed25519();
    let id = key.public().to_peer_id();
    let place = Place::parse(&format!("/ip4/127.0.0.1/tcp/{port}")).unwrap();
    (key, Peer { index: Index::new(index).unwrap(), id, place })
}

fn at(peer: &Peer) -> libp2p::Multiaddr {
    multiaddr(peer.place.address().unwrap())
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
    let (first, _inbox) = start(key1, at(&one), vec![two.clone()], None).unwrap();
    let (second, mut from_one) = start(key2.clone(), at(&two), vec![one.clone()], None).unwrap();
    first.send(two.index, vec![0]).await;
    assert_eq!(next(&mut from_one).await, [0]);

    // It goes: its task ends with the last handle, its connections with the task.
    drop((second, from_one));
    connected(&first, 0).await;
    for number in 1..=100 {
        first.send(two.index, vec![number]).await;
    }

    // The port may be held for a moment by the task that ends.
    let (_second, mut from_one) = start(key2, at(&two), vec![one.clone()], None).unwrap();
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
    let (first, _inbox) = start(key1, at(&one), vec![away.clone(), three.clone()], None).unwrap();
    let (_third, mut from_one) = start(key3, at(&three), vec![one.clone()], None).unwrap();
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

#[tokio::test]
async fn a_member_whose_name_leads_elsewhere_is_dialled_there() {
    let ((key1, one), (key2, two)) = (member(1, 21_886), member(2, 21_887));
    let server = Server::start(&[("two.test", &["127.0.0.3"])]).await;
    let named = Peer { place: Place::parse("/dns4/two.test/tcp/21887").unwrap(), ..two.clone() };
    let (first, _inbox) = start(key1, at(&one), vec![named], Some(Arc::new(server.names()))).unwrap();
    // It knows where nobody is, so that it can only be found.
    let nowhere = Peer { place: Place::parse("/ip4/127.0.0.1/tcp/1").unwrap(), ..one.clone() };
    let (second, mut from_one) = start(key2.clone(), at(&two), vec![nowhere.clone()], None).unwrap();
    first.send(two.index, vec![1]).await;
    assert!(tokio::time::timeout(Duration::from_secs(2), from_one.recv()).await.is_err());
    server.set(&[("two.test", &["127.0.0.1"])]);
    assert_eq!(next(&mut from_one).await, [1]);

    drop((second, from_one));
    connected(&first, 0).await;
    let elsewhere = "/ip4/127.0.0.2/tcp/21887".parse().unwrap();
    let (_second, mut from_one) = start(key2, elsewhere, vec![nowhere], None).unwrap();
    server.set(&[("two.test", &["127.0.0.2"])]);
    first.send(two.index, vec![2]).await;
    // What was not acknowledged when it went comes again first.
    while next(&mut from_one).await != [2] {}
    server.no_datagram_came();
}
