use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use torus_mapping::{Reject, StateReader, genesis_root};
use torus_statement::certificate::SignedHeader;
use torus_statement::config::Buffer;
use torus_statement::state::{Phase, key};
use torus_statement::text::VerifierId;
use torus_statement::{Block, Body, CommitCertificate, NetworkFile, Step, Vote, Wire};

use super::{Fate, NodeChain, now};
use crate::store::{KEPT_VERSIONS, Store, StoreError};
use crate::testnet::{Net, START, assign, at, attempt, name, sign, user};
use torus_consensus::{Chain, Kept};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A network with a store and chain for each of some members.
pub(crate) struct World {
    net: Net,
    file: NetworkFile,
    dir: PathBuf,
}

impl World {
    pub(crate) fn new() -> Self {
        let root = |verifiers: &[_]| genesis_root(verifiers).unwrap();
        let net = Net::new(5, 3, 1, Buffer { batch: 4, low_water: 8 }, root);
        let file = NetworkFile { config: net.config.clone(), verifiers: net.verifiers.clone() };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("torus-chain-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self { net, file, dir }
    }

    fn store(&self, member: u8) -> Result<Store, StoreError> {
        Store::open(&self.dir.join(member.to_string()), &self.file)
    }

    pub(crate) fn chain(&self, member: u8) -> NodeChain {
        let store = Arc::new(self.store(member).unwrap());
        let key = self.net.nodes[at(member).slot()].clone();
        NodeChain::open(store, Arc::new(self.net.config.clone()), at(member), key).unwrap()
    }

    fn certificate(&self, block: &Block) -> CommitCertificate {
        let vote =
            Vote { step: Step::Precommit, height: block.header.height, round: 0, block: Some(block.header.hash()) };
        let preimage = vote.preimage(&self.net.config);
        let signatures = (1..=4).map(|m| (at(m), sign(&self.net.consensus[at(m).slot()], &preimage))).collect();
        CommitCertificate { round: 0, signatures }
    }

    /// A block of what waits, checked and committed everywhere.
    pub(crate) fn step(&self, proposer: &NodeChain, others: &[&NodeChain]) -> Block {
        let block = proposer.build(proposer.tip().time + 500).unwrap();
        let certificate = self.certificate(&block);
        for chain in others.iter().copied().chain([proposer]) {
            chain.check(&block, None).unwrap();
            chain.commit(&block, &certificate).unwrap();
        }
        block
    }

    pub(crate) fn submit(&self, chain: &NodeChain, body: Body) -> torus_statement::Transaction {
        let transaction = chain.sign(body);
        assert_eq!(chain.submit(&transaction.to_bytes()), Ok(true));
        transaction
    }

    /// Two batches are published.
    pub(crate) fn fill(&self, chain: &NodeChain, others: &[&NodeChain]) {
        self.step(chain, others);
        for batch in 0..2 {
            self.submit(chain, self.net.proposal(attempt(batch, 0)));
            self.step(chain, others);
            self.submit(chain, self.net.publication(attempt(batch, 0), &[1, 2, 3, 4]));
            self.step(chain, others);
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn what_was_assigned_is_proven_under_a_certified_header_and_survives_a_restart() {
    let world = World::new();
    let chain = world.chain(1);
    world.fill(&chain, &[]);
    let id = VerifierId::new("alice").unwrap();
    let transaction = world.submit(&chain, assign("google", "alice"));
    assert_eq!(chain.fate(&transaction.hash()), Some(Fate::Waiting));
    assert!(chain.has_work());
    let block = world.step(&chain, &[]);
    assert_eq!(chain.fate(&transaction.hash()), Some(Fate::Committed(block.header.height)));
    assert!(!chain.has_work());
    let tip = chain.tip();
    drop(chain);

    let chain = world.chain(1);
    assert_eq!(chain.tip(), tip);
    let snapshot = chain.store().snapshot().unwrap();
    let found = snapshot.certified(&name("google"), &id).unwrap().unwrap();
    let certified = found.header.verify(&world.net.config).unwrap();
    let root = certified.header().state;
    let leaf = key::assignment(&name("google"), &user("alice"));
    let index = found.assignment.verify(&root, &leaf).unwrap().keys[0];
    let entry = found.key.verify(&root, &key::key(index)).unwrap();
    assert_eq!(entry.public, world.net.published(attempt(0, 0)).keys[0].public);
    assert_eq!(snapshot.lookup(&name("google"), &id).unwrap().unwrap().1, index);
    // The indexes for the interface say the same.
    let owner = Some((name("google"), user("alice")));
    assert_eq!(snapshot.key_by_public(&entry.public).unwrap(), Some((index, owner)));
    let free = world.net.published(attempt(1, 0)).keys[2].public;
    assert_eq!(snapshot.key_by_public(&free).unwrap().unwrap().1, None);
    assert_eq!(snapshot.key_by_public(&crate::testnet::point(5)).unwrap(), None);
    assert!(snapshot.certified(&name("other"), &id).unwrap().is_none());
    // A late vault gets the very bytes that were signed.
    let (of, published) = snapshot.published(1).unwrap().unwrap();
    assert_eq!((of, published), (attempt(1, 0), world.net.published(attempt(1, 0)).to_bytes()));
    let (header, batch) = snapshot.batch(1).unwrap().unwrap();
    assert!(batch.verify(&header.header.state, &key::batch(1)).is_some());
}

#[test]
fn before_the_first_block_nothing_is_certified() {
    let world = World::new();
    let chain = world.chain(1);
    let snapshot = chain.store().snapshot().unwrap();
    assert_eq!((snapshot.height(), snapshot.header().unwrap()), (0, None));
    assert!(snapshot.batch(0).unwrap().is_none() && snapshot.published(0).unwrap().is_none());
    assert_eq!((chain.tip().hash, chain.tip().time), (world.net.config.committee().chain, START));
    assert_eq!(chain.min_height(), 0);
}

#[test]
fn every_member_executes_to_the_same_root() {
    let world = World::new();
    let (one, two) = (world.chain(1), world.chain(2));
    world.fill(&one, &[&two]);
    world.submit(&two, assign("google", "bob"));
    let block = world.step(&two, &[&one]);
    assert_eq!(block.header.proposer, at(2));
    assert_eq!(one.tip(), two.tip());
    assert_eq!(one.decided(1..=99), two.decided(1..=99));
    assert_eq!(one.decided(3..=4).iter().map(|(block, _)| block.header.height).collect::<Vec<_>>(), [3, 4]);
    assert!(one.decided(7..=9).is_empty());
}

#[test]
fn a_hostile_proposers_blocks_are_refused_each_by_its_fault() {
    let world = World::new();
    let (one, two) = (world.chain(1), world.chain(2));
    world.fill(&one, &[&two]);
    world.submit(&one, assign("google", "alice"));
    let clock = now();
    let good = one.build(clock).unwrap();
    assert_eq!(two.check(&good, Some(clock)), Ok(()));
    let alter = |change: &dyn Fn(&mut Block)| {
        let mut block = good.clone();
        change(&mut block);
        two.check(&block, Some(clock)).unwrap_err().0
    };
    assert!(alter(&|b| b.header.state = [1; 32]).contains("state root"));
    assert!(alter(&|b| b.header.chain = [1; 32]).contains("chain"));
    assert!(alter(&|b| b.header.epoch = 2).contains("epoch"));
    assert!(alter(&|b| b.header.height += 1).contains("tip"));
    assert!(alter(&|b| b.header.parent = [1; 32]).contains("tip"));
    assert!(alter(&|b| b.header.config = [1; 32]).contains("config"));
    assert!(alter(&|b| b.header.next_config = [1; 32]).contains("config"));
    assert!(alter(&|b| b.header.proposer = at(6)).contains("proposer"));
    assert!(alter(&|b| b.header.time = two.tip().time).contains("later"));
    assert!(alter(&|b| b.header.time = clock + 10_001).contains("future"));
    assert!(alter(&|b| b.transactions.clear()).contains("transactions"));
    // A refused transaction beside the good one, with roots that fit: replays and refused work never fill the log.
    let replayed = alter(&|b| {
        b.transactions.push(b.transactions[0].clone());
        b.header.transactions = torus_statement::block::transactions_root(&b.transactions);
    });
    assert!(replayed.contains("sequence"), "{replayed}");
    // A block that has a certificate already is not measured by this clock.
    let later = Block { header: torus_statement::Header { time: clock + 60_000, ..good.header.clone() }, ..good };
    let refused = two.check(&later, None).unwrap_err().0;
    assert!(refused.contains("state root"), "the time is inside the state: {refused}");
}

#[test]
fn the_proposers_clock_may_stand_still() {
    let world = World::new();
    let chain = world.chain(1);
    world.step(&chain, &[]);
    let block = chain.build(0).unwrap();
    assert_eq!(block.header.time, chain.tip().time + 1);
    assert_eq!(chain.check(&block, Some(now())), Ok(()));
}

#[test]
fn strangers_and_nonsense_never_enter_the_mempool() {
    let world = World::new();
    let chain = world.chain(1);
    world.fill(&chain, &[]);
    let good = world.net.transaction(3, 1, assign("google", "alice"));
    let refused = |bytes: &[u8]| chain.submit(bytes).unwrap_err().0;
    let mut forged = good.clone();
    forged.signature[0] ^= 1;
    assert!(refused(&forged.to_bytes()).contains("signature"));
    let mut stranger = good.clone();
    stranger.sender = at(9);
    assert!(refused(&stranger.to_bytes()).contains("no member"));
    // One byte off, and every other cut: none is a transaction.
    refused(&good.to_bytes()[1..]);
    for end in 0..good.to_bytes().len() {
        refused(&good.to_bytes()[..end]);
    }
    assert!(refused(&vec![0; 1 << 20]).contains("large"));
    assert!(refused(&world.net.transaction(3, 2, assign("nobody", "x")).to_bytes()).contains("verifier"));
    // A proposal that a quorum did not sign costs its sender's node nothing but its signature, and waits nowhere.
    let foreign = world.net.transaction(3, 2, world.net.publication(attempt(0, 0), &[1, 2]));
    assert!(refused(&foreign.to_bytes()).contains("phase"));
    assert_eq!(chain.submit(&good.to_bytes()), Ok(true));
    assert_eq!(chain.submit(&good.to_bytes()), Ok(false), "known");
    let other = world.net.transaction(3, 1, assign("google", "bob"));
    assert!(refused(&other.to_bytes()).contains("sequence"));
}

#[test]
fn a_loser_of_a_race_is_told_and_makes_no_further_blocks() {
    let world = World::new();
    let (one, two) = (world.chain(1), world.chain(2));
    world.fill(&one, &[&two]);
    let first = world.submit(&one, assign("google", "alice"));
    let second = world.submit(&two, assign("google", "alice"));
    for (chain, transaction) in [(&one, &second), (&two, &first)] {
        assert_eq!(chain.submit(&transaction.to_bytes()), Ok(true));
    }
    let block = world.step(&one, &[&two]);
    assert_eq!(block.transactions, [first]);
    for chain in [&one, &two] {
        assert_eq!(chain.fate(&second.hash()), Some(Fate::Rejected(Reject::Assigned)));
        assert!(!chain.has_work());
    }
    // Asked before submitting, the answer is the same.
    let again = two.sign(assign("google", "alice"));
    assert_eq!(two.would_execute(&again).unwrap(), Err(Reject::Assigned));
}

#[test]
fn an_empty_buffer_is_told_at_once() {
    let world = World::new();
    let chain = world.chain(1);
    world.step(&chain, &[]);
    let transaction = chain.sign(assign("google", "alice"));
    assert_eq!(chain.would_execute(&transaction).unwrap(), Err(Reject::NoKeys));
    assert!(chain.submit(&transaction.to_bytes()).unwrap_err().0.contains("no key"));
}

#[test]
fn sequences_go_on_after_a_restart() {
    let world = World::new();
    let chain = world.chain(1);
    world.fill(&chain, &[]);
    let before = chain.sign(assign("google", "alice")).sequence;
    drop(chain);
    let chain = world.chain(1);
    let after = world.submit(&chain, assign("google", "alice"));
    assert!(after.sequence > before && after.sequence - before < 128);
    world.step(&chain, &[]);
    assert!(matches!(chain.fate(&after.hash()), Some(Fate::Committed(_))));
}

#[test]
fn kept_proposals_survive_a_restart_and_go_with_their_height() {
    let world = World::new();
    let chain = world.chain(1);
    let block = chain.build(now()).unwrap();
    let own = Kept { round: 0, own: true, block: block.clone() };
    let again = Kept { round: 2, own: false, block: block.clone() };
    chain.keep(&own).unwrap();
    chain.keep(&again).unwrap();
    // Hearing one's own block from another does not make it another's.
    chain.keep(&Kept { own: false, ..own.clone() }).unwrap();
    drop(chain);
    let chain = world.chain(1);
    assert_eq!(chain.kept(), [own, again]);
    chain.commit(&block, &world.certificate(&block)).unwrap();
    assert!(chain.kept().is_empty());
}

#[test]
fn batches_under_way_or_not_acknowledged_by_all_are_active() {
    let world = World::new();
    let chain = world.chain(1);
    world.fill(&chain, &[]);
    assert_eq!(chain.take_changed_batches(), [0, 1]);
    assert!(chain.take_changed_batches().is_empty());
    let active = |chain: &NodeChain| chain.store().snapshot().unwrap().active_batches().unwrap();
    assert_eq!(active(&chain), [0, 1]);
    for member in 1..=5 {
        let ack = world.net.transaction(member, 1, world.net.ack(attempt(0, 0), member));
        chain.submit(&ack.to_bytes()).unwrap();
    }
    world.step(&chain, &[]);
    assert_eq!((chain.take_changed_batches(), active(&chain)), (vec![0], vec![1]));
    let (_, entry) = chain.store().snapshot().unwrap().batch(0).unwrap().unwrap();
    assert!(matches!(entry.value.phase, Phase::Published { acks: 0b11111, .. }));
}

#[test]
fn a_store_of_another_network_or_with_a_gap_is_refused() {
    let world = World::new();
    let chain = world.chain(1);
    let block = world.step(&chain, &[]);
    let snapshot = chain.store().snapshot().unwrap();
    let outcome = torus_mapping::execute(&snapshot, &world.net.config, torus_mapping::At { height: 2, time: 1 }, &[]);
    let again = chain.store().commit(&block, &world.certificate(&block), &outcome.unwrap());
    assert!(matches!(again, Err(StoreError::Order(1))));
    drop(snapshot);
    drop(chain);
    let mut other = World::new();
    other.file.verifiers.pop();
    assert!(matches!(other.store(1), Err(StoreError::Genesis)));
    let root = |verifiers: &[_]| genesis_root(verifiers).unwrap();
    let net = Net::new(5, 3, 1, Buffer { batch: 4, low_water: 9 }, root);
    let file = NetworkFile { config: net.config, verifiers: net.verifiers };
    assert!(matches!(Store::open(&world.dir.join("1"), &file), Err(StoreError::Network)));
}

#[test]
fn old_versions_are_forgotten_and_the_newest_is_whole() {
    let world = World::new();
    let chain = world.chain(1);
    world.fill(&chain, &[]);
    let early = chain.tip().height;
    for number in 0..KEPT_VERSIONS + 10 {
        if number % 40 == 0 {
            world.submit(&chain, assign("google", &number.to_string()));
        }
        world.step(&chain, &[]);
    }
    let snapshot = chain.store().snapshot().unwrap();
    let root = |version| torus_mapping::root(&snapshot, version).unwrap();
    let SignedHeader { header, .. } = snapshot.header().unwrap().unwrap();
    assert_eq!(root(snapshot.height()), Some(header.state));
    let recent = snapshot.height() - KEPT_VERSIONS + 1;
    assert_eq!(root(recent), Some(snapshot.header_at(recent).unwrap().unwrap().header.state));
    assert_eq!(root(early), None, "pruned");
    assert!(snapshot.value(snapshot.height(), &key::supply()).unwrap().is_some());
    for batch in 0..2 {
        let (of, published) = snapshot.published(batch).unwrap().unwrap();
        assert_eq!(published, world.net.published(of).to_bytes());
        assert!(snapshot.batch(batch).unwrap().is_some());
    }
}
