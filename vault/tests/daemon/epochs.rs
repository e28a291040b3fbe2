//! The next epoch: a vault follows the log into the committee that its operator approved, and into no other.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output};

use k256::ecdsa::SigningKey;
use torus_audit::{Event, KeyAct, Operator};
use torus_ipc::{Deny, Request, Response, VoteRequest};
use torus_statement::MerkleProof;
use torus_statement::certificate::{CommitCertificate, SignedHeader};
use torus_statement::codec::Wire;
use torus_statement::config::Member;
use torus_statement::envelope::Kind;
use torus_statement::keycert::{MemberKeys, Residency};
use torus_statement::merkle::leaf;
use torus_statement::receipt::hex;
use torus_statement::state::{BatchEntry, Phase, Proven, key as place};
use torus_statement::vote::{Step, Vote};
use torus_statement::{Committee, EpochConfig, Hash, Header, Index, KeyCertificate, KeyPart};

use crate::audit::events;
use crate::commits::ask;
use crate::network::{Network, TIMES, key, now, public, sign};
use crate::rig::{Node, Rig, Running, VAULT};
use crate::starts::{opened, opened_hash};

/// The epoch after a network's first, in which a new member has the place of member 5.
struct Next {
    committee: Committee,
    consensus: Vec<SigningKey>,
}

impl Next {
    fn after(network: &Network) -> Self {
        let before = network.config();
        let mut committee = Committee { epoch: 2, predecessor: before.hash(), ..before.committee().clone() };
        committee.members[4].identity = public(&key(6, 5));
        Self { committee, consensus: (2..=5).map(|member| key(4, member)).collect() }
    }

    /// Its config, with the certificate that the vault gave for it, if it is a member.
    fn config(&self, network: &Network, own: Option<&KeyCertificate>) -> EpochConfig {
        let identity = |member: u8| {
            let known = network.identities.get(usize::from(member).wrapping_sub(2));
            let stays = |known: &&SigningKey| public(known) == self.committee.members[usize::from(member) - 1].identity;
            known.filter(stays).cloned().unwrap_or_else(|| key(6, member))
        };
        let first = own.cloned().unwrap_or_else(|| self.certified(1, &identity(1)));
        let others = (2..=5).map(|member| self.certified(member, &identity(member)));
        let certificates = std::iter::once(first).chain(others).collect();
        let keys = KeyPart { attempt: 0, certificates, endpoints: network.config().keys().endpoints.clone() };
        EpochConfig::new(self.committee.clone(), keys).unwrap()
    }

    fn certified(&self, member: u8, identity: &SigningKey) -> KeyCertificate {
        let keys = MemberKeys {
            network: self.committee.network.clone(),
            epoch: 2,
            attempt: 0,
            index: Index::new(member).unwrap(),
            identity: public(identity),
            envelope: public(&key(5, member)),
            consensus: public(&key(4, member)),
            p2p: [member; 32],
            residency: Residency::Sealed,
        };
        KeyCertificate { signature: sign(identity, &keys.preimage()), keys }
    }

    /// A header of the epoch on top of another, certified by its members 2 to 5.
    fn block(&self, config: &EpochConfig, parent: &Header) -> SignedHeader {
        let (config_hash, height) = (config.hash(), parent.height + 1);
        let header = Header {
            epoch: 2,
            height,
            parent: parent.hash(),
            time: now().max(parent.time + 1),
            config: config_hash,
            next_config: config_hash,
            ..parent.clone()
        };
        self.certify(config, header)
    }

    fn certify(&self, config: &EpochConfig, header: Header) -> SignedHeader {
        let vote = Vote { step: Step::Precommit, height: header.height, round: 0, block: Some(header.hash()) };
        let signed = |(member, key)| (Index::new(member).unwrap(), sign(key, &vote.preimage(config)));
        let signatures = (2..).zip(&self.consensus).map(signed).collect();
        SignedHeader { header, certificate: CommitCertificate { round: 0, signatures } }
    }
}

