//! A committee of five with keys that anyone can compute.

use k256::ecdsa::{SigningKey, signature::hazmat::PrehashSigner};
use libp2p::identity::{Keypair, ed25519};
use torus_statement::config::{Buffer, Committee, Endpoint, EpochConfig, KeyPart, Member, TimeConstants, chain_id};
use torus_statement::keycert::{KeyCertificate, MemberKeys, Residency};
use torus_statement::text::{NetworkName, VerifierName};
use torus_statement::{Body, Index, PublicKey, Signature, Sizes, Transaction, Wire, keccak256, sha256};

/// What a test key is for.
#[derive(Clone, Copy)]
pub(super) enum Use {
    Identity = 1,
    Envelope,
    Consensus,
}

pub(super) fn key(member: u8, what: Use) -> SigningKey {
    SigningKey::from_slice(&sha256("test", &[&[member, what as u8]])).unwrap()
}

pub(super) fn public(key: &SigningKey) -> PublicKey {
    k256::PublicKey::from(key.verifying_key()).into()
}

pub(super) fn sign(key: &SigningKey, preimage: &[u8]) -> Signature {
    let signature: k256::ecdsa::Signature = key.sign_prehash(&keccak256(preimage)).unwrap();
    let signature = signature.normalize_s().unwrap_or(signature);
    Signature::from_bytes(&signature.to_bytes().into()).unwrap()
}

pub(super) fn p2p(member: u8) -> Keypair {
    let secret = ed25519::SecretKey::try_from_bytes(sha256("test p2p", &[&[member]])).unwrap();
    ed25519::Keypair::from(secret).into()
}

pub(super) fn index(member: u8) -> Index {
    Index::new(member).unwrap()
}

pub(super) fn config(ports: u16) -> EpochConfig {
    config_with(ports, p2p)
}

/// The same with these p2p keys.
pub(super) fn config_with(ports: u16, p2p: impl Fn(u8) -> Keypair) -> EpochConfig {
    let (network, sizes) = (NetworkName::new("test").unwrap(), Sizes::new(5, 3, 1).unwrap());
    let genesis_time = 1_700_000_000_000;
    let certificate = |member: u8| {
        let keys = MemberKeys {
            network: network.clone(),
            epoch: 1,
            attempt: 0,
            index: index(member),
            identity: public(&key(member, Use::Identity)),
            envelope: public(&key(member, Use::Envelope)),
            consensus: public(&key(member, Use::Consensus)),
            p2p: p2p(member).public().try_into_ed25519().unwrap().to_bytes(),
            residency: Residency::Sealed,
        };
        let signature = sign(&key(member, Use::Identity), &keys.preimage());
        KeyCertificate { keys, signature }
    };
    let endpoint = |member: u8| Endpoint {
        http: String::new(),
        p2p: String::new(),
        bft: format!("/ip4/127.0.0.1/tcp/{}", ports + u16::from(member)),
    };
    let committee = Committee {
        chain: chain_id(&network, genesis_time),
        network: network.clone(),
        epoch: 1,
        predecessor: [0; 32],
        sizes,
        members: (1..=5)
            .map(|member| Member { identity: public(&key(member, Use::Identity)), residency: Residency::Sealed })
            .collect(),
        end: u64::MAX,
        times: TimeConstants::DEFAULT,
        buffer: Buffer { batch: 32, low_water: 64 },
        genesis_time,
        genesis_root: [0; 32],
    };
    let keys = KeyPart {
        attempt: 0,
        certificates: (1..=5).map(certificate).collect(),
        endpoints: (1..=5).map(endpoint).collect(),
    };
    EpochConfig::new(committee, keys).unwrap()
}

/// A transaction that the test chain takes: its "signature" is the hash of what is signed.
pub(super) fn transaction(config: &EpochConfig, number: u64) -> Vec<u8> {
    let body =
        Body::Assign { verifier: VerifierName::new("test").unwrap(), user: sha256("user", &[&number.to_be_bytes()]) };
    let preimage = Transaction::preimage(&config.hash(), index(1), number, &body);
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&keccak256(&preimage));
    Transaction { config: config.hash(), sender: index(1), sequence: number, body, signature }.to_bytes()
}
