//! A network of five whose keys the bodies know: what it signed is all that may ever be believed.
#![allow(dead_code, reason = "shared by bodies in several crates, none of which needs all of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "constants of tests")]

use std::sync::OnceLock;

use k256::ecdsa::SigningKey;
use k256::ecdsa::signature::hazmat::PrehashSigner;
use torus_statement::certificate::SignedHeader;
use torus_statement::config::{Buffer, Endpoint, Member};
use torus_statement::dkg::{Attempt, CertifiedDealing, Dealing, KeyIndex};
use torus_statement::envelope::{Envelope, Kind, Label, Session};
use torus_statement::keycert::{MemberKeys, Residency};
use torus_statement::merkle::{PLACEHOLDER, inner, leaf};
use torus_statement::policy::{IssuerKey, IssuerPublicKey};
use torus_statement::receipt::{Receipt, SignedReceipt};
use torus_statement::state::{Assignment, KeyEntry, Proven, key};
use torus_statement::text::{ListedText, NetworkName, VerifierId, VerifierName};
use torus_statement::{
    Address, CommitCertificate, Committee, EpochConfig, Hash, Header, Index, KeyCertificate, KeyPart, Listing,
    MerkleProof, Point, Policy, Signature, SignedVote, Sizes, Step, TimeConstants, Verifier, Vote, Wire, keccak256,
};

/// Now, in seconds since 1970.
pub const NOW: u64 = 1_700_000_000;
/// The one user.
pub const USER: &str = "alice@example.com";
/// The round in which the one header was decided.
pub const ROUND: u32 = 1;

/// What keys are for.
#[derive(Clone, Copy)]
pub enum Purpose {
    /// Vaults' lasting keys.
    Identity = 1,
    /// Vaults' envelope keys.
    Envelope,
    /// Vaults' consensus keys.
    Consensus,
    /// Users' temporary keys and whatever else is a point.
    Other,
}

/// A number's key.
pub fn secret(purpose: Purpose, number: u8) -> SigningKey {
    let mut bytes = [purpose as u8; 32];
    bytes[31] = number;
    SigningKey::from_slice(&bytes).unwrap()
}

/// Its public key.
pub fn public(purpose: Purpose, number: u8) -> Point {
    Point::from_affine(*secret(purpose, number).verifying_key().as_affine()).unwrap()
}

/// A signature as vaults make them.
pub fn sign(key: &SigningKey, preimage: &[u8]) -> Signature {
    let signature: k256::ecdsa::Signature = key.sign_prehash(&keccak256(preimage)).unwrap();
    let signature = signature.normalize_s().unwrap_or(signature);
    Signature::from_bytes(&signature.to_bytes().into()).unwrap()
}

/// A member's index.
pub fn index(value: u8) -> Index {
    Index::new(value).unwrap()
}

/// The one verifier.
pub fn verifier() -> VerifierName {
    VerifierName::new("demo").unwrap()
}

/// (5, 3, 1).
pub fn sizes() -> Sizes {
    Sizes::new(5, 3, 1).unwrap()
}

/// The config of epoch 1.
pub fn config() -> &'static EpochConfig {
    static CONFIG: OnceLock<EpochConfig> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let network = NetworkName::new("devnet").unwrap();
        let sizes = sizes();
        let members = sizes
            .members()
            .map(|i| Member { identity: public(Purpose::Identity, i.get()), residency: Residency::Sealed });
        let committee = Committee {
            network: network.clone(),
            chain: [7; 32],
            epoch: 1,
            predecessor: [0; 32],
            sizes,
            members: members.collect(),
            end: (NOW + 86_400) * 1000,
            times: TimeConstants::DEFAULT,
            buffer: Buffer { batch: 8, low_water: 8 },
            genesis_time: (NOW - 86_400) * 1000,
            genesis_root: [0; 32],
        };
        let endpoint = |i: Index| Endpoint {
            http: format!("http://127.0.0.1:{}/jrpc", 8000 + u16::from(i.get())),
            p2p: "/ip4/127.0.0.1/tcp/9000".into(),
            bft: "/ip4/127.0.0.1/tcp/9100".into(),
        };
        let keys = KeyPart {
            attempt: 0,
            certificates: sizes.members().map(|i| certificate(&network, i)).collect(),
            endpoints: sizes.members().map(endpoint).collect(),
        };
        EpochConfig::new(committee, keys).unwrap()
    })
}

