//! What goes in and out of a participant.

use alloc::sync::Arc;
use alloc::vec::Vec;

use torus_memory::{Exhausted, Pool};
use torus_sharing::{Budget, Digest, HandOverSet, Index, Matrix, MatrixReader, Point, PublishedKeys, QualifiedSet};

use crate::body::Body;
use crate::rows::Rows;
use crate::run::Run;
use crate::secret::{SecretBytes, SecretScalars};

/// Kinds of messages between members. The caller carries sender, receiver, dealer, kind and digest authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Dealer to member: matrix, then the member's rows. Of a dealer in another committee it comes as [`Input::Dealing`].
    Send = 1,
    /// Member to member: its points under the digest it was sent.
    Echo = 2,
    /// Member to member: its points, and the promise to finish.
    Ready = 3,
    /// A member that must recover asks; one byte: 1 matrix, 2 points, 3 both.
    Need = 4,
    /// Answer to Need: the matrix.
    Matrix = 5,
    /// Answer to Need: the points owed, as in Ready, but no vote.
    Points = 6,
}

impl Kind {
    /// A kind from its number.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Send),
            2 => Some(Self::Echo),
            3 => Some(Self::Ready),
            4 => Some(Self::Need),
            5 => Some(Self::Matrix),
            6 => Some(Self::Points),
            _ => None,
        }
    }
}

