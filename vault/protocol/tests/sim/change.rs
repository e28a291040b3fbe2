//! A batch handed over from one committee to another: the old members' dealings, the new members' network and log.

use std::collections::{BTreeMap, BTreeSet};

use k256::elliptic_curve::{Field, PrimeField};
use k256::{ProjectivePoint, Scalar};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use torus_memory::Heap;
use torus_protocol::{
    Digest, HandOver, HandOverSet, Index, Input, Kind, Output, Participant, Promise, PublishedKeys, Reason, Record,
    Run, SecretBytes, Sizes,
};
use torus_sharing::{IndexSet, Point, PublishedKey};

use crate::net::{StoredPromise, index, plain, scalar, subsets};
use crate::schedule::cases;

pub(crate) const BASE: Digest = [9; 32];

pub(crate) fn sizes(n: u8) -> Sizes {
    let (k, t) = if n == 9 { (5, 2) } else { (n / 2 + 1, 1) };
    Sizes::new(n, k, t).unwrap()
}

/// What an old member does to its dealing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dealer {
    Honest,
    Silent,
    /// Deals another share than its own.
    OtherShare,
    /// Deals its share of the key before.
    SwappedKeys,
    /// Two dealings, each to one half.
    Equivocate,
    /// Rows that do not open the matrix, to every second.
    WrongRows,
    /// To the first q-1 only.
    MissingSends,
    /// Of another degree.
    WrongDegree,
    Noise,
}

/// What a new member does to what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taker {
    Honest,
    Silent,
    WrongPoints,
    InventedDigest,
    /// Echoes and never helps.
    Withholds,
    Noise,
}

const DEALERS: [Dealer; 8] = [
    Dealer::Silent,
    Dealer::OtherShare,
    Dealer::SwappedKeys,
    Dealer::Equivocate,
    Dealer::WrongRows,
    Dealer::MissingSends,
    Dealer::WrongDegree,
    Dealer::Noise,
];
const TAKERS: [Taker; 5] = [Taker::Silent, Taker::WrongPoints, Taker::InventedDigest, Taker::Withholds, Taker::Noise];

enum Event {
    Dealing { dealer: Index, to: Index, digest: Digest, body: Vec<u8> },
    Packet { from: Index, to: Index, dealer: Index, kind: Kind, digest: Digest, body: Vec<u8> },
    HandOver(Index),
    Continue(Index),
}

/// What a new member's disk holds.
#[derive(Default)]
struct Disk {
    echoed: BTreeMap<Index, Digest>,
    promises: BTreeMap<Index, StoredPromise>,
    shares: Option<Vec<[u8; 32]>>,
}

struct Member {
    me: Index,
    behaviour: Taker,
    process: Option<Participant>,
    rng: ChaCha20Rng,
    going: bool,
    disk: Disk,
    keys: Option<PublishedKeys>,
    faults: Vec<(Index, Reason)>,
    dealer_faults: Vec<(Index, Reason)>,
}

/// The old committee's keys, and its members' shares of them.
pub(crate) struct Old {
    pub(crate) sizes: Sizes,
    pub(crate) secrets: Vec<Scalar>,
    /// By member, then key.
    pub(crate) shares: Vec<Vec<Scalar>>,
    pub(crate) keys: PublishedKeys,
}

impl Old {
    pub(crate) fn new(sizes: Sizes, batch: usize, rng: &mut ChaCha20Rng) -> Self {
        let polynomials: Vec<Vec<Scalar>> =
            (0..batch).map(|_| (0..sizes.k()).map(|_| Scalar::random(&mut *rng)).collect()).collect();
        let at = |polynomial: &[Scalar], x: Index| {
            let x = Scalar::from(u64::from(x.get()));
            polynomial.iter().rev().fold(Scalar::ZERO, |sum, coefficient| sum * x + coefficient)
        };
        let shares: Vec<Vec<Scalar>> = sizes
            .members()
            .map(|member| polynomials.iter().map(|polynomial| at(polynomial, member)).collect())
            .collect();
        let point = |scalar: &Scalar| Point::new(&(ProjectivePoint::GENERATOR * scalar)).unwrap();
        let key = |b: usize| PublishedKey {
            public: point(&polynomials[b][0]),
            commitments: shares.iter().map(|shares| point(&shares[b])).collect(),
        };
        let keys = PublishedKeys { keys: (0..batch).map(key).collect() };
        Self { sizes, secrets: polynomials.iter().map(|polynomial| polynomial[0]).collect(), shares, keys }
    }

