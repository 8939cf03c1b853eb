//! The command line and the file as written: names and help, no decisions. What `serve` knows as a flag is a key of the
//! file too, in the same struct, so that neither can have what the other lacks.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, builder::NonEmptyStringValueParser};
use serde::Deserialize;

use super::{Address, TcpAddress, file, origin::Given};
use crate::{
    backends::onnx::{Kernels, ProviderChoice},
    telemetry::LogFormat,
};

/// LLM inference behind the `AiInference` gRPC contract.
#[derive(Debug, Parser)]
#[command(name = "reference-sidecar", version, about, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve models over gRPC, in both dialects, until SIGTERM
    Serve(Serve),
    /// Print the configuration that `serve` with the same options would have, and where each value comes from
    Config(Serve),
    /// Generate once on the terminal, without a server
    Generate(Generate),
    /// Look at model directories
    Models(Models),
}

/// `serve`: a layer of its configuration. A flag that is not there may be in the file; [`Serve::or`] lays one over the
/// other.
#[derive(Debug, Default, Args, Deserialize)]
#[command(after_help = SERVE_EXAMPLES)]
#[serde(default, deny_unknown_fields)]
pub struct Serve {
    /// TOML file of these options; flags and environment variables win over it
    #[arg(long, value_name = "FILE", env = "SIDECAR_CONFIG")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Where to listen: `unix:///abs/path`, `host:port` or `http://host:port`; repeatable; port 0 takes a free one
    #[arg(long, value_name = "ADDR", env = "SIDECAR_LISTEN", value_delimiter = ',')]
    pub listen: Option<Vec<Address>>,

    /// Directory of model packages; a sub-directory's name is its `model_id` [default: `models` in the cache]
    #[arg(long, value_name = "DIR", env = "SIDECAR_MODELS")]
    pub models: Option<PathBuf>,

    /// Model that serves requests without a `model_id` [default: the first by name]
    #[arg(long, value_name = "ID", env = "SIDECAR_DEFAULT_MODEL", value_parser = NonEmptyStringValueParser::new())]
    #[serde(deserialize_with = "file::not_empty")]
    pub default_model: Option<String>,

    /// Directory of LoRA adapters; a request's `adapter` is a path below it [default: none, and no adapter is known]
    #[arg(long, value_name = "DIR", env = "SIDECAR_ADAPTERS")]
    pub adapters: Option<PathBuf>,

    /// Generations that run at once on one model; others wait in its queue [default: as many as memory and cores suit]
    #[arg(long, value_name = "N", env = "SIDECAR_SLOTS", value_parser = slots)]
    #[serde(deserialize_with = "file::slots")]
    pub slots: Option<usize>,

    /// Requests that may wait for one model; one more is `RESOURCE_EXHAUSTED`
    #[arg(long, value_name = "N", env = "SIDECAR_QUEUE")]
    pub queue: Option<usize>,

    /// Environment variable with the bearer token that StreamPredict and Control ask for [default:
    /// `CY_LLM_INTERNAL_TOKEN` where that is set]
    #[arg(long, value_name = "NAME", env = "SIDECAR_TOKEN_ENV", value_parser = NonEmptyStringValueParser::new())]
    #[serde(deserialize_with = "file::not_empty")]
    pub token_env: Option<String>,

    /// Connections at once over all addresses; one more is closed at once
    #[arg(long, value_name = "N", env = "SIDECAR_CONNECTIONS", value_parser = connections)]
    #[serde(deserialize_with = "file::connections")]
    pub connections: Option<usize>,

    /// Certificate chain (PEM): TCP addresses then speak TLS, Unix sockets stay plain [default: none: TCP is plain]
    #[arg(long, value_name = "FILE", env = "SIDECAR_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's private key (PEM) [default: none]
    #[arg(long, value_name = "FILE", env = "SIDECAR_TLS_KEY")]
    pub tls_key: Option<PathBuf>,

    /// CA certificates (PEM): clients must show a certificate that one of these signed [default:
    /// none: clients need no certificate]
    #[arg(long, value_name = "FILE", env = "SIDECAR_TLS_CLIENT_CA")]
    pub tls_client_ca: Option<PathBuf>,

    /// How long running generations may take to finish after SIGTERM, e.g. `30s` or `2min`
    #[arg(long, value_name = "DUR", env = "SIDECAR_GRACE", value_parser = humantime::parse_duration)]
    #[serde(deserialize_with = "file::duration")]
    pub grace: Option<Duration>,

    /// How long a client may read nothing of its responses before its call is ended, e.g. `30s` (5 s at most while the server
    /// drains); twice as long it may keep a call open without a request
    #[arg(long, value_name = "DUR", env = "SIDECAR_READER_PATIENCE", value_parser = humantime::parse_duration)]
    #[serde(deserialize_with = "file::duration")]
    pub reader_patience: Option<Duration>,

