//! Envelopes: what one vault sends another through nodes that can only carry it.
//!
//! A session is the sender's ephemeral key for one receiver and one boot, signed once by the sender's identity. Its
//! AES-256 key is X9.63-SHA256 over the ECDH secret of the ephemeral key and the receiver's envelope key of the epoch.
//! Nonces count up in the sender's memory. The signature and the curve equation are checked before any HSM operation.

use alloc::vec::Vec;

use torus_sharing::{Index, Point};

use crate::codec::{Malformed, Reader, Wire, Writer};
use crate::config::EpochConfig;
use crate::dkg::{Attempt, Dealing};
use crate::hash::Hash;
use crate::key::Signature;
use crate::registry::Domain;

/// The version of envelope that this build reads and writes.
pub const ENVELOPE_VERSION: u8 = 1;
/// Most bytes of an envelope.
pub const MAX_ENVELOPE: usize = 4 << 20;

/// One sealed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Who seals, for whom, under which ephemeral key.
    pub session: Session,
    /// The nonce: its 12 bytes are four zero bytes and this number.
    pub counter: u64,
    /// What is inside, in clear so that it is authenticated before it is opened.
    pub label: Label,
    /// AES-256-GCM with the envelope's header as additional data.
    pub ciphertext: Vec<u8>,
}

/// The ephemeral key of one sender for one receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The config of both.
    pub config: Hash,
    /// The sender.
    pub sender: Index,
    /// The receiver.
    pub receiver: Index,
    /// The sender's ephemeral key.
    pub ephemeral: Point,
    /// By the sender's identity.
    pub signature: Signature,
}

/// What an envelope holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// The attempt that the message belongs to.
    pub attempt: Attempt,
    /// The kind of message.
    pub kind: Kind,
    /// The dealer, and the digest that the message is about. For `Vector` the dealer is the sender and the digest zero, or
    /// all ones in a request for the receiver's.
    pub dealing: Dealing,
}

/// Kinds of messages between vaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A dealer's matrices, rows and columns.
    Send,
    /// Points of a member that got a good Send.
    Echo,
    /// Points of a member that promises to finish.
    Ready,
    /// Asks for what is missing of a dealing.
    Need,
    /// The matrices of a dealing, by digest.
    Matrix,
    /// Points again, for a late member.
    Points,
    /// A member's public share commitments of the batch, with the proof of knowledge.
    Vector,
}

impl Session {
    /// The bytes that the sender's identity signs.
    pub fn preimage(config: &EpochConfig, sender: Index, receiver: Index, ephemeral: &Point) -> Vec<u8> {
        Domain::EnvelopeSession.preimage(|w| {
            w.raw(&config.committee().chain).raw(&config.hash());
            w.index(sender).index(receiver).point(ephemeral);
        })
    }

    /// Whether the session is of this config and its sender's identity signed it.
    #[must_use]
    pub fn verifies(&self, config: &EpochConfig) -> bool {
        self.config == config.hash()
            && config.member(self.sender).is_some_and(|keys| {
                let preimage = Self::preimage(config, self.sender, self.receiver, &self.ephemeral);
                self.signature.verifies(&keys.identity, &preimage)
            })
    }

    /// The SharedInfo of X9.63 for this session's key: domain, network, epoch, attempt, both members and both keys.
    pub fn shared_info(&self, config: &EpochConfig, receiver_key: &Point) -> Vec<u8> {
        let mut w = Writer::default();
        w.raw(b"torus/envelope-key/v1\0").string(config.committee().network.as_str());
        w.u64(config.committee().epoch).u32(config.keys().attempt).index(self.sender).index(self.receiver);
        w.point(&self.ephemeral).point(receiver_key);
        w.into_bytes()
    }
}

impl Envelope {
    /// The additional data: everything but the ciphertext.
    pub fn header(session: &Session, counter: u64, label: &Label) -> Vec<u8> {
        let mut w = Writer::default();
        w.u8(ENVELOPE_VERSION);
        session.write(&mut w);
        w.u64(counter);
        label.write(&mut w);
        w.into_bytes()
    }

    /// The nonce of a counter.
    pub fn nonce(counter: u64) -> [u8; 12] {
        let mut nonce = [0; 12];
        if let Some(low) = nonce.get_mut(4..) {
            low.copy_from_slice(&counter.to_be_bytes());
        }
        nonce
    }
}

impl Wire for Session {
    fn write(&self, w: &mut Writer) {
        w.raw(&self.config).index(self.sender).index(self.receiver).point(&self.ephemeral);
        self.signature.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            config: r.array()?,
            sender: r.index()?,
            receiver: r.index()?,
            ephemeral: r.point()?,
            signature: Signature::read(r)?,
        })
    }
}

impl Wire for Kind {
    fn write(&self, w: &mut Writer) {
        w.u8(match self {
            Self::Send => 1,
            Self::Echo => 2,
            Self::Ready => 3,
            Self::Need => 4,
            Self::Matrix => 5,
            Self::Points => 6,
            Self::Vector => 7,
        });
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match r.u8()? {
            1 => Self::Send,
            2 => Self::Echo,
            3 => Self::Ready,
            4 => Self::Need,
            5 => Self::Matrix,
            6 => Self::Points,
            7 => Self::Vector,
            _ => return Err(Malformed::Field("kind")),
        })
    }
}

impl Wire for Label {
    fn write(&self, w: &mut Writer) {
        self.attempt.write(w);
        self.kind.write(w);
        self.dealing.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { attempt: Attempt::read(r)?, kind: Kind::read(r)?, dealing: Dealing::read(r)? })
    }
}

impl Wire for Envelope {
    fn write(&self, w: &mut Writer) {
        w.raw(&Self::header(&self.session, self.counter, &self.label)).bytes(&self.ciphertext);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if r.u8()? != ENVELOPE_VERSION {
            return Err(Malformed::Version);
        }
        Ok(Self {
            session: Session::read(r)?,
            counter: r.u64()?,
            label: Label::read(r)?,
            ciphertext: r.bytes(MAX_ENVELOPE)?.into(),
        })
    }
}
