//! What nodes send each other for key generation.

use torus_statement::codec::{Malformed, Reader, Wire, Writer};
use torus_statement::dkg::{Attempt, Dealing};
use torus_statement::envelope::Envelope;
use torus_statement::{EpochConfig, Hash, Index, Signature};

/// One message between two nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// From the sender's vault to the receiver's.
    Envelope(Box<Envelope>),
    /// What the sender's vault said to all.
    Statement(Statement),
}

/// What a vault signed for the log's certificates. Untrusted until `verifies`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// A promise to finish a dealing: over `Attempt::ready`.
    Ready {
        /// The attempt.
        attempt: Attempt,
        /// The dealing.
        dealing: Dealing,
        /// By the sender's identity.
        signature: Signature,
    },
    /// The keys that the sender's vault derived: over `Attempt::keys`.
    Keys {
        /// The attempt.
        attempt: Attempt,
        /// `dkg::published_digest` of the keys.
        digest: Hash,
        /// By the sender's identity.
        signature: Signature,
    },
}

const VERSION: u8 = 1;

impl Statement {
    /// The attempt that it is about.
    pub const fn attempt(&self) -> Attempt {
        match self {
            Self::Ready { attempt, .. } | Self::Keys { attempt, .. } => *attempt,
        }
    }

    /// Whether this member's identity signed it.
    #[must_use]
    pub fn verifies(&self, config: &EpochConfig, member: Index) -> bool {
        let (preimage, signature) = match self {
            Self::Ready { attempt, dealing, signature } => (attempt.ready(config, dealing), signature),
            Self::Keys { attempt, digest, signature } => (attempt.keys(config, digest), signature),
        };
        config.member(member).is_some_and(|keys| signature.verifies(&keys.identity, &preimage))
    }
}

impl Wire for Message {
    fn write(&self, w: &mut Writer) {
        w.u8(VERSION);
        match self {
            Self::Envelope(envelope) => {
                w.u8(1);
                envelope.write(w);
            }
            Self::Statement(statement) => {
                w.u8(2);
                statement.write(w);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if r.u8()? != VERSION {
            return Err(Malformed::Version);
        }
        match r.u8()? {
            1 => Ok(Self::Envelope(Box::new(Envelope::read(r)?))),
            2 => Ok(Self::Statement(Statement::read(r)?)),
            _ => Err(Malformed::Field("message")),
        }
    }
}

impl Wire for Statement {
    fn write(&self, w: &mut Writer) {
        match self {
            Self::Ready { attempt, dealing, signature } => {
                w.u8(1);
                attempt.write(w);
                dealing.write(w);
                signature.write(w);
            }
            Self::Keys { attempt, digest, signature } => {
                w.u8(2);
                attempt.write(w);
                w.raw(digest);
                signature.write(w);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match r.u8()? {
            1 => Self::Ready { attempt: Attempt::read(r)?, dealing: Dealing::read(r)?, signature: Signature::read(r)? },
            2 => Self::Keys { attempt: Attempt::read(r)?, digest: r.array()?, signature: Signature::read(r)? },
            _ => return Err(Malformed::Field("statement")),
        })
    }
}
