//! After the qualified set is fixed: the sum of its dealings, its sealing, and the opening of the public keys.

use alloc::vec::Vec;

use k256::Scalar;
use k256::elliptic_curve::ops::Reduce;
use k256::{ProjectivePoint, U256};
use rand_core::CryptoRngCore;
use sha2::{Digest as _, Sha256};
use torus_sharing::{
    BatchProof, Claim, Index, Matrix, OpeningError, Point, PublishedKeys, QualifiedSet, ShareCommitments, ShareVector,
    interpolate_keys, normalise,
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

impl Opening {
    /// s_i = sum over Q of f^d(i, 0), s'_i likewise, S_i = s_i G, V_i from the matrices.
    pub(crate) fn new(
        run: &Run,
        generators: &Generators,
        qualified: &QualifiedSet,
        dealings: &[(&Rows, &Matrix)],
    ) -> Result<Self, OpeningError> {
        let (mut shares, mut blinds) = (SecretScalars::zeros(run.keys()), SecretScalars::zeros(run.keys()));
        for (rows, _) in dealings {
            let sums = shares.as_mut_slice().iter_mut().zip(blinds.as_mut_slice());
            for ((share, blind), (part, part_blind)) in sums.zip(rows.shares()) {
                *share += part;
                *blind += part_blind;
            }
        }
        let matrices: Vec<&Matrix> = dealings.iter().map(|(_, matrix)| *matrix).collect();
        let commitments = ShareCommitments::sum(run.sizes(), &matrices)?;
        let products: Vec<ProjectivePoint> = shares.as_slice().iter().map(|s| generators.mul_g(s)).collect();
        let own = normalise(&products).into_iter().map(Point::from_affine).collect::<Result<_, _>>();
        Ok(Self {
            qualified: qualified.clone(),
            shares,
            blinds,
            own: own.map_err(|_| OpeningError::Identity)?,
            commitments,
            verified: Vec::new(),
        })
    }

    /// A copy for the caller to seal.
    pub(crate) fn shares(&self) -> Shares {
        let mut scalars = SecretScalars::zeros(self.shares.len());
        for (to, from) in scalars.as_mut_slice().iter_mut().zip(self.shares.as_slice()) {
            *to = *from;
        }
        Shares { scalars, commitments: self.own.clone() }
    }

    /// S_i with one proof of knowledge for the batch; counted as the first verified vector.
    pub(crate) fn publish(
        &mut self,
        run: &Run,
        generators: &Generators,
        rng: &mut dyn CryptoRngCore,
    ) -> Option<Vec<u8>> {
        let v1 = self.nonce(run, 1, rng);
        let v2 = self.nonce(run, 2, rng);
        let t1 = Point::new(&generators.mul_g(first(&v1)?)).ok()?;
        let t2 = Point::new(&generators.mul_h(first(&v2)?)).ok()?;
        let challenges = self.claim(run, run.me(), &self.own).challenges(&t1, &t2)?;
        let respond = |nonce: &Scalar, secrets: &SecretScalars| {
            secrets.as_slice().iter().zip(&challenges).fold(*nonce, |sum, (secret, e)| sum - *e * secret)
        };
        let proof =
            BatchProof { t1, t2, u1: respond(first(&v1)?, &self.shares), u2: respond(first(&v2)?, &self.blinds) };
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

    /// PK and all S_j once k vectors are verified.
    pub(crate) fn keys(&mut self, run: &Run) -> Option<Result<PublishedKeys, OpeningError>> {
        if self.verified.len() < run.sizes().k() {
            return None;
        }
        self.verified.sort_by_key(|(member, _)| *member);
        let vectors: Vec<(Index, &[Point])> =
            self.verified.iter().take(run.sizes().k()).map(|(member, vector)| (*member, vector.as_slice())).collect();
        Some(interpolate_keys(run.sizes(), &vectors))
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
    fn nonce(&self, run: &Run, which: u8, rng: &mut dyn CryptoRngCore) -> SecretScalars {
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
        let mut nonce = SecretScalars::zeros(1);
        if let Some(scalar) = nonce.as_mut_slice().first_mut() {
            // The bias of one reduction, 2^-128, is below any use of two nonces a batch.
            *scalar = <Scalar as Reduce<U256>>::reduce_bytes(&digest);
        }
        digest.as_mut_slice().zeroize();
        nonce
    }
}

fn first(scalars: &SecretScalars) -> Option<&Scalar> {
    scalars.as_slice().first()
}
