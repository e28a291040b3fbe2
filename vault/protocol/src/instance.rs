//! One dealing as one member sees it: the AVSS of Cachin et al. 2002, section 3.3, with the one quorum q.
//!
//! Echo threshold q, amplification at k readies, Shared at q readies. With rows of its own a member checks others'
//! points in the field; without, it fetches the matrix by digest, checks points on the curve and interpolates. It needs
//! nothing from the dealer and blames nobody.

use alloc::sync::Arc;
use alloc::vec::Vec;

use rand_core::CryptoRngCore;
use torus_memory::Exhausted;
use torus_sharing::{Digest, Index, Matrix, MatrixReader, Point};

use crate::body::Body;
use crate::candidate::{Candidate, Members, Vote};
use crate::check::{Check, Sender};
use crate::message::{Kind, Output, Promise, Reason, Record};
use crate::points::Search;
use crate::rows::Rows;
use crate::run::Run;
use crate::secret::SecretBytes;
use crate::table::Generators;

/// A request is answered so often per member and dealing: its restarts are few, a flood is endless.
const ANSWERS: u8 = 8;
const WANT_MATRIX: u8 = 1;
const WANT_POINTS: u8 = 2;

/// Why a message did nothing.
pub(crate) enum Refused {
    /// It breaks a rule.
    Rule(Reason),
    /// There is no memory for what it says.
    Memory(Exhausted),
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self::Rule(reason)
    }
}

impl From<Exhausted> for Refused {
    fn from(exhausted: Exhausted) -> Self {
        Self::Memory(exhausted)
    }
}

/// What every dealing of a participant shares.
pub(crate) struct Context<'a> {
    pub(crate) run: &'a Run,
    pub(crate) generators: &'a Generators,
    pub(crate) rng: &'a mut dyn CryptoRngCore,
    pub(crate) out: Vec<Output>,
}

impl Context<'_> {
    pub(crate) fn fault(&mut self, from: Index, reason: Reason) {
        self.out.push(Output::Fault { from, reason });
    }

    pub(crate) fn dealer_fault(&mut self, dealer: Index, reason: Reason) {
        let hand_over = self.run.is_hand_over();
        self.out.push(if hand_over {
            Output::DealerFault { dealer, reason }
        } else {
            Output::Fault { from: dealer, reason }
        });
    }
}

/// The state of one dealing.
pub(crate) struct Instance {
    pub(crate) dealer: Index,
    /// What the dealer has to share, if that was committed to before: one point for each key.
    constants: Option<Vec<Point>>,
    /// Whether this member may echo and become ready; after a restart it may not, except where it had promised.
    takes_part: bool,
    sent: bool,
    ready: bool,
    shared: bool,
    echo_seen: Members,
    ready_seen: Members,
    qualified: Option<Digest>,
    /// At most one digest per member's Echo and one per its Ready, one from the dealer's Send and the log's.
    candidates: Vec<Candidate>,
    answered: Vec<u8>,
}

impl Instance {
    pub(crate) fn new(run: &Run, dealer: Index, constants: Option<Vec<Point>>, takes_part: bool) -> Self {
        Self {
            dealer,
            constants,
            takes_part,
            sent: false,
            ready: false,
            shared: false,
            echo_seen: Members::default(),
            ready_seen: Members::default(),
            qualified: None,
            candidates: Vec::new(),
            answered: run.sizes().members().map(|_| 0).collect(),
        }
    }

    /// This member's own dealing: what it would send itself.
    pub(crate) fn deal(
        &mut self,
        ctx: &mut Context<'_>,
        digest: Digest,
        matrix: Arc<Matrix>,
        rows: Rows,
    ) -> Result<Option<Check>, Exhausted> {
        self.sent = true;
        self.echo(ctx, digest, matrix, rows)
    }

