//! A network of five with keys of its own, an issuer, and a login that holds, for tests to bend.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use k256::ecdsa::SigningKey;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use torus_statement::block::Header;
use torus_statement::certificate::{Certified, CommitCertificate, SignedHeader};
use torus_statement::config::{Buffer, Committee, Endpoint, KeyPart, Member};
use torus_statement::dkg::KeyIndex;
use torus_statement::keycert::{MemberKeys, Residency};
use torus_statement::merkle::{PLACEHOLDER, inner, leaf};
use torus_statement::policy::{IssuerKey, IssuerPublicKey, Policy};
use torus_statement::receipt::{Receipt, SignedReceipt};
use torus_statement::state::{Assignment, KeyEntry, Proven, key};
use torus_statement::text::{NetworkName, VerifierId, VerifierName};
use torus_statement::vote::{Step, Vote};
use torus_statement::{
    EpochConfig, Hash, Index, KeyCertificate, MerkleProof, Point, Signature, Sizes, TimeConstants, Verifier, Wire,
    keccak256,
};

use crate::base64url::encode;
use crate::{Clock, Commitment, Deny, EpochState, Grant, Inputs, Seen, decide};

/// Now, in seconds since 1970.
pub(super) const NOW: u64 = 1_700_000_000;
const RS256_KEY: &[u8] = include_bytes!("../../testdata/issuer-rs256.pk8");

pub(super) fn index(value: u8) -> Index {
    Index::new(value).unwrap()
}

fn secret(seed: u8, purpose: u8) -> SigningKey {
    let mut bytes = [purpose; 32];
    bytes[31] = seed;
    SigningKey::from_slice(&bytes).unwrap()
}

pub(super) fn public(key: &SigningKey) -> Point {
    Point::from_affine(*key.verifying_key().as_affine()).unwrap()
}

fn sign(key: &SigningKey, preimage: &[u8]) -> Signature {
    let (signature, _) = key.sign_prehash_recoverable(&keccak256(preimage)).unwrap();
    Signature::from_bytes(&signature.to_bytes().into()).unwrap()
}

fn identity(member: u8) -> SigningKey {
    secret(member, 1)
}

pub(super) fn temporary(seed: u8) -> Point {
    public(&secret(seed, 9))
}

pub(super) fn config(epoch: u64) -> EpochConfig {
    let network = NetworkName::new("devnet").unwrap();
    let sizes = Sizes::new(5, 3, 1).unwrap();
    let committee = Committee {
        network: network.clone(),
        chain: [7; 32],
        epoch,
        predecessor: [0; 32],
        sizes,
        members: (1..=5).map(|i| Member { identity: public(&identity(i)), residency: Residency::Sealed }).collect(),
        end: (NOW + 86_400) * 1000,
        times: TimeConstants::DEFAULT,
        buffer: Buffer { batch: 8, low_water: 8 },
        genesis_time: (NOW - 86_400) * 1000,
        genesis_root: [0; 32],
    };
    let certificates = (1..=5).map(|i| {
        let keys = MemberKeys {
            network: network.clone(),
            epoch,
            attempt: 0,
            index: index(i),
            identity: public(&identity(i)),
            envelope: public(&secret(i, 2)),
            consensus: public(&secret(i, 3)),
            p2p: [i; 32],
            residency: Residency::Sealed,
        };
        let signature = sign(&identity(i), &keys.preimage());
        KeyCertificate { keys, signature }
    });
    let endpoint = |i| Endpoint { http: format!("http://{i}"), p2p: String::new(), bft: String::new() };
    let keys = KeyPart { attempt: 0, certificates: certificates.collect(), endpoints: (1..=5).map(endpoint).collect() };
    EpochConfig::new(committee, keys).unwrap()
}

pub(super) fn certify(config: &EpochConfig, height: u64, time: u64, state: Hash) -> Certified {
    let header = Header {
        chain: config.committee().chain,
        epoch: config.committee().epoch,
        height,
        parent: [1; 32],
        time,
        proposer: index(1),
        transactions: [2; 32],
        state,
        config: config.hash(),
        next_config: config.hash(),
    };
    let vote = Vote { step: Step::Precommit, height, round: 0, block: Some(header.hash()) };
    let signatures = (1..=4).map(|i| (index(i), sign(&secret(i, 3), &vote.preimage(config)))).collect();
    SignedHeader { header, certificate: CommitCertificate { round: 0, signatures } }.verify(config).unwrap()
}

