//! `conformance bench calibrate`: one program compared with itself, to learn which differences are only noise on this
//! host.

use std::{env, fs, path::PathBuf};

use latency::{
    FloorFile, Session, Source,
    compare::{Comparison, Conclusion, goals},
    floors::{Calibration, Store},
    host::Fingerprint,
};
use present::text;

use super::{
    common::{BLOCK, LoadSettings},
    contestant::{Common, Measured, block, said},
    floors::read,
    raw::LoadArgs,
    side::Side,
};
use crate::{
    cli::{call::refuse, patience::interrupted},
    exit::Exit,
};

/// Arguments of `conformance bench calibrate`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct CalibrateArgs {
    /// The target to compare with itself: an address, or cmd:COMMAND, container:IMAGE or file:TARGET, started anew for each
    /// block
    /// [default: this program's own exemplar, at a pace that is known]
    #[arg(long, value_name = "SIDE")]
    pub target: Option<Side>,
    /// Blocks to measure
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u16).range(6..=1000))]
    pub blocks: u16,
    /// Blocks that comparisons will have: more of them tell smaller differences apart
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(2..=1000))]
    pub planned: u16,
    /// The port that containers serve on, inside
    #[arg(long, value_name = "PORT", default_value_t = 50051)]
    pub container_port: u16,
    /// Where floors are kept [default: $XDG_STATE_HOME/ai-inference/floors.json, else below ~/.local/state]
    #[arg(long, value_name = "FILE")]
    pub store: Option<PathBuf>,
    /// Where every block's recordings go (blocks/)
    #[arg(long, value_name = "DIR", default_value = "target/bench-calibrate")]
    pub output: PathBuf,
    /// Load
    #[command(flatten)]
    pub load: LoadArgs,
}

const EXAMPLES: &str = "\
Examples:
  conformance bench calibrate
  conformance bench calibrate --target 'cmd:./server serve' --load closed:4

`bench compare` uses the floors of this host for an equal load: the same --load, --length, --prompts, --tokens, --connections \
and --most-running. A floor above --delta takes its place. A server that keeps the processor busy is noisier than the \
exemplar, which sleeps: calibrate with one that works as yours does.

It takes --blocks times two times --length, and the warm-ups.

Exit codes: 0 stored, 2 wrong usage, 3 the target could not be reached, 4 the figures are invalid and nothing was stored,
130 interrupted.";

/// Runs `conformance bench calibrate`.
pub(super) async fn run(args: CalibrateArgs) -> anyhow::Result<Exit> {
    let mut load = match args.load.clone().resolve() {
        Ok(load) => load,
        Err(exit) => return Ok(exit),
    };
    load.default_length(BLOCK);
    if let Err(exit) = load.check_arrivals() {
        return Ok(exit);
    }
    let measured = tokio::select! {
        measured = calibrate(&args, &load) => measured,
        () = interrupted() => Err(Exit::Interrupted),
    };
    let (calibration, file, mut store) = match measured {
        Ok(measured) => measured,
        Err(exit) => return Ok(exit),
    };
    text::print(&calibration.table())?;
    store.keep(calibration);
    if let Err(error) = file.write(&store) {
        return Ok(refuse(Exit::Harness, &format!("cannot write {}: {error}", file.0.display())));
    }
    eprintln!("stored in {}", file.0.display());
    Ok(Exit::Success)
}

async fn calibrate(
    args: &CalibrateArgs,
    load: &LoadSettings,
) -> Result<(Calibration, FloorFile, Store), Exit> {
    let target = args.target.clone().map_or_else(exemplar, Ok)?;
    let addresses: Vec<_> = target.address().cloned().into_iter().collect();
    target.read(args.container_port)?;
    let (tls, prompts) = load.read(&addresses)?;
    let file = args.store.clone().map(FloorFile).or_else(FloorFile::of_user);
    let file =
        file.ok_or_else(|| refuse(Exit::Usage, &"there is no home directory; name a file with --store"))?;
    let store = read(&file)?.unwrap_or_default();
    if !Fingerprint::is_known(&Fingerprint::here().to_string()) {
        let why = "this system does not say what it runs on, and a floor must not be used on another host";
        return Err(refuse(Exit::Usage, &why));
    }
    fs::create_dir_all(&args.output).map_err(|error| {
        refuse(Exit::Usage, &format!("cannot write into {}: {error}", args.output.display()))
    })?;
    let port = args.container_port;
    let common = Common { load, tls: &tls, prompts: &prompts, port, output: &args.output };
    let model = load.call.model.as_deref();
    let side = || Source::Fresh { contestant: Measured::new(common, &target, model), like: None };
    let (prompts, seed) = (load.prompts.to_string(), load.seed);
    let session = Session::new([side(), side()], &args.output, prompts, seed, load.warm_up);
    let mut session = session.map_err(|error| said(&error))?;
    let mut pairs = Vec::new();
    while pairs.len() < usize::from(args.blocks) {
        pairs.push(block(&mut session, pairs.len(), load).await?);
    }
    let Comparison { conclusion, invalid, .. } = Comparison::unjudged(&pairs, false);
    if conclusion == Conclusion::Invalid {
        return Err(refuse(Exit::Harness, &format!("nothing is stored: {}", invalid.join("; "))));
    }
    // How much slower is too slow is not asked here.
    let calibration = Calibration::of(&pairs, &goals(0.0, 0.0), usize::from(args.planned));
    let calibration = calibration.map_err(|error| refuse(Exit::Harness, &error))?;
    Ok((calibration, file, store))
}

/// This program itself, at a pace that leaves the processor alone.
fn exemplar() -> Result<Side, Exit> {
    let program = env::current_exe().map_err(|error| {
        refuse(Exit::Unreachable, &format!("cannot find this program ({error}); name a --target"))
    })?;
    // Quoted for the shell.
    let program = program.display().to_string().replace('\'', r"'\''");
    Ok(Side::Command(format!("'{program}' {EXEMPLAR}")))
}

const EXEMPLAR: &str = "serve exemplar --listen 127.0.0.1:0 --ttft 20ms --gap 5ms";