    /// Goes on from a promise: the Ready it stands for is repeated.
    pub(crate) fn resume(&mut self, ctx: &mut Context<'_>, promise: Promise) -> Result<(), Exhausted> {
        let Some(rows) = Rows::parse(ctx.run, promise.rows.as_slice())? else { return Ok(()) };
        if !self.shares_what_it_should(&promise.matrix) {
            ctx.dealer_fault(self.dealer, Reason::WrongConstant);
            return Ok(());
        }
        self.takes_part = true;
        // Whether it echoed before is unknown here: it does not again, nor does it accept a Send.
        self.sent = true;
        let candidate = self.candidate(ctx.run, promise.digest);
        candidate.matrix = Some(promise.matrix);
        candidate.hold(ctx.run, rows)?;
        self.send_ready(ctx, promise.digest)
    }

    /// A message of an authenticated member other than this one. What comes back is to be gone on with before anything
    /// else is given to this dealing.
    pub(crate) fn handle(
        &mut self,
        ctx: &mut Context<'_>,
        from: Index,
        kind: Kind,
        digest: Digest,
        body: &[u8],
    ) -> Result<Option<Check>, Exhausted> {
        let result = match kind {
            Kind::Send if ctx.run.is_hand_over() || from != self.dealer => Err(Reason::NotTheDealer.into()),
            Kind::Send => self.on_send(ctx, digest, body),
            Kind::Echo => self.on_vote(ctx, from, Vote::Echo, digest, body).map(|()| None),
            Kind::Ready => self.on_vote(ctx, from, Vote::Ready, digest, body).map(|()| None),
            Kind::Need => self.on_need(ctx, from, digest, body).map(|()| None),
            Kind::Matrix => self.on_matrix(ctx, from, digest, body),
            Kind::Points => self.on_points(ctx, from, digest, body).map(|()| None),
        };
        match result {
            Ok(None) => self.progress(ctx),
            Ok(check) => Ok(check),
            Err(Refused::Memory(exhausted)) => Err(exhausted),
            Err(Refused::Rule(reason)) => {
                ctx.fault(from, reason);
                self.progress(ctx)
            }
        }
    }

    /// What the dealer sends, if he is a member of another committee; as `handle` in what comes back.
    pub(crate) fn on_dealing(
        &mut self,
        ctx: &mut Context<'_>,
        digest: Digest,
        body: &[u8],
    ) -> Result<Option<Check>, Exhausted> {
        match self.on_send(ctx, digest, body) {
            Ok(None) => self.progress(ctx),
            Ok(check) => Ok(check),
            Err(Refused::Memory(exhausted)) => Err(exhausted),
            Err(Refused::Rule(reason)) => {
                ctx.dealer_fault(self.dealer, reason);
                self.progress(ctx)
            }
        }
    }

    /// Whether a matrix commits to what the dealer has to share.
    pub(crate) fn shares_what_it_should(&self, matrix: &Matrix) -> bool {
        self.constants.as_ref().is_none_or(|known| matrix.constants().eq(known.iter().map(Point::affine)))
    }

    /// The log qualified this dealing with this digest: other digests are forgotten, the rows are fetched if missing.
    pub(crate) fn qualify(&mut self, ctx: &mut Context<'_>, digest: Digest) -> Result<Option<Check>, Exhausted> {
        self.qualified = Some(digest);
        self.candidates.retain(|candidate| candidate.digest == digest);
        self.candidate(ctx.run, digest);
        self.progress(ctx)
    }

    /// The qualified dealing's rows and matrix, once complete.
    pub(crate) fn complete(&self) -> Option<(&Rows, &Arc<Matrix>)> {
        let digest = self.qualified?;
        let candidate = self.candidates.iter().find(|candidate| candidate.digest == digest)?;
        Some((candidate.rows()?, candidate.matrix.as_ref()?))
    }

