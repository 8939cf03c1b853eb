//! All streams at once: every answer is right or refused, none is lost, and the server counts as its clients do.

use std::{sync::Arc, time::Duration};

use ai_inference_proto::Dialect;
use anyhow::Context as _;
use benches::client::Connection;
use testkit::request;
use tokio::{task::JoinSet, time::timeout};
use tonic::Code;

use super::{
    connect,
    follower::Follower,
    options::Options,
    reference::{Reference, References},
    samples::Sampler,
    tally::{Ending, Tally},
    verdict::Verdict,
};

/// Runs it against a server with a queue of this length; unknown for a server that is not ours.
pub(crate) async fn run(
    options: &Options,
    addresses: &[String],
    references: &References,
    queue: Option<usize>,
) -> anyhow::Result<Vec<Verdict>> {
    let name = match queue {
        Some(queue) => format!("storm, queue {queue}"),
        None => "storm".to_owned(),
    };
    let connections = connect(addresses, options.connections).await?;
    let sampler = Sampler::new(connect(addresses, 1).await?.swap_remove(0), None);
    let counted_before = outcomes(&connections[0]).await?;
    let tally = Arc::new(Tally::default());
    let mut streams = JoinSet::new();
    for at in 0..options.streams {
        let connection = connections[at % connections.len()].clone();
        let (reference, tally) = (references.golden(at).clone(), Arc::clone(&tally));
        let dialect = Dialect::ALL[at / connections.len() % 2];
        let trace_id = format!("storm-{at}");
        streams.spawn(async move {
            let answered = timeout(PATIENCE, answer(&connection, dialect, &reference, &trace_id)).await;
            let ending = answered.unwrap_or_else(|_| Ending::Fault(format!("no end within {PATIENCE:?}")));
            tally.count(match ending {
                Ending::Fault(why) => Ending::Fault(format!("{trace_id}: {why}")),
                ending => ending,
            });
        });
    }
    while let Some(joined) = streams.join_next().await {
        joined?;
    }
    let idle = sampler.idle_within(IDLE_WITHIN).await?;
    let counted = outcomes(&connections[0]).await?;
    let counts = tally.counts();
    eprintln!("{name}: {counts}");
    for fault in tally.faults() {
        eprintln!("  {fault}");
    }

    let all = options.streams as u64;
    let fits = queue.is_some_and(|queue| queue >= options.streams);
    let may_refuse = if fits { counts.refused == 0 } else { true };
    // Whatever the timing, a queue takes as many as it holds.
    let least = queue.map_or(1, |queue| queue.min(options.streams)) as u64;
    let answered = counts.faults == 0
        && may_refuse
        && counts.complete >= least
        && counts.complete + counts.refused == all;
    let delta = (counted.0 - counted_before.0, counted.1 - counted_before.1);
    let agree = delta == (counts.complete, counts.refused);
    Ok(vec![
        Verdict::new(
            format!("{name}: every stream is answered right or refused"),
            answered,
            counts.to_string(),
        ),
        Verdict::new(
            format!("{name}: the server counts what its clients saw"),
            agree,
            format!("it counts {} complete and {} refused", delta.0, delta.1),
        ),
        idle_verdict(&name, idle),
    ])
}

/// Whether the server came to rest.
pub(crate) fn idle_verdict(name: &str, idle: Result<Duration, super::samples::Load>) -> Verdict {
    let seen = match &idle {
        Ok(after) => format!("after {:.0} ms", after.as_secs_f64() * 1000.0),
        Err(load) => {
            format!("{} in flight, {} waiting, {} slots busy", load.inflight, load.waiting, load.busy)
        }
    };
    Verdict::new(format!("{name}: then nothing is left in the server"), idle.is_ok(), seen)
}

/// Reads one answer to its end.
async fn answer(connection: &Connection, dialect: Dialect, reference: &Reference, trace_id: &str) -> Ending {
    let request = request(&reference.prompt, trace_id, reference.max_new_tokens);
    let mut follower = Follower::new(trace_id, &reference.text);
    let ended = async {
        let mut responses = connection.generate(dialect, request, None).await?;
        while let Some(response) = responses.next().await? {
            if let Err(why) = follower.take(&response) {
                return Ok(Err(why));
            }
        }
        Ok::<_, tonic::Status>(follower.finish())
    };
    match ended.await {
        Ok(Ok(())) => Ending::Complete,
        Ok(Err(why)) => Ending::Fault(why),
        Err(status) if status.code() == Code::ResourceExhausted => Ending::Refused,
        Err(status) => Ending::Fault(format!("{:?}: {}", status.code(), status.message())),
    }
}

/// How many generations the server says it completed, and how many it refused or failed.
async fn outcomes(connection: &Connection) -> anyhow::Result<(u64, u64)> {
    let metrics = connection.health().await?;
    let number = |name: &str| metrics.get(name).and_then(|value| value.parse().ok());
    let counters = number("requests_success").zip(number("requests_failed"));
    counters.context("Health has no requests_success and requests_failed")
}

/// A thousand streams on the slowest machine that we know take a tenth of this.
const PATIENCE: Duration = Duration::from_mins(5);
/// All streams have ended: what is left is the engine's last step.
pub(crate) const IDLE_WITHIN: Duration = Duration::from_secs(5);
