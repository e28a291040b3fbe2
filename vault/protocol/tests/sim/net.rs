//! A network of members with seeded scheduling, crashes at every output, a log, and invariants after each step.

use std::collections::{BTreeMap, BTreeSet};

use k256::elliptic_curve::PrimeField;
use k256::{ProjectivePoint, Scalar};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{CryptoRngCore, RngCore, SeedableRng};
use torus_memory::Heap;
use torus_protocol::{
    Body, Digest, Index, Input, Kind, Output, Participant, Promise, PublishedKeys, QualifiedSet, Reason, Record, Run,
    SLICE, SecretBytes, Sizes,
};
use torus_sharing::IndexSet;

use crate::byzantine::Behaviour;

/// What a message says, for a test to look at and to bend.
pub(crate) fn plain(body: &Body) -> Vec<u8> {
    let mut bytes = vec![0; body.len()];
    body.write(&mut bytes);
    bytes
}

pub(crate) const BASE: Digest = [7; 32];

pub(crate) fn index(i: usize) -> Index {
    Index::new(i as u8).unwrap()
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) from: Index,
    pub(crate) to: Index,
    pub(crate) dealer: Index,
    pub(crate) kind: Kind,
    pub(crate) digest: Digest,
    pub(crate) body: Vec<u8>,
}

#[derive(Clone)]
pub(crate) enum Event {
    Packet(Packet),
    Qualified(Index),
    Vector {
        from: Index,
        to: Index,
        body: Vec<u8>,
    },
    Keys(Index),
    /// A member goes on with its work, by any number of units: anything may come before.
    Continue(Index),
}

/// A member that has dealt, and what left.
pub(crate) fn dealt(run: Run, rng: &mut dyn CryptoRngCore) -> (Participant, Vec<Output>) {
    let mut member = Participant::deal(run, rng).unwrap();
    let out = go_on(&mut member, rng);
    (member, out)
}

/// All that an input brings about.
pub(crate) fn answer(member: &mut Participant, input: Input<'_>, rng: &mut dyn CryptoRngCore) -> Vec<Output> {
    let mut out = member.handle(input, rng).unwrap();
    out.extend(go_on(member, rng));
    out
}

fn go_on(member: &mut Participant, rng: &mut dyn CryptoRngCore) -> Vec<Output> {
    let mut out = Vec::new();
    while member.has_work() {
        out.extend(member.handle(Input::Continue(SLICE), rng).unwrap());
    }
    out
}

#[derive(Clone)]
pub(crate) struct StoredPromise {
    pub(crate) dealer: Index,
    pub(crate) digest: Digest,
    pub(crate) rows: Vec<u8>,
    pub(crate) matrix: Vec<u8>,
}

/// What a member's disk holds; survives every crash.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) dealt: bool,
    pub(crate) echoed: BTreeMap<Index, Digest>,
    pub(crate) promises: BTreeMap<Index, StoredPromise>,
    pub(crate) shares: Option<Vec<[u8; 32]>>,
}

pub(crate) struct Member {
    pub(crate) me: Index,
    pub(crate) behaviour: Behaviour,
    pub(crate) process: Option<Participant>,
    /// An equivocating dealer runs a second process towards the other half.
    pub(crate) twin: Option<Participant>,
    pub(crate) rng: ChaCha20Rng,
    /// Whether its going on is among the events.
    pub(crate) going: bool,
    pub(crate) disk: Disk,
    pub(crate) shared: BTreeMap<Index, Digest>,
    pub(crate) keys: Option<PublishedKeys>,
    pub(crate) faults: Vec<(Index, Reason)>,
}

impl Member {
    pub(crate) fn honest(&self) -> bool {
        self.behaviour == Behaviour::Honest
    }
}

/// What all agree on: signed readies, the qualified set, published vectors and keys.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) readies: BTreeMap<(Index, Digest), BTreeSet<Index>>,
    pub(crate) certified: Vec<(Index, Digest)>,
    pub(crate) qualified: Option<QualifiedSet>,
    pub(crate) vectors: BTreeMap<Index, Vec<u8>>,
    pub(crate) votes: BTreeMap<Digest, BTreeSet<Index>>,
    pub(crate) keys: Option<PublishedKeys>,
}

