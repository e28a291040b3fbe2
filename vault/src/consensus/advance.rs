//! The newest certified header: it only moves forward. What contradicts the vault's own state stops it: two certified
//! headers of one height, or a certificate with a vote of its own that it does not remember.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use torus_audit::Event;
use torus_audit::event::MAX_REASON;
use torus_ipc::Deny;
use torus_statement::certificate::{Certified, CommitCertificate, SignedHeader};
use torus_statement::codec::Wire;
use torus_statement::vote::{Step, Vote};
use torus_statement::{EpochConfig, Hash, Point};

use crate::audit::Journal;
use crate::configs::Configs;
use crate::store::{Change, Store, StoreError, Table};
use crate::voting::{from_height, remembers};

pub(crate) const NEWEST: &[u8] = b"header";
pub(crate) const FROZEN: &[u8] = b"frozen";
/// Certified headers of this many heights are kept to recognise a contradiction, and to show it.
const REMEMBERED: u64 = 4096;

/// The certified log, as far as the vault has seen it. Shared by its threads.
pub struct Chain {
    /// Of the epoch that the vault serves.
    config: Arc<EpochConfig>,
    identity: Point,
    store: Store,
    audit: Arc<Journal>,
    headers: Table,
    state: Mutex<State>,
}

struct State {
    newest: Option<Certified>,
    frozen: bool,
    configs: Configs,
}

/// Where the vault stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The newest certified height, 0 for genesis.
    pub height: u64,
    /// Its time in milliseconds since 1970.
    pub time: u64,
    /// The last block of the epoch that the vault serves is certified: what follows belongs to another config.
    pub ended: bool,
    /// The vault has stopped: its state contradicts itself.
    pub frozen: bool,
}

impl Chain {
    /// Opens what the store remembers, and checks it again under the configs that the vault trusts. `config` is that of
    /// the epoch that it serves, `identity` its own.
    ///
    /// # Errors
    /// The store fails, or its header is not certified under any of them.
    pub fn open(
        store: &Store,
        configs: Configs,
        config: Arc<EpochConfig>,
        identity: Point,
        audit: Arc<Journal>,
    ) -> Result<Self, StoreError> {
        let headers = store.table("headers")?;
        let (newest, frozen) = store.read(|view| {
            let newest = view.get(store.meta(), NEWEST)?.map(SignedHeader::from_bytes).transpose();
            Ok::<_, StoreError>((newest.map_err(|_| damaged())?, view.get(store.meta(), FROZEN)?.is_some()))
        })?;
        let under = |signed: &SignedHeader| signed.verify(&configs.of(signed.header.epoch)?.config).ok();
        let newest = newest.map(|signed| under(&signed).ok_or_else(damaged)).transpose()?;
        let state = Mutex::new(State { newest, frozen, configs });
        Ok(Self { config, identity, store: store.clone(), audit, headers, state })
    }

