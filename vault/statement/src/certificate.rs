//! Commit certificates: a quorum of precommits for one header, verified without the engine.

use alloc::vec::Vec;

use torus_sharing::Index;

use crate::block::Header;
use crate::codec::{Malformed, Reader, Wire, Writer};
use crate::config::EpochConfig;
use crate::hash::Hash;
use crate::key::Signature;
use crate::vote::{Step, Vote};

/// The precommits that decided a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitCertificate {
    /// The round in which it was decided.
    pub round: u32,
    /// Precommits, in rising order of the voters.
    pub signatures: Vec<(Index, Signature)>,
}

/// A header together with its certificate, as it travels. Untrusted until `verify`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHeader {
    /// The header.
    pub header: Header,
    /// Its certificate.
    pub certificate: CommitCertificate,
}

/// A header that a quorum of its epoch's validators precommitted. Only `SignedHeader::verify` makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    header: Header,
    hash: Hash,
}

/// Why a header is not certified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCertified {
    /// The header names another chain, epoch or config than the one that it is verified under.
    #[error("the header is of another chain, epoch or config")]
    Config,
    /// Fewer signers than the engine's quorum.
    #[error("too few signatures")]
    Quorum,
    /// Voters are not in strictly rising order: one might count twice.
    #[error("signers are not in rising order")]
    Order,
    /// A voter is no member.
    #[error("a signer is no member")]
    Stranger,
    /// A signature does not verify.
    #[error("a signature does not verify")]
    Signature,
}

impl SignedHeader {
    /// Checks the quorum's signatures under the config of the header's epoch. The caller's obligation: `config` is one
    /// that it trusts (pinned, or reached from a pinned one through certified headers).
    pub fn verify(&self, config: &EpochConfig) -> Result<Certified, NotCertified> {
        let (header, committee) = (&self.header, config.committee());
        if header.chain != committee.chain || header.epoch != committee.epoch || header.config != config.hash() {
            return Err(NotCertified::Config);
        }
        let signatures = &self.certificate.signatures;
        if signatures.len() < config.sizes().engine_quorum() {
            return Err(NotCertified::Quorum);
        }
        if !signatures.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err(NotCertified::Order);
        }
        let hash = header.hash();
        let preimage =
            Vote { step: Step::Precommit, height: header.height, round: self.certificate.round, block: Some(hash) }
                .preimage(config);
        for (voter, signature) in signatures {
            let keys = config.member(*voter).ok_or(NotCertified::Stranger)?;
            if !signature.verifies(&keys.consensus, &preimage) {
                return Err(NotCertified::Signature);
            }
        }
        Ok(Certified { header: header.clone(), hash })
    }
}

impl Certified {
    /// The header.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The header's hash.
    pub const fn hash(&self) -> Hash {
        self.hash
    }
}

impl Wire for CommitCertificate {
    fn write(&self, w: &mut Writer) {
        w.u32(self.round).list(&self.signatures, |w, (voter, signature)| {
            w.index(*voter);
            signature.write(w);
        });
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { round: r.u32()?, signatures: r.list(30, |r| Ok((r.index()?, Signature::read(r)?)))? })
    }
}

impl Wire for SignedHeader {
    fn write(&self, w: &mut Writer) {
        self.header.write(w);
        self.certificate.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { header: Header::read(r)?, certificate: CommitCertificate::read(r)? })
    }
}
