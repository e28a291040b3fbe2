//! One HTTP request to one endpoint, bounded in size and time, over a connection that is kept for the next.
//!
//! Names are resolved by whoever owns the process: here nothing opens a file or sends a datagram, which the node's
//! filter would end it for. Redirects are not followed: an endpoint is where the operator said it is.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::url::Url;

/// Most bytes of an answer: a block's header and its transactions' hashes are the most that is asked for.
pub const MAX_ANSWER: usize = 1 << 20;
/// Most bytes of an answer's head.
const MAX_HEAD: usize = 32 << 10;

/// Finds the addresses of a host's name.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// At least one address, or why there is none.
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String>;
}

/// Resolves nothing: every endpoint is an IP address.
pub struct AddressesOnly;

#[async_trait]
impl Resolve for AddressesOnly {
    async fn resolve(&self, _: &str) -> Result<Vec<IpAddr>, String> {
        Err("it is a name, and only addresses are used here".to_owned())
    }
}

/// Makes connections.
#[derive(Clone)]
pub struct Connector {
    resolver: Arc<dyn Resolve>,
    tls: Option<TlsConnector>,
}

/// Certificate authorities that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate authorities for endpoints cannot be used: {0}")]
pub struct BadAuthorities(String);

/// Why an endpoint gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Its name leads nowhere.
    #[error("its name does not resolve: {0}")]
    Name(String),
    /// No connection.
    #[error("no connection: {0}")]
    Connect(io::Error),
    /// No TLS.
    #[error("no TLS connection: {0}")]
    Tls(io::Error),
    /// It is https, and nobody is trusted to vouch for it.
    #[error("it is https, and no file of certificate authorities was given")]
    NoAuthorities,
    /// It took too long.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The answer is too long.
    #[error("its answer is longer than {MAX_ANSWER} bytes")]
    TooLarge,
    /// Another status than 200.
    #[error("it answers HTTP {0}{1}")]
    Status(u16, &'static str),
}

impl HttpError {
    /// Whether asking again may help.
    pub(crate) const fn is_passing(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Late(_) | Self::Broken(_) | Self::Name(_) => true,
            Self::Status(status, _) => matches!(status, 429 | 500 | 502 | 503 | 504),
            Self::Tls(_) | Self::NoAuthorities | Self::TooLarge => false,
        }
    }
}

impl Connector {
    /// Without TLS until it is given authorities.
    pub fn new(resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver, tls: None }
    }

    /// Trusts the authorities of a PEM file that was read before, and nobody else.
    pub fn with_authorities(mut self, pem: &[u8]) -> Result<Self, BadAuthorities> {
        let bad = |why: &dyn std::fmt::Display| BadAuthorities(why.to_string());
        let mut roots = RootCertStore::empty();
        let certificates: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|e| bad(&e))?;
        let (taken, _) = roots.add_parsable_certificates(certificates);
        if taken == 0 {
            return Err(BadAuthorities("no certificate is in the file".to_owned()));
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| bad(&e))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        self.tls = Some(TlsConnector::from(Arc::new(config)));
        Ok(self)
    }

    async fn connect(&self, url: &Url) -> Result<Connected, HttpError> {
        let addresses = match url.host().parse() {
            Ok(address) => vec![address],
            Err(_) => self.resolver.resolve(url.host()).await.map_err(HttpError::Name)?,
        };
        let stream = dial(&addresses, url.port()).await.map_err(HttpError::Connect)?;
        let _ = stream.set_nodelay(true);
        if !url.is_secure() {
            return Connected::over(stream).await;
        }
        let tls = self.tls.as_ref().ok_or(HttpError::NoAuthorities)?;
        let name = ServerName::try_from(url.host().to_owned());
        let name = name.map_err(|error| HttpError::Name(error.to_string()))?;
        Connected::over(tls.connect(name, stream).await.map_err(HttpError::Tls)?).await
    }
}

/// The first address that answers.
async fn dial(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "no address");
    for ip in addresses {
        match TcpStream::connect(SocketAddr::new(*ip, port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// An endpoint and what connects to it.
pub(crate) struct Link {
    url: Url,
    connector: Connector,
    connect: Duration,
    whole: Duration,
    idle: Mutex<Option<Connected>>,
}

/// A connection; what drives it ends with it.
struct Connected {
    sender: SendRequest<Full<Bytes>>,
    driver: AbortHandle,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connected {
    async fn over<S>(stream: S) -> Result<Self, HttpError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD);
        let made = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(|error| HttpError::Broken(error.to_string()))?;
        let driver = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Ok(Self { sender, driver })
    }
}

impl Link {
    /// A link that waits so long for a connection, and for an exchange as a whole.
    pub(crate) fn new(url: Url, connector: Connector, connect: Duration, whole: Duration) -> Self {
        Self { url, connector, connect, whole, idle: Mutex::new(None) }
    }

    pub(crate) const fn url(&self) -> &Url {
        &self.url
    }

    /// Posts a body and returns the answer's.
    pub(crate) async fn post(&self, body: Bytes) -> Result<Bytes, HttpError> {
        timeout(self.whole, self.exchange(body)).await.unwrap_or(Err(HttpError::Late(self.whole)))
    }

    async fn exchange(&self, body: Bytes) -> Result<Bytes, HttpError> {
        let broken = |error: hyper::Error| HttpError::Broken(error.to_string());
        let mut connected = match self.take().filter(|connected| !connected.sender.is_closed()) {
            Some(connected) => connected,
            None => {
                let made = timeout(self.connect, self.connector.connect(&self.url)).await;
                made.unwrap_or(Err(HttpError::Late(self.connect)))?
            }
        };
        let request = Request::post(self.url.path())
            .header(header::HOST, self.url.authority())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .body(Full::new(body))
            .map_err(|error| HttpError::Broken(error.to_string()))?;
        connected.sender.ready().await.map_err(broken)?;
        let answer = connected.sender.send_request(request).await.map_err(broken)?;
        if answer.status() != StatusCode::OK {
            let status = answer.status();
            let hint = match status.as_u16() {
                300..=399 => ": a redirect is not followed; name the place itself",
                401 | 403 => ": it refuses this client",
                429 => ": it limits requests",
                _ => "",
            };
            return Err(HttpError::Status(status.as_u16(), hint));
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { HttpError::TooLarge } else { HttpError::Broken(error.to_string()) }
        })?;
        *self.idle() = Some(connected);
        Ok(body.to_bytes())
    }

    fn take(&self) -> Option<Connected> {
        self.idle().take()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Option<Connected>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
