//! Commitments and their receipts over restarts.

use std::time::Duration;

use torus_ipc::{Deny, Request, Response, Status};
use torus_statement::receipt::{Receipt, SignedReceipt, reserved};
use torus_statement::text::VerifierName;
use torus_statement::{Hash, Point, Signature, keccak256};

use crate::network::{Network, public};
use crate::rig::{Node, Rig, until};

pub(crate) fn temporary(number: u8) -> Point {
    public(&k256::ecdsa::SigningKey::from_slice(&[number; 32]).unwrap())
}

pub(crate) fn ask(token: Hash, key: u8, verifier: &str) -> Request {
    Request::Commit { token, temporary: temporary(key), verifier: VerifierName::new(verifier).unwrap() }
}

/// The receipt, checked as clients check it.
pub(crate) fn receipt(network: &Network, node: &mut Node, request: &Request) -> (SignedReceipt, Receipt) {
    match node.ask(request) {
        Response::Receipt(receipt) => {
            let (rs, _) = receipt.signature.split_at(64);
            let signature = Signature::from_bytes(rs.try_into().unwrap()).unwrap();
            let identity = network.config().keys().certificates[0].keys.identity;
            let recovered = signature.with_recovery(&identity, &keccak256(receipt.data.as_bytes()));
            assert_eq!(recovered, Some(receipt.signature));
            let signed = SignedReceipt { data: receipt.data, signature };
            let fields = signed.verify(network.config()).unwrap();
            (signed, fields)
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) fn status(node: &mut Node) -> Status {
    match node.ask(&Request::Status) {
        Response::Status(status) => status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_commitment_survives_and_a_start_that_was_not_clean_waits() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let genesis = network.file.hash();

    // A new vault has nothing to wait for: receipts at once.
    let vault = rig.start(&genesis, None);
    let (mut node, _) = vault.node();
    let (signed, fields) = receipt(&network, &mut node, &ask([1; 32], 1, "demo"));
    assert_eq!((fields.token, fields.temporary), ([1; 32], temporary(1)));
    assert_eq!(receipt(&network, &mut node, &ask([1; 32], 1, "demo")).1, fields);
    assert_eq!(node.denied(&ask([1; 32], 2, "demo")), Deny::Held);
    assert_eq!(node.denied(&ask([1; 32], 2, "other")), Deny::Held);
    assert_eq!(node.denied(&ask(reserved(&[1; 32]), 2, "demo")), Deny::Held);
    assert_eq!(node.denied(&ask([5; 32], 1, "nobody")), Deny::Verifier);
    assert_eq!(receipt(&network, &mut node, &ask([1; 32], 1, "other")).1.time, fields.time);
    // Somebody commits the aggregate form first: the plain form is his from then on.
    receipt(&network, &mut node, &ask(reserved(&[2; 32]), 3, "demo"));
    assert_eq!(node.denied(&ask([2; 32], 4, "demo")), Deny::Held);
    let not_before = status(&mut node).not_before;
    assert_eq!(not_before, fields.not_before);
    vault.stop();

    // After a clean stop nothing waits and nothing is forgotten.
    let vault = rig.start(&genesis, None);
    let (mut node, _) = vault.node();
    assert_eq!(receipt(&network, &mut node, &ask([1; 32], 1, "demo")).0.data, signed.data);
    assert_eq!(status(&mut node).not_before, not_before);
    vault.kill();

    // After SIGKILL no receipt for the window and more, a later not-before, and still nothing forgotten.
    let vault = rig.start(&genesis, None);
    let (mut node, _) = vault.node();
    assert_eq!(node.denied(&ask([3; 32], 5, "demo")), Deny::Settling);
    assert_eq!(node.denied(&ask([1; 32], 1, "demo")), Deny::Settling);
    let settling = status(&mut node);
    assert!(settling.not_before > not_before && settling.receipts_from * 1000 > settling.time);
    // A clean stop while it waits does not end the waiting.
    vault.stop();
    let vault = rig.start(&genesis, None);
    let (mut node, _) = vault.node();
    assert_eq!(status(&mut node).receipts_from, settling.receipts_from);
    let again = until(Duration::from_secs(40), || match node.ask(&ask([1; 32], 1, "demo")) {
        Response::Denied(Deny::Settling) => None,
        Response::Receipt(receipt) => Some(receipt.data),
        other => panic!("{other:?}"),
    });
    assert_eq!(again, signed.data);
    assert_eq!(node.denied(&ask([1; 32], 2, "demo")), Deny::Held);
    assert!(receipt(&network, &mut node, &ask([3; 32], 5, "demo")).1.not_before >= settling.not_before);
}

#[test]
fn outside_the_certified_band_nothing_is_committed() {
    let (rig, own) = Rig::made();
    let network = Network::found_at(&rig, own, crate::network::now() - 301_000);
    let vault = rig.start(&network.file.hash(), None);
    let (mut node, _) = vault.node();
    assert!(!status(&mut node).clock);
    assert_eq!(node.denied(&ask([1; 32], 1, "demo")), Deny::Clock);
    // A new block brings the time back.
    let header = network.header(1, network.genesis(), crate::network::now(), [0; 32]);
    assert_eq!(node.ask(&Request::Advance(Box::new(network.certify(header)))), Response::Done);
    assert!(status(&mut node).clock);
    receipt(&network, &mut node, &ask([1; 32], 1, "demo"));
}

#[test]
fn two_keys_that_race_for_one_hash_never_both_get_it() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let vault = rig.start(&network.file.hash(), None);
    let (mut node, _) = vault.node();
    // Sent without waiting, so that the workers' groups meet: key 1 and key 2 ask for the same 40 hashes.
    let mut sent = Vec::new();
    for token in 0..40u8 {
        for key in if token % 2 == 0 { [1, 2] } else { [2, 1] } {
            sent.push((node.send(&ask([token; 32], key, "demo")), token));
        }
    }
    let mut winners = [0; 40];
    for _ in 0..sent.len() {
        let (id, answer) = node.next_answer().unwrap();
        let (_, token) = sent.iter().find(|(sent, _)| *sent == id).unwrap();
        match answer {
            Response::Receipt(_) => winners[usize::from(*token)] += 1,
            Response::Denied(deny) => assert_eq!(deny, Deny::Held),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(winners, [1; 40]);
}

#[test]
fn on_a_full_disk_commitments_are_refused_and_none_that_was_answered_is_lost() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let genesis = network.file.hash();
    // Files end at 256 blocks of 512 bytes: the store meets the same errors as on a full disk.
    let vault = rig.start_after("ulimit -f 256;", &genesis, None);
    let (mut node, _) = vault.node();
    let mut answered = Vec::new();
    let full = (0..2000u32).any(|number| {
        let request = ask(keccak256(&number.to_be_bytes()), 1, "demo");
        match node.ask(&request) {
            Response::Receipt(receipt) => answered.push((request, receipt.data)),
            Response::Denied(deny) => {
                assert_eq!(deny, Deny::Store);
                return true;
            }
            other => panic!("{other:?}"),
        }
        false
    });
    assert!(full && answered.len() > 10, "{} answered", answered.len());
    assert!(vault.log().contains("nothing was stored"), "{}", vault.log());
    // It still serves what needs no room, and is whole after a kill.
    assert!(status(&mut node).device);
    vault.kill();
    let vault = rig.start(&genesis, None);
    let (mut node, _) = vault.node();
    for (request, data) in &answered {
        let again = until(Duration::from_secs(40), || match node.ask(request) {
            Response::Denied(Deny::Settling) => None,
            Response::Receipt(receipt) => Some(receipt.data),
            other => panic!("{other:?}"),
        });
        assert_eq!(again, *data);
    }
}
