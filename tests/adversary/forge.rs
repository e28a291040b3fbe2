//! What hostile nodes make themselves: a committee of their own, a state of their own, and the signatures of strangers.

use k256::ecdsa::SigningKey;
use k256::ecdsa::signature::hazmat::PrehashSigner;
use torus_statement::certificate::{CommitCertificate, SignedHeader};
use torus_statement::config::Member;
use torus_statement::keycert::MemberKeys;
use torus_statement::merkle::{PLACEHOLDER, inner, leaf};
use torus_statement::state::Proven;
use torus_statement::{
    Committee, EpochConfig, Hash, Header, Index, KeyCertificate, KeyPart, MerkleProof, Point, Signature, Step, Vote,
    Wire, keccak256,
};

/// Signing keys of a made-up committee.
pub(crate) struct Own {
    pub(crate) config: EpochConfig,
    consensus: Vec<SigningKey>,
}

impl Own {
    /// A committee of the same network, chain, sizes and constants in an epoch of choice, all of whose keys are the thieves'.
    pub(crate) fn of(real: &EpochConfig, epoch: u64) -> Self {
        let (mut members, mut certificates, mut consensus) = (Vec::new(), Vec::new(), Vec::new());
        for (certificate, p2p) in real.keys().certificates.iter().zip(100u8..) {
            let [identity, envelope, voting] = [(); 3].map(|()| SigningKey::random(&mut rand_core::OsRng));
            let keys = MemberKeys {
                epoch,
                identity: public(&identity),
                envelope: public(&envelope),
                consensus: public(&voting),
                p2p: [p2p; 32],
                ..certificate.keys.clone()
            };
            members.push(Member { identity: keys.identity, residency: keys.residency });
            certificates.push(KeyCertificate { signature: sign(&identity, &keys.preimage()), keys });
            consensus.push(voting);
        }
        let predecessor = if epoch > real.committee().epoch { real.hash() } else { real.committee().predecessor };
        let committee = Committee { epoch, predecessor, members, ..real.committee().clone() };
        let keys = KeyPart { certificates, ..real.keys().clone() };
        Self { config: EpochConfig::new(committee, keys).expect("a sound config"), consensus }
    }

    /// A header with this committee's certificate, whatever it says of itself.
    pub(crate) fn certify(&self, header: Header) -> SignedHeader {
        let vote = Vote { step: Step::Precommit, height: header.height, round: 0, block: Some(header.hash()) };
        let preimage = vote.preimage(&self.config);
        let signatures =
            (1..).zip(&self.consensus).map(|(member, key)| (index(member), sign(key, &preimage))).collect();
        SignedHeader { header, certificate: CommitCertificate { round: 0, signatures } }
    }
}

/// A stranger's signature.
pub(crate) fn sign(key: &SigningKey, preimage: &[u8]) -> Signature {
    let signature: k256::ecdsa::Signature = key.sign_prehash(&keccak256(preimage)).expect("it signs");
    let signature = signature.normalize_s().unwrap_or(signature);
    Signature::from_bytes(&signature.to_bytes().into()).expect("the low form")
}

/// A signature by somebody who is no member.
pub(crate) fn strangers(preimage: &[u8]) -> Signature {
    sign(&SigningKey::random(&mut rand_core::OsRng), preimage)
}

fn public(key: &SigningKey) -> Point {
    Point::from_affine(*key.verifying_key().as_affine()).expect("a point")
}

/// A member's index.
pub(crate) fn index(member: u8) -> Index {
    Index::new(member).expect("a member")
}

/// A state of a few leaves.
pub(crate) struct State(Vec<(Hash, Vec<u8>)>);

impl State {
    /// Nothing is in it yet.
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// With a further leaf.
    pub(crate) fn with(mut self, key: Hash, value: &impl Wire) -> Self {
        self.0.push((key, value.to_bytes()));
        self
    }

    /// Its root.
    pub(crate) fn root(&self) -> Hash {
        subtree(&self.0.iter().collect::<Vec<_>>(), 0)
    }

    /// A leaf and its proof.
    pub(crate) fn prove<T: Wire>(&self, key: &Hash) -> Proven<T> {
        let (mut here, mut siblings) = (self.0.iter().collect::<Vec<_>>(), Vec::new());
        for depth in 0.. {
            if here.len() < 2 {
                break;
            }
            let (mine, other): (Vec<_>, Vec<_>) =
                here.into_iter().partition(|(place, _)| bit(place, depth) == bit(key, depth));
            siblings.push(subtree(&other, depth + 1));
            here = mine;
        }
        siblings.reverse();
        let (place, value) = here.first().expect("a leaf");
        assert_eq!(place, key);
        Proven { value: T::from_bytes(value).expect("its value"), proof: MerkleProof { siblings } }
    }
}

fn subtree(leaves: &[&(Hash, Vec<u8>)], depth: usize) -> Hash {
    match leaves {
        [] => PLACEHOLDER,
        [(place, value)] => leaf(place, value),
        _ => {
            let (right, left): (Vec<_>, Vec<_>) = leaves.iter().partition(|(place, _)| bit(place, depth));
            inner(&subtree(&left, depth + 1), &subtree(&right, depth + 1))
        }
    }
}

fn bit(place: &Hash, at: usize) -> bool {
    place[at / 8] >> (7 - at % 8) & 1 == 1
}