    fn on_send(&mut self, ctx: &mut Context<'_>, digest: Digest, body: &[u8]) -> Result<Option<Check>, Refused> {
        // The first counts, valid or not; a restarted member waits for the others' points.
        if self.sent || !self.takes_part {
            return Ok(None);
        }
        self.sent = true;
        let run = ctx.run;
        let length = Matrix::byte_length(run.sizes(), run.keys());
        let (matrix, rows) = body.split_at_checked(length).ok_or(Reason::Malformed)?;
        let reader = MatrixReader::new(run.sizes(), run.keys(), matrix.to_vec()).map_err(|_| Reason::Malformed)?;
        let rows = Rows::parse(run, rows)?.ok_or(Reason::Malformed)?;
        Ok(Some(Check::Reading { from: Sender::Dealer, digest, reader, rows: Some(rows) }))
    }

    pub(crate) fn echo(
        &mut self,
        ctx: &mut Context<'_>,
        digest: Digest,
        matrix: Arc<Matrix>,
        rows: Rows,
    ) -> Result<Option<Check>, Exhausted> {
        let run = *ctx.run;
        let dealer = self.dealer;
        if self.qualified.is_some_and(|qualified| qualified != digest) {
            return self.progress(ctx);
        }
        let candidate = self.candidate(&run, digest);
        candidate.matrix = Some(matrix);
        if candidate.rows().is_none() {
            let refused = candidate.hold(&run, rows)?;
            refused.into_iter().for_each(|from| ctx.fault(from, Reason::BadPoints));
        }
        let candidate = self.candidate(&run, digest);
        ctx.out.push(Output::Persist(Record::Echoed { dealer, digest }));
        candidate.echoes.insert(run.me());
        send_points(ctx, candidate, dealer, Kind::Echo)?;
        self.echo_seen.insert(run.me());
        self.progress(ctx)
    }

    fn on_vote(
        &mut self,
        ctx: &mut Context<'_>,
        from: Index,
        vote: Vote,
        digest: Digest,
        body: &[u8],
    ) -> Result<(), Refused> {
        let seen = if vote == Vote::Echo { &mut self.echo_seen } else { &mut self.ready_seen };
        if !seen.insert(from) {
            // A repeated Ready comes from a member that restarted, and may have lost our question.
            if let Some(candidate) = self.existing(digest).filter(|c| vote == Vote::Ready && c.rows().is_none()) {
                candidate.asked_matrix.remove(from);
                candidate.asked_points.remove(from);
            }
            return Ok(());
        }
        if self.qualified.is_some_and(|qualified| qualified != digest) {
            return Ok(());
        }
        self.candidate(ctx.run, digest).add(ctx.run, from, vote, body)
    }

    fn on_need(&mut self, ctx: &mut Context<'_>, from: Index, digest: Digest, body: &[u8]) -> Result<(), Refused> {
        let [wanted @ 1..=3] = body else { return Err(Reason::Malformed.into()) };
        let dealer = self.dealer;
        let answered = self.answered.get_mut(from.slot()).ok_or(Reason::Outside)?;
        let Some(candidate) = self.candidates.iter_mut().find(|candidate| candidate.digest == digest) else {
            return Ok(());
        };
        if *answered >= ANSWERS {
            return Err(Reason::Flood.into());
        }
        *answered += 1;
        if let Some(matrix) = candidate.matrix.as_ref().filter(|_| wanted & WANT_MATRIX != 0) {
            let body = Body::matrix(matrix.clone(), ctx.run.pool());
            ctx.out.push(Output::Send { to: from, dealer, kind: Kind::Matrix, digest, body });
        }
        if wanted & WANT_POINTS != 0
            && let Some(owed) = candidate.owed(ctx.run, from)?
        {
            let body = SecretBytes::copy_of(ctx.run.pool(), owed.as_slice())?.into();
            ctx.out.push(Output::Send { to: from, dealer, kind: Kind::Points, digest, body });
        }
        Ok(())
    }

