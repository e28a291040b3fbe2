//! The ceremony, and stores and tokens that contradict each other.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use torus_audit::{Event, Operator};
use torus_ipc::{Deny, Request, Response, VoteRequest};
use torus_statement::MerkleProof;
use torus_statement::codec::Wire;
use torus_statement::envelope::Kind;
use torus_statement::merkle::leaf;
use torus_statement::state::{BatchEntry, Phase, Proven, key};
use torus_statement::vote::{Step, Vote};

use crate::audit::{events, export};
use crate::commits::{ask, receipt, status};
use crate::network::Network;
use crate::rig::{Rig, SERVANT, VAULT, own_uid, until};

fn prevote(height: u64) -> Request {
    let vote = Vote { step: Step::Prevote, height, round: 0, block: Some([1; 32]) };
    Request::SignVote(VoteRequest { vote, evidence: vec![] })
}

#[test]
fn init_runs_once() {
    let (rig, _) = Rig::made();
    let again = rig.init(&[]);
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("init runs once"));
    // Nor with the store out of the way: the token remembers.
    std::fs::rename(rig.path("data"), rig.path("away")).unwrap();
    let again = rig.init(&[]);
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("holds an identity already"));
    assert!(!rig.path("data").exists());
}

#[test]
fn a_wrong_pin_is_tried_once_and_told() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    std::fs::write(rig.path("pin"), "87654321\n").unwrap();
    let (code, log) = rig.start(&network.file.hash(), None).ended();
    // A code of its own: a supervisor must not try again.
    assert_eq!(code, Some(3));
    assert!(log.contains("refused the PIN"), "{log}");
}

#[test]
fn without_its_operators_word_for_a_network_a_vault_does_not_run() {
    let (rig, own) = Rig::made();
    let identity = own.keys.identity;
    let network = Network::found(&rig, own);
    let (code, log) = rig.start_unasked().ended();
    assert!(code == Some(1) && log.contains("torus-vault trust"), "{log}");
    // A word for another network can be taken back until the vault has run.
    assert!(rig.trust(&[7; 32]).status.success());
    assert!(rig.trust(&network.file.hash()).status.success());
    let again = rig.trust(&network.file.hash());
    assert!(String::from_utf8_lossy(&again.stdout).contains("trusted already"), "{again:?}");
    rig.start_unasked().served().stop();
    let said = events(&export(&rig, "copy"), &identity);
    let trusted = said.iter().filter(|event| matches!(event, Event::Operator(Operator::Trusted { .. })));
    assert_eq!(trusted.count(), 2, "{said:?}");
}

#[test]
fn another_network_file_than_the_approved_one_is_refused() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own.clone());
    let (code, log) = rig.start(&[7; 32], None).ended();
    assert!(code == Some(1) && log.contains("not the file that was approved"), "{log}");
    rig.start(&network.file.hash(), None).node();
    // A vault that has taken up a network takes up no other.
    let other = Network::found_at(&rig, own, crate::network::now() + 5);
    let refused = rig.trust(&other.file.hash());
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("taken up another network"), "{refused:?}");
    let (code, log) = rig.start(&other.file.hash(), None).ended();
    assert!(code == Some(1) && log.contains("not the file that was approved"), "{log}");
}

#[test]
fn a_rolled_back_store_votes_commits_and_releases_nothing_until_its_operator_accepts_it() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let genesis = network.file.hash();
    rig.start(&genesis, None).node();
    let vault = rig.start(&genesis, None);
    let _ = vault.node();
    vault.stop();
    rig.copy_store("data", "copy");

    // A login begins and the height is voted on; then the host comes back with the copy, closing mark included.
    let vault = rig.start(&genesis, None);
    let (mut node, _) = vault.node();
    assert!(matches!(node.ask(&prevote(1)), Response::Vote(_)));
    vault.kill();
    rig.copy_store("copy", "data");
    for _ in 0..2 {
        let vault = rig.start(&genesis, None);
        let (mut node, _) = vault.node();
        assert_eq!(node.denied(&prevote(1)), Deny::NoVote);
        assert_eq!(node.denied(&Request::HeldVotes), Deny::NoVote);
        assert_eq!(node.denied(&ask([1; 32], 2, "demo")), Deny::Epoch);
        assert_eq!(status(&mut node).receipts_from, u64::MAX);
        assert!(vault.log().contains("the store is behind the token's counter"));
        vault.stop();
    }
    let doctor = rig.command("doctor").output().unwrap();
    assert!(!doctor.status.success());
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("the store is an old copy"));

    let accepted = rig.command("accept-store").args(["--from-height", "2"]).output().unwrap();
    assert!(accepted.status.success(), "{accepted:?}");
    let vault = rig.start(&genesis, None);
    let (mut node, _) = vault.node();
    assert_eq!(node.denied(&prevote(1)), Deny::NoVote);
    assert_eq!(node.denied(&ask([1; 32], 2, "demo")), Deny::Settling);
    let header = network.header(1, network.genesis(), crate::network::now(), [0; 32]);
    assert_eq!(node.ask(&Request::Advance(Box::new(network.certify(header)))), Response::Done);
    assert!(matches!(node.ask(&prevote(2)), Response::Vote(_)));
    drop(node);
    vault.stop();
    let doctor = rig.command("doctor").arg("--json").output().unwrap();
    assert!(doctor.status.success(), "{doctor:?}");
    assert!(String::from_utf8_lossy(&doctor.stdout).starts_with("{\"healthy\":true"));
}

