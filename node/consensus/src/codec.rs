//! Bytes of the engine's messages, on the wire and in its write-ahead log. Every message begins with a version, has a
//! cap, and leaves nothing over; a vote or proposal without a signature has no encoding.

use bytes::Bytes;
use malachitebft_app::streaming::{StreamContent, StreamId, StreamMessage};
use malachitebft_app::types::PeerId;
use malachitebft_codec::{Codec, HasEncodedLen};
use malachitebft_core_consensus::{LivenessMsg, ProposedValue, SignedConsensusMsg};
use malachitebft_core_types::{
    ExtendedCommitCertificate, ExtendedCommitSignature, NilOrVal, PolkaCertificate, PolkaSignature, Round,
    RoundCertificate, RoundCertificateType, RoundSignature, SignedProposal, SignedVote, ValidatorProof, Validity,
    VoteType,
};
use malachitebft_sync as sync;
use torus_statement::block::MAX_BLOCK;
use torus_statement::transaction::MAX_TRANSACTION;
use torus_statement::{Malformed, Reader, Signature, Wire, Writer, vote};

use super::context::{BlockId, EngineProposal, EngineVote, Height, Member, Sig, Torus};
use super::part::{MAX_PART, MAX_TRANSACTIONS, MAX_TRANSACTIONS_BYTES, Part};

/// The version of every message and log entry of this build.
const VERSION: u8 = 1;
/// Most members of a committee.
const MAX_MEMBERS: usize = 30;
/// Most bytes of a message that holds no block.
const MAX_SMALL: usize = 32 << 10;
/// Most blocks of one answer to a node that catches up.
pub(super) const MAX_SYNCED: usize = 16;
/// Most bytes of such an answer.
const MAX_RESPONSE: usize = 10 << 20;

/// The one codec of wire and log.
#[derive(Clone, Copy, Debug)]
pub(super) struct EngineCodec;

/// A part of a message.
trait Coded: Sized {
    /// Most bytes of a message of this type.
    const MAX: usize = MAX_SMALL;

