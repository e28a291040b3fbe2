//! Shares at rest: what does not open, and that nothing comes out then.

use torus_hsm::Device;
use torus_sharing::PublishedKeys;
use torus_statement::dkg::KeyIndex;

use super::device::TestDevice;
use super::world::{KEYS, World, config};
use crate::keygen::ShareError;
use crate::store::StoreError;

fn made() -> (World, PublishedKeys) {
    let mut world = World::new();
    world.open(0, 0);
    world.open(1, 0);
    world.run();
    let keys = PublishedKeys::parse(world.config.sizes(), KEYS.into(), &world.keys[&0]).unwrap();
    (world, keys)
}

fn open(world: &mut World, key: KeyIndex, commitment: &torus_statement::Point) -> Result<[u8; 32], ShareError> {
    let (store, config) = (world.shares(1), world.config.clone());
    let mut out = [7; 32];
    let result = store.open(&config, key, commitment, &mut world.member(1).device.clone(), &mut out);
    if result.is_err() {
        assert_eq!(out, [0; 32], "nothing comes out of a refusal");
    }
    result.map(|()| out)
}

#[test]
fn a_share_opens_only_for_its_own_key_and_commitment() {
    let (mut world, keys) = made();
    let own = |position: usize| keys.keys[position].commitments[0];
    assert!(open(&mut world, KeyIndex::new(0, 0).unwrap(), &own(0)).is_ok());
    let wrong = [
        (KeyIndex::new(0, 0), own(1)),
        (KeyIndex::new(0, 1), own(0)),
        (KeyIndex::new(1, 0), own(0)),
        (KeyIndex::new(0, 0), keys.keys[0].commitments[1]),
        (KeyIndex::new(0, 0), keys.keys[0].public),
    ];
    for (key, commitment) in wrong {
        assert!(matches!(open(&mut world, key.unwrap(), &commitment), Err(ShareError::Mismatch)));
    }
    for missing in [KeyIndex::new(0, KEYS), KeyIndex::new(2, 0), KeyIndex::new(0, 255)] {
        assert!(matches!(open(&mut world, missing.unwrap(), &own(0)), Err(ShareError::Missing)));
    }
}

#[test]
fn no_byte_of_a_stored_batch_can_be_changed_or_moved() {
    let (mut world, keys) = made();
    let commitment = keys.keys[1].commitments[0];
    let key = KeyIndex::new(0, 1).unwrap();
    let store = world.member(1).store.clone();
    let table = store.table("shares").unwrap();
    let read = |batch: u64| {
        store.read(|view| Ok::<_, StoreError>(view.get(table, &batch.to_be_bytes())?.unwrap().to_vec())).unwrap()
    };
    let write = |value: &[u8]| store.write(|change| change.put(table, &0u64.to_be_bytes(), value)).unwrap();
    let (honest, other) = (read(0), read(1));
    // Everything but the records of the other positions matters to this one.
    for at in (0..68).chain(68 + 49..68 + 98) {
        let mut bent = honest.clone();
        bent[at] ^= 1;
        write(&bent);
        let result = open(&mut world, key, &commitment);
        // The count of keys is read only as a bound.
        assert!(result.is_err() || matches!(at, 5 | 6), "byte {at}");
    }
    write(&other);
    assert!(open(&mut world, key, &commitment).is_err());
    for length in [0, 1, 67, 68, 116] {
        write(&honest[..length]);
        assert!(open(&mut world, key, &commitment).is_err());
    }
    write(&honest);
    assert!(open(&mut world, key, &commitment).is_ok());
}

#[test]
fn a_share_does_not_open_in_another_epoch_or_with_another_device() {
    let (mut world, keys) = made();
    let commitment = keys.keys[0].commitments[0];
    let key = KeyIndex::new(0, 0).unwrap();
    let store = world.shares(1);
    let mut out = [0; 32];
    let mut devices: Vec<Box<dyn Device>> = (1..=5).map(|i| Box::new(TestDevice::new(i)) as Box<dyn Device>).collect();
    let later = config(&mut devices, 2);
    let mut own = world.member(1).device.clone();
    assert!(matches!(store.open(&later, key, &commitment, &mut own, &mut out), Err(ShareError::Mismatch)));
    let here = world.config.clone();
    let mut stranger = TestDevice::new(2);
    assert!(matches!(store.open(&here, key, &commitment, &mut stranger, &mut out), Err(ShareError::Mismatch)));
    own.broken.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(store.open(&here, key, &commitment, &mut own, &mut out), Err(ShareError::Device(_))));
}

#[test]
fn neither_shares_nor_rows_lie_in_the_database_in_clear() {
    let mut world = World::new();
    world.counts = false;
    world.open(0, 0);
    world.run();
    let keys = PublishedKeys::parse(world.config.sizes(), KEYS.into(), &world.keys[&0]).unwrap();
    let share = open(&mut world, KeyIndex::new(0, 0).unwrap(), &keys.keys[0].commitments[0]).unwrap();
    let store = world.member(1).store.clone();
    for name in ["shares", "keygen-rows", "keygen-batches", "keygen-echoes"] {
        let table = store.table(name).unwrap();
        let visited: Result<(), StoreError> = store.read(|view| {
            view.each(table, &[], |_, value| {
                assert!(!value.windows(32).any(|window| window == share), "{name}");
                Ok(true)
            })
        });
        visited.unwrap();
    }
}
