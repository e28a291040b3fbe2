//! Everything that hostile nodes got out of vaults, and what they try to make of it: a key, a fork, a second vote.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use aes::Aes256;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockDecryptMut, KeyIvInit};
use hmac::{Hmac, Mac};
use k256::elliptic_curve::point::AffineCoordinates;
use k256::{ProjectivePoint, Scalar};
use sha2::{Digest, Sha256, Sha512};
use torus_ipc::{Ecies, Request, Response};
use torus_sharing::{IndexSet, scalar_from_bytes};
use torus_statement::state::KeyEntry;
use torus_statement::vote::Proposal;
use torus_statement::{EpochConfig, Hash, Index, Point, SignedVote, Step};

use crate::login::Temporary;
use crate::siege::Siege;

/// Loot that several sockets add to.
pub(crate) type Booty = Rc<RefCell<Loot>>;

/// A vote's place.
type Slot = (Index, u64, u32, Step);
/// A proposal's place: member, height, round.
type Turn = (Index, u64, u32);

/// What was got so far.
pub(crate) struct Loot {
    config: EpochConfig,
    /// Private keys that the thieves have.
    keys: Vec<Scalar>,
    sealed: Vec<Ecies>,
    /// What any of the keys opened.
    opened: Vec<Vec<u8>>,
    votes: BTreeMap<Slot, BTreeSet<Option<Hash>>>,
    proposals: BTreeMap<Turn, BTreeSet<(Hash, Option<u32>)>>,
    /// Of both, what was told already.
    told: BTreeSet<String>,
    /// What no vault may ever say in clear.
    secrets: BTreeSet<[u8; 32]>,
    /// Of each vault, the end of what it said before: a secret may be cut by two reads.
    ends: BTreeMap<Index, Vec<u8>>,
    /// Bytes that were looked through.
    pub(crate) bytes: u64,
    leaked: bool,
}

impl Loot {
    /// Nothing yet.
    pub(crate) fn new(config: EpochConfig) -> Booty {
        let (keys, sealed, opened) = (Vec::new(), Vec::new(), Vec::new());
        let (votes, proposals) = (BTreeMap::new(), BTreeMap::new());
        let (told, secrets, ends, bytes, leaked) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new(), 0, false);
        let loot = Self { config, keys, sealed, opened, votes, proposals, told, secrets, ends, bytes, leaked };
        Rc::new(RefCell::new(loot))
    }

    /// A private key, which the thieves try on every ciphertext.
    pub(crate) fn add_key(&mut self, key: Scalar) {
        if !self.keys.contains(&key) {
            self.opened.extend(self.sealed.iter().filter_map(|sealed| open(&key, sealed)));
            self.keys.push(key);
        }
    }

    /// From now on this must not be among what vaults say.
    pub(crate) fn watch_for(&mut self, secret: Scalar) {
        let bytes: [u8; 32] = secret.to_bytes().into();
        let mut reversed = bytes;
        reversed.reverse();
        self.secrets.extend([bytes, reversed]);
    }

    /// A ciphertext, on which they try every key.
    pub(crate) fn take_sealed(&mut self, sealed: &Ecies) {
        self.opened.extend(self.keys.iter().filter_map(|key| open(key, sealed)));
        self.sealed.push(sealed.clone());
    }

    /// A vote, from wherever, that its voter signed.
    pub(crate) fn take_vote(&mut self, signed: &SignedVote) {
        assert!(signed.verifies(&self.config), "a vote that nobody signed: {signed:?}");
        let vote = signed.vote;
        self.votes.entry((signed.voter, vote.height, vote.round, vote.step)).or_default().insert(vote.block);
    }

    /// An answer.
    pub(crate) fn take_answer(&mut self, member: Index, request: &Request, answer: &Response) {
        match (request, answer) {
            (_, Response::Share(share)) => {
                for sealed in [&share.share, &share.session.token, &share.session.signature] {
                    self.take_sealed(sealed);
                }
            }
            (_, Response::Vote(vote)) => {
                assert_eq!(vote.voter, member);
                self.take_vote(vote);
            }
            (_, Response::HeldVotes(held)) => held.own.iter().chain(&held.polka).for_each(|vote| self.take_vote(vote)),
            (Request::SignProposal(proposal), Response::Signature(signature)) => {
                let consensus = self.config.member(member).expect("a member").consensus;
                assert!(signature.verifies(&consensus, &proposal.preimage(&self.config)), "{proposal:?}");
                let Proposal { height, round, block, polka_round } = *proposal;
                self.proposals.entry((member, height, round)).or_default().insert((block, polka_round));
            }
            _ => {}
        }
    }

    /// Bytes as they came.
    pub(crate) fn take_bytes(&mut self, member: Index, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let end = self.ends.entry(member).or_default();
        end.extend_from_slice(bytes);
        let mut first = [false; 256];
        self.secrets.iter().for_each(|secret| first[usize::from(secret[0])] = true);
        let found = end.windows(32).any(|window| {
            first[usize::from(window[0])] && <&[u8; 32]>::try_from(window).is_ok_and(|w| self.secrets.contains(w))
        });
        self.leaked |= found;
        end.drain(..end.len().saturating_sub(31));
    }

    /// Whether a watched secret was among what vaults said.
    pub(crate) fn leaked(&self) -> bool {
        self.leaked
    }

    /// The shares of a key among what was opened.
    pub(crate) fn shares(&self, entry: &KeyEntry) -> BTreeMap<Index, Scalar> {
        let mut shares = BTreeMap::new();
        for share in self.opened.iter().filter_map(|plain| scalar(plain)) {
            let public = Point::new(&(ProjectivePoint::GENERATOR * share)).expect("a share is not zero");
            let slot = entry.commitments.iter().position(|commitment| *commitment == public);
            shares.extend(slot.and_then(|slot| Index::new(slot as u8 + 1)).map(|member| (member, share)));
        }
        shares
    }

    /// The private key, if any k of the shares make it.
    pub(crate) fn key(&self, entry: &KeyEntry) -> Option<Scalar> {
        let sizes = self.config.sizes();
        let shares: Vec<(Index, Scalar)> = self.shares(entry).into_iter().collect();
        let subsets = (0u32..1 << shares.len()).filter(|chosen| chosen.count_ones() as usize == sizes.k());
        subsets
            .map(|chosen| {
                let picked = (0..).zip(&shares).filter(|(at, _)| chosen >> at & 1 == 1).map(|(_, share)| *share);
                let (members, values): (Vec<Index>, Vec<Scalar>) = picked.unzip();
                let set = IndexSet::new(sizes, members).expect("rising members");
                set.coefficients(0).iter().zip(values).map(|(coefficient, value)| *coefficient * value).sum::<Scalar>()
            })
            .find(|key| Point::new(&(ProjectivePoint::GENERATOR * key)).is_ok_and(|public| public == entry.public))
    }

    /// Votes that are known.
    pub(crate) fn votes(&self) -> usize {
        self.votes.values().map(BTreeSet::len).sum()
    }

    /// Proposals that were signed.
    pub(crate) fn proposals(&self) -> usize {
        self.proposals.values().map(BTreeSet::len).sum()
    }

    /// Places in which somebody cast two votes or signed two proposals, each told once.
    pub(crate) fn take_equivocations(&mut self) -> Vec<String> {
        let votes = self.votes.iter().filter(|(_, blocks)| blocks.len() > 1).map(|(slot, _)| format!("{slot:?}"));
        let proposals = self.proposals.iter().filter(|(_, blocks)| blocks.len() > 1);
        let all = votes.chain(proposals.map(|(turn, _)| format!("proposal {turn:?}")));
        let told = &mut self.told;
        all.filter(|place| told.insert(place.clone())).collect()
    }
}

