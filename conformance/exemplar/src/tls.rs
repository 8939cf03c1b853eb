//! TLS for the exemplar's `https://` addresses.

use std::{io, path::PathBuf, sync::Arc};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::WebPkiClientVerifier,
    },
};

/// PEM files: as whom the exemplar presents itself, and whom it serves.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Its certificate, with those between it and its CA.
    pub chain: PathBuf,
    /// The certificate's key.
    pub key: PathBuf,
    /// The CA of clients: only those with a certificate of it are served. Without it, every client is.
    pub clients: Option<PathBuf>,
}

impl Tls {
    /// Begins TLS on connections; `asks` says whether a client without a certificate is refused.
    pub(super) fn acceptor(&self, asks: bool) -> io::Result<TlsAcceptor> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let mut trusted = RootCertStore::empty();
                for certificate in CertificateDer::pem_file_iter(ca).map_err(io::Error::other)? {
                    trusted.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(trusted.into(), provider);
                let verifier = if asks { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(verifier.build().map_err(io::Error::other)?)
            }
        };
        let chain = CertificateDer::pem_file_iter(&self.chain).map_err(io::Error::other)?;
        let chain = chain.collect::<Result<_, _>>().map_err(io::Error::other)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(io::Error::other)?;
        let mut config = builder.with_single_cert(chain, key).map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
