//! TRANSPORT-006: TLS and mutual TLS on TCP addresses, with certificates made for each test.

mod support;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use ai_inference_proto::Dialect::{Contract, CyLlm};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use support::server::{command, start};
use testkit::{Client, Server, fresh_socket, request, text_of};
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
        version,
    },
};
use tonic::transport::Endpoint;

#[tokio::test]
async fn tls_serves_both_dialects_and_the_socket_stays_plain() {
    let pki = Pki::new();
    let server = pki.serve(&[]);
    assert!(server.addresses[1].starts_with("https://"), "{}", server.addresses[1]);
    let trusting = pki.client(&pki.ca, None);
    let client = Client::over(trusting.channel(&server).await.unwrap(), Contract);
    text_of("t", &client.generate(request("Hello", "t", 8)).await.unwrap());
    let client = Client::over(trusting.channel(&server).await.unwrap(), CyLlm);
    text_of("t", &client.generate(request("Hello", "t", 8)).await.unwrap());

    let stream = trusting.connect(&server).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let old = Tls { versions: vec![&version::TLS12], ..trusting };
    let stream = old.connect(&server).await.unwrap();
    assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_2));

    let plain = server.client(Contract).await;
    text_of("t", &plain.generate(request("Hello", "t", 8)).await.unwrap());
    let port = server.addresses[1].replace("https", "http");
    let endpoint = Endpoint::from_shared(port).unwrap();
    if let Ok(channel) = endpoint.connect().await {
        assert!(Client::over(channel, Contract).generate(request("Hello", "t", 8)).await.is_err());
    }
}

#[tokio::test]
async fn a_server_of_another_ca_is_refused_by_its_client() {
    let pki = Pki::new();
    let server = pki.serve(&[]);
    let stranger = Pki::new();
    let refused = stranger.client(&stranger.ca, None).connect(&server).await.unwrap_err();
    assert!(refused.to_string().contains("invalid peer certificate"), "{refused}");
    let good = pki.client(&pki.ca, None).channel(&server).await.unwrap();
    assert!(Client::over(good, Contract).health().await.unwrap().healthy, "the server goes on");
}

#[tokio::test]
async fn mutual_tls_serves_only_clients_with_a_certificate_of_its_ca() {
    let (pki, stranger) = (Pki::new(), Pki::new());
    let server = pki.serve(&["--tls-client-ca", pki.ca.to_str().unwrap()]);
    let own = pki.issue("client");
    let trusted = Client::over(pki.client(&pki.ca, Some(own)).channel(&server).await.unwrap(), Contract);
    text_of("t", &trusted.generate(request("Hello", "t", 8)).await.unwrap());

    for (name, certificate) in [("none", None), ("another CA's", Some(stranger.issue("client")))] {
        // The server's verdict comes after the client's last word, so that the client may learn it only later.
        let refused = match pki.client(&pki.ca, certificate).channel(&server).await {
            Ok(channel) => Client::over(channel, Contract).health().await.is_err(),
            Err(_) => true,
        };
        assert!(refused, "a certificate: {name}");
    }
    text_of("t", &trusted.generate(request("Hello", "t", 8)).await.unwrap());
}

#[tokio::test]
async fn silent_clients_in_the_handshake_delay_no_other_client_and_are_gone_in_time() {
    let pki = Pki::new();
    let server = pki.serve(&[]);
    let address = server.addresses[1].trim_start_matches("https://");
    let began = Instant::now();
    let mut silent = Vec::new();
    // More than may shake hands at once.
    for _ in 0..300 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let good = pki.client(&pki.ca, None).channel(&server).await.unwrap();
    text_of("t", &Client::over(good, Contract).generate(request("Hello", "t", 8)).await.unwrap());
    assert!(began.elapsed() < Duration::from_secs(8), "it did not wait for those before it");
    // The oldest made room for the newest.
    assert_eq!(silent[0].read(&mut [0; 64]).await.unwrap(), 0);
    assert!(began.elapsed() < Duration::from_secs(8), "it is closed before its time");
    for stream in silent {
        let closed = async {
            stream.readable().await.unwrap();
            while stream.try_read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
        };
        tokio::time::timeout(Duration::from_secs(20), closed).await.expect("10 s are enough for a handshake");
    }
}

