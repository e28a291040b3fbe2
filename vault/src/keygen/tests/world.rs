//! Vaults in one process, a relay between them and a log that counts as the real one does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use tempfile::TempDir;
use torus_hsm::Device;
use torus_ipc::deny::Deny;
use torus_ipc::response::Progress;
use torus_memory::{Heap, Pool};
use torus_statement::block::Header;
use torus_statement::certificate::{Certified, CommitCertificate, SignedHeader};
use torus_statement::config::{Buffer, Committee, Endpoint, KeyPart, Member as Seat};
use torus_statement::dkg::{Attempt, Dealing, published_digest, quorum_signed};
use torus_statement::envelope::{Envelope, Kind};
use torus_statement::keycert::{MemberKeys, Residency};
use torus_statement::merkle::leaf;
use torus_statement::state::{BatchEntry, Phase, Proven, key};
use torus_statement::text::NetworkName;
use torus_statement::vote::{Step, Vote};
use torus_statement::{
    EpochConfig, Hash, Index, KeyCertificate, MerkleProof, Signature, Sizes, TimeConstants, Wire, keccak256,
};

use super::device::TestDevice;
use crate::keygen::records::Records;
use crate::keygen::{Call, Keygen, Setup, ShareStore};
use crate::store::Store;

pub(super) const KEYS: u16 = 3;

/// One request from its beginning to its answer, and the longest of its pieces.
pub(super) fn whole(keygen: &mut Keygen, call: Call) -> (Result<Progress, Deny>, Duration) {
    const NUMBER: u64 = u64::MAX;
    keygen.ask(NUMBER, call);
    let mut longest = Duration::ZERO;
    loop {
        let begun = Instant::now();
        let answers = keygen.slice(Duration::ZERO);
        longest = longest.max(begun.elapsed());
        if let Some((_, answer)) = answers.into_iter().find(|(number, _)| *number == NUMBER) {
            return (answer, longest);
        }
    }
}

impl Keygen {
    pub(super) fn handle_batch(
        &mut self,
        header: &Certified,
        batch: u64,
        entry: &Proven<BatchEntry>,
    ) -> Result<Progress, Deny> {
        let call = Call::Batch { header: Box::new(header.clone()), batch, entry: Box::new(entry.clone()) };
        whole(self, call).0
    }

    pub(super) fn handle_keys(&mut self, attempt: Attempt, published: &[u8]) -> Result<Progress, Deny> {
        whole(self, Call::Keys { attempt, published: published.to_vec() }).0
    }

    pub(super) fn deliver(&mut self, envelope: Envelope, now: u64) -> Result<Progress, Deny> {
        whole(self, Call::Envelope { envelope: Box::new(envelope), now }).0
    }
}

pub(super) fn index(value: u8) -> Index {
    Index::new(value).unwrap()
}

pub(super) fn sign(device: &mut dyn Device, preimage: &[u8]) -> Signature {
    Signature::from_bytes(&device.sign_identity(&keccak256(preimage)).unwrap()).unwrap()
}

/// One vault: what survives its death, and itself while it lives.
pub(super) struct Member {
    pub(super) index: Index,
    pub(super) device: TestDevice,
    pub(super) store: Store,
    pub(super) keygen: Option<Keygen>,
    pub(super) boots: u64,
    /// Where its secrets lie.
    pub(super) memory: Pool,
    _dir: TempDir,
}

pub(super) struct World {
    pub(super) config: Arc<EpochConfig>,
    pub(super) members: Vec<Member>,
    pub(super) queue: VecDeque<Envelope>,
    pub(super) height: u64,
    pub(super) now: u64,
    pub(super) entries: BTreeMap<u64, BatchEntry>,
    readies: BTreeMap<(Attempt, u8), (Hash, Signatures)>,
    signed: BTreeMap<(Attempt, Hash), (Vec<u8>, Signatures)>,
    pub(super) keys: BTreeMap<u64, Vec<u8>>,
    /// The log fixes no qualified set while this is false.
    pub(super) qualifies: bool,
    /// Nor counts acknowledgements while this is false.
    pub(super) counts: bool,
    pub(super) batch_keys: u16,
    /// The longest piece of each kind of work.
    pub(super) longest: BTreeMap<&'static str, Duration>,
    device_of: Devices,
}

