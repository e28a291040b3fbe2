//! Five vaults, no node: this process carries envelopes and keeps the log. They generate keys, and a user gets his.

use base64::Engine as _;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aes::Aes256;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockDecryptMut, KeyIvInit};
use hmac::{Hmac, Mac};
use k256::elliptic_curve::PrimeField;
use k256::elliptic_curve::point::AffineCoordinates;
use k256::{ProjectivePoint, Scalar};
use sha2::{Digest, Sha256, Sha512};
use torus_audit::Event;
use torus_ipc::{CommitReceipt, Deny, Ecies, LoginProof, Lookup, Progress, Request, Response, VoteRequest};
use torus_sharing::PublishedKeys;
use torus_statement::certificate::{CommitCertificate, SignedHeader};
use torus_statement::codec::Wire;
use torus_statement::dkg::{Attempt, Dealing, KeyIndex, published_digest, quorum_signed};
use torus_statement::envelope::Envelope;
use torus_statement::receipt::SignedReceipt;
use torus_statement::state::{Assignment, BatchEntry, KeyEntry, Phase, Proven, key};
use torus_statement::text::{VerifierId, VerifierName};
use torus_statement::vote::{SignedVote, Step, Vote};
use torus_statement::{Hash, Header, Index, NetworkFile, Point, Signature, keccak256};

use crate::audit::{export, records};
use crate::commits::{ask, status};
use crate::network::{file, now};
use crate::reveals::{prove, root, token};
use crate::rig::{Node, Rig, Running};

/// The network that this process plays, and what it has seen.
pub(crate) struct World {
    pub(crate) file: NetworkFile,
    pub(crate) rigs: Vec<Rig>,
    pub(crate) vaults: Vec<Option<(Running, Node)>>,
    parent: Hash,
    pub(crate) height: u64,
    readies: BTreeMap<(u8, Hash), Vec<(Index, Signature)>>,
    pub(crate) keys: BTreeMap<Vec<u8>, Vec<(Index, Signature)>>,
    /// Batch and place of the vault.
    pub(crate) acks: BTreeSet<(u64, usize)>,
    /// A vault that may say that it cannot store, and how often it said so of key generation.
    pub(crate) full: Option<usize>,
    pub(crate) refused: usize,
    /// The last vote of each vault.
    cast: BTreeMap<usize, SignedVote>,
    newest: Option<SignedHeader>,
}

pub(crate) type Leaves = Vec<(Hash, Vec<u8>)>;

impl World {
    fn found() -> (Self, ring::signature::Ed25519KeyPair) {
        Self::found_with(|_| ())
    }

    /// After something was done with the vaults that are made and do not run yet.
    pub(crate) fn found_with(prepare: impl FnOnce(&[Rig])) -> (Self, ring::signature::Ed25519KeyPair) {
        let (rigs, certificates): (Vec<Rig>, Vec<_>) = (1..=5).map(Rig::made_as).unzip();
        prepare(&rigs);
        let (file, issuer) = file(certificates, now());
        let parent = file.config.committee().chain;
        let mut world = Self {
            file,
            rigs,
            vaults: Vec::new(),
            parent,
            height: 0,
            readies: BTreeMap::new(),
            keys: BTreeMap::new(),
            acks: BTreeSet::new(),
            full: None,
            refused: 0,
            cast: BTreeMap::new(),
            newest: None,
        };
        for rig in &world.rigs {
            std::fs::write(rig.path("network.torus"), world.file.to_bytes()).unwrap();
        }
        world.vaults = (0..5).map(|at| Some(world.start(at))).collect();
        (world, issuer)
    }

    /// The receipts of all that run.
    pub(crate) fn commit(&mut self, commit: &Request) -> Vec<SignedReceipt> {
        let receipt = |response| match response {
            Response::Receipt(CommitReceipt { data, signature }) => {
                SignedReceipt { data, signature: Signature::from_bytes(signature[..64].try_into().unwrap()).unwrap() }
            }
            other => panic!("{other:?}"),
        };
        self.up().into_iter().map(|at| receipt(self.node(at).ask(commit))).collect()
    }