    pub(crate) fn bytes_of(&self, member: Index) -> Vec<u8> {
        self.shares[member.slot()].iter().flat_map(|share| <[u8; 32]>::from(share.to_repr())).collect()
    }

    /// The messages of a dealing of these shares, by receiver.
    pub(crate) fn deal(&self, new: Sizes, dealer: Index, shares: &[u8], rng: &mut ChaCha20Rng) -> Dealt {
        let batch = self.keys.keys.len() as u16;
        let run = Run::hand_over(BASE, self.sizes, new, dealer, batch, Heap::pool()).unwrap();
        let shares = SecretBytes::copy_of(run.pool(), shares).unwrap();
        let mut dealing = HandOver::new(run, &shares, rng).unwrap();
        let (mut sends, mut recorded, mut digests) = (Vec::new(), false, BTreeSet::new());
        while dealing.has_work() {
            for output in dealing.go_on(1 << (rng.next_u32() % 14)).unwrap() {
                match output {
                    Output::Persist(Record::Dealt) => recorded = true,
                    Output::Send { to, dealer: of, kind: Kind::Send, digest, body } => {
                        assert!(recorded && of == dealer, "a dealing leaves after its record");
                        digests.insert(digest);
                        sends.push((to, plain(&body)));
                    }
                    _ => panic!("a dealer only deals"),
                }
            }
        }
        assert_eq!((sends.len(), digests.len()), (new.n(), 1));
        (digests.pop_first().unwrap(), sends)
    }
}

type Dealt = (Digest, Vec<(Index, Vec<u8>)>);

struct Change {
    old: Old,
    new: Sizes,
    members: Vec<Member>,
    queue: Vec<Event>,
    readies: BTreeMap<(Index, Digest), BTreeSet<Index>>,
    certified: Vec<(Index, Digest)>,
    set: Option<HandOverSet>,
    rng: ChaCha20Rng,
    fragile: BTreeSet<Index>,
    crashes_left: usize,
    duplicate: u32,
}