/// What the sealed shares of honest members gave; a share that was looked at once is only compared afterwards.
#[derive(Default)]
pub(crate) struct Reconstructed {
    /// Any k of these give the secrets.
    shares: BTreeMap<Index, Vec<[u8; 32]>>,
    /// One secret a key, as soon as k shares are sealed.
    secrets: Vec<Scalar>,
    /// The first keys that an honest member derived or the log certified, whoever died since.
    keys: Option<PublishedKeys>,
    /// Whose shares were held against those keys.
    compared: BTreeSet<Index>,
}

pub(crate) struct Net {
    pub(crate) sizes: Sizes,
    pub(crate) batch: u16,
    pub(crate) members: Vec<Member>,
    pub(crate) queue: Vec<Event>,
    pub(crate) log: Log,
    pub(crate) rng: ChaCha20Rng,
    /// Chance in 1000 that an honest member crashes while it carries out its outputs.
    pub(crate) crash: u32,
    /// Which members may crash, and how often in all.
    pub(crate) fragile: BTreeSet<Index>,
    pub(crate) crashes_left: usize,
    /// Chance in 1000 that a delivered event stays in the network, too.
    pub(crate) duplicate: u32,
    pub(crate) hold_publication: bool,
    pub(crate) steps: usize,
    pub(crate) opened: Reconstructed,
}

impl Net {
    pub(crate) fn new(sizes: Sizes, batch: u16, seed: u64, behaviours: &[(usize, Behaviour)]) -> Self {
        let members = sizes.members().map(|me| Member {
            me,
            behaviour: behaviours
                .iter()
                .find(|(i, _)| *i == usize::from(me.get()))
                .map_or(Behaviour::Honest, |(_, behaviour)| *behaviour),
            process: None,
            twin: None,
            rng: ChaCha20Rng::seed_from_u64(seed.wrapping_mul(1000).wrapping_add(u64::from(me.get()))),
            going: false,
            disk: Disk::default(),
            shared: BTreeMap::new(),
            keys: None,
            faults: Vec::new(),
        });
        Self {
            sizes,
            batch,
            members: members.collect(),
            queue: Vec::new(),
            log: Log::default(),
            rng: ChaCha20Rng::seed_from_u64(seed),
            crash: 0,
            fragile: BTreeSet::new(),
            crashes_left: 0,
            duplicate: 0,
            hold_publication: false,
            steps: 0,
            opened: Reconstructed::default(),
        }
    }

    pub(crate) fn run_of(&self, me: Index) -> Run {
        Run::new(BASE, self.sizes, me, self.batch, Heap::pool()).unwrap()
    }

    pub(crate) fn member(&mut self, me: Index) -> &mut Member {
        &mut self.members[me.slot()]
    }

