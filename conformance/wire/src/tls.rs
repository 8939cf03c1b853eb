//! How `https://` targets are spoken to: whom the suite trusts, and as whom it presents itself.
//!
//! Talks to: rustls, with the ring provider. Opens no connection of its own; [`crate::dial`] does.

use std::{
    io,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, ALL_VERSIONS, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
        client::{
            ResolvesClientCert,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
        sign::CertifiedKey,
        version::TLS13,
    },
};

use crate::tls_errors::{explain, saying};

/// The name of HTTP/2 in ALPN. gRPC clients ask for it, and most of them hang up on a server that does not choose it.
const HTTP2: &[u8] = b"h2";

/// The suite's side of TLS; the same for every connection of a run. The default trusts the system's roots and has no
/// certificate of its own.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    trusted: Option<Arc<RootCertStore>>,
    identity: Arc<Identity>,
    server_name: Option<ServerName<'static>>,
    unverified: bool,
    newest_only: bool,
    options: Vec<(&'static str, String)>,
    config: Arc<OnceLock<Arc<ClientConfig>>>,
}

/// An option for TLS that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{option} {value}: {why}")]
pub struct BadTls {
    option: &'static str,
    value: String,
    why: String,
}

impl Tls {
    /// Trusts no certificate at all: enough to see whether the server speaks TLS, and no root is read for it.
    pub(crate) fn trusting_none() -> Self {
        Self { trusted: Some(Arc::new(RootCertStore::empty())), ..Self::default() }
    }

    /// Trusts the CAs of the PEM file `ca` instead of the system's.
    pub fn trusting(mut self, ca: &Path) -> Result<Self, BadTls> {
        let bad = |why| BadTls { option: "--tls-ca", value: ca.display().to_string(), why };
        let mut trusted = RootCertStore::empty();
        for certificate in certificates(ca).map_err(bad)? {
            trusted.add(certificate).map_err(|error| bad(error.to_string()))?;
        }
        self.trusted = Some(Arc::new(trusted));
        self.options.push(("--tls-ca", ca.display().to_string()));
        Ok(self)
    }