impl Change {
    fn new(old: Sizes, new: Sizes, batch: usize, seed: u64, takers: &[(Index, Taker)]) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let members = new.members().map(|me| Member {
            me,
            behaviour: takers.iter().find(|(who, _)| *who == me).map_or(Taker::Honest, |(_, behaviour)| *behaviour),
            process: None,
            rng: ChaCha20Rng::seed_from_u64(seed.wrapping_mul(1000).wrapping_add(u64::from(me.get()))),
            going: false,
            disk: Disk::default(),
            keys: None,
            faults: Vec::new(),
            dealer_faults: Vec::new(),
        });
        let mut change = Self {
            old: Old::new(old, batch, &mut rng),
            new,
            members: members.collect(),
            queue: Vec::new(),
            readies: BTreeMap::new(),
            certified: Vec::new(),
            set: None,
            rng,
            fragile: BTreeSet::new(),
            crashes_left: 0,
            duplicate: 0,
        };
        for me in new.members() {
            change.start(me);
        }
        change
    }

    fn run_of(&self, me: Index) -> Run {
        let batch = self.old.keys.keys.len() as u16;
        Run::take_over(BASE, self.old.sizes, self.new, me, batch, Heap::pool()).unwrap()
    }

    /// Starts a member from its disk alone.
    fn start(&mut self, me: Index) {
        let run = self.run_of(me);
        let member = &mut self.members[me.slot()];
        let parse = |stored: &StoredPromise| {
            let rows = SecretBytes::copy_of(run.pool(), &stored.rows).unwrap();
            Promise::parse(&run, stored.dealer, stored.digest, rows, &stored.matrix).unwrap()
        };
        let began = !member.disk.echoed.is_empty();
        let promises = began.then(|| member.disk.promises.values().map(parse).collect());
        member.process = Some(Participant::take_over(run, &self.old.keys, promises).unwrap());
        self.go_on_later(me);
        if self.set.is_some() {
            self.queue.push(Event::HandOver(me));
        }
    }

    fn deal(&mut self, dealer: Index, behaviour: Dealer) {
        let mut shares = self.old.bytes_of(dealer);
        match behaviour {
            Dealer::Silent => return,
            Dealer::OtherShare => {
                let own = self.old.shares[dealer.slot()][0] + Scalar::ONE;
                shares[..32].copy_from_slice(&own.to_repr());
            }
            Dealer::SwappedKeys => shares.rotate_left(32),
            _ => {}
        }
        let mut rng = ChaCha20Rng::seed_from_u64(self.rng.next_u64());
        let (digest, sends) = self.old.deal(self.new, dealer, &shares, &mut rng);
        let twin = (behaviour == Dealer::Equivocate).then(|| self.old.deal(self.new, dealer, &shares, &mut rng));
        for (position, (to, mut body)) in sends.into_iter().enumerate() {
            let even = to.get().is_multiple_of(2);
            let mut digest = digest;
            match behaviour {
                Dealer::Equivocate if even => {
                    let (other, sends) = twin.as_ref().unwrap();
                    (digest, body) = (*other, sends[position].1.clone());
                }
                Dealer::WrongRows if even => *body.last_mut().unwrap() ^= 1,
                Dealer::MissingSends if position + 1 >= self.new.q() => continue,
                Dealer::WrongDegree if even => body.extend([0; 64]),
                Dealer::WrongDegree => body.truncate(body.len() - 64),
                Dealer::Noise if one_in(&mut rng, 2) => {
                    let at = rng.next_u32() as usize % body.len();
                    body[at] ^= 1 << (rng.next_u32() % 8);
                }
                _ => {}
            }
            self.queue.push(Event::Dealing { dealer, to, digest, body });
        }
    }

    /// Runs until nothing is in flight; who has died comes back.
    fn settle(&mut self) {
        for _ in 0..400_000 {
            let dead: Vec<Index> = self.members.iter().filter(|m| m.process.is_none()).map(|m| m.me).collect();
            if !dead.is_empty() && (self.queue.is_empty() || one_in(&mut self.rng, 50)) {
                let pick = self.rng.next_u32() as usize % dead.len();
                self.start(dead[pick]);
                continue;
            }
            if self.queue.is_empty() {
                assert!(!self.members.iter().any(|m| m.process.as_ref().is_some_and(Participant::has_work)));
                return;
            }
            let pick = self.rng.next_u32() as usize % self.queue.len();
            let event = self.queue.swap_remove(pick);
            self.deliver(event);
        }
        panic!("the network does not come to rest");
    }

    fn deliver(&mut self, event: Event) {
        let (Event::Dealing { to, .. } | Event::Packet { to, .. } | Event::HandOver(to) | Event::Continue(to)) = event;
        let units = 1 << (self.rng.next_u32() % 16);
        let member = &mut self.members[to.slot()];
        let Some(process) = member.process.as_mut() else {
            // Repeated until it is acknowledged; the log is read again at the start.
            if matches!(event, Event::Dealing { .. } | Event::Packet { .. }) {
                self.queue.push(event);
            }
            return;
        };
        let input = match &event {
            Event::Dealing { dealer, digest, body, .. } => Input::Dealing { dealer: *dealer, digest: *digest, body },
            Event::Packet { from, dealer, kind, digest, body, .. } => {
                Input::Message { from: *from, dealer: *dealer, kind: *kind, digest: *digest, body }
            }
            Event::HandOver(_) => Input::HandOver(self.set.as_ref().unwrap()),
            Event::Continue(_) => {
                member.going = false;
                Input::Continue(units)
            }
        };
        let out = process.handle(input, &mut member.rng).unwrap();
        if self.duplicate > self.rng.next_u32() % 1000 && !matches!(event, Event::Continue(_)) {
            self.queue.push(event);
        }
        self.carry_out(to, out);
        self.go_on_later(to);
    }

    fn go_on_later(&mut self, me: Index) {
        let member = &mut self.members[me.slot()];
        if member.process.as_ref().is_some_and(Participant::has_work) && !member.going {
            member.going = true;
            self.queue.push(Event::Continue(me));
        }
    }

    fn carry_out(&mut self, me: Index, outputs: Vec<Output>) {
        for output in outputs {
            if self.fragile.contains(&me) && self.crashes_left > 0 && one_in(&mut self.rng, 20) {
                self.crashes_left -= 1;
                let member = &mut self.members[me.slot()];
                (member.process, member.keys, member.going) = (None, None, false);
            }
            if self.members[me.slot()].process.is_none() {
                return;
            }
            self.perform(me, output);
        }
    }

    fn perform(&mut self, me: Index, output: Output) {
        let member = &mut self.members[me.slot()];
        match output {
            Output::Persist(Record::Echoed { dealer, digest }) => {
                assert!(member.disk.echoed.insert(dealer, digest).is_none(), "two echoes for one dealer");
            }
            Output::Persist(Record::Promise(promise)) => {
                let stored = StoredPromise {
                    dealer: promise.dealer(),
                    digest: promise.digest(),
                    rows: promise.rows().as_slice().to_vec(),
                    matrix: promise.matrix().to_vec(),
                };
                assert!(member.disk.promises.insert(promise.dealer(), stored).is_none(), "two promises for one dealer");
            }
            Output::Persist(Record::Dealt) | Output::Publish(_) => panic!("who takes over neither deals nor publishes"),
            Output::Send { to, dealer, kind, digest, body } => self.say(me, (to, dealer, kind, digest), plain(&body)),
            Output::SignReady { dealer, digest } => self.sign_ready(me, dealer, digest),
            Output::Shared { .. } => {}
            Output::Seal(shares) => {
                let mut list = vec![[0; 32]; shares.scalars.len()];
                for (b, bytes) in list.iter_mut().enumerate() {
                    assert!(shares.scalars.write(b, bytes));
                    let product = ProjectivePoint::GENERATOR * scalar(bytes);
                    assert!(shares.commitments[b].projective() == product, "a share does not open its commitment");
                }
                assert!(member.disk.shares.as_ref().is_none_or(|old| *old == list), "a sealed share changed");
                member.disk.shares = Some(list);
                let out = member.process.as_mut().unwrap().handle(Input::Sealed, &mut member.rng).unwrap();
                self.carry_out(me, out);
            }
            Output::Keys(keys) => member.keys = Some(keys),
            Output::Fault { from, reason } => member.faults.push((from, reason)),
            Output::DealerFault { dealer, reason } => member.dealer_faults.push((dealer, reason)),
        }
    }

    fn say(&mut self, from: Index, (to, dealer, kind, mut digest): (Index, Index, Kind, Digest), mut body: Vec<u8>) {
        match self.members[from.slot()].behaviour {
            Taker::Silent => return,
            Taker::WrongPoints if matches!(kind, Kind::Echo | Kind::Ready | Kind::Points) => {
                let at = self.rng.next_u32() as usize % (body.len() / 32) * 32 + 31;
                body[at] ^= 1;
            }
            Taker::InventedDigest if kind == Kind::Ready => digest[0] ^= 1,
            Taker::Withholds if kind != Kind::Echo => return,
            Taker::Noise if one_in(&mut self.rng, 3) && !body.is_empty() => {
                let at = self.rng.next_u32() as usize % body.len();
                body[at] ^= 1 << (self.rng.next_u32() % 8);
            }
            _ => {}
        }
        self.queue.push(Event::Packet { from, to, dealer, kind, digest, body });
    }

    fn sign_ready(&mut self, me: Index, dealer: Index, digest: Digest) {
        if [Taker::Silent, Taker::Withholds].contains(&self.members[me.slot()].behaviour) {
            return;
        }
        let promised = self.members[me.slot()].disk.promises.get(&dealer).map(|promise| promise.digest);
        assert_eq!(promised, Some(digest), "a Ready left before its promise was durable");
        let signers = self.readies.entry((dealer, digest)).or_default();
        signers.insert(me);
        if signers.len() == self.new.q() && !self.certified.contains(&(dealer, digest)) {
            assert!(self.certified.iter().all(|(other, _)| *other != dealer), "two digests certified for one dealer");
            self.certified.push((dealer, digest));
        }
        let wanted = HandOverSet::size(self.old.sizes);
        if self.set.is_none() && self.certified.len() >= wanted {
            let mut first = self.certified[..wanted].to_vec();
            first.sort_unstable();
            self.set = Some(HandOverSet::new(self.old.sizes, &first).unwrap());
            self.queue.extend(self.new.members().map(Event::HandOver));
        }
    }

    fn honest(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.behaviour == Taker::Honest)
    }

    /// What was taken over is the old keys, wherever it was; any k of the new shares give the secret that they had.
    fn check_safe(&self) {
        let mut taken: Option<&PublishedKeys> = None;
        for keys in self.honest().filter_map(|member| member.keys.as_ref()) {
            assert!(taken.is_none_or(|first| first == keys), "honest members took different keys over");
            taken = Some(keys);
        }
        if let Some(keys) = taken {
            let publics = |keys: &PublishedKeys| keys.keys.iter().map(|key| key.public).collect::<Vec<_>>();
            assert_eq!(publics(keys), publics(&self.old.keys), "a key changed");
        }
        let sealed: Vec<(Index, &Vec<[u8; 32]>)> =
            self.honest().filter_map(|member| Some((member.me, member.disk.shares.as_ref()?))).collect();
        for (me, shares) in &sealed {
            for (share, key) in shares.iter().zip(taken.into_iter().flat_map(|keys| &keys.keys)) {
                assert!(key.commitments[me.slot()].projective() == ProjectivePoint::GENERATOR * scalar(share));
            }
        }
        for chosen in subsets(sealed.len(), self.new.k()) {
            let set = IndexSet::new(self.new, chosen.iter().map(|at| sealed[*at].0).collect()).unwrap();
            for (b, secret) in self.old.secrets.iter().enumerate() {
                let parts = chosen.iter().zip(set.coefficients(0)).map(|(at, l)| scalar(&sealed[*at].1[b]) * l);
                assert_eq!(parts.sum::<Scalar>(), *secret, "k new shares give another secret");
            }
        }
    }

    fn check_finished(&self) {
        self.check_safe();
        for member in self.honest() {
            assert!(member.keys.is_some() && member.disk.shares.is_some(), "member {} took nothing over", member.me);
        }
    }
}