    pub(crate) fn start(&self, at: usize) -> (Running, Node) {
        let vault = self.rigs[at].start_with(&["--limits", "key=1"], &self.file.hash());
        let (node, _) = vault.node();
        (vault, node)
    }

    pub(crate) fn node(&mut self, at: usize) -> &mut Node {
        &mut self.vaults[at].as_mut().unwrap().1
    }

    pub(crate) fn up(&self) -> Vec<usize> {
        (0..5).filter(|at| self.vaults[*at].is_some()).collect()
    }

    /// A block that the vaults that are up vote for and decide.
    pub(crate) fn block(&mut self, state: &Leaves) -> SignedHeader {
        let config = self.file.config.hash();
        self.height += 1;
        let header = Header {
            chain: self.file.config.committee().chain,
            epoch: 1,
            height: self.height,
            parent: self.parent,
            time: now(),
            proposer: Index::new(1).unwrap(),
            transactions: [0; 32],
            state: root(state),
            config,
            next_config: config,
        };
        self.parent = header.hash();
        let prevotes = self.votes(Step::Prevote, &header, &[]);
        let precommits = self.votes(Step::Precommit, &header, &prevotes);
        let signatures = precommits.into_iter().map(|signed| (signed.voter, signed.signature)).collect();
        let signed = SignedHeader { header, certificate: CommitCertificate { round: 0, signatures } };
        signed.verify(&self.file.config).unwrap();
        for at in self.up() {
            let answer = self.node(at).ask(&Request::Advance(Box::new(signed.clone())));
            assert!(answer == Response::Done || self.is_full(at, &answer), "{answer:?}");
        }
        self.newest = Some(signed.clone());
        signed
    }

    /// Shows a vault the newest header.
    pub(crate) fn catch_up(&mut self, at: usize) {
        let newest = self.newest.clone().unwrap();
        assert_eq!(self.node(at).ask(&Request::Advance(Box::new(newest))), Response::Done);
    }

    /// Forgets what was said of earlier batches but who acknowledged them.
    pub(crate) fn forget(&mut self) {
        self.readies.clear();
        self.keys.clear();
    }

    fn votes(&mut self, step: Step, header: &Header, evidence: &[SignedVote]) -> Vec<SignedVote> {
        let vote = Vote { step, height: header.height, round: 0, block: Some(header.hash()) };
        let request = Request::SignVote(VoteRequest { vote, evidence: evidence.to_vec() });
        for at in self.up() {
            match self.node(at).ask(&request) {
                Response::Vote(signed) if signed.vote == vote => drop(self.cast.insert(at, signed)),
                // It could not store the header before.
                Response::Denied(Deny::Height) if self.full == Some(at) => {}
                other => assert!(self.is_full(at, &other), "{other:?}"),
            }
        }
        self.cast.values().filter(|signed| signed.vote == vote).cloned().collect()
    }

    fn is_full(&self, at: usize, answer: &Response) -> bool {
        self.full == Some(at) && *answer == Response::Denied(Deny::Store)
    }

    /// Shows a batch's state to all vaults that are up, and carries what they say until nothing is left to carry.
    pub(crate) fn batch(&mut self, batch: u64, header: &SignedHeader, state: &Leaves, entry: &BatchEntry) {
        let proof = prove(state, state.iter().position(|(leaf, _)| *leaf == key::batch(batch)).unwrap());
        let entry = Proven { value: entry.clone(), proof };
        let request = Request::Batch { header: Box::new(header.clone()), batch, entry };
        let mut carried: VecDeque<Envelope> = VecDeque::new();
        for at in self.up() {
            let answer = self.node(at).ask(&request);
            self.take(at, answer, &mut carried);
        }
        self.carry(carried);
    }

    pub(crate) fn carry(&mut self, mut carried: VecDeque<Envelope>) {
        while let Some(envelope) = carried.pop_front() {
            let at = envelope.session.receiver.slot();
            if self.vaults[at].is_none() {
                continue;
            }
            match self.node(at).ask(&Request::Deliver(Box::new(envelope.clone()))) {
                Response::Denied(Deny::Busy) if self.full == Some(at) => {}
                Response::Denied(Deny::Busy) => carried.push_back(envelope),
                answer => self.take(at, answer, &mut carried),
            }
        }
    }