type Signatures = Vec<(Index, Signature)>;
/// Devices of other kinds than the test's own, by member.
pub(super) type Devices = BTreeMap<u8, Box<dyn Fn() -> Box<dyn Device>>>;

pub(crate) fn config(devices: &mut [Box<dyn Device>], epoch: u64) -> EpochConfig {
    let network = NetworkName::new("devnet").unwrap();
    let sizes = Sizes::new(5, 3, 1).unwrap();
    let attempt = torus_hsm::EpochAttempt { epoch, attempt: 0 };
    let mut certificates = Vec::new();
    let mut members = Vec::new();
    for (i, device) in (1u8..).zip(devices) {
        let public = device.epoch_keys(attempt).unwrap().unwrap();
        let keys = MemberKeys {
            network: network.clone(),
            epoch,
            attempt: 0,
            index: index(i),
            identity: device.identity().unwrap(),
            envelope: public.envelope,
            consensus: public.consensus,
            p2p: [i; 32],
            residency: Residency::Sealed,
        };
        members.push(Seat { identity: keys.identity, residency: Residency::Sealed });
        let signature = sign(device.as_mut(), &keys.preimage());
        certificates.push(KeyCertificate { keys, signature });
    }
    let committee = Committee {
        network,
        chain: [7; 32],
        epoch,
        predecessor: [0; 32],
        sizes,
        members,
        end: u64::MAX,
        times: TimeConstants::DEFAULT,
        buffer: Buffer { batch: KEYS, low_water: 8 },
        genesis_time: 0,
        genesis_root: [0; 32],
    };
    let endpoint = Endpoint { http: String::new(), p2p: String::new(), bft: String::new() };
    EpochConfig::new(committee, KeyPart { attempt: 0, certificates, endpoints: vec![endpoint; 5] }).unwrap()
}

impl World {
    pub(super) fn new() -> Self {
        Self::with_devices(BTreeMap::new())
    }

    /// Some members with devices of their own.
    pub(super) fn with_devices(device_of: Devices) -> Self {
        let mut devices: Vec<Box<dyn Device>> = (1..=5)
            .map(|i| device_of.get(&i).map_or_else(|| Box::new(TestDevice::new(i)) as Box<dyn Device>, |make| make()))
            .collect();
        let config = Arc::new(config(&mut devices, 1));
        let members = (1..=5).map(|i| {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::create(dir.path()).unwrap();
            Member {
                index: index(i),
                device: TestDevice::new(i),
                store,
                keygen: None,
                boots: 0,
                memory: Heap::pool(),
                _dir: dir,
            }
        });
        let mut world = Self {
            config,
            members: members.collect(),
            queue: VecDeque::new(),
            height: 1,
            now: 0,
            entries: BTreeMap::new(),
            readies: BTreeMap::new(),
            signed: BTreeMap::new(),
            keys: BTreeMap::new(),
            qualifies: true,
            counts: true,
            batch_keys: KEYS,
            longest: BTreeMap::new(),
            device_of,
        };
        for i in 1..=5 {
            world.start(i);
        }
        world
    }

    pub(super) fn member(&mut self, i: u8) -> &mut Member {
        &mut self.members[usize::from(i) - 1]
    }

    pub(super) fn keygen(&mut self, i: u8) -> &mut Keygen {
        self.member(i).keygen.as_mut().unwrap()
    }