#[test]
fn files_that_cannot_be_used_exit_with_2_and_are_named() {
    let pki = Pki::new();
    let (cert, key) = pki.issue("localhost");
    let (_, other_key) = pki.issue("localhost");
    let text = pki.file("nothing.pem", "no certificate here\n");
    let broken = pki.file("broken.pem", "-----BEGIN CERTIFICATE-----\nMTIz\n-----END CERTIFICATE-----\n");
    let missing = pki.directory.join("missing.pem");
    let cases: [(&[&Path], &str, &Path); 8] = [
        (&[&missing, &key], "failed to read", &missing),
        (&[&cert, &missing], "failed to read", &missing),
        (&[&text, &key], "holds no certificate", &text),
        (&[&cert, &cert], "holds no private key", &cert),
        (&[&broken, &key], "cannot be used", &broken),
        (&[&cert, &other_key], "does not belong", &other_key),
        (&[&cert, &key, &text], "holds no certificate", &text),
        (&[&cert], "belong together", Path::new("--tls-key")),
    ];
    for (files, words, named) in cases {
        let mut args: Vec<_> =
            ["--tls-cert", "--tls-key", "--tls-client-ca"].into_iter().zip(files).collect();
        let args: Vec<_> = args.drain(..).flat_map(|(flag, file)| [flag, file.to_str().unwrap()]).collect();
        let refused = command(&args, &[]).arg("--listen=127.0.0.1:0").output().unwrap();
        let message = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{message}");
        assert!(message.contains(words) && message.contains(named.to_str().unwrap()), "{words}: {message}");
    }
}

/// A certificate authority, and the directory for its files.
struct Pki {
    directory: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
    ca: PathBuf,
}

impl Pki {
    fn new() -> Self {
        let directory = fresh_socket().with_extension("pki");
        fs::create_dir(&directory).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut pki = Self { ca: directory.clone(), directory, issuer };
        pki.ca = pki.file("ca.pem", &pki.issuer.pem());
        pki
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.directory.join(name);
        fs::write(&file, text).unwrap();
        file
    }

    /// A certificate and its key.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let number = fs::read_dir(&self.directory).unwrap().count();
        (
            self.file(&format!("{name}-{number}.pem"), &cert.pem()),
            self.file(&format!("{name}-{number}.key"), &key.serialize_pem()),
        )
    }

    fn serve(&self, args: &[&str]) -> Server {
        let (cert, key) = self.issue("localhost");
        let files = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
        start(&[&files, args].concat())
    }

    fn client(&self, ca: &Path, identity: Option<(PathBuf, PathBuf)>) -> Tls {
        assert!(ca.starts_with(&self.directory), "a client of this authority");
        Tls { ca: ca.to_owned(), identity, versions: vec![&version::TLS13, &version::TLS12] }
    }
}

impl Drop for Pki {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A client of TLS.
#[derive(Clone)]
struct Tls {
    ca: PathBuf,
    identity: Option<(PathBuf, PathBuf)>,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl Tls {
    async fn connect(&self, server: &Server) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.ca).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => config.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = vec![CertificateDer::from_pem_file(cert).unwrap()];
                config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tcp = TcpStream::connect(server.addresses[1].trim_start_matches("https://")).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }

    async fn channel(&self, server: &Server) -> io::Result<tonic::transport::Channel> {
        let stream = Arc::new(std::sync::Mutex::new(Some(self.connect(server).await?)));
        let connector = tower::service_fn(move |_| {
            let stream = stream.lock().unwrap().take();
            async { stream.map(TokioIo::new).ok_or(io::Error::from(io::ErrorKind::NotConnected)) }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        endpoint.connect_with_connector(connector).await.map_err(io::Error::other)
    }
}
