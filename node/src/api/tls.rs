//! TLS for the public listener, with certificates that are replaced while it runs.
//!
//! A pair that does not parse or does not fit together is refused and the one in use stays.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How often the files are looked at.
const POLL: Duration = Duration::from_secs(10);

/// A certificate and key on disk, and what is made of them.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<ServerConfig>>,
}

/// Why a certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadTls {
    /// A file cannot be read.
    #[error("cannot read {path}: {1}", path = .0.display())]
    Read(PathBuf, std::io::Error),
    /// A file holds no PEM of the kind.
    #[error("{path} holds no usable PEM: {1}", path = .0.display())]
    Pem(PathBuf, String),
    /// Certificate and key do not make a server.
    #[error("certificate and key do not fit: {0}")]
    Pair(tokio_rustls::rustls::Error),
}

impl Tls {
    /// Reads both files.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, BadTls> {
        let current = RwLock::new(read(certificate, key)?);
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), current })
    }

    /// For the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&current))
    }

    /// Reads both files again; on error the pair in use stays.
    pub fn reload(&self) -> Result<(), BadTls> {
        let new = read(&self.certificate, &self.key)?;
        *self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner) = new;
        Ok(())
    }

    /// Reloads whenever a file changes. Never ends.
    pub async fn watch(self: Arc<Self>) {
        let mut seen = self.modified();
        loop {
            tokio::time::sleep(POLL).await;
            let now = self.modified();
            if now == seen {
                continue;
            }
            match self.reload() {
                Ok(()) => tracing::info!("the TLS certificate was replaced"),
                Err(error) => tracing::error!(%error, "the new TLS certificate is not used"),
            }
            seen = now;
        }
    }

    fn modified(&self) -> [Option<SystemTime>; 2] {
        [&self.certificate, &self.key].map(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok())
    }
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, BadTls> {
    let bytes = |path: &Path| std::fs::read(path).map_err(|error| BadTls::Read(path.to_owned(), error));
    let pem = |path: &Path, error: String| BadTls::Pem(path.to_owned(), error);
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&bytes(certificate)?)
        .collect::<Result<_, _>>()
        .map_err(|error| pem(certificate, error.to_string()))?;
    let secret = PrivateKeyDer::from_pem_slice(&bytes(key)?).map_err(|error| pem(key, error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(BadTls::Pair)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(BadTls::Pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