fn one_in(rng: &mut ChaCha20Rng, times: u32) -> bool {
    rng.next_u32().is_multiple_of(times)
}

#[derive(Clone, Debug)]
struct Case {
    old: Sizes,
    new: Sizes,
    batch: usize,
    seed: u64,
    dealers: Vec<Dealer>,
    takers: Vec<Taker>,
    fragile: usize,
    crashes: usize,
}

/// Up to t hostile dealers; up to t' new members hostile or dying.
fn case() -> impl Strategy<Value = Case> {
    let sizes_of = || proptest::sample::select(vec![5u8, 6, 9]).prop_map(sizes);
    (sizes_of(), sizes_of(), 1..3usize, any::<u64>()).prop_flat_map(|(old, new, batch, seed)| {
        let dealers = proptest::collection::vec(proptest::sample::select(DEALERS.to_vec()), 0..=old.t());
        let takers = proptest::collection::vec(proptest::sample::select(TAKERS.to_vec()), 0..=new.t());
        (dealers, takers, 0..4usize).prop_map(move |(dealers, takers, crashes)| {
            let fragile = new.t() - takers.len();
            Case { old, new, batch, seed, dealers, takers, fragile, crashes }
        })
    })
}

fn change(case: &Case) -> Change {
    let Case { old, new, batch, seed, dealers, takers, fragile, crashes } = case;
    let mut rng = ChaCha20Rng::seed_from_u64(seed ^ 0x5eed);
    let mut shuffled = |sizes: Sizes| {
        let mut members: Vec<Index> = sizes.members().collect();
        for last in (1..members.len()).rev() {
            members.swap(last, rng.next_u32() as usize % (last + 1));
        }
        members
    };
    let (hostile, bad) = (shuffled(*old), shuffled(*new));
    let takers: Vec<(Index, Taker)> = bad.iter().copied().zip(takers.iter().copied()).collect();
    let mut change = Change::new(*old, *new, *batch, *seed, &takers);
    change.fragile = bad[takers.len()..][..*fragile].iter().copied().collect();
    change.crashes_left = *crashes;
    change.duplicate = (*seed % 300) as u32;
    for (position, dealer) in hostile.iter().enumerate() {
        change.deal(*dealer, dealers.get(position).copied().unwrap_or(Dealer::Honest));
    }
    change.settle();
    change
}

