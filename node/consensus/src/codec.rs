//! Bytes of the engine's messages, on the wire and in its write-ahead log. Every message begins with a version, has a
//! cap, and leaves nothing over; a vote or proposal without a signature has no encoding.

mod catch_up;
mod parts;
mod votes;

use bytes::Bytes;
use malachitebft_app::streaming::StreamMessage;
use malachitebft_codec::Codec;
use malachitebft_core_consensus::{LivenessMsg, ProposedValue, SignedConsensusMsg};
use malachitebft_core_types::{NilOrVal, PolkaCertificate, Round, ValidatorProof, VoteType};
use malachitebft_sync as sync;
use torus_statement::{Malformed, Reader, Signature, Wire, Writer};

pub(super) use self::catch_up::MAX_SYNCED;
use super::context::{BlockId, Member, Sig, Torus};
use super::part::Part;

/// The version of every message and log entry of this build.
const VERSION: u8 = 1;
/// Most members of a committee.
const MAX_MEMBERS: usize = 30;
/// Most bytes of a message that holds no block.
const MAX_SMALL: usize = 32 << 10;

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

fn count<T>(list: &[T]) -> Result<u32, Malformed> {
    u32::try_from(list.len()).map_err(|_| Malformed::TooLong)
}

#[cfg(test)]
mod tests {
    use malachitebft_core_types::SignedVote;
    use torus_statement::transaction::MAX_TRANSACTION;
    use torus_statement::{Index, vote};

    use super::*;
    use crate::context::EngineVote;
    use crate::part::MAX_TRANSACTIONS;

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
