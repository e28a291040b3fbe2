//! A member's listing in the contract: signed by its vault's identity, for this epoch or the next, a few an hour.

use std::process::Command;
use std::time::{Duration, Instant};

use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use torus_audit::Event;
use torus_ipc::{Deny, Request, Response, VoteRequest};
use torus_statement::text::ListedText;
use torus_statement::vote::{Step, Vote};
use torus_statement::{Address, Hash, Listing, Point, keccak256};

use crate::audit::{events, export};
use crate::network::{Network, now};
use crate::rig::{Node, Rig, VAULT};

/// New listings that an hour has room for.
const AN_HOUR: usize = 6;

fn listing(epoch: u64, account: u8) -> Listing {
    let text = |text| ListedText::new(text).unwrap();
    Listing {
        chain: 31_337,
        contract: Address([0xc0; 20]),
        epoch,
        account: Address([account; 20]),
        declared_ip: text("one.example.org:443"),
        bft: text("/dns4/one.example.org/tcp/18001"),
        p2p: text("/dns4/one.example.org/tcp/19001"),
    }
}

fn list(listing: &Listing) -> Request {
    Request::List(Box::new(listing.clone()))
}

fn signed(node: &mut Node, listing: &Listing) -> [u8; 65] {
    match node.ask(&list(listing)) {
        Response::Listed(signature) => signature,
        other => panic!("{other:?}"),
    }
}