proptest! {
    #![proptest_config(cases(40))]

    /// Larger, smaller, the same: every honest new member takes every key over, unchanged.
    #[test]
    fn a_batch_goes_over_whatever_t_old_and_t_new_members_do(case in case()) {
        change(&case).check_finished();
    }

    /// More went wrong than liveness allows: what was taken over is right, or nothing was.
    #[test]
    fn with_more_hostile_members_no_key_changes(case in case(), more in 1..3usize, crashes in 4..12usize) {
        let mut case = case;
        let room = case.new.k() - 1;
        case.takers.extend(std::iter::repeat_n(Taker::Noise, more));
        case.takers.truncate(room);
        case.dealers.extend(std::iter::repeat_n(Dealer::OtherShare, more));
        (case.fragile, case.crashes) = (case.new.n() - case.takers.len(), crashes);
        change(&case).check_safe();
    }
}

fn honest(old: Sizes, new: Sizes, seed: u64, takers: &[(Index, Taker)]) -> Change {
    let mut change = Change::new(old, new, 2, seed, takers);
    for dealer in old.members() {
        change.deal(dealer, Dealer::Honest);
    }
    change
}

#[test]
fn what_is_not_the_dealers_certified_share_is_refused_by_all_and_blamed_on_him() {
    for behaviour in [Dealer::OtherShare, Dealer::SwappedKeys] {
        let mut change = Change::new(sizes(5), sizes(6), 2, 1, &[]);
        for dealer in change.old.sizes.members() {
            change.deal(dealer, if dealer == index(2) { behaviour } else { Dealer::Honest });
        }
        change.settle();
        change.check_finished();
        assert!(change.certified.iter().all(|(dealer, _)| *dealer != index(2)));
        for member in &change.members {
            assert_eq!(member.dealer_faults, [(index(2), Reason::WrongConstant)]);
        }
    }
}

