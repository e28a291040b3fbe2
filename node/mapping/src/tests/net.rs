//! A committee whose keys the tests hold, and the statements that its vaults and nodes would sign.

use ed25519_dalek::Signer as _;
use k256::ecdsa::SigningKey;
use k256::ecdsa::signature::hazmat::PrehashSigner;
use k256::{ProjectivePoint, Scalar};
use torus_sharing::{PublishedKey, PublishedKeys};
use torus_statement::config::{Buffer, Endpoint, Member, chain_id};
use torus_statement::dkg::{Attempt, CertifiedDealing, Dealing, published_digest};
use torus_statement::keycert::{MemberKeys, Residency};
use torus_statement::policy::{IssuerKey, IssuerPublicKey, Policy};
use torus_statement::text::{NetworkName, VerifierId, VerifierName};
use torus_statement::{
    AuditHead, Body, Committee, EpochConfig, Hash, Index, KeyCertificate, KeyPart, Point, Signature, SignedAuditHead,
    Sizes, TimeConstants, Transaction, Verifier, keccak256,
};

/// The founding time of every test network.
pub(crate) const START: u64 = 1_700_000_000_000;

pub(crate) struct Net {
    pub(crate) config: EpochConfig,
    pub(crate) verifiers: Vec<Verifier>,
    pub(crate) identities: Vec<SigningKey>,
    pub(crate) consensus: Vec<SigningKey>,
    pub(crate) nodes: Vec<ed25519_dalek::SigningKey>,
}

pub(crate) fn at(value: u8) -> Index {
    Index::new(value).unwrap()
}

pub(crate) fn point(number: u64) -> Point {
    Point::new(&(ProjectivePoint::GENERATOR * Scalar::from(number))).unwrap()
}

fn key(tag: u8, member: u8) -> SigningKey {
    let mut bytes = [7; 32];
    bytes[0] = tag;
    bytes[1] = member;
    SigningKey::from_slice(&bytes).unwrap()
}

pub(crate) fn public(key: &SigningKey) -> Point {
    Point::from_affine(*key.verifying_key().as_affine()).unwrap()
}

pub(crate) fn sign(key: &SigningKey, preimage: &[u8]) -> Signature {
    let signature: k256::ecdsa::Signature = key.sign_prehash(&keccak256(preimage)).unwrap();
    let signature = signature.normalize_s().unwrap_or(signature);
    Signature::from_bytes(&signature.to_bytes().into()).unwrap()
}

pub(crate) fn name(text: &str) -> VerifierName {
    VerifierName::new(text).unwrap()
}

pub(crate) fn user(id: &str) -> Hash {
    torus_statement::state::key::user(&VerifierId::new(id).unwrap())
}

fn verifier(text: &str) -> Verifier {
    Verifier {
        name: name(text),
        policy: Policy {
            issuer: "http://issuer".into(),
            audiences: vec!["app".into()],
            id_claim: "email".into(),
            lowercase_id: true,
            max_age: 120,
            low_s: true,
        },
        keys: vec![IssuerKey { id: "1".into(), key: IssuerPublicKey::EdDsa([1; 32]) }],
    }
}

impl Net {
    pub(crate) fn new(n: u8, k: u8, t: u8, buffer: Buffer, root: impl Fn(&[Verifier]) -> Hash) -> Self {
        let sizes = Sizes::new(n, k, t).unwrap();
        let network = NetworkName::new("test").unwrap();
        let identities: Vec<_> = (1..=n).map(|i| key(1, i)).collect();
        let consensus: Vec<_> = (1..=n).map(|i| key(2, i)).collect();
        let nodes: Vec<_> = (1..=n).map(|i| ed25519_dalek::SigningKey::from_bytes(&[i; 32])).collect();
        let verifiers = vec![verifier("google"), verifier("other")];
        let committee = Committee {
            chain: chain_id(&network, START),
            network: network.clone(),
            epoch: 1,
            predecessor: [0; 32],
            sizes,
            members: identities
                .iter()
                .map(|key| Member { identity: public(key), residency: Residency::Sealed })
                .collect(),
            end: START + 31_536_000_000,
            times: TimeConstants::DEFAULT,
            buffer,
            genesis_time: START,
            genesis_root: root(&verifiers),
        };
        let certificates = sizes.members().map(|index| {
            let keys = MemberKeys {
                network: network.clone(),
                epoch: 1,
                attempt: 0,
                index,
                identity: public(&identities[index.slot()]),
                envelope: public(&key(3, index.get())),
                consensus: public(&consensus[index.slot()]),
                p2p: nodes[index.slot()].verifying_key().to_bytes(),
                residency: Residency::Sealed,
            };
            KeyCertificate { signature: sign(&identities[index.slot()], &keys.preimage()), keys }
        });
        let certificates = certificates.collect();
        let endpoint = |i| Endpoint { http: format!("http://127.0.0.1:{i}"), p2p: String::new(), bft: String::new() };
        let keys = KeyPart { attempt: 0, certificates, endpoints: (1..=n).map(endpoint).collect() };
        let config = EpochConfig::new(committee, keys).unwrap();
        Self { config, verifiers, identities, consensus, nodes }
    }

