//! One member in one (batch, attempt): all n dealings, the qualified sum and the opening of the keys.
//!
//! What takes long is done in pieces: an input begins work, [`Input::Continue`] goes on with it, and inputs that come
//! meanwhile are held and taken in their order. So the outcome does not depend on where the pieces end.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use rand_core::CryptoRngCore;
use torus_memory::Exhausted;
use torus_sharing::{Budget, Digest, Index, Interpolation, PublishedKeys, QualifiedSet, ShareVector};

use crate::check::Check;
use crate::deal::{Deal, Dealt};
use crate::held::Held;
use crate::instance::{Context, Instance};
use crate::message::{Input, Kind, Output, Promise, Reason, Record};
use crate::opening::{Opening, Summing};
use crate::run::Run;
use crate::table::Generators;

/// Units of work that take some milliseconds on a desktop processor: about as many additions of points.
pub const SLICE: usize = 4096;
/// What an input costs that begins no work, at the most: points against rows, a member's points of all keys.
const INPUT: usize = 1024;
/// What the check of a published vector costs for each key.
const VECTOR: usize = 64;

/// The state machine of one member. Deterministic in its inputs and randomness; holds secrets until dropped.
pub struct Participant {
    run: Run,
    generators: Box<Generators>,
    instances: Vec<Instance>,
    qualified: Option<QualifiedSet>,
    opening: Option<Opening>,
    sealed: bool,
    /// The first vector of each member, until it can be verified.
    vectors: Vec<Pending>,
    certified: Option<PublishedKeys>,
    finished: bool,
    /// Impossible unless certificates are forged; told once.
    unopenable: bool,
    /// What the last input that was taken has begun, in order.
    work: VecDeque<Work>,
    /// Inputs that came meanwhile.
    held: VecDeque<Held>,
}

/// Work that is not finished.
enum Work {
    Deal(Box<Deal>),
    /// A promise from before the restart, to be repeated.
    Resume(Promise),
    Qualify(Index, Digest),
    Check(Index, Box<Check>),
    Sum(Box<Summing>),
    Vector(Index, Vec<u8>),
    Keys(Box<Interpolation>),
}

enum Pending {
    None,
    Held(Vec<u8>),
    Seen,
}

impl Participant {
    /// Takes part from the beginning and deals: the dealing is work to go on with, and leaves when it is whole, after
    /// its record. The caller has never called this for the same base before: it has no [`Record`] of it.
    ///
    /// # Errors
    /// There is no memory for the polynomials.
    pub fn deal(run: Run, rng: &mut dyn CryptoRngCore) -> Result<Self, Exhausted> {
        let mut member = Self::new(run, true);
        member.work.push_back(Work::Deal(Box::new(Deal::new(run, rng)?)));
        Ok(member)
    }

    /// Goes on after a restart, from the promises that were durable: repeats their Readies (which is work to go on
    /// with), never deals or echoes again, and recovers the qualified rest from the others' points once the log names
    /// it.
    pub fn resume(run: Run, promises: Vec<Promise>) -> Self {
        let mut member = Self::new(run, false);
        member.work.extend(promises.into_iter().map(Work::Resume));
        member
    }

    /// Whether there is something to go on with. An input that is given now waits for it.
    pub fn has_work(&self) -> bool {
        !self.work.is_empty() || !self.held.is_empty()
    }

    /// One input, with what follows from it at once; what takes longer is done by [`Input::Continue`]. While there is
    /// work, other inputs are held: how many is the caller's to bound.
    ///
    /// # Errors
    /// The memory for secrets is used up. The participant is of no use then: what is durable counts, as after a crash.
    pub fn handle(&mut self, input: Input<'_>, rng: &mut dyn CryptoRngCore) -> Result<Vec<Output>, Exhausted> {
        match input {
            Input::Continue(units) => self.go_on(&mut Budget::new(units), rng),
            input => {
                if self.has_work() {
                    self.held.extend(Held::new(input, self.run.pool())?);
                    return Ok(Vec::new());
                }
                let mut out = Vec::new();
                self.take(input, rng, &mut out)?;
                self.conclude(&mut out)?;
                Ok(out)
            }
        }
    }

    fn new(run: Run, takes_part: bool) -> Self {
        let members = run.sizes().members();
        Self {
            run,
            generators: Box::new(Generators::new()),
            instances: members.clone().map(|dealer| Instance::new(&run, dealer, takes_part)).collect(),
            qualified: None,
            opening: None,
            sealed: false,
            vectors: members.map(|_| Pending::None).collect(),
            certified: None,
            finished: false,
            unopenable: false,
            work: VecDeque::new(),
            held: VecDeque::new(),
        }
    }