    pub(crate) fn take(&mut self, at: usize, answer: Response, carried: &mut VecDeque<Envelope>) {
        let member = Index::new(at as u8 + 1).unwrap();
        if self.is_full(at, &answer) {
            self.refused += 1;
            return;
        }
        let Response::Progress(Progress { envelopes, readies, keys, acks }) = answer else { panic!("{answer:?}") };
        carried.extend(envelopes);
        for (_, Dealing { dealer, digest }, signature) in readies {
            let signed = self.readies.entry((dealer.get(), digest)).or_default();
            if signed.iter().all(|(known, _)| *known != member) {
                signed.push((member, signature));
            }
        }
        for (_, published, signature) in keys {
            let signed = self.keys.entry(published).or_default();
            if signed.iter().all(|(known, _)| *known != member) {
                signed.push((member, signature));
            }
        }
        self.acks.extend(acks.into_iter().map(|(attempt, _)| (attempt.batch, at)));
    }

    /// The n-t dealings of an attempt that the log fixes: those that a quorum promised to finish.
    pub(crate) fn qualified(&self, attempt: Attempt) -> Vec<Dealing> {
        let config = &self.file.config;
        let promised = self.readies.iter().filter_map(|((dealer, digest), readies)| {
            let dealing = Dealing { dealer: Index::new(*dealer).unwrap(), digest: *digest };
            let mut readies = readies.clone();
            readies.sort_by_key(|(member, _)| *member);
            quorum_signed(config, &attempt.ready(config, &dealing), &readies).then_some(dealing)
        });
        let dealings: Vec<Dealing> = promised.take(4).collect();
        assert_eq!(dealings.len(), 4);
        dealings
    }
}