    pub(crate) fn transaction(&self, sender: u8, sequence: u64, body: Body) -> Transaction {
        let preimage = Transaction::preimage(&self.config.hash(), at(sender), sequence, &body);
        let signature = self.nodes[at(sender).slot()].sign(&preimage).to_bytes();
        Transaction { config: self.config.hash(), sender: at(sender), sequence, body, signature }
    }

    pub(crate) fn ready(&self, attempt: Attempt, dealing: &Dealing, member: u8) -> (Index, Signature) {
        let signature = sign(&self.identities[at(member).slot()], &attempt.ready(&self.config, dealing));
        (at(member), signature)
    }

    /// A dealing with readies of these members.
    pub(crate) fn dealing(&self, attempt: Attempt, dealer: u8, members: &[u8]) -> CertifiedDealing {
        let dealing = dealing_of(dealer);
        let readies = members.iter().map(|member| self.ready(attempt, &dealing, *member)).collect();
        CertifiedDealing { dealing, readies }
    }

    /// A proposal of the first n-t dealers with a quorum each.
    pub(crate) fn proposal(&self, attempt: Attempt) -> Body {
        let sizes = self.config.sizes();
        let members: Vec<u8> = sizes.members().take(sizes.q()).map(Index::get).collect();
        let dealers = sizes.members().take(sizes.qualified()).map(Index::get);
        Body::Propose { attempt, dealings: dealers.map(|dealer| self.dealing(attempt, dealer, &members)).collect() }
    }

    /// Keys of a batch, all different from every other batch's.
    pub(crate) fn published(&self, attempt: Attempt) -> PublishedKeys {
        let (n, keys) = (self.config.sizes().n() as u64, u64::from(self.config.committee().buffer.batch));
        let key = |position: u64| {
            let first = 1 + (u64::from(attempt.attempt) * 1_000_000 + attempt.batch * keys + position) * (n + 1);
            PublishedKey { public: point(first), commitments: (1..=n).map(|j| point(first + j)).collect() }
        };
        PublishedKeys { keys: (0..keys).map(key).collect() }
    }

    pub(crate) fn keys_signature(&self, attempt: Attempt, published: &[u8], member: u8) -> (Index, Signature) {
        let preimage = attempt.keys(&self.config, &published_digest(published));
        (at(member), sign(&self.identities[at(member).slot()], &preimage))
    }

    /// The publication of a batch's keys with these members' signatures.
    pub(crate) fn publication(&self, attempt: Attempt, members: &[u8]) -> Body {
        let published = self.published(attempt).to_bytes();
        let signatures = members.iter().map(|m| self.keys_signature(attempt, &published, *m)).collect();
        Body::Keys { attempt, published, signatures }
    }

    pub(crate) fn ack(&self, attempt: Attempt, member: u8) -> Body {
        let digest = published_digest(&self.published(attempt).to_bytes());
        Body::Ack { attempt, signature: sign(&self.identities[at(member).slot()], &attempt.ack(&self.config, &digest)) }
    }
}

impl Net {
    /// A head of a member's audit log as its vault signs it.
    pub(crate) fn audit_head(&self, member: u8, head: AuditHead) -> SignedAuditHead {
        let preimage = head.preimage(&self.config.committee().chain, at(member));
        SignedAuditHead { head, signature: sign(&self.identities[at(member).slot()], &preimage) }
    }
}

pub(crate) fn dealing_of(dealer: u8) -> Dealing {
    Dealing { dealer: at(dealer), digest: [dealer; 32] }
}

pub(crate) fn attempt(batch: u64, attempt: u32) -> Attempt {
    Attempt { batch, attempt }
}

pub(crate) fn assign(verifier: &str, id: &str) -> Body {
    Body::Assign { verifier: name(verifier), user: user(id) }
}
