//! Five vaults of which the first is measured: batches of the usual size, and a user who reveals at it meanwhile.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use torus_ipc::{Deny, LoginProof, Lookup, Progress, Request, Response, VoteRequest};
use torus_sharing::PublishedKeys;
use torus_statement::certificate::{CommitCertificate, SignedHeader};
use torus_statement::codec::Wire;
use torus_statement::config::{Buffer, Committee, TimeConstants};
use torus_statement::dkg::{Attempt, Dealing, KeyIndex, published_digest, quorum_signed};
use torus_statement::envelope::Envelope;
use torus_statement::receipt::SignedReceipt;
use torus_statement::state::{Assignment, BatchEntry, KeyEntry, Phase, Proven, key};
use torus_statement::text::{VerifierId, VerifierName};
use torus_statement::vote::{SignedVote, Step, Vote};
use torus_statement::{EpochConfig, Hash, Header, Index, NetworkFile, Signature, keccak256};

use crate::commits::{ask, status};
use crate::network::{TIMES, file, now};
use crate::reveals::{prove, root, token};
use crate::rig::{Node, Rig, Running};

pub(crate) const BATCH: u16 = 128;
/// Measured is what a vault can do, not what it is allowed to: all logins are of one user.
const UNBOUND: &str = "commits=1000,key=50000";
/// Requests of key generation that are in flight at the measured vault, so that it never waits for one.
const GENERATION: usize = 4;

pub(crate) struct Five {
    limits: &'static str,
    file: NetworkFile,
    pub(super) issuer: ring::signature::Ed25519KeyPair,
    rigs: Vec<Rig>,
    pub(super) nodes: Vec<Node>,
    // After their nodes: a vault ends when its owner goes.
    vaults: Vec<Running>,
    parent: Hash,
    height: u64,
    newest: Option<SignedHeader>,
    state: Vec<(Hash, Vec<u8>)>,
    alice: Option<(Assignment, KeyEntry)>,
    /// How many ways of writing her name are used up.
    pub(super) spelling: u32,
}

/// A token that a quorum has committed.
pub(crate) struct Login {
    pub(super) token: String,
    pub(super) receipts: Vec<SignedReceipt>,
}

/// How long releases took, and for how long the vault generated.
#[derive(Default)]
pub(crate) struct Samples {
    pub(crate) quiet: Vec<Duration>,
    pub(crate) busy: Vec<Duration>,
    pub(crate) generating: Duration,
}

/// What the vaults said of one batch.
#[derive(Default)]
struct Said {
    readies: BTreeMap<(u8, Hash), Vec<(Index, Signature)>>,
    keys: BTreeMap<Vec<u8>, usize>,
    acks: usize,
}

impl Samples {
    pub(crate) fn add(&mut self, other: Self) {
        self.quiet.extend(other.quiet);
        self.busy.extend(other.busy);
        self.generating += other.generating;
    }
}

impl Five {
    pub(crate) fn found() -> Self {
        Self::within(UNBOUND)
    }

    /// Vaults with these limits.
    pub(crate) fn within(limits: &'static str) -> Self {
        let (rigs, certificates): (Vec<Rig>, Vec<_>) = (1..=5).map(Rig::made_as).unzip();
        let (mut file, issuer) = file(certificates, now());
        let committee = Committee {
            // The window of a real network: a stretch of the measurements lasts longer than a test's.
            times: TimeConstants { receipt_window: TimeConstants::DEFAULT.receipt_window, ..TIMES },
            buffer: Buffer { batch: BATCH, low_water: BATCH.into() },
            ..file.config.committee().clone()
        };
        file.config = EpochConfig::new(committee, file.config.keys().clone()).unwrap();
        let start = |rig: &Rig| {
            std::fs::write(rig.path("network.torus"), file.to_bytes()).unwrap();
            assert!(rig.trust(&file.hash()).status.success());
            let vault = rig.start_as("", &["--limits", limits], None);
            (vault.node().0, vault)
        };
        let (nodes, vaults) = rigs.iter().map(start).unzip();
        let parent = file.config.committee().chain;
        let (height, newest, state, alice) = (0, None, Vec::new(), None);
        Self { limits, file, issuer, rigs, nodes, vaults, parent, height, newest, state, alice, spelling: 1 }
    }

