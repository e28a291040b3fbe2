//! The vault's one door: a Unix socket, one node at a time, bounded frames, answers out of order by number.
//!
//! A connection of another uid is refused. A malformed or oversized frame closes the connection with a logged reason
//! and costs nothing else. The vault outlives its node; only a signal ends it, or a listening socket that is none any
//! more. That a connection cannot be taken up now, for want of descriptors or memory, ends nothing.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use torus_ipc::frame::{Assembler, BadFrame, encode};
use torus_ipc::{Deny, IPC_VERSION, Request, Response};
use torus_statement::codec::Wire;

use crate::connection::{Connection, Outgoing, Place, Reply};
use crate::descriptors::{either_until, peer_uid};
use crate::log::{Level, Limit};
use crate::member::Member;
use crate::workers::{Job, Queues};

/// Bytes that one read takes.
const READ: usize = 64 << 10;
/// How long the door rests when no connection can be taken up; the node that knocks waits as long.
const REST: Duration = Duration::from_millis(100);
/// How often the door looks whether the next epoch was taken up.
const GLANCE: Duration = Duration::from_millis(500);

/// The door and what stands behind it.
pub struct Server {
    /// Who the vault is.
    pub member: Arc<Member>,
    /// The uid that may connect.
    pub node_uid: u32,
    /// Where requests go.
    pub queues: Queues,
    /// Where answers go.
    pub writer: SyncSender<Outgoing>,
}

enum Ended {
    Gone,
    Stop,
    Refused(&'static str),
    Frame(BadFrame),
    System(io::Error),
}

impl Server {
    /// Serves one connection after another until the signal to stop, or until the next epoch is taken up.
    ///
    /// # Errors
    /// The listening socket is broken: no later connection could be taken up either.
    pub fn run(&self, listener: &UnixListener, stop: &OwnedFd) -> io::Result<()> {
        while !self.member.leaving.load(Ordering::Acquire) {
            let stream = match either_until(stop, listener, Instant::now() + GLANCE) {
                Ok((true, _)) => return Ok(()),
                Ok((false, true)) => listener.accept(),
                Ok((false, false)) => continue,
                Err(error) => Err(error),
            };
            let stream = match stream {
                Ok((stream, _)) => stream,
                Err(error) if gone_again(&error) => continue,
                Err(error) if broken(&error) => return Err(error),
                Err(error) => {
                    static ONCE_A_MINUTE: Limit = Limit::new(1);
                    let text = format_args!("no connection can be taken up now: {error}");
                    crate::log::line(Level::Warn, &ONCE_A_MINUTE, text);
                    std::thread::sleep(REST);
                    continue;
                }
            };
            match self.attend(stream, stop) {
                Ended::Stop => return Ok(()),
                Ended::Gone => crate::info!("the node's connection ended"),
                Ended::Refused(reason) => crate::warning!("connection closed: {reason}"),
                Ended::Frame(error) => crate::warning!("connection closed: {error}"),
                Ended::System(error) => crate::warning!("connection closed: {error}"),
            }
        }
        Ok(())
    }

    fn attend(&self, stream: UnixStream, stop: &OwnedFd) -> Ended {
        match peer_uid(&stream) {
            Ok(uid) if uid == self.node_uid => {}
            Ok(uid) => {
                crate::warning!("a connection of uid {uid} was refused, the node's is {}", self.node_uid);
                return Ended::Refused("another uid");
            }
            Err(error) => return Ended::System(error),
        }
        match Connection::new(stream, self.member.audit.clone()) {
            Err(error) => Ended::System(error),
            Ok(connection) => {
                let connection = Arc::new(connection);
                let ended = self.read(&connection, stop);
                // Whatever was malformed or hostile ends here; answers under way still leave when the vault stops.
                if !matches!(ended, Ended::Stop) {
                    connection.close();
                }
                ended
            }
        }
    }

