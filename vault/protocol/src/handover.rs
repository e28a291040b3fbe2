//! A member of the old committee at work: it shares its share of each key of a batch with the new committee.
//!
//! Proactive secret sharing after Herzberg et al. 1995, by the dealing of Cachin et al. 2002 with plain commitments
//! (Feldman 1987): the share's own commitment is certified since the batch was made, so that nothing is left to hide, and
//! every receiver checks that it is what was dealt.

use alloc::boxed::Box;
use alloc::vec::Vec;

use rand_core::CryptoRngCore;
use torus_memory::Exhausted;
use torus_sharing::Budget;

use crate::deal::{Deal, Dealt};
use crate::message::{Output, Record};
use crate::run::Run;
use crate::secret::SecretBytes;
use crate::table::Generators;

/// One old member's dealing of one batch. Deterministic in its inputs and randomness; holds secrets until dropped.
pub struct HandOver {
    run: Run,
    generators: Box<Generators>,
    deal: Option<Deal>,
}

/// Why nothing is handed over.
#[derive(Debug, thiserror::Error)]
pub enum BadShares {
    /// Not 32 bytes of a canonical scalar for each key.
    #[error("these are no shares of this batch")]
    Shares,
    /// The run is none of [`Run::hand_over`].
    #[error("in this run nothing is handed over")]
    Role,
    /// There is no memory for the polynomials.
    #[error(transparent)]
    Memory(#[from] Exhausted),
}

impl HandOver {
    /// Draws the polynomials. `shares` are this member's shares of the batch, 32 bytes for each key in their order, each
    /// of which the caller has checked against its certified commitment. It has never called this for the same base
    /// before: it has no [`Record::Dealt`] of it.
    ///
    /// # Errors
    /// See [`BadShares`].
    pub fn new(run: Run, shares: &SecretBytes, rng: &mut dyn CryptoRngCore) -> Result<Self, BadShares> {
        if !run.hands_over() {
            return Err(BadShares::Role);
        }
        let deal = Deal::of(run, shares, rng)?.ok_or(BadShares::Shares)?;
        Ok(Self { run, generators: Box::new(Generators::new()), deal: Some(deal) })
    }

    /// Whether there is something to go on with.
    pub fn has_work(&self) -> bool {
        self.deal.is_some()
    }

    /// Works by about so many units ([`SLICE`](crate::SLICE) is a good number). What leaves comes at once when it is
    /// whole: the record, then a message to each new member; then the polynomials are wiped.
    ///
    /// # Errors
    /// The memory for secrets is used up: nothing has left, and nothing will.
    pub fn go_on(&mut self, units: usize) -> Result<Vec<Output>, Exhausted> {
        let Some(deal) = self.deal.as_mut() else { return Ok(Vec::new()) };
        match deal.advance(&self.run, &self.generators, &mut Budget::new(units)) {
            Ok(Dealt::Unfinished) => Ok(Vec::new()),
            Ok(Dealt::Never) => {
                self.deal = None;
                Ok(alloc::vec![Output::Persist(Record::Dealt)])
            }
            Ok(Dealt::Whole { sends, .. }) => {
                self.deal = None;
                Ok(core::iter::once(Output::Persist(Record::Dealt)).chain(sends).collect())
            }
            Err(exhausted) => {
                self.deal = None;
                Err(exhausted)
            }
        }
    }
}