    /// Starts a vault from its store; its node has forgotten everything.
    pub(super) fn start(&mut self, i: u8) {
        let (config, start_height) = (self.config.clone(), self.height);
        let device = self.device_of.get(&i).map(|make| make());
        let member = self.member(i);
        member.boots += 1;
        let mut seed = [i; 32];
        seed[..8].copy_from_slice(&member.boots.to_be_bytes());
        let setup = Setup {
            config,
            me: member.index,
            device: device.unwrap_or_else(|| Box::new(member.device.clone())),
            store: member.store.clone(),
            audit: crate::audit::Journal::open(&member.store).unwrap(),
            rng: Box::new(ChaCha20Rng::from_seed(seed)),
            start_height,
            pool: member.memory,
        };
        let mut keygen = Keygen::start(setup).unwrap();
        let mut longest = Duration::ZERO;
        while keygen.has_work() {
            let begun = Instant::now();
            assert!(keygen.slice(Duration::ZERO).is_empty(), "nobody has asked");
            longest = longest.max(begun.elapsed());
        }
        let progress = std::mem::take(&mut keygen.unsaid);
        member.keygen = Some(keygen);
        self.took("start", longest);
        self.absorb(i, progress);
    }

    /// SIGKILL: only the store remains.
    pub(super) fn kill(&mut self, i: u8) {
        self.member(i).keygen = None;
    }

    pub(super) fn full(&mut self, i: u8, full: bool) {
        self.keygen(i).tools.records.danger_full.store(full, Ordering::Relaxed);
    }

    /// The log opens an attempt.
    pub(super) fn open(&mut self, batch: u64, attempt: u32) {
        self.height += 1;
        let entry = BatchEntry { attempt, keys: self.batch_keys, height: self.height, time: 0, phase: Phase::Open };
        self.entries.insert(batch, entry);
        self.tell_all(batch);
    }

    /// A certified header whose state is this one leaf.
    pub(super) fn header(&self, batch: u64, entry: &BatchEntry) -> (Certified, Proven<BatchEntry>) {
        let state = leaf(&key::batch(batch), &entry.to_bytes());
        let header = Header {
            chain: self.config.committee().chain,
            epoch: 1,
            height: self.height,
            parent: [0; 32],
            time: self.height,
            proposer: index(1),
            transactions: [0; 32],
            state,
            config: self.config.hash(),
            next_config: self.config.hash(),
        };
        let vote = Vote { step: Step::Precommit, height: self.height, round: 0, block: Some(header.hash()) };
        let prehash = keccak256(&vote.preimage(&self.config));
        let attempt = torus_hsm::EpochAttempt { epoch: 1, attempt: 0 };
        let signatures = (1..=5).filter(|i| !self.device_of.contains_key(i)).take(4).map(|i| {
            let bytes = TestDevice::new(i).sign_consensus(attempt, &prehash).unwrap();
            (index(i), Signature::from_bytes(&bytes).unwrap())
        });
        let certificate = CommitCertificate { round: 0, signatures: signatures.collect() };
        let certified = SignedHeader { header, certificate }.verify(&self.config).unwrap();
        (certified, Proven { value: entry.clone(), proof: MerkleProof { siblings: Vec::new() } })
    }

    /// Shows a batch's present state to one vault.
    pub(super) fn tell(&mut self, i: u8, batch: u64) -> Result<(), Deny> {
        let entry = self.entries[&batch].clone();
        let (header, proven) = self.header(batch, &entry);
        let call = Call::Batch { header: Box::new(header), batch, entry: Box::new(proven) };
        let (answer, longest) = whole(self.keygen(i), call);
        let work = match entry.phase {
            Phase::Open => "open (deal)",
            Phase::Qualified { .. } => "qualified (sum, seal, publish)",
            Phase::Published { .. } => "published",
        };
        self.took(work, longest);
        self.absorb(i, answer?);
        Ok(())
    }

    pub(super) fn tell_all(&mut self, batch: u64) {
        for i in 1..=5 {
            if self.member(i).keygen.is_some() {
                // A refusal is the vault's to explain; tests look at what becomes of the batch.
                let _denied = self.tell(i, batch);
            }
        }
    }

    /// Gives a late vault the published keys, as its node would.
    pub(super) fn give_keys(&mut self, i: u8, batch: u64) -> Result<(), Deny> {
        let attempt = self.entries[&batch].attempt_of(batch);
        let bytes = self.keys[&batch].clone();
        let progress = self.keygen(i).handle_keys(attempt, &bytes)?;
        self.absorb(i, progress);
        Ok(())
    }