    fn read(&self, connection: &Arc<Connection>, stop: &OwnedFd) -> Ended {
        let mut assembler = Assembler::default();
        let mut buffer = vec![0; READ];
        let mut greeted = false;
        loop {
            match either_until(stop, connection.stream(), Instant::now() + GLANCE) {
                Err(error) => return Ended::System(error),
                Ok((true, _)) => return Ended::Stop,
                // Whoever is there: what follows is for the next process.
                Ok(_) if self.member.leaving.load(Ordering::Acquire) => return Ended::Stop,
                Ok((false, false)) => continue,
                Ok((false, true)) => {}
            }
            match connection.stream().read(&mut buffer) {
                Ok(0) => return Ended::Gone,
                Ok(len) => assembler.push(buffer.get(..len).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ended::Gone,
                Err(error) => return Ended::System(error),
            }
            loop {
                match assembler.next_message() {
                    Err(error) => return Ended::Frame(error),
                    Ok(None) => break,
                    Ok(Some((id, bytes))) => {
                        if let Err(ended) = self.take(connection, &mut greeted, id, &bytes) {
                            return ended;
                        }
                    }
                }
            }
        }
    }

    fn take(&self, connection: &Arc<Connection>, greeted: &mut bool, id: u64, bytes: &[u8]) -> Result<(), Ended> {
        let reply = |place| Reply::new(connection.clone(), self.writer.clone(), id, place);
        let request = match Request::from_bytes(bytes) {
            Ok(request) => request,
            // Its frame was sound: only this request is lost.
            Err(error) if *greeted => {
                crate::warning!("a request cannot be read: {error}");
                reply(None).send(Err(Deny::Malformed));
                return Ok(());
            }
            Err(error) => return Err(Ended::Frame(error.into())),
        };
        match request {
            Request::Hello(version) if !*greeted => {
                let hello = Response::Hello(Box::new(self.member.hello()));
                if version != IPC_VERSION {
                    // Said at once, since the connection closes: the node learns which version would do.
                    let _ = encode(id, &hello).map(|frames| connection.stream().write_all(&frames));
                    return Err(Ended::Refused("the node speaks another version"));
                }
                reply(None).send(Ok(hello));
                *greeted = true;
            }
            _ if !*greeted => return Err(Ended::Refused("the first message is no greeting")),
            Request::Hello(_) => return Err(Ended::Refused("a second greeting")),
            Request::Status => reply(None).send(Ok(Response::Status(self.member.status()))),
            request => match admitted(&self.queues, connection, &request) {
                None => reply(None).send(Err(Deny::Busy)),
                Some((place, queue)) => {
                    let job = Job { request, reply: reply(Some(place)) };
                    // The queue is as long as there are places.
                    if let Err(refused) = queue.try_send(job) {
                        let (TrySendError::Full(job) | TrySendError::Disconnected(job)) = refused;
                        job.reply.send(Err(Deny::Busy));
                    }
                }
            },
        }
        Ok(())
    }
}

/// A place among the requests in flight and the queue, or nothing if the vault is busy. Answers of key generation are
/// megabytes: a node that does not read the last ones gets no more of them.
fn admitted<'a>(
    queues: &'a Queues,
    connection: &Connection,
    request: &Request,
) -> Option<(Place, &'a SyncSender<Job>)> {
    use Request as R;
    let large = matches!(request, R::Batch { .. } | R::Keys { .. } | R::Deliver(_) | R::Outbox);
    if large && !connection.keeps_up() {
        return None;
    }
    let (places, queue) = queues.of(request);
    Some((places.take()?, queue))
}

/// Nobody waits at the door any more: the visitor left, or a signal came first.
fn gone_again(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::WouldBlock | K::Interrupted | K::ConnectionAborted)
}

/// The socket is closed, no socket, or does not listen: errors of this program or its launcher, which no waiting mends.
fn broken(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBADF | libc::ENOTSOCK | libc::EINVAL | libc::EOPNOTSUPP | libc::EFAULT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::MUCH;
    use std::sync::mpsc::sync_channel;
    use torus_ipc::CommitReceipt;

    #[test]
    fn a_node_that_does_not_read_gets_nothing_more_of_key_generation_and_still_votes() {
        let (_node, vault) = UnixStream::pair().unwrap();
        let connection = Arc::new(Connection::new(vault, crate::audit::tests::scratch()).unwrap());
        let (queues, _ends) = Queues::new();
        let (writer, waiting) = sync_channel(8);
        assert!(admitted(&queues, &connection, &Request::Outbox).is_some());
        let large = CommitReceipt { data: "x".repeat(MUCH), signature: [0; 65] };
        Reply::new(connection.clone(), writer, 1, None).send(Ok(Response::Receipt(large)));
        assert!(admitted(&queues, &connection, &Request::Outbox).is_none());
        assert!(admitted(&queues, &connection, &Request::HeldVotes).is_some());
        // The writer has written it.
        drop(waiting.recv().unwrap());
        assert!(admitted(&queues, &connection, &Request::Outbox).is_some());
    }

    #[test]
    fn only_a_broken_listener_ends_the_door() {
        let of = io::Error::from_raw_os_error;
        for code in [libc::EBADF, libc::ENOTSOCK, libc::EINVAL, libc::EOPNOTSUPP, libc::EFAULT] {
            assert!(broken(&of(code)) && !gone_again(&of(code)), "{}", of(code));
        }
        for code in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS, libc::EPROTO, libc::EPERM, libc::EIO] {
            assert!(!broken(&of(code)) && !gone_again(&of(code)), "{}", of(code));
        }
        for code in [libc::EAGAIN, libc::EINTR, libc::ECONNABORTED] {
            assert!(gone_again(&of(code)) && !broken(&of(code)), "{}", of(code));
        }
    }
}