#[test]
fn five_vaults_generate_keys_and_a_user_recovers_his_from_any_three_also_after_kills() {
    let (mut world, issuer) = World::found();
    let place = key::batch(0);
    let began = now();
    let mut entry = BatchEntry { attempt: 0, keys: 4, height: 1, time: began, phase: Phase::Open };
    let attempt = entry.attempt_of(0);

    let state = vec![(place, entry.to_bytes())];
    let header = world.block(&state);
    world.batch(0, &header, &state, &entry);

    // The log fixes n-t dealings that a quorum promised to finish.
    entry.phase = Phase::Qualified { dealings: world.qualified(attempt), time: began };

    // Every vault dies between the qualified set and the first key, and all come back.
    let state = vec![(place, entry.to_bytes())];
    let header = world.block(&state);
    for at in 0..5 {
        let (vault, node) = world.vaults[at].take().unwrap();
        drop(node);
        vault.kill();
        let again = world.start(at);
        world.vaults[at] = Some(again);
    }
    let mut carried = VecDeque::new();
    for at in 0..5 {
        let answer = world.node(at).ask(&Request::Outbox);
        world.take(at, answer, &mut carried);
    }
    world.carry(carried);
    world.batch(0, &header, &state, &entry);
    assert_eq!(world.keys.len(), 1, "all derive the same keys");
    let (published, signatures) = world.keys.first_key_value().unwrap();
    assert_eq!(signatures.len(), 5);
    let keys = PublishedKeys::parse(world.file.config.sizes(), 4, published).unwrap();
    let digest = published_digest(published);

    // Published, and the lowest key is Alice's.
    entry.phase = Phase::Published { digest, acks: 0 };
    let user = key::user(&VerifierId::new("alice@example.com").unwrap());
    let verifier = VerifierName::new("demo").unwrap();
    let lowest = KeyIndex::new(0, 0).unwrap();
    let assignment = Assignment { keys: vec![lowest], time: began };
    let key_entry = KeyEntry { public: keys.keys[0].public, commitments: keys.keys[0].commitments.clone() };
    let state = vec![
        (place, entry.to_bytes()),
        (key::assignment(&verifier, &user), assignment.to_bytes()),
        (key::key(lowest), key_entry.to_bytes()),
        (key::verifier(&verifier), world.file.verifiers[0].to_bytes()),
    ];
    let header = world.block(&state);
    world.batch(0, &header, &state, &entry);
    assert_eq!(world.acks.len(), 5);
    assert_eq!(status(world.node(0)).shares, 4);
    let policy = Proven { value: world.file.verifiers[0].clone(), proof: prove(&state, 3) };
    let lookup = Lookup {
        user,
        assignment: Proven { value: assignment, proof: prove(&state, 1) },
        key: Proven { value: key_entry.clone(), proof: prove(&state, 2) },
    };

    // The kills were no clean stops: receipts wait, and so do tokens.
    let secret = Scalar::from(77u64);
    let temporary = Point::new(&(ProjectivePoint::GENERATOR * secret)).unwrap();
    let from = (0..5).map(|at| {
        drop(world.node(at).ask(&ask([1; 32], 1, "demo")));
        let status = status(world.node(at));
        status.receipts_from.max(status.not_before) * 1000
    });
    let from = from.max().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(from.saturating_sub(now()) + 50));
    let token = token(&issuer, now() / 1000, "app");
    let commit = Request::Commit { token: keccak256(token.as_bytes()), temporary, verifier: verifier.clone() };
    // One vault is away.
    drop(world.vaults[2].take());
    let receipts = world.commit(&commit);
    let proof =
        LoginProof { token, verifier: verifier.clone(), receipts, header, policy, lookup, session_seconds: 3600 };
    let request = Request::Release(Box::new(proof));
    let mut shares = Vec::new();
    for at in world.up() {
        let Response::Share(share) = world.node(at).ask(&request) else { panic!("{at}") };
        assert_eq!((share.key, share.public), (lowest, key_entry.public));
        let scalar = Scalar::from_repr(<[u8; 32]>::try_from(open(&secret, &share.share)).unwrap().into()).unwrap();
        assert_eq!(Point::new(&(ProjectivePoint::GENERATOR * scalar)).unwrap(), key_entry.commitments[at]);
        // The session token is this vault's, for this temporary key.
        let (json, signature) = (open(&secret, &share.session.token), open(&secret, &share.session.signature));
        let text = base64::engine::general_purpose::STANDARD.encode(json).into_bytes();
        assert!(text.starts_with(b"eyJ"));
        let signature = Signature::from_bytes(signature[..64].try_into().unwrap()).unwrap();
        assert!(signature.verifies(&world.file.config.keys().certificates[at].keys.identity, &text));
        shares.push((Scalar::from(at as u64 + 1), scalar));
    }
    for three in [&shares[..3], &shares[1..]] {
        let key: Scalar = three
            .iter()
            .map(|(i, share)| {
                let others = three.iter().filter(|(j, _)| j != i);
                others.fold(*share, |product, (j, _)| product * j * (*j - i).invert().unwrap())
            })
            .sum();
        assert_eq!(Point::new(&(ProjectivePoint::GENERATOR * key)).unwrap(), key_entry.public);
    }

    // One release of a key in an hour: the same login counts once, whoever asks again; another does not fit.
    let Request::Release(proof) = &request else { unreachable!() };
    let second = crate::reveals::token(&issuer, now() / 1000 + 1, "app");
    let commit = Request::Commit { token: keccak256(second.as_bytes()), temporary, verifier };
    let receipts = world.commit(&commit);
    let second = Request::Release(Box::new(LoginProof { token: second, receipts, ..(**proof).clone() }));
    for at in world.up() {
        assert_eq!(world.node(at).denied(&second), Deny::Quota);
        assert!(matches!(world.node(at).ask(&request), Response::Share(_)));
    }
    let request = a_login_released_for_one_key_gets_no_other(&mut world, &state, &keys, proof);
    every_release_was_on_record_before_its_answer(&mut world, &request);
}