#[test]
fn a_vault_with_an_old_copy_of_its_store_does_not_deal_a_second_time() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let genesis = network.file.hash();
    rig.start(&genesis, None).node();
    let vault = rig.start(&genesis, None);
    let _ = vault.node();
    vault.stop();
    rig.copy_store("data", "copy");

    let open = |batch, height| opened(&network, batch, height);
    let deals = |response| match response {
        Response::Progress(progress) => progress.envelopes.iter().any(|envelope| envelope.label.kind == Kind::Send),
        other => panic!("{other:?}"),
    };
    let vault = rig.start(&genesis, None);
    let (mut node, _) = vault.node();
    assert!(deals(node.ask(&open(0, 1))));
    vault.kill();
    rig.copy_store("copy", "data");
    let vault = rig.start(&genesis, None);
    let (mut node, _) = vault.node();
    assert!(!deals(node.ask(&open(0, 1))));
    vault.stop();

    // The operator's word says where the past ends, which the store does not.
    rig.copy_store("copy", "data");
    assert!(rig.command("accept-store").args(["--from-height", "3"]).output().unwrap().status.success());
    let vault = rig.start(&genesis, None);
    let (mut node, _) = vault.node();
    assert!(!deals(node.ask(&open(0, 1))));
    assert!(!deals(node.ask(&open(1, 2))));
    assert!(deals(node.ask(&open(2, 3))));
}

/// A batch that the block of this height opened.
pub(crate) fn opened(network: &Network, batch: u64, height: u64) -> Request {
    let entry = BatchEntry { attempt: 0, keys: 2, height, time: 0, phase: Phase::Open };
    let parent = if height == 1 { network.genesis() } else { opened_hash(network, height - 1) };
    let root = leaf(&key::batch(batch), &entry.to_bytes());
    let header = network.header(height, parent, network.config().committee().genesis_time + height, root);
    let entry = Proven { value: entry, proof: MerkleProof { siblings: Vec::new() } };
    Request::Batch { header: Box::new(network.certify(header)), batch, entry }
}

pub(crate) fn opened_hash(network: &Network, height: u64) -> torus_statement::Hash {
    match opened(network, height - 1, height) {
        Request::Batch { header, .. } => header.header.hash(),
        _ => unreachable!(),
    }
}

#[test]
fn an_own_vote_that_is_not_on_record_stops_the_vault() {
    // The store is rolled back within one start, which the counter does not show; the network remembers the vote.
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let genesis = network.file.hash();
    let vault = rig.start(&genesis, None);
    let (mut node, _) = vault.node();
    drop(receipt(&network, &mut node, &ask([1; 32], 1, "demo")));
    rig.copy_store("data", "copy");
    let Response::Vote(forgotten) = node.ask(&prevote(1)) else { panic!() };
    vault.kill();
    rig.copy_store("copy", "data");
    let vault = rig.start(&genesis, None);
    let (mut node, _) = vault.node();
    let other = Vote { block: Some([2; 32]), round: 1, ..forgotten.vote };
    let request = Request::SignVote(VoteRequest { vote: other, evidence: vec![forgotten] });
    assert_eq!(node.denied(&request), Deny::NoVote);
    assert_eq!(node.denied(&Request::HeldVotes), Deny::NoVote);
    assert!(vault.log().contains("not on its record"));
}

#[test]
fn a_node_that_does_not_read_its_last_answers_does_not_spoil_a_clean_stop() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let mut vault = rig.start(&network.file.hash(), None);
    let (mut node, _) = vault.node();
    // More than its socket holds and less than closes its connection: the vault's writer waits for the node.
    for _ in 0..900 {
        node.send(&Request::Status);
    }
    // Its last request is read: the vault has answered all of them.
    std::thread::sleep(Duration::from_millis(500));
    vault.tell_to_stop();
    until(Duration::from_secs(5), || vault.log().contains("stopped cleanly").then_some(()));
    assert!(vault.lives(), "its writer does not wait for the node: this test would show nothing");
    // A supervisor whose patience is over, and the next start.
    vault.kill();
    let vault = rig.start(&network.file.hash(), None);
    let (mut node, _) = vault.node();
    assert!(status(&mut node).receipts_from <= crate::network::now() / 1000);
    assert!(!vault.log().contains("was not clean"), "{}", vault.log());
    vault.stop();
}

