//! One attempt at one batch: what every member of it agrees on, and what this member is in it.

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
    role: Role,
}

/// What a member is in a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Deals and receives: keys are generated.
    Generates,
    /// Deals its shares to another committee.
    HandsOver,
    /// Receives from so many dealers of another committee.
    TakesOver(Sizes),
}

/// The most that one member's secrets of one run take of its pool, whatever the others send: its own dealing and the
/// messages of it; rows of every dealing; points of every member in each, under the two digests that he may vote for; what
/// leaves with one step; and a message that comes beside one that goes, for the caller who takes them of the same pool.
pub const fn room(sizes: Sizes, keys: usize) -> usize {
    let (n, k) = (sizes.n(), sizes.k());
    let dealing = 2 * k * k * SCALAR + (n - 1) * 4 * k * SCALAR;
    (dealing + receiving(sizes, n, 2)) * keys + SMALL
}

/// The same of a member that takes over: rows and points of every dealer of the old committee, without blinding.
pub const fn take_over_room(old: Sizes, new: Sizes, keys: usize) -> usize {
    receiving(new, old.n(), 1) * keys + SMALL
}

/// The same of one that hands over: its shares as they are given, the polynomials, the message to each new member and the
/// rows that one is written from.
pub const fn hand_over_room(new: Sizes, keys: usize) -> usize {
    let (n, k) = (new.n(), new.k());
    (SCALAR + k * k * SCALAR + (n + 1) * 2 * k * SCALAR) * keys + SMALL
}

/// For each key, of so many dealings of so many polynomials a key.
const fn receiving(sizes: Sizes, dealers: usize, width: usize) -> usize {
    let (n, k) = (sizes.n(), sizes.k());
    let (matrix, rows, points) = (2 * k * k * SCALAR, 2 * width * k * SCALAR, 2 * width * SCALAR);
    let held = dealers * rows + dealers * 2 * n * points;
    let leaving = 2 * rows + 2 * n * points;
    let carried = 2 * (matrix + rows);
    let opening = 4 * SCALAR;
    held + leaving + carried + opening
}

const SCALAR: usize = 32;

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
    ///
    /// # Errors
    /// See [`BadRun`].
    pub fn new(base: Digest, sizes: Sizes, me: Index, keys: u16, pool: Pool) -> Result<Self, BadRun> {
        Self::with(base, sizes, (sizes, me), keys, pool, Role::Generates)
    }

    /// Of a member of the old committee, which hands its shares of a batch over to a committee of the sizes `new`; `me` is
    /// its old index. The base is another than of every run that generates, and names both committees.
    ///
    /// # Errors
    /// See [`BadRun`].
    pub fn hand_over(base: Digest, old: Sizes, new: Sizes, me: Index, keys: u16, pool: Pool) -> Result<Self, BadRun> {
        Self::with(base, new, (old, me), keys, pool, Role::HandsOver)
    }

    /// Of a member of the new committee, whatever it was in the old one; `me` is its new index. The base is that of the
    /// dealers.
    ///
    /// # Errors
    /// See [`BadRun`].
    pub fn take_over(base: Digest, old: Sizes, new: Sizes, me: Index, keys: u16, pool: Pool) -> Result<Self, BadRun> {
        Self::with(base, new, (new, me), keys, pool, Role::TakesOver(old))
    }

    fn with(
        base: Digest,
        sizes: Sizes,
        (own, me): (Sizes, Index),
        keys: u16,
        pool: Pool,
        role: Role,
    ) -> Result<Self, BadRun> {
        let keys = usize::from(keys);
        if own.member(me.get()).is_none() {
            return Err(BadRun::Outside);
        }
        if keys == 0 || keys > MAX_KEYS {
            return Err(BadRun::Keys);
        }
        Ok(Self { base, sizes, me, keys, pool, role })
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

    /// The sizes of the committee that receives.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// This member, by its index in the committee that it is in.
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
        match self.role {
            Role::Generates => room(self.sizes, self.keys),
            Role::HandsOver => hand_over_room(self.sizes, self.keys),
            Role::TakesOver(old) => take_over_room(old, self.sizes, self.keys),
        }
    }

    /// Receivers other than this member.
    pub(crate) fn others(&self) -> impl Iterator<Item = Index> + use<> {
        let own = if self.role == Role::HandsOver { None } else { Some(self.me) };
        self.sizes.members().filter(move |member| Some(*member) != own)
    }

    /// The committee that deals, as its receivers see it.
    pub(crate) fn dealers(&self) -> Sizes {
        match self.role {
            Role::TakesOver(old) => old,
            Role::Generates | Role::HandsOver => self.sizes,
        }
    }

    /// Whether this member deals to another committee.
    pub(crate) fn hands_over(&self) -> bool {
        self.role == Role::HandsOver
    }

    /// Whether what is dealt are shares that were certified before.
    pub(crate) fn is_hand_over(&self) -> bool {
        self.role != Role::Generates
    }

    /// Polynomials for each key: f, and f' that blinds its commitments. Shares of known commitments have nothing to blind.
    pub(crate) fn width(&self) -> usize {
        if self.is_hand_over() { 1 } else { 2 }
    }

    /// What one member owes another for each key: alpha = f(m, i) and beta = f(i, m), each with its blinding.
    pub(crate) fn point_length(&self) -> usize {
        2 * self.width() * SCALAR
    }
}