    fn on_matrix(
        &mut self,
        ctx: &mut Context<'_>,
        from: Index,
        digest: Digest,
        body: &[u8],
    ) -> Result<Option<Check>, Refused> {
        let run = *ctx.run;
        let wanted = self.existing(digest).ok_or(Reason::Unasked)?;
        if !wanted.asked_matrix.contains(from) {
            return Err(Reason::Unasked.into());
        }
        if wanted.matrix.is_some() {
            return Ok(None);
        }
        let reader = MatrixReader::new(run.sizes(), run.keys(), body.to_vec()).map_err(|_| Reason::Malformed)?;
        Ok(Some(Check::Reading { from: Sender::Member(from), digest, reader, rows: None }))
    }

    fn on_points(&mut self, ctx: &mut Context<'_>, from: Index, digest: Digest, body: &[u8]) -> Result<(), Refused> {
        let wanted = self.existing(digest).ok_or(Reason::Unasked)?;
        if !wanted.asked_points.contains(from) {
            return Err(Reason::Unasked.into());
        }
        wanted.add(ctx.run, from, Vote::None, body)
    }

    /// What follows from what is held; points that have to be checked first come back as a check.
    pub(crate) fn progress(&mut self, ctx: &mut Context<'_>) -> Result<Option<Check>, Exhausted> {
        let (run, dealer) = (*ctx.run, self.dealer);
        let (q, k) = (run.sizes().q(), run.sizes().k());
        let (takes_part, qualified) = (self.takes_part, self.qualified);
        let voted = move |c: &Candidate| takes_part && (c.echoes.len() >= q || c.readies.len() >= k);
        let mut promised = None;
        let mut shared = None;
        for candidate in &mut self.candidates {
            if candidate.rows().is_none() && (voted(candidate) || qualified == Some(candidate.digest)) {
                if candidate.matrix.is_some() {
                    let senders = candidate.unchecked(&run);
                    if !senders.is_empty() {
                        let (digest, search) = (candidate.digest, Search::among(senders.clone()));
                        return Ok(Some(Check::Points { digest, senders, search }));
                    }
                }
                let rows = if candidate.matrix.is_some() { candidate.interpolate(&run)? } else { None };
                match rows {
                    Some(rows) => drop(candidate.hold(&run, rows)?),
                    None => ask(ctx, candidate, dealer, qualified.is_some())?,
                }
            }
            if candidate.rows().is_some() && !self.ready && voted(candidate) {
                promised = Some(candidate.digest);
            }
            if candidate.readies.len() >= q {
                shared = Some(candidate.digest);
            }
        }
        if let Some(digest) = promised {
            self.promise(ctx, digest)?;
            return self.progress(ctx);
        }
        if let Some(digest) = shared.filter(|_| self.ready && !self.shared) {
            self.shared = true;
            ctx.out.push(Output::Shared { dealer, digest });
        }
        Ok(None)
    }

    fn promise(&mut self, ctx: &mut Context<'_>, digest: Digest) -> Result<(), Exhausted> {
        let (run, dealer) = (*ctx.run, self.dealer);
        let Some(candidate) = self.existing(digest) else { return Ok(()) };
        let (Some(held), Some(matrix)) = (candidate.rows(), candidate.matrix.clone()) else { return Ok(()) };
        let mut rows = SecretBytes::zeros(run.pool(), Rows::byte_length(&run))?;
        held.write(rows.as_mut_slice());
        ctx.out.push(Output::Persist(Record::Promise(Promise { dealer, digest, rows, matrix })));
        self.send_ready(ctx, digest)
    }

    fn send_ready(&mut self, ctx: &mut Context<'_>, digest: Digest) -> Result<(), Exhausted> {
        let (me, dealer) = (ctx.run.me(), self.dealer);
        self.ready = true;
        self.ready_seen.insert(me);
        if let Some(candidate) = self.existing(digest) {
            candidate.readies.insert(me);
            send_points(ctx, candidate, dealer, Kind::Ready)?;
            ctx.out.push(Output::SignReady { dealer, digest });
        }
        Ok(())
    }