    /// The token's module.
    pub(crate) fn module(&self) -> PathBuf {
        let command = self.rigs[0].command("run");
        let mut arguments = command.get_args().skip_while(|argument| *argument != "--module");
        arguments.nth(1).unwrap().into()
    }

    /// Of the newest header.
    pub(crate) fn height(&self) -> u64 {
        self.height
    }

    /// The measured vault.
    pub(crate) fn first(&mut self) -> &mut Node {
        &mut self.nodes[0]
    }

    /// Starts the measured vault again, after a word of the shell.
    pub(crate) fn restart(&mut self, first: &str) {
        drop(self.nodes.remove(0));
        self.vaults.remove(0).stop();
        let vault = self.rigs[0].start_as(first, &["--limits", self.limits], None);
        self.nodes.insert(0, vault.node().0);
        self.vaults.insert(0, vault);
    }

    /// Processor time that the measured vault has spent.
    pub(crate) fn cpu(&self) -> Duration {
        self.vaults[0].cpu()
    }

    /// Whether every thread of the measured vault runs under filters that this process is not under (true), or none does.
    pub(crate) fn confined(&self) -> bool {
        let own = std::fs::read_to_string("/proc/self/status").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("Seccomp_filters:")).unwrap().trim();
        let filters = self.vaults[0].of_each_thread("Seccomp_filters:");
        assert!(filters.iter().all(|number| *number == filters[0]), "{filters:?}");
        filters[0] != own
    }

    /// Commits a new token of Alice at all.
    pub(crate) fn log_in(&mut self) -> Login {
        let verifier = VerifierName::new("demo").unwrap();
        // Each vault says from when on tokens count at it.
        let from = self.nodes.iter_mut().map(|node| {
            drop(node.ask(&ask([1; 32], 1, "demo")));
            status(node).not_before * 1000
        });
        let from = from.max().unwrap();
        std::thread::sleep(Duration::from_millis(from.saturating_sub(now()) + 50));
        let token = token(&self.issuer, now() / 1000, "app");
        let temporary = crate::commits::temporary(77);
        let commit = Request::Commit { token: keccak256(token.as_bytes()), temporary, verifier };
        let receipt = |node: &mut Node| match node.ask(&commit) {
            Response::Receipt(receipt) => {
                let signature = Signature::from_bytes(receipt.signature[..64].try_into().unwrap()).unwrap();
                SignedReceipt { data: receipt.data, signature }
            }
            other => panic!("{other:?}"),
        };
        Login { receipts: self.nodes.iter_mut().map(receipt).collect(), token }
    }

    /// Alice's reveal under the newest header.
    pub(crate) fn release(&self, login: &Login) -> Request {
        let (assignment, entry) = self.alice.clone().unwrap();
        let verifier = VerifierName::new("demo").unwrap();
        let (user, lowest) = (alice(), KeyIndex::new(0, 0).unwrap());
        let proof = |place: Hash| prove(&self.state, self.state.iter().position(|(leaf, _)| *leaf == place).unwrap());
        Request::Release(Box::new(LoginProof {
            token: login.token.clone(),
            receipts: login.receipts.clone(),
            header: self.newest.clone().unwrap(),
            policy: Proven { value: self.file.verifiers[0].clone(), proof: proof(key::verifier(&verifier)) },
            lookup: Lookup {
                user,
                assignment: Proven { value: assignment, proof: proof(key::assignment(&verifier, &user)) },
                key: Proven { value: entry, proof: proof(key::key(lowest)) },
            },
            verifier,
            session_seconds: 3600,
        }))
    }

    /// Generates a batch from its opening to its publication; the first one's lowest key is Alice's.
    pub(crate) fn generate(&mut self, batch: u64, login: Option<&Login>) -> Samples {
        let mut entry =
            BatchEntry { attempt: 0, keys: BATCH, height: self.height + 1, time: now(), phase: Phase::Open };
        let (mut said, mut samples) = (Said::default(), Samples::default());
        samples.add(self.stage(batch, &entry, login, &mut said));
        let dealings = self.qualified(&entry.attempt_of(batch), &said);
        entry.phase = Phase::Qualified { dealings, time: entry.time };
        samples.add(self.stage(batch, &entry, login, &mut said));
        let (published, signed) = said.keys.first_key_value().unwrap();
        assert_eq!((said.keys.len(), *signed), (1, 5), "all derive the same keys");
        entry.phase = Phase::Published { digest: published_digest(published), acks: 0 };
        if batch == 0 {
            let published = PublishedKeys::parse(self.file.config.sizes(), BATCH.into(), published).unwrap();
            let lowest = KeyIndex::new(0, 0).unwrap();
            let first = &published.keys[0];
            let assignment = Assignment { keys: vec![lowest], time: entry.time };
            let assigned = KeyEntry { public: first.public, commitments: first.commitments.clone() };
            let place = key::assignment(&VerifierName::new("demo").unwrap(), &alice());
            let demo = &self.file.verifiers[0];
            self.state.extend([
                (place, assignment.to_bytes()),
                (key::key(lowest), assigned.to_bytes()),
                (key::verifier(&demo.name), demo.to_bytes()),
            ]);
            self.alice = Some((assignment, assigned));
        }
        samples.add(self.stage(batch, &entry, login, &mut said));
        assert_eq!(said.acks, 5);
        samples
    }

    /// The n-t lowest dealings that a quorum promised to finish.
    fn qualified(&self, attempt: &Attempt, said: &Said) -> Vec<Dealing> {
        let config = &self.file.config;
        let promised = said.readies.iter().filter_map(|((dealer, digest), readies)| {
            let dealing = Dealing { dealer: Index::new(*dealer).unwrap(), digest: *digest };
            let mut readies = readies.clone();
            readies.sort_by_key(|(member, _)| *member);
            quorum_signed(config, &attempt.ready(config, &dealing), &readies).then_some(dealing)
        });
        let dealings: Vec<Dealing> = promised.take(4).collect();
        assert_eq!(dealings.len(), 4);
        dealings
    }

    /// Shows one state of a batch to all and carries what they say. The other four go as far as they can before the
    /// first begins, so that the machine is its own while it works through theirs.
    fn stage(&mut self, batch: u64, entry: &BatchEntry, login: Option<&Login>, said: &mut Said) -> Samples {
        let place = key::batch(batch);
        self.state.retain(|(leaf, _)| *leaf != place);
        self.state.push((place, entry.to_bytes()));
        let header = self.block(0);
        let entry = Proven { value: entry.clone(), proof: prove(&self.state, self.state.len() - 1) };
        let request = Request::Batch { header: Box::new(header), batch, entry };
        let release = login.map(|login| self.release(login));

        let (first, others) = self.nodes.split_first_mut().unwrap();
        let mut queue = VecDeque::new();
        for (at, node) in others.iter_mut().enumerate() {
            let answer = node.ask(&request);
            queue.extend(said.take(at + 1, answer));
        }
        let (to_first, inbox) = channel();
        to_first.send(request).unwrap();
        let mut held = carry(others, queue, said);
        let mut under_way = 1 + held.len();
        held.drain(..).for_each(|deliver| to_first.send(deliver).unwrap());
        let (outbox, from_first) = channel();
        std::thread::scope(|scope| {
            let samples = scope.spawn(move || attend(first, &inbox, &outbox, release.as_ref()));
            while under_way > 0 {
                let queue = said.take(0, from_first.recv().unwrap());
                under_way -= 1;
                for deliver in carry(others, queue, said) {
                    under_way += 1;
                    to_first.send(deliver).unwrap();
                }
            }
            drop(to_first);
            samples.join().unwrap()
        })
    }

    /// A block that all vote for and decide, and that is shown to all but the first so many.
    pub(crate) fn block(&mut self, untold: usize) -> SignedHeader {
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
            state: root(&self.state),
            config,
            next_config: config,
        };
        self.parent = header.hash();
        let prevotes = self.votes(Step::Prevote, &header, &[]);
        let precommits = self.votes(Step::Precommit, &header, &prevotes);
        let signatures = precommits.into_iter().map(|signed| (signed.voter, signed.signature)).collect();
        let signed = SignedHeader { header, certificate: CommitCertificate { round: 0, signatures } };
        for node in self.nodes.iter_mut().skip(untold) {
            assert_eq!(node.ask(&Request::Advance(Box::new(signed.clone()))), Response::Done);
        }
        self.newest = Some(signed.clone());
        signed
    }

    fn votes(&mut self, step: Step, header: &Header, evidence: &[SignedVote]) -> Vec<SignedVote> {
        let vote = Vote { step, height: header.height, round: 0, block: Some(header.hash()) };
        let request = Request::SignVote(VoteRequest { vote, evidence: evidence.to_vec() });
        let cast = |node: &mut Node| match node.ask(&request) {
            Response::Vote(signed) if signed.vote == vote => signed,
            other => panic!("{other:?}"),
        };
        self.nodes.iter_mut().map(cast).collect()
    }
}

