//! Checks of what was received: each is too long for one call, and gone on with before anything else of its dealing.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use torus_memory::Exhausted;
use torus_sharing::{Budget, Digest, Index, Matrix, MatrixReader};

use crate::combination::Combination;
use crate::instance::{Context, Instance};
use crate::message::Reason;
use crate::points::Search;
use crate::rows::Rows;

/// A check that is not over.
pub(crate) enum Check {
    /// A matrix is parsed: a member's answer, or with rows what the dealer sent.
    Reading { from: Sender, digest: Digest, reader: MatrixReader, rows: Option<Rows> },
    /// The dealer's rows against his matrix.
    Rows { digest: Digest, matrix: Arc<Matrix>, rows: Rows, sum: Box<Combination> },
    /// Members' points against the matrix, for rows that this member has not got.
    Points { digest: Digest, senders: Vec<Index>, search: Search },
}

/// Who sent something. A dealer of another committee has no index among the members.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    Dealer,
    Member(Index),
}

impl Instance {
    /// Goes on with a check until the budget is spent: the same check if it is not over, else what follows from it.
    pub(crate) fn go_on(
        &mut self,
        ctx: &mut Context<'_>,
        check: Check,
        budget: &mut Budget,
    ) -> Result<Option<Check>, Exhausted> {
        match check {
            Check::Reading { from, digest, mut reader, rows } => match reader.read(budget) {
                Ok(None) => Ok(Some(Check::Reading { from, digest, reader, rows })),
                Ok(Some(matrix)) => {
                    budget.spend(matrix.points().len());
                    self.on_read(ctx, from, digest, Arc::new(matrix), rows)
                }
                Err(_) => self.refuse(ctx, from, Reason::Malformed),
            },
            Check::Rows { digest, matrix, rows, mut sum } => match sum.advance(&matrix, budget) {
                None => Ok(Some(Check::Rows { digest, matrix, rows, sum })),
                Some(true) => {
                    budget.spend(matrix.points().len());
                    self.echo(ctx, digest, matrix, rows)
                }
                Some(false) => self.refuse(ctx, Sender::Dealer, Reason::BadRows),
            },
            Check::Points { digest, senders, mut search } => {
                let run = *ctx.run;
                let Some(candidate) = self.existing(digest) else { return self.progress(ctx) };
                let Some(matrix) = candidate.matrix.clone() else { return self.progress(ctx) };
                let points = |member| candidate.points_of(member);
                match search.advance(&run, &matrix, points, ctx.generators, ctx.rng, budget)? {
                    None => Ok(Some(Check::Points { digest, senders, search })),
                    Some(bad) => {
                        candidate.checked(&senders, &bad);
                        bad.into_iter().for_each(|from| ctx.fault(from, Reason::BadPoints));
                        budget.spend(matrix.points().len());
                        self.progress(ctx)
                    }
                }
            }
        }
    }

    /// A matrix that was sent or asked for is parsed: it must be that of its digest.
    fn on_read(
        &mut self,
        ctx: &mut Context<'_>,
        from: Sender,
        digest: Digest,
        matrix: Arc<Matrix>,
        rows: Option<Rows>,
    ) -> Result<Option<Check>, Exhausted> {
        if matrix.digest(&ctx.run.sid(self.dealer)) != digest {
            return self.refuse(ctx, from, Reason::WrongDigest);
        }
        // Whoever passes a matrix on has looked at this, too.
        if !self.shares_what_it_should(&matrix) {
            return self.refuse(ctx, from, Reason::WrongConstant);
        }
        match rows {
            Some(rows) => {
                let sum = Box::new(rows.combine(ctx.run, ctx.generators, ctx.rng)?);
                Ok(Some(Check::Rows { digest, matrix, rows, sum }))
            }
            None => {
                self.candidate(ctx.run, digest).matrix = Some(matrix);
                self.progress(ctx)
            }
        }
    }

    fn refuse(&mut self, ctx: &mut Context<'_>, from: Sender, reason: Reason) -> Result<Option<Check>, Exhausted> {
        match from {
            Sender::Dealer => ctx.dealer_fault(self.dealer, reason),
            Sender::Member(from) => ctx.fault(from, reason),
        }
        self.progress(ctx)
    }
}