    /// Where to answer `/metrics`, `/healthz` and `/readyz` over HTTP: `host:port` [default: nowhere]
    #[arg(long, value_name = "ADDR", env = "SIDECAR_METRICS_LISTEN")]
    pub metrics_listen: Option<TcpAddress>,

    /// What to log to standard error: `warn`, `debug`, `reference_sidecar=trace`
    #[arg(long, value_name = "FILTER", env = "SIDECAR_LOG")]
    pub log: Option<String>,

    /// How to write a log line: `text` for people, `json` for machines
    #[arg(long, value_name = "FORMAT", env = "SIDECAR_LOG_FORMAT")]
    #[serde(deserialize_with = "file::text")]
    pub log_format: Option<LogFormat>,

    /// How to run models: the table `[onnx]`.
    #[command(flatten)]
    pub onnx: OnnxArgs,

    /// Which flags and variables were given, for `config` to tell.
    #[arg(skip)]
    #[serde(skip)]
    pub given: Given,
}

impl Serve {
    /// This layer over another. Every field is named, so that the compiler finds one that is forgotten.
    #[must_use]
    pub fn or(self, below: Self) -> Self {
        Self {
            config: self.config,
            listen: self.listen.or(below.listen),
            models: self.models.or(below.models),
            default_model: self.default_model.or(below.default_model),
            adapters: self.adapters.or(below.adapters),
            slots: self.slots.or(below.slots),
            queue: self.queue.or(below.queue),
            token_env: self.token_env.or(below.token_env),
            connections: self.connections.or(below.connections),
            tls_cert: self.tls_cert.or(below.tls_cert),
            tls_key: self.tls_key.or(below.tls_key),
            tls_client_ca: self.tls_client_ca.or(below.tls_client_ca),
            grace: self.grace.or(below.grace),
            reader_patience: self.reader_patience.or(below.reader_patience),
            metrics_listen: self.metrics_listen.or(below.metrics_listen),
            log: self.log.or(below.log),
            log_format: self.log_format.or(below.log_format),
            onnx: self.onnx.or(below.onnx),
            given: self.given,
        }
    }
}

/// `generate`.
#[derive(Debug, Args)]
#[command(after_help = GENERATE_EXAMPLES)]
pub struct Generate {
    /// Model: the name of a package in the models directory, or a package's path
    #[arg(long, value_name = "ID|DIR", env = "SIDECAR_DEFAULT_MODEL", value_parser = NonEmptyStringValueParser::new())]
    pub model: String,

    /// Directory of model packages [default: `models` in the cache]
    #[arg(long, value_name = "DIR", env = "SIDECAR_MODELS")]
    pub models: Option<PathBuf>,

    /// Tokens to generate at most
    #[arg(long, value_name = "N", default_value_t = 256, allow_negative_numbers = true)]
    pub max_new_tokens: i64,

    /// Higher is more varied; 0.01 is greedy
    #[arg(long, value_name = "X", default_value_t = 0.7, allow_negative_numbers = true)]
    pub temperature: f64,

    /// Draw from the most likely tokens that together hold this much probability
    #[arg(long, value_name = "X", default_value_t = 0.9, allow_negative_numbers = true)]
    pub top_p: f64,

    /// Above 1: make tokens that were seen less likely
    #[arg(long, value_name = "X", default_value_t = 1.0, allow_negative_numbers = true)]
    pub repetition_penalty: f64,

    /// Same seed, same text [default: a fresh one]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// Take the prompt as it is, without reading `\n`, `\t` and `\\` as escapes
    #[arg(long)]
    pub raw: bool,

    /// How to run models.
    #[command(flatten)]
    pub onnx: OnnxArgs,

    /// Text to continue
    pub prompt: String,
}

/// `models`.
#[derive(Debug, Args)]
pub struct Models {
    /// What to look at.
    #[command(subcommand)]
    pub command: ModelsCommand,
}

/// What to look at.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// The packages in a directory, and what is wrong with those that cannot be served
    List(List),
    /// Load one package and prove that it can be served, or say what is wrong with it
    Check(Check),
    /// Run one package as fast as this machine can, at several batch sizes
    Measure(Measure),
}

/// `models list`.
#[derive(Debug, Args)]
pub struct List {
    /// Directory of model packages [default: `models` in the cache]
    #[arg(value_name = "DIR", env = "SIDECAR_MODELS")]
    pub dir: Option<PathBuf>,
}

/// `models check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The package
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,

    /// How to run models.
    #[command(flatten)]
    pub onnx: OnnxArgs,
}

