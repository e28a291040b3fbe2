//! One attempt at one batch: what every member of it agrees on.

use sha2::{Digest as _, Sha256};
use torus_memory::Pool;
use torus_sharing::{Digest, Index, MAX_KEYS, Sizes};

/// The session of one (batch, attempt) at one member.
#[derive(Clone, Copy)]
pub struct Run {
    base: Digest,
    sizes: Sizes,
    me: Index,
    keys: usize,
    pool: Pool,
}

/// The most that one member's secrets of one run take of its pool, whatever the others send: its own dealing and the
/// messages of it; rows of every dealing; points of every member in each, under the two digests that he may vote for; what
/// leaves with one step; and a message that comes beside one that goes, for the caller who takes them of the same pool.
pub const fn room(sizes: Sizes, keys: usize) -> usize {
    const SCALAR: usize = 32;
    let (n, k) = (sizes.n(), sizes.k());
    let (polynomials, rows, points) = (2 * k * k * SCALAR, 4 * k * SCALAR, 4 * SCALAR);
    let matrix = 2 * k * k * SCALAR;
    let dealing = polynomials + (n - 1) * rows;
    let held = n * rows + n * 2 * n * points;
    let leaving = 2 * rows + 2 * n * points;
    let carried = 2 * (matrix + rows);
    let opening = 4 * SCALAR;
    (dealing + held + leaving + carried + opening) * keys + SMALL
}

/// What does not grow with the batch.
const SMALL: usize = 16 << 10;

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
    /// `base` is the hash over network, epoch, config hash, batch and attempt, from the caller's certified state; the
    /// member's secrets are taken of `pool`.
    pub fn new(base: Digest, sizes: Sizes, me: Index, keys: u16, pool: Pool) -> Result<Self, BadRun> {
        let keys = usize::from(keys);
        if sizes.member(me.get()).is_none() {
            return Err(BadRun::Outside);
        }
        if keys == 0 || keys > MAX_KEYS {
            return Err(BadRun::Keys);
        }
        Ok(Self { base, sizes, me, keys, pool })
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

    /// Where this member's secrets lie.
    pub fn pool(&self) -> Pool {
        self.pool
    }

    /// The most that this member's secrets take of its pool, whatever the others send.
    pub fn room(&self) -> usize {
        room(self.sizes, self.keys)
    }

    pub(crate) fn others(&self) -> impl Iterator<Item = Index> + use<> {
        let me = self.me;
        self.sizes.members().filter(move |member| *member != me)
    }
}
