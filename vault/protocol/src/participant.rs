//! One member in one (batch, attempt): all n dealings, the qualified sum and the opening of the keys.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rand_core::CryptoRngCore;
use torus_sharing::{Digest, Index, Matrix, PublishedKeys, QualifiedSet, ShareVector};

use crate::dealing::Dealing;
use crate::instance::{Context, Instance};
use crate::message::{Input, Kind, Output, Promise, Reason, Record};
use crate::opening::Opening;
use crate::rows::Rows;
use crate::run::Run;
use crate::secret::SecretBytes;
use crate::table::Generators;

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
}

enum Pending {
    None,
    Held(Vec<u8>),
    Seen,
}

impl Participant {
    /// Takes part from the beginning and deals. The caller has never called this for the same base before: it has no
    /// [`Record`] of it.
    pub fn deal(run: Run, rng: &mut dyn CryptoRngCore) -> (Self, Vec<Output>) {
        let mut member = Self::new(run, true);
        let dealing = Dealing::random(run, rng);
        let Ok(matrix) = dealing.commit(&member.generators) else {
            // A commitment to the identity needs the logarithm of H; then it does not deal and lives on the others.
            return (member, alloc::vec![Output::Persist(Record::Dealt)]);
        };
        let me = run.me();
        let digest = matrix.digest(&run.sid(me));
        let mut out = alloc::vec![Output::Persist(Record::Dealt)];
        for to in run.others() {
            let body = send_body(&run, &matrix, &dealing.rows_for(to));
            out.push(Output::Send { to, dealer: me, kind: Kind::Send, digest, body });
        }
        let own = dealing.rows_for(me);
        drop(dealing);
        let more = member.with(me, rng, |instance, ctx| instance.deal(ctx, digest, Arc::new(matrix), own));
        out.extend(more);
        (member, out)
    }

    /// Goes on after a restart, from the promises that were durable: repeats their Readies, never deals or echoes
    /// again, and recovers the qualified rest from the others' points once the log names it.
    pub fn resume(run: Run, promises: Vec<Promise>, rng: &mut dyn CryptoRngCore) -> (Self, Vec<Output>) {
        let mut member = Self::new(run, false);
        let mut out = Vec::new();
        for promise in promises {
            let more = member.with(promise.dealer, rng, |instance, ctx| instance.resume(ctx, promise));
            out.extend(more);
        }
        (member, out)
    }

    /// One input, with all that follows from it.
    pub fn handle(&mut self, input: Input<'_>, rng: &mut dyn CryptoRngCore) -> Vec<Output> {
        match input {
            Input::Message { from, dealer, kind, digest, body } => {
                self.on_message(from, dealer, kind, digest, body, rng)
            }
            Input::Qualified(set) => self.on_qualified(set, rng),
            Input::Sealed => self.on_sealed(rng),
            Input::Vector { from, body } => self.on_vector(from, body),
            Input::Keys(keys) => self.on_keys(keys),
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
        }
    }

    fn on_message(
        &mut self,
        from: Index,
        dealer: Index,
        kind: Kind,
        digest: Digest,
        body: &[u8],
        rng: &mut dyn CryptoRngCore,
    ) -> Vec<Output> {
        let sizes = self.run.sizes();
        if from == self.run.me() || sizes.member(from.get()).is_none() || sizes.member(dealer.get()).is_none() {
            return alloc::vec![Output::Fault { from, reason: Reason::Outside }];
        }
        // After the set is fixed, dealings outside it are over.
        if self.qualified.as_ref().is_some_and(|set| set.digest_of(dealer).is_none()) {
            return Vec::new();
        }
        let mut out = self.with(dealer, rng, |instance, ctx| instance.handle(ctx, from, kind, digest, body));
        self.open(&mut out);
        out
    }

    fn on_qualified(&mut self, set: &QualifiedSet, rng: &mut dyn CryptoRngCore) -> Vec<Output> {
        let me = self.run.me();
        match &self.qualified {
            Some(known) if known == set => return Vec::new(),
            Some(_) => return alloc::vec![Output::Fault { from: me, reason: Reason::SecondQualified }],
            None => self.qualified = Some(set.clone()),
        }
        let mut out = Vec::new();
        for dealer in self.run.sizes().members() {
            match set.digest_of(dealer) {
                Some(digest) => out.extend(self.with(dealer, rng, |instance, ctx| instance.qualify(ctx, digest))),
                None => {
                    // Its polynomials are of no use any more: wiped here.
                    if let Some(instance) = self.instances.get_mut(dealer.slot()) {
                        *instance = Instance::new(&self.run, dealer, false);
                    }
                }
            }
        }
        self.open(&mut out);
        out
    }

