//! Reveals through the socket, up to the share itself: no key was generated here, so a reveal that satisfies every
//! condition is refused for want of a share, and only such a one.

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use torus_ipc::{Deny, LoginProof, Lookup, Request};
use torus_statement::certificate::SignedHeader;
use torus_statement::codec::Wire;
use torus_statement::dkg::KeyIndex;
use torus_statement::merkle::{PLACEHOLDER, inner, leaf};
use torus_statement::receipt::{Receipt, SignedReceipt};
use torus_statement::state::{Assignment, KeyEntry, Proven, key};
use torus_statement::text::{VerifierId, VerifierName};
use torus_statement::{Hash, Index, MerkleProof, Verifier, keccak256};
use torus_vault::clock::{Guards, Now};
use torus_vault::commit::Commits;
use torus_vault::store::Store;

use crate::commits::{ask, receipt, status, temporary};
use crate::network::{ISSUER, Network, TIMES, now};
use crate::rig::{Node, Rig, VAULT};

pub(crate) fn token(issuer: &ring::signature::Ed25519KeyPair, issued: u64, audience: &str) -> String {
    token_of(issuer, "Alice@example.com", issued, audience)
}

pub(crate) fn token_of(issuer: &ring::signature::Ed25519KeyPair, email: &str, issued: u64, audience: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims = format!(
        r#"{{"iss":"{ISSUER}","aud":"{audience}","email":"{email}","email_verified":true,"iat":{issued},"exp":{}}}"#,
        issued + 600
    );
    let signed = format!("{}.{}", part(r#"{"alg":"EdDSA","kid":"1","typ":"JWT"}"#), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// A state of Alice's assignment, her key, and the verifiers: what a reveal of hers proves under each of two verifiers.
fn state(verifiers: &[Verifier]) -> (Hash, [Proven<Verifier>; 2], Lookup) {
    let user = key::user(&VerifierId::new("alice@example.com").unwrap());
    let assignment = Assignment { keys: vec![KeyIndex::from_number(5)], time: 1 };
    let points = (10..15).map(temporary).collect();
    let entry = KeyEntry { public: temporary(9), commitments: points };
    let mut leaves = vec![
        (key::assignment(&verifiers[0].name, &user), assignment.to_bytes()),
        (key::key(KeyIndex::from_number(5)), entry.to_bytes()),
    ];
    leaves.extend(verifiers.iter().map(|verifier| (key::verifier(&verifier.name), verifier.to_bytes())));
    let lookup = Lookup {
        user,
        assignment: Proven { value: assignment, proof: prove(&leaves, 0) },
        key: Proven { value: entry, proof: prove(&leaves, 1) },
    };
    let policy = |at: usize| Proven { value: verifiers[at].clone(), proof: prove(&leaves, 2 + at) };
    (root(&leaves), [policy(0), policy(1)], lookup)
}

/// The root of a state of these leaves.
pub(crate) fn root(leaves: &[(Hash, Vec<u8>)]) -> Hash {
    subtree(&leaves.iter().collect::<Vec<_>>(), 0)
}

/// The proof of one of them.
pub(crate) fn prove(leaves: &[(Hash, Vec<u8>)], wanted: usize) -> MerkleProof {
    let (mut here, mut siblings) = (leaves.iter().collect::<Vec<_>>(), Vec::new());
    for depth in 0.. {
        if here.len() < 2 {
            break;
        }
        let side = bit(&leaves[wanted].0, depth);
        let (mine, other): (Vec<_>, Vec<_>) = here.into_iter().partition(|(place, _)| bit(place, depth) == side);
        siblings.push(subtree(&other, depth + 1));
        here = mine;
    }
    siblings.reverse();
    MerkleProof { siblings }
}

fn subtree(leaves: &[&(Hash, Vec<u8>)], depth: usize) -> Hash {
    match leaves {
        [] => PLACEHOLDER,
        [(place, value)] => leaf(place, value),
        _ => {
            let (left, right): (Vec<_>, Vec<_>) = leaves.iter().copied().partition(|(place, _)| !bit(place, depth));
            inner(&subtree(&left, depth + 1), &subtree(&right, depth + 1))
        }
    }
}

fn bit(place: &Hash, at: usize) -> bool {
    place[at / 8] >> (7 - at % 8) & 1 == 1
}

/// A receipt of another member, who saw the same commitment now.
fn other_receipt(network: &Network, member: u8, own: &Receipt) -> SignedReceipt {
    let receipt = Receipt { member: Index::new(member).unwrap(), ..own.clone() };
    SignedReceipt { signature: network.sign_identity(member, receipt.text().as_bytes()), data: receipt.text() }
}

struct Login {
    network: Network,
    header: SignedHeader,
    policies: [Proven<Verifier>; 2],
    lookup: Lookup,
}

impl Login {
    fn new(network: Network, node: &mut Node) -> Self {
        let (root, policies, lookup) = state(&network.file.verifiers);
        let header = network.certify(network.header(1, network.genesis(), now(), root));
        assert_eq!(node.ask(&Request::Advance(Box::new(header.clone()))), torus_ipc::Response::Done);
        Self { network, header, policies, lookup }
    }

    fn proof(&self, token: &str, receipts: Vec<SignedReceipt>) -> LoginProof {
        LoginProof {
            token: token.to_owned(),
            verifier: VerifierName::new("demo").unwrap(),
            receipts,
            header: self.header.clone(),
            policy: self.policies[0].clone(),
            lookup: self.lookup.clone(),
            session_seconds: 3600,
        }
    }

    /// Commits a token for a temporary key, here and at the others.
    fn commit(&self, node: &mut Node, token: &str, key: u8, verifier: &str) -> Vec<SignedReceipt> {
        let (own, fields) = receipt(&self.network, node, &ask(keccak256(token.as_bytes()), key, verifier));
        std::iter::once(own).chain((2..=4).map(|member| other_receipt(&self.network, member, &fields))).collect()
    }

    fn refusal(&self, node: &mut Node, proof: LoginProof) -> Deny {
        node.denied(&Request::Release(Box::new(proof)))
    }
}

#[test]
fn every_theft_is_refused_before_the_share_is_looked_for() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let vault = rig.start(&network.file.hash(), None);
    let (mut node, _) = vault.node();
    let login = Login::new(network, &mut node);
    let n = &login.network;
    receipt(n, &mut node, &ask([0; 32], 1, "demo"));
    let not_before = status(&mut node).not_before;
    std::thread::sleep(std::time::Duration::from_millis((not_before * 1000).saturating_sub(now()) + 50));

    let good = token(&n.issuer, now() / 1000, "app");
    let receipts = login.commit(&mut node, &good, 1, "demo");
    // Everything holds; there is just no share. The refusal burns nothing: it may be tried again.
    for _ in 0..2 {
        assert_eq!(login.refusal(&mut node, login.proof(&good, receipts.clone())), Deny::NoShare);
    }

    // q receipts of which one member signed two.
    let mut doubled = receipts.clone();
    doubled[3] = doubled[2].clone();
    assert_eq!(login.refusal(&mut node, login.proof(&good, doubled)), Deny::Receipts);
    assert_eq!(login.refusal(&mut node, login.proof(&good, receipts[..3].to_vec())), Deny::Receipts);
    // A second temporary key for a held hash: no receipt, and receipts of others for it do not open this vault.
    assert_eq!(node.denied(&ask(keccak256(good.as_bytes()), 2, "demo")), Deny::Held);
    let stolen: Vec<SignedReceipt> = (2..=5)
        .map(|member| {
            let own = Receipt { temporary: temporary(2), ..Receipt::parse(&receipts[0].data).unwrap() };
            other_receipt(n, member, &own)
        })
        .collect();
    assert_eq!(login.refusal(&mut node, login.proof(&good, stolen)), Deny::Receipts);
    // One token under two verifiers.
    let mut elsewhere = login.proof(&good, receipts.clone());
    elsewhere.verifier = VerifierName::new("other").unwrap();
    assert_eq!(login.refusal(&mut node, elsewhere.clone()), Deny::Verifier);
    elsewhere.policy = login.policies[1].clone();
    assert_eq!(login.refusal(&mut node, elsewhere), Deny::Proof);
    // A policy or an issuer's key of the node's own.
    let mut own_policy = login.proof(&good, receipts.clone());
    own_policy.policy.value.policy.audiences.push("thief".to_owned());
    assert_eq!(login.refusal(&mut node, own_policy), Deny::Verifier);
    let mut own_key = login.proof(&good, receipts.clone());
    own_key.policy.value.keys = login.policies[1].value.keys.iter().cycle().take(2).cloned().collect();
    assert_eq!(login.refusal(&mut node, own_key), Deny::Verifier);
    // A token nobody committed here, a lax twin of a committed one, one of before not-before, one for somebody else.
    let uncommitted = token(&n.issuer, now() / 1000 + 1, "app");
    assert_eq!(login.refusal(&mut node, login.proof(&uncommitted, receipts.clone())), Deny::NotCommitted);
    let twin = format!("{good}=");
    let twin_receipts = login.commit(&mut node, &twin, 3, "demo");
    assert_eq!(login.refusal(&mut node, login.proof(&twin, twin_receipts)), Deny::TokenForm);
    let old = token(&n.issuer, not_before - 1, "app");
    let old_receipts = login.commit(&mut node, &old, 4, "demo");
    assert_eq!(login.refusal(&mut node, login.proof(&old, old_receipts)), Deny::NotBefore);
    // A mapping that the header does not prove.
    let mut moved = login.proof(&good, receipts.clone());
    moved.lookup.assignment.value.keys = vec![KeyIndex::from_number(6)];
    assert_eq!(login.refusal(&mut node, moved), Deny::Proof);
    // A header that is not certified, and one that is older than another that was seen.
    let mut forged = login.proof(&good, receipts.clone());
    forged.header.header.state = [7; 32];
    assert_eq!(login.refusal(&mut node, forged), Deny::Header);
    let next = n.certify(n.header(2, login.header.header.hash(), now() + 1, login.header.header.state));
    assert_eq!(node.ask(&Request::Advance(Box::new(next))), torus_ipc::Response::Done);
    assert_eq!(login.refusal(&mut node, login.proof(&good, receipts)), Deny::Stale);
    let log = vault.log();
    assert!(!log.contains("alice") && !log.contains(&good), "the log names a user or a token");
}

#[test]
fn a_reveal_of_a_post_dated_token_is_refused_and_keeps_its_commitment() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let vault = rig.start(&network.file.hash(), None);
    let (mut node, _) = vault.node();
    let login = Login::new(network, &mut node);
    let began = now();
    let in_time = token(&login.network.issuer, began / 1000 + 2, "app");
    let post_dated = token(&login.network.issuer, began / 1000 + 7200, "app");
    let forged = format!("{}{}", &post_dated[..post_dated.len() - 3], "AAA");
    for (token, refusal) in [(&in_time, Deny::NoShare), (&post_dated, Deny::TokenTime), (&forged, Deny::TokenSignature)]
    {
        let receipts = login.commit(&mut node, token, 1, "demo");
        let refused = login.refusal(&mut node, login.proof(token, receipts));
        // The first may come before this vault's not-before.
        assert!(refused == refusal || refused == Deny::NotBefore && refusal == Deny::NoShare, "{refused:?}");
    }
    assert_eq!(vault.log().matches("issued after it was committed").count(), 1, "{}", vault.log());
    vault.stop();

    // An ordinary commitment's time is over two hours later; that of the post-dated token is not.
    let store = Store::open(&rig.path("data")).unwrap();
    let commits = Commits::open(&store, &TIMES).unwrap();
    let time = began + 2 * 3_600_000;
    store.write(|change| commits.drop_expired(change, &Now { time, guards: Guards::default(), own: time })).unwrap();
    let held = |token: &str| store.read(|view| commits.find(view, &keccak256(token.as_bytes()))).unwrap();
    assert!(held(&in_time).is_none() && held(&forged).is_none());
    assert_eq!(held(&post_dated).unwrap().commitment.temporary, temporary(1));
}

#[test]
fn a_frozen_vault_serves_nobody_until_its_operator_says_so_and_votes_on() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let genesis = network.file.hash();
    let word = |verb: &str| {
        let said = Command::new(VAULT).arg(verb).arg("--data").arg(rig.path("data")).output().unwrap();
        (said.status.success(), String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned())
    };
    let (heard, told) = word("freeze");
    assert!(!heard && told.contains("no vault is running"), "{told}");
    let vault = rig.start(&genesis, None);
    let (mut node, _) = vault.node();
    let login = Login::new(network, &mut node);
    receipt(&login.network, &mut node, &ask([1; 32], 1, "demo"));
    // The node is hostile: it keeps the vault busy and reads nothing while the operator speaks.
    for _ in 0..2000 {
        node.send(&Request::Status);
    }
    assert!(word("freeze").0);
    let (mut node, _) = rejoin(&vault, node);
    for _ in 0..2 {
        assert_eq!(node.denied(&ask([2; 32], 1, "demo")), Deny::Frozen);
        let token = token(&login.network.issuer, now() / 1000, "app");
        assert_eq!(login.refusal(&mut node, login.proof(&token, Vec::new())), Deny::Frozen);
    }
    let next = |height: u64, parent: &SignedHeader| {
        let header = login.network.header(height, parent.header.hash(), now(), [1; 32]);
        Request::Advance(Box::new(login.network.certify(header)))
    };
    assert_eq!(node.ask(&next(2, &login.header)), torus_ipc::Response::Done, "it follows the log");
    vault.stop();

    let vault = rig.start(&genesis, None);
    let (mut node, _) = vault.node();
    assert_eq!(node.denied(&ask([2; 32], 1, "demo")), Deny::Frozen, "over a restart too");
    let (heard, told) = word("unfreeze");
    assert!(heard && told.contains("resumed"), "{told}");
    receipt(&login.network, &mut node, &ask([2; 32], 1, "demo"));
    vault.stop();
}

/// A fresh connection in place of one.
fn rejoin(vault: &crate::rig::Running, node: Node) -> (Node, torus_ipc::Hello) {
    drop(node);
    vault.node()
}

#[test]
fn limits_that_do_not_fit_the_network_are_told_at_the_start() {
    let (rig, own) = Rig::made();
    let network = Network::found(&rig, own);
    let vault = rig.start_with(&["--limits", "all=10,reserved=6"], &network.file.hash());
    let (code, log) = vault.ended();
    assert_eq!(code, Some(1));
    assert!(log.contains("2 verifiers with 6 releases reserved for each are more than 10 in all"), "{log}");
}
