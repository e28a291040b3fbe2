//! A dealer at work: commits piece by piece, then writes each member's message. Nothing leaves before all is written.

use alloc::sync::Arc;
use alloc::vec::Vec;

use rand_core::CryptoRngCore;
use torus_memory::Exhausted;
use torus_sharing::{Budget, Digest, Matrix, MatrixWriter};

use crate::body::Body;
use crate::dealing::Dealing;
use crate::message::{Kind, Output};
use crate::rows::Rows;
use crate::run::Run;
use crate::secret::SecretBytes;
use crate::table::{Generators, PIECE, PRODUCT};

/// A dealing in the making.
pub(crate) struct Deal {
    dealing: Dealing,
    writer: Option<MatrixWriter>,
    whole: Option<(Arc<Matrix>, Digest)>,
    sends: Vec<Output>,
}

/// What has become of it.
pub(crate) enum Dealt {
    /// The budget is spent.
    Unfinished,
    /// A commitment is the identity, which needs the logarithm of H: this member does not deal.
    Never,
    /// The messages to the others, and the commitment.
    Whole { sends: Vec<Output>, digest: Digest, matrix: Arc<Matrix> },
}

impl Deal {
    /// Draws the polynomials: all the randomness of a dealing.
    pub(crate) fn new(run: Run, rng: &mut dyn CryptoRngCore) -> Result<Self, Exhausted> {
        Ok(Self::begin(&run, Dealing::random(run, rng)?))
    }

    /// Of shares that are handed over; `None` if they are no shares of this batch.
    pub(crate) fn of(run: Run, shares: &SecretBytes, rng: &mut dyn CryptoRngCore) -> Result<Option<Self>, Exhausted> {
        Ok(Dealing::of(run, shares, rng)?.map(|dealing| Self::begin(&run, dealing)))
    }

    fn begin(run: &Run, dealing: Dealing) -> Self {
        let writer = MatrixWriter::new(run.sizes(), run.keys()).ok();
        Self { dealing, writer, whole: None, sends: Vec::new() }
    }

    pub(crate) fn advance(
        &mut self,
        run: &Run,
        generators: &Generators,
        budget: &mut Budget,
    ) -> Result<Dealt, Exhausted> {
        let me = run.me();
        while self.whole.is_none() {
            if budget.is_spent() {
                return Ok(Dealt::Unfinished);
            }
            let Some(writer) = self.writer.as_mut() else { return Ok(Dealt::Never) };
            let points = self.dealing.commit(generators, writer.len(), PIECE);
            budget.spend(points.len() * run.width() * PRODUCT);
            if writer.push(&points).is_err() {
                return Ok(Dealt::Never);
            }
            if points.len() < PIECE {
                let Some(Ok(matrix)) = self.writer.take().map(MatrixWriter::finish) else { return Ok(Dealt::Never) };
                budget.spend(matrix.points().len());
                let digest = matrix.digest(&run.sid(me));
                self.whole = Some((Arc::new(matrix), digest));
            }
        }
        let Some((matrix, digest)) = &self.whole else { return Ok(Dealt::Never) };
        for to in run.others().skip(self.sends.len()) {
            if budget.is_spent() {
                return Ok(Dealt::Unfinished);
            }
            budget.spend(matrix.points().len() / 2);
            let mut rows = SecretBytes::zeros(run.pool(), Rows::byte_length(run))?;
            self.dealing.rows_for(to)?.write(rows.as_mut_slice());
            let body = Body::with_matrix(matrix.clone(), rows);
            self.sends.push(Output::Send { to, dealer: me, kind: Kind::Send, digest: *digest, body });
        }
        budget.spend(matrix.points().len());
        let sends = core::mem::take(&mut self.sends);
        Ok(Dealt::Whole { sends, digest: *digest, matrix: matrix.clone() })
    }

    /// What a dealer who receives as well would send itself.
    pub(crate) fn own(&self, run: &Run) -> Result<Rows, Exhausted> {
        self.dealing.rows_for(run.me())
    }
}
