//! The listeners: accepting within bounds, TLS, timeouts, and an orderly end.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::admin;
use super::backend::Backend;
use super::http::Shared;
use super::limit::{Limits, caller_key};
use super::methods::Api;
use super::metrics::Metrics;
use super::tls::Tls;

/// For a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For requests that are under way when the end comes.
const DRAIN: Duration = Duration::from_secs(5);
/// Connections of the operator's listener.
const ADMIN_CONNECTIONS: usize = 32;

/// What the listeners serve.
pub struct Server {
    /// The rest of the node.
    pub backend: Arc<dyn Backend>,
    /// Bounds of the public listener.
    pub limits: Limits,
    /// Metrics of both.
    pub metrics: Arc<Metrics>,
    /// TLS of the public listener; plain HTTP without.
    pub tls: Option<Arc<Tls>>,
}

/// Serves the public listener until `stop` turns true, then finishes what is under way. The socket was bound before
/// the process was locked down.
pub async fn serve_api(listener: TcpListener, server: Server, stop: watch::Receiver<bool>) -> std::io::Result<()> {
    let Server { backend, limits, metrics, tls } = server;
    let watcher = tls.clone().map(|tls| tokio::spawn(tls.watch()));
    let api = Api::new(backend, &limits);
    let shared = Arc::new(Shared::new(api, limits.clone(), Arc::clone(&metrics)));
    let guests = Arc::new(Guests { most: limits.connections_per_address, open: Mutex::default(), metrics });
    let result = accept(listener, limits.connections, stop, move |stream, address, stop| {
        let guest = guests.enter(caller_key(address));
        let (shared, tls, limits) = (Arc::clone(&shared), tls.clone(), limits.clone());
        async move {
            let Some(_guest) = guest else { return };
            let service = move |request: Request<Incoming>| {
                let shared = Arc::clone(&shared);
                async move { shared.answer(request, address).await }
            };
            match tls {
                None => connection(stream, service, limits.head, limits.connection, stop).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.acceptor().accept(stream)).await {
                        connection(stream, service, limits.head, limits.connection, stop).await;
                    }
                }
            }
        }
    })
    .await;
    if let Some(watcher) = watcher {
        watcher.abort();
    }
    result
}

/// Serves the operator's listener until `stop` turns true.
pub async fn serve_admin(
    listener: TcpListener,
    backend: Arc<dyn Backend>,
    metrics: Arc<Metrics>,
    stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    accept(listener, ADMIN_CONNECTIONS, stop, move |stream, _, stop| {
        let (backend, metrics) = (Arc::clone(&backend), Arc::clone(&metrics));
        async move {
            let service = move |request: Request<Incoming>| {
                let response = admin::answer(&backend, &metrics, request.method(), request.uri().path());
                std::future::ready(response)
            };
            connection(stream, service, Duration::from_secs(15), Duration::from_secs(600), stop).await;
        }
    })
    .await
}

/// Accepts connections, never more than `most` at once: further ones wait in the kernel's queue.
async fn accept<F>(
    listener: TcpListener,
    most: usize,
    mut stop: watch::Receiver<bool>,
    mut serve: impl FnMut(TcpStream, IpAddr, watch::Receiver<bool>) -> F,
) -> std::io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(most));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            _ = connections.join_next(), if !connections.is_empty() => continue,
            accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            } => accepted,
        };
        match accepted {
            (Ok(place), Ok((stream, peer))) => {
                // Small answers, one write each: nothing is gained by waiting to fill a packet.
                let _ = stream.set_nodelay(true);
                let served = serve(stream, peer.ip(), stop.clone());
                connections.spawn(async move {
                    served.await;
                    drop(place);
                });
            }
            (_, Err(error)) => {
                // Out of descriptors, or a guest that left already: waiting lets connections end.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            (Err(_), _) => break,
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
    Ok(())
}

/// Serves one connection within its times.
async fn connection<S, H, F>(stream: S, handler: H, head: Duration, whole: Duration, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Full<Bytes>>>,
{
    let service = service_fn(|request| {
        let response = handler(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = async { tokio::select! { () = stopped(&mut stop) => (), () = tokio::time::sleep(whole) => () } } => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(DRAIN, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Returns when the end has come; a sender that is gone is an end.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Who is connected, so that one address cannot take all places.
struct Guests {
    most: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
    metrics: Arc<Metrics>,
}

struct Guest {
    guests: Arc<Guests>,
    address: IpAddr,
}

impl Guests {
    fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Guest> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let held = open.entry(address).or_insert(0);
        if *held >= self.most {
            drop(open);
            self.metrics.connection_refused();
            return None;
        }
        *held += 1;
        self.metrics.connections(open.values().sum());
        Some(Guest { guests: Arc::clone(self), address })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut open = self.guests.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = open.get_mut(&self.address) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                open.remove(&self.address);
            }
        }
        self.guests.metrics.connections(open.values().sum());
    }
}
