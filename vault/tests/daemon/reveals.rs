//! Reveals through the socket, up to the share itself: no key was generated here, so a reveal that satisfies every
//! condition is refused for want of a share, and only such a one.

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
use torus_statement::{Hash, Index, MerkleProof, keccak256};

use crate::commits::{ask, receipt, status, temporary};
use crate::network::{ISSUER, Network, now};
use crate::rig::{Node, Rig};

pub(crate) fn token(issuer: &ring::signature::Ed25519KeyPair, issued: u64, audience: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims = format!(
        r#"{{"iss":"{ISSUER}","aud":"{audience}","email":"Alice@example.com","iat":{issued},"exp":{}}}"#,
        issued + 600
    );
    let signed = format!("{}.{}", part(r#"{"alg":"EdDSA","kid":"1","typ":"JWT"}"#), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// Alice's assignment and key as the only two leaves of a state.
fn state() -> (Hash, Lookup) {
    let verifier = VerifierName::new("demo").unwrap();
    let user = key::user(&VerifierId::new("alice@example.com").unwrap());
    let assignment = Assignment { keys: vec![KeyIndex::from_number(5)], time: 1 };
    let points = (10..15).map(temporary).collect();
    let entry = KeyEntry { public: temporary(9), commitments: points };
    let leaves = vec![
        (key::assignment(&verifier, &user), assignment.to_bytes()),
        (key::key(KeyIndex::from_number(5)), entry.to_bytes()),
    ];
    let lookup = Lookup {
        assignment: Proven { value: assignment, proof: prove(&leaves, 0) },
        key: Proven { value: entry, proof: prove(&leaves, 1) },
    };
    (root(&leaves), lookup)
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
    lookup: Lookup,
}

impl Login {
    fn new(network: Network, node: &mut Node) -> Self {
        let (root, lookup) = state();
        let header = network.certify(network.header(1, network.genesis(), now(), root));
        assert_eq!(node.ask(&Request::Advance(Box::new(header.clone()))), torus_ipc::Response::Done);
        Self { network, header, lookup }
    }

    fn proof(&self, token: &str, receipts: Vec<SignedReceipt>) -> LoginProof {
        LoginProof {
            token: token.to_owned(),
            verifier: VerifierName::new("demo").unwrap(),
            receipts,
            header: self.header.clone(),
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
    assert_eq!(login.refusal(&mut node, elsewhere), Deny::TokenAudience);
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