    /// Presents the certificate in the PEM file `chain`, with the ones between it and its CA, to targets that ask.
    pub fn presenting(mut self, chain: &Path, key: &Path) -> Result<Self, BadTls> {
        let bad_key = |why| BadTls { option: "--tls-key", value: key.display().to_string(), why };
        let certificates = certificates(chain).map_err(|why| BadTls {
            option: "--tls-cert",
            value: chain.display().to_string(),
            why,
        })?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| bad_key(error.to_string()))?;
        let certified = CertifiedKey::from_der(certificates, private, &ring::default_provider())
            .map_err(|error| bad_key(format!("no key of the certificate in --tls-cert: {error}")))?;
        self.identity = Arc::new(Identity { certified: Some(Arc::new(certified)), ..Identity::default() });
        self.options.push(("--tls-cert", chain.display().to_string()));
        self.options.push(("--tls-key", key.display().to_string()));
        Ok(self)
    }

    /// Asks the target for, and wants its certificate to be for, `name` instead of the address's host.
    pub fn naming(mut self, name: &str) -> Result<Self, BadTls> {
        let name = ServerName::try_from(name.to_owned()).map_err(|error| BadTls {
            option: "--tls-server-name",
            value: name.to_owned(),
            why: error.to_string(),
        })?;
        self.options.push(("--tls-server-name", name.to_str().into_owned()));
        self.server_name = Some(name);
        Ok(self)
    }

    /// Takes every certificate, from any issuer and for any name: for development servers. The connection is
    /// encrypted, but any server may be at its other end.
    #[must_use]
    pub fn insecure(mut self) -> Self {
        self.unverified = true;
        self.options.push(("--insecure", String::new()));
        self
    }

    /// Speaks TLS 1.3 and nothing older.
    #[must_use]
    pub fn newest_only(self) -> Self {
        Self { newest_only: true, config: Arc::default(), ..self }
    }

    /// Presents no certificate, whatever it was given.
    #[must_use]
    pub fn presenting_none(self) -> Self {
        Self { identity: Arc::default(), config: Arc::default(), ..self }
    }

    /// Whether it has a certificate to present.
    pub fn is_presenting(&self) -> bool {
        self.identity.is_given()
    }

    /// What differs from the default, as options of the command line.
    pub fn options(&self) -> &[(&'static str, String)] {
        &self.options
    }

    /// Begins TLS on a connection to `host`. The error says what is wrong, and which option mends it.
    pub(crate) async fn handshake(&self, stream: TcpStream, host: &str) -> io::Result<TlsStream<TcpStream>> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(|_| {
                saying("the host is no name that a certificate can be for; say one with --tls-server-name")
            })?,
        };
        let connector = TlsConnector::from(self.config()?);
        let stream = connector.connect(name, stream).await.map_err(|error| explain(error, &self.identity))?;
        match stream.get_ref().1.alpn_protocol() {
            Some(HTTP2) => Ok(stream),
            _ => Err(saying(
                "the target speaks TLS, but does not choose HTTP/2 (h2 by ALPN), which gRPC needs",
            )),
        }
    }

    /// As [`Tls::handshake`] says it, for an error that comes later: TLS 1.3 lets a server refuse after the handshake.
    pub(crate) fn explain(&self, error: io::Error) -> io::Error {
        explain(error, &self.identity)
    }

    /// Made when first needed: the system's roots are read only for targets that need them.
    fn config(&self) -> io::Result<Arc<ClientConfig>> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let trusted = match &self.trusted {
            _ if self.unverified => Arc::new(RootCertStore::empty()),
            Some(trusted) => Arc::clone(trusted),
            None => Arc::new(system_roots()?),
        };
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let versions = if self.newest_only { &[&TLS13][..] } else { ALL_VERSIONS };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(io::Error::other)?
            .with_root_certificates(trusted)
            .with_client_cert_resolver(Arc::clone(&self.identity) as Arc<dyn ResolvesClientCert>);
        if self.unverified {
            config.dangerous().set_certificate_verifier(Arc::new(Unverified::default()));
        }
        config.alpn_protocols = vec![HTTP2.to_vec()];
        Ok(Arc::clone(self.config.get_or_init(|| Arc::new(config))))
    }
}

/// Takes every certificate. The handshake itself is still checked: the target must hold the certificate's key.
#[derive(Debug)]
struct Unverified(CryptoProvider);

impl Default for Unverified {
    fn default() -> Self {
        Self(ring::default_provider())
    }
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The client's certificate, if there is one, and whether a target has asked for it: then its absence explains a refusal.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    certified: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl Identity {
    /// Whether there is a certificate to present.
    pub(crate) fn is_given(&self) -> bool {
        self.certified.is_some()
    }

    /// Whether a target asked for a certificate and got none.
    pub(crate) fn is_missed(&self) -> bool {
        self.asked.load(Ordering::Relaxed) && self.certified.is_none()
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _roots: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.certified.clone()
    }

    /// True even without one: rustls would not ask otherwise, and it would stay unknown that the target did.
    fn has_certs(&self) -> bool {
        true
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<_, _>>)
        .map_err(|error| error.to_string())?;
    if certificates.is_empty() {
        return Err("no PEM certificate in it".to_owned());
    }
    Ok(certificates)
}

/// What this machine trusts, its company's own CAs and `SSL_CERT_FILE` among them.
fn system_roots() -> io::Result<RootCertStore> {
    let mut trusted = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    trusted.add_parsable_certificates(found.certs);
    if trusted.is_empty() {
        return Err(saying("this system has no root certificates; name the target's CA with --tls-ca"));
    }
    Ok(trusted)
}