/// What EIP-712 says is signed, written down once more: words of 32 bytes, texts by their hashes.
fn digest(listing: &Listing, identity: &Point) -> Hash {
    let number = |value: u64| [&[0; 24][..], &value.to_be_bytes()].concat();
    let address = |address: Address| [&[0; 12][..], &address.0].concat();
    let hash = |text: &str| keccak256(text.as_bytes()).to_vec();
    let domain = [
        hash("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
        hash("Torus NodeList"),
        hash("1"),
        number(listing.chain),
        address(listing.contract),
    ];
    let fields = [
        hash(
            "Listing(uint256 epoch,address account,string declaredIp,uint256 pubKx,uint256 pubKy,string tmP2PListenAddress,string p2pListenAddress)",
        ),
        number(listing.epoch),
        address(listing.account),
        hash(listing.declared_ip.as_str()),
        identity.to_xy().to_vec(),
        hash(listing.bft.as_str()),
        hash(listing.p2p.as_str()),
    ];
    keccak256(&[&[0x19, 1], &keccak256(&domain.concat())[..], &keccak256(&fields.concat())].concat())
}

/// Whose signature it is, as the contract finds it out.
fn signer(digest: &Hash, signature: &[u8; 65]) -> Point {
    assert!(matches!(signature[64], 27 | 28), "v {}", signature[64]);
    let raw = Signature::from_slice(&signature[..64]).unwrap();
    assert!(raw.normalize_s().is_none(), "s is in the lower half");
    let id = RecoveryId::from_byte(signature[64] - 27).unwrap();
    let key = VerifyingKey::recover_from_prehash(digest, &raw, id).unwrap();
    Point::from_affine(*key.as_affine()).unwrap()
}

fn prevote(round: u32) -> Request {
    let vote = Vote { step: Step::Prevote, height: 1, round, block: None };
    Request::SignVote(VoteRequest { vote, evidence: vec![] })
}

#[test]
fn a_member_is_listed_by_its_vaults_identity_for_this_epoch_or_the_next_and_it_is_on_record() {
    let (rig, own) = Rig::made();
    let identity = own.keys.identity;
    let network = Network::found(&rig, own);
    let vault = rig.start(&network.file.hash(), None);
    let (mut node, _) = vault.node();
    let (this, next) = (listing(1, 1), listing(2, 1));
    let first = signed(&mut node, &this);
    let second = signed(&mut node, &next);
    for (listing, signature) in [(&this, &first), (&next, &second)] {
        assert_eq!(signer(&digest(listing, &identity), signature), identity);
        assert!(listing.verifies(&identity, signature));
    }
    assert_ne!(signer(&digest(&listing(1, 2), &identity), &first), identity, "for no other account");
    for epoch in [0, 3, u64::MAX] {
        assert_eq!(node.denied(&list(&listing(epoch, 1))), Deny::Epoch);
    }
    assert_eq!(signed(&mut node, &this), first);
    // On record before it left: a kill at once takes nothing away, and the same listing has the same signature.
    vault.kill();
    let vault = rig.start_unasked();
    let (mut node, _) = vault.node();
    assert_eq!(signed(&mut node, &this), first);
    assert_eq!(signed(&mut node, &next), second);
    drop(node);
    vault.stop();
    let copy = export(&rig, "copy");
    let found: Vec<Event> =
        events(&copy, &identity).into_iter().filter(|event| matches!(event, Event::Listed { .. })).collect();
    let expected = [&this, &next].map(|listing| Event::Listed {
        epoch: listing.epoch,
        account: listing.account,
        contract: listing.contract,
        chain: listing.chain,
        digest: digest(listing, &identity),
    });
    assert_eq!(found, expected, "each once, however often it was asked for");
    let key = torus_statement::receipt::hex(&identity.to_compressed());
    let shown = Command::new(VAULT).args(["audit", "show"]).arg(&copy).args(["--key", &key]).output().unwrap();
    let account = format!("listing signed for epoch 2: account 0x{}", "01".repeat(20));
    assert!(String::from_utf8_lossy(&shown.stdout).contains(&account), "{shown:?}");
}

#[test]
fn a_node_that_asks_for_listings_without_end_gets_a_few_and_votes_go_on() {
    let (rig, own) = Rig::made();
    let identity = own.keys.identity;
    let network = Network::found(&rig, own);
    let vault = rig.start(&network.file.hash(), None);
    let (mut node, _) = vault.node();
    let first = signed(&mut node, &listing(1, 0));
    let mut got = 1;
    for round in 0..4u32 {
        // As many as the votes' queue holds beside a vote, all of them before it.
        let asked: Vec<u64> = (1..=60u8).map(|at| node.send(&list(&listing(1, 60 * round as u8 + at)))).collect();
        let vote = node.send(&prevote(0));
        let began = Instant::now();
        for _ in 0..=asked.len() {
            match node.next_answer().unwrap() {
                (id, Response::Vote(_)) if id == vote => {}
                (id, Response::Listed(_)) if asked.contains(&id) => got += 1,
                (id, Response::Denied(Deny::Quota)) if asked.contains(&id) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
    assert_eq!(got, AN_HOUR);
    // What was signed is given again; a restart gives nothing back.
    assert_eq!(signed(&mut node, &listing(1, 0)), first);
    assert!(vault.log().contains("more than 6 new listings in an hour"), "{}", vault.log());
    drop(node);
    vault.stop();
    let vault = rig.start_unasked();
    let (mut node, _) = vault.node();
    assert_eq!(node.denied(&list(&listing(2, 1))), Deny::Quota);
    assert_eq!(signed(&mut node, &listing(1, 0)), first);
    assert!(matches!(node.ask(&prevote(0)), Response::Vote(_)));
    drop(node);
    vault.stop();
    let listed = events(&export(&rig, "copy"), &identity).into_iter();
    assert_eq!(listed.filter(|event| matches!(event, Event::Listed { .. })).count(), AN_HOUR);
}

#[test]
fn a_vault_that_is_frozen_or_contradicts_itself_lists_nobody() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let vault = rig.start(&network.file.hash(), None);
    let (mut node, _) = vault.node();
    let operator = |verb: &str| {
        let done = Command::new(VAULT).arg(verb).arg("--data").arg(rig.path("data")).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    let first = signed(&mut node, &listing(1, 1));
    operator("freeze");
    for account in [1, 2] {
        assert_eq!(node.denied(&list(&listing(1, account))), Deny::Frozen, "not even what was signed before");
    }
    operator("unfreeze");
    assert_eq!(signed(&mut node, &listing(1, 1)), first);
    let header = |state| network.certify(network.header(1, network.genesis(), now(), state));
    assert_eq!(node.ask(&Request::Advance(Box::new(header([1; 32])))), Response::Done);
    assert_eq!(node.denied(&Request::Advance(Box::new(header([2; 32])))), Deny::Header);
    for account in [1, 2] {
        assert_eq!(node.denied(&list(&listing(1, account))), Deny::Frozen);
    }
}
