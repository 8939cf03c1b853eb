//! The configuration, validated: everything that the rest of the program may rely on.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use ai_inference_proto::Sampling;
use thiserror::Error;

use super::{Address, Generate, OnnxArgs, Serve, TcpAddress, Tls, TlsError, defaults, file::File};
use crate::{
    backends::onnx::{Kernels, ProviderChoice},
    engine::{ParameterError, SamplingParameters},
    paths::cache_dir,
    telemetry::{LogFilter, LogFilterError, LogFormat},
};

/// A configuration that cannot be used: exit code 2.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// Neither a cache nor a directory is known.
    #[error("no home directory: name the models with --models DIR, or set AI_INFERENCE_CACHE")]
    NoCache,
    /// The file of `--config`; the reason has the line and the key.
    #[error("failed to read the configuration {}: {reason}", .path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// A token was promised and is not there; serving without one would be open to all.
    #[error("token_env (--token-env) names {name}, which is not set or empty")]
    NoToken {
        /// Name of the environment variable.
        name: String,
    },
    /// A token that no header can carry.
    #[error("the token in {name} must be printable ASCII without spaces")]
    BadToken {
        /// Name of the environment variable.
        name: String,
    },
    /// The same address is listed twice.
    #[error("listen (--listen) has {0} twice")]
    Twice(Address),
    /// `listen = []`, which only a file can say.
    #[error("listen needs at least one address, e.g. listen = [\"127.0.0.1:50051\"]")]
    NoAddress,
    /// The filter of `--log` cannot be read.
    #[error("log (--log) is {0}")]
    Log(#[from] LogFilterError),
    /// A default that cannot be read. A test makes sure that there is none.
    #[error("the default address {0} is not an address")]
    Default(String),
    /// A certificate, a key, or the CA of clients.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A sampling parameter.
    #[error("{0}")]
    Parameter(#[from] ParameterError),
}

/// How to run models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedOnnx {
    /// The execution provider that computes.
    pub provider: ProviderChoice,
    /// Threads of one step.
    pub threads: usize,
    /// The kernels whose operators are used.
    pub kernels: Kernels,
    /// The library, where one was named.
    pub library: Option<PathBuf>,
}

impl From<OnnxArgs> for ResolvedOnnx {
    fn from(raw: OnnxArgs) -> Self {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        Self {
            provider: raw.provider.or_else(|| defaults::PROVIDER.parse().ok()).unwrap_or_default(),
            threads: raw.threads.unwrap_or_else(cores),
            kernels: raw.kernels.unwrap_or_default(),
            library: raw.onnxruntime.filter(|path| !path.as_os_str().is_empty()),
        }
    }
}

/// The validated configuration of `serve`.
#[derive(Clone, Debug)]
pub struct ResolvedServe {
    /// Where to listen; at least one.
    pub listen: Vec<Address>,
    /// Directory of models.
    pub models: PathBuf,
    /// The default model, where one was named.
    pub default_model: Option<String>,
    /// Directory of adapters, where one was named.
    pub adapters: Option<PathBuf>,
    /// Generations at once; `None` lets the loader choose from memory and cores.
    pub slots: Option<usize>,
    /// Requests that may wait.
    pub queue: usize,
    /// The token to ask for.
    pub token: Option<Token>,
    /// Where the token was found. The name, which may be shown.
    pub token_env: Option<String>,
    /// Connections at once, over all addresses.
    pub connections: usize,
    /// What TCP listeners speak, where a certificate was given.
    pub tls: Option<Tls>,
    /// The certificate's file, to be shown.
    pub tls_cert: Option<PathBuf>,
    /// The key's file, to be shown.
    pub tls_key: Option<PathBuf>,
    /// The file with the CA of clients, to be shown.
    pub tls_client_ca: Option<PathBuf>,
    /// How long a drain may take.
    pub grace: Duration,
    /// How long a client may leave a response unread.
    pub reader_patience: Duration,
    /// Where to answer scrapers and probes.
    pub metrics_listen: Option<TcpAddress>,
    /// What to log.
    pub log: LogFilter,
    /// The format of the log.
    pub log_format: LogFormat,
    /// How to run models.
    pub onnx: ResolvedOnnx,
}

impl TryFrom<Serve> for ResolvedServe {
    type Error = ConfigError;

    fn try_from(raw: Serve) -> Result<Self, Self::Error> {
        let file = raw.config.as_deref().map(File::read).transpose()?.unwrap_or_default();
        Self::new(raw.or(file.values))
    }
}