    /// Works until the budget is spent or something is to be done outside.
    pub(crate) fn go_on(&mut self, budget: &mut Budget, rng: &mut dyn CryptoRngCore) -> Result<Vec<Output>, Exhausted> {
        let mut out = Vec::new();
        while out.is_empty() && !budget.is_spent() {
            if let Some(work) = self.work.pop_front() {
                // What is not finished, or follows from it, comes before the rest.
                let more = self.work_on(work, budget, rng, &mut out)?;
                if let Some(more) = more {
                    self.work.push_front(more);
                }
            } else if let Some(held) = self.held.pop_front() {
                budget.spend(INPUT);
                self.take(held.input(), rng, &mut out)?;
            } else {
                break;
            }
            self.conclude(&mut out)?;
        }
        Ok(out)
    }

    fn take(&mut self, input: Input<'_>, rng: &mut dyn CryptoRngCore, out: &mut Vec<Output>) -> Result<(), Exhausted> {
        match input {
            Input::Message { from, dealer, kind, digest, body } => {
                self.on_message(from, dealer, kind, digest, body, rng, out)?;
            }
            Input::Qualified(set) => self.on_qualified(set, out),
            Input::Sealed => self.on_sealed(rng, out)?,
            Input::Vector { from, body } => self.on_vector(from, body, out),
            Input::Keys(keys) => {
                self.certified.get_or_insert_with(|| keys.clone());
            }
            Input::Continue(_) => {}
        }
        Ok(())
    }

