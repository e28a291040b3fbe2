//! Inputs that came while there was work: copies that wait for their turn.

use alloc::vec::Vec;

use torus_memory::{Exhausted, Pool};
use torus_sharing::{Digest, HandOverSet, Index, PublishedKeys, QualifiedSet};

use crate::message::{Input, Kind};
use crate::secret::SecretBytes;

/// An input that waits.
pub(crate) enum Held {
    Message { from: Index, dealer: Index, kind: Kind, digest: Digest, body: SecretBytes },
    Dealing { dealer: Index, digest: Digest, body: SecretBytes },
    Qualified(QualifiedSet),
    HandOver(HandOverSet),
    Sealed,
    Vector { from: Index, body: Vec<u8> },
    Keys(PublishedKeys),
}

impl Held {
    /// A copy that can wait; there is nothing to wait for in `Continue`.
    pub(crate) fn new(input: Input<'_>, pool: Pool) -> Result<Option<Self>, Exhausted> {
        Ok(Some(match input {
            Input::Message { from, dealer, kind, digest, body } => {
                Self::Message { from, dealer, kind, digest, body: SecretBytes::copy_of(pool, body)? }
            }
            Input::Dealing { dealer, digest, body } => {
                Self::Dealing { dealer, digest, body: SecretBytes::copy_of(pool, body)? }
            }
            Input::Qualified(set) => Self::Qualified(set.clone()),
            Input::HandOver(set) => Self::HandOver(set.clone()),
            Input::Sealed => Self::Sealed,
            Input::Vector { from, body } => Self::Vector { from, body: body.to_vec() },
            Input::Keys(keys) => Self::Keys(keys.clone()),
            Input::Continue(_) => return Ok(None),
        }))
    }

    /// As it came.
    pub(crate) fn input(&self) -> Input<'_> {
        match self {
            Self::Message { from, dealer, kind, digest, body } => {
                let (from, dealer, kind, digest) = (*from, *dealer, *kind, *digest);
                Input::Message { from, dealer, kind, digest, body: body.as_slice() }
            }
            Self::Dealing { dealer, digest, body } => {
                Input::Dealing { dealer: *dealer, digest: *digest, body: body.as_slice() }
            }
            Self::Qualified(set) => Input::Qualified(set),
            Self::HandOver(set) => Input::HandOver(set),
            Self::Sealed => Input::Sealed,
            Self::Vector { from, body } => Input::Vector { from: *from, body },
            Self::Keys(keys) => Input::Keys(keys),
        }
    }
}