fn certificate(network: &NetworkName, index: Index) -> KeyCertificate {
    let keys = MemberKeys {
        network: network.clone(),
        epoch: 1,
        attempt: 0,
        index,
        identity: public(Purpose::Identity, index.get()),
        envelope: public(Purpose::Envelope, index.get()),
        consensus: public(Purpose::Consensus, index.get()),
        p2p: [index.get(); 32],
        residency: Residency::Sealed,
    };
    let signature = sign(&secret(Purpose::Identity, index.get()), &keys.preimage());
    KeyCertificate { keys, signature }
}

/// What the one verifier asks of a login; nobody has the secret parts of its issuer's keys.
pub fn asked() -> Verifier {
    let rsa = IssuerPublicKey::Rs256 { n: vec![0xc5; 256], e: vec![1, 0, 1] };
    let keys = [("r", rsa), ("e", IssuerPublicKey::Es256([3; 64])), ("d", IssuerPublicKey::EdDsa([4; 32]))];
    Verifier {
        name: verifier(),
        policy: Policy {
            issuer: "https://issuer".into(),
            audiences: vec!["torus".into(), "other".into()],
            id_claim: "email".into(),
            lowercase_id: true,
            max_age: 120,
            low_s: true,
        },
        keys: keys.map(|(id, key)| IssuerKey { id: id.into(), key }).into(),
    }
}

/// What the one certified header proves.
pub struct State {
    /// The header, with precommits of four.
    pub header: SignedHeader,
    /// What a login must prove.
    pub policy: Proven<Verifier>,
    /// The user's key.
    pub assignment: Proven<Assignment>,
    /// Its entry.
    pub key: Proven<KeyEntry>,
}

/// The certified state.
pub fn state() -> &'static State {
    static STATE: OnceLock<State> = OnceLock::new();
    STATE.get_or_init(|| certified(asked()))
}

/// The same of a network whose verifier is another.
pub fn certified(policy: Verifier) -> State {
    let number = KeyIndex::new(3, 5).unwrap();
    let assignment = Assignment { keys: vec![number, KeyIndex::new(4, 0).unwrap()], time: (NOW - 500) * 1000 };
    let commitments = (101..=105).map(|i| public(Purpose::Other, i)).collect();
    let entry = KeyEntry { public: public(Purpose::Other, 100), commitments };
    let places = [key::verifier(&verifier()), assignment_key(), key::key(number)];
    let values = [policy.to_bytes(), assignment.to_bytes(), entry.to_bytes()];
    let leaves: Vec<(Hash, Hash)> = places.iter().zip(&values).map(|(key, value)| (*key, leaf(key, value))).collect();
    let header = Header {
        chain: config().committee().chain,
        epoch: 1,
        height: 10,
        parent: [1; 32],
        time: (NOW - 5) * 1000,
        proposer: index(1),
        transactions: [2; 32],
        state: root(&leaves, 0),
        config: config().hash(),
        next_config: config().hash(),
    };
    let signatures = (1..=4).map(|i| (index(i), precommit(i, &header).signature)).collect();
    let [first, second, third] = places.map(|place| proof(&leaves, &place));
    State {
        header: SignedHeader { header, certificate: CommitCertificate { round: ROUND, signatures } },
        policy: Proven { value: policy, proof: first },
        assignment: Proven { value: assignment, proof: second },
        key: Proven { value: entry, proof: third },
    }
}

/// Where the user's assignment lies.
pub fn assignment_key() -> Hash {
    key::assignment(&verifier(), &key::user(&VerifierId::new(USER).unwrap()))
}

