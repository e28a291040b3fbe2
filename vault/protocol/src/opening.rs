//! After the qualified set is fixed: the sum of its dealings, its sealing, and the opening of the public keys.

use alloc::vec::Vec;

use k256::Scalar;
use k256::U256;
use k256::elliptic_curve::ops::Reduce;
use rand_core::CryptoRngCore;
use sha2::{Digest as _, Sha256};
use torus_memory::{Exhausted, apart};
use torus_sharing::{
    BatchProof, Budget, Claim, CommitmentSum, Index, Interpolation, Matrix, OpeningError, Point, PublishedKeys,
    QualifiedSet, ShareCommitments, ShareVector, normalise,
};
use zeroize::{Zeroize, Zeroizing};

use crate::message::Shares;
use crate::rows::Rows;
use crate::run::Run;
use crate::secret::{SecretScalars, write_scalar};
use crate::table::Generators;

/// This member's shares of the batch and what others have published.
pub(crate) struct Opening {
    qualified: QualifiedSet,
    shares: SecretScalars,
    blinds: SecretScalars,
    own: Vec<Point>,
    commitments: ShareCommitments,
    verified: Vec<(Index, Vec<Point>)>,
}

/// The way to an [`Opening`], in pieces: s_i = sum over Q of f^d(i, 0), s'_i likewise, S_i = s_i G, V_i from the matrices.
pub(crate) struct Summing {
    qualified: QualifiedSet,
    /// Dealings of the set that are added.
    added: usize,
    shares: SecretScalars,
    blinds: SecretScalars,
    sum: CommitmentSum,
    own: Vec<Point>,
}

impl Summing {
    pub(crate) fn new(run: &Run, qualified: QualifiedSet) -> Result<Self, Exhausted> {
        let zeros = || SecretScalars::zeros(run.pool(), run.keys());
        let (shares, blinds) = (zeros()?, zeros()?);
        let (sum, own) = (CommitmentSum::new(run.sizes(), run.keys()), Vec::with_capacity(run.keys()));
        Ok(Self { qualified, added: 0, shares, blinds, sum, own })
    }

    /// Sums until the budget is spent; the opening once it is whole. `dealing` gives the rows and the matrix of each
    /// dealer in the set; after an error the sum is of no use.
    pub(crate) fn advance<'a>(
        &mut self,
        run: &Run,
        dealing: impl Fn(Index) -> Option<(&'a Rows, &'a Matrix)>,
        generators: &Generators,
        budget: &mut Budget,
    ) -> Result<Option<Opening>, OpeningError> {
        for (dealer, _) in self.qualified.dealings().iter().skip(self.added) {
            if budget.is_spent() {
                return Ok(None);
            }
            let (rows, matrix) = dealing(*dealer).ok_or(OpeningError::Shape)?;
            apart(|| {
                self.shares.as_mut_slice().iter_mut().zip(rows.shares()).for_each(|(sum, part)| *sum += part);
                self.blinds.as_mut_slice().iter_mut().zip(rows.blinds()).for_each(|(sum, part)| *sum += part);
            });
            self.sum.add(matrix, budget)?;
            self.added += 1;
        }
        while self.own.len() < self.shares.len() {
            if budget.is_spent() {
                return Ok(None);
            }
            let products = generators.next_products(self.shares.as_slice(), self.own.len(), budget);
            for point in normalise(&products) {
                self.own.push(Point::from_affine(point).map_err(|_| OpeningError::Identity)?);
            }
        }
        let Some(commitments) = self.sum.advance(budget)? else { return Ok(None) };
        let take = |scalars: &mut SecretScalars| core::mem::replace(scalars, SecretScalars::none(run.pool()));
        Ok(Some(Opening {
            qualified: self.qualified.clone(),
            shares: take(&mut self.shares),
            blinds: take(&mut self.blinds),
            own: core::mem::take(&mut self.own),
            commitments,
            verified: Vec::new(),
        }))
    }
}

impl Opening {
    /// A copy for the caller to seal.
    pub(crate) fn shares(&self, run: &Run) -> Result<Shares, Exhausted> {
        let mut scalars = SecretScalars::zeros(run.pool(), self.shares.len())?;
        apart(|| {
            for (to, from) in scalars.as_mut_slice().iter_mut().zip(self.shares.as_slice()) {
                *to = *from;
            }
        });
        Ok(Shares { scalars, commitments: self.own.clone() })
    }

