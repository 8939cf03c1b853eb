//! The server's certificate, and whose clients it wants to see, read from PEM files at the start.
//!
//! Files are read once: a new certificate needs a restart. Errors name the file and what is wrong with it.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{
            CertificateDer, PrivateKeyDer,
            pem::{self, PemObject as _},
        },
        server::WebPkiClientVerifier,
    },
};

/// TLS 1.3, or 1.2 for clients that have nothing newer, with HTTP/2 inside.
#[derive(Clone)]
pub struct Tls(Arc<ServerConfig>);

impl Tls {
    /// Reads the three files. With `client_ca`, a client must show a certificate that one of these signed.
    pub fn read(cert: &Path, key: &Path, client_ca: Option<&Path>) -> Result<Self, TlsError> {
        let chain = certificates(cert)?;
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error, "private key"))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::unusable(cert, &error))?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let mut roots = RootCertStore::empty();
                for root in certificates(file)? {
                    roots.add(root).map_err(|error| TlsError::unusable(file, &error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| TlsError::unusable(file, &error))?)
            }
        };
        let mut config = builder.with_single_cert(chain, secret).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::Mismatch { cert: cert.to_owned(), key: key.to_owned() }
            }
            // What is left is the key's: of a kind that cannot sign here.
            rustls::Error::General(_) => TlsError::unusable(key, &error),
            _ => TlsError::unusable(cert, &error),
        })?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self(Arc::new(config)))
    }

    /// The acceptor that does the TLS handshakes.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0))
    }
}

/// Says nothing of the key.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}

/// A file that TLS cannot use.
#[derive(Debug, Error)]
pub enum TlsError {
    /// Not there, or not readable.
    #[error("failed to read {}: {error}", .file.display())]
    Unreadable {
        /// Path of the file.
        file: PathBuf,
        /// The error of the file system.
        error: io::Error,
    },
    /// It is there, and holds something else.
    #[error("{} holds no {wanted} in PEM form", .file.display())]
    Nothing {
        /// Path of the file.
        file: PathBuf,
        /// What should be in it.
        wanted: &'static str,
    },
    /// PEM around something that cannot be used.
    #[error("{} cannot be used for TLS: {why}", .file.display())]
    Unusable {
        /// Path of the file.
        file: PathBuf,
        /// Why it cannot be used.
        why: String,
    },
    /// Two files of different pairs.
    #[error("the key in {} does not belong to the first certificate in {}", .key.display(), .cert.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// One without the other.
    #[error("--tls-cert and --tls-key belong together, and --tls-client-ca needs both")]
    Incomplete,
}

impl TlsError {
    fn unusable(file: &Path, why: &dyn fmt::Display) -> Self {
        Self::Unusable { file: file.to_owned(), why: why.to_string() }
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => {
            Err(TlsError::Nothing { file: file.to_owned(), wanted: "certificate" })
        }
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(file, &error, "certificate")),
    }
}

fn wrong(file: &Path, error: &pem::Error, wanted: &'static str) -> TlsError {
    let file = file.to_owned();
    match error {
        // Not cloneable, and its kind says all.
        pem::Error::Io(error) if error.kind() != io::ErrorKind::InvalidData => {
            TlsError::Unreadable { file, error: error.kind().into() }
        }
        pem::Error::NoItemsFound => TlsError::Nothing { file, wanted },
        error => TlsError::Unusable { file, why: error.to_string() },
    }
}
