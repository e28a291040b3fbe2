//! What the node may ask.

use torus_statement::certificate::SignedHeader;
use torus_statement::codec::{Malformed, Reader, Wire, Writer};
use torus_statement::config::{MAX_COMMITTEE, MAX_CONFIG};
use torus_statement::dkg::Attempt;
use torus_statement::envelope::{Envelope, MAX_ENVELOPE};
use torus_statement::hash::Hash;
use torus_statement::receipt::{MAX_RECEIPT, SignedReceipt};
use torus_statement::state::{Assignment, AuditEntry, BatchEntry, KeyEntry, Proven};
use torus_statement::text::VerifierName;
use torus_statement::vote::{Proposal, SignedVote, Vote};
use torus_statement::{Listing, Point, Signature, Verifier};

/// Most bytes of an id token.
pub const MAX_TOKEN: usize = 16 << 10;
/// Most votes of one height that a vote request may bring as evidence.
pub const MAX_EVIDENCE: usize = 256;

/// One verb and what it needs. The verbs are final; their numbers are on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// First of a connection: the version that the node speaks.
    Hello(u16),
    /// How the vault is.
    Status,
    /// A newer certified header: moves the vault's certified height and time forward, never back.
    Advance(Box<SignedHeader>),
    /// Build and sign a vote of the engine, by the vote rule.
    SignVote(VoteRequest),
    /// Build and sign a proposal of the engine, once per (height, round).
    SignProposal(Proposal),
    /// Sign the engine's proof of validator: the consensus key itself and a peer id of at most 64 bytes.
    SignProofOfValidator(Vec<u8>),
    /// The vault's own votes of the height above its certified header, and its lock's polka.
    HeldVotes,
    /// The state of a batch under a certified header: open makes the vault deal, qualified makes it sum, seal and
    /// publish, published makes it acknowledge and, once all have, destroy its rows.
    Batch {
        /// The header.
        header: Box<SignedHeader>,
        /// The batch.
        batch: u64,
        /// Its entry under the header's state root.
        entry: Proven<BatchEntry>,
    },
    /// The keys of a published batch (canonical bytes; their digest is in the certified entry): for a late member.
    Keys {
        /// The attempt.
        attempt: Attempt,
        /// `torus_sharing::PublishedKeys`.
        published: Vec<u8>,
    },
    /// An envelope from another vault.
    Deliver(Box<Envelope>),
    /// Everything of key generation that is still worth sending, again (after the node's restart).
    Outbox,
    /// A commitment: a token's hash and the temporary key that it is reserved for.
    Commit {
        /// Keccak-256 of the token's text.
        token: Hash,
        /// The user's temporary key.
        temporary: Point,
        /// The verifier that the receipt names.
        verifier: VerifierName,
    },
    /// A reveal: everything that the release of one share needs.
    Release(Box<LoginProof>),
    /// The newest signed head of the audit log; with what the certified state holds of it, if it holds anything.
    AuditHead(Option<Box<SeenAudit>>),
    /// The config of the next epoch, in its canonical bytes, once the last block of this one is certified. Taken, it is
    /// what the vault starts with the next time: it closes the connection and ends.
    NextEpoch(Vec<u8>),
    /// A certificate of this member's keys of an attempt to begin the next epoch.
    NextKeys {
        /// The committee that the operator approved, in its canonical bytes.
        committee: Vec<u8>,
        /// The attempt, from 0.
        attempt: u32,
        /// The node's p2p key, which the certificate is to name.
        p2p: [u8; 32],
    },
    /// The statement by which the member lists itself in the contract. The identity in it is the vault's own.
    List(Box<Listing>),
}

/// What the certified state holds of the vault's own audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenAudit {
    /// The header that the entry is proven under.
    pub header: SignedHeader,
    /// The entry of this member.
    pub entry: Proven<AuditEntry>,
}

/// What the engine asks to be voted, and why the vault may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoteRequest {
    /// The vote asked for; the vault may answer another (its recorded one, or nil).
    pub vote: Vote,
    /// Votes of members at this height: polkas and evidence for a jump of rounds.
    pub evidence: Vec<SignedVote>,
}

/// Everything that the release of one share needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginProof {
    /// The id token's text.
    pub token: String,
    /// The verifier.
    pub verifier: VerifierName,
    /// Receipts of members, at most 30.
    pub receipts: Vec<SignedReceipt>,
    /// The certified header that policy and lookup are proven under.
    pub header: SignedHeader,
    /// What the verifier asks of a login, with its issuer's keys.
    pub policy: Proven<Verifier>,
    /// Which key belongs to the user.
    pub lookup: Lookup,
    /// How long the session token shall live, in seconds.
    pub session_seconds: u32,
}

/// The mapping's proof: the user's assignment and the entry of his lowest key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The hash of the user's id: the vault compares it with the token's.
    pub user: Hash,
    /// Of (verifier, user).
    pub assignment: Proven<Assignment>,
    /// Of the assignment's first key.
    pub key: Proven<KeyEntry>,
}

