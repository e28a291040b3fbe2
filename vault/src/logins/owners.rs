//! Pins: to whom a key was first released. A mapping that changes its mind gets nothing from a vault that knows better.
//!
//! A pin outlives the mapping's entry, restarts and epochs; it goes over with the share. It refuses a second owner.

use torus_statement::Hash;
use torus_statement::dkg::KeyIndex;

use crate::store::{Change, Store, StoreError, Table, View};

/// The table: key index to what stands for (verifier, user).
#[derive(Clone, Copy)]
pub struct Owners(Table);

impl Owners {
    /// Opens the table.
    ///
    /// # Errors
    /// The store fails.
    pub fn open(store: &Store) -> Result<Self, StoreError> {
        Ok(Self(store.table("owners")?))
    }

    /// To whom a key was first released, if it ever was.
    ///
    /// # Errors
    /// The store fails.
    pub fn find(&self, view: &View<'_>, key: KeyIndex) -> Result<Option<Hash>, StoreError> {
        owner(view.get(self.0, &key.number().to_be_bytes())?)
    }

    /// Whether a key may be released to this owner: it never was, or to nobody else.
    ///
    /// # Errors
    /// The store fails.
    pub fn allows(&self, change: &Change<'_>, key: KeyIndex, new: &Hash) -> Result<bool, StoreError> {
        Ok(owner(change.get(self.0, &key.number().to_be_bytes())?)?.is_none_or(|known| known == *new))
    }

    /// Pins the owner of a key that has none; a pin is never replaced.
    ///
    /// # Errors
    /// The store fails.
    pub fn pin(&self, change: &mut Change<'_>, key: KeyIndex, new: &Hash) -> Result<(), StoreError> {
        let place = key.number().to_be_bytes();
        if change.get(self.0, &place)?.is_some() { Ok(()) } else { change.put(self.0, &place, new) }
    }
}

fn owner(bytes: Option<&[u8]>) -> Result<Option<Hash>, StoreError> {
    bytes.map(|bytes| bytes.try_into().map_err(|_| StoreError::Damaged("owners"))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_owner_stays_whoever_comes_later() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let key = KeyIndex::from_number(7);
        let owners = Owners::open(&store).unwrap();
        let allows = |owner: Hash| store.write(|change| owners.allows(change, key, &owner)).unwrap();
        let pin = |owner: Hash| store.write(|change| owners.pin(change, key, &owner)).unwrap();
        assert_eq!(store.read(|view| owners.find(view, key)).unwrap(), None);
        assert!(allows([1; 32]) && allows([2; 32]));
        pin([1; 32]);
        pin([2; 32]);
        assert!(allows([1; 32]) && !allows([2; 32]));
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        let owners = Owners::open(&store).unwrap();
        assert_eq!(store.read(|view| owners.find(view, key)).unwrap(), Some([1; 32]));
    }
}