    fn put(&self, w: &mut Writer) -> Result<(), Malformed>;
    fn get(r: &mut Reader<'_>) -> Result<Self, Malformed>;
}

fn encode<T: Coded>(message: &T) -> Result<Bytes, Malformed> {
    let mut w = Writer::default();
    w.u8(VERSION);
    message.put(&mut w)?;
    let bytes = w.into_bytes();
    if bytes.len() > T::MAX { Err(Malformed::TooLong) } else { Ok(bytes.into()) }
}

fn decode<T: Coded>(bytes: &[u8]) -> Result<T, Malformed> {
    if bytes.len() > T::MAX {
        return Err(Malformed::TooLong);
    }
    let mut r = Reader::new(bytes);
    if r.u8()? != VERSION {
        return Err(Malformed::Version);
    }
    let message = T::get(&mut r)?;
    r.finish()?;
    Ok(message)
}

macro_rules! codecs {
    ($($message:ty),+ $(,)?) => {$(
        impl Codec<$message> for EngineCodec {
            type Error = Malformed;

            fn encode(&self, message: &$message) -> Result<Bytes, Malformed> {
                encode(message)
            }

            fn decode(&self, bytes: Bytes) -> Result<$message, Malformed> {
                decode(&bytes)
            }
        }
    )+};
}

codecs!(
    Part,
    SignedConsensusMsg<Torus>,
    LivenessMsg<Torus>,
    StreamMessage<Part>,
    ValidatorProof<Torus>,
    sync::Status<Torus>,
    sync::Request<Torus>,
    sync::Response<Torus>,
    ProposedValue<Torus>,
    PolkaCertificate<Torus>,
);

impl HasEncodedLen<sync::Response<Torus>> for EngineCodec {
    fn encoded_len(&self, message: &sync::Response<Torus>) -> Result<usize, Malformed> {
        encode(message).map(|bytes| bytes.len())
    }
}

impl Coded for Sig {
    fn put(&self, w: &mut Writer) -> Result<(), Malformed> {
        if *self == Self::ABSENT {
            return Err(Malformed::Field("signature"));
        }
        w.raw(&self.0);
        Ok(())
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Signature::read(r).map(|signature| Self(signature.to_bytes()))
    }
}

impl Coded for Member {
    fn put(&self, w: &mut Writer) -> Result<(), Malformed> {
        w.index(self.0);
        Ok(())
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        r.index().map(Self)
    }
}

impl Coded for Round {
    fn put(&self, w: &mut Writer) -> Result<(), Malformed> {
        w.option(self.as_u32().as_ref(), |w, round| {
            w.u32(*round);
        });
        Ok(())
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(r.option(Reader::u32)?.map_or(Round::Nil, Round::new))
    }
}

impl Coded for NilOrVal<BlockId> {
    fn put(&self, w: &mut Writer) -> Result<(), Malformed> {
        match self {
            Self::Nil => w.u8(0),
            Self::Val(id) => w.u8(1).raw(&id.0),
        };
        Ok(())
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(r.option(Reader::array)?.map_or(Self::Nil, |hash| Self::Val(BlockId(hash))))
    }
}

impl Coded for VoteType {
    fn put(&self, w: &mut Writer) -> Result<(), Malformed> {
        w.u8(match self {
            Self::Prevote => 1,
            Self::Precommit => 2,
        });
        Ok(())
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        match r.u8()? {
            1 => Ok(Self::Prevote),
            2 => Ok(Self::Precommit),
            _ => Err(Malformed::Field("step")),
        }
    }
}

impl Coded for SignedVote<Torus> {
    fn put(&self, w: &mut Writer) -> Result<(), Malformed> {
        let vote = self.message.plain().ok_or(Malformed::Field("round"))?;
        vote.write(w);
        self.message.voter.put(w)?;
        self.signature.put(w)
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (vote, voter) = (vote::Vote::read(r)?, r.index()?);
        Ok(Self::new(EngineVote::new(&vote, voter), Sig::get(r)?))
    }
}

impl Coded for SignedProposal<Torus> {
    fn put(&self, w: &mut Writer) -> Result<(), Malformed> {
        let proposal = self.message.plain().ok_or(Malformed::Field("round"))?;
        proposal.write(w);
        self.message.proposer.put(w)?;
        self.signature.put(w)
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (proposal, proposer) = (vote::Proposal::read(r)?, r.index()?);
        Ok(Self::new(EngineProposal::new(&proposal, proposer), Sig::get(r)?))
    }
}

impl Coded for SignedConsensusMsg<Torus> {
    fn put(&self, w: &mut Writer) -> Result<(), Malformed> {
        match self {
            Self::Vote(vote) => {
                w.u8(1);
                vote.put(w)
            }
            Self::Proposal(proposal) => {
                w.u8(2);
                proposal.put(w)
            }
        }
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        match r.u8()? {
            1 => SignedVote::get(r).map(Self::Vote),
            2 => SignedProposal::get(r).map(Self::Proposal),
            _ => Err(Malformed::Field("message")),
        }
    }
}

impl Coded for PolkaCertificate<Torus> {
    fn put(&self, w: &mut Writer) -> Result<(), Malformed> {
        w.u64(self.height.0);
        self.round.put(w)?;
        w.raw(&self.value_id.0).u32(count(&self.polka_signatures)?);
        self.polka_signatures.iter().try_for_each(|s| {
            s.address.put(w)?;
            s.signature.put(w)
        })
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            height: Height(r.u64()?),
            round: Round::get(r)?,
            value_id: BlockId(r.array()?),
            polka_signatures: r.list(MAX_MEMBERS, |r| Ok(PolkaSignature::new(Member::get(r)?, Sig::get(r)?)))?,
        })
    }
}

impl Coded for RoundCertificate<Torus> {
    fn put(&self, w: &mut Writer) -> Result<(), Malformed> {
        w.u64(self.height.0);
        self.round.put(w)?;
        w.u8(match self.cert_type {
            RoundCertificateType::Skip => 1,
            RoundCertificateType::Precommit => 2,
        });
        w.u32(count(&self.round_signatures)?);
        self.round_signatures.iter().try_for_each(|s| {
            s.vote_type.put(w)?;
            s.value_id.put(w)?;
            s.address.put(w)?;
            s.signature.put(w)
        })
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            height: Height(r.u64()?),
            round: Round::get(r)?,
            cert_type: match r.u8()? {
                1 => RoundCertificateType::Skip,
                2 => RoundCertificateType::Precommit,
                _ => return Err(Malformed::Field("certificate")),
            },
            // Both votes of a member may be in it.
            round_signatures: r.list(2 * MAX_MEMBERS, |r| {
                Ok(RoundSignature::new(VoteType::get(r)?, NilOrVal::get(r)?, Member::get(r)?, Sig::get(r)?))
            })?,
        })
    }
}

