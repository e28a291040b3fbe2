//! The newest certified header: it only moves forward, and two certified headers of one height stop the vault.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use torus_ipc::Deny;
use torus_statement::certificate::{Certified, SignedHeader};
use torus_statement::codec::Wire;
use torus_statement::{EpochConfig, Hash};

use crate::store::{Change, Store, StoreError, Table};

pub(crate) const NEWEST: &[u8] = b"header";
pub(crate) const FROZEN: &[u8] = b"frozen";
/// Hashes of this many heights are kept to recognise a contradiction.
const REMEMBERED: u64 = 4096;

/// The certified log, as far as the vault has seen it. Shared by its threads.
pub struct Chain {
    config: Arc<EpochConfig>,
    store: Store,
    hashes: Table,
    state: Mutex<State>,
}

struct State {
    newest: Option<Certified>,
    frozen: bool,
}

/// Where the vault stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The newest certified height, 0 for genesis.
    pub height: u64,
    /// Its time in milliseconds since 1970.
    pub time: u64,
    /// The epoch's last block is certified: the next height belongs to another config.
    pub ended: bool,
    /// The vault has stopped: its state contradicts itself.
    pub frozen: bool,
}

impl Chain {
    /// Opens what the store remembers, and checks it again under the config.
    ///
    /// # Errors
    /// The store fails, or its header is not certified under this config.
    pub fn open(store: &Store, config: Arc<EpochConfig>) -> Result<Self, StoreError> {
        let hashes = store.table("headers")?;
        let state = store.read(|view| {
            let newest = match view.get(store.meta(), NEWEST)? {
                None => None,
                Some(bytes) => {
                    let signed = SignedHeader::from_bytes(bytes).map_err(|_| StoreError::Damaged("headers"))?;
                    Some(signed.verify(&config).map_err(|_| StoreError::Damaged("headers"))?)
                }
            };
            Ok::<_, StoreError>(State { newest, frozen: view.get(store.meta(), FROZEN)?.is_some() })
        })?;
        Ok(Self { config, store: store.clone(), hashes, state: Mutex::new(state) })
    }

    /// Takes notice of a header: checks its certificate and moves forward if it is newer.
    ///
    /// # Errors
    /// [`Deny::Header`] if it is not certified, does not follow what is certified, or contradicts it (the vault then
    /// stops for good); [`Deny::Stale`] if a newer one was seen; [`Deny::Store`].
    pub fn observe(&self, signed: &SignedHeader) -> Result<Certified, Deny> {
        if let Some(known) = self.lock().newest.as_ref().filter(|known| *known.header() == signed.header) {
            return Ok(known.clone());
        }
        // Signatures are checked outside the lock: four of them take half a millisecond.
        let certified = signed.verify(&self.config).map_err(|_| Deny::Header)?;
        let mut state = self.lock();
        let (header, place) = (certified.header(), self.place(&state));
        if header.height <= place.height {
            if self.known_hash(header.height)?.is_some_and(|known| known != certified.hash()) {
                self.freeze(&mut state, &format!("two certified headers of height {}", header.height));
                return Err(Deny::Header);
            }
            return if header.height < place.height { Err(Deny::Stale) } else { Ok(certified) };
        }
        let parent = state.newest.as_ref().map_or(self.config.committee().chain, Certified::hash);
        let follows = header.height != place.height + 1 || header.parent == parent;
        if !follows || header.time <= place.time || place.ended {
            return Err(Deny::Header);
        }
        let saved = self.store.write(|change| self.save(change, signed, &certified));
        saved.map_err(|error| {
            crate::alarm!("a certified header cannot be kept: {error}");
            Deny::Store
        })?;
        state.newest = Some(certified.clone());
        Ok(certified)
    }

    /// Where the vault stands.
    pub fn stand(&self) -> Place {
        self.place(&self.lock())
    }

    /// Stops voting, committing and releasing for good: the vault's own state contradicts itself.
    pub fn stop(&self, reason: &str) {
        self.freeze(&mut self.lock(), reason);
    }

    fn place(&self, state: &State) -> Place {
        let frozen = state.frozen;
        match &state.newest {
            None => Place { height: 0, time: self.config.committee().genesis_time, ended: false, frozen },
            Some(newest) => {
                let header = newest.header();
                let ended = header.next_config != self.config.hash();
                Place { height: header.height, time: header.time, ended, frozen }
            }
        }
    }

    fn known_hash(&self, height: u64) -> Result<Option<Hash>, Deny> {
        self.store
            .read(|view| Ok::<_, StoreError>(view.get(self.hashes, &height.to_be_bytes())?.map(<[u8]>::to_vec)))
            .map(|bytes| bytes.and_then(|bytes| bytes.try_into().ok()))
            .map_err(|_| Deny::Store)
    }

    fn save(&self, change: &mut Change<'_>, signed: &SignedHeader, certified: &Certified) -> Result<(), StoreError> {
        let height = certified.header().height;
        change.put(self.store.meta(), NEWEST, &signed.to_bytes())?;
        change.put(self.hashes, &height.to_be_bytes(), &certified.hash())?;
        let mut old = Vec::new();
        change.each(self.hashes, &[], |key, _| {
            let past = key.first_chunk().is_some_and(|key| u64::from_be_bytes(*key) + REMEMBERED <= height);
            if past {
                old.push(key.to_vec());
            }
            Ok::<_, StoreError>(past && old.len() < 64)
        })?;
        for key in old {
            change.delete(self.hashes, &key)?;
        }
        Ok(())
    }

    fn freeze(&self, state: &mut State, reason: &str) {
        state.frozen = true;
        crate::alarm!("STOPPED: {reason}. This vault votes, commits and releases no more; its operator must look");
        let kept = self.store.write(|change| change.put(self.store.meta(), FROZEN, reason.as_bytes()));
        if let Err(error) = kept {
            crate::alarm!("the stop cannot be kept: {error}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why the vault stopped, if it did.
///
/// # Errors
/// The store fails.
pub fn frozen(store: &Store) -> Result<Option<String>, StoreError> {
    store.read(|view| Ok(view.get(store.meta(), FROZEN)?.map(|bytes| String::from_utf8_lossy(bytes).into_owned())))
}
