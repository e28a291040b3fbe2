//! Votes, proposals and what is made of them: on the wire, and in the engine's log.

use malachitebft_core_consensus::{LivenessMsg, ProposedValue, SignedConsensusMsg};
use malachitebft_core_types::{
    NilOrVal, PolkaCertificate, PolkaSignature, Round, RoundCertificate, RoundCertificateType, RoundSignature,
    SignedProposal, SignedVote, Validity, VoteType,
};
use torus_statement::{Malformed, Reader, Wire, Writer, vote};

use super::{Coded, MAX_MEMBERS, count};
use crate::context::{BlockId, EngineProposal, EngineVote, Height, Member, Sig, Torus};

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
