//! The node's end of the narrow IPC: many requests in flight over one Unix socket, answers in any order.
//!
//! The link never reconnects: when the vault goes away, or says something that cannot be read, the node exits and its
//! supervisor starts it again. That keeps one truth about what the vault was asked.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use torus_ipc::frame::{Assembler, BadFrame, encode};
use torus_ipc::{Deny, Hello, IPC_VERSION, Request, Response};

/// Requests that may wait for the socket; above it the node answers busy instead of queueing.
const QUEUE: usize = 256;

/// A handle to the vault; clones share the connection.
#[derive(Clone)]
pub struct VaultLink {
    out: mpsc::Sender<Vec<u8>>,
    pending: Pending,
    next: Arc<AtomicU64>,
    closed: watch::Receiver<bool>,
}

type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<Response>>>>;

/// Why an answer did not come.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The socket cannot be reached: is torus-vault running, and does the node's uid match its --node-uid?
    #[error(
        "the vault's socket {0} cannot be reached ({1}): is torus-vault running, and is this node's uid the one it was given?"
    )]
    Connect(String, std::io::Error),
    /// The vault speaks another version, or did not greet.
    #[error("the vault did not greet as this node's version {IPC_VERSION} expects")]
    Greeting,
    /// The connection has ended.
    #[error("the vault has gone away")]
    Closed,
    /// The request is too large for a message.
    #[error(transparent)]
    Frame(#[from] BadFrame),
    /// No answer in time.
    #[error("the vault did not answer within {0:?}")]
    Timeout(Duration),
    /// The vault refused.
    #[error("the vault refused: {0}")]
    Denied(Deny),
    /// The answer is not of the kind that the request asks for.
    #[error("the vault answered something else")]
    Unexpected,
}

impl VaultLink {
    /// Connects and greets.
    pub async fn connect(path: &Path) -> Result<(Self, Hello), LinkError> {
        let stream =
            UnixStream::connect(path).await.map_err(|error| LinkError::Connect(path.display().to_string(), error))?;
        let (mut read, mut write) = stream.into_split();
        let (out, mut outgoing) = mpsc::channel::<Vec<u8>>(QUEUE);
        let (gone, closed) = watch::channel(false);
        let pending: Pending = Arc::default();

        tokio::spawn(async move {
            while let Some(bytes) = outgoing.recv().await {
                if write.write_all(&bytes).await.is_err() {
                    break;
                }
            }
        });
        let waiting = pending.clone();
        tokio::spawn(async move {
            let mut assembler = Assembler::default();
            let mut buffer = vec![0; 64 << 10];
            'connection: while let Ok(len @ 1..) = read.read(&mut buffer).await {
                assembler.push(buffer.get(..len).unwrap_or_default());
                loop {
                    match assembler.next_parsed::<Response>() {
                        Ok(Some((id, response))) => {
                            if let Some(answer) = lock(&waiting).remove(&id) {
                                // The asker may have given up.
                                let _ = answer.send(response);
                            }
                        }
                        Ok(None) => break,
                        Err(error) => {
                            tracing::error!(%error, "the vault's answers cannot be read");
                            break 'connection;
                        }
                    }
                }
            }
            // Dropping the senders wakes everyone who still waits.
            lock(&waiting).clear();
            let _ = gone.send(true);
        });

        let link = Self { out, pending, next: Arc::default(), closed };
        match link.ask(Request::Hello(IPC_VERSION)).await? {
            Response::Hello(hello) if hello.version == IPC_VERSION => Ok((link, *hello)),
            _ => Err(LinkError::Greeting),
        }
    }

    /// Asks, and waits up to a minute. A refusal comes back as `Response::Denied`.
    pub async fn ask(&self, request: Request) -> Result<Response, LinkError> {
        self.ask_within(request, Duration::from_secs(60)).await
    }

    /// Asks, and waits as long as given.
    pub async fn ask_within(&self, request: Request, limit: Duration) -> Result<Response, LinkError> {
        if *self.closed.borrow() {
            return Err(LinkError::Closed);
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let frames = encode(id, &request)?;
        let (answer, answered) = oneshot::channel();
        lock(&self.pending).insert(id, answer);
        let exchange = async {
            self.out.send(frames).await.map_err(|_| LinkError::Closed)?;
            answered.await.map_err(|_| LinkError::Closed)
        };
        let outcome = tokio::time::timeout(limit, exchange).await.unwrap_or(Err(LinkError::Timeout(limit)));
        if outcome.is_err() {
            lock(&self.pending).remove(&id);
        }
        outcome
    }

    /// Whether the connection has ended.
    pub fn is_gone(&self) -> bool {
        *self.closed.borrow()
    }

    /// Resolves when the connection has ended.
    pub async fn gone(&self) {
        let mut closed = self.closed.clone();
        // An error means that the reader is gone, which is the same.
        let _ = closed.wait_for(|closed| *closed).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
