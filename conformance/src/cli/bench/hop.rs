//! `conformance bench hop`: a tap behind the proxy, a client in front of it, and calls that take both ways in turns.

use std::{
    fs, io,
    net::TcpListener,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ai_inference_proto::Dialect;
use latency::{
    Endpoint,
    hop::{Clock, HopError, HopReport, HopSetup, Measurement, Tap, Traffic},
    host::Fingerprint,
};
use present::{secrets::shown_command, text};
use wire::{Address, Tls};

use super::common::written;
use super::values::{duration, duration_or_none};
use crate::{
    cli::{
        call::{CallArgs, Metadata, reach, refuse, stop},
        patience::{interrupted, told},
        tls::TlsArgs,
    },
    exit::Exit,
    runner::{Asked, survey},
    target::{Start, Target},
};

/// Arguments of `conformance bench hop`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct HopArgs {
    /// The proxy: unix:///abs/path, host:port or https://host:port
    #[arg(long, value_name = "ADDR", required_unless_present = "spawn")]
    pub front: Option<Address>,
    /// Start the proxy with this command and stop it afterwards. {back} in it becomes the address that it is to forward to,
    /// {front} the one that it is to listen on: --front or, without it, a free port. A command without {front} must print
    /// `listening on ADDR`
    #[arg(long, value_name = "CMD")]
    pub spawn: Option<String>,
    /// Where the backend behind the proxy is served: unix:///abs/path or host:port. A proxy that runs already must forward
    /// there
    #[arg(
        long,
        value_name = "ADDR",
        required_unless_present = "spawn",
        default_value_if("spawn", clap::builder::ArgPredicate::IsPresent, "127.0.0.1:0")
    )]
    pub listen_behind: Option<Address>,
    /// Generations at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub streams: u32,
    /// Time from a message to the next
    #[arg(long, value_name = "DUR", default_value = "10ms", value_parser = duration_or_none)]
    pub gap: Duration,
    /// Messages of a generation
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub chunks: u32,
    /// Bytes of a message's text
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u32).range(22..=1_000_000))]
    pub chunk_bytes: u32,
    /// Blocks to measure: each measures both ways, in random order
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(3..=1000))]
    pub blocks: u32,
    /// How long each way, direct and through the proxy, is measured in each block
    #[arg(long, value_name = "DUR", default_value = "1s", value_parser = duration)]
    pub length: Duration,
    /// Most time that the proxy may add at the median, in either direction: above it the exit code is 1
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub most: Option<Duration>,
    /// Longest wait for a generation
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
    /// Seed of the random order of both ways within each block
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Calls
    #[command(flatten)]
    pub call: CallArgs,
    /// Where hop.json and hop.md go
    #[arg(long, value_name = "DIR", default_value = "target/bench-hop")]
    pub output: PathBuf,
    /// Print the report as JSON
    #[arg(long, conflicts_with = "markdown")]
    pub json: bool,
    /// Print the report as Markdown
    #[arg(long)]
    pub markdown: bool,
    /// TLS, in front
    #[command(flatten)]
    pub tls: TlsArgs,
}

const EXAMPLES: &str = "\
Examples:
  conformance bench hop --spawn 'my-proxy --listen {front} --backend {back}'
  conformance bench hop --front localhost:50050 --listen-behind localhost:50051     a proxy that forwards there already
  conformance bench hop --spawn 'my-proxy {front} {back}' --streams 16 --gap 5ms --most 1ms

The backend behind the proxy is this program itself, so that both ends of each message are stamped by one clock; a direct way
to it is measured in turns with the one through the proxy, and what it costs is taken off.

Exit codes: 0 measured, 1 a median lies above --most with its whole interval, 2 wrong usage, 3 the proxy could not be reached
or does not forward to the backend, 4 the figures are invalid (messages were lost, merged or came out of order; the report
says which), 130 interrupted.";

/// Runs `conformance bench hop`.
pub(super) async fn run(args: HopArgs) -> anyhow::Result<Exit> {
    let (tls, token) = match read(&args) {
        Ok(read) => read,
        Err(exit) => return Ok(exit),
    };
    if let Err(error) = fs::create_dir_all(&args.output) {
        return Ok(refuse(Exit::Usage, &format!("cannot write into {}: {error}", args.output.display())));
    }
    let clock = Clock::start();
    let behind = args.listen_behind.clone().unwrap_or(Address::Tcp { host: "127.0.0.1".to_owned(), port: 0 });
    let tap = Tap::start(&behind, clock, args.chunks, args.chunk_bytes as usize, args.gap).await;
    let tap = match tap {
        Ok(tap) => Arc::new(tap),
        Err(error) => return Ok(refuse(Exit::Usage, &format!("--listen-behind {behind}: {error}"))),
    };
    let proxy = match start(&args, &tap.address).await {
        Ok(proxy) => proxy,
        Err(exit) => return Ok(exit),
    };
    let measured = tokio::select! {
        measured = measure(&args, &proxy, &tap, clock, (tls, token)) => measured,
        () = interrupted() => Ok(Err(Exit::Interrupted)),
    };
    stop(proxy.stop()).await;
    Ok(measured?.unwrap_or_else(|exit| exit))
}

