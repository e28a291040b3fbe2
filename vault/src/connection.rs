//! One connection's way back: answers are queued for one writer thread, and nobody waits for a node that does not read.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::time::Duration;

use torus_ipc::frame::encode;
use torus_ipc::{Deny, Response};

/// Answers that may wait for the writer.
pub const OUTGOING: usize = 1024;

const PATIENCE: Duration = Duration::from_secs(20);

/// The node's connection.
pub struct Connection {
    stream: UnixStream,
    open: AtomicBool,
}

impl Connection {
    /// Takes an accepted stream.
    ///
    /// # Errors
    /// The system refuses its time limit.
    pub fn new(stream: UnixStream) -> std::io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, open: AtomicBool::new(true) })
    }

    /// The stream, to read from.
    pub const fn stream(&self) -> &UnixStream {
        &self.stream
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
    // Held until the answer is written: it bounds what waits in memory.
    _place: Option<Place>,
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

    /// Queues the answer. A node that leaves a thousand answers unread loses its connection.
    pub fn send(mut self, answer: Result<Response, Deny>) {
        self.answer(answer);
    }

    fn answer(&mut self, answer: Result<Response, Deny>) {
        // Taken, so that no second answer follows.
        let Some(writer) = self.writer.take() else { return };
        let response = answer.unwrap_or_else(Response::Denied);
        let frames = encode(self.id, &response).or_else(|error| {
            crate::alarm!("an answer does not fit a message: {error}");
            encode(self.id, &Response::Denied(Deny::Malformed))
        });
        let Ok(frames) = frames else { return };
        let outgoing = Outgoing { connection: self.connection.clone(), frames, _place: self.place.take() };
        if let Err(TrySendError::Full(_)) = writer.try_send(outgoing) {
            crate::warning!("the node does not read its answers: connection closed");
            self.connection.close();
        }
    }
}

impl Drop for Reply {
    /// A request whose worker failed is refused, not left without an answer.
    fn drop(&mut self) {
        self.answer(Err(Deny::Device));
    }
}

/// Writes answers until all who could send one are gone.
pub fn write_all(outgoing: &Receiver<Outgoing>) {
    for Outgoing { connection, frames, _place } in outgoing {
        if connection.open.load(Ordering::Relaxed) && (&connection.stream).write_all(&frames).is_err() {
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
