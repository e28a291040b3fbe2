//! A dealer at work: commits piece by piece, then writes each member's message. Nothing leaves before all is written.

use alloc::sync::Arc;
use alloc::vec::Vec;

use rand_core::CryptoRngCore;
use torus_sharing::{Budget, Digest, Matrix, MatrixWriter};

use crate::dealing::Dealing;
use crate::message::{Kind, Output};
use crate::rows::Rows;
use crate::run::Run;
use crate::secret::SecretBytes;
use crate::table::Generators;

/// Commitments that are made without a look at the budget, and what one costs, in additions of points.
const PIECE: usize = 16;
const COMMITMENT: usize = 128;

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
    /// The messages to the others, and what the dealer would send itself.
    Whole { sends: Vec<Output>, digest: Digest, matrix: Arc<Matrix>, own: Rows },
}

impl Deal {
    /// Draws the polynomials: all the randomness of a dealing.
    pub(crate) fn new(run: Run, rng: &mut dyn CryptoRngCore) -> Self {
        let writer = MatrixWriter::new(run.sizes(), run.keys()).ok();
        Self { dealing: Dealing::random(run, rng), writer, whole: None, sends: Vec::new() }
    }

    pub(crate) fn advance(&mut self, run: &Run, generators: &Generators, budget: &mut Budget) -> Dealt {
        let me = run.me();
        while self.whole.is_none() {
            if budget.is_spent() {
                return Dealt::Unfinished;
            }
            let Some(writer) = self.writer.as_mut() else { return Dealt::Never };
            let points = self.dealing.commit(generators, writer.len(), PIECE);
            budget.spend(points.len() * COMMITMENT);
            if writer.push(&points).is_err() {
                return Dealt::Never;
            }
            if points.len() < PIECE {
                let Some(Ok(matrix)) = self.writer.take().map(MatrixWriter::finish) else { return Dealt::Never };
                budget.spend(matrix.points().len());
                let digest = matrix.digest(&run.sid(me));
                self.whole = Some((Arc::new(matrix), digest));
            }
        }
        let Some((matrix, digest)) = &self.whole else { return Dealt::Never };
        for to in run.others().skip(self.sends.len()) {
            if budget.is_spent() {
                return Dealt::Unfinished;
            }
            budget.spend(matrix.points().len() / 2);
            let body = send_body(run, matrix, &self.dealing.rows_for(to));
            self.sends.push(Output::Send { to, dealer: me, kind: Kind::Send, digest: *digest, body });
        }
        budget.spend(matrix.points().len());
        let own: Rows = self.dealing.rows_for(me);
        Dealt::Whole { sends: core::mem::take(&mut self.sends), digest: *digest, matrix: matrix.clone(), own }
    }
}

fn send_body(run: &Run, matrix: &Matrix, rows: &Rows) -> SecretBytes {
    let length = matrix.as_bytes().len();
    let mut body = SecretBytes::zeros(length + Rows::byte_length(run));
    if let Some((first, second)) = body.as_mut_slice().split_at_mut_checked(length) {
        first.copy_from_slice(matrix.as_bytes());
        rows.write(second);
    }
    body
}