#[test]
fn a_matrix_of_another_constant_that_a_member_passes_on_is_refused_and_blamed_on_the_member() {
    let (old, new) = (sizes(5), sizes(5));
    let change = Change::new(old, new, 1, 3, &[]);
    let dealer = index(1);
    let mut shares = change.old.bytes_of(dealer);
    shares[31] ^= 1;
    let (digest, sends) = change.old.deal(new, dealer, &shares, &mut ChaCha20Rng::seed_from_u64(4));
    let (run, me) = (change.run_of(index(5)), index(5));
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let mut member = Participant::take_over(run, &change.old.keys, None).unwrap();
    // A quorum of liars has the log choose the dealing: the member fetches the matrix and believes none of them.
    let list: Vec<_> = [1, 2, 3, 4].map(|d| (index(d), digest)).to_vec();
    let set = HandOverSet::new(old, &list).unwrap();
    let mut out = crate::net::answer(&mut member, Input::HandOver(&set), &mut rng);
    let asked = out.iter().any(|o| matches!(o, Output::Send { dealer: of, kind: Kind::Need, .. } if *of == dealer));
    assert!(asked, "it asks for the matrix");
    let matrix = &sends[me.slot()].1[..9 * 64];
    let message = Input::Message { from: index(2), dealer, kind: Kind::Matrix, digest, body: matrix };
    out = crate::net::answer(&mut member, message, &mut rng);
    let fault = |o: &Output| matches!(o, Output::Fault { from, reason: Reason::WrongConstant } if *from == index(2));
    assert!(out.iter().any(fault));
}

