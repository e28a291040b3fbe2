//! What waits for what when the device is slow, and what a failing request leaves behind.

use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};

use torus_ipc::frame::Assembler;
use torus_statement::vote::{Step, Vote};

use super::*;
use crate::audit::tests::scratch;
use crate::connection::{Connection, OUTGOING, Outgoing, write_all};

/// A node's end of a connection, and the vault's.
struct Wire {
    node: UnixStream,
    connection: Arc<Connection>,
    writer: SyncSender<Outgoing>,
    assembler: Assembler,
}

impl Wire {
    fn new() -> Self {
        let (node, vault) = UnixStream::pair().unwrap();
        let (writer, outgoing) = sync_channel(OUTGOING);
        thread::spawn(move || write_all(&outgoing));
        let connection = Arc::new(Connection::new(vault, scratch()).unwrap());
        Self { node, connection, writer, assembler: Assembler::default() }
    }

    /// Queues a request as the reading thread does; false if all places of its kind are taken.
    fn put(&self, queues: &Queues, id: u64, request: Request) -> bool {
        let (places, queue) = queues.of(&request);
        let Some(place) = places.take() else { return false };
        let reply = Reply::new(self.connection.clone(), self.writer.clone(), id, Some(place));
        queue.try_send(Job { request, reply }).is_ok()
    }

    fn answer(&mut self) -> (u64, Response) {
        use std::io::Read;
        loop {
            if let Some(answer) = self.assembler.next_parsed().unwrap() {
                return answer;
            }
            let mut bytes = [0; 4096];
            let count = self.node.read(&mut bytes).unwrap();
            assert!(count > 0, "the connection has ended");
            self.assembler.push(&bytes[..count]);
        }
    }
}

/// A device that takes as long as it is not told to go on.
struct Slow(Receiver<()>);

impl AnswerGroup for Slow {
    fn answer(&mut self, group: Vec<Job>) {
        self.0.recv().unwrap();
        group.into_iter().for_each(|job| job.reply.send(Ok(Response::Done)));
    }
}

fn stack() -> Stack {
    // The standard panic hook, which a test has and the daemon has not, wants more than a request does.
    Stack::new(Box::leak(vec![0; 8 << 20].into_boxed_slice()))
}

struct Quick;

impl Answer for Quick {
    fn answer(&mut self, request: Request) -> Result<Response, Deny> {
        if matches!(request, Request::HeldVotes) {
            panic!("an error of the program");
        }
        Ok(Response::Done)
    }
}

fn vote() -> Request {
    let vote = Vote { step: Step::Prevote, height: 1, round: 0, block: None };
    Request::SignVote(torus_ipc::VoteRequest { vote, evidence: Vec::new() })
}

fn commit() -> Request {
    let temporary = torus_statement::Point::new(&k256::ProjectivePoint::GENERATOR).unwrap();
    let verifier = torus_statement::text::VerifierName::new("demo").unwrap();
    Request::Commit { token: [1; 32], temporary, verifier }
}

fn slow(users: Arc<Mutex<Receiver<Job>>>) -> Sender<()> {
    let (go, wait) = channel();
    let wait = Mutex::new(Some(wait));
    by_group("users", stack(), users, move || Ok::<_, std::io::Error>(Slow(wait.lock().unwrap().take().unwrap())))
        .unwrap();
    go
}

#[test]
fn votes_come_before_commits_when_the_device_is_slow() {
    let mut wire = Wire::new();
    let (queues, ends) = Queues::new();
    let go = slow(ends.users);
    one_by_one("votes", stack(), ends.votes, || Ok::<_, std::io::Error>(Quick)).unwrap();
    // More commits than there is room for, all of them before the first vote; no device operation ends.
    let taken = (0..1000).filter(|id| wire.put(&queues, *id, commit())).count();
    assert_eq!(taken, USERS, "the rest is told that the vault is busy");
    for id in 2000..2040 {
        assert!(wire.put(&queues, id, vote()));
        assert_eq!(wire.answer(), (id, Response::Done));
    }
    // The device is back: every commit that was taken is answered, and there is room again.
    (0..USERS).for_each(|_| go.send(()).unwrap());
    for _ in 0..USERS {
        assert_eq!(wire.answer().1, Response::Done);
    }
    assert!(wire.put(&queues, 3000, commit()));
}

#[test]
fn a_request_that_panics_is_refused_and_the_next_is_answered() {
    let mut wire = Wire::new();
    let (queues, ends) = Queues::new();
    one_by_one("votes", stack(), ends.votes, || Ok::<_, std::io::Error>(Quick)).unwrap();
    assert!(wire.put(&queues, 1, Request::HeldVotes));
    assert_eq!(wire.answer(), (1, Response::Denied(Deny::Device)));
    assert!(wire.put(&queues, 2, vote()));
    assert_eq!(wire.answer(), (2, Response::Done));
}

