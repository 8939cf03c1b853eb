//! TLS in front of a plain endpoint, as a load balancer or a sidecar proxy puts it there.

use std::sync::Arc;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig, SupportedProtocolVersion,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::WebPkiClientVerifier,
        version::{TLS12, TLS13},
    },
};
use wire::Address;

use super::common::Authority;

/// How TLS is served.
pub(crate) struct Terms<'a> {
    /// Whose certificate is presented, and for which name.
    pub(crate) by: &'a Authority,
    pub(crate) name: &'a str,
    /// Whose certificates clients must have, if any.
    pub(crate) clients_of: Option<&'a Authority>,
    pub(crate) version: &'static SupportedProtocolVersion,
    pub(crate) alpn: &'a [&'a str],
}

impl<'a> Terms<'a> {
    /// TLS 1.3 for 127.0.0.1, and every client is welcome.
    pub(crate) fn usual(by: &'a Authority) -> Self {
        Self { by, name: "127.0.0.1", clients_of: None, version: &TLS13, alpn: &["h2"] }
    }

    /// Only clients with a certificate.
    pub(crate) fn mutual(self, clients_of: &'a Authority) -> Self {
        Self { clients_of: Some(clients_of), ..self }
    }

    pub(crate) fn tls12(self) -> Self {
        Self { version: &TLS12, ..self }
    }

    fn config(&self) -> ServerConfig {
        let provider = Arc::new(ring::default_provider());
        let (certificate, key) = self.by.sign(self.name);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[self.version])
            .unwrap();
        let builder = match self.clients_of {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut trusted = RootCertStore::empty();
                trusted.add(CertificateDer::from_pem_file(authority.file()).unwrap()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(trusted.into(), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
        let mut config = builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap();
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// A running front; it stops when dropped.
pub(crate) struct Front {
    pub(crate) address: Address,
    task: JoinHandle<()>,
}

impl Front {
    /// Serves TLS on a free port and hands the bytes on to `behind`.
    pub(crate) async fn before(behind: &Address, terms: &Terms<'_>) -> Self {
        let Address::Tcp { host, port } = behind.clone() else { panic!("{behind} is not plain TCP") };
        let acceptor = TlsAcceptor::from(Arc::new(terms.config()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address =
            Address::Tls { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
        let task = tokio::spawn(async move {
            while let Ok((outside, _)) = listener.accept().await {
                let (acceptor, host) = (acceptor.clone(), host.clone());
                tokio::spawn(async move {
                    let _ = outside.set_nodelay(true);
                    let Ok(mut outside) = acceptor.accept(outside).await else { return };
                    let Ok(mut inside) = TcpStream::connect((host.as_str(), port)).await else { return };
                    let _ = inside.set_nodelay(true);
                    let _ = copy_bidirectional(&mut outside, &mut inside).await;
                });
            }
        });
        Self { address, task }
    }

    /// The same port, spoken to without TLS.
    pub(crate) fn plain(&self) -> String {
        self.address.authority()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}
