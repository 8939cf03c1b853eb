//! The options for `https://` targets.

use std::path::PathBuf;

use wire::{Address, BadTls, Tls};

/// How targets with TLS are spoken to. Plain targets need none of it.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "TLS, for https:// targets")]
pub struct TlsArgs {
    /// Trust the CAs in this PEM file [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Present this client certificate, PEM, with the ones between it and its CA, to targets that ask (mutual TLS)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The key of --tls-cert, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Ask for, and verify, this name instead of the target's host
    #[arg(long, value_name = "NAME")]
    pub tls_server_name: Option<String>,
    /// Accept any certificate of the target, for development servers; the connection is encrypted, but not trusted
    #[arg(long, conflicts_with = "tls_ca")]
    pub insecure: bool,
}

impl TlsArgs {
    /// Reads the files.
    pub fn read(&self) -> Result<Tls, BadTls> {
        let mut tls = Tls::default();
        if let Some(ca) = &self.tls_ca {
            tls = tls.trusting(ca)?;
        }
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            tls = tls.presenting(certificate, key)?;
        }
        if let Some(name) = &self.tls_server_name {
            tls = tls.naming(name)?;
        }
        if self.insecure {
            tls = tls.insecure();
        }
        Ok(tls)
    }

    /// The first option that is given though none of `targets` speaks TLS: the `https://` was forgotten.
    pub fn idle(&self, targets: &[Address]) -> Option<&'static str> {
        let first = self.words().into_iter().next();
        first.map(|(option, _)| option).filter(|_| !targets.iter().any(Address::is_tls))
    }

    /// The options as they were given, for the command that runs one check again.
    pub fn words(&self) -> Vec<(&'static str, String)> {
        let file = |option, file: &Option<PathBuf>| file.as_ref().map(|f| (option, f.display().to_string()));
        let name = self.tls_server_name.clone().map(|name| ("--tls-server-name", name));
        let files = [
            file("--tls-ca", &self.tls_ca),
            file("--tls-cert", &self.tls_cert),
            file("--tls-key", &self.tls_key),
        ];
        let insecure = self.insecure.then(|| ("--insecure", String::new()));
        files.into_iter().flatten().chain(name).chain(insecure).collect()
    }
}
