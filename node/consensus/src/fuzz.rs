//! The body of the fuzz target `consensus`: every message of the engine's wire and log has one encoding. Compiled for
//! tests and for fuzzing alone, since the codec is nobody else's to call.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a finding is a panic")]

use std::fmt::Debug;

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
use torus_statement::{Index, vote};

use crate::codec::EngineCodec;
use crate::context::{BlockId, EngineProposal, EngineVote, Height, Member, Sig, Torus};
use crate::part::Part;

/// Whether the bytes are a message of the kind that the first of them names.
///
/// # Panics
/// If a message has a second encoding, or one that is not as long as it says.
pub fn body(data: &[u8]) -> bool {
    let Some((kind, bytes)) = data.split_first() else { return false };
    match kind {
        0 => one_form::<SignedConsensusMsg<Torus>>(bytes),
        1 => one_form::<LivenessMsg<Torus>>(bytes),
        2 => one_form::<StreamMessage<Part>>(bytes),
        3 => one_form::<Part>(bytes),
        4 => one_form::<ValidatorProof<Torus>>(bytes),
        5 => one_form::<sync::Status<Torus>>(bytes),
        6 => one_form::<sync::Request<Torus>>(bytes),
        7 => response(bytes),
        8 => one_form::<ProposedValue<Torus>>(bytes),
        9 => one_form::<PolkaCertificate<Torus>>(bytes),
        _ => false,
    }
}

fn one_form<T>(bytes: &[u8]) -> bool
where
    T: Debug,
    EngineCodec: Codec<T>,
    <EngineCodec as Codec<T>>::Error: Debug,
{
    let Ok(message) = EngineCodec.decode(Bytes::copy_from_slice(bytes)) else { return false };
    assert_eq!(EngineCodec.encode(&message).unwrap(), bytes, "a second encoding of {message:?}");
    true
}

fn response(bytes: &[u8]) -> bool {
    let read: Result<sync::Response<Torus>, _> = EngineCodec.decode(Bytes::copy_from_slice(bytes));
    let Ok(message) = read else { return false };
    assert_eq!(EngineCodec.encoded_len(&message).unwrap(), bytes.len());
    one_form::<sync::Response<Torus>>(bytes)
}

/// A message of each kind.
///
/// # Panics
/// Never: they are constants.
pub fn seeds() -> Vec<Vec<u8>> {
    let member = |index| Member(Index::new(index).unwrap());
    let signature = {
        // r = s = 1 is canonical and low.
        let mut bytes = [0; 64];
        (bytes[31], bytes[63]) = (1, 1);
        Sig(bytes)
    };
    let cast = |step, block| {
        let vote = vote::Vote { step, height: 7, round: 2, block };
        SignedVote::<Torus>::new(EngineVote::new(&vote, member(3).0), signature)
    };
    let prevote = || cast(vote::Step::Prevote, None);
    let precommit = || cast(vote::Step::Precommit, Some([9; 32]));
    let proposal = || {
        let proposal = vote::Proposal { height: 7, round: 2, block: [9; 32], polka_round: Some(1) };
        SignedProposal::<Torus>::new(EngineProposal::new(&proposal, member(3).0), signature)
    };
    let polka = || PolkaCertificate::<Torus> {
        height: Height(7),
        round: Round::new(2),
        value_id: BlockId([9; 32]),
        polka_signatures: vec![PolkaSignature::new(member(1), signature), PolkaSignature::new(member(2), signature)],
    };
    let skip = RoundCertificate::<Torus> {
        height: Height(7),
        round: Round::new(2),
        cert_type: RoundCertificateType::Skip,
        round_signatures: vec![
            RoundSignature::new(VoteType::Prevote, NilOrVal::Nil, member(1), signature),
            RoundSignature::new(VoteType::Precommit, NilOrVal::Val(BlockId([9; 32])), member(1), signature),
        ],
    };
    let block = || Part::Block { proposal: proposal(), block: Bytes::from_static(b"block") };
    let decided = sync::RawDecidedValue::<Torus>::new(
        Bytes::from_static(b"block"),
        ExtendedCommitCertificate {
            height: Height(7),
            round: Round::new(2),
            value_id: BlockId([9; 32]),
            commit_signatures: vec![ExtendedCommitSignature::new(member(1), signature, None)],
        },
    );
    let values = sync::ValueResponse::new(Height(7), vec![decided]);
    vec![
        seed(0, &SignedConsensusMsg::Vote(precommit())),
        seed(0, &SignedConsensusMsg::Proposal(proposal())),
        seed(1, &LivenessMsg::Vote(prevote())),
        seed(1, &LivenessMsg::PolkaCertificate(polka())),
        seed(1, &LivenessMsg::SkipRoundCertificate(skip)),
        seed(2, &StreamMessage::new(StreamId::new(Bytes::from_static(&[1; 12])), 3, StreamContent::Data(block()))),
        seed(3, &block()),
        seed(3, &Part::Transactions(vec![Bytes::from_static(b"one"), Bytes::new()])),
        seed(3, &Part::At(7)),
        seed(4, &ValidatorProof::<Torus>::new(vec![2; 33], vec![3; 38], signature)),
        seed(
            5,
            &sync::Status::<Torus> {
                peer_id: PeerId::from_bytes(&[&[0, 36, 8, 1, 18, 32][..], &[5; 32]].concat()).unwrap(),
                tip_height: Height(7),
                history_min_height: Height(1),
            },
        ),
        seed(6, &sync::Request::<Torus>::ValueRequest(sync::ValueRequest::new(Height(3)..=Height(7)))),
        seed(7, &sync::Response::ValueResponse(values)),
        seed(
            8,
            &ProposedValue::<Torus> {
                height: Height(7),
                round: Round::new(2),
                valid_round: Round::Nil,
                proposer: member(3),
                value: BlockId([9; 32]),
                validity: Validity::Valid,
            },
        ),
        seed(9, &polka()),
    ]
}

fn seed<T>(kind: u8, message: &T) -> Vec<u8>
where
    EngineCodec: Codec<T>,
    <EngineCodec as Codec<T>>::Error: Debug,
{
    [&[kind], &EngineCodec.encode(message).unwrap()[..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_has_one_encoding_whatever_byte_of_it_changes() {
        for (number, seed) in seeds().into_iter().enumerate() {
            assert!(body(&seed), "seed {number} is refused");
            for place in 1..seed.len() {
                for change in [1, 0x80, 0xff] {
                    let mut bent = seed.clone();
                    bent[place] ^= change;
                    body(&bent);
                }
                assert!(!body(&seed[..place]), "seed {number} cut to {place}");
            }
        }
    }
}