impl Said {
    fn take(&mut self, at: usize, answer: Response) -> VecDeque<Envelope> {
        let member = Index::new(at as u8 + 1).unwrap();
        let Response::Progress(Progress { envelopes, readies, keys, acks }) = answer else { panic!("{answer:?}") };
        for (_, Dealing { dealer, digest }, signature) in readies {
            let signed = self.readies.entry((dealer.get(), digest)).or_default();
            if signed.iter().all(|(known, _)| *known != member) {
                signed.push((member, signature));
            }
        }
        for (_, published, _) in keys {
            *self.keys.entry(published).or_default() += 1;
        }
        self.acks += acks.len();
        envelopes.into()
    }
}

/// Carries envelopes among the other four until none is left; those for the first are handed back.
fn carry(others: &mut [Node], mut queue: VecDeque<Envelope>, said: &mut Said) -> Vec<Request> {
    let mut held = Vec::new();
    while let Some(envelope) = queue.pop_front() {
        let to = envelope.session.receiver.slot();
        let deliver = Request::Deliver(Box::new(envelope.clone()));
        match to.checked_sub(1) {
            None => held.push(deliver),
            Some(other) => match others[other].ask(&deliver) {
                Response::Denied(Deny::Busy) => queue.push_back(envelope),
                answer => queue.extend(said.take(to, answer)),
            },
        }
    }
    held
}

