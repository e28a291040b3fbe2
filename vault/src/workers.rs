//! The vault's threads: votes; user requests, which share one write to disk per group; key generation.
//!
//! Each has its own session on the device and its own bounded queue, and none waits for another's. Key generation takes
//! up what has come between two slices of its work. A request that panics is refused and its worker begins again from
//! what is durable: no input stops the vault.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use torus_ipc::{Deny, Request, Response};

use crate::connection::{Places, Reply};
use crate::stack::Stack;

/// Requests of each kind that may be in flight.
const VOTES: usize = 64;
const USERS: usize = 256;
const GENERATION: usize = 32;
/// User requests that share one write to disk.
const GROUP: usize = 64;

/// A request and the way back.
pub struct Job {
    /// The request.
    pub request: Request,
    /// Where its answer goes.
    pub reply: Reply,
}

/// The way to the workers. When it is dropped they finish what is queued and end; key generation only its present slice.
pub struct Queues {
    votes: (Places, SyncSender<Job>),
    users: (Places, SyncSender<Job>),
    generation: (Places, SyncSender<Job>),
}

/// The workers' ends of the queues.
pub struct Ends {
    /// Votes.
    pub votes: Receiver<Job>,
    /// User requests; several workers may share it.
    pub users: Arc<Mutex<Receiver<Job>>>,
    /// Key generation.
    pub generation: Receiver<Job>,
}

/// Answers one request. It keeps its state between requests and is made anew after a panic.
pub trait Answer {
    /// Answers.
    ///
    /// # Errors
    /// The refusal.
    fn answer(&mut self, request: Request) -> Result<Response, Deny>;
}

/// Answers requests a slice at a time. It keeps its state between slices and is made anew after a panic.
pub trait AnswerInSlices {
    /// Takes a request; its answer comes out of a slice, under this number.
    fn take(&mut self, number: u64, request: Request);
    /// Whether anything is left to do.
    fn has_work(&self) -> bool;
    /// The request that the next slice is for, if anybody asked for it.
    fn turn(&self) -> Option<u64>;
    /// Works for some milliseconds; what is answered comes back at once.
    fn slice(&mut self) -> Vec<(u64, Result<Response, Deny>)>;
}

/// Answers a group of requests, in any order, each exactly once.
pub trait AnswerGroup {
    /// Answers all.
    fn answer(&mut self, group: Vec<Job>);
}

impl Queues {
    /// New queues and their ends.
    pub fn new() -> (Self, Ends) {
        let (votes, votes_end) = sync_channel(VOTES);
        let (users, users_end) = sync_channel(USERS);
        let (generation, generation_end) = sync_channel(GENERATION);
        let queues = Self {
            votes: (Places::new(VOTES), votes),
            users: (Places::new(USERS), users),
            generation: (Places::new(GENERATION), generation),
        };
        (queues, Ends { votes: votes_end, users: Arc::new(Mutex::new(users_end)), generation: generation_end })
    }

    /// The queue of a request.
    pub fn of(&self, request: &Request) -> (&Places, &SyncSender<Job>) {
        let (places, queue) = match request {
            Request::Commit { .. } | Request::Release(_) => &self.users,
            Request::Batch { .. } | Request::Keys { .. } | Request::Deliver(_) | Request::Outbox => &self.generation,
            _ => &self.votes,
        };
        (places, queue)
    }
}

/// Starts a thread that answers requests one by one on a stack of its own, with state from `make`. Fails at once if the
/// state cannot be made.
///
/// # Errors
/// Those of `make`, or the system starts no thread.
pub fn one_by_one<A: Answer + Send + 'static, E: std::fmt::Display + From<std::io::Error>>(
    name: &'static str,
    mut stack: Stack,
    jobs: Receiver<Job>,
    make: impl Fn() -> Result<A, E> + Send + 'static,
) -> Result<JoinHandle<()>, E> {
    let mut state = Some(stack.run(&make)?);
    let run = move || {
        for Job { request, reply } in jobs {
            if state.is_none() {
                state = again(name, &mut stack, &make);
            }
            let answered = state
                .as_mut()
                .map_or(Some(Err(Deny::Store)), |state| guarded(name, &mut stack, || state.answer(request)));
            reply.send(answered.unwrap_or_else(|| {
                // Half-done changes in memory are forgotten; what is durable is whole.
                state = None;
                Err(Deny::Device)
            }));
        }
    };
    Ok(spawn(name, run)?)
}