/// `torus-vault approve-epoch`, of the committee in a file.
fn approve(rig: &Rig, committee: &Committee, hash: Option<Hash>) -> Output {
    let file = rig.path("committee.torus");
    std::fs::write(&file, committee.to_bytes()).unwrap();
    let mut command = Command::new(VAULT);
    command.arg("approve-epoch").arg("--data").arg(rig.path("data"));
    command.arg("--network-file").arg(rig.path("network.torus")).arg("--committee").arg(file);
    command.args(hash.map(|hash| hex(&hash))).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// The first epoch's last block, which names this config.
fn last(network: &Network, next: &EpochConfig) -> SignedHeader {
    let mut header = network.header(1, network.genesis(), now(), [0; 32]);
    header.next_config = next.hash();
    network.certify(header)
}

fn advance(header: &SignedHeader) -> Request {
    Request::Advance(Box::new(header.clone()))
}

fn keys(committee: &Committee, attempt: u32) -> Request {
    Request::NextKeys { committee: committee.to_bytes(), attempt, p2p: [1; 32] }
}

fn prevote(height: u64) -> (Vote, Request) {
    let vote = Vote { step: Step::Prevote, height, round: 0, block: Some([7; 32]) };
    (vote, Request::SignVote(VoteRequest { vote, evidence: vec![] }))
}

fn founded() -> (Rig, Network, Running) {
    let (rig, certificate) = Rig::made();
    let network = Network::found(&rig, certificate);
    let vault = rig.start(&network.file.hash(), None);
    (rig, network, vault)
}

/// The vault's certificate for the next epoch.
fn certificate(node: &mut Node, next: &Next) -> KeyCertificate {
    match node.ask(&keys(&next.committee, 0)) {
        Response::Certificate(certificate) => *certificate,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_vault_follows_the_log_into_the_epoch_that_its_operator_approved() {
    let (rig, network, vault) = founded();
    let (mut node, _) = vault.node();
    let next = Next::after(&network);
    let hash = next.committee.hash();

    // Without the operator's word there are not even keys. He looks first; another committee's hash approves nothing.
    assert_eq!(node.denied(&keys(&next.committee, 0)), Deny::Approval);
    let shown = said(&approve(&rig, &next.committee, None));
    let new = hex(&public(&key(6, 5)).to_compressed());
    for line in
        ["comes epoch 2", "sizes: 5 members", "as before", "member 1: stays", "member 5: NEW", "LEAVES: member 5"]
    {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert!(shown.contains(&new) && shown.contains(&hex(&hash)) && shown.contains("Nothing is approved"), "{shown}");
    let wrong = approve(&rig, &next.committee, Some([1; 32]));
    assert!(!wrong.status.success() && said(&wrong).contains(&hex(&hash)), "{wrong:?}");
    assert_eq!(node.denied(&keys(&next.committee, 0)), Deny::Approval);
    // What cannot come next is not approved at all.
    let skipped = Committee { epoch: 3, ..next.committee.clone() };
    assert!(said(&approve(&rig, &skipped, Some(skipped.hash()))).contains("does not follow"));
    let mut longer = next.committee.clone();
    longer.times.token_age += 1;
    assert!(said(&approve(&rig, &longer, Some(longer.hash()))).contains("fixed"));

    let approved = approve(&rig, &next.committee, Some(hash));
    assert!(approved.status.success(), "{approved:?}");
    let own = certificate(&mut node, &next);
    assert!(own.verifies() && own.keys.index.get() == 1 && own.keys.epoch == 2);
    assert_eq!(certificate(&mut node, &next).keys, own.keys, "keys are made once");
    // One certificate an attempt: a thief in the node gets none for a p2p key of his.
    let thiefs = Request::NextKeys { committee: next.committee.to_bytes(), attempt: 0, p2p: [7; 32] };
    assert_eq!(node.denied(&thiefs), Deny::Attempt);
    assert_eq!(node.denied(&keys(&skipped, 0)), Deny::Epoch);
    // A node cannot fill the token with keys of attempts.
    assert_eq!(node.denied(&keys(&next.committee, 1)), Deny::Attempt);

    // Approved is not in force: that is the log's to say.
    let config = next.config(&network, Some(&own));
    let taken = Request::NextEpoch(config.to_bytes());
    assert_eq!(node.denied(&taken), Deny::Epoch);
    let last = last(&network, &config);
    let first = next.block(&config, &last.header);
    assert_eq!(node.denied(&advance(&first)), Deny::Header);
    assert_eq!(node.ask(&advance(&last)), Response::Done);
    // The epoch has ended: nothing of it goes on, and nothing of the next is believed before its config is known.
    assert_eq!(node.denied(&ask([1; 32], 1, "demo")), Deny::Epoch);
    assert_eq!(node.denied(&prevote(2).1), Deny::NoVote);
    assert_eq!(node.denied(&advance(&first)), Deny::Header);
    let old = network.certify(network.header(2, last.header.hash(), now(), [0; 32]));
    assert_eq!(node.denied(&advance(&old)), Deny::Header);
    for (bytes, deny) in [(vec![], Deny::Malformed), (network.config().to_bytes(), Deny::Epoch)] {
        assert_eq!(node.denied(&Request::NextEpoch(bytes)), deny);
    }

    assert_eq!(node.ask(&taken), Response::TakenUp);
    assert!(node.next_answer().is_none(), "the connection closes");
    let (code, log) = vault.ended();
    assert_eq!(code, Some(4), "a supervisor starts it again: {log}");

    let vault = rig.start_unasked();
    let (mut node, hello) = vault.node();
    assert_eq!((hello.height, hello.index.get()), (1, 1));
    match node.ask(&Request::Status) {
        Response::Status(status) => {
            // Tokens of the old epoch count no more; the stop was a clean one, so that receipts need not wait.
            assert!(status.not_before * 1000 >= last.header.time + u64::from(TIMES.epoch_guard), "{status:?}");
            assert!(status.receipts_from * 1000 <= now() + 1000, "{status:?}");
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(node.ask(&ask([1; 32], 1, "demo")), Response::Receipt(_)));
    let (vote, request) = prevote(2);
    match node.ask(&request) {
        Response::Vote(signed) => {
            assert_eq!(signed.vote, vote);
            assert!(signed.verifies(&config) && !signed.verifies(network.config()));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(node.denied(&Request::NextEpoch(config.to_bytes())), Deny::Epoch);
    assert_eq!(node.ask(&advance(&first)), Response::Done);
    // The approval is used up.
    assert_eq!(node.denied(&keys(&next.committee, 0)), Deny::Epoch);
    vault.stop();

    // The whole way is checked again at each start.
    let vault = rig.start_unasked();
    let (mut node, hello) = vault.node();
    assert_eq!(hello.height, 2);
    // Those who have left certify a block above their last: no such block can be, and it contradicts nothing.
    assert_eq!(node.denied(&advance(&old)), Deny::Header);
    assert!(matches!(node.ask(&ask([2; 32], 2, "demo")), Response::Receipt(_)));
    // Two last blocks cannot both be: whoever certified them, the vault does not judge.
    // Nor is there any block of the new epoch below its first.
    let below = next.certify(&config, Header { height: 1, ..first.header.clone() });
    assert_eq!(node.denied(&advance(&below)), Deny::Header);
    assert!(matches!(node.ask(&ask([2; 32], 2, "demo")), Response::Receipt(_)));
    let mut second = last.header.clone();
    second.state = [9; 32];
    assert_eq!(node.denied(&advance(&network.certify(second))), Deny::Header);
    assert_eq!(node.denied(&ask([3; 32], 3, "demo")), Deny::Frozen);
    drop(node);
    vault.stop();
    let events = events(&crate::audit::export(&rig, "copy"), &own.keys.identity);
    let approvals =
        events.iter().filter(|e| matches!(e, Event::Operator(Operator::Approved { committee }) if *committee == hash));
    let epochs =
        events.iter().filter(|e| matches!(e, Event::Epoch { epoch: 2, config: named, .. } if *named == config.hash()));
    assert_eq!((approvals.count(), epochs.count()), (1, 1));
    let acts = events.iter().filter_map(|event| match event {
        Event::Keys { epoch, attempt: 0, act } => Some((*epoch, *act)),
        _ => None,
    });
    let certified = KeyAct::Certified(own.keys.fingerprint());
    assert!(acts.eq([(2, KeyAct::Made), (2, certified), (3, KeyAct::Made)]), "{events:?}");
}

#[test]
fn a_committee_that_no_operator_approved_is_followed_by_no_vault_whoever_certified_it() {
    let (rig, network, vault) = founded();
    let (mut node, _) = vault.node();
    // The operator approved one committee; the log names another, of hostile nodes, all properly certified.
    let next = Next::after(&network);
    assert!(approve(&rig, &next.committee, Some(next.committee.hash())).status.success());
    let mut theirs = Next::after(&network);
    theirs.committee.members[3].identity = public(&key(6, 4));
    let own = certificate(&mut node, &next);
    let config = theirs.config(&network, Some(&own));
    let last = last(&network, &config);
    assert_eq!(node.ask(&advance(&last)), Response::Done);
    assert_eq!(node.denied(&Request::NextEpoch(config.to_bytes())), Deny::Approval);
    assert_eq!(node.denied(&Request::NextEpoch(next.config(&network, Some(&own)).to_bytes())), Deny::Epoch);
    assert_eq!(node.denied(&advance(&theirs.block(&config, &last.header))), Deny::Header);
    assert!(vault.log().contains(&hex(&theirs.committee.hash())), "{}", vault.log());
    // Nor after a restart.
    drop(node);
    vault.stop();
    let vault = rig.start_unasked();
    let (mut node, _) = vault.node();
    assert_eq!(node.denied(&Request::NextEpoch(config.to_bytes())), Deny::Approval);
    assert_eq!(node.denied(&ask([1; 32], 1, "demo")), Deny::Epoch);
}

#[test]
fn an_approved_committee_with_other_keys_for_this_member_is_not_taken_up() {
    let (rig, first) = Rig::made();
    let network = Network::found(&rig, first);
    let before = rig.objects();
    let vault = rig.start(&network.file.hash(), None);
    let (mut node, _) = vault.node();
    let next = Next::after(&network);
    assert!(approve(&rig, &next.committee, Some(next.committee.hash())).status.success());
    let own = certificate(&mut node, &next);
    let config = next.config(&network, Some(&own));
    // The token loses what it was given at the first start, before the epoch begins.
    drop(node);
    vault.stop();
    rig.objects().difference(&before).for_each(|object| std::fs::remove_file(object).unwrap());
    let vault = rig.start_unasked();
    let (mut node, _) = vault.node();
    assert_eq!(node.ask(&advance(&last(&network, &config))), Response::Done);
    assert_eq!(node.denied(&Request::NextEpoch(config.to_bytes())), Deny::Approval);
    assert!(vault.log().contains("names other keys"), "{}", vault.log());
}

#[test]
fn what_an_epoch_has_not_published_is_void_in_the_next() {
    let (rig, network, vault) = founded();
    let (mut node, _) = vault.node();
    let next = Next::after(&network);
    assert!(approve(&rig, &next.committee, Some(next.committee.hash())).status.success());
    let config = next.config(&network, Some(&certificate(&mut node, &next)));
    let dealt = |answer: Response| match answer {
        Response::Progress(progress) => progress.envelopes.iter().filter(|e| e.label.kind == Kind::Send).count(),
        other => panic!("{other:?}"),
    };
    assert_eq!(dealt(node.ask(&opened(&network, 0, 1))), 4);

    let mut last = network.header(2, opened_hash(&network, 1), now(), [0; 32]);
    last.next_config = config.hash();
    let last = network.certify(last);
    assert_eq!(node.ask(&advance(&last)), Response::Done);
    assert_eq!(node.ask(&Request::NextEpoch(config.to_bytes())), Response::TakenUp);
    assert_eq!(vault.ended().0, Some(4));
    let vault = rig.start_unasked();
    let (mut node, _) = vault.node();
    assert_eq!(dealt(node.ask(&Request::Outbox)), 0, "nothing of it is repeated");

    // The new committee's attempt at the same batch is another one.
    let entry = BatchEntry { attempt: 0, keys: 2, height: 3, time: 0, phase: Phase::Open };
    let root = leaf(&place::batch(0), &entry.to_bytes());
    let header = next.block(&config, &Header { state: root, ..last.header.clone() }).header;
    let header = next.certify(&config, Header { parent: last.header.hash(), ..header });
    let entry = Proven { value: entry, proof: MerkleProof { siblings: Vec::new() } };
    assert_eq!(dealt(node.ask(&Request::Batch { header: Box::new(header), batch: 0, entry })), 4);
    let log = vault.log();
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn keys_that_were_certified_are_never_made_anew() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let first = rig.objects();
    rig.start(&network.file.hash(), None).served().stop();
    let next = Next::after(&network);
    assert!(approve(&rig, &next.committee, Some(next.committee.hash())).status.success());
    let made: Vec<_> = lasting(&rig).difference(&first).cloned().collect();
    let vault = rig.start_unasked();
    let (mut node, _) = vault.node();
    certificate(&mut node, &next);
    drop(node);
    vault.stop();
    // One object is lost: the vault says so and serves its epoch.
    for object in &made {
        let away = object.with_extension("away");
        std::fs::rename(object, &away).unwrap();
        let vault = rig.start_unasked();
        let (mut node, _) = vault.node();
        assert!(matches!(node.ask(&keys(&next.committee, 0)), Response::Denied(Deny::Device)));
        drop(node);
        vault.stop();
        std::fs::rename(&away, object).unwrap();
    }
    // All of them are: others would be a second certificate of one attempt.
    let away = |object: &PathBuf| object.with_extension("away");
    made.iter().for_each(|object| std::fs::rename(object, away(object)).unwrap());
    let vault = rig.start_unasked();
    assert_eq!(vault.node().0.denied(&keys(&next.committee, 0)), Deny::Attempt);
    assert!(vault.log().contains("they were certified, and are not in the token any more"), "{}", vault.log());
    vault.stop();
    made.iter().for_each(|object| std::fs::rename(away(object), object).unwrap());
    let vault = rig.start_unasked();
    let (mut node, _) = vault.node();
    assert!(certificate(&mut node, &next).verifies(), "what was certified is there again");
}

/// The token's objects that outlive two starts: all but those of its counter.
fn lasting(rig: &Rig) -> BTreeSet<PathBuf> {
    let now = rig.objects();
    (0..2).for_each(|_| rig.start_unasked().served().stop());
    now.intersection(&rig.objects()).cloned().collect()
}

#[test]
fn keys_for_the_next_epoch_that_are_not_whole_are_made_anew_at_a_start() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let first = rig.objects();
    rig.start(&network.file.hash(), None).served().stop();
    for left in 0..5 {
        let keys: Vec<_> = lasting(&rig).difference(&first).cloned().collect();
        assert_eq!(keys.len(), 5, "two pairs and the share key, nothing left over");
        // As a death leaves them after so many of the token's writes.
        keys.iter().skip(left).for_each(|object| std::fs::remove_file(object).unwrap());
        rig.start_unasked().served().stop();
    }
    assert_eq!(lasting(&rig).difference(&first).count(), 5);
    let next = Next::after(&network);
    assert!(approve(&rig, &next.committee, Some(next.committee.hash())).status.success());
    let vault = rig.start_unasked();
    assert!(certificate(&mut vault.node().0, &next).verifies());
}

#[test]
fn a_member_that_leaves_serves_no_more_and_watches_the_log_go_on() {
    let (rig, certificate) = Rig::made();
    let network = Network::found(&rig, certificate);
    let mut next = Next::after(&network);
    next.committee.members[0] = Member { identity: public(&key(6, 1)), residency: Residency::Sealed };
    // While the vault does not run the approval goes into its store; before that, its operator has a network to trust.
    let approved = || approve(&rig, &next.committee, Some(next.committee.hash()));
    assert!(said(&approved()).contains("torus-vault trust"));
    assert!(rig.trust(&network.file.hash()).status.success());
    assert!(approved().status.success());
    let vault = rig.start_unasked();
    let (mut node, _) = vault.node();
    assert_eq!(node.denied(&keys(&next.committee, 0)), Deny::Epoch, "there is no place to make keys for");
    let config = next.config(&network, None);
    let last = last(&network, &config);
    assert_eq!(node.ask(&advance(&last)), Response::Done);
    assert_eq!(node.ask(&Request::NextEpoch(config.to_bytes())), Response::Done);
    let first = next.block(&config, &last.header);
    assert_eq!(node.ask(&advance(&first)), Response::Done);
    assert_eq!(node.denied(&ask([1; 32], 1, "demo")), Deny::Epoch);
    assert_eq!(node.denied(&keys(&next.committee, 0)), Deny::Approval, "it is used up");
    assert_eq!(node.denied(&prevote(3).1), Deny::NoVote);

    // q hostile nodes of the new committee call the old one back, whose vaults still have all their keys: in vain.
    let back = Header { next_config: network.config().hash(), ..next.block(&config, &first.header).header };
    let back = next.certify(&config, back);
    assert_eq!(node.ask(&advance(&back)), Response::Done);
    let mut again = network.header(4, back.header.hash(), now().max(back.header.time + 1), [0; 32]);
    assert_eq!(node.denied(&advance(&network.certify(again.clone()))), Deny::Header);
    again.next_config = config.hash();
    assert_eq!(node.denied(&advance(&network.certify(again))), Deny::Header);
    assert_eq!(node.denied(&Request::NextEpoch(network.config().to_bytes())), Deny::Approval);
    assert_eq!(node.denied(&ask([1; 32], 1, "demo")), Deny::Epoch);
    assert_eq!(node.denied(&prevote(4).1), Deny::NoVote);
    drop(node);
    vault.stop();
    let vault = rig.start_unasked();
    let (mut node, hello) = vault.node();
    assert_eq!(hello.height, 3);
    assert_eq!(node.denied(&ask([1; 32], 1, "demo")), Deny::Epoch);
    assert_eq!(node.denied(&prevote(4).1), Deny::NoVote);
}

#[test]
fn an_epoch_that_is_taken_up_ends_the_process_whatever_its_node_does() {
    let (rig, network, vault) = founded();
    let (mut node, _) = vault.node();
    let next = Next::after(&network);
    assert!(approve(&rig, &next.committee, Some(next.committee.hash())).status.success());
    let config = next.config(&network, Some(&certificate(&mut node, &next)));
    assert_eq!(node.ask(&advance(&last(&network, &config))), Response::Done);
    // It asks and is gone before the answer; whoever comes next holds the line.
    node.send(&Request::NextEpoch(config.to_bytes()));
    drop(node);
    let held = vault.connect();
    assert_eq!(vault.ended().0, Some(4));
    drop(held);
    rig.start_unasked().served().stop();
}

#[test]
fn an_approval_can_be_taken_back_and_a_vault_that_is_stopped_uses_none() {
    let (rig, network, vault) = founded();
    let (mut node, _) = vault.node();
    let next = Next::after(&network);
    let word = || approve(&rig, &next.committee, Some(next.committee.hash()));
    let operator = |verb: &str| {
        let done = Command::new(VAULT).arg(verb).arg("--data").arg(rig.path("data")).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    assert!(word().status.success());
    let config = next.config(&network, Some(&certificate(&mut node, &next)));
    operator("withdraw-epoch");
    assert_eq!(node.denied(&keys(&next.committee, 0)), Deny::Approval);
    // Its operator's new word allows the certificate of another p2p key.
    assert!(word().status.success());
    let other = Request::NextKeys { committee: next.committee.to_bytes(), attempt: 0, p2p: [8; 32] };
    assert!(matches!(node.ask(&other), Response::Certificate(_)));
    operator("withdraw-epoch");
    assert_eq!(node.ask(&advance(&last(&network, &config))), Response::Done);
    let taken = Request::NextEpoch(config.to_bytes());
    assert_eq!(node.denied(&taken), Deny::Approval);
    // The log names the certificate that was taken back: the same committee approved again does not bring it in.
    assert!(word().status.success());
    assert_eq!(node.denied(&taken), Deny::Approval);
    assert!(matches!(node.ask(&other), Response::Certificate(_)));
    assert_eq!(node.denied(&taken), Deny::Approval);
    // Another committee's approval ends what was certified by this one's.
    let mut longer = next.committee.clone();
    longer.buffer.batch += 1;
    assert!(approve(&rig, &longer, Some(longer.hash())).status.success());
    assert!(word().status.success());
    assert!(matches!(node.ask(&keys(&next.committee, 0)), Response::Certificate(_)));
    operator("freeze");
    for refused in [&taken, &keys(&next.committee, 0)] {
        assert_eq!(node.denied(refused), Deny::Frozen);
    }
    drop(node);
    vault.stop();
    // While it does not run, too; and a store that is accepted again has none, whatever was in it.
    operator("withdraw-epoch");
    assert!(word().status.success());
    assert!(rig.command("accept-store").args(["--from-height", "1"]).output().unwrap().status.success());
    let vault = rig.start_unasked();
    let (mut node, _) = vault.node();
    operator("unfreeze");
    assert_eq!(node.denied(&taken), Deny::Approval);
}

#[test]
fn a_committee_that_says_another_residency_gets_no_certificate_for_it() {
    let (rig, network, vault) = founded();
    let (mut node, _) = vault.node();
    let mut committee = Next::after(&network).committee;
    committee.members[0].residency = Residency::Firmware;
    let shown = approve(&rig, &committee, Some(committee.hash()));
    assert!(said(&shown).contains("member 1: stays, NOW Firmware instead of Sealed"), "{shown:?}");
    assert_eq!(node.denied(&keys(&committee, 0)), Deny::Epoch);
}
