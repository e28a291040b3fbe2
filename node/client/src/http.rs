//! HTTP and HTTPS, one request a connection, every answer bounded in size and time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, Uri, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use zeroize::Zeroizing;

use crate::error::Error;

/// Where Debian keeps the certificate authorities that it trusts.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// No answer of a member is longer: the network's file is the longest.
const LARGEST_ANSWER: usize = 4 << 20;

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For the whole exchange.
    pub whole: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(4), whole: Duration::from_secs(20) }
    }
}

/// A client.
#[derive(Clone)]
pub struct Http {
    timeouts: Timeouts,
    tls: Option<TlsConnector>,
}

/// An answer's status and body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

impl Http {
    /// A client that trusts the authorities of a PEM file, or the system's. Without either, https fails.
    pub fn new(timeouts: Timeouts, authorities: Option<&Path>) -> Result<Self, Error> {
        let tls = match (authorities, std::fs::read(authorities.unwrap_or(Path::new(SYSTEM_AUTHORITIES)))) {
            (_, Ok(pem)) => Some(connector(&pem)?),
            (Some(path), Err(e)) => return Err(Error::Local(format!("cannot read {}: {e}", path.display()))),
            (None, Err(_)) => None,
        };
        Ok(Self { timeouts, tls })
    }

    /// A token from a devnet's issuer.
    pub async fn mint(&self, url: &str) -> Result<Zeroizing<String>, Error> {
        let failed = |what: String| Error::Local(format!("the mint {url}: {what}"));
        let uri: Uri = url.parse().map_err(|_| failed("is not a URL".to_owned()))?;
        let answer = self.get(&uri).await.map_err(&failed)?;
        if answer.status != 200 {
            return Err(failed(format!("answers HTTP {}", answer.status)));
        }
        String::from_utf8(answer.body.to_vec()).map(Zeroizing::new).map_err(|_| failed("answers no text".to_owned()))
    }

    async fn get(&self, url: &Uri) -> Result<Answer, String> {
        self.exchange(Method::GET, url, Bytes::new()).await
    }

    pub(crate) async fn post_json(&self, url: &Uri, body: Vec<u8>) -> Result<Answer, String> {
        self.exchange(Method::POST, url, Bytes::from(body)).await
    }

    async fn exchange(&self, method: Method, url: &Uri, body: Bytes) -> Result<Answer, String> {
        let limit = self.timeouts.whole;
        let exchange = async {
            let host = url.host().ok_or("the URL names no host")?;
            let secure = url.scheme_str() == Some("https");
            let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
            let path = url.path_and_query().map_or("/", hyper::http::uri::PathAndQuery::as_str);
            let authority = url.authority().map_or(host, hyper::http::uri::Authority::as_str);
            let mut request = Request::builder().method(method).uri(path).header(header::HOST, authority);
            if !body.is_empty() {
                request = request.header(header::CONTENT_TYPE, "application/json; charset=utf-8");
            }
            let request = request.body(Full::new(body)).map_err(|e| e.to_string())?;
            let stream = tokio::time::timeout(self.timeouts.connect, TcpStream::connect((bare(host), port)))
                .await
                .map_err(|_| format!("no connection within {:?}", self.timeouts.connect))?
                .map_err(|e| e.to_string())?;
            let _ = stream.set_nodelay(true);
            if !secure {
                return send(stream, request).await;
            }
            let tls = self.tls.as_ref().ok_or("https needs certificate authorities: none are on this machine")?;
            let name = ServerName::try_from(bare(host).to_owned()).map_err(|e| e.to_string())?;
            let stream = tokio::time::timeout(self.timeouts.connect, tls.connect(name, stream))
                .await
                .map_err(|_| format!("no TLS within {:?}", self.timeouts.connect))?
                .map_err(|e| e.to_string())?;
            send(stream, request).await
        };
        tokio::time::timeout(limit, exchange).await.map_err(|_| format!("no answer within {limit:?}"))?
    }
}

async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await.map_err(|e| e.to_string())?;
        Ok(Answer { status, body: body.to_bytes() })
    };
    // Driven here rather than in a task of its own, so that a call that is given up leaves nothing behind.
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        closed = connection => match closed {
            Ok(()) => exchange.await,
            Err(error) => Err(error.to_string()),
        },
    }
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn connector(pem: &[u8]) -> Result<TlsConnector, Error> {
    let bad = |e: &dyn std::fmt::Display| Error::Local(format!("certificate authorities: {e}"));
    let mut roots = RootCertStore::empty();
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|e| bad(&e))?;
    roots.add_parsable_certificates(certificates);
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| bad(&e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
