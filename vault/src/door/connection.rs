//! One connection's way back: answers are queued for one writer thread, and nobody waits for a node that does not read.
//!
//! What waits is bounded in bytes. A connection with much unread gets nothing more of key generation, whose answers are the
//! large ones, until it reads (*busy*); one that leaves [`UNREAD`] bytes or a thousand answers unread is closed.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::time::Duration;

use torus_ipc::frame::{MAX_MESSAGE, encode};
use torus_ipc::{Deny, Response};

use crate::audit::Journal;

/// Answers that may wait for the writer.
pub const OUTGOING: usize = 1024;
/// Bytes that may wait for the writer: four of the largest messages.
pub const UNREAD: usize = 4 * MAX_MESSAGE;
/// Above so many unread bytes no request with large answers is taken up.
pub(crate) const MUCH: usize = MAX_MESSAGE - (64 << 10);

const PATIENCE: Duration = Duration::from_secs(20);

/// The node's connection.
pub struct Connection {
    stream: UnixStream,
    open: AtomicBool,
    unread: AtomicUsize,
    /// Where refusals that leave are counted.
    audit: Arc<Journal>,
}

impl Connection {
    /// Takes an accepted stream.
    ///
    /// # Errors
    /// The system refuses its time limit.
    pub fn new(stream: UnixStream, audit: Arc<Journal>) -> std::io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, open: AtomicBool::new(true), unread: AtomicUsize::new(0), audit })
    }

    /// The stream, to read from.
    pub const fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Whether the node has read enough of its answers to be given large ones.
    pub fn keeps_up(&self) -> bool {
        self.unread.load(Ordering::Relaxed) <= MUCH
    }

    /// Closes both directions.
    pub fn close(&self) {
        if self.open.swap(false, Ordering::Relaxed) {
            let _ = self.stream.shutdown(Shutdown::Both);
        }
    }
}

/// An answer on its way.
pub struct Outgoing {
    connection: Arc<Connection>,
    frames: Vec<u8>,
    /// Nothing follows: the connection closes behind it.
    last: bool,
    // Held until the answer is written: it bounds what is in flight.
    _place: Option<Place>,
}

impl Outgoing {
    /// Counts the frames as unread; `None` if that would be too much.
    fn new(connection: &Arc<Connection>, frames: Vec<u8>, last: bool, place: Option<Place>) -> Option<Self> {
        let before = connection.unread.fetch_add(frames.len(), Ordering::Relaxed);
        // Made in any case, so that what was counted is given back.
        let outgoing = Self { connection: connection.clone(), frames, last, _place: place };
        (before.saturating_add(outgoing.frames.len()) <= UNREAD).then_some(outgoing)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.connection.unread.fetch_sub(self.frames.len(), Ordering::Relaxed);
    }
}

/// Where an answer goes.
pub struct Reply {
    connection: Arc<Connection>,
    writer: Option<SyncSender<Outgoing>>,
    id: u64,
    place: Option<Place>,
}

impl Reply {
    /// The way back for request `id` of a connection, with its place among those in flight.
    pub const fn new(connection: Arc<Connection>, writer: SyncSender<Outgoing>, id: u64, place: Option<Place>) -> Self {
        Self { connection, writer: Some(writer), id, place }
    }

    /// Queues the answer; a refusal is counted. A node that leaves too much unread loses its connection.
    pub fn send(mut self, answer: Result<Response, Deny>) {
        self.answer(answer, false);
    }

    /// Queues a refusal that was counted already.
    pub fn refuse_recorded(mut self, deny: Deny) {
        self.answer(Err(deny), true);
    }

    fn answer(&mut self, answer: Result<Response, Deny>, counted: bool) {
        // Taken, so that no second answer follows.
        let Some(writer) = self.writer.take() else { return };
        if let (Err(deny), false) = (&answer, counted) {
            self.connection.audit.refused(*deny);
        }
        if !self.connection.open.load(Ordering::Relaxed) {
            return;
        }
        let response = answer.unwrap_or_else(Response::Denied);
        let frames = encode(self.id, &response).or_else(|error| {
            crate::alarm!("an answer does not fit a message: {error}");
            encode(self.id, &Response::Denied(Deny::Malformed))
        });
        let Ok(frames) = frames else { return };
        let last = matches!(response, Response::TakenUp);
        let queued = match Outgoing::new(&self.connection, frames, last, self.place.take()) {
            Some(outgoing) => !matches!(writer.try_send(outgoing), Err(TrySendError::Full(_))),
            None => false,
        };
        if !queued {
            crate::warning!("the node does not read its answers: connection closed");
            self.connection.close();
        }
    }
}

