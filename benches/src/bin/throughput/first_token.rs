//! What the network edge adds to the first token: the same prompts over gRPC and straight into the engine, in turns.
//!
//! Measured with the package, and with `tiny`, whose own time is too short to hide anything.

use std::{path::Path, thread, time::Duration};

use anyhow::Context as _;
use benches::statistics::Summary;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::Serialize;
use tokio::runtime::Runtime;

use super::{
    grpc::Served,
    in_process,
    options::{Options, Role},
    peer::Peer,
    workload,
};

/// Times to the first token, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FirstToken {
    pub(crate) model: String,
    /// Tokens of a prompt.
    pub(crate) prompt: usize,
    /// As a client saw it.
    pub(crate) over_grpc: Summary,
    /// From submission to the engine to its token.
    pub(crate) in_process: Summary,
    /// Prompt by prompt, the first less the second.
    pub(crate) overhead: Summary,
    /// One a prompt.
    pub(crate) differences: Vec<f64>,
}

/// Measures, with nothing else running.
pub(crate) fn run(options: &Options, package: &Path, runtime: &Runtime) -> anyhow::Result<Vec<FirstToken>> {
    if options.first_token_tries == 0 {
        return Ok(Vec::new());
    }
    let packages = [package, &fixtures::tiny()];
    packages.iter().map(|package| measure(options, package, runtime)).collect()
}

fn measure(options: &Options, package: &Path, runtime: &Runtime) -> anyhow::Result<FirstToken> {
    let model = package.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let tokenizer = &in_process::tokenizer(package)?;
    let prompt = options.first_token_prompt;
    let mut served = Served::start(options, package, runtime)?;
    let mut engine = Peer::ourselves(Role::Engine, package, options).context("cannot start the engine")?;
    let mut rng = StdRng::seed_from_u64(options.seed ^ 1);
    let (mut over_grpc, mut in_process) = (Vec::new(), Vec::new());
    for at in 0..WARM_UP + options.first_token_tries {
        let task = workload::draw(&mut rng, tokenizer, 1, prompt, 1)?;
        let grpc_first: bool = rng.random();
        let mut times = [0.0; 2];
        for turn in 0..2 {
            thread::sleep(SETTLE);
            let grpc = (turn == 0) == grpc_first;
            times[usize::from(grpc)] = if grpc {
                served.first_token(&task, runtime)?
            } else {
                engine.measure(&task)?.prefill_seconds
            };
        }
        if at >= WARM_UP {
            in_process.push(times[0] * 1000.0);
            over_grpc.push(times[1] * 1000.0);
        }
    }
    let differences: Vec<f64> =
        over_grpc.iter().zip(&in_process).map(|(grpc, engine)| grpc - engine).collect();
    let summary = |values: &[f64]| Summary::of(values).context("nothing was measured");
    Ok(FirstToken {
        model,
        prompt,
        over_grpc: summary(&over_grpc)?,
        in_process: summary(&in_process)?,
        overhead: summary(&differences)?,
        differences,
    })
}

/// Enough for memory to be taken and pages to be touched.
const WARM_UP: usize = 5;
/// The threads of the last run have gone to sleep: a client of an idle server finds it so. ONNX Runtime's may spin for
/// tens of milliseconds after a run, on the core that the next one needs.
const SETTLE: Duration = Duration::from_millis(100);
