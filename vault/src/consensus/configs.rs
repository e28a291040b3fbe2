//! The configs that the vault trusts: that of the network file, and each that followed it. A config follows if the last
//! block of the epoch before names it and the operator approved its committee.
//!
//! A vault serves one epoch from a start to its end: what it takes up here is what it starts with the next time.

use std::sync::Arc;

use torus_statement::certificate::SignedHeader;
use torus_statement::codec::{Malformed, Reader, Wire, Writer};
use torus_statement::config::MAX_CONFIG;
use torus_statement::succession::{NotNext, follows};
use torus_statement::{EpochConfig, Hash, Header, Point};

use crate::next_keys;
use crate::store::{Change, Store, StoreError, Table};

/// The committee that the operator approved for the next epoch, by its hash.
const APPROVED: &[u8] = b"approved-committee";
const VERSION: u8 = 1;

/// The trusted configs, from the network's first epoch on without a gap.
pub struct Configs {
    store: Store,
    table: Table,
    first: Known,
    later: Vec<Known>,
}

/// A trusted config.
#[derive(Clone)]
pub struct Known {
    /// It.
    pub config: Arc<EpochConfig>,
    /// The time of the block that its epoch began after, in milliseconds since 1970.
    pub since: u64,
    /// The height of its first block.
    pub first: u64,
    /// The height of its last block, once that is certified and its successor trusted.
    pub last: Option<u64>,
}

/// What shows that a config follows: the last block of the epoch before, certified, and the config.
pub struct Step {
    last: SignedHeader,
    config: EpochConfig,
}

impl Configs {
    /// Those on record, each checked again under the one before it.
    ///
    /// # Errors
    /// The store fails, or a record does not follow.
    pub fn open(store: &Store, genesis: Arc<EpochConfig>) -> Result<Self, StoreError> {
        let table = store.table("configs")?;
        let since = genesis.committee().genesis_time;
        let first = Known { config: genesis, since, first: 1, last: None };
        let mut configs = Self { store: store.clone(), table, first, later: Vec::new() };
        let damaged = || StoreError::Damaged("configs");
        let steps = store.read(|view| {
            let mut steps = Vec::new();
            view.each(table, &[], |_, bytes| {
                steps.push(Step::from_bytes(bytes).map_err(|_| damaged())?);
                Ok::<_, StoreError>(true)
            })?;
            Ok::<_, StoreError>(steps)
        })?;
        for step in steps {
            configs.admit(&step).map_err(|_| damaged())?;
        }
        Ok(configs)
    }

    /// The newest.
    pub fn newest(&self) -> &Known {
        self.later.last().unwrap_or(&self.first)
    }

    /// That of an epoch.
    pub fn of(&self, epoch: u64) -> Option<&Known> {
        self.all().find(|known| known.config.committee().epoch == epoch)
    }

    /// The newest with a member of this identity: the epoch that its vault is for.
    pub fn own(&self, identity: &Point) -> Option<&Known> {
        self.all().rev().find(|known| known.config.member_of(identity).is_some())
    }

    /// The config that a header on top of this one must be under; without one, the first.
    pub fn after(&self, newest: Option<&Header>) -> Hash {
        newest.map_or_else(|| self.first.config.hash(), |header| header.next_config)
    }

    /// Whether the config follows the newest after this last block.
    fn check(&self, last: &SignedHeader, config: &EpochConfig) -> Result<(), NotNext> {
        let before = &self.newest().config;
        let certified = last.verify(before).map_err(|_| NotNext::NotNamed)?;
        follows(config, before, &certified)
    }

    /// The step to a config, if it follows the newest after this last block.
    ///
    /// # Errors
    /// It does not follow.
    pub fn step(&self, last: SignedHeader, config: EpochConfig) -> Result<Step, NotNext> {
        self.check(&last, &config)?;
        Ok(Step { last, config })
    }

    /// Puts a step on record, in a transaction of the caller's; the approval is used up by it. Once that is durable,
    /// [`Configs::admit`] follows.
    ///
    /// # Errors
    /// The store fails.
    pub fn keep(&self, change: &mut Change<'_>, step: &Step) -> Result<(), StoreError> {
        change.put(self.table, &step.config.committee().epoch.to_be_bytes(), &step.to_bytes())?;
        withdraw(change, &self.store)
    }

    /// Trusts the config of a step that is on record.
    ///
    /// # Errors
    /// It does not follow.
    pub fn admit(&mut self, step: &Step) -> Result<(), NotNext> {
        self.check(&step.last, &step.config)?;
        let (last, config) = (&step.last.header, Arc::new(step.config.clone()));
        self.later.last_mut().unwrap_or(&mut self.first).last = Some(last.height);
        self.later.push(Known { config, since: last.time, first: last.height.saturating_add(1), last: None });
        Ok(())
    }

    fn all(&self) -> impl DoubleEndedIterator<Item = &Known> {
        std::iter::once(&self.first).chain(&self.later)
    }
}

/// The committee that the operator approved for the next epoch, if he did.
///
/// # Errors
/// The store fails or is damaged.
pub fn approved(store: &Store) -> Result<Option<Hash>, StoreError> {
    store.read(|view| {
        let hash = view.get(store.meta(), APPROVED)?.map(Hash::try_from).transpose();
        hash.map_err(|_| StoreError::Damaged("the approved committee"))
    })
}

/// Whether this is the committee that the operator approved, as a transaction finds it.
///
/// # Errors
/// The store fails.
pub fn is_approved(change: &Change<'_>, store: &Store, committee: &Hash) -> Result<bool, StoreError> {
    Ok(change.get(store.meta(), APPROVED)?.is_some_and(|approved| approved == committee))
}

/// Notes the operator's approval, in a transaction of the caller's. It takes the place of an earlier one, and of what was
/// certified by that.
///
/// # Errors
/// The store fails.
pub fn approve(change: &mut Change<'_>, store: &Store, committee: &Hash) -> Result<(), StoreError> {
    if !is_approved(change, store, committee)? {
        next_keys::forget(change, store)?;
    }
    change.put(store.meta(), APPROVED, committee)
}

/// Ends the operator's approval, and what was certified by it, in a transaction of the caller's.
///
/// # Errors
/// The store fails.
pub fn withdraw(change: &mut Change<'_>, store: &Store) -> Result<(), StoreError> {
    change.delete(store.meta(), APPROVED)?;
    next_keys::forget(change, store)
}

impl Wire for Step {
    fn write(&self, w: &mut Writer) {
        w.u8(VERSION);
        self.last.write(w);
        w.bytes(&self.config.to_bytes());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if r.u8()? != VERSION {
            return Err(Malformed::Version);
        }
        Ok(Self { last: SignedHeader::read(r)?, config: EpochConfig::from_bytes(r.bytes(MAX_CONFIG)?)? })
    }
}
