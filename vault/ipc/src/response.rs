//! What the vault answers.

use torus_statement::codec::{Malformed, Reader, Wire, Writer};
use torus_statement::dkg::{Attempt, Dealing, KeyIndex};
use torus_statement::envelope::{Envelope, MAX_ENVELOPE};
use torus_statement::hash::Hash;
use torus_statement::vote::SignedVote;
use torus_statement::{Index, KeyCertificate, Point, Signature, SignedAuditHead};

use crate::deny::Deny;

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Done; nothing to say.
    Done,
    /// Refused: a code, no detail.
    Denied(Deny),
    /// To `Hello`.
    Hello(Box<Hello>),
    /// To `Status`.
    Status(Status),
    /// To `SignVote`: the vote that the vault casts, which may differ from the one asked for.
    Vote(SignedVote),
    /// To `SignProposal` and `SignProofOfValidator`.
    Signature(Signature),
    /// To `HeldVotes`.
    HeldVotes(HeldVotes),
    /// To `Batch`, `Keys`, `Deliver` and `Outbox`: what key generation wants carried.
    Progress(Progress),
    /// To `Commit`.
    Receipt(CommitReceipt),
    /// To `Release`.
    Share(Box<ReleasedShare>),
    /// To `AuditHead`: `None` as long as none was signed.
    AuditHead(Option<SignedAuditHead>),
    /// To `NextEpoch`: the vault ends, and its next start is in the new epoch.
    TakenUp,
    /// To `NextKeys`.
    Certificate(Box<KeyCertificate>),
    /// To `List`: r | s | v by the identity, v 27 or 28, s in the lower half, as the contract takes it.
    Listed([u8; 65]),
}

/// Who the vault is and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The version that the vault speaks.
    pub version: u16,
    /// The hash of the network file that its operator approved.
    pub network: Hash,
    /// The member's index.
    pub index: Index,
    /// Its identity.
    pub identity: Point,
    /// The height of the newest certified header that it holds, 0 for genesis.
    pub height: u64,
}

/// How the vault is. Public: nothing in it depends on a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The HSM answered its last operation.
    pub device: bool,
    /// The vault's clock is inside the band around the newest certified header.
    pub clock: bool,
    /// The vault's time in milliseconds since 1970.
    pub time: u64,
    /// The height of the newest certified header that it holds.
    pub height: u64,
    /// Tokens issued before this do not count here, in seconds since 1970.
    pub not_before: u64,
    /// Receipts are signed from this time on, in seconds since 1970.
    pub receipts_from: u64,
    /// Shares that the vault holds.
    pub shares: u64,
    /// Batches under way.
    pub batches: u32,
    /// Landlock binds the vault to its files; false if its operator does without.
    pub landlock: bool,
}

/// Votes that a vault holds for its node, so that no height waits for votes that nobody has any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldVotes {
    /// The height above the newest certified header.
    pub height: u64,
    /// The vault's own votes of that height.
    pub own: Vec<SignedVote>,
    /// The prevotes that made it lock on a block.
    pub polka: Vec<SignedVote>,
}

/// What key generation wants carried to others and to the log.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Progress {
    /// For other vaults.
    pub envelopes: Vec<Envelope>,
    /// Promises to finish a dealing, for the log's certificates: over `Attempt::ready`.
    pub readies: Vec<(Attempt, Dealing, Signature)>,
    /// Derived keys of a batch (canonical bytes) and this member's signature over `Attempt::keys`.
    pub keys: Vec<(Attempt, Vec<u8>, Signature)>,
    /// Acknowledgements that the shares of a published batch are stored: over `Attempt::ack`.
    pub acks: Vec<(Attempt, Signature)>,
}

/// A signed receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitReceipt {
    /// The text.
    pub data: String,
    /// r | s | v over Keccak-256 of the text.
    pub signature: [u8; 65],
}

/// An ECIES ciphertext in the form that eccrypto opens (ephemeral key | AES-256-CBC | HMAC-SHA256).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ecies {
    /// The initialisation vector.
    pub iv: [u8; 16],
    /// The ephemeral key, x | y.
    pub ephemeral: [u8; 64],
    /// The ciphertext, whole blocks.
    pub ciphertext: Vec<u8>,
    /// The MAC over iv | 04 | ephemeral | ciphertext.
    pub mac: [u8; 32],
}

/// One released share. Everything in it is public or sealed to the user's temporary key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleasedShare {
    /// The key.
    pub key: KeyIndex,
    /// Its public key.
    pub public: Point,
    /// The share, 32 bytes, for the temporary key.
    pub share: Ecies,
    /// The session token and its signature, for the temporary key.
    pub session: SessionGrant,
}

/// A session token and its signature, each sealed to the user's temporary key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionGrant {
    /// The token's JSON; clients encode what they open.
    pub token: Ecies,
    /// r | s | v, 65 bytes, over Keccak-256 of the JSON's base64 text.
    pub signature: Ecies,
}

const MAX_VOTES: usize = 256;
const MAX_LIST: usize = 16_384;

impl Wire for Hello {
    fn write(&self, w: &mut Writer) {
        w.u16(self.version).raw(&self.network).index(self.index).point(&self.identity).u64(self.height);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { version: r.u16()?, network: r.array()?, index: r.index()?, identity: r.point()?, height: r.u64()? })
    }
}