/// The control of what is looked for in all that vaults say.
pub(crate) fn a_secret_said_in_clear_is_noticed_wherever_it_is_cut(siege: &mut Siege) {
    let secret = Temporary::new().secret;
    let bytes = secret.to_bytes();
    let said = [&[1; 50], bytes.as_slice(), &[2; 50]].concat();
    let member = Index::new(1).expect("a member");
    for cut in 0..=said.len() {
        let loot = Loot::new(siege.file.config.clone());
        loot.borrow_mut().watch_for(secret);
        let (before, after) = said.split_at(cut);
        loot.borrow_mut().take_bytes(member, before);
        loot.borrow_mut().take_bytes(Index::new(2).expect("a member"), &[3; 40]);
        loot.borrow_mut().take_bytes(member, after);
        assert!(loot.borrow().leaked(), "cut at {cut}");
    }
    let loot = Loot::new(siege.file.config.clone());
    loot.borrow_mut().watch_for(secret);
    loot.borrow_mut().take_bytes(member, &[&[1; 50], &bytes[..31], &[2; 50]].concat());
    assert!(!loot.borrow().leaked(), "a part of it is not the secret");
}

fn scalar(plain: &[u8]) -> Option<Scalar> {
    scalar_from_bytes(plain.try_into().ok()?)
}

/// As eccrypto decrypts: ECDH, SHA-512, HMAC-SHA256 over iv | 04 | x | y | ciphertext, AES-256-CBC.
pub(crate) fn open(secret: &Scalar, sealed: &Ecies) -> Option<Vec<u8>> {
    let shared = (Point::from_xy(&sealed.ephemeral).ok()?.projective() * secret).to_affine();
    let keys = Sha512::digest(shared.x());
    let mut mac = Hmac::<Sha256>::new_from_slice(&keys[32..]).ok()?;
    mac.update(&[&sealed.iv[..], &[4], &sealed.ephemeral, &sealed.ciphertext].concat());
    mac.verify_slice(&sealed.mac).ok()?;
    let cipher = cbc::Decryptor::<Aes256>::new_from_slices(&keys[..32], &sealed.iv).ok()?;
    cipher.decrypt_padded_vec_mut::<Pkcs7>(&sealed.ciphertext).ok()
}