#[test]
fn a_member_does_not_pass_for_a_dealer_nor_a_stranger_for_either() {
    let change = Change::new(sizes(5), sizes(6), 1, 6, &[]);
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let (digest, sends) = change.old.deal(sizes(6), index(3), &change.old.bytes_of(index(3)), &mut rng);
    let mut member = Participant::take_over(change.run_of(index(1)), &change.old.keys, None).unwrap();
    let body = &sends[0].1;
    let mut blamed = |input: Input<'_>| {
        let out = crate::net::answer(&mut member, input, &mut rng);
        assert_eq!(out.len(), 1, "a refusal alone");
        match out.first() {
            Some(Output::Fault { reason, .. } | Output::DealerFault { reason, .. }) => *reason,
            _ => panic!("taken"),
        }
    };
    // The new member of the same number as the dealer is not the dealer.
    let message = |from, dealer| Input::Message { from, dealer, kind: Kind::Send, digest, body };
    assert_eq!(blamed(message(index(3), index(3))), Reason::NotTheDealer);
    assert_eq!(blamed(message(index(3), index(6))), Reason::Outside, "the old committee has five");
    assert_eq!(blamed(Input::Dealing { dealer: index(6), digest, body }), Reason::Outside);
    assert_eq!(blamed(Input::Dealing { dealer: index(4), digest, body }), Reason::WrongDigest, "another's dealing");
    assert_eq!(blamed(Input::Vector { from: index(2), body: &[0; 64 + 192] }), Reason::Outside);
}

#[test]
fn a_set_is_taken_once_and_only_of_the_kind_of_the_run() {
    let (old, new) = (sizes(5), sizes(5));
    let change = Change::new(old, new, 1, 8, &[]);
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let mut member = Participant::take_over(change.run_of(index(1)), &change.old.keys, None).unwrap();
    let set = |dealers: &[usize]| dealers.iter().map(|d| (index(*d), [*d as u8; 32])).collect::<Vec<_>>();
    let qualified = torus_protocol::QualifiedSet::new(new, &set(&[1, 2, 3, 4])).unwrap();
    let (first, second) =
        (HandOverSet::new(old, &set(&[1, 2, 3, 4])).unwrap(), HandOverSet::new(old, &set(&[1, 2, 3, 5])).unwrap());
    let reasons = |out: Vec<Output>| -> Vec<Reason> {
        out.iter().filter_map(|o| if let Output::Fault { reason, .. } = o { Some(*reason) } else { None }).collect()
    };
    assert_eq!(reasons(crate::net::answer(&mut member, Input::Qualified(&qualified), &mut rng)), [Reason::Outside]);
    assert_eq!(reasons(crate::net::answer(&mut member, Input::HandOver(&first), &mut rng)), []);
    assert_eq!(reasons(crate::net::answer(&mut member, Input::HandOver(&first), &mut rng)), []);
    let again = crate::net::answer(&mut member, Input::HandOver(&second), &mut rng);
    assert_eq!(reasons(again), [Reason::SecondQualified]);
    let run = Run::new(BASE, new, index(1), 1, Heap::pool()).unwrap();
    let (mut generating, _) = crate::net::dealt(run, &mut rng);
    assert_eq!(reasons(crate::net::answer(&mut generating, Input::HandOver(&first), &mut rng)), [Reason::Outside]);
}