#[test]
fn the_doctor_proves_the_lockdown_on_this_host_and_looks_at_the_vault_that_runs() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let prove = || {
        let found = rig.command("doctor").arg("--prove").output().unwrap();
        (found.status.success(), String::from_utf8_lossy(&found.stdout).into_owned())
    };
    let line = |text: &str, name: &str| text.lines().find(|line| line.contains(name)).map(str::to_owned);
    let vault = rig.start(&network.file.hash(), None).served();
    let (healthy, text) = prove();
    assert!(healthy, "{text}");
    for name in ["lockdown-vault-core", "lockdown-vault-softhsm", "threads"] {
        assert!(line(&text, name).is_some_and(|line| line.starts_with("pass")), "{name}: {text}");
    }
    // Only root may read the filters of another process; who is not is told that it was not done.
    let filters = line(&text, "  filters ").unwrap();
    if own_uid() == 0 {
        let under = "threads under those of vault-softhsm, instruction by instruction";
        assert!(filters.starts_with("pass") && filters.contains(under), "{filters}");
        let asked = rig.command("doctor").arg("--prove").uid(SERVANT).gid(SERVANT).output().unwrap();
        let text = String::from_utf8_lossy(&asked.stdout).into_owned();
        let filters = line(&text, "  filters ").unwrap();
        assert!(asked.status.success() && filters.starts_with("warn  filters "), "{text}");
        assert!(filters.contains("not compared with the policy"), "{filters}");
    } else {
        assert!(filters.starts_with("warn") && filters.contains("not compared with the policy"), "{filters}");
    }
    // Whose threads were held goes on.
    drop(vault.node());
    vault.stop();
    let (_, text) = prove();
    assert!(line(&text, "threads").is_some_and(|line| line.starts_with("warn")), "{text}");
}

#[test]
fn a_second_vault_on_one_store_does_not_start_and_a_store_is_accepted_only_while_none_runs() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let vault = rig.start(&network.file.hash(), None).served();
    let (code, log) = rig.start(&network.file.hash(), None).ended();
    assert!(code == Some(1) && log.contains("a vault runs on"), "{log}");
    let accept = || rig.command("accept-store").args(["--from-height", "9"]).output().unwrap();
    let refused = accept();
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("stop it first"));
    // The first one still serves its operator.
    let freeze = Command::new(VAULT).arg("freeze").arg("--data").arg(rig.path("data")).output().unwrap();
    assert!(freeze.status.success(), "{freeze:?}");
    assert!(vault.log().contains("FROZEN"));
    vault.stop();
    assert!(accept().status.success());
    // What was accepted holds over the next start, which begins with its guards.
    let vault = rig.start(&network.file.hash(), None);
    assert!(status(&mut vault.node().0).receipts_from > crate::network::now() / 1000);
}

#[test]
fn limits_come_from_a_file_under_what_the_flag_says_and_a_wrong_file_stops_the_start_and_is_told_by_the_doctor() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let (limits, file) = (rig.path("limits"), rig.path("network.torus"));
    let path = limits.to_str().unwrap();
    let doctor = || {
        let found = rig.command("doctor").args(["--limits-file", path, "--network-file"]).arg(&file).output().unwrap();
        let text = String::from_utf8_lossy(&found.stdout).into_owned();
        (found.status.success(), text.lines().find(|line| line.contains("  limits ")).unwrap_or_default().to_owned())
    };
    std::fs::write(&limits, "# this year's\nall = 5000\nkey = 7\n").unwrap();
    let vault = rig.start_with(&["--limits-file", path, "--limits", "key=9"], &network.file.hash()).served();
    assert!(vault.log().contains("limits: all=5000,verifier=50000,key=9,reserved=1000,commits=66"), "{}", vault.log());
    let (healthy, line) = doctor();
    assert!(healthy && line.starts_with("pass") && line.contains("all=5000,verifier=50000,key=7"), "{line}");
    vault.stop();
    for (text, what) in [
        ("all = 5000\n\nkeys = 7\n", "limits, line 3: `keys = 7` is no limit"),
        ("all = 500\n", "2 verifiers with 1000 releases reserved for each are more than 500 in all"),
    ] {
        std::fs::write(&limits, text).unwrap();
        let (code, log) = rig.start_with(&["--limits-file", path], &network.file.hash()).ended();
        assert!(code == Some(1) && log.contains(what), "{log}");
        let (healthy, line) = doctor();
        assert!(!healthy && line.starts_with("FAIL") && line.contains(what), "{line}");
    }
}
