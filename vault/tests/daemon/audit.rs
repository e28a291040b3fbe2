//! The audit log of a process: what is in it, what a copy proves, and what a vault that forgot is told by its peers.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use torus_audit::{Event, Operator, Record, Verifier};
use torus_ipc::{Deny, Request, Response, SeenAudit, VoteRequest};
use torus_statement::audit::Order;
use torus_statement::codec::Wire;
use torus_statement::receipt::hex;
use torus_statement::state::{AuditEntry, Proven, key};
use torus_statement::vote::{Step, Vote};
use torus_statement::{Hash, Index, PublicKey, SignedAuditHead};

use crate::commits::{ask, receipt, temporary};
use crate::network::{Network, now};
use crate::reveals::{prove, root};
use crate::rig::{Node, Rig, VAULT};

/// A copy of a vault's log, as its operator takes it.
pub(crate) fn export(rig: &Rig, name: &str) -> PathBuf {
    let out = rig.path(name);
    let done = audit(&["export", "--data"], &rig.path("data"), &["--out", out.to_str().unwrap()]);
    assert!(done.status.success(), "{done:?}");
    out
}

/// `torus-vault audit`.
fn audit(verb: &[&str], path: &Path, more: &[&str]) -> Output {
    Command::new(VAULT).arg("audit").args(verb).arg(path).args(more).output().unwrap()
}

fn verify(copy: &Path, identity: &PublicKey, more: &[&str]) -> Output {
    let key = hex(&identity.to_compressed());
    audit(&["verify"], copy, &[["--key", key.as_str()].as_slice(), more].concat())
}

/// The records of a copy that is proven.
pub(crate) fn records(copy: &Path, identity: &PublicKey) -> Vec<Record> {
    let mut records = Vec::new();
    let mut verifier = Verifier::new(*identity, None);
    verifier.push(&std::fs::read(copy).unwrap(), |record| records.push(record.clone()));
    verifier.finish().unwrap();
    records
}

pub(crate) fn events(copy: &Path, identity: &PublicKey) -> Vec<Event> {
    records(copy, identity).into_iter().map(|record| record.event).collect()
}

fn head(node: &mut Node, seen: Option<SeenAudit>) -> Result<Option<SignedAuditHead>, Deny> {
    match node.ask(&Request::AuditHead(seen.map(Box::new))) {
        Response::AuditHead(head) => Ok(head),
        Response::Denied(deny) => Err(deny),
        other => panic!("{other:?}"),
    }
}

/// What the log holds of member 1's log, certified.
fn seen(network: &Network, height: u64, parent: Hash, newest: SignedAuditHead) -> SeenAudit {
    let value = AuditEntry { newest, contradiction: None };
    let leaves = vec![(key::audit(Index::new(1).unwrap()), value.to_bytes())];
    let header = network.certify(network.header(height, parent, now(), root(&leaves)));
    SeenAudit { header, entry: Proven { value, proof: prove(&leaves, 0) } }
}