impl Wire for VoteRequest {
    fn write(&self, w: &mut Writer) {
        self.vote.write(w);
        w.list(&self.evidence, |w, vote| vote.write(w));
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { vote: Vote::read(r)?, evidence: r.list(MAX_EVIDENCE, SignedVote::read)? })
    }
}

impl Wire for SeenAudit {
    fn write(&self, w: &mut Writer) {
        self.header.write(w);
        self.entry.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { header: SignedHeader::read(r)?, entry: Proven::read(r)? })
    }
}

impl Wire for Lookup {
    fn write(&self, w: &mut Writer) {
        w.raw(&self.user);
        self.assignment.write(w);
        self.key.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { user: r.array()?, assignment: Proven::read(r)?, key: Proven::read(r)? })
    }
}

impl Wire for LoginProof {
    fn write(&self, w: &mut Writer) {
        w.string(&self.token);
        self.verifier.write(w);
        w.list(&self.receipts, |w, receipt| {
            w.string(&receipt.data);
            receipt.signature.write(w);
        });
        self.header.write(w);
        self.policy.write(w);
        self.lookup.write(w);
        w.u32(self.session_seconds);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            token: r.string(MAX_TOKEN)?,
            verifier: VerifierName::read(r)?,
            receipts: r
                .list(30, |r| Ok(SignedReceipt { data: r.string(MAX_RECEIPT)?, signature: Signature::read(r)? }))?,
            header: SignedHeader::read(r)?,
            policy: Proven::read(r)?,
            lookup: Lookup::read(r)?,
            session_seconds: r.u32()?,
        })
    }
}

impl Wire for Request {
    fn write(&self, w: &mut Writer) {
        match self {
            Self::Hello(version) => {
                w.u8(1).u16(*version);
            }
            Self::Status => {
                w.u8(2);
            }
            Self::Advance(header) => {
                w.u8(3);
                header.write(w);
            }
            Self::SignVote(request) => {
                w.u8(4);
                request.write(w);
            }
            Self::SignProposal(proposal) => {
                w.u8(5);
                proposal.write(w);
            }
            Self::SignProofOfValidator(peer) => {
                w.u8(6).bytes(peer);
            }
            Self::HeldVotes => {
                w.u8(7);
            }
            Self::Batch { header, batch, entry } => {
                w.u8(8);
                header.write(w);
                w.u64(*batch);
                entry.write(w);
            }
            Self::Keys { attempt, published } => {
                w.u8(9);
                attempt.write(w);
                w.bytes(published);
            }
            Self::Deliver(envelope) => {
                w.u8(10);
                envelope.write(w);
            }
            Self::Outbox => {
                w.u8(11);
            }
            Self::Commit { token, temporary, verifier } => {
                w.u8(12).raw(token).point(temporary);
                verifier.write(w);
            }
            Self::Release(proof) => {
                w.u8(13);
                proof.write(w);
            }
            Self::AuditHead(seen) => {
                w.u8(14).option(seen.as_ref(), |w, seen| seen.write(w));
            }
            Self::NextEpoch(config) => {
                w.u8(15).bytes(config);
            }
            Self::NextKeys { committee, attempt, p2p } => {
                w.u8(16).bytes(committee).u32(*attempt).raw(p2p);
            }
            Self::List(listing) => {
                w.u8(17);
                listing.write(w);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match r.u8()? {
            1 => Self::Hello(r.u16()?),
            2 => Self::Status,
            3 => Self::Advance(Box::new(SignedHeader::read(r)?)),
            4 => Self::SignVote(VoteRequest::read(r)?),
            5 => Self::SignProposal(Proposal::read(r)?),
            6 => Self::SignProofOfValidator(r.bytes(64)?.into()),
            7 => Self::HeldVotes,
            8 => Self::Batch { header: Box::new(SignedHeader::read(r)?), batch: r.u64()?, entry: Proven::read(r)? },
            9 => Self::Keys { attempt: Attempt::read(r)?, published: r.bytes(MAX_ENVELOPE)?.into() },
            10 => Self::Deliver(Box::new(Envelope::read(r)?)),
            11 => Self::Outbox,
            12 => Self::Commit { token: r.array()?, temporary: r.point()?, verifier: VerifierName::read(r)? },
            13 => Self::Release(Box::new(LoginProof::read(r)?)),
            14 => Self::AuditHead(r.option(|r| SeenAudit::read(r).map(Box::new))?),
            15 => Self::NextEpoch(r.bytes(MAX_CONFIG)?.into()),
            16 => Self::NextKeys { committee: r.bytes(MAX_COMMITTEE)?.into(), attempt: r.u32()?, p2p: r.array()? },
            17 => Self::List(Box::new(Listing::read(r)?)),
            _ => return Err(Malformed::Field("verb")),
        })
    }
}