impl Drop for Reply {
    /// A request whose worker failed is refused, not left without an answer.
    fn drop(&mut self) {
        self.answer(Err(Deny::Device), false);
    }
}

/// Writes answers until all who could send one are gone.
pub fn write_all(outgoing: &Receiver<Outgoing>) {
    for answer in outgoing {
        let connection = &answer.connection;
        let open = connection.open.load(Ordering::Relaxed);
        if open && ((&connection.stream).write_all(&answer.frames).is_err() || answer.last) {
            connection.close();
        }
    }
}

/// How many requests of a kind may be in flight.
pub struct Places {
    taken: Arc<AtomicUsize>,
    limit: usize,
}

/// One of them, given back when dropped.
pub struct Place(Arc<AtomicUsize>);

impl Places {
    /// So many.
    pub fn new(limit: usize) -> Self {
        Self { taken: Arc::default(), limit }
    }

    /// One, if any is free.
    pub fn take(&self) -> Option<Place> {
        // Only the reading thread takes places: between the two steps the number can only fall.
        if self.taken.load(Ordering::Relaxed) >= self.limit {
            return None;
        }
        self.taken.fetch_add(1, Ordering::Relaxed);
        Some(Place(self.taken.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::sync::mpsc::sync_channel;
    use torus_ipc::CommitReceipt;

    /// An answer of about so many bytes.
    fn large(bytes: usize) -> Response {
        Response::Receipt(CommitReceipt { data: "x".repeat(bytes), signature: [0; 65] })
    }

    #[test]
    fn what_a_node_does_not_read_is_bounded_in_bytes() {
        const ANSWER: usize = 12 << 20;
        let (mut node, vault) = UnixStream::pair().unwrap();
        let connection = Arc::new(Connection::new(vault, crate::audit::tests::scratch()).unwrap());
        // Nothing is taken out, as when the writer waits for a node that does not read.
        let (writer, waiting) = sync_channel(OUTGOING);
        let places = Places::new(32);
        let mut most = 0;
        for id in 0..32 {
            let reply = Reply::new(connection.clone(), writer.clone(), id, places.take());
            reply.send(Ok(large(ANSWER)));
            most = most.max(connection.unread.load(Ordering::Relaxed));
        }
        assert!((4 * ANSWER..=UNREAD).contains(&most), "{most} bytes wait");
        assert!(!connection.keeps_up());
        // The connection was closed; the writer passes over what is left, and all of it is given back.
        assert_eq!(node.read(&mut [0; 1]).unwrap(), 0);
        drop(writer);
        write_all(&waiting);
        assert_eq!(connection.unread.load(Ordering::Relaxed), 0);
        assert!((0..32).all(|_| places.take().map(std::mem::forget).is_some()));
    }

    #[test]
    fn an_answer_of_any_size_that_a_message_has_leaves() {
        let (mut node, vault) = UnixStream::pair().unwrap();
        let connection = Arc::new(Connection::new(vault, crate::audit::tests::scratch()).unwrap());
        let (writer, waiting) = sync_channel(OUTGOING);
        let answer = large(MAX_MESSAGE - 200);
        let expected = encode(7, &answer).unwrap();
        Reply::new(connection.clone(), writer, 7, None).send(Ok(answer));
        let reading = std::thread::spawn(move || {
            let mut got = Vec::new();
            node.read_to_end(&mut got).unwrap();
            got
        });
        write_all(&waiting);
        connection.close();
        assert!(reading.join().unwrap() == expected);
    }

    #[test]
    fn places_are_bounded_and_come_back() {
        let places = Places::new(2);
        let first = places.take();
        let second = places.take();
        assert!(first.is_some() && second.is_some() && places.take().is_none());
        drop(first);
        assert!(places.take().is_some());
    }
}