impl Wire for Status {
    fn write(&self, w: &mut Writer) {
        w.bool(self.device).bool(self.clock).u64(self.time).u64(self.height).u64(self.not_before);
        w.u64(self.receipts_from).u64(self.shares).u32(self.batches).bool(self.landlock);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            device: r.bool()?,
            clock: r.bool()?,
            time: r.u64()?,
            height: r.u64()?,
            not_before: r.u64()?,
            receipts_from: r.u64()?,
            shares: r.u64()?,
            batches: r.u32()?,
            landlock: r.bool()?,
        })
    }
}

impl Wire for HeldVotes {
    fn write(&self, w: &mut Writer) {
        w.u64(self.height);
        w.list(&self.own, |w, vote| vote.write(w)).list(&self.polka, |w, vote| vote.write(w));
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            height: r.u64()?,
            own: r.list(MAX_VOTES, SignedVote::read)?,
            polka: r.list(MAX_VOTES, SignedVote::read)?,
        })
    }
}

impl Wire for Progress {
    fn write(&self, w: &mut Writer) {
        w.list(&self.envelopes, |w, envelope| envelope.write(w));
        w.list(&self.readies, |w, (attempt, dealing, signature)| {
            attempt.write(w);
            dealing.write(w);
            signature.write(w);
        });
        w.list(&self.keys, |w, (attempt, published, signature)| {
            attempt.write(w);
            w.bytes(published);
            signature.write(w);
        });
        w.list(&self.acks, |w, (attempt, signature)| {
            attempt.write(w);
            signature.write(w);
        });
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            envelopes: r.list(MAX_LIST, Envelope::read)?,
            readies: r.list(MAX_LIST, |r| Ok((Attempt::read(r)?, Dealing::read(r)?, Signature::read(r)?)))?,
            keys: r
                .list(MAX_LIST, |r| Ok((Attempt::read(r)?, r.bytes(MAX_ENVELOPE)?.to_vec(), Signature::read(r)?)))?,
            acks: r.list(MAX_LIST, |r| Ok((Attempt::read(r)?, Signature::read(r)?)))?,
        })
    }
}

impl Wire for Ecies {
    fn write(&self, w: &mut Writer) {
        w.raw(&self.iv).raw(&self.ephemeral).bytes(&self.ciphertext).raw(&self.mac);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { iv: r.array()?, ephemeral: r.array()?, ciphertext: r.bytes(4096)?.into(), mac: r.array()? })
    }
}

impl Wire for ReleasedShare {
    fn write(&self, w: &mut Writer) {
        w.u64(self.key.number()).point(&self.public);
        self.share.write(w);
        self.session.token.write(w);
        self.session.signature.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            key: KeyIndex::from_number(r.u64()?),
            public: r.point()?,
            share: Ecies::read(r)?,
            session: SessionGrant { token: Ecies::read(r)?, signature: Ecies::read(r)? },
        })
    }
}

impl Wire for Response {
    fn write(&self, w: &mut Writer) {
        match self {
            Self::Done => {
                w.u8(1);
            }
            Self::Denied(deny) => {
                w.u8(2).u16(deny.code());
            }
            Self::Hello(hello) => {
                w.u8(3);
                hello.write(w);
            }
            Self::Status(status) => {
                w.u8(4);
                status.write(w);
            }
            Self::Vote(vote) => {
                w.u8(5);
                vote.write(w);
            }
            Self::Signature(signature) => {
                w.u8(6);
                signature.write(w);
            }
            Self::HeldVotes(votes) => {
                w.u8(7);
                votes.write(w);
            }
            Self::Progress(progress) => {
                w.u8(8);
                progress.write(w);
            }
            Self::Receipt(receipt) => {
                w.u8(9).string(&receipt.data).raw(&receipt.signature);
            }
            Self::Share(share) => {
                w.u8(10);
                share.write(w);
            }
            Self::AuditHead(head) => {
                w.u8(11).option(head.as_ref(), |w, head| head.write(w));
            }
            Self::TakenUp => {
                w.u8(12);
            }
            Self::Certificate(certificate) => {
                w.u8(13);
                certificate.write(w);
            }
            Self::Listed(signature) => {
                w.u8(14).raw(signature);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match r.u8()? {
            1 => Self::Done,
            2 => Self::Denied(Deny::from_code(r.u16()?).ok_or(Malformed::Field("code"))?),
            3 => Self::Hello(Box::new(Hello::read(r)?)),
            4 => Self::Status(Status::read(r)?),
            5 => Self::Vote(SignedVote::read(r)?),
            6 => Self::Signature(Signature::read(r)?),
            7 => Self::HeldVotes(HeldVotes::read(r)?),
            8 => Self::Progress(Progress::read(r)?),
            9 => Self::Receipt(CommitReceipt { data: r.string(512)?, signature: r.array()? }),
            10 => Self::Share(Box::new(ReleasedShare::read(r)?)),
            11 => Self::AuditHead(r.option(SignedAuditHead::read)?),
            12 => Self::TakenUp,
            13 => Self::Certificate(Box::new(KeyCertificate::read(r)?)),
            14 => Self::Listed(r.array()?),
            _ => return Err(Malformed::Field("response")),
        })
    }
}