/// Needs as many slices as a request's height says, and panics at height 0.
#[derive(Default)]
struct Long {
    tasks: std::collections::VecDeque<(u64, u64)>,
    slices: Arc<std::sync::atomic::AtomicU64>,
    /// Lets the next slice end.
    gate: Option<Receiver<()>>,
}

impl AnswerInSlices for Long {
    fn take(&mut self, number: u64, request: Request) {
        let slices = match request {
            Request::SignVote(request) => request.vote.height,
            _ => 1,
        };
        self.tasks.push_back((number, slices));
    }

    fn has_work(&self) -> bool {
        !self.tasks.is_empty()
    }

    fn turn(&self) -> Option<u64> {
        self.tasks.front().map(|(number, _)| *number)
    }

    fn slice(&mut self) -> Vec<(u64, Result<Response, Deny>)> {
        if let Some(gate) = &self.gate {
            gate.recv().unwrap();
        }
        self.slices.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let Some((number, left)) = self.tasks.pop_front() else { return Vec::new() };
        match left {
            0 => panic!("an error of the program"),
            1 => vec![(number, Ok(Response::Done))],
            _ => {
                self.tasks.push_back((number, left - 1));
                Vec::new()
            }
        }
    }
}

fn long(slices: u64) -> Request {
    let vote = Vote { step: Step::Prevote, height: slices, round: 0, block: None };
    Request::SignVote(torus_ipc::VoteRequest { vote, evidence: Vec::new() })
}

/// A worker whose slices end when it is told, and what counts them.
fn gated(ends: Receiver<Job>) -> (Sender<()>, Arc<std::sync::atomic::AtomicU64>, JoinHandle<()>) {
    let (go, gate) = channel();
    let gate = Mutex::new(Some(gate));
    let slices = Arc::<std::sync::atomic::AtomicU64>::default();
    let counted = slices.clone();
    let make = move || {
        let gate = gate.lock().unwrap().take();
        Ok::<_, std::io::Error>(Long { gate, slices: counted.clone(), ..Long::default() })
    };
    let worker = in_slices("keys", stack(), ends, make).unwrap();
    (go, slices, worker)
}

#[test]
fn a_request_that_comes_between_slices_is_answered_before_a_long_one() {
    let mut wire = Wire::new();
    let (queues, ends) = Queues::new();
    let (go, _, _worker) = gated(ends.votes);
    assert!(wire.put(&queues, 1, long(50)));
    (0..3).for_each(|_| go.send(()).unwrap());
    assert!(wire.put(&queues, 2, long(1)));
    (0..3).for_each(|_| go.send(()).unwrap());
    assert_eq!(wire.answer(), (2, Response::Done));
    (0..45).for_each(|_| go.send(()).unwrap());
    assert_eq!(wire.answer(), (1, Response::Done));
}

#[test]
fn a_stop_waits_for_the_present_slice_alone_and_what_is_not_done_may_be_asked_again() {
    let mut wire = Wire::new();
    let (queues, ends) = Queues::new();
    let (go, slices, worker) = gated(ends.votes);
    for id in 1..=3 {
        assert!(wire.put(&queues, id, long(1_000_000)));
    }
    go.send(()).unwrap();
    while slices.load(std::sync::atomic::Ordering::Relaxed) == 0 {
        thread::yield_now();
    }
    // The second slice is under way, or about to begin.
    drop(queues);
    go.send(()).unwrap();
    worker.join().unwrap();
    assert!(slices.load(std::sync::atomic::Ordering::Relaxed) <= 2);
    let mut refused = [wire.answer(), wire.answer(), wire.answer()];
    refused.sort_by_key(|(id, _)| *id);
    assert_eq!(refused, [1, 2, 3].map(|id| (id, Response::Denied(Deny::Busy))));
}

#[test]
fn a_slice_that_panics_costs_its_own_request_and_the_others_may_be_asked_again() {
    let mut wire = Wire::new();
    let (queues, ends) = Queues::new();
    let (go, _, _worker) = gated(ends.votes);
    assert!(wire.put(&queues, 1, long(50)));
    go.send(()).unwrap();
    assert!(wire.put(&queues, 2, long(0)));
    // More than enough to come to the second request's turn, whenever it was taken; the gate may be gone by then.
    (0..20).for_each(|_| {
        let _ = go.send(());
    });
    let mut answers = [wire.answer(), wire.answer()];
    answers.sort_by_key(|(id, _)| *id);
    assert_eq!(answers, [(1, Response::Denied(Deny::Busy)), (2, Response::Denied(Deny::Device))]);
    // Made anew, without a gate.
    assert!(wire.put(&queues, 3, long(2)));
    assert_eq!(wire.answer(), (3, Response::Done));
}
