//! `conformance serve`: an endpoint that keeps the contract, breaks one requirement of it, or does almost nothing, to try
//! other suites and benchmarks on.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use exemplar::{self, Behaviour, Conformant, Pace, Paced, trivial::Trivial};
use latency::be_punctual;
use present::text;
use tokio::runtime::Builder;
use wire::Address;

use super::{
    patience::{interrupted, interrupted_again},
    token::token,
};
use crate::{exit::Exit, requirements::ALL};

/// Arguments of `conformance serve`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    /// What to serve: the exemplar keeps every requirement
    #[arg(value_parser = ["exemplar"], default_value = "exemplar")]
    pub what: String,
    /// Address to listen on: host:port, https://host:port or unix:///abs/path. Can be given several times; port 0 takes a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:50051")]
    pub listen: Vec<Address>,
    /// Break one requirement, by its id; `list` shows all mutants
    #[arg(long, value_name = "ID", conflicts_with = "trivial")]
    pub mutant: Option<String>,
    /// Serve something that does almost nothing instead
    #[arg(long, value_name = "NAME", value_parser = Trivial::ALL.map(Trivial::name))]
    pub trivial: Option<String>,
    /// Time to the first chunk, whatever the prompt
    #[arg(long, value_name = "DUR", value_parser = humantime::parse_duration, conflicts_with_all = ["mutant", "trivial"])]
    pub ttft: Option<Duration>,
    /// Time from a chunk to the next
    #[arg(long, value_name = "DUR", value_parser = humantime::parse_duration, requires = "ttft")]
    pub gap: Option<Duration>,
    /// One request in N gets its first chunk late; --slow-by says how late
    #[arg(long, value_name = "N", requires = "ttft", default_value_t = 0)]
    pub slow_one_in: u64,
    /// How many times the usual time a slow request takes to start
    #[arg(long, value_name = "FACTOR", requires = "ttft", default_value_t = 1.5, value_parser = factor)]
    pub slow_by: f64,
    /// Length of the pauses of --stall-every, in which nothing is sent
    #[arg(long, value_name = "DUR", value_parser = humantime::parse_duration, requires = "stall_every")]
    pub stall: Option<Duration>,
    /// Time from the start of one pause of --stall to the start of the next
    #[arg(long, value_name = "DUR", value_parser = above_zero, requires_all = ["stall", "ttft"])]
    pub stall_every: Option<Duration>,
    /// The certificate of `https://` addresses, with those between it and its CA (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Serve only clients that have a certificate of this CA (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,
    /// Ask for this bearer token on StreamPredict and Control
    #[arg(long, value_name = "TOKEN", env = "CONFORMANCE_TOKEN", hide_env_values = true, value_parser = token)]
    pub token: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  conformance serve exemplar --listen 127.0.0.1:50051
  conformance serve exemplar --mutant STREAM-004       index starts at 1
  conformance serve exemplar --mutant list             every mutant and its fault
  conformance serve exemplar --ttft 50ms --gap 10ms    answers at this pace, for `bench` to measure
  conformance serve --trivial ok-empty                 answers OK and nothing else";

fn above_zero(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("a duration above zero is needed".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (0.0..=1e6).contains(&factor) => Ok(factor),
        _ => Err("expected a positive number".to_owned()),
    }
}

/// Serves until interrupted, and until what runs then has ended.
pub fn run(args: ServeArgs) -> anyhow::Result<Exit> {
    // One thread: what is due leaves it without being handed to another one first.
    Builder::new_current_thread().enable_all().build()?.block_on(serve(args))
}

async fn serve(args: ServeArgs) -> anyhow::Result<Exit> {
    if args.mutant.as_deref() == Some("list") {
        let rows: Vec<_> = ALL.iter().map(|r| format!("{:<16} {}\n", r.id, r.mutant.fault)).collect();
        text::print(&rows.concat())?;
        return Ok(Exit::Success);
    }
    if let Some(name) = &args.trivial {
        return serve_trivial(name, &args.listen).await;
    }
    let mut behaviour: Arc<dyn Behaviour> = match args.ttft {
        None => Arc::new(Conformant),
        Some(ttft) => Arc::new(Paced::new(Pace {
            ttft,
            gap: args.gap.unwrap_or_default(),
            slow_one_in: args.slow_one_in,
            slow_by: args.slow_by,
            stall: args.stall.unwrap_or_default(),
            stall_every: args.stall_every.unwrap_or_default(),
        })),
    };
    if let Some(id) = &args.mutant {
        let Some(requirement) = ALL.iter().find(|r| r.id.eq_ignore_ascii_case(id)) else {
            eprintln!("error: no mutant {id}; `conformance serve --mutant list` shows them all");
            return Ok(Exit::Usage);
        };
        behaviour = (requirement.mutant.behaviour)();
    }
    be_punctual(); // the timer's thread is started from this one
    let tls = args.tls_cert.zip(args.tls_key);
    let tls = tls.map(|(chain, key)| exemplar::Tls { chain, key, clients: args.tls_client_ca });
    match exemplar::serve_with_tls(behaviour, &args.listen, args.token, tls.as_ref()).await {
        Ok(running) => {
            running.addresses.iter().for_each(announce);
            interrupted().await;
            tokio::select! {
                () = running.drain() => {}
                () = interrupted_again() => {}
            }
            Ok(Exit::Success)
        }
        Err(error) => {
            eprintln!("error: cannot listen: {error}");
            Ok(Exit::Unreachable)
        }
    }
}

async fn serve_trivial(name: &str, listen: &[Address]) -> anyhow::Result<Exit> {
    let mut running = Vec::new();
    for address in listen {
        let (Some(trivial), Address::Tcp { host, port }) =
            (Trivial::ALL.into_iter().find(|t| t.name() == name), address)
        else {
            eprintln!("error: a trivial server listens on host:port only");
            return Ok(Exit::Usage);
        };
        let server = trivial.serve(host, *port).await?;
        announce(&server.address);
        running.push(server);
    }
    interrupted().await;
    Ok(Exit::Success)
}

fn announce(address: &Address) {
    // The reader of the pipe may close it when it has seen enough; the server goes on.
    let _ = writeln!(io::stdout(), "listening on {address}");
}