impl Coded for LivenessMsg<Torus> {
    fn put(&self, w: &mut Writer) -> Result<(), Malformed> {
        match self {
            Self::Vote(vote) => {
                w.u8(1);
                vote.put(w)
            }
            Self::PolkaCertificate(certificate) => {
                w.u8(2);
                certificate.put(w)
            }
            Self::SkipRoundCertificate(certificate) => {
                w.u8(3);
                certificate.put(w)
            }
        }
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        match r.u8()? {
            1 => SignedVote::get(r).map(Self::Vote),
            2 => PolkaCertificate::get(r).map(Self::PolkaCertificate),
            3 => RoundCertificate::get(r).map(Self::SkipRoundCertificate),
            _ => Err(Malformed::Field("message")),
        }
    }
}

impl Coded for Part {
    const MAX: usize = MAX_PART;

    fn put(&self, w: &mut Writer) -> Result<(), Malformed> {
        match self {
            Self::Block { proposal, block } => {
                w.u8(1);
                proposal.put(w)?;
                w.bytes(block);
            }
            Self::Transactions(transactions) => {
                w.u8(2).list(transactions, |w, transaction| {
                    w.bytes(transaction);
                });
            }
            Self::At(height) => {
                w.u8(3).u64(*height);
            }
        }
        Ok(())
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        match r.u8()? {
            1 => Ok(Self::Block {
                proposal: SignedProposal::get(r)?,
                block: Bytes::copy_from_slice(r.bytes(MAX_BLOCK)?),
            }),
            2 if r.remaining() > MAX_TRANSACTIONS_BYTES => Err(Malformed::TooLong),
            2 => Ok(Self::Transactions(
                r.list(MAX_TRANSACTIONS, |r| Ok(Bytes::copy_from_slice(r.bytes(MAX_TRANSACTION)?)))?,
            )),
            3 => Ok(Self::At(r.u64()?)),
            _ => Err(Malformed::Field("part")),
        }
    }
}

impl Coded for StreamMessage<Part> {
    const MAX: usize = MAX_PART + 128;

    fn put(&self, w: &mut Writer) -> Result<(), Malformed> {
        w.bytes(&self.stream_id.to_bytes()).u64(self.sequence);
        match &self.content {
            StreamContent::Data(part) => part.put(w),
            StreamContent::Fin => Err(Malformed::Field("stream")),
        }
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let id = StreamId::new(Bytes::copy_from_slice(r.bytes(64)?));
        Ok(Self::new(id, r.u64()?, StreamContent::Data(Part::get(r)?)))
    }
}

impl Coded for ValidatorProof<Torus> {
    fn put(&self, w: &mut Writer) -> Result<(), Malformed> {
        w.bytes(&self.public_key).bytes(&self.peer_id);
        self.signature.put(w)
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self::new(r.bytes(33)?.to_vec(), r.bytes(128)?.to_vec(), Sig::get(r)?))
    }
}

impl Coded for ProposedValue<Torus> {
    fn put(&self, w: &mut Writer) -> Result<(), Malformed> {
        w.u64(self.height.0);
        self.round.put(w)?;
        self.valid_round.put(w)?;
        self.proposer.put(w)?;
        w.raw(&self.value.0).bool(self.validity.is_valid());
        Ok(())
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            height: Height(r.u64()?),
            round: Round::get(r)?,
            valid_round: Round::get(r)?,
            proposer: Member::get(r)?,
            value: BlockId(r.array()?),
            validity: Validity::from_bool(r.bool()?),
        })
    }
}

impl Coded for sync::Status<Torus> {
    fn put(&self, w: &mut Writer) -> Result<(), Malformed> {
        w.bytes(&self.peer_id.to_bytes()).u64(self.tip_height.0).u64(self.history_min_height.0);
        Ok(())
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            peer_id: PeerId::from_bytes(r.bytes(128)?).map_err(|_| Malformed::Field("peer id"))?,
            tip_height: Height(r.u64()?),
            history_min_height: Height(r.u64()?),
        })
    }
}