    /// Takes notice of a header: checks its certificate and moves forward if it is newer.
    ///
    /// # Errors
    /// [`Deny::Header`] if it is not certified, does not follow what is certified, or contradicts it (the vault then
    /// stops for good); [`Deny::Frozen`] if it shows that this vault has forgotten a vote (it stops, too); [`Deny::Stale`] if
    /// a newer one was seen; [`Deny::Store`].
    pub fn observe(&self, signed: &SignedHeader) -> Result<Certified, Deny> {
        let config = {
            let state = self.lock();
            if let Some(known) = state.newest.as_ref().filter(|known| *known.header() == signed.header) {
                return Ok(known.clone());
            }
            let known = state.configs.of(signed.header.epoch).ok_or(Deny::Header)?;
            // No epoch has a block below its first or above its last: what is certified there contradicts nothing.
            let height = signed.header.height;
            if height < known.first || known.last.is_some_and(|last| height > last) {
                return Err(Deny::Header);
            }
            known.config.clone()
        };
        // Signatures are checked outside the lock: four of them take half a millisecond.
        let certified = signed.verify(&config).map_err(|_| Deny::Header)?;
        let mut state = self.lock();
        let (header, place) = (certified.header(), self.place(&state));
        if header.height <= place.height {
            if let Some(first) = self.known(header.height)?.filter(|known| known.header != *header) {
                let reason = format!("two certified headers of height {}", header.height);
                let (first, second) = (Box::new(first), Box::new(signed.clone()));
                self.freeze(&mut state, &reason, Event::Contradiction { first, second });
                return Err(Deny::Header);
            }
            return if header.height < place.height { Err(Deny::Stale) } else { Ok(certified) };
        }
        let parent = state.newest.as_ref().map_or(self.config.committee().chain, Certified::hash);
        let follows = header.height != place.height + 1 || header.parent == parent;
        // None of the next epoch is believed before the last block of this one is; and no epoch comes back.
        let newest = state.newest.as_ref().map(Certified::header);
        let in_order =
            header.config == state.configs.after(newest) && newest.is_none_or(|newest| header.epoch >= newest.epoch);
        if !follows || header.time <= place.time || !in_order {
            return Err(Deny::Header);
        }
        if self.forgot(&config, &certified, &signed.certificate)? {
            let height = header.height;
            let reason = format!(
                "a vote of this vault at height {height} is certified and not on its record: the store is an old copy"
            );
            self.freeze(&mut state, &reason, frozen_for(&reason));
            return Err(Deny::Frozen);
        }
        let saved = self.store.write(|change| self.save(change, signed, &certified));
        saved.map_err(|error| {
            crate::alarm!("a certified header cannot be kept: {error}");
            Deny::Store
        })?;
        self.audit.at_height(header.height);
        state.newest = Some(certified.clone());
        Ok(certified)
    }

    /// The hash of the config that the newest certified header names and that is not trusted yet.
    ///
    /// # Errors
    /// [`Deny::Epoch`] if there is none, [`Deny::Frozen`] if the vault has stopped.
    pub fn awaited(&self) -> Result<Hash, Deny> {
        let state = self.lock();
        let named = state.configs.after(state.newest.as_ref().map(Certified::header));
        match (state.frozen, named == state.configs.newest().config.hash()) {
            (true, _) => Err(Deny::Frozen),
            (false, true) => Err(Deny::Epoch),
            (false, false) => Ok(named),
        }
    }