/// A quorum of hostile nodes certifies another mapping, under which the same login claims the next key: it would be
/// counted by no quota, pinned to nobody and on no record. The reveal under the newest header.
fn a_login_released_for_one_key_gets_no_other(
    world: &mut World,
    state: &Leaves,
    keys: &PublishedKeys,
    proof: &LoginProof,
) -> Request {
    let next = KeyIndex::new(0, 1).unwrap();
    let assignment = Assignment { keys: vec![next], ..proof.lookup.assignment.value.clone() };
    let entry = KeyEntry { public: keys.keys[1].public, commitments: keys.keys[1].commitments.clone() };
    let mut forged = state.clone();
    forged[1].1 = assignment.to_bytes();
    forged[2] = (key::key(next), entry.to_bytes());
    let login = |header: SignedHeader, state: &Leaves, lookup: Lookup| {
        let policy = Proven { value: proof.policy.value.clone(), proof: prove(state, 3) };
        Request::Release(Box::new(LoginProof { header, policy, lookup, ..proof.clone() }))
    };
    let header = world.block(&forged);
    let lookup = Lookup {
        user: proof.lookup.user,
        assignment: Proven { value: assignment, proof: prove(&forged, 1) },
        key: Proven { value: entry, proof: prove(&forged, 2) },
    };
    let second = login(header, &forged, lookup);
    for at in world.up() {
        assert_eq!(world.node(at).denied(&second), Deny::Owner);
    }
    // The one that it was released for it still gets.
    let header = world.block(state);
    let first = login(header, state, proof.lookup.clone());
    for at in world.up() {
        assert!(matches!(world.node(at).ask(&first), Response::Share(_)));
    }
    first
}

/// Killed in the midst of many releases, a vault has as many on record as it answered, or more, and none of them names its
/// user to whoever has no key.
fn every_release_was_on_record_before_its_answer(world: &mut World, request: &Request) {
    let (vault, mut node) = world.vaults[0].take().unwrap();
    for _ in 0..200 {
        node.send(request);
    }
    let mut answered = 1;
    for _ in 0..20 {
        assert!(matches!(node.next_answer(), Some((_, Response::Share(_)))));
        answered += 1;
    }
    vault.kill();
    // What had left before the kill is still in the socket.
    while let Some((_, Response::Share(_))) = node.next_answer() {
        answered += 1;
    }
    let rig = &world.rigs[0];
    let genesis = world.file.hash();
    rig.start(&genesis, None).served().stop();
    let identity = world.file.config.keys().certificates[0].keys.identity;
    let copy = export(rig, "copy");
    let found = records(&copy, &identity);
    let recorded: u32 = found
        .iter()
        .map(|record| match &record.event {
            Event::Release { epoch: 1, session: 3600, .. } => 1,
            Event::Again { count, .. } => *count,
            _ => 0,
        })
        .sum();
    assert!(recorded >= answered, "{recorded} on record, {answered} answered");
    let steps = found.iter().filter(|record| matches!(record.event, Event::Generation { .. })).count();
    assert_eq!(steps, 3, "dealt, stored, acknowledged");

    let Request::Release(proof) = request else { panic!("no reveal") };
    let bytes = std::fs::read(copy).unwrap();
    for secret in ["alice", proof.token.as_str(), "example.com"] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
    }
    let who = |id| {
        let asked = rig.command_of(&["audit", "who"]).args(["--verifier", "demo", "--id", id]).output().unwrap();
        assert!(asked.status.success(), "{asked:?}");
        String::from_utf8(asked.stdout).unwrap()
    };
    assert!(who("alice@example.com").contains("release: epoch 1"));
    assert!(who("bob@example.com").contains("no share was released"));
}

/// As eccrypto decrypts.
pub(crate) fn open(secret: &Scalar, sealed: &Ecies) -> Vec<u8> {
    let shared = (Point::from_xy(&sealed.ephemeral).unwrap().projective() * secret).to_affine();
    let keys = Sha512::digest(shared.x());
    let mut mac = Hmac::<Sha256>::new_from_slice(&keys[32..]).unwrap();
    mac.update(&[&sealed.iv[..], &[4], &sealed.ephemeral, &sealed.ciphertext].concat());
    mac.verify_slice(&sealed.mac).unwrap();
    let cipher = cbc::Decryptor::<Aes256>::new_from_slices(&keys[..32], &sealed.iv).unwrap();
    cipher.decrypt_padded_vec_mut::<Pkcs7>(&sealed.ciphertext).unwrap()
}
