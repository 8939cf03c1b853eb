//! What gRPC adds to the first token: a client's time, less the server's own for the same request.
//!
//! The client is the benchmark's (`conformance bench run`). Both times are of one request, so that neither the prompt nor the
//! machine's speed, nor where a process' memory came to lie, is in the difference.

use std::{path::Path, sync::Arc, time::Duration};

use ai_inference_proto::Dialect;
use anyhow::{Context as _, ensure};
use benches::statistics::Summary;
use latency::{
    Endpoint,
    arrivals::Load,
    load::{self, Job, Tally},
    record::RequestRecord,
};
use rand::{SeedableRng as _, rngs::StdRng};
use serde::Serialize;
use tokio::runtime::Runtime;
use wire::Tls;

use super::{grpc::Served, in_process, options::Options, workload};

/// Times to the first token, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FirstToken {
    /// How requests came.
    pub(crate) when: &'static str,
    /// Tokens of a prompt.
    pub(crate) prompt: usize,
    /// The time that a client saw.
    pub(crate) over_grpc: Summary,
    /// The server's own, from the request's arrival to its first token: tokenizer, engine, detokenizer.
    pub(crate) in_server: Summary,
    /// Request by request, the first less the second.
    pub(crate) overhead: Summary,
    /// One a request.
    pub(crate) differences: Vec<f64>,
}

/// Measures, with nothing else running: a server at work, which has the goal, and one that each request wakes from a pause, in
/// which all code and data but the model's has gone cold.
pub(crate) fn run(options: &Options, package: &Path, runtime: &Runtime) -> anyhow::Result<Vec<FirstToken>> {
    if options.first_token_tries == 0 {
        return Ok(Vec::new());
    }
    let served = Served::start(options, package, runtime)?;
    let model = package.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let tokenizer = &in_process::tokenizer(package)?;
    let mut rng = StdRng::seed_from_u64(options.seed ^ 1);
    let prompts = workload::draw(&mut rng, tokenizer, PROMPTS, options.first_token_prompt, 1)?.texts;
    let endpoint = Endpoint {
        address: served.address().to_string().parse()?,
        tls: Tls::default(),
        dialect: Dialect::CyLlm, // which tells the server's own time
        metadata: vec![],
    };
    let job = Job {
        endpoint: Arc::new(endpoint),
        model,
        load: Load::Closed { clients: 1 },
        length: WARM_UP,
        prompts,
        tokens: TOKENS,
        connections: 1,
        most_running: usize::MAX,
        per_stream: 1,
        cancel_share: 0.0,
        requests: None,
        limit: Duration::from_mins(1),
        seed: options.seed,
    };
    runtime.block_on(load::run(&job, &Tally::default()))?;
    let tries = options.first_token_tries;
    let paused = format!("constant:{A_SECOND}").parse().context("a load")?;
    [("one request after another", Load::Closed { clients: 1 }), ("after a pause", paused)]
        .into_iter()
        .map(|(when, load)| {
            let mut requests = Vec::new();
            while requests.len() < tries {
                let (load, seed) = (load.clone(), requests.len() as u64);
                let job = Job { load, length: STRETCH, seed, ..job.clone() };
                let measured = runtime.block_on(load::run(&job, &Tally::default()))?;
                ensure!(measured.iter().all(RequestRecord::is_complete), "a request failed");
                requests.extend(measured);
            }
            first_token(when, options.first_token_prompt, &requests[..tries])
        })
        .collect()
}

fn first_token(when: &'static str, prompt: usize, requests: &[RequestRecord]) -> anyhow::Result<FirstToken> {
    let times = requests.iter().filter_map(|request| {
        let client = (request.chunks.first()? - request.sent) as f64 / 1e6;
        Some([client, f64::from(request.server_ttft_ms?)])
    });
    let times: Vec<_> = times.collect();
    let differences: Vec<f64> = times.iter().map(|[grpc, server]| grpc - server).collect();
    let summary = |values: &[f64]| Summary::of(values).context("nothing was measured");
    let side = |at: usize| summary(&times.iter().map(|time| time[at]).collect::<Vec<_>>());
    Ok(FirstToken {
        when,
        prompt,
        over_grpc: side(0)?,
        in_server: side(1)?,
        overhead: summary(&differences)?,
        differences,
    })
}

/// So many that none is asked twice within what a server keeps.
const PROMPTS: usize = 500;
/// More than one, so that the server has something else to do when the first is on its way.
const TOKENS: u32 = 8;
/// Enough for memory to be taken and pages to be touched.
const WARM_UP: Duration = Duration::from_secs(1);
/// Measured at a time.
const STRETCH: Duration = Duration::from_secs(5);
/// Requests, after a pause: so few that the last one's threads have long gone to sleep.
const A_SECOND: u32 = 3;