    /// What a vault wants carried, taken up by relay and log.
    pub(super) fn absorb(&mut self, i: u8, progress: Progress) {
        self.check_records(i, &progress);
        for envelope in progress.envelopes {
            assert_eq!(envelope.session.sender, index(i));
            let bytes = envelope.to_bytes();
            self.queue.push_back(Envelope::from_bytes(&bytes).unwrap());
        }
        for (attempt, dealing, signature) in progress.readies {
            let signer = self.config.member(index(i)).unwrap().identity;
            assert!(signature.verifies(&signer, &attempt.ready(&self.config, &dealing)));
            let entry = self.readies.entry((attempt, dealing.dealer.get())).or_insert((dealing.digest, Vec::new()));
            assert_eq!(entry.0, dealing.digest, "one commitment for each dealing");
            note(&mut entry.1, index(i), signature);
        }
        for (attempt, bytes, signature) in progress.keys {
            let entry = self.signed.entry((attempt, published_digest(&bytes))).or_insert((bytes, Vec::new()));
            note(&mut entry.1, index(i), signature);
        }
        for (attempt, signature) in progress.acks {
            self.acknowledged(i, attempt, &signature);
        }
    }

    /// Every message that leaves stands on a record that is already durable.
    fn check_records(&mut self, i: u8, progress: &Progress) {
        let records = Records::open(&self.member(i).store).unwrap();
        let batch = |attempt: &Attempt| {
            let record = records.batch(attempt.batch).unwrap().expect("a record of the batch");
            assert_eq!(record.attempt, attempt.attempt);
            record
        };
        let rows = |attempt: &Attempt, dealer: Index| {
            assert!(records.rows(*attempt).unwrap().iter().any(|(of, _)| *of == dealer), "a Ready without rows");
        };
        for envelope in &progress.envelopes {
            let (attempt, dealing) = (&envelope.label.attempt, &envelope.label.dealing);
            match envelope.label.kind {
                Kind::Echo => assert_eq!(records.echo(*attempt, dealing.dealer).unwrap(), Some(dealing.digest)),
                Kind::Ready => rows(attempt, dealing.dealer),
                Kind::Vector if dealing.digest == [0; 32] => assert!(batch(attempt).stored),
                _ => drop(batch(attempt)),
            }
        }
        for (attempt, dealing, _) in &progress.readies {
            rows(attempt, dealing.dealer);
        }
        for (attempt, bytes, _) in &progress.keys {
            assert!(batch(attempt).stored && batch(attempt).derived == Some(published_digest(bytes)));
        }
        for (attempt, _) in &progress.acks {
            assert!(batch(attempt).stored && batch(attempt).acked.is_some());
        }
    }

    fn acknowledged(&mut self, i: u8, attempt: Attempt, signature: &Signature) {
        let entry = self.entries.get_mut(&attempt.batch).unwrap();
        let Phase::Published { digest, acks } = &mut entry.phase else { panic!("an ack before its keys") };
        let signer = self.config.member(index(i)).unwrap().identity;
        assert!(signature.verifies(&signer, &attempt.ack(&self.config, digest)));
        if self.counts {
            *acks |= 1 << (i - 1);
        }
    }

    /// Carries everything that there is to carry and lets the log decide, until nothing moves.
    pub(super) fn run(&mut self) {
        for _ in 0..200 {
            self.carry();
            if !self.decide() && self.queue.is_empty() {
                return;
            }
        }
        panic!("no end");
    }

    pub(super) fn carry(&mut self) {
        let mut refused = VecDeque::new();
        while let Some(envelope) = self.queue.pop_front() {
            let receiver = envelope.session.receiver.get();
            self.now += 10;
            let now = self.now;
            // An envelope for a dead vault stays with its sender's node, in the order of sending.
            let Some(keygen) = &mut self.member(receiver).keygen else { continue };
            let call = Call::Envelope { envelope: Box::new(envelope.clone()), now };
            let (delivered, longest) = whole(keygen, call);
            let work = match envelope.label.kind {
                Kind::Send => "Send (verify, echo)",
                Kind::Echo => "Echo (at most: promise)",
                Kind::Ready => "Ready",
                Kind::Vector => "Vector (at most: keys)",
                _ => "Need, Matrix, Points",
            };
            self.took(work, longest);
            match delivered {
                Ok(progress) => self.absorb(receiver, progress),
                Err(Deny::Busy) if refused.len() < 1000 => {
                    self.now += 500;
                    refused.push_back(envelope);
                }
                Err(_) => {}
            }
        }
        self.queue = refused;
    }

