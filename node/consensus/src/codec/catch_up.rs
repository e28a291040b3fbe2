//! What a node that catches up asks for and gets.

use bytes::Bytes;
use malachitebft_app::types::PeerId;
use malachitebft_codec::HasEncodedLen;
use malachitebft_core_types::{ExtendedCommitCertificate, ExtendedCommitSignature, Round};
use malachitebft_sync as sync;
use torus_statement::block::MAX_BLOCK;
use torus_statement::{Malformed, Reader, Writer};

use super::{Coded, EngineCodec, MAX_MEMBERS, count, encode};
use crate::context::{BlockId, Height, Member, Sig, Torus};

/// Most blocks of one answer to a node that catches up.
pub(crate) const MAX_SYNCED: usize = 16;
/// Most bytes of such an answer.
const MAX_RESPONSE: usize = 10 << 20;

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

impl HasEncodedLen<sync::Response<Torus>> for EngineCodec {
    fn encoded_len(&self, message: &sync::Response<Torus>) -> Result<usize, Malformed> {
        encode(message).map(|bytes| bytes.len())
    }
}
