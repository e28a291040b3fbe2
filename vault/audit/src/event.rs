//! What a record says. Every kind is bounded, and none has room for a token, a user's id or a secret.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use torus_statement::audit::{AuditHead, SignedAuditHead};
use torus_statement::certificate::SignedHeader;
use torus_statement::codec::{Malformed, Reader, Wire, Writer};
use torus_statement::dkg::Attempt;
use torus_statement::text::NetworkName;
use torus_statement::{Address, Hash, Index, Signature};

use crate::chain::Link;
use crate::subject::Pseudonym;

/// Most bytes of a record.
pub const MAX_RECORD: usize = 8 << 10;
/// Most bytes of a reason.
pub const MAX_REASON: usize = 256;
/// Most reasons of one minute's refusals.
pub const MAX_REASONS: usize = 256;
const VERSION: u8 = 1;

/// One record. Where it stands is a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// From 0, without gap.
    pub number: u64,
    /// The vault's time in milliseconds since 1970. It does not always rise: a clock may have been wrong.
    pub time: u64,
    /// The newest certified height that the vault held, 0 for genesis or for none yet.
    pub height: u64,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The ceremony: the member was made.
    Made {
        /// Of this network.
        network: NetworkName,
        /// With this index.
        member: Index,
        /// Its key certificate's fingerprint.
        certificate: Hash,
    },
    /// The vault started.
    Start {
        /// The token's counter after this start's tick.
        start: u64,
        /// How the store stood to the token.
        standing: Standing,
    },
    /// The vault stopped cleanly.
    Stop {
        /// The start that ends.
        start: u64,
    },
    /// An epoch was taken up.
    Epoch {
        /// The epoch.
        epoch: u64,
        /// The network file that the operator approved.
        network: Hash,
        /// The epoch's config.
        config: Hash,
    },
    /// A share was opened for a user and is about to be encrypted: from here on it may have left.
    Release {
        /// Of the epoch.
        epoch: u64,
        /// Stands for (verifier, id).
        user: Pseudonym,
        /// Stands for the key's index.
        key: Pseudonym,
        /// SHA-256 of the temporary key, compressed, that the ciphertext is for.
        temporary: Hash,
        /// The seconds that the session token lives.
        session: u32,
    },
    /// The same release again within its minute, to the same temporary key.
    Again {
        /// The number of the first release's record.
        release: u64,
        /// How often.
        count: u32,
    },
    /// Commitments of a minute.
    Commits {
        /// How many.
        count: u32,
        /// A chain over SHA-256 of each one's token hash, temporary key and verifier, in order.
        digest: Hash,
    },
    /// Refusals since a time.
    Denials {
        /// When the first was counted, in milliseconds since 1970.
        since: u64,
        /// Codes and how often, in rising order of the codes; more than 2^32 of a kind count as that many.
        counts: Vec<(u16, u32)>,
    },
    /// A step of key generation that binds this vault.
    Generation {
        /// The attempt.
        attempt: Attempt,
        /// The step.
        step: Generation,
    },
    /// The vote rule locked on a block.
    Lock {
        /// At this height.
        height: u64,
        /// In this round.
        round: u32,
        /// The block.
        block: Hash,
    },
    /// Two certified headers of one height: the vault stopped.
    Contradiction {
        /// The one that it held.
        first: Box<SignedHeader>,
        /// The one that it was shown.
        second: Box<SignedHeader>,
    },
    /// The vault stopped for another reason.
    Frozen {
        /// Why, at most 256 bytes.
        reason: String,
    },
    /// Keys of an epoch to come.
    Keys {
        /// The epoch.
        epoch: u64,
        /// The attempt to begin it.
        attempt: u32,
        /// What was done with them.
        act: KeyAct,
    },
    /// The statement by which the member lists itself in the contract is about to be signed.
    Listed {
        /// For this epoch.
        epoch: u64,
        /// For this account.
        account: Address,
        /// In this contract.
        contract: Address,
        /// On this chain.
        chain: u64,
        /// What the signature is over; it covers the addresses as well.
        digest: Hash,
    },
    /// The operator acted.
    Operator(Operator),
    /// A head of this log, signed.
    Checkpoint(Checkpoint),
}

/// How a store stood to its token at a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The stop before was clean.
    Clean,
    /// It was not.
    Unclean,
    /// The store was lost, restored or rolled back.
    Behind,
}

/// A step of key generation that binds this vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// It dealt so many keys.
    Dealt(u16),
    /// It sealed and stored its shares of so many keys.
    Stored(u16),
    /// It acknowledged the keys of this digest.
    Acknowledged(Hash),
    /// All members acknowledged: it destroyed its rows.
    Finished,
    /// The log abandoned the attempt: rows and shares were destroyed.
    Abandoned,
    /// The epoch ended before there were shares: rows were destroyed.
    Void,
}