    /// S_i with one proof of knowledge for the batch; counted as the first verified vector.
    pub(crate) fn publish(
        &mut self,
        run: &Run,
        generators: &Generators,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Option<Vec<u8>>, Exhausted> {
        let v1 = apart(|| self.nonce(run, 1, rng))?;
        let v2 = apart(|| self.nonce(run, 2, rng))?;
        Ok(apart(|| self.publish_with(run, generators, &v1, &v2)))
    }

    fn publish_with(
        &mut self,
        run: &Run,
        generators: &Generators,
        v1: &SecretScalars,
        v2: &SecretScalars,
    ) -> Option<Vec<u8>> {
        let t1 = Point::new(&generators.mul_g(first(v1)?)).ok()?;
        let t2 = Point::new(&generators.mul_h(first(v2)?)).ok()?;
        let challenges = self.claim(run, run.me(), &self.own).challenges(&t1, &t2)?;
        let respond = |nonce: &Scalar, secrets: &SecretScalars| {
            secrets.as_slice().iter().zip(&challenges).fold(*nonce, |sum, (secret, e)| sum - *e * secret)
        };
        let proof = BatchProof { t1, t2, u1: respond(first(v1)?, &self.shares), u2: respond(first(v2)?, &self.blinds) };
        let bytes = ShareVector { points: self.own.clone(), proof }.to_bytes();
        if !self.verified.iter().any(|(member, _)| *member == run.me()) {
            self.verified.push((run.me(), self.own.clone()));
        }
        Some(bytes)
    }

    /// Counts another member's vector if its proof holds for it, this session and this set.
    pub(crate) fn verify(&mut self, run: &Run, from: Index, body: &[u8]) -> bool {
        let Ok(vector) = ShareVector::parse(run.keys(), body) else { return false };
        if !vector.verify(&self.claim(run, from, &vector.points)) {
            return false;
        }
        if self.verified.len() < run.sizes().k() && !self.verified.iter().any(|(member, _)| *member == from) {
            self.verified.push((from, vector.points));
        }
        true
    }

    /// The way to PK and all S_j, once k vectors are verified.
    pub(crate) fn keys(&self, run: &Run) -> Option<Result<Interpolation, OpeningError>> {
        if self.verified.len() < run.sizes().k() {
            return None;
        }
        let mut vectors = self.verified.clone();
        vectors.sort_by_key(|(member, _)| *member);
        vectors.truncate(run.sizes().k());
        Some(Interpolation::new(run.sizes(), vectors))
    }

    /// Whether certified keys have the batch's shape and this member's own commitments.
    pub(crate) fn matches(&self, run: &Run, keys: &PublishedKeys) -> bool {
        keys.keys.len() == run.keys()
            && keys.keys.iter().all(|key| key.commitments.len() == run.sizes().n())
            && keys.of(run.me()).zip(&self.own).all(|(certified, own)| certified == Some(own))
    }

    fn claim<'a>(&'a self, run: &'a Run, index: Index, vector: &'a [Point]) -> Claim<'a> {
        Claim { base: run.base(), index, qualified: &self.qualified, commitments: self.commitments.of(index), vector }
    }

    /// Hedged: from randomness, every secret and the statement, so that a repeated generator state repeats no nonce
    /// under another challenge.
    fn nonce(&self, run: &Run, which: u8, rng: &mut dyn CryptoRngCore) -> Result<SecretScalars, Exhausted> {
        let mut seed = Zeroizing::new([0u8; 32]);
        rng.fill_bytes(seed.as_mut());
        let mut hash = Sha256::new();
        hash.update(b"torus/opening-nonce/v1\0");
        hash.update([which]);
        hash.update(seed.as_slice());
        let mut bytes = Zeroizing::new([0u8; 32]);
        for secret in self.shares.as_slice().iter().chain(self.blinds.as_slice()) {
            write_scalar(secret, bytes.as_mut());
            hash.update(bytes.as_slice());
        }
        hash.update(run.base());
        hash.update([run.me().get()]);
        for (dealer, digest) in self.qualified.dealings() {
            hash.update([dealer.get()]);
            hash.update(digest);
        }
        let mut digest = hash.finalize();
        let mut nonce = SecretScalars::zeros(run.pool(), 1)?;
        if let Some(scalar) = nonce.as_mut_slice().first_mut() {
            // The bias of one reduction, 2^-128, is below any use of two nonces a batch.
            *scalar = <Scalar as Reduce<U256>>::reduce_bytes(&digest);
        }
        digest.as_mut_slice().zeroize();
        Ok(nonce)
    }
}

fn first(scalars: &SecretScalars) -> Option<&Scalar> {
    scalars.as_slice().first()
}