/// Reads the certificates and the token, before anything is started; the error is said already.
fn read(args: &HopArgs) -> Result<(Tls, Metadata), Exit> {
    let tls = args.tls.read().map_err(|bad| refuse(Exit::Usage, &bad))?;
    Ok((tls, args.call.with_token(args.call.token.as_deref())?))
}

/// The proxy, started if need be.
async fn start(args: &HopArgs, back: &Address) -> Result<Target, Exit> {
    let Some(command) = &args.spawn else {
        return reach(Start::address(args.front.as_slice()), &args.output.join("proxy.log")).await;
    };
    let front = match &args.front {
        None if command.contains(FRONT) => Some(free_port().map_err(|error| refuse(Exit::Usage, &error))?),
        given => given.clone(),
    };
    let shown = front.as_ref().map(Address::to_string).unwrap_or_default();
    let command = command.replace(BACK, &back.to_string()).replace(FRONT, &shown);
    reach(Start::command(&command, front.as_slice()), &args.output.join("proxy.log")).await
}

/// A port that is free now. Another process may take it before the proxy does; then the proxy says so.
fn free_port() -> io::Result<Address> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    Ok(Address::Tcp { host: "127.0.0.1".to_owned(), port })
}

async fn measure(
    args: &HopArgs,
    proxy: &Target,
    tap: &Arc<Tap>,
    clock: Clock,
    credentials: (Tls, Metadata),
) -> anyhow::Result<Result<Exit, Exit>> {
    let (through, model) = match look(args, proxy, credentials).await {
        Ok(looked) => looked,
        Err(exit) => return Ok(Err(exit)),
    };
    let traffic = Traffic {
        model,
        streams: args.streams as usize,
        chunks: args.chunks,
        chunk_bytes: args.chunk_bytes as usize,
        length: args.length,
        limit: args.timeout,
    };
    let (through, tap) = (Arc::clone(&through), Arc::clone(tap));
    let measurement = Measurement { through, tap, clock, traffic, blocks: args.blocks, seed: args.seed };
    let measured = measurement.run(|number, block| {
        let (without, with) = (block.direct.median_down(), block.through.median_down());
        eprintln!("block {number:>2}  direct {without:.3} ms  through {with:.3} ms");
    });
    let blocks = match measured.await {
        Ok(blocks) => blocks,
        Err(error @ (HopError::Connect { .. } | HopError::NotRecognised { .. })) => {
            return Ok(Err(refuse(Exit::Unreachable, &error)));
        }
        Err(error @ HopError::NotForwarded { .. }) => {
            let why = format!(
                "{error}: make it forward there ({BACK} in --spawn, or --listen-behind at the address that it forwards to)"
            );
            return Ok(Err(refuse(Exit::Unreachable, &why)));
        }
    };
    let Measurement { through, tap, .. } = &measurement;
    let report =
        HopReport::new(setup(args, through, tap), &blocks, args.most.map(|most| most.as_secs_f64() * 1e3));
    conclude(args, &report).map(Ok)
}

/// Looks through the proxy: in which dialect it answers, and for which model.
async fn look(
    args: &HopArgs,
    proxy: &Target,
    (tls, metadata): (Tls, Metadata),
) -> Result<(Arc<Endpoint>, String), Exit> {
    let addresses = &proxy.addresses()[..1];
    let surveying = survey(Asked {
        addresses,
        tls: &tls,
        dialect: args.call.dialect.0,
        documented: Dialect::Contract,
        model: args.call.model.as_deref(),
        token: args.call.token.as_deref(),
        metadata: &args.call.metadata,
        patience: args.timeout,
        instances: None,
    });
    let surveyed = told("waiting for the first answers through the proxy", surveying).await;
    let surveyed = surveyed.map_err(|unreachable| refuse(Exit::Unreachable, &unreachable))?.endpoint;
    let address = addresses[0].clone();
    Ok((Arc::new(Endpoint { address, tls, dialect: surveyed.dialect, metadata }), surveyed.model))
}

fn setup(args: &HopArgs, through: &Endpoint, tap: &Tap) -> HopSetup {
    HopSetup {
        front: args.spawn.as_deref().map_or_else(
            || through.address.to_string(),
            |command| through.redactor().text(&shown_command(command)),
        ),
        behind: tap.address.to_string(),
        dialect: through.dialect.name().to_owned(),
        streams: args.streams as usize,
        gap_ms: args.gap.as_secs_f64() * 1e3,
        chunks: args.chunks,
        chunk_bytes: args.chunk_bytes as usize,
        seconds: args.length.as_secs_f64(),
        seed: args.seed,
        started: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        host: Fingerprint::here().to_string(),
    }
}

fn conclude(args: &HopArgs, report: &HopReport) -> anyhow::Result<Exit> {
    let (table, json) = (report.table(), serde_json::to_string_pretty(report)? + "\n");
    fs::write(args.output.join("hop.json"), &json)?;
    let markdown = report.markdown();
    fs::write(args.output.join("hop.md"), &markdown)?;
    text::print(match (args.json, args.markdown) {
        (true, _) => &json,
        (false, true) => &markdown,
        (false, false) => &table,
    })?;
    written(&args.output, &["hop.json", "hop.md"]);
    Ok(if !report.invalid.is_empty() {
        Exit::Harness
    } else if report.above.is_empty() {
        Exit::Success
    } else {
        Exit::NonConformant
    })
}

const BACK: &str = "{back}";
const FRONT: &str = "{front}";
