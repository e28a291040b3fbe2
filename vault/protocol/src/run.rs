//! One attempt at one batch: what every member of it agrees on.

use sha2::{Digest as _, Sha256};
use torus_sharing::{Digest, Index, MAX_KEYS, Sizes};

/// The session of one (batch, attempt) at one member.
#[derive(Clone, Copy)]
pub struct Run {
    base: Digest,
    sizes: Sizes,
    me: Index,
    keys: usize,
}

/// Why a run cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRun {
    /// This member's index is above n.
    #[error("own index outside the committee")]
    Outside,
    /// A batch has 1 to 256 keys.
    #[error("a batch has 1 to 256 keys")]
    Keys,
}

impl Run {
    /// `base` is the hash over network, epoch, config hash, batch and attempt, from the caller's certified state.
    pub fn new(base: Digest, sizes: Sizes, me: Index, keys: u16) -> Result<Self, BadRun> {
        let keys = usize::from(keys);
        if sizes.member(me.get()).is_none() {
            return Err(BadRun::Outside);
        }
        if keys == 0 || keys > MAX_KEYS {
            return Err(BadRun::Keys);
        }
        Ok(Self { base, sizes, me, keys })
    }

    /// The session of one dealing: SHA-256("torus/sid/v1\0" | base | dealer).
    pub fn sid(&self, dealer: Index) -> Digest {
        let hash = Sha256::new().chain_update(b"torus/sid/v1\0").chain_update(self.base);
        hash.chain_update([dealer.get()]).finalize().into()
    }

    /// The hash that every session of the run is derived from.
    pub fn base(&self) -> &Digest {
        &self.base
    }

    /// The committee's sizes.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// This member.
    pub fn me(&self) -> Index {
        self.me
    }

    /// Keys in the batch.
    pub fn keys(&self) -> usize {
        self.keys
    }

    pub(crate) fn others(&self) -> impl Iterator<Item = Index> + use<> {
        let me = self.me;
        self.sizes.members().filter(move |member| *member != me)
    }
}