/// What a participant reacts to.
pub enum Input<'a> {
    /// A decrypted message of this run. `from` is the channel's authenticated peer.
    Message {
        /// The sender.
        from: Index,
        /// Whose dealing it concerns.
        dealer: Index,
        /// Its kind.
        kind: Kind,
        /// The digest of the dealing's matrix.
        digest: Digest,
        /// The plaintext.
        body: &'a [u8],
    },
    /// What a member of the old committee sent as [`Kind::Send`], to one that takes over.
    Dealing {
        /// The dealer, authenticated, by its index in the old committee.
        dealer: Index,
        /// The digest of the dealing's matrix.
        digest: Digest,
        /// The plaintext.
        body: &'a [u8],
    },
    /// The log fixed the qualified set; the caller has checked its certificates.
    Qualified(&'a QualifiedSet),
    /// The log fixed which dealings hand the batch over; the caller has checked their certificates.
    HandOver(&'a HandOverSet),
    /// The shares of the last [`Output::Seal`] are sealed and durable.
    Sealed,
    /// A member's published vector, authenticated as `from`'s.
    Vector {
        /// The publisher.
        from: Index,
        /// The bytes of `torus_sharing::ShareVector`.
        body: &'a [u8],
    },
    /// The batch's keys as certified in the log, for a member that comes late.
    Keys(&'a PublishedKeys),
    /// Go on with work that is under way, by about so many units ([`SLICE`](crate::SLICE) is a good number). Given
    /// while `Participant::has_work` says so; without work it does nothing.
    Continue(usize),
}

/// What the caller has to do, in the order given.
pub enum Output {
    /// Make this durable before anything after it leaves.
    Persist(Record),
    /// Encrypt for the member and send until acknowledged.
    Send {
        /// The receiver.
        to: Index,
        /// Whose dealing it concerns.
        dealer: Index,
        /// Its kind.
        kind: Kind,
        /// The digest of the dealing's matrix.
        digest: Digest,
        /// The plaintext, secret for all kinds but Need and Matrix.
        body: Body,
    },
    /// Sign the ready statement of (dealer, digest) for the certificate.
    SignReady {
        /// The dealer.
        dealer: Index,
        /// The digest.
        digest: Digest,
    },
    /// q members are ready: the dealing will complete everywhere.
    Shared {
        /// The dealer.
        dealer: Index,
        /// The digest.
        digest: Digest,
    },
    /// Seal and store these shares, then answer with [`Input::Sealed`].
    Seal(Shares),
    /// Publish this vector (the bytes of `torus_sharing::ShareVector`).
    Publish(Vec<u8>),
    /// The batch's keys, verified: from k vectors, or certified and equal to the own shares; where the batch was handed
    /// over, the public keys as they were and the new commitments.
    Keys(PublishedKeys),
    /// Somebody broke a rule; for metrics, never fatal.
    Fault {
        /// Who.
        from: Index,
        /// Which rule.
        reason: Reason,
    },
    /// A dealer of the old committee did.
    DealerFault {
        /// Who, by its index there.
        dealer: Index,
        /// Which rule.
        reason: Reason,
    },
}

/// What must survive a crash.
pub enum Record {
    /// This member has taken part in the run: it never deals in it again.
    Dealt,
    /// It echoed this digest for this dealer: it never echoes for him again.
    Echoed {
        /// The dealer.
        dealer: Index,
        /// The digest.
        digest: Digest,
    },
    /// It is about to promise to finish; without the rows it could not.
    Promise(Promise),
}

/// The rows that a Ready stands for.
pub struct Promise {
    pub(crate) dealer: Index,
    pub(crate) digest: Digest,
    pub(crate) rows: SecretBytes,
    pub(crate) matrix: Arc<Matrix>,
}

/// A promise that storage cannot have been given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPromise {
    /// Rows of another batch size or degree, or not canonical.
    #[error("stored rows are malformed")]
    Rows,
    /// Not the matrix of the digest.
    #[error("stored matrix does not match its digest")]
    Matrix,
    /// The dealer is no member.
    #[error("dealer outside the committee")]
    Outside,
    /// There is no memory to look at it.
    #[error(transparent)]
    Memory(#[from] Exhausted),
}

impl Promise {
    /// From storage: the record's own bytes, already opened and authenticated by the caller.
    pub fn parse(
        run: &Run,
        dealer: Index,
        digest: Digest,
        rows: SecretBytes,
        matrix: &[u8],
    ) -> Result<Self, BadPromise> {
        let mut reader = PromiseReader::new(run, dealer, digest, rows, matrix.to_vec())?;
        reader.read(&mut Budget::unlimited())?.ok_or(BadPromise::Matrix)
    }

    /// The dealer.
    pub fn dealer(&self) -> Index {
        self.dealer
    }

    /// The digest of the matrix.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many points the matrix has: a measure of what follows from the promise.
    pub(crate) fn points(&self) -> usize {
        self.matrix.points().len()
    }

    /// Secret: to be sealed at rest.
    pub fn rows(&self) -> &SecretBytes {
        &self.rows
    }

    /// Public.
    pub fn matrix(&self) -> &[u8] {
        self.matrix.as_bytes()
    }
}

/// A stored promise that is parsed in pieces.
pub struct PromiseReader {
    sid: Digest,
    dealer: Index,
    digest: Digest,
    rows: SecretBytes,
    matrix: MatrixReader,
    pool: Pool,
}

impl PromiseReader {
    /// Takes over what `Promise::parse` does.
    pub fn new(
        run: &Run,
        dealer: Index,
        digest: Digest,
        rows: SecretBytes,
        matrix: Vec<u8>,
    ) -> Result<Self, BadPromise> {
        if run.dealers().member(dealer.get()).is_none() {
            return Err(BadPromise::Outside);
        }
        Rows::parse(run, rows.as_slice())?.ok_or(BadPromise::Rows)?;
        let matrix = MatrixReader::new(run.sizes(), run.keys(), matrix).map_err(|_| BadPromise::Matrix)?;
        Ok(Self { sid: run.sid(dealer), dealer, digest, rows, matrix, pool: run.pool() })
    }

    /// The dealer.
    pub fn dealer(&self) -> Index {
        self.dealer
    }

    /// Parses until the budget is spent; the promise once it is whole. After that, or an error, the reader is of no use.
    pub fn read(&mut self, budget: &mut Budget) -> Result<Option<Promise>, BadPromise> {
        let Some(matrix) = self.matrix.read(budget).map_err(|_| BadPromise::Matrix)? else { return Ok(None) };
        budget.spend(matrix.points().len());
        if matrix.digest(&self.sid) != self.digest {
            return Err(BadPromise::Matrix);
        }
        let rows = core::mem::replace(&mut self.rows, SecretBytes::none(self.pool));
        Ok(Some(Promise { dealer: self.dealer, digest: self.digest, rows, matrix: Arc::new(matrix) }))
    }
}

/// This member's shares of a batch.
pub struct Shares {
    /// s_b in the order of the keys.
    pub scalars: SecretScalars,
    /// S_b = s_b G: what each sealed record is bound to.
    pub commitments: Vec<Point>,
}

/// Which rule was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Sender or dealer is no member, or it is this member itself.
    #[error("not another member")]
    Outside,
    /// Send from somebody else than the dealer.
    #[error("a dealing not from its dealer")]
    NotTheDealer,
    /// Wrong length, scalar or point.
    #[error("malformed message")]
    Malformed,
    /// The matrix is not that of the digest.
    #[error("matrix does not match its digest")]
    WrongDigest,
    /// A dealer of the old committee who shares something else than his share.
    #[error("the commitment is not to the dealer's certified share")]
    WrongConstant,
    /// Rows that do not open the matrix.
    #[error("rows do not open the commitment")]
    BadRows,
    /// Points that do not lie on the committed polynomial.
    #[error("points do not open the commitment")]
    BadPoints,
    /// An answer to no question.
    #[error("unasked answer")]
    Unasked,
    /// Asked for more than a member that restarts has to.
    #[error("too many requests")]
    Flood,
    /// A vector whose proof fails.
    #[error("published vector refused")]
    BadVector,
    /// Another set of dealings for the same attempt.
    #[error("a second set of dealings")]
    SecondQualified,
    /// Certified keys that this member's shares do not match.
    #[error("own shares differ from the certified keys")]
    OwnSharesDiffer,
    /// A share commitment came out as the identity. Where keys are generated, the last of the qualified dealers can bring
    /// that about who colludes with a receiver; else it is impossible unless certificates are forged, or more than t
    /// members of the old committee are hostile. The attempt is lost, nothing else.
    #[error("the batch cannot be opened")]
    Unopenable,
}
