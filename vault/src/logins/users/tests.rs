//! What a freeze does to a group that is under way.

use std::sync::OnceLock;

use torus_audit::SubjectKey;
use torus_hsm::EpochAttempt;
use torus_memory::{Heap, Secret};
use torus_release::Grant;
use torus_statement::Point;
use torus_statement::dkg::KeyIndex;
use torus_statement::state::KeyEntry;
use torus_statement::text::{VerifierId, VerifierName};

use super::*;
use crate::advance::Chain;
use crate::audit::Journal;
use crate::clock::{self, Timekeeper};
use crate::commit::Commits;
use crate::configs::Configs;
use crate::freeze::Word;
use crate::keygen::tests::device::TestDevice;
use crate::keygen::tests::world;
use crate::limits::Limits;
use crate::owners::Owners;
use crate::quota::Quotas;
use crate::randomness;
use crate::store::Store;

/// The first member of a network of five, over a new store.
pub(crate) fn member(dir: &std::path::Path) -> Arc<Member> {
    let mut devices: Vec<Box<dyn Device>> =
        (1..=5).map(|member| Box::new(TestDevice::new(member)) as Box<dyn Device>).collect();
    let config = Arc::new(world::config(&mut devices, 1));
    let keys = config.keys().certificates[0].keys.clone();
    let (index, identity, pool) = (keys.index, keys.identity, Heap::pool());
    let store = Store::create(dir).unwrap();
    let audit = Journal::open(&store).unwrap();
    let times = config.committee().times;
    let configs = Configs::open(&store, config.clone()).unwrap();
    Arc::new(Member {
        network: [1; 32],
        index,
        keys,
        identity,
        attempt: EpochAttempt { epoch: 1, attempt: 0 },
        verifiers: Vec::new(),
        chain: Chain::open(&store, configs, config.clone(), identity, audit.clone()).unwrap(),
        audit,
        subjects: SubjectKey::zero(pool).unwrap(),
        keeper: Timekeeper::new(store.clone(), times, 0, clock::system).unwrap(),
        behind: false,
        held: false.into(),
        leaving: false.into(),
        health: Default::default(),
        pool,
        room: 0,
        store,
        config,
    })
}

/// The first member's worker. While its device signs for the second time, its operator freezes the vault.
fn worker(dir: &std::path::Path) -> Users {
    let member = member(dir);
    let (store, times, pool) = (member.store.clone(), member.config.committee().times, member.pool);
    let frozen: Arc<OnceLock<Arc<Member>>> = Arc::default();
    assert!(frozen.set(member.clone()).is_ok());
    let mut device = TestDevice::new(1);
    device.while_signing = Some(Arc::new(move |time| {
        if time == 2 {
            frozen.get().unwrap().obey(&Word::Freeze("a test".to_owned())).unwrap();
        }
    }));
    let records = Records {
        commits: Commits::open(&store, &times).unwrap(),
        owners: Owners::open(&store).unwrap(),
        quotas: Quotas::open(&store, Limits::DEFAULT, 1).unwrap(),
    };
    Users {
        rng: randomness::seeded(&mut device, 1, pool).unwrap(),
        device: Box::new(device),
        records,
        shares: ShareStore::new(&store, pool).unwrap(),
        budget: Arc::new(Budget::new(Limits::DEFAULT.commits)),
        member,
    }
}

fn point() -> Point {
    Point::new(&k256::ProjectivePoint::GENERATOR).unwrap()
}

/// A release that is on record.
fn recorded(number: u64) -> Recorded {
    let grant = Grant {
        verifier: VerifierName::new("demo").unwrap(),
        id: VerifierId::new("alice@example.com").unwrap(),
        owner: [2; 32],
        index: KeyIndex::from_number(number),
        entry: KeyEntry { public: point(), commitments: vec![point(); 5] },
        share: point(),
        temporary: point(),
        issued_at: 1,
        time: 1000,
    };
    Recorded::granted(grant, Secret::zeros(Heap::pool()).unwrap())
}

#[test]
fn a_freeze_in_the_midst_of_a_group_lets_none_of_the_rest_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut users = worker(dir.path());
    let out: Vec<_> = (0..6).map(|number| users.let_out(recorded(number)).map(|_| ())).collect();
    // The second was on its way out when the word came.
    assert_eq!(out[..2], [Ok(()), Ok(())]);
    assert_eq!(out[2..], [Err(Deny::Frozen); 4]);
}

#[test]
fn a_freeze_in_the_midst_of_a_group_signs_none_of_the_other_receipts() {
    let dir = tempfile::tempdir().unwrap();
    let mut users = worker(dir.path());
    let ask = Ask { token: [3; 32], temporary: point(), verifier: VerifierName::new("demo").unwrap() };
    let entry =
        Entry { committed: true, first: 1000, expires: 2000, temporary: point(), not_before: 0, released: None };
    let out: Vec<_> = (0..6).map(|_| users.receipt(&ask, &entry).map(|_| ())).collect();
    assert_eq!(out[..2], [Ok(()), Ok(())]);
    assert_eq!(out[2..], [Err(Deny::Frozen); 4]);
}
