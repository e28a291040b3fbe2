//! TLS for the public listener, with certificates that are replaced while it runs.
//!
//! A pair that does not parse or does not fit together is refused and the one in use stays. The files are opened and
//! read, and nothing else: the node's filter knows no call that looks at a file's times, and Landlock lets it read in
//! the directories of these files alone.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use torus_statement::{Hash, keccak256};

/// How often the files are looked at.
const POLL: Duration = Duration::from_secs(10);

/// More than any chain of certificates.
const MOST: u64 = 1 << 20;

/// A certificate and key on disk, and what is made of them.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<ServerConfig>>,
}

/// Both files as they were read.
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
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
        let pair = Pair::read(certificate, key)?;
        let current = RwLock::new(pair.server(certificate, key)?);
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), current })
    }

    /// The directories that a replaced file may be in: where the names are, and where links of today lead to.
    pub fn directories(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = [&self.certificate, &self.key]
            .into_iter()
            .flat_map(|path| [Some(path.clone()), path.canonicalize().ok()])
            .flatten()
            .filter_map(|path| path.parent().map(|parent| parent.to_owned()))
            .map(|parent| if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent })
            .collect();
        found.sort();
        found.dedup();
        found
    }

    /// For the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&current))
    }

    /// Reads both files again; on error the pair in use stays.
    pub fn reload(&self) -> Result<(), BadTls> {
        self.take(&Pair::read(&self.certificate, &self.key)?)
    }

    /// Reloads whenever a file changes. Never ends.
    pub async fn watch(self: Arc<Self>) {
        let mut seen = Pair::read(&self.certificate, &self.key).ok().map(|pair| pair.print());
        loop {
            tokio::time::sleep(POLL).await;
            let now = match Pair::read(&self.certificate, &self.key) {
                Ok(now) => now,
                Err(error) => {
                    // Told once: until they can be read again, the pair in use stays.
                    if seen.take().is_some() {
                        tracing::error!(%error, "the TLS certificate cannot be read again");
                    }
                    continue;
                }
            };
            let print = Some(now.print());
            if seen == print {
                continue;
            }
            match self.take(&now) {
                Ok(()) => tracing::info!("the TLS certificate was replaced"),
                Err(error) => tracing::error!(%error, "the new TLS certificate is not used"),
            }
            seen = print;
        }
    }

    fn take(&self, pair: &Pair) -> Result<(), BadTls> {
        let new = pair.server(&self.certificate, &self.key)?;
        *self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner) = new;
        Ok(())
    }
}

impl Pair {
    /// Of both: the key itself is not kept to compare with.
    fn print(&self) -> [Hash; 2] {
        [keccak256(&self.certificate), keccak256(&self.key)]
    }

    fn read(certificate: &Path, key: &Path) -> Result<Self, BadTls> {
        let bytes = |path: &Path| {
            let mut bytes = Vec::new();
            // Bounded first: reading a whole file by its length would look at it by another call.
            let read = File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut bytes));
            read.map(|_| bytes).map_err(|error| BadTls::Read(path.to_owned(), error))
        };
        Ok(Self { certificate: bytes(certificate)?, key: bytes(key)? })
    }

    fn server(&self, certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, BadTls> {
        let pem = |path: &Path, error: String| BadTls::Pem(path.to_owned(), error);
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| pem(certificate, error.to_string()))?;
        let secret = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| pem(key, error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(BadTls::Pair)?
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .map_err(BadTls::Pair)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
