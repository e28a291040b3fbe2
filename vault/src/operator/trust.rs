//! The operator's approval of a network, on the vault's host, before the vault first runs.
//!
//! A node cannot give it: the hash is written into the vault's own store, and the network file that the vault is started
//! with must have it. It can be given again for another network until the vault has run in one.

use std::path::Path;

use torus_audit::{Event, Operator};
use torus_statement::Hash;
use torus_statement::receipt::hex;

use crate::audit::Journal;
use crate::run::{NETWORK, RunError};
use crate::store::{Store, StoreError, View};

const TRUSTED: &[u8] = b"trusted";

/// Approves the network whose network file has this hash; what there is to say.
///
/// # Errors
/// The vault has run in another network; the store cannot be opened or written.
pub fn trust(data: &Path, network: &Hash) -> Result<String, RunError> {
    let store = Store::open(data)?;
    let audit = Journal::open(&store)?;
    audit.write(|change| {
        if let Some(other) = change.get(store.meta(), NETWORK)?.filter(|pinned| pinned != network) {
            return Err(RunError::OtherNetwork(hex(other)));
        }
        if change.get(store.meta(), TRUSTED)?.is_some_and(|trusted| trusted == network) {
            return Ok(format!("{} is trusted already", hex(network)));
        }
        change.put(store.meta(), TRUSTED, network)?;
        audit.append(change, Event::Operator(Operator::Trusted { network: *network }))?;
        Ok(format!("trusted: the network whose file has the hash {}. Start the vault.", hex(network)))
    })
}

/// The approved network, if there is one.
///
/// # Errors
/// The store fails or is damaged.
pub fn trusted(store: &Store) -> Result<Option<Hash>, StoreError> {
    store.read(|view: &View<'_>| {
        let hash = view.get(store.meta(), TRUSTED)?.map(Hash::try_from).transpose();
        hash.map_err(|_| StoreError::Damaged("the trusted network"))
    })
}