/// Feeds the measured vault with key generation, while one release after another is asked of it.
fn attend(node: &mut Node, inbox: &Receiver<Request>, outbox: &Sender<Response>, release: Option<&Request>) -> Samples {
    let mut samples = Samples::default();
    let (mut open, mut again) = (true, VecDeque::new());
    let mut generation: HashMap<u64, Request> = HashMap::new();
    let mut releasing: Option<(u64, Instant, bool)> = None;
    let mut since = Instant::now();
    loop {
        while open && generation.len() < GENERATION {
            // With nothing to wait for at the vault, wait for the others.
            let idle = generation.is_empty() && again.is_empty() && releasing.is_none() && release.is_none();
            let next = match again.pop_front() {
                Some(request) => Ok(request),
                None if idle => inbox.recv().map_err(|_| TryRecvError::Disconnected),
                None => inbox.try_recv(),
            };
            match next {
                Ok(request) => {
                    if generation.is_empty() {
                        since = Instant::now();
                    }
                    generation.insert(node.send(&request), request);
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => open = false,
            }
        }
        if let (Some(release), None, true) = (release, releasing, open) {
            let at = Instant::now();
            releasing = Some((node.send(release), at, !generation.is_empty()));
        }
        if generation.is_empty() && releasing.is_none() {
            return samples;
        }
        let (id, answer) = node.next_answer().expect("the vault closed the connection");
        if let Some((_, at, busy)) = releasing.take_if(|(asked, _, _)| *asked == id) {
            assert!(matches!(answer, Response::Share(_)), "{answer:?}");
            if busy { &mut samples.busy } else { &mut samples.quiet }.push(at.elapsed());
            continue;
        }
        let request = generation.remove(&id).expect("an answer to something asked");
        if generation.is_empty() {
            samples.generating += since.elapsed();
        }
        match answer {
            Response::Denied(Deny::Busy) => again.push_back(request),
            answer => outbox.send(answer).unwrap(),
        }
    }
}

fn alice() -> Hash {
    key::user(&VerifierId::new("alice@example.com").unwrap())
}
