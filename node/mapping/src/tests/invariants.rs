//! Random histories: what must hold after every block, on replicas that read their states differently.

use std::collections::BTreeMap;

use proptest::prelude::*;
use torus_statement::dkg::KeyIndex;
use torus_statement::state::Phase;
use torus_statement::{Hash, Transaction};

use super::net::{assign, attempt, name, user};
use super::{BUFFER, Chain};
use crate::error::Failed;
use crate::tree::StateReader;
use crate::{Execution, MemoryState, execute};

/// The same state behind another store: the newest values apart, and every old version forgotten.
struct OtherReader {
    state: MemoryState,
    newest: BTreeMap<Hash, Vec<u8>>,
}

impl StateReader for OtherReader {
    fn node(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failed> {
        self.state.node(key)
    }

    fn value(&self, _: u64, key: &Hash) -> Result<Option<Vec<u8>>, Failed> {
        Ok(self.newest.get(key).cloned())
    }
}

#[derive(Clone, Debug)]
enum Act {
    Assign { sender: u8, verifier: bool, id: u8 },
    Propose { sender: u8, batch: u64, attempt: u32 },
    Publish { sender: u8, batch: u64, attempt: u32, signers: u8 },
    Ack { sender: u8, batch: u64 },
    Replay,
    Wait { minutes: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    let sender = 1u8..=5;
    prop_oneof![
        6 => (sender.clone(), any::<bool>(), 0u8..24).prop_map(|(sender, verifier, id)| Act::Assign { sender, verifier, id }),
        4 => (sender.clone(), 0u64..5, 0u32..2).prop_map(|(sender, batch, attempt)| Act::Propose { sender, batch, attempt }),
        4 => (sender.clone(), 0u64..5, 0u32..2, 3u8..=5)
            .prop_map(|(sender, batch, attempt, signers)| Act::Publish { sender, batch, attempt, signers }),
        2 => (sender, 0u64..5).prop_map(|(sender, batch)| Act::Ack { sender, batch }),
        1 => Just(Act::Replay),
        1 => (1u64..20).prop_map(|minutes| Act::Wait { minutes }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_members_send_keys_have_one_owner_and_replicas_agree(
        blocks in prop::collection::vec(prop::collection::vec(act(), 0..6), 1..14),
    ) {
        let mut chain = Chain::new(BUFFER);
        let mut other = OtherReader { state: chain.state.clone(), newest: BTreeMap::new() };
        other.newest.extend(crate::genesis(&chain.net.verifiers).unwrap().writes);
        let mut owners: BTreeMap<(bool, u8), KeyIndex> = BTreeMap::new();
        let mut last: Option<Transaction> = None;
        for acts in blocks {
            let mut block = Vec::new();
            for act in acts {
                let (sender, body) = match act {
                    Act::Assign { sender, verifier, id } => {
                        (sender, assign(if verifier { "google" } else { "other" }, &id.to_string()))
                    }
                    Act::Propose { sender, batch, attempt: a } => (sender, chain.net.proposal(attempt(batch, a))),
                    Act::Publish { sender, batch, attempt: a, signers } => {
                        (sender, chain.net.publication(attempt(batch, a), &(1..=signers).collect::<Vec<_>>()))
                    }
                    Act::Ack { sender, batch } => (sender, chain.net.ack(attempt(batch, 0), sender)),
                    Act::Replay => {
                        block.extend(last.clone());
                        continue;
                    }
                    Act::Wait { minutes } => {
                        chain.time += minutes * 60_000;
                        continue;
                    }
                };
                let transaction = chain.signed(sender, body);
                last = Some(transaction.clone());
                block.push(transaction);
            }
            let at = chain.next();
            // A proposer keeps what is accepted; with the refused ones the block has the same root.
            let mut proposer = Execution::new(&chain.state, &chain.net.config, at);
            let mut accepted = Vec::new();
            for transaction in &block {
                if proposer.apply(transaction).unwrap().is_ok() {
                    accepted.push(transaction.clone());
                }
            }
            let proposed = proposer.finish().unwrap();
            let elsewhere = execute(&other, &chain.net.config, at, &accepted).unwrap();
            prop_assert!(elsewhere.all_accepted());
            prop_assert_eq!(elsewhere.root, proposed.root);
            prop_assert_eq!(&elsewhere.tree, &proposed.tree);
            other.state.apply(at.height, &elsewhere);
            other.newest.extend(elsewhere.writes);
            other.state.prune(at.height);
            let outcome = chain.block(&block);
            prop_assert_eq!(outcome.root, proposed.root);
            check(&chain, &mut owners)?;
        }
    }
}

/// A key has one owner for ever, an id keeps its key, and the counts add up.
fn check(chain: &Chain, owners: &mut BTreeMap<(bool, u8), KeyIndex>) -> Result<(), TestCaseError> {
    let view = chain.view();
    for verifier in [false, true] {
        for id in 0..24 {
            let names = if verifier { "google" } else { "other" };
            let now = view.assignment(&name(names), &user(&id.to_string())).unwrap().map(|a| a.keys[0]);
            match (owners.get(&(verifier, id)), now) {
                (Some(before), now) => prop_assert_eq!(Some(*before), now),
                (None, Some(now)) => {
                    prop_assert!(owners.values().all(|key| *key != now), "a key with two owners");
                    prop_assert!(view.key(now).unwrap().is_some(), "a key that was never published");
                    owners.insert((verifier, id), now);
                }
                (None, None) => {}
            }
        }
    }
    let supply = view.supply().unwrap();
    prop_assert_eq!(supply.assigned, owners.len() as u64);
    let mut published = 0;
    for batch in 0..supply.next_batch {
        let entry = view.batch(batch).unwrap().unwrap();
        let done = matches!(entry.phase, Phase::Published { .. });
        prop_assert_eq!(done, !supply.pending.contains(&batch));
        published += if done { u64::from(entry.keys) } else { 0 };
    }
    prop_assert_eq!(published, supply.assigned + supply.unassigned());
    prop_assert!(supply.available.is_sorted_by(|a, b| a.0 < b.0) && supply.pending.is_sorted());
    prop_assert!(supply.available.iter().all(|(_, next, keys)| next < keys));
    Ok(())
}