    pub(crate) fn honest(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.honest())
    }

    /// Starts or restarts a member from its disk alone.
    pub(crate) fn start(&mut self, me: Index) {
        let run = self.run_of(me);
        let member = self.member(me);
        let process = if member.disk.dealt {
            let promises = member.disk.promises.values().map(|stored| {
                let rows = SecretBytes::copy_of(run.pool(), &stored.rows).unwrap();
                Promise::parse(&run, stored.dealer, stored.digest, rows, &stored.matrix).unwrap()
            });
            Participant::resume(run, promises.collect())
        } else {
            Participant::deal(run, &mut member.rng).unwrap()
        };
        member.process = Some(process);
        if member.behaviour == Behaviour::Equivocate && member.twin.is_none() {
            member.twin = Some(Participant::deal(run, &mut member.rng).unwrap());
        }
        self.go_on_later(me);
        // A started daemon reads the log again.
        if self.log.qualified.is_some() {
            self.queue.push(Event::Qualified(me));
        }
        let vectors: Vec<_> = self.log.vectors.iter().map(|(from, body)| (*from, body.clone())).collect();
        for (from, body) in vectors {
            self.queue.push(Event::Vector { from, to: me, body });
        }
        if self.log.keys.is_some() {
            self.queue.push(Event::Keys(me));
        }
    }

    pub(crate) fn start_all(&mut self) {
        for me in self.sizes.members() {
            self.start(me);
        }
    }

    pub(crate) fn kill(&mut self, me: Index) {
        let member = self.member(me);
        member.process = None;
        member.twin = None;
        member.keys = None;
        member.going = false;
    }

    pub(crate) fn kill_all(&mut self) {
        for me in self.sizes.members() {
            self.kill(me);
        }
    }

    /// Runs until nothing is in flight; crashed members come back at random times and at the end.
    pub(crate) fn settle(&mut self) {
        loop {
            let dead: Vec<Index> = self.members.iter().filter(|m| m.process.is_none()).map(|m| m.me).collect();
            if !dead.is_empty() && (self.queue.is_empty() || self.chance(20)) {
                let pick = dead[self.rng.next_u32() as usize % dead.len()];
                self.start(pick);
                continue;
            }
            if self.queue.is_empty() {
                let working = |member: &Member| member.process.as_ref().is_some_and(Participant::has_work);
                assert!(!self.members.iter().any(working), "work that nobody goes on with");
                return;
            }
            self.step();
            assert!(self.steps < 400_000, "the network does not come to rest");
        }
    }

    /// Delivers one random event and checks every invariant.
    pub(crate) fn step(&mut self) {
        self.steps += 1;
        let pick = self.rng.next_u32() as usize % self.queue.len();
        let event = self.queue.swap_remove(pick);
        if self.chance(self.duplicate) {
            self.queue.push(event.clone());
        }
        self.deliver(event);
        self.check();
    }

    pub(crate) fn deliver(&mut self, event: Event) {
        let me = match &event {
            Event::Packet(packet) => packet.to,
            Event::Qualified(to) | Event::Vector { to, .. } | Event::Keys(to) | Event::Continue(to) => *to,
        };
        if self.member(me).process.is_none() {
            // Lost, then delivered: the network repeats what was not acknowledged. What comes from the log is read
            // again at the start.
            if matches!(event, Event::Packet(_)) {
                self.queue.push(event);
            }
            return;
        }
        if matches!(event, Event::Continue(_)) {
            self.member(me).going = false;
        }
        // From one piece at a time to all at once.
        let units = 1 << (self.rng.next_u32() % 16);
        let (qualified, keys) = (self.log.qualified.clone(), self.log.keys.clone());
        let input = match &event {
            Event::Packet(p) => {
                Input::Message { from: p.from, dealer: p.dealer, kind: p.kind, digest: p.digest, body: &p.body }
            }
            Event::Qualified(_) => Input::Qualified(qualified.as_ref().unwrap()),
            Event::Vector { from, body, .. } => Input::Vector { from: *from, body },
            Event::Keys(_) => Input::Keys(keys.as_ref().unwrap()),
            Event::Continue(_) => Input::Continue(units),
        };
        let member = &mut self.members[me.slot()];
        let out = member.process.as_mut().unwrap().handle(input, &mut member.rng).unwrap();
        let twin_out = match (&mut member.twin, &event) {
            (Some(twin), Event::Packet(p)) => {
                let input =
                    Input::Message { from: p.from, dealer: p.dealer, kind: p.kind, digest: p.digest, body: &p.body };
                twin.handle(input, &mut member.rng).unwrap()
            }
            (Some(twin), Event::Continue(_)) => twin.handle(Input::Continue(units), &mut member.rng).unwrap(),
            _ => Vec::new(),
        };
        self.carry_out(me, twin_out, true);
        self.carry_out(me, out, false);
        self.go_on_later(me);
    }

    /// Lets everybody go on until nobody has work; delivers nothing else.
    pub(crate) fn work_off(&mut self) {
        while let Some(at) = self.queue.iter().position(|event| matches!(event, Event::Continue(_))) {
            let event = self.queue.remove(at);
            self.deliver(event);
        }
    }

    fn go_on_later(&mut self, me: Index) {
        let member = self.member(me);
        let working = [&member.process, &member.twin].into_iter().flatten().any(Participant::has_work);
        if working && !member.going {
            member.going = true;
            self.queue.push(Event::Continue(me));
        }
    }

    /// Performs outputs in order; a fragile member may die between any two of them.
    fn carry_out(&mut self, me: Index, outputs: Vec<Output>, twin: bool) {
        for output in outputs {
            if self.fragile.contains(&me) && self.crashes_left > 0 && self.chance(self.crash) {
                self.crashes_left -= 1;
                self.kill(me);
                return;
            }
            self.perform(me, output, twin);
            if self.member(me).process.is_none() {
                return;
            }
        }
    }

    fn perform(&mut self, me: Index, output: Output, twin: bool) {
        let honest = self.member(me).honest();
        match output {
            Output::Persist(record) => self.persist(me, record),
            Output::Send { to, dealer, kind, digest, body } => {
                let packet = Packet { from: me, to, dealer, kind, digest, body: plain(&body) };
                self.send(packet, twin);
            }
            Output::SignReady { dealer, digest } => self.sign_ready(me, dealer, digest),
            Output::Shared { dealer, digest } => {
                let before = self.member(me).shared.insert(dealer, digest);
                assert!(!honest || before.is_none_or(|before| before == digest), "Shared twice with two digests");
            }
            Output::Seal(shares) => {
                if twin || self.hold_publication && honest {
                    return;
                }
                let list: Vec<[u8; 32]> = (0..shares.scalars.len())
                    .map(|b| {
                        let mut bytes = [0; 32];
                        assert!(shares.scalars.write(b, &mut bytes));
                        assert!(
                            shares.commitments[b].projective() == ProjectivePoint::GENERATOR * scalar(&bytes),
                            "a share does not open its commitment"
                        );
                        bytes
                    })
                    .collect();
                let disk = &mut self.member(me).disk;
                assert!(!honest || disk.shares.as_ref().is_none_or(|old| *old == list), "a sealed share changed");
                disk.shares = Some(list);
                let member = self.member(me);
                let out = member.process.as_mut().unwrap().handle(Input::Sealed, &mut member.rng).unwrap();
                self.carry_out(me, out, twin);
            }
            Output::Publish(body) => self.publish(me, body),
            Output::Keys(keys) => {
                self.member(me).keys = Some(keys.clone());
                let votes = self.log.votes.entry(keys.digest()).or_default();
                votes.insert(me);
                if votes.len() >= self.sizes.q() && self.log.keys.is_none() {
                    self.log.keys = Some(keys);
                    let members: Vec<Index> = self.sizes.members().collect();
                    self.queue.extend(members.into_iter().map(Event::Keys));
                }
            }
            Output::Fault { from, reason } => self.member(me).faults.push((from, reason)),
            Output::DealerFault { .. } => panic!("no other committee deals here"),
        }
    }

    fn persist(&mut self, me: Index, record: Record) {
        let honest = self.member(me).honest();
        let disk = &mut self.member(me).disk;
        match record {
            Record::Dealt => disk.dealt = true,
            Record::Echoed { dealer, digest } => {
                let before = disk.echoed.insert(dealer, digest);
                assert!(!honest || before.is_none(), "an honest member echoed twice for one dealer");
            }
            Record::Promise(promise) => {
                let stored = StoredPromise {
                    dealer: promise.dealer(),
                    digest: promise.digest(),
                    rows: promise.rows().as_slice().to_vec(),
                    matrix: promise.matrix().to_vec(),
                };
                let before = disk.promises.insert(promise.dealer(), stored);
                assert!(!honest || before.is_none(), "an honest member promised twice for one dealer");
            }
        }
    }

    fn send(&mut self, packet: Packet, twin: bool) {
        let behaviour = self.member(packet.from).behaviour;
        let sent = behaviour.send(self, packet, twin);
        self.queue.extend(sent.into_iter().map(Event::Packet));
    }

    fn sign_ready(&mut self, me: Index, dealer: Index, digest: Digest) {
        if self.member(me).honest() {
            let promise = self.member(me).disk.promises.get(&dealer).map(|promise| promise.digest);
            assert_eq!(promise, Some(digest), "a Ready left before its promise was durable");
        }
        let signers = self.log.readies.entry((dealer, digest)).or_default();
        signers.insert(me);
        if signers.len() == self.sizes.q() && !self.log.certified.contains(&(dealer, digest)) {
            assert!(
                self.log.certified.iter().all(|(certified, _)| *certified != dealer),
                "two digests certified for one dealer"
            );
            self.log.certified.push((dealer, digest));
        }
        if self.log.qualified.is_none() && self.log.certified.len() >= self.sizes.qualified() {
            let mut set: Vec<_> = self.log.certified.iter().take(self.sizes.qualified()).copied().collect();
            set.sort();
            self.log.qualified = Some(QualifiedSet::new(self.sizes, &set).unwrap());
            let members: Vec<Index> = self.sizes.members().collect();
            self.queue.extend(members.into_iter().map(Event::Qualified));
        }
    }

    fn publish(&mut self, me: Index, body: Vec<u8>) {
        let behaviour = self.member(me).behaviour;
        let Some(body) = behaviour.publish(self, me, body) else { return };
        self.log.vectors.insert(me, body.clone());
        let run = self.run_of(me);
        for to in self.sizes.members().filter(|to| *to != run.me()) {
            self.queue.push(Event::Vector { from: me, to, body: body.clone() });
        }
    }

    pub(crate) fn chance(&mut self, in_thousand: u32) -> bool {
        in_thousand > 0 && self.rng.next_u32() % 1000 < in_thousand
    }

    /// One commitment per dealing among honest members; equal keys; any k sealed shares give one secret, the published
    /// key's.
    pub(crate) fn check(&mut self) {
        for dealer in self.sizes.members() {
            let mut digests: BTreeSet<Digest> = BTreeSet::new();
            for member in self.honest() {
                digests.extend(member.disk.promises.get(&dealer).map(|promise| promise.digest));
                digests.extend(member.shared.get(&dealer));
            }
            assert!(digests.len() <= 1, "honest members hold two commitments of dealer {dealer}");
        }
        let mut opened = std::mem::take(&mut self.opened);
        for keys in self.honest().filter_map(|member| member.keys.as_ref()).chain(&self.log.keys) {
            match &opened.keys {
                Some(first) => assert!(keys == first, "honest members derived different keys"),
                None => opened.keys = Some(keys.clone()),
            }
        }
        self.check_shares(&mut opened);
        self.opened = opened;
    }

    fn check_shares(&self, opened: &mut Reconstructed) {
        for member in self.honest() {
            let sealed = member.disk.shares.as_ref();
            if let Some(before) = opened.shares.get(&member.me) {
                assert!(sealed == Some(before), "a sealed share changed or is gone");
            } else if let Some(shares) = sealed {
                opened.shares.insert(member.me, shares.clone());
                let have: Vec<(&Index, &Vec<[u8; 32]>)> = opened.shares.iter().collect();
                let new = have.iter().position(|(index, _)| **index == member.me).unwrap();
                for chosen in subsets(have.len(), self.sizes.k()).into_iter().filter(|set| set.contains(&new)) {
                    let set = IndexSet::new(self.sizes, chosen.iter().map(|i| *have[*i].0).collect()).unwrap();
                    let coefficients = set.coefficients(0);
                    let secret = |b: usize| -> Scalar {
                        chosen.iter().zip(&coefficients).map(|(i, l)| scalar(&have[*i].1[b]) * l).sum()
                    };
                    let secrets: Vec<Scalar> = (0..usize::from(self.batch)).map(secret).collect();
                    if opened.secrets.is_empty() {
                        opened.secrets = secrets;
                    } else {
                        assert!(opened.secrets == secrets, "k shares give another secret");
                    }
                }
            }
        }
        let Some(keys) = &opened.keys else { return };
        let sealed = opened.shares.keys().copied().collect();
        if opened.secrets.is_empty() || opened.compared == sealed {
            return;
        }
        assert_eq!(keys.keys.len(), usize::from(self.batch));
        if opened.compared.is_empty() {
            for (key, secret) in keys.keys.iter().zip(&opened.secrets) {
                assert!(key.public.projective() == ProjectivePoint::GENERATOR * secret, "k shares give another key");
            }
        }
        for me in sealed.difference(&opened.compared) {
            for (share, key) in opened.shares[me].iter().zip(&keys.keys) {
                let product = ProjectivePoint::GENERATOR * scalar(share);
                assert!(key.commitments[me.slot()].projective() == product, "a sealed share is not the published one");
            }
        }
        opened.compared = sealed;
    }

    /// Everybody honest has the same keys and sealed their shares.
    pub(crate) fn check_finished(&mut self) {
        self.check_safe();
        for member in self.honest() {
            assert!(member.keys.is_some(), "member {} has no keys", member.me);
            assert!(member.disk.shares.is_some(), "member {} sealed nothing", member.me);
        }
    }

    /// Safety alone, for runs in which more went wrong than liveness allows: whatever was derived is right. From what
    /// lies on the disks at the end, whatever was looked at before.
    pub(crate) fn check_safe(&mut self) {
        self.check();
        let keys = self.opened.keys.take();
        self.opened = Reconstructed { keys, ..Reconstructed::default() };
        self.check();
    }
}

pub(crate) fn scalar(bytes: &[u8; 32]) -> Scalar {
    Scalar::from_repr((*bytes).into()).unwrap()
}

pub(crate) fn subsets(n: usize, k: usize) -> Vec<Vec<usize>> {
    (0u32..1 << n)
        .filter(|mask| mask.count_ones() as usize == k)
        .map(|mask| (0..n).filter(|i| mask >> i & 1 == 1).collect())
        .collect()
}