    pub(crate) fn existing(&mut self, digest: Digest) -> Option<&mut Candidate> {
        self.candidates.iter_mut().find(|candidate| candidate.digest == digest)
    }

    #[expect(clippy::indexing_slicing, reason = "the position was found or has just been pushed")]
    pub(crate) fn candidate(&mut self, run: &Run, digest: Digest) -> &mut Candidate {
        let position = self.candidates.iter().position(|candidate| candidate.digest == digest).unwrap_or_else(|| {
            self.candidates.push(Candidate::new(run, digest));
            self.candidates.len() - 1
        });
        &mut self.candidates[position]
    }
}

/// The points owed to every other member, as a vote.
fn send_points(ctx: &mut Context<'_>, candidate: &mut Candidate, dealer: Index, kind: Kind) -> Result<(), Exhausted> {
    let digest = candidate.digest;
    for to in ctx.run.others() {
        if let Some(owed) = candidate.owed(ctx.run, to)? {
            let body = SecretBytes::copy_of(ctx.run.pool(), owed.as_slice())?.into();
            ctx.out.push(Output::Send { to, dealer, kind, digest, body });
        }
    }
    Ok(())
}

/// Asks t+1 of those who voted for the digest for its matrix, one of them honest; once the log has qualified it, anyone
/// for the matrix and everyone for points.
fn ask(ctx: &mut Context<'_>, candidate: &mut Candidate, dealer: Index, everyone: bool) -> Result<(), Exhausted> {
    let digest = candidate.digest;
    let enough = ctx.run.sizes().t() + 1;
    let few = candidate.points_held() < ctx.run.sizes().k();
    for to in ctx.run.others() {
        let voter = candidate.echoes.contains(to) || candidate.readies.contains(to);
        let matrix = candidate.matrix.is_none()
            && (voter || everyone)
            && (everyone || candidate.asked_matrix.len() < enough)
            && candidate.asked_matrix.insert(to);
        let points = everyone && few && candidate.asked_points.insert(to);
        let wanted = if matrix { WANT_MATRIX } else { 0 } | if points { WANT_POINTS } else { 0 };
        if wanted != 0 {
            let body = SecretBytes::copy_of(ctx.run.pool(), &[wanted])?.into();
            ctx.out.push(Output::Send { to, dealer, kind: Kind::Need, digest, body });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;
    use torus_memory::Heap;
    use torus_sharing::Sizes;

    #[test]
    fn a_flood_of_invented_digests_costs_two_entries_a_sender_and_its_points_are_stored_once() {
        let sizes = Sizes::new(5, 3, 1).unwrap();
        let run = Run::new([1; 32], sizes, Index::new(1).unwrap(), 1, Heap::pool()).unwrap();
        let generators = Generators::new();
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut ctx = Context { run: &run, generators: &generators, rng: &mut rng, out: Vec::new() };
        let mut instance = Instance::new(&run, Index::new(2).unwrap(), None, true);
        for sender in 2..=5 {
            let from = Index::new(sender).unwrap();
            for invented in 0..50 {
                for kind in [Kind::Echo, Kind::Ready, Kind::Points, Kind::Matrix, Kind::Need] {
                    let mut digest = [invented; 32];
                    (digest[0], digest[1]) = (sender, kind as u8);
                    assert!(instance.handle(&mut ctx, from, kind, digest, &[0; 128]).is_ok());
                }
            }
        }
        assert_eq!(instance.candidates.len(), 8);
        assert!(instance.candidates.iter().all(|candidate| candidate.points_held() <= 1));
        assert!(instance.qualify(&mut ctx, [9; 32]).is_ok());
        assert_eq!(instance.candidates.len(), 1, "the log's digest alone is kept");
    }
}
