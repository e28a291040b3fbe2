//! The statement's proofs against `jmt`'s tree.

use std::collections::BTreeMap;

use proptest::prelude::*;
use torus_statement::merkle::{MerkleProof, PLACEHOLDER};
use torus_statement::state::{Proven, Supply, key};
use torus_statement::{Hash, Wire};

use super::net::attempt;
use super::{BUFFER, Chain};
use crate::tree::{prove, root, update};
use crate::{MemoryState, Outcome, TreeUpdate};

fn put(state: &mut MemoryState, version: u64, leaves: &[(Hash, Vec<u8>)]) -> Hash {
    let (root, tree): (Hash, TreeUpdate) = update(state, version, leaves).unwrap();
    let writes = leaves.to_vec();
    state.apply(version, &Outcome { root, writes, tree, results: Vec::new(), batches: Vec::new() });
    root
}

#[test]
fn an_empty_tree_has_the_placeholders_root_and_proves_nothing() {
    let mut state = MemoryState::default();
    assert_eq!(put(&mut state, 0, &[]), PLACEHOLDER);
    assert!(prove(&state, 0, &[1; 32]).unwrap().is_none());
    assert!(prove(&state, 9, &[1; 32]).unwrap().is_none(), "no such version");
}

#[test]
fn a_lone_leaf_and_two_that_differ_in_the_last_bit_are_proven() {
    let mut state = MemoryState::default();
    let (a, mut b) = ([0xa5; 32], [0xa5; 32]);
    b[31] ^= 1;
    let alone = put(&mut state, 0, &[(a, vec![1])]);
    let (value, proof) = prove(&state, 0, &a).unwrap().unwrap();
    assert!(proof.siblings.is_empty() && proof.verifies(&alone, &a, &value));
    let both = put(&mut state, 1, &[(b, vec![2])]);
    for (key, value) in [(a, vec![1]), (b, vec![2])] {
        let (stored, proof) = prove(&state, 1, &key).unwrap().unwrap();
        assert_eq!((stored, proof.siblings.len()), (value.clone(), 256));
        assert!(proof.verifies(&both, &key, &value));
        assert!(!proof.verifies(&both, &key, &[9]));
    }
}

#[test]
fn blocks_without_changes_leave_no_nodes_behind() {
    let mut chain = Chain::filled(BUFFER);
    chain.state.prune(chain.height);
    let nodes = chain.state.nodes();
    for _ in 0..50 {
        chain.block(&[]);
        chain.state.prune(chain.height);
    }
    assert_eq!(chain.state.nodes(), nodes);
    assert!(prove(&chain.state, chain.height, &key::supply()).unwrap().is_some());
}

#[test]
fn a_recent_version_proves_what_it_held_then() {
    let mut chain = Chain::new(BUFFER);
    let mut roots = BTreeMap::new();
    for round in 0..6 {
        let outcome = chain.block(&[]);
        roots.insert(chain.height, (outcome.root, chain.supply()));
        if round % 2 == 0 {
            let proposal = chain.net.proposal(attempt(round / 2, 0));
            let _ = chain.one(1, proposal);
            let keys = chain.net.publication(attempt(round / 2, 0), &[1, 2, 3, 4]);
            let _ = chain.one(1, keys);
        }
    }
    for (height, (expected, supply)) in roots {
        assert_eq!(root(&chain.state, height).unwrap(), Some(expected));
        let (value, proof) = prove(&chain.state, height, &key::supply()).unwrap().unwrap();
        let proven = Proven { value: Supply::from_bytes(&value).unwrap(), proof };
        assert_eq!(proven.verify(&expected, &key::supply()), Some(&supply));
        assert_eq!(proven.verify(&expected, &key::batch(0)), None);
    }
}

/// Keys that meet late: few different prefixes, so that paths are long and leaves move.
fn leaf_key() -> impl Strategy<Value = Hash> {
    let crowded = (0u8..3, 0usize..32, any::<u8>()).prop_map(|(base, place, byte)| {
        let mut key = [base; 32];
        key[place] = byte;
        key
    });
    prop_oneof![any::<[u8; 32]>(), crowded]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_leaf_is_proven_under_jmts_root_and_nothing_else_is(
        blocks in prop::collection::vec(prop::collection::btree_map(leaf_key(), prop::collection::vec(any::<u8>(), 0..40), 0..12), 1..8),
        absent in leaf_key(),
        wrong in any::<(u8, u8)>(),
    ) {
        let mut state = MemoryState::default();
        let mut leaves: BTreeMap<Hash, Vec<u8>> = BTreeMap::new();
        for (version, block) in (0..).zip(blocks) {
            let block: Vec<_> = block.into_iter().collect();
            let top = put(&mut state, version, &block);
            leaves.extend(block);
            prop_assert_eq!(root(&state, version).unwrap(), Some(top));
            // Pruning keeps what the newest version needs.
            state.prune(version);
            for (key, value) in &leaves {
                let (stored, proof) = prove(&state, version, key).unwrap().unwrap();
                prop_assert_eq!(&stored, value);
                prop_assert!(proof.verifies(&top, key, value));
                let proof = MerkleProof::from_bytes(&proof.to_bytes()).unwrap();
                let mut other = value.clone();
                other.push(wrong.0);
                prop_assert!(!proof.verifies(&top, key, &other));
                let mut elsewhere = *key;
                elsewhere[usize::from(wrong.0) % 32] ^= wrong.1 | 1;
                prop_assert!(!proof.verifies(&top, &elsewhere, value));
                let mut longer = proof.clone();
                longer.siblings.push(PLACEHOLDER);
                prop_assert!(!longer.verifies(&top, key, value));
            }
            if !leaves.contains_key(&absent) {
                prop_assert!(prove(&state, version, &absent).unwrap().is_none());
            }
        }
    }
}
