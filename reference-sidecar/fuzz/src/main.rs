//! `fuzz`: argv → a campaign or a replay → exit code.

use std::{fs, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use fuzz::{
    campaign::{self, Target},
    corpus::Corpus,
    http2::Http2,
    packages::Packages,
    panics,
    requests::Requests,
    sidecar::Sidecar,
};

/// Mutational fuzzing of the sidecar's edge
#[derive(Debug, Parser)]
#[command(name = "fuzz", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Messages, through conversion, validation and the service
    Requests(Campaign),
    /// All bytes of a connection
    Http2(Campaign),
    /// Model directories that somebody broke
    Packages(Campaign),
    /// One input again; its file's name says for which target
    Replay {
        /// The file that a finding named
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Campaign {
    /// How many seconds to run
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,

    /// Of the choices; which input comes when also depends on the server's answers
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Inputs to start from; new ones are added [default: `reference-sidecar/fuzz/corpus/TARGET`]
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    panics::watch();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let sidecar = async || anyhow::Ok(Arc::new(Sidecar::start().await?));
        match cli.command {
            Command::Requests(args) => run(Requests::new(sidecar().await?).await?, args).await,
            Command::Http2(args) => run(Http2::new(sidecar().await?), args).await,
            Command::Packages(args) => run(Packages::new()?, args).await,
            Command::Replay { file } => {
                let input = fs::read(&file).with_context(|| format!("failed to read {}", file.display()))?;
                let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                match name {
                    name if name.starts_with(Requests::NAME) => {
                        replay(Requests::new(sidecar().await?).await?, input).await
                    }
                    name if name.starts_with(Packages::NAME) => replay(Packages::new()?, input).await,
                    _ => replay(Http2::new(sidecar().await?), input).await,
                }
            }
        }
    })
}

async fn run<T: Target>(target: T, args: Campaign) -> anyhow::Result<ExitCode> {
    let home = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let directory = args.corpus.unwrap_or_else(|| home.join("corpus").join(T::NAME));
    let mut corpus = Corpus::read(&directory, true)?;
    let time = Duration::from_secs(args.seconds);
    let tell = |done: campaign::Done, rate: f64| {
        println!(
            "{} executed, {rate:.0}/s, corpus {}, behaviours {}",
            done.executed, done.corpus, done.behaviours
        );
    };
    match campaign::run(&target, &mut corpus, args.seed, time, tell).await? {
        Ok(done) => {
            println!(
                "no findings: {} executed, corpus {}, behaviours {}",
                done.executed, done.corpus, done.behaviours
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(finding) => {
            println!("FINDING: {}", finding.what);
            for file in campaign::save::<T>(&finding, &home.join("findings"))? {
                println!("again: cargo run -p fuzz --release -- replay {}", file.display());
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn replay<T: Target>(target: T, input: Vec<u8>) -> anyhow::Result<ExitCode> {
    match campaign::execute(&target, &[input]).await {
        Ok(seen) => {
            println!(
                "{}: no finding; seen: {}",
                T::NAME,
                seen.first().map_or("", |(_, signature)| signature)
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(what) => {
            println!("FINDING: {what}");
            Ok(ExitCode::FAILURE)
        }
    }
}