/// A state of these leaves: its root, and the proof of each.
fn tree(leaves: &[(Hash, Vec<u8>)]) -> (Hash, Vec<MerkleProof>) {
    let all: Vec<_> = leaves.iter().collect();
    let proofs = leaves.iter().map(|(place, _)| {
        let (mut here, mut siblings) = (all.clone(), Vec::new());
        for depth in 0.. {
            if here.len() < 2 {
                break;
            }
            let (mine, other): (Vec<_>, Vec<_>) =
                here.into_iter().partition(|(other, _)| bit(other, depth) == bit(place, depth));
            siblings.push(subtree(&other, depth + 1));
            here = mine;
        }
        siblings.reverse();
        MerkleProof { siblings }
    });
    (subtree(&all, 0), proofs.collect())
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

pub(super) enum Issuer {
    Rs256(RsaKeyPair),
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl Issuer {
    pub(super) fn rs256() -> Self {
        Self::Rs256(RsaKeyPair::from_pkcs8(RS256_KEY).unwrap())
    }

    pub(super) fn es256() -> Self {
        let rng = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
        Self::Es256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &rng).unwrap())
    }

    pub(super) fn eddsa() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::EdDsa(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
    }

    pub(super) fn public(&self) -> IssuerPublicKey {
        match self {
            Self::Rs256(key) => {
                let components = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(key.public_key());
                IssuerPublicKey::Rs256 { n: components.n, e: components.e }
            }
            Self::Es256(key) => IssuerPublicKey::Es256(key.public_key().as_ref()[1..].try_into().unwrap()),
            Self::EdDsa(key) => IssuerPublicKey::EdDsa(key.public_key().as_ref().try_into().unwrap()),
        }
    }

    pub(super) fn algorithm(&self) -> &'static str {
        crate::signature::algorithm(&self.public())
    }

    /// Low-s for ES256.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let rng = SystemRandom::new();
        match self {
            Self::Rs256(key) => {
                let mut signature = alloc::vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &rng, message, &mut signature).unwrap();
                signature
            }
            Self::Es256(key) => {
                let signature = key.sign(&rng, message).unwrap().as_ref().to_vec();
                if signature[32..] > crate::signature::P256_HALF_ORDER[..] { twin(&signature) } else { signature }
            }
            Self::EdDsa(key) => key.sign(message).as_ref().to_vec(),
        }
    }
}

/// The other ECDSA signature of the same message: s becomes n - s.
pub(super) fn twin(signature: &[u8]) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let mut out = signature.to_vec();
    let mut borrow = 0i16;
    for i in (0..32).rev() {
        let difference = i16::from(ORDER[i]) - i16::from(signature[32 + i]) - borrow;
        borrow = i16::from(difference < 0);
        out[32 + i] = difference.rem_euclid(256) as u8;
    }
    out
}

/// A login of alice that holds in every respect; tests change one thing.
pub(super) struct Case {
    pub(super) config: EpochConfig,
    pub(super) issuer: Issuer,
    pub(super) header: String,
    pub(super) claims: String,
    pub(super) token: String,
    pub(super) named: VerifierName,
    pub(super) receipts: Vec<SignedReceipt>,
    pub(super) commitment: Option<Commitment>,
    pub(super) state: EpochState,
    pub(super) clock: Clock,
    pub(super) seen: Seen,
    pub(super) not_before: u64,
    pub(super) room: bool,
    pub(super) pinned: Option<Hash>,
    pub(super) certified: Certified,
    pub(super) policy: Proven<Verifier>,
    pub(super) user: Hash,
    pub(super) assignment: Proven<Assignment>,
    pub(super) key: Proven<KeyEntry>,
}

pub(super) const CLAIMS: &str = r#"{"iss":"https://issuer","aud":"torus","sub":"1","email":"alice@example.com","email_verified":true,"iat":1699999990,"exp":1700000110}"#;