    fn work_on(
        &mut self,
        work: Work,
        budget: &mut Budget,
        rng: &mut dyn CryptoRngCore,
        out: &mut Vec<Output>,
    ) -> Result<Option<Work>, Exhausted> {
        match work {
            Work::Deal(mut deal) => match deal.advance(&self.run, &self.generators, budget)? {
                Dealt::Unfinished => Ok(Some(Work::Deal(deal))),
                Dealt::Never => {
                    out.push(Output::Persist(Record::Dealt));
                    Ok(None)
                }
                Dealt::Whole { sends, digest, matrix, own } => {
                    drop(deal);
                    out.push(Output::Persist(Record::Dealt));
                    out.extend(sends);
                    self.with(self.run.me(), rng, out, |instance, ctx| instance.deal(ctx, digest, matrix, own))
                }
            },
            Work::Resume(promise) => {
                budget.spend(promise.points());
                let dealer = promise.dealer;
                self.with(dealer, rng, out, |instance, ctx| instance.resume(ctx, promise).map(|()| None))
            }
            Work::Qualify(dealer, digest) => {
                budget.spend(INPUT);
                self.with(dealer, rng, out, |instance, ctx| instance.qualify(ctx, digest))
            }
            Work::Check(dealer, check) => {
                self.with(dealer, rng, out, |instance, ctx| instance.go_on(ctx, *check, budget))
            }
            Work::Sum(summing) => self.go_on_summing(summing, budget, out),
            Work::Vector(from, body) => {
                budget.spend(VECTOR * self.run.keys());
                if let Some(opening) = self.opening.as_mut()
                    && !opening.verify(&self.run, from, &body)
                {
                    out.push(Output::Fault { from, reason: Reason::BadVector });
                }
                Ok(None)
            }
            Work::Keys(mut keys) => match keys.advance(budget) {
                Ok(None) => Ok(Some(Work::Keys(keys))),
                Ok(Some(keys)) => {
                    self.finished = true;
                    out.push(Output::Keys(keys));
                    Ok(None)
                }
                Err(_) => {
                    self.give_up(out);
                    Ok(None)
                }
            },
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a message's parts")]
    fn on_message(
        &mut self,
        from: Index,
        dealer: Index,
        kind: Kind,
        digest: Digest,
        body: &[u8],
        rng: &mut dyn CryptoRngCore,
        out: &mut Vec<Output>,
    ) -> Result<(), Exhausted> {
        let sizes = self.run.sizes();
        if from == self.run.me() || sizes.member(from.get()).is_none() || sizes.member(dealer.get()).is_none() {
            out.push(Output::Fault { from, reason: Reason::Outside });
            return Ok(());
        }
        // After the set is fixed, dealings outside it are over.
        if self.qualified.as_ref().is_some_and(|set| set.digest_of(dealer).is_none()) {
            return Ok(());
        }
        let work = self.with(dealer, rng, out, |instance, ctx| instance.handle(ctx, from, kind, digest, body))?;
        self.work.extend(work);
        Ok(())
    }

    fn on_qualified(&mut self, set: &QualifiedSet, out: &mut Vec<Output>) {
        let me = self.run.me();
        match &self.qualified {
            Some(known) if known == set => return,
            Some(_) => {
                out.push(Output::Fault { from: me, reason: Reason::SecondQualified });
                return;
            }
            None => self.qualified = Some(set.clone()),
        }
        for dealer in self.run.sizes().members() {
            match set.digest_of(dealer) {
                Some(digest) => self.work.push_back(Work::Qualify(dealer, digest)),
                None => {
                    // Its polynomials are of no use any more: wiped here.
                    if let Some(instance) = self.instances.get_mut(dealer.slot()) {
                        *instance = Instance::new(&self.run, dealer, false);
                    }
                }
            }
        }
    }

    fn on_sealed(&mut self, rng: &mut dyn CryptoRngCore, out: &mut Vec<Output>) -> Result<(), Exhausted> {
        let Some(opening) = self.opening.as_mut().filter(|_| !self.sealed) else { return Ok(()) };
        self.sealed = true;
        match opening.publish(&self.run, &self.generators, rng)? {
            Some(bytes) => out.push(Output::Publish(bytes)),
            None => out.push(Output::Fault { from: self.run.me(), reason: Reason::Unopenable }),
        }
        for (member, pending) in self.run.sizes().members().zip(&mut self.vectors) {
            if let Pending::Held(body) = core::mem::replace(pending, Pending::Seen) {
                self.work.push_back(Work::Vector(member, body));
            } else {
                *pending = Pending::None;
            }
        }
        Ok(())
    }

    fn on_vector(&mut self, from: Index, body: &[u8], out: &mut Vec<Output>) {
        let me = self.run.me();
        let Some(pending) = self.vectors.get_mut(from.slot()).filter(|_| from != me) else {
            out.push(Output::Fault { from, reason: Reason::Outside });
            return;
        };
        if body.len() != ShareVector::byte_length(self.run.keys()) {
            out.push(Output::Fault { from, reason: Reason::Malformed });
            return;
        }
        if !matches!(pending, Pending::None) || self.finished {
            return;
        }
        if self.sealed {
            *pending = Pending::Seen;
            self.work.push_back(Work::Vector(from, body.to_vec()));
        } else {
            *pending = Pending::Held(body.to_vec());
        }
    }

    /// When an input and all that it began are done with: begins what they have made possible.
    fn conclude(&mut self, out: &mut Vec<Output>) -> Result<(), Exhausted> {
        if self.work.is_empty() {
            self.open()?;
        }
        if self.work.is_empty() {
            self.finish(out);
        }
        Ok(())
    }

    /// Sums the qualified dealings once all are complete.
    fn open(&mut self) -> Result<(), Exhausted> {
        if self.opening.is_some() || self.unopenable {
            return Ok(());
        }
        let Some(qualified) = &self.qualified else { return Ok(()) };
        let complete = |dealer: &Index| self.instances.get(dealer.slot()).is_some_and(|of| of.complete().is_some());
        if qualified.dealings().iter().all(|(dealer, _)| complete(dealer)) {
            let summing = Summing::new(&self.run, qualified.clone())?;
            self.work.push_back(Work::Sum(Box::new(summing)));
        }
        Ok(())
    }

    fn go_on_summing(
        &mut self,
        mut summing: Box<Summing>,
        budget: &mut Budget,
        out: &mut Vec<Output>,
    ) -> Result<Option<Work>, Exhausted> {
        let instances = &self.instances;
        let dealing = |dealer: Index| {
            let (rows, matrix) = instances.get(dealer.slot())?.complete()?;
            Some((rows, matrix.as_ref()))
        };
        match summing.advance(&self.run, dealing, &self.generators, budget) {
            Ok(None) => return Ok(Some(Work::Sum(summing))),
            Ok(Some(opening)) => {
                out.push(Output::Seal(opening.shares(&self.run)?));
                self.opening = Some(opening);
            }
            Err(_) => self.give_up(out),
        }
        Ok(None)
    }

    /// Gives the keys once, from k vectors or from the log, never before the own shares are durable.
    fn finish(&mut self, out: &mut Vec<Output>) {
        let me = self.run.me();
        let Some(opening) = self.opening.as_ref().filter(|_| self.sealed && !self.finished) else { return };
        if let Some(certified) = self.certified.take() {
            if opening.matches(&self.run, &certified) {
                self.finished = true;
                out.push(Output::Keys(certified));
            } else {
                out.push(Output::Fault { from: me, reason: Reason::OwnSharesDiffer });
            }
        } else if !self.unopenable {
            match opening.keys(&self.run) {
                Some(Ok(keys)) => self.work.push_back(Work::Keys(Box::new(keys))),
                Some(Err(_)) => self.give_up(out),
                None => {}
            }
        }
    }

    fn give_up(&mut self, out: &mut Vec<Output>) {
        self.unopenable = true;
        out.push(Output::Fault { from: self.run.me(), reason: Reason::Unopenable });
    }

    fn with(
        &mut self,
        dealer: Index,
        rng: &mut dyn CryptoRngCore,
        out: &mut Vec<Output>,
        act: impl FnOnce(&mut Instance, &mut Context<'_>) -> Result<Option<Check>, Exhausted>,
    ) -> Result<Option<Work>, Exhausted> {
        let Some(instance) = self.instances.get_mut(dealer.slot()) else { return Ok(None) };
        let mut ctx = Context { run: &self.run, generators: &self.generators, rng, out: core::mem::take(out) };
        let check = act(instance, &mut ctx);
        *out = ctx.out;
        Ok(check?.map(|check| Work::Check(dealer, Box::new(check))))
    }
}
