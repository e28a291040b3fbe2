//! What waits for what when the device is slow, and what a failing request leaves behind.

use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};

use torus_ipc::frame::Assembler;
use torus_statement::vote::{Step, Vote};

use super::*;
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
        Self { node, connection: Arc::new(Connection::new(vault).unwrap()), writer, assembler: Assembler::default() }
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
    by_group("users", users, move || Ok::<_, std::io::Error>(Slow(wait.lock().unwrap().take().unwrap()))).unwrap();
    go
}

#[test]
fn votes_come_before_commits_when_the_device_is_slow() {
    let mut wire = Wire::new();
    let (queues, ends) = Queues::new();
    let go = slow(ends.users);
    one_by_one("votes", ends.votes, || Ok::<_, std::io::Error>(Quick)).unwrap();
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
    one_by_one("votes", ends.votes, || Ok::<_, std::io::Error>(Quick)).unwrap();
    assert!(wire.put(&queues, 1, Request::HeldVotes));
    assert_eq!(wire.answer(), (1, Response::Denied(Deny::Device)));
    assert!(wire.put(&queues, 2, vote()));
    assert_eq!(wire.answer(), (2, Response::Done));
}