/// What was done with keys of an epoch to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAct {
    /// They were made in the token.
    Made,
    /// What was left of some that were not whole, and shown to nobody, was destroyed.
    Destroyed,
    /// The one certificate of them was signed first: the hash of what it says.
    Certified(Hash),
}

/// An operator's act on the vault's host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operator {
    /// He took a store for the truth that was behind its token or had stopped.
    AcceptedStore {
        /// The vault votes from here on.
        from_height: u64,
        /// The token's counter then: heads of starts up to it are of a past that this log may not have.
        start: u64,
    },
    /// He removed records of which he had shown a proven copy.
    Pruned {
        /// All below this number.
        below: u64,
    },
    /// He stopped receipts and releases.
    Froze {
        /// Why, at most 256 bytes.
        reason: String,
    },
    /// He resumed them.
    Unfroze,
    /// He approved a network.
    Trusted {
        /// The hash of its network file.
        network: Hash,
    },
    /// He approved the committee of the next epoch.
    Approved {
        /// The committee's hash.
        committee: Hash,
    },
    /// He took that back.
    Withdrew,
}

/// A signed head: its link is the one that the log itself has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The chain.
    pub chain: Hash,
    /// The member.
    pub member: Index,
    /// `AuditHead::start`.
    pub start: u64,
    /// `AuditHead::count`.
    pub count: u64,
    /// `AuditHead::time`.
    pub time: u64,
    /// By the identity.
    pub signature: Signature,
}

impl Event {
    /// Whether peers should hear of it soon. What every block brings waits for the next checkpoint: a checkpoint is
    /// itself a reason for a block.
    pub const fn is_news(&self) -> bool {
        !matches!(self, Self::Lock { .. } | Self::Checkpoint(_))
    }
}

impl Checkpoint {
    /// The signed head, over the log's link at `count`.
    pub const fn head(&self, link: Link) -> SignedAuditHead {
        let head = AuditHead { start: self.start, count: self.count, link, time: self.time };
        SignedAuditHead { head, signature: self.signature }
    }
}

impl Wire for Record {
    fn write(&self, w: &mut Writer) {
        w.u8(VERSION).u64(self.number).u64(self.time).u64(self.height);
        self.event.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if r.remaining() > MAX_RECORD {
            return Err(Malformed::TooLong);
        }
        if r.u8()? != VERSION {
            return Err(Malformed::Version);
        }
        Ok(Self { number: r.u64()?, time: r.u64()?, height: r.u64()?, event: Event::read(r)? })
    }
}

