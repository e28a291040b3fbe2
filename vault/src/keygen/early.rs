//! Envelopes that come before this vault has seen their attempt in the log: held sealed, within bounds.

use std::collections::{BTreeMap, VecDeque};

use torus_statement::Index;
use torus_statement::dkg::Attempt;
use torus_statement::envelope::Envelope;

/// Bytes held of one sender: a Send of the largest batch fits.
const MAX_BYTES: usize = 6 << 20;
/// Envelopes held of one sender.
const MAX_COUNT: usize = 128;

/// What is held, by sender.
#[derive(Default)]
pub(super) struct Early {
    held: BTreeMap<Index, VecDeque<Envelope>>,
}

impl Early {
    /// Holds an envelope, unless its sender's room is used up.
    pub(super) fn hold(&mut self, envelope: Envelope) -> bool {
        let held = self.held.entry(envelope.session.sender).or_default();
        if held.contains(&envelope) {
            return true;
        }
        let bytes: usize = held.iter().map(|held| held.ciphertext.len()).sum();
        if held.len() >= MAX_COUNT || bytes + envelope.ciphertext.len() > MAX_BYTES {
            return false;
        }
        held.push_back(envelope);
        true
    }

    /// Takes out what was held for an attempt; what was held for earlier attempts of its batch is dropped.
    pub(super) fn take(&mut self, attempt: Attempt) -> Vec<Envelope> {
        let mut taken = Vec::new();
        for held in self.held.values_mut() {
            for envelope in std::mem::take(held) {
                let named = envelope.label.attempt;
                if named == attempt {
                    taken.push(envelope);
                } else if named.batch != attempt.batch || named.attempt > attempt.attempt {
                    held.push_back(envelope);
                }
            }
        }
        taken
    }
}
