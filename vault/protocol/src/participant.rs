//! One member in one (batch, attempt): all dealings, the sum of the chosen ones, and the keys.
//!
//! What takes long is done in pieces: an input begins work, [`Input::Continue`] goes on with it, and inputs that come
//! meanwhile are held and taken in their order. So the outcome does not depend on where the pieces end.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use rand_core::CryptoRngCore;
use torus_memory::Exhausted;
use torus_sharing::{
    Budget, Digest, HandOverSet, Index, Interpolation, Point, PublishedKeys, QualifiedSet, ShareVector,
};

use crate::check::Check;
use crate::deal::{Deal, Dealt};
use crate::held::Held;
use crate::instance::{Context, Instance};
use crate::message::{Input, Kind, Output, Promise, Reason, Record};
use crate::opening::{Opening, Summing};
use crate::run::Run;
use crate::table::Generators;
use crate::taking::Taking;

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
    /// By dealer.
    instances: Vec<Instance>,
    chosen: Option<Chosen>,
    opening: Option<Opening>,
    /// The public keys of a batch that is taken over, and the new commitments as soon as the own shares are there.
    publics: Vec<Point>,
    taken: Option<PublishedKeys>,
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

/// The dealings that count, as the log fixed them.
#[derive(PartialEq, Eq)]
enum Chosen {
    Qualified(QualifiedSet),
    HandOver(HandOverSet),
}

impl Chosen {
    fn dealings(&self) -> &[(Index, Digest)] {
        match self {
            Self::Qualified(set) => set.dealings(),
            Self::HandOver(set) => set.dealings(),
        }
    }

    fn digest_of(&self, dealer: Index) -> Option<Digest> {
        self.dealings().iter().find(|(named, _)| *named == dealer).map(|(_, digest)| *digest)
    }
}

/// Work that is not finished.
enum Work {
    Deal(Box<Deal>),
    /// A promise from before the restart, to be repeated.
    Resume(Promise),
    Qualify(Index, Digest),
    Check(Index, Box<Check>),
    Sum(Box<Summing>),
    Take(Box<Taking>),
    Vector(Index, Vec<u8>),
    Keys(Box<Interpolation>),
}