fn copy_all(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn a_life_is_on_record_and_any_change_of_a_copy_fails_the_command() {
    let (rig, own) = Rig::made();
    let identity = own.keys.identity;
    let network = Network::found(&rig, own);
    let vault = rig.start(&network.file.hash(), None);
    let (mut node, _) = vault.node();
    receipt(&network, &mut node, &ask([1; 32], 1, "demo"));
    receipt(&network, &mut node, &ask([1; 32], 1, "demo"));
    assert_eq!(node.denied(&ask([1; 32], 2, "demo")), Deny::Held);
    assert_eq!(node.denied(&ask([2; 32], 2, "nobody")), Deny::Verifier);
    let first = network.certify(network.header(1, network.genesis(), now(), [0; 32]));
    assert_eq!(node.ask(&Request::Advance(Box::new(first.clone()))), Response::Done);
    // A lock: a precommit with its polka.
    let vote = |step| Vote { step, height: 2, round: 0, block: Some([7; 32]) };
    let polka = (2..=5).map(|member| network.vote(member, vote(Step::Prevote))).collect();
    let precommit = Request::SignVote(VoteRequest { vote: vote(Step::Precommit), evidence: polka });
    assert!(matches!(node.ask(&precommit), Response::Vote(signed) if signed.vote.block == Some([7; 32])));
    // A copy may be taken while it runs; it is proven once there is a signed head.
    let early = export(&rig, "early");
    assert_eq!(verify(&early, &identity, &[]).status.code(), Some(1));
    drop(node);
    vault.stop();

    let copy = export(&rig, "copy");
    let found = events(&copy, &identity);
    let refused = vec![(Deny::Held.code(), 1), (Deny::Verifier.code(), 1)];
    assert!(
        matches!(
            found.as_slice(),
            [
                Event::Made { .. },
                Event::Operator(Operator::Trusted { .. }),
                Event::Epoch { epoch: 1, .. },
                Event::Start { start: 2, standing: torus_audit::Standing::Clean },
                Event::Keys { epoch: 2, attempt: 0, act: torus_audit::KeyAct::Made },
                Event::Lock { height: 2, round: 0, .. },
                Event::Commits { count: 1, .. },
                Event::Denials { counts, .. },
                Event::Stop { start: 2 },
                Event::Checkpoint(_),
            ] if *counts == refused
        ),
        "{found:?}"
    );
    let good = verify(&copy, &identity, &[]);
    assert!(good.status.success() && String::from_utf8_lossy(&good.stdout).contains("the records below 9"), "{good:?}");

    // The head that the node brings to the log is in it, and no other.
    let vault = rig.start(&network.file.hash(), None);
    let newest = head(&mut vault.node().0, None).unwrap().unwrap();
    vault.kill();
    assert_eq!(newest.head.count, 9);
    assert!(verify(&copy, &identity, &["--head", &hex(&newest.head.link)]).status.success());
    assert_eq!(verify(&copy, &identity, &["--head", &hex(&[1; 32])]).status.code(), Some(1));
    assert_eq!(verify(&copy, &temporary(9), &[]).status.code(), Some(1));

    let whole = std::fs::read(&copy).unwrap();
    let damaged = |bytes: &[u8]| {
        let path = rig.path("damaged");
        std::fs::write(&path, bytes).unwrap();
        let said = verify(&path, &identity, &[]);
        assert_eq!(said.status.code(), Some(1));
        String::from_utf8(said.stderr).unwrap()
    };
    let mut flipped = whole.clone();
    flipped[70] ^= 1;
    assert!(damaged(&flipped).contains("record 0: its bytes"));
    assert!(damaged(&whole[..whole.len() - 50]).contains("record 9: the copy ends before it"));
    assert!(damaged(b"").contains("not a copy") || damaged(b"").contains("cut"));
    // The second record out.
    let length = |at: usize| 36 + u32::from_be_bytes(whole[at..at + 4].try_into().unwrap()) as usize;
    let second = 60 + length(60);
    let said = damaged(&whole[..whole.len() - 1]);
    assert!(said.contains("cut") && said.contains("proven: the records below 9"), "{said}");
    let without = [&whole[..second], &whole[second + length(second)..]].concat();
    assert!(damaged(&without).contains("record 1: missing; record 2"));
}

#[test]
fn two_certified_headers_of_one_height_freeze_the_vault_with_both_on_record() {
    let (rig, own) = Rig::made();
    let identity = own.keys.identity;
    let network = Network::found(&rig, own);
    let vault = rig.start(&network.file.hash(), None);
    let (mut node, _) = vault.node();
    let header = |state| network.certify(network.header(1, network.genesis(), now(), state));
    let (first, second) = (header([1; 32]), header([2; 32]));
    assert_eq!(node.ask(&Request::Advance(Box::new(first.clone()))), Response::Done);
    let next = network.certify(network.header(2, first.header.hash(), now() + 1, [3; 32]));
    assert_eq!(node.ask(&Request::Advance(Box::new(next))), Response::Done);
    assert_eq!(node.denied(&Request::Advance(Box::new(second.clone()))), Deny::Header);
    assert_eq!(node.denied(&ask([1; 32], 1, "demo")), Deny::Frozen);
    // Killed at once: it was durable before the answer.
    vault.kill();
    let vault = rig.start(&network.file.hash(), None);
    assert_eq!(vault.node().0.denied(&ask([1; 32], 1, "demo")), Deny::Frozen);
    vault.stop();
    let found = events(&export(&rig, "copy"), &identity);
    let both: Vec<_> = found
        .iter()
        .filter_map(|event| match event {
            Event::Contradiction { first, second } => Some((first.as_ref(), second.as_ref())),
            _ => None,
        })
        .collect();
    assert_eq!(both, [(&first, &second)]);
    for header in [both[0].0, both[0].1] {
        assert!(header.verify(network.config()).is_ok(), "evidence that needs nobody's word");
    }
}

#[test]
fn old_copies_of_store_and_token_stop_once_the_network_shows_a_later_head() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let genesis = network.file.hash();
    let life = || {
        let vault = rig.start(&genesis, None);
        let (mut node, _) = vault.node();
        receipt(&network, &mut node, &ask([1; 32], 1, "demo"));
        drop(node);
        vault.stop();
    };
    life();
    for name in ["data", "tokens"] {
        copy_all(&rig.path(name), &rig.path(&format!("{name}-old")));
    }
    life();
    let vault = rig.start(&genesis, None);
    let (mut node, _) = vault.node();
    let newest = head(&mut node, None).unwrap().unwrap();
    let shown = seen(&network, 1, network.genesis(), newest);
    assert_eq!(head(&mut node, Some(shown.clone())), Ok(Some(newest)), "its own head");
    drop(node);
    vault.stop();

    // The whole host is rolled back: neither counter nor closing mark shows it.
    for name in ["data", "tokens"] {
        copy_all(&rig.path(&format!("{name}-old")), &rig.path(name));
    }
    let vault = rig.start(&genesis, None);
    let (mut node, _) = vault.node();
    receipt(&network, &mut node, &ask([3; 32], 1, "demo"));
    // A head that nobody certified stops nobody.
    let mut forged = shown.clone();
    forged.entry.value.newest.head.count += 1;
    assert_eq!(head(&mut node, Some(forged)), Err(Deny::Proof));
    receipt(&network, &mut node, &ask([4; 32], 1, "demo"));
    // Nor one that is certified and that this vault never signed.
    let other = SignedAuditHead { signature: network.sign_identity(2, b"x"), ..newest };
    let next = seen(&network, 2, shown.header.header.hash(), other);
    assert_eq!(head(&mut node, Some(next.clone())), Err(Deny::Proof));
    receipt(&network, &mut node, &ask([5; 32], 1, "demo"));
    let told = seen(&network, 3, next.header.header.hash(), newest);
    assert_eq!(head(&mut node, Some(told.clone())), Err(Deny::Frozen));
    assert_eq!(node.denied(&ask([6; 32], 1, "demo")), Deny::Frozen);
    assert!(vault.log().contains("audit log: store and token are old copies"), "{}", vault.log());
    drop(node);
    vault.stop();

    // Its operator may go on with what there is.
    let accepted = rig.command("accept-store").args(["--from-height", "9"]).output().unwrap();
    assert!(accepted.status.success(), "{accepted:?}");
    let vault = rig.start(&genesis, None);
    let (mut node, _) = vault.node();
    assert!(head(&mut node, Some(told)).is_ok());
    assert_eq!(node.denied(&ask([6; 32], 1, "demo")), Deny::Settling);
}

