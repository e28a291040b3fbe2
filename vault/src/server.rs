//! The vault's one door: a Unix socket, one node at a time, bounded frames, answers out of order by number.
//!
//! A connection of another uid is refused. A malformed or oversized frame closes the connection with a logged reason
//! and costs nothing else. The vault outlives its node; only a signal ends it.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use torus_ipc::frame::{Assembler, BadFrame, encode};
use torus_ipc::{Deny, IPC_VERSION, Request, Response};
use torus_statement::codec::Wire;

use crate::connection::{Connection, Outgoing, Places, Reply};
use crate::descriptors::{either, peer_uid};
use crate::member::Member;
use crate::workers::{Job, Queues};

/// Bytes that one read takes.
const READ: usize = 64 << 10;

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
    /// Serves one connection after another until the signal to stop.
    ///
    /// # Errors
    /// The listening socket fails.
    pub fn run(&self, listener: &UnixListener, stop: &OwnedFd) -> io::Result<()> {
        loop {
            let (stopping, _) = either(stop, listener)?;
            if stopping {
                return Ok(());
            }
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            match self.attend(stream, stop) {
                Ended::Stop => return Ok(()),
                Ended::Gone => crate::info!("the node's connection ended"),
                Ended::Refused(reason) => crate::warning!("connection closed: {reason}"),
                Ended::Frame(error) => crate::warning!("connection closed: {error}"),
                Ended::System(error) => crate::warning!("connection closed: {error}"),
            }
        }
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
        match Connection::new(stream) {
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
            match either(stop, connection.stream()) {
                Err(error) => return Ended::System(error),
                Ok((true, _)) => return Ended::Stop,
                Ok((false, _)) => {}
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
            request => {
                let (places, queue): (&Places, _) = self.queues.of(&request);
                match places.take() {
                    None => reply(None).send(Err(Deny::Busy)),
                    Some(place) => {
                        let job = Job { request, reply: reply(Some(place)) };
                        // The queue is as long as there are places.
                        if let Err(refused) = queue.try_send(job) {
                            let (std::sync::mpsc::TrySendError::Full(job)
                            | std::sync::mpsc::TrySendError::Disconnected(job)) = refused;
                            job.reply.send(Err(Deny::Busy));
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
