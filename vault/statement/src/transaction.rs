//! Transactions of the log: each is bound to network, epoch, sender and sequence, and signed by the sender's node.
//!
//! What a vault must have said is inside, under the vault's own signature: a node's signature only says who sent it.

use alloc::vec::Vec;

use torus_sharing::Index;

use crate::audit::SignedAuditHead;
use crate::codec::{Malformed, Reader, Wire, Writer};
use crate::dkg::{Attempt, CertifiedDealing, read_signatures, write_signatures};
use crate::hash::{Hash, sha256};
use crate::key::Signature;
use crate::text::VerifierName;

/// Most bytes of a transaction.
pub const MAX_TRANSACTION: usize = 512 << 10;

/// A transaction. Untrusted until its signature is checked against the sender's p2p key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The hash of the config in force: network, epoch and attempt.
    pub config: Hash,
    /// The member that sends it.
    pub sender: Index,
    /// Chosen by the sender, each once; the state keeps a window of 128.
    pub sequence: u64,
    /// What it asks for.
    pub body: Body,
    /// Ed25519 by the sender's p2p key over `preimage`.
    pub signature: [u8; 64],
}

/// What a transaction asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Give the lowest unassigned key to a user, unless he has one.
    Assign {
        /// The verifier.
        verifier: VerifierName,
        /// `state::key::user` of the id.
        user: Hash,
    },
    /// Fix the qualified set of a batch: n-t certified dealings, in rising order of the dealers.
    Propose {
        /// The attempt.
        attempt: Attempt,
        /// With the readies of a quorum each.
        dealings: Vec<CertifiedDealing>,
    },
    /// Put a batch's keys into the buffer.
    Keys {
        /// The attempt.
        attempt: Attempt,
        /// `torus_sharing::PublishedKeys` in canonical bytes.
        published: Vec<u8>,
        /// A quorum of identities over `Attempt::keys`, in rising order.
        signatures: Vec<(Index, Signature)>,
    },
    /// The sender's vault has stored its shares of a published batch.
    Ack {
        /// The attempt.
        attempt: Attempt,
        /// By the sender's identity over `Attempt::ack`.
        signature: Signature,
    },
    /// How far the sender's vault's audit log has come.
    AuditHead(SignedAuditHead),
}

impl Transaction {
    /// The bytes that the sender's node signs.
    pub fn preimage(config: &Hash, sender: Index, sequence: u64, body: &Body) -> Vec<u8> {
        let mut w = Writer::default();
        w.raw(b"torus/transaction/v1\0");
        write_fields(&mut w, config, sender, sequence, body);
        w.into_bytes()
    }

    /// Names the transaction in pools and roots.
    pub fn hash(&self) -> Hash {
        sha256("torus/transaction-hash/v1\0", &[&self.to_bytes()])
    }
}

fn write_fields(w: &mut Writer, config: &Hash, sender: Index, sequence: u64, body: &Body) {
    w.raw(config).index(sender).u64(sequence);
    body.write(w);
}

impl Wire for Transaction {
    fn write(&self, w: &mut Writer) {
        write_fields(w, &self.config, self.sender, self.sequence, &self.body);
        w.raw(&self.signature);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            config: r.array()?,
            sender: r.index()?,
            sequence: r.u64()?,
            body: Body::read(r)?,
            signature: r.array()?,
        })
    }
}

impl Wire for Body {
    fn write(&self, w: &mut Writer) {
        match self {
            Self::Assign { verifier, user } => {
                w.u8(1);
                verifier.write(w);
                w.raw(user);
            }
            Self::Propose { attempt, dealings } => {
                w.u8(2);
                attempt.write(w);
                w.list(dealings, |w, dealing| dealing.write(w));
            }
            Self::Keys { attempt, published, signatures } => {
                w.u8(3);
                attempt.write(w);
                w.bytes(published);
                write_signatures(w, signatures);
            }
            Self::Ack { attempt, signature } => {
                w.u8(4);
                attempt.write(w);
                signature.write(w);
            }
            Self::AuditHead(head) => {
                w.u8(5);
                head.write(w);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match r.u8()? {
            1 => Self::Assign { verifier: VerifierName::read(r)?, user: r.array()? },
            2 => Self::Propose { attempt: Attempt::read(r)?, dealings: r.list(30, CertifiedDealing::read)? },
            3 => Self::Keys {
                attempt: Attempt::read(r)?,
                published: r.bytes(MAX_TRANSACTION)?.into(),
                signatures: read_signatures(r)?,
            },
            4 => Self::Ack { attempt: Attempt::read(r)?, signature: Signature::read(r)? },
            5 => Self::AuditHead(SignedAuditHead::read(r)?),
            _ => return Err(Malformed::Field("transaction")),
        })
    }
}