    fn took(&mut self, work: &'static str, time: Duration) {
        let longest = self.longest.entry(work).or_default();
        *longest = (*longest).max(time);
    }

    /// Carries any one envelope, perhaps not for the last time, and perhaps lets the log decide.
    pub(super) fn carry_any(&mut self, rng: &mut ChaCha20Rng) {
        if !self.queue.is_empty() {
            let at = rng.next_u32() as usize % self.queue.len();
            self.queue.swap(0, at);
            if rng.next_u32().is_multiple_of(8) {
                let again = self.queue[0].clone();
                self.queue.push_back(again);
            }
        }
        let rest = self.queue.split_off(self.queue.len().min(1));
        self.carry();
        self.queue.extend(rest);
        if rng.next_u32().is_multiple_of(4) {
            self.decide();
        }
    }

    /// Carries one envelope and lets the log decide.
    pub(super) fn carry_one(&mut self) {
        if let Some(first) = self.queue.pop_front() {
            let rest = std::mem::take(&mut self.queue);
            self.queue.push_back(first);
            self.carry();
            let new = std::mem::replace(&mut self.queue, rest);
            self.queue.extend(new);
        }
        self.decide();
    }

    /// Lets the log decide, and carries nothing.
    pub(super) fn run_log_only(&mut self) {
        self.decide();
    }

    fn decide(&mut self) -> bool {
        let mut changed = Vec::new();
        for (batch, entry) in &mut self.entries {
            let attempt = entry.attempt_of(*batch);
            match &mut entry.phase {
                Phase::Open if self.qualifies => {
                    let certified = self.readies.iter().filter_map(|((of, dealer), (digest, signatures))| {
                        let dealing = Dealing { dealer: index(*dealer), digest: *digest };
                        let preimage = attempt.ready(&self.config, &dealing);
                        (*of == attempt && quorum_signed(&self.config, &preimage, signatures)).then_some(dealing)
                    });
                    let dealings: Vec<Dealing> = certified.take(self.config.sizes().qualified()).collect();
                    if dealings.len() == self.config.sizes().qualified() {
                        entry.phase = Phase::Qualified { dealings, time: 0 };
                        changed.push(*batch);
                    }
                }
                Phase::Qualified { .. } => {
                    let found = self.signed.iter().find(|((of, digest), (_, signatures))| {
                        *of == attempt && quorum_signed(&self.config, &attempt.keys(&self.config, digest), signatures)
                    });
                    if let Some(((_, digest), (bytes, _))) = found {
                        self.keys.insert(*batch, bytes.clone());
                        entry.phase = Phase::Published { digest: *digest, acks: 0 };
                        changed.push(*batch);
                    }
                }
                _ => {}
            }
        }
        for batch in &changed {
            self.height += 1;
            self.tell_all(*batch);
        }
        !changed.is_empty()
    }

    pub(super) fn acks(&self, batch: u64) -> u32 {
        match self.entries[&batch].phase {
            Phase::Published { acks, .. } => acks,
            _ => 0,
        }
    }

    pub(super) fn shares(&mut self, i: u8) -> ShareStore {
        ShareStore::new(&self.member(i).store, Heap::pool()).unwrap()
    }

    /// The dealings of an attempt that this vault promised and still keeps rows of.
    pub(super) fn rows(&mut self, i: u8, batch: u64) -> usize {
        let attempt = self.entries[&batch].attempt_of(batch);
        crate::keygen::records::Records::open(&self.member(i).store).unwrap().rows(attempt).unwrap().len()
    }
}

fn note(signatures: &mut Signatures, member: Index, signature: Signature) {
    if let Err(place) = signatures.binary_search_by_key(&member, |(member, _)| *member) {
        signatures.insert(place, (member, signature));
    }
}