impl Coded for sync::Request<Torus> {
    fn put(&self, w: &mut Writer) -> Result<(), Malformed> {
        let Self::ValueRequest(request) = self;
        w.u64(request.range.start().0).u64(request.range.end().0);
        Ok(())
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (start, end) = (r.u64()?, r.u64()?);
        if start > end {
            return Err(Malformed::Field("range"));
        }
        Ok(Self::ValueRequest(sync::ValueRequest::new(Height(start)..=Height(end))))
    }
}

impl Coded for sync::Response<Torus> {
    const MAX: usize = MAX_RESPONSE;

    fn put(&self, w: &mut Writer) -> Result<(), Malformed> {
        let Self::ValueResponse(response) = self;
        w.u64(response.start_height.0).u32(count(&response.values)?);
        response.values.iter().try_for_each(|value| {
            let certificate = &value.certificate;
            w.bytes(&value.value_bytes).u64(certificate.height.0);
            certificate.round.put(w)?;
            w.raw(&certificate.value_id.0).u32(count(&certificate.commit_signatures)?);
            certificate.commit_signatures.iter().try_for_each(|s| {
                s.address.put(w)?;
                s.signature.put(w)
            })
        })
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let start = Height(r.u64()?);
        let values = r.list(MAX_SYNCED, |r| {
            let value_bytes = Bytes::copy_from_slice(r.bytes(MAX_BLOCK)?);
            let certificate = ExtendedCommitCertificate {
                height: Height(r.u64()?),
                round: Round::get(r)?,
                value_id: BlockId(r.array()?),
                commit_signatures: r
                    .list(MAX_MEMBERS, |r| Ok(ExtendedCommitSignature::new(Member::get(r)?, Sig::get(r)?, None)))?,
            };
            Ok(sync::RawDecidedValue::new(value_bytes, certificate))
        })?;
        Ok(Self::ValueResponse(sync::ValueResponse::new(start, values)))
    }
}

fn count<T>(list: &[T]) -> Result<u32, Malformed> {
    u32::try_from(list.len()).map_err(|_| Malformed::TooLong)
}

#[cfg(test)]
mod tests {
    use torus_statement::Index;

    use super::*;

    fn vote(signature: Sig) -> SignedVote<Torus> {
        let vote = vote::Vote { step: vote::Step::Precommit, height: 7, round: 2, block: Some([9; 32]) };
        SignedVote::new(EngineVote::new(&vote, Index::new(3).unwrap()), signature)
    }

    fn signature() -> Sig {
        // r = s = 1 is canonical and low.
        let mut bytes = [0; 64];
        bytes[31] = 1;
        bytes[63] = 1;
        Sig(bytes)
    }

    #[test]
    fn messages_survive_the_wire_and_left_over_bytes_do_not() {
        let message = SignedConsensusMsg::Vote(vote(signature()));
        let bytes = EngineCodec.encode(&message).unwrap();
        assert_eq!(decode::<SignedConsensusMsg<Torus>>(&bytes), Ok(message));
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert_eq!(decode::<SignedConsensusMsg<Torus>>(&longer), Err(Malformed::Trailing));
        for len in 0..bytes.len() {
            assert!(decode::<SignedConsensusMsg<Torus>>(&bytes[..len]).is_err(), "cut to {len}");
        }
        let mut other = bytes.to_vec();
        other[0] = 2;
        assert_eq!(decode::<SignedConsensusMsg<Torus>>(&other), Err(Malformed::Version));
    }

    #[test]
    fn a_vote_that_the_vault_refused_has_no_encoding() {
        let message = SignedConsensusMsg::Vote(vote(Sig::ABSENT));
        assert!(EngineCodec.encode(&message).is_err());
        let republished = LivenessMsg::Vote(vote(Sig::ABSENT));
        assert!(EngineCodec.encode(&republished).is_err());
    }

    #[test]
    fn too_many_or_too_large_transactions_are_refused() {
        let many = Part::Transactions(vec![Bytes::new(); MAX_TRANSACTIONS + 1]);
        assert_eq!(decode::<Part>(&encode(&many).unwrap()), Err(Malformed::TooLong));
        let large = Part::Transactions(vec![Bytes::from(vec![0; MAX_TRANSACTION]); 3]);
        assert_eq!(decode::<Part>(&encode(&large).unwrap()), Err(Malformed::TooLong));
        let fine = Part::Transactions(vec![Bytes::from(vec![1; 100]); 5]);
        assert_eq!(decode::<Part>(&encode(&fine).unwrap()), Ok(fine));
    }
}