/// Starts a thread that takes up requests as they come and works on all of them by slices, with state from `make`. When
/// the queue has ended it stops after the present slice: what is not done is refused as busy.
///
/// # Errors
/// Those of `make`, or the system starts no thread.
pub fn in_slices<A: AnswerInSlices + Send + 'static, E: std::fmt::Display + From<std::io::Error>>(
    name: &'static str,
    mut stack: Stack,
    jobs: Receiver<Job>,
    make: impl Fn() -> Result<A, E> + Send + 'static,
) -> Result<JoinHandle<()>, E> {
    let state = Some(stack.run(&make)?);
    let mut slices = Slices { name, stack, state, waiting: BTreeMap::new(), next: 0 };
    let run = move || {
        while slices.take(&jobs, &make) {
            slices.slice();
        }
        slices.refuse_rest();
    };
    Ok(spawn(name, run)?)
}

struct Slices<A> {
    name: &'static str,
    stack: Stack,
    state: Option<A>,
    /// The ways back of requests that were taken.
    waiting: BTreeMap<u64, Reply>,
    next: u64,
}

impl<A: AnswerInSlices> Slices<A> {
    /// Takes what has come; waits for something if there is nothing to do. False once the queue has ended.
    fn take<E: std::fmt::Display>(&mut self, jobs: &Receiver<Job>, make: &impl Fn() -> Result<A, E>) -> bool {
        if !self.state.as_ref().is_some_and(A::has_work) {
            match jobs.recv() {
                Ok(job) => self.take_one(job, make),
                Err(_) => return false,
            }
        }
        loop {
            match jobs.try_recv() {
                Ok(job) => self.take_one(job, make),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn take_one<E: std::fmt::Display>(&mut self, Job { request, reply }: Job, make: &impl Fn() -> Result<A, E>) {
        if self.state.is_none() {
            self.state = again(self.name, &mut self.stack, make);
        }
        match &mut self.state {
            Some(state) => {
                self.waiting.insert(self.next, reply);
                state.take(self.next, request);
                self.next += 1;
            }
            None => reply.send(Err(Deny::Store)),
        }
    }

    fn slice(&mut self) {
        let Some(state) = self.state.as_mut().filter(|state| state.has_work()) else { return };
        let turn = state.turn();
        match guarded(self.name, &mut self.stack, || state.slice()) {
            Some(answers) => {
                for (number, answer) in answers {
                    if let Some(reply) = self.waiting.remove(&number) {
                        reply.send(answer);
                    }
                }
            }
            None => {
                // Half-done changes in memory are forgotten; what is durable is whole. The others may ask again.
                self.state = None;
                if let Some(reply) = turn.and_then(|number| self.waiting.remove(&number)) {
                    reply.send(Err(Deny::Device));
                }
                self.refuse_rest();
            }
        }
    }

    fn refuse_rest(&mut self) {
        for (_, reply) in std::mem::take(&mut self.waiting) {
            reply.send(Err(Deny::Busy));
        }
    }
}

/// Starts a thread that answers groups of requests, with state from `make`.
///
/// # Errors
/// Those of `make`, or the system starts no thread.
pub fn by_group<A: AnswerGroup + Send + 'static, E: std::fmt::Display + From<std::io::Error>>(
    name: &'static str,
    mut stack: Stack,
    jobs: Arc<Mutex<Receiver<Job>>>,
    make: impl Fn() -> Result<A, E> + Send + 'static,
) -> Result<JoinHandle<()>, E> {
    let mut state = Some(stack.run(&make)?);
    let run = move || {
        while let Some(group) = group(&jobs) {
            if state.is_none() {
                state = again(name, &mut stack, &make);
            }
            let done = match state.as_mut() {
                Some(state) => guarded(name, &mut stack, || state.answer(group)).is_some(),
                None => {
                    group.into_iter().for_each(|job| job.reply.send(Err(Deny::Store)));
                    true
                }
            };
            if !done {
                state = None;
            }
        }
    };
    Ok(spawn(name, run)?)
}

fn group(jobs: &Mutex<Receiver<Job>>) -> Option<Vec<Job>> {
    // Whoever waits holds the queue; the others work meanwhile.
    let jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
    let mut group = vec![jobs.recv().ok()?];
    while group.len() < GROUP
        && let Ok(job) = jobs.try_recv()
    {
        group.push(job);
    }
    Some(group)
}

fn again<A, E: std::fmt::Display>(name: &str, stack: &mut Stack, make: &impl Fn() -> Result<A, E>) -> Option<A> {
    // What is taken up from disk passes the stack, too.
    stack.run(make).inspect_err(|error| crate::alarm!("the worker for {name} cannot begin again: {error}")).ok()
}

/// Runs a request on its stack, which is wiped afterwards; `None` if it panicked.
fn guarded<T>(name: &str, stack: &mut Stack, work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(|| stack.run(work)))
        .inspect_err(|_| crate::alarm!("a request for {name} failed in a way that is an error of this program"))
        .ok()
}

fn spawn(name: &'static str, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

#[cfg(test)]
mod tests;