    /// Sums the qualified dealings once all are complete.
    fn open(&mut self, out: &mut Vec<Output>) {
        let Some(qualified) = self.qualified.as_ref().filter(|_| self.opening.is_none()) else { return };
        let dealings = qualified.dealings().iter().map(|(dealer, _)| {
            let (rows, matrix) = self.instances.get(dealer.slot())?.complete()?;
            Some((rows, matrix.as_ref()))
        });
        let Some(dealings) = dealings.collect::<Option<Vec<(&Rows, &Matrix)>>>() else { return };
        match Opening::new(&self.run, &self.generators, qualified, &dealings) {
            Ok(opening) => {
                out.push(Output::Seal(opening.shares()));
                self.opening = Some(opening);
            }
            Err(_) => out.push(Output::Fault { from: self.run.me(), reason: Reason::Unopenable }),
        }
    }

    fn on_sealed(&mut self, rng: &mut dyn CryptoRngCore) -> Vec<Output> {
        let mut out = Vec::new();
        let Some(opening) = self.opening.as_mut().filter(|_| !self.sealed) else { return out };
        self.sealed = true;
        match opening.publish(&self.run, &self.generators, rng) {
            Some(bytes) => out.push(Output::Publish(bytes)),
            None => out.push(Output::Fault { from: self.run.me(), reason: Reason::Unopenable }),
        }
        for (member, pending) in self.run.sizes().members().zip(&mut self.vectors) {
            if let Pending::Held(body) = core::mem::replace(pending, Pending::Seen) {
                verify(&self.run, opening, member, &body, &mut out);
            } else {
                *pending = Pending::None;
            }
        }
        self.finish(&mut out);
        out
    }

    fn on_vector(&mut self, from: Index, body: &[u8]) -> Vec<Output> {
        let mut out = Vec::new();
        let me = self.run.me();
        let Some(pending) = self.vectors.get_mut(from.slot()).filter(|_| from != me) else {
            out.push(Output::Fault { from, reason: Reason::Outside });
            return out;
        };
        if body.len() != ShareVector::byte_length(self.run.keys()) {
            out.push(Output::Fault { from, reason: Reason::Malformed });
            return out;
        }
        if !matches!(pending, Pending::None) || self.finished {
            return out;
        }
        match self.opening.as_mut().filter(|_| self.sealed) {
            Some(opening) => {
                *pending = Pending::Seen;
                verify(&self.run, opening, from, body, &mut out);
                self.finish(&mut out);
            }
            None => *pending = Pending::Held(body.to_vec()),
        }
        out
    }

    fn on_keys(&mut self, keys: &PublishedKeys) -> Vec<Output> {
        let mut out = Vec::new();
        if self.certified.is_none() {
            self.certified = Some(keys.clone());
        }
        self.finish(&mut out);
        out
    }

    /// Gives the keys once, from k vectors or from the log, never before the own shares are durable.
    fn finish(&mut self, out: &mut Vec<Output>) {
        let me = self.run.me();
        let Some(opening) = self.opening.as_mut().filter(|_| self.sealed && !self.finished) else { return };
        if let Some(certified) = self.certified.take() {
            if opening.matches(&self.run, &certified) {
                self.finished = true;
                out.push(Output::Keys(certified));
            } else {
                out.push(Output::Fault { from: me, reason: Reason::OwnSharesDiffer });
            }
            return;
        }
        match opening.keys(&self.run) {
            Some(Ok(keys)) => {
                self.finished = true;
                out.push(Output::Keys(keys));
            }
            Some(Err(_)) => out.push(Output::Fault { from: me, reason: Reason::Unopenable }),
            None => {}
        }
    }

    fn with(
        &mut self,
        dealer: Index,
        rng: &mut dyn CryptoRngCore,
        act: impl FnOnce(&mut Instance, &mut Context<'_>),
    ) -> Vec<Output> {
        let mut ctx = Context { run: &self.run, generators: &self.generators, rng, out: Vec::new() };
        if let Some(instance) = self.instances.get_mut(dealer.slot()) {
            act(instance, &mut ctx);
        }
        ctx.out
    }
}

fn verify(run: &Run, opening: &mut Opening, from: Index, body: &[u8], out: &mut Vec<Output>) {
    if !opening.verify(run, from, body) {
        out.push(Output::Fault { from, reason: Reason::BadVector });
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
