//! A network of five whose first member is the vault under test and whose others are keys in this process.

use std::time::{SystemTime, UNIX_EPOCH};

use k256::ecdsa::SigningKey;
use k256::ecdsa::signature::hazmat::PrehashSigner;
use torus_statement::certificate::{CommitCertificate, SignedHeader};
use torus_statement::codec::Wire;
use torus_statement::config::{Buffer, Endpoint, Member, chain_id};
use torus_statement::keycert::{MemberKeys, Residency};
use torus_statement::policy::IssuerPublicKey;
use torus_statement::text::{NetworkName, VerifierName};
use torus_statement::vote::{SignedVote, Step, Vote};
use torus_statement::{
    Committee, EpochConfig, Hash, Header, Index, IssuerKey, KeyCertificate, KeyPart, NetworkFile, Point, Policy,
    Signature, Sizes, TimeConstants, Verifier, keccak256,
};

use crate::rig::Rig;

/// The keys of members 2 to 5, and what everybody knows.
pub(crate) struct Network {
    pub(crate) file: NetworkFile,
    pub(crate) issuer: ring::signature::Ed25519KeyPair,
    pub(crate) identities: Vec<SigningKey>,
    consensus: Vec<SigningKey>,
}

/// Short times, so that tests need not wait for minutes.
pub(crate) const TIMES: TimeConstants = TimeConstants {
    clock_behind: 1000,
    receipt_window: 10_000,
    epoch_guard: 500,
    start_guard: 2000,
    ..TimeConstants::DEFAULT
};

pub(crate) const ISSUER: &str = "https://issuer.example";

impl Network {
    /// Founds it around a member that was made, and gives that member the file.
    pub(crate) fn found(rig: &Rig, own: KeyCertificate) -> Self {
        Self::found_at(rig, own, now())
    }

    pub(crate) fn found_at(rig: &Rig, own: KeyCertificate, genesis_time: u64) -> Self {
        let network = NetworkName::new("testnet").unwrap();
        let identities: Vec<SigningKey> = (2..=5).map(|member| key(1, member)).collect();
        let consensus: Vec<SigningKey> = (2..=5).map(|member| key(2, member)).collect();
        let mut certificates = vec![own];
        for (at, member) in (2u8..=5).enumerate() {
            let keys = MemberKeys {
                network: network.clone(),
                epoch: 1,
                attempt: 0,
                index: Index::new(member).unwrap(),
                identity: public(&identities[at]),
                envelope: public(&key(3, member)),
                consensus: public(&consensus[at]),
                p2p: [member; 32],
                residency: Residency::Sealed,
            };
            let signature = sign(&identities[at], &keys.preimage());
            certificates.push(KeyCertificate { keys, signature });
        }
        let (file, issuer) = file(certificates, genesis_time);
        std::fs::write(rig.path("network.torus"), file.to_bytes()).unwrap();
        Self { file, issuer, identities, consensus }
    }

    pub(crate) fn config(&self) -> &EpochConfig {
        &self.file.config
    }

    /// A header on top of a parent (the chain at genesis), one second after it at least.
    pub(crate) fn header(&self, height: u64, parent: Hash, time: u64, state: Hash) -> Header {
        let config = self.config().hash();
        Header {
            chain: self.config().committee().chain,
            epoch: 1,
            height,
            parent,
            time,
            proposer: Index::new(2).unwrap(),
            transactions: [0; 32],
            state,
            config,
            next_config: config,
        }
    }

    pub(crate) fn genesis(&self) -> Hash {
        self.config().committee().chain
    }

    /// Certified by members 2 to 5.
    pub(crate) fn certify(&self, header: Header) -> SignedHeader {
        let vote = Vote { step: Step::Precommit, height: header.height, round: 0, block: Some(header.hash()) };
        let signatures =
            (2..=5).map(|member| (Index::new(member).unwrap(), self.vote(member, vote).signature)).collect();
        SignedHeader { header, certificate: CommitCertificate { round: 0, signatures } }
    }

    pub(crate) fn vote(&self, member: u8, vote: Vote) -> SignedVote {
        let signature = sign(&self.consensus[usize::from(member) - 2], &vote.preimage(self.config()));
        SignedVote { vote, voter: Index::new(member).unwrap(), signature }
    }

    pub(crate) fn sign_identity(&self, member: u8, preimage: &[u8]) -> Signature {
        sign(&self.identities[usize::from(member) - 2], preimage)
    }
}

/// A network file of five certificates, and the key of its verifiers' issuer.
pub(crate) fn file(
    certificates: Vec<KeyCertificate>,
    genesis_time: u64,
) -> (NetworkFile, ring::signature::Ed25519KeyPair) {
    let network = NetworkName::new("testnet").unwrap();
    let committee = Committee {
        chain: chain_id(&network, genesis_time),
        network,
        epoch: 1,
        predecessor: [0; 32],
        sizes: Sizes::new(5, 3, 1).unwrap(),
        members: certificates
            .iter()
            .map(|certificate| Member { identity: certificate.keys.identity, residency: Residency::Sealed })
            .collect(),
        end: u64::MAX,
        times: TIMES,
        buffer: Buffer { batch: 4, low_water: 4 },
        genesis_time,
        genesis_root: [0; 32],
    };
    let endpoint = Endpoint { http: String::new(), p2p: String::new(), bft: String::new() };
    let keys = KeyPart { attempt: 0, certificates, endpoints: vec![endpoint; 5] };
    let issuer = ring::signature::Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
    let public = ring::signature::KeyPair::public_key(&issuer).as_ref().try_into().unwrap();
    let verifiers = vec![verifier("demo", "app", public), verifier("other", "web", public)];
    (NetworkFile { config: EpochConfig::new(committee, keys).unwrap(), verifiers }, issuer)
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A key of a member that is none of a vault's.
pub(crate) fn key(kind: u8, member: u8) -> SigningKey {
    SigningKey::from_slice(&keccak256(&[kind, member])).unwrap()
}

pub(crate) fn public(key: &SigningKey) -> Point {
    Point::from_affine(*key.verifying_key().as_affine()).unwrap()
}

pub(crate) fn sign(key: &SigningKey, preimage: &[u8]) -> Signature {
    let signature: k256::ecdsa::Signature = key.sign_prehash(&keccak256(preimage)).unwrap();
    let signature = signature.normalize_s().unwrap_or(signature);
    Signature::from_bytes(&signature.to_bytes().into()).unwrap()
}

fn verifier(name: &str, audience: &str, key: [u8; 32]) -> Verifier {
    Verifier {
        name: VerifierName::new(name).unwrap(),
        policy: Policy {
            issuer: ISSUER.to_owned(),
            audiences: vec![audience.to_owned()],
            id_claim: "email".to_owned(),
            lowercase_id: true,
            max_age: 600,
            low_s: false,
        },
        keys: vec![IssuerKey { id: "1".to_owned(), key: IssuerPublicKey::EdDsa(key) }],
    }
}