impl ResolvedServe {
    /// From all that was said, wherever; the defaults fill the rest.
    pub(super) fn new(said: Serve) -> Result<Self, ConfigError> {
        let listen = match said.listen {
            Some(listen) => listen,
            None => default_addresses()?,
        };
        if listen.is_empty() {
            return Err(ConfigError::NoAddress);
        }
        let twice = listen.iter().enumerate().find(|(at, address)| listen[..*at].contains(address));
        // Port 0 is another port each time.
        if let Some((_, address)) = twice.filter(|(_, address)| !address.to_string().ends_with(":0")) {
            return Err(ConfigError::Twice(address.clone()));
        }
        let (token_env, token) = Token::from_env(said.token_env)?.unzip();
        Ok(Self {
            listen,
            models: models_dir(said.models.as_deref())?,
            default_model: said.default_model,
            adapters: said.adapters,
            slots: said.slots,
            queue: said.queue.unwrap_or(defaults::QUEUE),
            token,
            token_env,
            connections: said.connections.unwrap_or(defaults::CONNECTIONS),
            tls: tls(said.tls_cert.as_deref(), said.tls_key.as_deref(), said.tls_client_ca.as_deref())?,
            tls_cert: said.tls_cert,
            tls_key: said.tls_key,
            tls_client_ca: said.tls_client_ca,
            grace: said.grace.unwrap_or(defaults::GRACE),
            reader_patience: said.reader_patience.unwrap_or(defaults::READER_PATIENCE),
            metrics_listen: said.metrics_listen,
            // A variable that is set to nothing is not set.
            log: said.log.as_deref().filter(|log| !log.trim().is_empty()).unwrap_or(defaults::LOG).parse()?,
            log_format: said.log_format.unwrap_or(defaults::LOG_FORMAT),
            onnx: said.onnx.into(),
        })
    }
}

fn default_addresses() -> Result<Vec<Address>, ConfigError> {
    let parse = |text: &&str| text.parse().map_err(|_| ConfigError::Default((*text).to_owned()));
    defaults::LISTEN.iter().map(parse).collect()
}

/// The validated configuration of `generate`.
#[derive(Clone, Debug)]
pub struct ResolvedGenerate {
    /// The package's directory.
    pub package: PathBuf,
    /// Validated sampling parameters.
    pub sampling: SamplingParameters,
    /// Seed of the random draw.
    pub seed: u64,
    /// The prompt, with its escapes replaced.
    pub prompt: String,
    /// How to run models.
    pub onnx: ResolvedOnnx,
}

impl TryFrom<Generate> for ResolvedGenerate {
    type Error = ConfigError;

    fn try_from(raw: Generate) -> Result<Self, Self::Error> {
        let sampling = SamplingParameters::resolve(Some(Sampling {
            max_new_tokens: raw.max_new_tokens,
            temperature: raw.temperature,
            top_p: raw.top_p,
            repetition_penalty: raw.repetition_penalty,
        }))?;
        let given = PathBuf::from(&raw.model);
        let named = models_dir(raw.models.as_deref()).map(|models| models.join(&raw.model));
        // A name is looked up; what is more than a name, or is none there but a directory here, is a path.
        let is_path = given.components().count() > 1
            || (given.is_dir() && !named.as_ref().is_ok_and(|named| named.is_dir()));
        Ok(Self {
            package: if is_path { given } else { named? },
            sampling,
            seed: raw.seed.unwrap_or_else(rand::random),
            prompt: if raw.raw { raw.prompt } else { unescape(&raw.prompt) },
            onnx: raw.onnx.into(),
        })
    }
}

/// A bearer token; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Reads the variable that was named, which must be set, else the default one, which may be.
    fn from_env(named: Option<String>) -> Result<Option<(String, Self)>, ConfigError> {
        let required = named.is_some();
        let name = named.unwrap_or_else(|| defaults::TOKEN_ENV.to_owned());
        let value = match env::var(&name) {
            Ok(value) if !value.is_empty() => value,
            Err(env::VarError::NotUnicode(_)) => return Err(ConfigError::BadToken { name }),
            _ if required => return Err(ConfigError::NoToken { name }),
            _ => return Ok(None),
        };
        match Self::new(value) {
            Some(token) => Ok(Some((name, token))),
            None => Err(ConfigError::BadToken { name }),
        }
    }

    /// A token that a header can carry.
    pub fn new(value: String) -> Option<Self> {
        value.bytes().all(|byte| byte.is_ascii_graphic()).then_some(Self(value))
    }

    /// The token's bytes, to compare.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The models directory: the one named, else the cache's.
pub fn models_dir(named: Option<&Path>) -> Result<PathBuf, ConfigError> {
    let named = named.filter(|path| !path.as_os_str().is_empty()).map(Path::to_owned);
    named.or_else(|| cache_dir().map(|cache| cache.join("models"))).ok_or(ConfigError::NoCache)
}

/// An empty name, as an unset variable leaves it, is none.
fn tls(
    cert: Option<&Path>,
    key: Option<&Path>,
    client_ca: Option<&Path>,
) -> Result<Option<Tls>, ConfigError> {
    let [cert, key, client_ca] =
        [cert, key, client_ca].map(|file| file.filter(|file| !file.as_os_str().is_empty()));
    match (cert, key, client_ca) {
        (Some(cert), Some(key), client_ca) => Ok(Some(Tls::read(cert, key, client_ca)?)),
        (None, None, None) => Ok(None),
        _ => Err(TlsError::Incomplete.into()),
    }
}

/// Reads `\n`, `\t`, `\r` and `\\`; anything else behind a backslash stays as it is.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            out.push(char);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('\\') => out.push('\\'),
            other => {
                out.push('\\');
                out.extend(other);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn escapes_are_read_and_others_kept() {
        assert_eq!(unescape(r"a\nb\tc\\nd\xe\"), "a\nb\tc\\nd\\xe\\");
    }
}
