//! The command line as written: names, defaults and help, no decisions.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, builder::NonEmptyStringValueParser};

use super::Address;
use crate::backends::onnx::Provider;

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
    /// Generate once on the terminal, without a server
    Generate(Generate),
    /// Look at model directories
    Models(Models),
}

/// `serve`.
#[derive(Debug, Args)]
#[command(after_help = SERVE_EXAMPLES)]
pub struct Serve {
    /// Where to listen: `unix:///abs/path`, `host:port` or `http://host:port`; repeatable; port 0 takes a free one
    #[arg(
        long,
        value_name = "ADDR",
        env = "SIDECAR_LISTEN",
        value_delimiter = ',',
        default_values = ["unix:///tmp/cy_sidecar.sock", "127.0.0.1:50051"]
    )]
    pub listen: Vec<Address>,

    /// Directory of model packages; a sub-directory's name is its `model_id` [default: `models` in the cache]
    #[arg(long, value_name = "DIR", env = "SIDECAR_MODELS")]
    pub models: Option<PathBuf>,

    /// Model that serves requests without a `model_id` [default: the first by name]
    #[arg(long, value_name = "ID", env = "SIDECAR_DEFAULT_MODEL", value_parser = NonEmptyStringValueParser::new())]
    pub default_model: Option<String>,

    /// Generations that run at once on one model; others wait in its queue
    #[arg(long, value_name = "N", env = "SIDECAR_SLOTS", default_value_t = 16, value_parser = slots)]
    pub slots: usize,

    /// Requests that may wait for one model; one more is `RESOURCE_EXHAUSTED`
    #[arg(long, value_name = "N", env = "SIDECAR_QUEUE", default_value_t = 1024)]
    pub queue: usize,

    /// Environment variable with the bearer token that StreamPredict and Control ask for
    #[arg(long, value_name = "NAME", env = "SIDECAR_TOKEN_ENV", value_parser = NonEmptyStringValueParser::new())]
    pub token_env: Option<String>,

    /// Connections at once over all addresses; one more is closed at once
    #[arg(long, value_name = "N", env = "SIDECAR_CONNECTIONS", default_value_t = 1024, value_parser = connections)]
    pub connections: usize,

    /// Certificate chain (PEM): TCP addresses then speak TLS, Unix sockets stay plain
    #[arg(long, value_name = "FILE", env = "SIDECAR_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", env = "SIDECAR_TLS_KEY")]
    pub tls_key: Option<PathBuf>,

    /// CA certificates (PEM): clients must show a certificate that one of these signed
    #[arg(long, value_name = "FILE", env = "SIDECAR_TLS_CLIENT_CA")]
    pub tls_client_ca: Option<PathBuf>,

    /// How long running generations may take to finish after SIGTERM, e.g. `30s` or `2min`
    #[arg(long, value_name = "DUR", env = "SIDECAR_GRACE", default_value = "30s", value_parser = humantime::parse_duration)]
    pub grace: Duration,

    /// How to run models.
    #[command(flatten)]
    pub onnx: OnnxArgs,
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
    /// Load one package and run it for a token
    Check(Check),
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

/// How to run models.
#[derive(Debug, Args)]
pub struct OnnxArgs {
    /// What computes: `auto`, `cpu` or `cuda`
    #[arg(long, value_name = "NAME", env = "SIDECAR_PROVIDER", default_value = "auto")]
    pub provider: Provider,

    /// Threads of one step [default: one per core]
    #[arg(long, value_name = "N", env = "SIDECAR_THREADS", value_parser = threads)]
    pub threads: Option<usize>,

    /// ONNX Runtime's shared library [default: `ORT_DYLIB_PATH`, else what `ci/onnxruntime` fetched]
    #[arg(long, value_name = "PATH", env = "SIDECAR_ONNXRUNTIME")]
    pub onnxruntime: Option<PathBuf>,
}

fn slots(text: &str) -> Result<usize, String> {
    between(text, 256)
}

fn connections(text: &str) -> Result<usize, String> {
    between(text, 1_000_000)
}

fn threads(text: &str) -> Result<usize, String> {
    between(text, 1024)
}

fn between(text: &str, most: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("expected a number from 1 to {most}"))
}

const EXAMPLES: &str = "\
First steps:
  ci/onnxruntime && ci/models smollm2         fetch the runtime and a small real model into the cache
  reference-sidecar generate --model smollm2 'The capital of France is'
  reference-sidecar serve                     on unix:///tmp/cy_sidecar.sock and 127.0.0.1:50051
  grpcurl -plaintext 127.0.0.1:50051 AiInference/Health

Environment:
  SIDECAR_*            each option's variable is in the help of its command
  SIDECAR_LOG          what to log to standard error: `warn`, `debug`, `reference_sidecar=trace` [default: info]
  AI_INFERENCE_CACHE   the cache [default: $XDG_CACHE_HOME/ai-inference, else ~/.cache/ai-inference]
  ORT_DYLIB_PATH       ONNX Runtime's shared library

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.";

const SERVE_EXAMPLES: &str = "\
Prints `listening on ADDR` for each address, once ready; `https://host:port` where it speaks TLS. SIGTERM or SIGINT: no new work, running generations finish
within --grace, exit 0; a second signal ends at once.

Without --token-env the token is that of CY_LLM_INTERNAL_TOKEN where this is set, else none is asked for.

Examples:
  reference-sidecar serve --models fixtures/models --default-model tiny
  reference-sidecar serve --listen 0.0.0.0:50051 --slots 8 --queue 64
  TOKEN=secret reference-sidecar serve --token-env TOKEN";

const GENERATE_EXAMPLES: &str = "\
Examples:
  reference-sidecar generate --model smollm2 'User: Hello\\nAssistant:'
  reference-sidecar generate --model ./my-export --temperature 0.01 --max-new-tokens 32 'Once upon a time'";