/// Keys of another batch, or of another committee, than the one to take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these are not the old committee's keys of the batch")]
pub struct NotTheBatch;

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
        let mut member = Self::new(run, None, true);
        member.work.push_back(Work::Deal(Box::new(Deal::new(run, rng)?)));
        Ok(member)
    }

    /// Goes on after a restart, from the promises that were durable: repeats their Readies (which is work to go on
    /// with), never deals or echoes again, and recovers the qualified rest from the others' points once the log names
    /// it.
    pub fn resume(run: Run, promises: Vec<Promise>) -> Self {
        let mut member = Self::new(run, None, false);
        member.work.extend(promises.into_iter().map(Work::Resume));
        member
    }

    /// Takes a batch over from another committee, whose certified keys of it `old` are; `run` is one of
    /// [`Run::take_over`], and so many keys. With promises it goes on after a restart, as `resume` does; without, the
    /// caller has no [`Record`] of the same base.
    ///
    /// # Errors
    /// The keys are not those of such a batch of the old committee.
    pub fn take_over(run: Run, old: &PublishedKeys, promises: Option<Vec<Promise>>) -> Result<Self, NotTheBatch> {
        let fits = old.keys.len() == run.keys()
            && old.keys.iter().all(|key| key.commitments.len() == run.dealers().n())
            && run.is_hand_over()
            && !run.hands_over();
        if !fits {
            return Err(NotTheBatch);
        }
        let mut member = Self::new(run, Some(old), promises.is_none());
        member.publics = old.keys.iter().map(|key| key.public).collect();
        member.work.extend(promises.into_iter().flatten().map(Work::Resume));
        Ok(member)
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

    fn new(run: Run, old: Option<&PublishedKeys>, takes_part: bool) -> Self {
        let members = run.sizes().members();
        // In a run that takes over, whoever does not know what was certified takes nothing.
        let known = |dealer| old.map(|old| old.of(dealer).flatten().copied().collect()).unwrap_or_default();
        let constants = |dealer| run.is_hand_over().then(|| known(dealer));
        let instance = |dealer| Instance::new(&run, dealer, constants(dealer), takes_part);
        Self {
            run,
            generators: Box::new(Generators::new()),
            instances: run.dealers().members().map(instance).collect(),
            chosen: None,
            opening: None,
            publics: Vec::new(),
            taken: None,
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
            Input::Dealing { dealer, digest, body } => self.on_dealing(dealer, digest, body, rng, out)?,
            Input::Qualified(set) => self.on_chosen(Chosen::Qualified(set.clone()), out),
            Input::HandOver(set) => self.on_chosen(Chosen::HandOver(set.clone()), out),
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
                Dealt::Whole { sends, digest, matrix } => {
                    let own = deal.own(&self.run)?;
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
            Work::Take(taking) => Ok(self.go_on_taking(taking, budget, out)),
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
        let (sizes, dealers) = (self.run.sizes(), self.run.dealers());
        if from == self.run.me() || sizes.member(from.get()).is_none() || dealers.member(dealer.get()).is_none() {
            out.push(Output::Fault { from, reason: Reason::Outside });
            return Ok(());
        }
        if self.is_over(dealer) {
            return Ok(());
        }
        let work = self.with(dealer, rng, out, |instance, ctx| instance.handle(ctx, from, kind, digest, body))?;
        self.work.extend(work);
        Ok(())
    }

    fn on_dealing(
        &mut self,
        dealer: Index,
        digest: Digest,
        body: &[u8],
        rng: &mut dyn CryptoRngCore,
        out: &mut Vec<Output>,
    ) -> Result<(), Exhausted> {
        if !self.run.is_hand_over() || self.run.dealers().member(dealer.get()).is_none() {
            out.push(Output::DealerFault { dealer, reason: Reason::Outside });
            return Ok(());
        }
        if self.is_over(dealer) {
            return Ok(());
        }
        let work = self.with(dealer, rng, out, |instance, ctx| instance.on_dealing(ctx, digest, body))?;
        self.work.extend(work);
        Ok(())
    }

    /// After the set is fixed, dealings outside it are over.
    fn is_over(&self, dealer: Index) -> bool {
        self.chosen.as_ref().is_some_and(|set| set.digest_of(dealer).is_none())
    }

    fn on_chosen(&mut self, set: Chosen, out: &mut Vec<Output>) {
        let me = self.run.me();
        match &self.chosen {
            _ if self.run.is_hand_over() != matches!(set, Chosen::HandOver(_)) => {
                out.push(Output::Fault { from: me, reason: Reason::Outside });
                return;
            }
            Some(known) if *known == set => return,
            Some(_) => {
                out.push(Output::Fault { from: me, reason: Reason::SecondQualified });
                return;
            }
            None => {}
        }
        for dealer in self.run.dealers().members() {
            match set.digest_of(dealer) {
                Some(digest) => self.work.push_back(Work::Qualify(dealer, digest)),
                None => {
                    // Its polynomials are of no use any more: wiped here.
                    if let Some(instance) = self.instances.get_mut(dealer.slot()) {
                        *instance = Instance::new(&self.run, dealer, None, false);
                    }
                }
            }
        }
        self.chosen = Some(set);
    }

    fn on_sealed(&mut self, rng: &mut dyn CryptoRngCore, out: &mut Vec<Output>) -> Result<(), Exhausted> {
        if self.taken.is_some() {
            self.sealed = true;
            return Ok(());
        }
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
        let (me, published) = (self.run.me(), !self.run.is_hand_over());
        let Some(pending) = self.vectors.get_mut(from.slot()).filter(|_| published && from != me) else {
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
        if self.opening.is_some() || self.taken.is_some() || self.unopenable {
            return Ok(());
        }
        let Some(chosen) = &self.chosen else { return Ok(()) };
        let complete = |dealer: &Index| self.instances.get(dealer.slot()).is_some_and(|of| of.complete().is_some());
        if chosen.dealings().iter().all(|(dealer, _)| complete(dealer)) {
            let work = match chosen {
                Chosen::Qualified(set) => Work::Sum(Box::new(Summing::new(&self.run, set.clone())?)),
                Chosen::HandOver(set) => {
                    Work::Take(Box::new(Taking::new(&self.run, set.clone(), self.publics.clone())?))
                }
            };
            self.work.push_back(work);
        }
        Ok(())
    }

    fn go_on_taking(&mut self, mut taking: Box<Taking>, budget: &mut Budget, out: &mut Vec<Output>) -> Option<Work> {
        let instances = &self.instances;
        let dealing = |dealer: Index| {
            let (rows, matrix) = instances.get(dealer.slot())?.complete()?;
            Some((rows, matrix.as_ref()))
        };
        match taking.advance(&self.run, dealing, &self.generators, budget) {
            Ok(None) => return Some(Work::Take(taking)),
            Ok(Some((shares, keys))) => {
                out.push(Output::Seal(shares));
                self.taken = Some(keys);
            }
            Err(_) => self.give_up(out),
        }
        None
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
        if let Some(keys) = self.taken.as_ref().filter(|_| self.sealed && !self.finished) {
            self.finished = true;
            out.push(Output::Keys(keys.clone()));
            return;
        }
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