/// `models measure`.
#[derive(Debug, Args)]
pub struct Measure {
    /// The package
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,

    /// Sequences in a decode step; several for several
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,8,16", value_parser = slots)]
    pub batch: Vec<usize>,

    /// Tokens to generate
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub tokens: usize,

    /// Tokens of each prompt
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub prompt_tokens: usize,

    /// One JSON object a line instead of the table
    #[arg(long)]
    pub json: bool,

    /// How to run models.
    #[command(flatten)]
    pub onnx: OnnxArgs,
}

/// How to run models.
#[derive(Debug, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OnnxArgs {
    /// What computes: `auto`, `cpu` or `cuda`
    #[arg(long, value_name = "NAME", env = "SIDECAR_PROVIDER")]
    #[serde(deserialize_with = "file::text")]
    pub provider: Option<ProviderChoice>,

    /// Threads of one step, at most: a very small model is computed by one [default: one per core]
    #[arg(long, value_name = "N", env = "SIDECAR_THREADS", value_parser = threads)]
    #[serde(deserialize_with = "file::threads")]
    pub threads: Option<usize>,

    /// Whose operators compute on the CPU: `own` where they are faster on this processor for this model, or `onnxruntime`
    /// [default: own]
    #[arg(long, value_name = "NAME", env = "SIDECAR_KERNELS")]
    #[serde(deserialize_with = "file::text")]
    pub kernels: Option<Kernels>,

    /// ONNX Runtime's shared library [default: `ORT_DYLIB_PATH`, else what `ci/onnxruntime` fetched]
    #[arg(long, value_name = "PATH", env = "SIDECAR_ONNXRUNTIME")]
    pub onnxruntime: Option<PathBuf>,
}

impl OnnxArgs {
    /// As [`Serve::or`].
    #[must_use]
    pub fn or(self, below: Self) -> Self {
        Self {
            provider: self.provider.or(below.provider),
            threads: self.threads.or(below.threads),
            kernels: self.kernels.or(below.kernels),
            onnxruntime: self.onnxruntime.or(below.onnxruntime),
        }
    }
}

fn slots(text: &str) -> Result<usize, String> {
    between(text, MOST_SLOTS)
}

fn connections(text: &str) -> Result<usize, String> {
    between(text, MOST_CONNECTIONS)
}

fn threads(text: &str) -> Result<usize, String> {
    between(text, MOST_THREADS)
}

fn between(text: &str, most: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("expected a number from 1 to {most}"))
}

/// More rows than any provider decodes faster.
pub(super) const MOST_SLOTS: usize = 256;

/// More than a process may open.
pub(super) const MOST_CONNECTIONS: usize = 1_000_000;

/// More than one machine's cores.
pub(super) const MOST_THREADS: usize = 1024;

const EXAMPLES: &str = "\
First steps:
  ci/onnxruntime && ci/models smollm2         fetch the runtime and a small real model into the cache
  reference-sidecar generate --model smollm2 'The capital of France is'
  reference-sidecar serve                     on unix:///tmp/cy_sidecar.sock and 127.0.0.1:50051
  grpcurl -plaintext 127.0.0.1:50051 AiInference/Health

Environment:
  SIDECAR_*            each option's variable is in the help of its command
  SIDECAR_CONFIG       a TOML file for `serve`: flags win over variables, these over the file, it over the defaults
  SIDECAR_LOG          what to log to standard error: `warn`, `debug`, `reference_sidecar=trace` [default: info]
  AI_INFERENCE_CACHE   the cache [default: $XDG_CACHE_HOME/ai-inference, else ~/.cache/ai-inference]
  ORT_DYLIB_PATH       ONNX Runtime's shared library

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.";

const SERVE_EXAMPLES: &str = "\
Prints `listening on ADDR` for each address, once ready; `https://host:port` where it speaks TLS. SIGTERM or SIGINT: no new work, running generations finish
within --grace, exit 0; a second signal ends at once.

Flags win over environment variables, these over the file of --config, and that over the defaults; the file's keys are the
flags' names with `_` for `-` (and `[onnx]` before provider, threads, kernels and onnxruntime). `reference-sidecar config`, with
the same options, prints what holds.

Examples:
  reference-sidecar serve --models fixtures/models --default-model tiny
  reference-sidecar serve --listen 0.0.0.0:50051 --slots 8 --queue 64
  TOKEN=secret reference-sidecar serve --token-env TOKEN
  reference-sidecar serve --metrics-listen 127.0.0.1:9464 --log-format json";

const GENERATE_EXAMPLES: &str = "\
Examples:
  reference-sidecar generate --model smollm2 'User: Hello\\nAssistant:'
  reference-sidecar generate --model ./my-export --temperature 0.01 --max-new-tokens 32 'Once upon a time'";
