//! What members send beside votes: blocks, transactions, where they are, and the proof that a peer is a validator.

use bytes::Bytes;
use malachitebft_app::streaming::{StreamContent, StreamId, StreamMessage};
use malachitebft_core_types::{SignedProposal, ValidatorProof};
use torus_statement::block::MAX_BLOCK;
use torus_statement::transaction::MAX_TRANSACTION;
use torus_statement::{Malformed, Reader, Writer};

use super::Coded;
use crate::context::{Sig, Torus};
use crate::part::{MAX_PART, MAX_TRANSACTIONS, MAX_TRANSACTIONS_BYTES, Part};

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