impl Wire for Event {
    fn write(&self, w: &mut Writer) {
        match self {
            Self::Made { network, member, certificate } => {
                w.u8(1);
                network.write(w);
                w.index(*member).raw(certificate);
            }
            Self::Start { start, standing } => {
                w.u8(2).u64(*start);
                standing.write(w);
            }
            Self::Stop { start } => {
                w.u8(3).u64(*start);
            }
            Self::Epoch { epoch, network, config } => {
                w.u8(4).u64(*epoch).raw(network).raw(config);
            }
            Self::Release { epoch, user, key, temporary, session } => {
                w.u8(5).u64(*epoch).raw(user).raw(key).raw(temporary).u32(*session);
            }
            Self::Again { release, count } => {
                w.u8(6).u64(*release).u32(*count);
            }
            Self::Commits { count, digest } => {
                w.u8(7).u32(*count).raw(digest);
            }
            Self::Denials { since, counts } => {
                w.u8(8).u64(*since).list(counts, |w, (code, count)| {
                    w.u16(*code).u32(*count);
                });
            }
            Self::Generation { attempt, step } => {
                w.u8(9);
                attempt.write(w);
                step.write(w);
            }
            Self::Lock { height, round, block } => {
                w.u8(10).u64(*height).u32(*round).raw(block);
            }
            Self::Contradiction { first, second } => {
                w.u8(11);
                first.write(w);
                second.write(w);
            }
            Self::Frozen { reason } => {
                w.u8(12).string(reason);
            }
            Self::Operator(act) => {
                w.u8(13);
                act.write(w);
            }
            Self::Checkpoint(checkpoint) => {
                w.u8(14);
                checkpoint.write(w);
            }
            Self::Keys { epoch, attempt, act } => {
                w.u8(15).u64(*epoch).u32(*attempt);
                act.write(w);
            }
            Self::Listed { epoch, account, contract, chain, digest } => {
                w.u8(16).u64(*epoch);
                account.write(w);
                contract.write(w);
                w.u64(*chain).raw(digest);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match r.u8()? {
            1 => Self::Made { network: NetworkName::read(r)?, member: r.index()?, certificate: r.array()? },
            2 => Self::Start { start: r.u64()?, standing: Standing::read(r)? },
            3 => Self::Stop { start: r.u64()? },
            4 => Self::Epoch { epoch: r.u64()?, network: r.array()?, config: r.array()? },
            5 => Self::Release {
                epoch: r.u64()?,
                user: r.array()?,
                key: r.array()?,
                temporary: r.array()?,
                session: r.u32()?,
            },
            6 => Self::Again { release: r.u64()?, count: r.u32()? },
            7 => Self::Commits { count: r.u32()?, digest: r.array()? },
            8 => {
                let (since, counts) = (r.u64()?, r.list(MAX_REASONS, |r| Ok((r.u16()?, r.u32()?)))?);
                if !counts.is_sorted_by(|(a, _), (b, _)| a < b) {
                    return Err(Malformed::Field("refusals"));
                }
                Self::Denials { since, counts }
            }
            9 => Self::Generation { attempt: Attempt::read(r)?, step: Generation::read(r)? },
            10 => Self::Lock { height: r.u64()?, round: r.u32()?, block: r.array()? },
            11 => Self::Contradiction {
                first: Box::new(SignedHeader::read(r)?),
                second: Box::new(SignedHeader::read(r)?),
            },
            12 => Self::Frozen { reason: r.string(MAX_REASON)? },
            13 => Self::Operator(Operator::read(r)?),
            14 => Self::Checkpoint(Checkpoint::read(r)?),
            15 => Self::Keys { epoch: r.u64()?, attempt: r.u32()?, act: KeyAct::read(r)? },
            16 => Self::Listed {
                epoch: r.u64()?,
                account: Address::read(r)?,
                contract: Address::read(r)?,
                chain: r.u64()?,
                digest: r.array()?,
            },
            _ => return Err(Malformed::Field("event")),
        })
    }
}

impl Wire for Standing {
    fn write(&self, w: &mut Writer) {
        w.u8(match self {
            Self::Clean => 1,
            Self::Unclean => 2,
            Self::Behind => 3,
        });
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        match r.u8()? {
            1 => Ok(Self::Clean),
            2 => Ok(Self::Unclean),
            3 => Ok(Self::Behind),
            _ => Err(Malformed::Field("standing")),
        }
    }
}

impl Wire for KeyAct {
    fn write(&self, w: &mut Writer) {
        match self {
            Self::Made => w.u8(1),
            Self::Destroyed => w.u8(2),
            Self::Certified(certificate) => w.u8(3).raw(certificate),
        };
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        match r.u8()? {
            1 => Ok(Self::Made),
            2 => Ok(Self::Destroyed),
            3 => Ok(Self::Certified(r.array()?)),
            _ => Err(Malformed::Field("act")),
        }
    }
}

impl Wire for Generation {
    fn write(&self, w: &mut Writer) {
        match self {
            Self::Dealt(keys) => w.u8(1).u16(*keys),
            Self::Stored(keys) => w.u8(2).u16(*keys),
            Self::Acknowledged(digest) => w.u8(3).raw(digest),
            Self::Finished => w.u8(4),
            Self::Abandoned => w.u8(5),
            Self::Void => w.u8(6),
        };
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        match r.u8()? {
            1 => Ok(Self::Dealt(r.u16()?)),
            2 => Ok(Self::Stored(r.u16()?)),
            3 => Ok(Self::Acknowledged(r.array()?)),
            4 => Ok(Self::Finished),
            5 => Ok(Self::Abandoned),
            6 => Ok(Self::Void),
            _ => Err(Malformed::Field("step")),
        }
    }
}

impl Wire for Operator {
    fn write(&self, w: &mut Writer) {
        match self {
            Self::AcceptedStore { from_height, start } => w.u8(1).u64(*from_height).u64(*start),
            Self::Pruned { below } => w.u8(2).u64(*below),
            Self::Froze { reason } => w.u8(3).string(reason),
            Self::Unfroze => w.u8(4),
            Self::Trusted { network } => w.u8(5).raw(network),
            Self::Approved { committee } => w.u8(6).raw(committee),
            Self::Withdrew => w.u8(7),
        };
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        match r.u8()? {
            1 => Ok(Self::AcceptedStore { from_height: r.u64()?, start: r.u64()? }),
            2 => Ok(Self::Pruned { below: r.u64()? }),
            3 => Ok(Self::Froze { reason: r.string(MAX_REASON)? }),
            4 => Ok(Self::Unfroze),
            5 => Ok(Self::Trusted { network: r.array()? }),
            6 => Ok(Self::Approved { committee: r.array()? }),
            7 => Ok(Self::Withdrew),
            _ => Err(Malformed::Field("act")),
        }
    }
}

impl Wire for Checkpoint {
    fn write(&self, w: &mut Writer) {
        w.raw(&self.chain).index(self.member).u64(self.start).u64(self.count).u64(self.time);
        self.signature.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            chain: r.array()?,
            member: r.index()?,
            start: r.u64()?,
            count: r.u64()?,
            time: r.u64()?,
            signature: Signature::read(r)?,
        })
    }
}