#[test]
fn a_rolled_back_store_signs_a_head_that_contradicts_what_its_peers_hold() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let genesis = network.file.hash();
    let life = |token: u8| {
        let vault = rig.start(&genesis, None);
        let (mut node, _) = vault.node();
        receipt(&network, &mut node, &ask([token; 32], 1, "demo"));
        drop(node);
        vault.stop();
    };
    life(1);
    rig.copy_store("data", "copy");
    life(2);
    let vault = rig.start(&genesis, None);
    let held = head(&mut vault.node().0, None).unwrap().unwrap();
    vault.kill();
    rig.copy_store("copy", "data");
    // It says so itself, unasked: behind its token it releases nothing, and its next head cannot follow.
    rig.start(&genesis, None).served().stop();
    let vault = rig.start(&genesis, None);
    let next = head(&mut vault.node().0, None).unwrap().unwrap();
    assert_eq!(held.head.order(&next.head), Order::Contradiction);
    assert!(next.verifies(network.config(), Index::new(1).unwrap()));
    vault.stop();
    let found =
        events(&export(&rig, "copy-of-log"), &network.config().member(Index::new(1).unwrap()).unwrap().identity);
    let behind = |event: &&Event| matches!(event, Event::Start { standing: torus_audit::Standing::Behind, .. });
    assert_eq!(found.iter().filter(behind).count(), 2);
}