/// A member's precommit for a header.
pub fn precommit(member: u8, header: &Header) -> SignedVote {
    let vote = Vote { step: Step::Precommit, height: header.height, round: ROUND, block: Some(header.hash()) };
    let signature = sign(&secret(Purpose::Consensus, member), &vote.preimage(config()));
    SignedVote { vote, voter: index(member), signature }
}

fn bit(key: &Hash, depth: usize) -> bool {
    key[depth / 8] >> (7 - depth % 8) & 1 == 1
}

/// The root over leaves (key and hash) whose keys agree up to a depth.
fn root(leaves: &[(Hash, Hash)], depth: usize) -> Hash {
    match leaves {
        [] => PLACEHOLDER,
        [(_, hash)] => *hash,
        _ => {
            let (right, left): (Vec<_>, Vec<_>) = leaves.iter().partition(|(key, _)| bit(key, depth));
            inner(&root(&left, depth + 1), &root(&right, depth + 1))
        }
    }
}

fn proof(leaves: &[(Hash, Hash)], place: &Hash) -> MerkleProof {
    let (mut below, mut siblings) = (leaves.to_vec(), Vec::new());
    while below.len() > 1 {
        let depth = siblings.len();
        let (same, other): (Vec<_>, Vec<_>) = below.iter().partition(|(key, _)| bit(key, depth) == bit(place, depth));
        siblings.push(root(&other, depth + 1));
        below = same;
    }
    siblings.reverse();
    MerkleProof { siblings }
}

/// A member's receipt for a token's hash and the user's temporary key.
pub fn receipt(member: u8, token: Hash) -> Receipt {
    Receipt {
        token,
        temporary: public(Purpose::Other, 1),
        verifier: verifier(),
        time: NOW - 1,
        network: config().committee().network.clone(),
        epoch: 1,
        member: index(member),
        not_before: NOW - 500,
    }
}

/// The same, signed.
pub fn signed_receipt(member: u8, token: Hash) -> SignedReceipt {
    let data = receipt(member, token).text();
    let signature = sign(&secret(Purpose::Identity, member), data.as_bytes());
    SignedReceipt { data, signature }
}

/// What a member lists of itself in the contract.
pub fn listing() -> Listing {
    let text = |text| ListedText::new(text).unwrap();
    Listing {
        chain: 1,
        contract: Address([1; 20]),
        epoch: 1,
        account: Address([2; 20]),
        declared_ip: text("one.example.org:443"),
        bft: text("/dns4/one.example.org/tcp/1"),
        p2p: text("/dns4/one.example.org/tcp/2"),
    }
}

/// The attempt that everything of key generation is about.
pub const ATTEMPT: Attempt = Attempt { batch: 3, attempt: 1 };

/// Member 2's dealing.
pub fn dealing() -> Dealing {
    Dealing { dealer: index(2), digest: [5; 32] }
}

/// A member's promise to finish it.
pub fn ready(member: u8) -> Signature {
    sign(&secret(Purpose::Identity, member), &ATTEMPT.ready(config(), &dealing()))
}

/// The dealing with promises of four.
pub fn certified_dealing() -> CertifiedDealing {
    CertifiedDealing { dealing: dealing(), readies: (1..=4).map(|i| (index(i), ready(i))).collect() }
}

/// An envelope from member 2 to member 1, whose ciphertext is none.
pub fn envelope() -> Envelope {
    let (sender, receiver, ephemeral) = (index(2), index(1), public(Purpose::Other, 9));
    let preimage = Session::preimage(config(), sender, receiver, &ephemeral);
    let signature = sign(&secret(Purpose::Identity, 2), &preimage);
    let session = Session { config: config().hash(), sender, receiver, ephemeral, signature };
    let label = Label { attempt: ATTEMPT, kind: Kind::Echo, dealing: dealing() };
    Envelope { session, counter: 8, label, ciphertext: vec![1; 40] }
}