impl Case {
    pub(super) fn new(issuer: Issuer) -> Self {
        let config = config(1);
        let named = VerifierName::new("demo").unwrap();
        let id = VerifierId::new("alice@example.com").unwrap();
        let key_index = KeyIndex::new(3, 5).unwrap();
        let assignment = Assignment { keys: alloc::vec![key_index, KeyIndex::new(4, 0).unwrap()], time: 5 };
        let entry = KeyEntry { public: temporary(100), commitments: (101..=105).map(temporary).collect() };
        let verifier = Verifier {
            name: named.clone(),
            policy: Policy {
                issuer: "https://issuer".into(),
                audiences: ["torus".to_string(), "other".into()].into(),
                id_claim: "email".into(),
                lowercase_id: false,
                max_age: 120,
                low_s: true,
            },
            keys: [IssuerKey { id: "k1".into(), key: issuer.public() }].into(),
        };
        let user = key::user(&id);
        let unproven = || MerkleProof { siblings: Vec::new() };
        let header = format!(r#"{{"alg":"{}","kid":"k1","typ":"JWT"}}"#, issuer.algorithm());
        let mut case = Self {
            issuer,
            header,
            claims: CLAIMS.into(),
            token: String::new(),
            named,
            receipts: Vec::new(),
            commitment: None,
            state: EpochState { active: true, frozen: false },
            clock: Clock { own: NOW * 1000, floor: 0 },
            seen: Seen { height: 10, time: (NOW - 5) * 1000 },
            not_before: NOW - 1000,
            room: true,
            pinned: None,
            certified: certify(&config, 10, (NOW - 5) * 1000, [0; 32]),
            config,
            policy: Proven { value: verifier, proof: unproven() },
            user,
            assignment: Proven { value: assignment, proof: unproven() },
            key: Proven { value: entry, proof: unproven() },
        };
        case.prove();
        case.login();
        case
    }

    /// Makes policy, assignment and entry as they are now the state of the header.
    pub(super) fn prove(&mut self) {
        let index = self.assignment.value.keys[0];
        let (root, proofs) = tree(&[
            (key::verifier(&self.policy.value.name), self.policy.value.to_bytes()),
            (key::assignment(&self.policy.value.name, &self.user), self.assignment.value.to_bytes()),
            (key::key(index), self.key.value.to_bytes()),
        ]);
        let [policy, assignment, key] = <[MerkleProof; 3]>::try_from(proofs).unwrap();
        (self.policy.proof, self.assignment.proof, self.key.proof) = (policy, assignment, key);
        let header = self.certified.header();
        self.certified = certify(&self.config, header.height, header.time, root);
    }

    /// Changes the verifier, in the state.
    pub(super) fn verifier(&mut self, change: impl FnOnce(&mut Verifier)) {
        change(&mut self.policy.value);
        self.prove();
    }

    /// Makes the token from header and claims, and commits to it.
    pub(super) fn login(&mut self) {
        let signed = format!("{}.{}", encode(self.header.as_bytes()), encode(self.claims.as_bytes()));
        let signature = self.issuer.sign(signed.as_bytes());
        self.token = format!("{signed}.{}", encode(&signature));
        self.commit();
    }

    /// Commits to the token as it is, at every member.
    pub(super) fn commit(&mut self) {
        let token = keccak256(self.token.as_bytes());
        self.commitment = Some(Commitment { token, temporary: temporary(1) });
        self.receipts = (1..=5).map(|member| sign_receipt(&self.receipt(member), member)).collect();
    }

    /// The receipt that a member gives.
    pub(super) fn receipt(&self, member: u8) -> Receipt {
        Receipt {
            token: keccak256(self.token.as_bytes()),
            temporary: temporary(1),
            verifier: self.named.clone(),
            time: NOW - 1,
            network: self.config.committee().network.clone(),
            epoch: self.config.committee().epoch,
            member: index(member),
            not_before: NOW - 500,
        }
    }

    /// Replaces all receipts by those of some members, each bent first.
    pub(super) fn receipts_of(&mut self, members: &[u8], bend: impl Fn(&mut Receipt)) {
        self.receipts = members
            .iter()
            .map(|member| {
                let mut receipt = self.receipt(*member);
                bend(&mut receipt);
                sign_receipt(&receipt, *member)
            })
            .collect();
    }

    pub(super) fn decide(&self) -> Result<Grant, Deny> {
        decide(&Inputs {
            config: &self.config,
            member: index(2),
            epoch: self.state,
            clock: self.clock,
            seen: self.seen,
            not_before: self.not_before,
            commitment: self.commitment.as_ref(),
            room: self.room,
            pinned: self.pinned.as_ref(),
            token: &self.token,
            named: &self.named,
            receipts: &self.receipts,
            header: &self.certified,
            policy: &self.policy,
            user: &self.user,
            assignment: &self.assignment,
            key: &self.key,
        })
    }

    pub(super) fn denied(&self) -> Option<Deny> {
        self.decide().err()
    }

    /// The refusal of a login with these claims.
    pub(super) fn with_claims(&mut self, claims: &str) -> Option<Deny> {
        self.claims = claims.into();
        self.login();
        self.denied()
    }

    /// The refusal of a login with this header.
    pub(super) fn with_header(&mut self, header: &str) -> Option<Deny> {
        self.header = header.into();
        self.login();
        self.denied()
    }
}

/// A receipt signed with the identity of `member`, whatever it says.
pub(super) fn sign_receipt(receipt: &Receipt, member: u8) -> SignedReceipt {
    let data = receipt.text();
    let signature = sign(&identity(member), data.as_bytes());
    SignedReceipt { data, signature }
}