#[test]
fn what_does_not_fit_the_batch_begins_nothing() {
    let change = Change::new(sizes(5), sizes(9), 2, 10, &[]);
    let (old, keys) = (&change.old, &change.old.keys);
    let run = |batch| Run::take_over(BASE, old.sizes, sizes(9), index(9), batch, Heap::pool()).unwrap();
    assert!(Participant::take_over(run(2), keys, None).is_ok());
    assert!(Participant::take_over(run(1), keys, None).is_err(), "another number of keys");
    let wider = Run::take_over(BASE, sizes(6), sizes(9), index(9), 2, Heap::pool()).unwrap();
    assert!(Participant::take_over(wider, keys, None).is_err(), "keys of another committee");
    let deals = Run::hand_over(BASE, old.sizes, sizes(9), index(5), 2, Heap::pool()).unwrap();
    assert!(Participant::take_over(deals, keys, None).is_err(), "a dealer takes nothing over");
    assert!(
        Run::hand_over(BASE, old.sizes, sizes(9), index(6), 2, Heap::pool()).is_err(),
        "the old committee has five"
    );
    assert!(
        Run::take_over(BASE, sizes(9), old.sizes, index(6), 2, Heap::pool()).is_err(),
        "the new committee has five"
    );

    let mut rng = ChaCha20Rng::seed_from_u64(11);
    let mut refused = |run: Run, shares: &[u8]| {
        let shares = SecretBytes::copy_of(Heap::pool(), shares).unwrap();
        HandOver::new(run, &shares, &mut rng).is_err()
    };
    let own = old.bytes_of(index(5));
    assert!(!refused(deals, &own));
    assert!(refused(deals, &own[..32]) && refused(deals, &[own.as_slice(), &[0; 32]].concat()));
    assert!(refused(deals, &[[0xff; 32], [1; 32]].concat()), "a number above the order is no share");
    assert!(refused(run(2), &own), "in another run nothing is handed over");
}

#[test]
fn shares_of_two_epochs_do_not_combine() {
    let mut change = honest(sizes(5), sizes(5), 12, &[]);
    change.settle();
    change.check_finished();
    let new = |member: Index, b: usize| scalar(&change.members[member.slot()].disk.shares.as_ref().unwrap()[b]);
    let old = |member: Index, b: usize| change.old.shares[member.slot()][b];
    let members: Vec<Index> = sizes(5).members().collect();
    // k-1 old shares and k-1 new ones of other members: no k of these four give the secret.
    for b in 0..2 {
        let mixed = [old(members[0], b), old(members[1], b), new(members[2], b), new(members[3], b)];
        for chosen in subsets(4, 3) {
            let set = IndexSet::new(sizes(5), chosen.iter().map(|at| members[*at]).collect()).unwrap();
            let parts = chosen.iter().zip(set.coefficients(0)).map(|(at, l)| mixed[*at] * l);
            assert_ne!(parts.sum::<Scalar>(), change.old.secrets[b]);
        }
        assert!(members.iter().all(|member| old(*member, b) != new(*member, b)));
    }
}

#[test]
fn a_member_that_was_away_takes_its_shares_from_the_others_points() {
    let mut change = honest(sizes(6), sizes(5), 13, &[]);
    let away = index(4);
    // Nothing that is meant for it arrives but what the log says and what it asks for.
    let keep = |event: &Event| !matches!(event, Event::Dealing { to, .. } if *to == away);
    change.queue.retain(keep);
    change.settle();
    change.check_finished();
}

#[test]
fn who_does_not_know_what_was_certified_signs_nothing_after_a_restart() {
    let mut change = honest(sizes(5), sizes(5), 14, &[]);
    change.settle();
    let run = change.run_of(index(1));
    let stored = change.members[0].disk.promises.values().next().unwrap();
    let promise = || {
        let rows = SecretBytes::copy_of(run.pool(), &stored.rows).unwrap();
        Promise::parse(&run, stored.dealer, stored.digest, rows, &stored.matrix).unwrap()
    };
    let mut rng = ChaCha20Rng::seed_from_u64(15);
    let mut repeats = |mut member: Participant| {
        let mut out = Vec::new();
        while member.has_work() {
            out.extend(member.handle(Input::Continue(1 << 12), &mut rng).unwrap());
        }
        let blamed = |o: &Output| matches!(o, Output::DealerFault { reason: Reason::WrongConstant, .. });
        (out.iter().any(|o| matches!(o, Output::SignReady { .. })), out.iter().any(blamed))
    };
    let take_over = |keys: &PublishedKeys| Participant::take_over(run, keys, Some(vec![promise()])).unwrap();
    assert_eq!(repeats(take_over(&change.old.keys)), (true, false));
    let other = Old::new(sizes(5), 2, &mut ChaCha20Rng::seed_from_u64(16));
    assert_eq!(repeats(take_over(&other.keys)), (false, true), "other keys than the dealer's");
    assert_eq!(
        repeats(Participant::resume(run, vec![promise()])),
        (false, true),
        "a restart as if keys were generated"
    );
}