    /// Trusts the next epoch's config, once it is on record with what `keep` adds. `keep` is asked first, in the same
    /// transaction, whether it may be, and writes nothing if not.
    ///
    /// # Errors
    /// [`Deny::Epoch`] if it does not follow, [`Deny::Frozen`], what `keep` refuses, [`Deny::Store`].
    pub fn follow(
        &self,
        next: EpochConfig,
        keep: impl FnOnce(&mut Change<'_>) -> Result<Result<(), Deny>, StoreError>,
    ) -> Result<(), Deny> {
        let mut state = self.lock();
        if state.frozen {
            return Err(Deny::Frozen);
        }
        let height = state.newest.as_ref().map(|newest| newest.header().height).ok_or(Deny::Epoch)?;
        let last = self.known(height)?.ok_or(Deny::Store)?;
        let step = state.configs.step(last, next).map_err(|error| {
            crate::alarm!("the config that the last block names is not taken up: {error}");
            Deny::Epoch
        })?;
        let kept: Result<Result<(), Deny>, StoreError> = self.audit.write(|change| match keep(change)? {
            Ok(()) => state.configs.keep(change, &step).map(Ok),
            refused => Ok(refused),
        });
        kept.map_err(|error| {
            crate::alarm!("the next epoch's config cannot be kept: {error}");
            Deny::Store
        })??;
        state.configs.admit(&step).map_err(|_| Deny::Epoch)
    }

    /// Where the vault stands.
    pub fn stand(&self) -> Place {
        self.place(&self.lock())
    }

    /// Stops voting, committing and releasing for good: the vault's own state contradicts itself.
    pub fn stop(&self, reason: &str) {
        self.freeze(&mut self.lock(), reason, frozen_for(reason));
    }

    fn place(&self, state: &State) -> Place {
        let frozen = state.frozen;
        match &state.newest {
            None => Place { height: 0, time: self.config.committee().genesis_time, ended: false, frozen },
            Some(newest) => {
                let header = newest.header();
                // A later epoch's block may name this config again: that brings back nothing.
                let ended = header.epoch > self.config.committee().epoch || header.next_config != self.config.hash();
                Place { height: header.height, time: header.time, ended, frozen }
            }
        }
    }

    fn known(&self, height: u64) -> Result<Option<SignedHeader>, Deny> {
        let read = self.store.read(|view| {
            let bytes = view.get(self.headers, &height.to_be_bytes())?;
            bytes.map(SignedHeader::from_bytes).transpose().map_err(|_| StoreError::Damaged("headers"))
        });
        read.map_err(|error| {
            crate::alarm!("a certified header cannot be read: {error}");
            Deny::Store
        })
    }

    /// Whether the certificate has a vote of this vault that is not on its record. A vote is on record before it leaves,
    /// and the record of a height is kept until a header of that height is; below the height that the operator named
    /// for a store that was lost, nothing is expected.
    fn forgot(
        &self,
        config: &EpochConfig,
        certified: &Certified,
        certificate: &CommitCertificate,
    ) -> Result<bool, Deny> {
        let height = certified.header().height;
        let me = config.member_of(&self.identity).map(|keys| keys.index);
        let own = certificate.signatures.iter().any(|(voter, _)| Some(*voter) == me);
        let vote = Vote { step: Step::Precommit, height, round: certificate.round, block: Some(certified.hash()) };
        let known = |store| Ok::<_, StoreError>(height < from_height(store)? || remembers(store, &vote)?);
        if own { known(&self.store).map(|known| !known).map_err(|_| Deny::Store) } else { Ok(false) }
    }

    fn save(&self, change: &mut Change<'_>, signed: &SignedHeader, certified: &Certified) -> Result<(), StoreError> {
        let height = certified.header().height;
        change.put(self.store.meta(), NEWEST, &signed.to_bytes())?;
        change.put(self.headers, &height.to_be_bytes(), &signed.to_bytes())?;
        let mut old = Vec::new();
        change.each(self.headers, &[], |key, _| {
            let past = key.first_chunk().is_some_and(|key| u64::from_be_bytes(*key) + REMEMBERED <= height);
            if past {
                old.push(key.to_vec());
            }
            Ok::<_, StoreError>(past && old.len() < 64)
        })?;
        for key in old {
            change.delete(self.headers, &key)?;
        }
        Ok(())
    }

    /// Once: what the operator must look at is the first contradiction.
    fn freeze(&self, state: &mut State, reason: &str, event: Event) {
        if state.frozen {
            return;
        }
        state.frozen = true;
        crate::alarm!("STOPPED: {reason}. This vault votes, commits and releases no more; its operator must look");
        let kept: Result<(), StoreError> = self.audit.write(|change| {
            change.put(self.store.meta(), FROZEN, reason.as_bytes())?;
            self.audit.append(change, event).map(|_| ())
        });
        if let Err(error) = kept {
            crate::alarm!("the stop cannot be kept: {error}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn damaged() -> StoreError {
    StoreError::Damaged("headers")
}

fn frozen_for(reason: &str) -> Event {
    Event::Frozen { reason: bounded(reason) }
}

/// As much of a reason as a record holds.
pub(crate) fn bounded(reason: &str) -> String {
    reason.char_indices().take_while(|(at, c)| at + c.len_utf8() <= MAX_REASON).map(|(_, c)| c).collect()
}

/// Why the vault stopped, if it did.
///
/// # Errors
/// The store fails.
pub fn frozen(store: &Store) -> Result<Option<String>, StoreError> {
    store.read(|view| Ok(view.get(store.meta(), FROZEN)?.map(|bytes| String::from_utf8_lossy(bytes).into_owned())))
}
