//! As many streams in flight for minutes, from clients of every kind, while the server's memory is watched.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ai_inference_proto::Dialect;
use anyhow::Context as _;
use benches::client::Connection;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use testkit::request;
use tokio::{
    task::JoinSet,
    time::{sleep, sleep_until},
};
use tonic::{Code, Status};

use super::{
    Interrupt, connect,
    follower::Follower,
    options::Options,
    outage,
    reference::{self, Reference, References},
    report,
    samples::{Sample, Sampler},
    storm::{IDLE_WITHIN, idle_verdict},
    tally::{Ending, Tally},
    trouble::{SECOND, Trouble},
    verdict::{Growth, Verdict},
};

/// Runs until the time is over or Ctrl-C; returns the samples.
pub(crate) async fn run(
    options: &Options,
    addresses: &[String],
    references: &References,
    pid: Option<u32>,
    interrupt: &mut Interrupt,
    verdicts: &mut Vec<Verdict>,
) -> anyhow::Result<Vec<Sample>> {
    let connections = connect(addresses, options.connections).await?;
    let mut watch = Sampler::new(connect(addresses, 1).await?.swap_remove(0), pid);
    let (references, tally) = (Arc::new(references.clone()), Arc::new(Tally::default()));
    let mut clients = JoinSet::new();
    for at in 0..options.streams {
        let connection = connections[at % connections.len()].clone();
        let (references, tally) = (Arc::clone(&references), Arc::clone(&tally));
        let rng = StdRng::seed_from_u64(options.seed.wrapping_mul(1_000_003).wrapping_add(at as u64));
        clients.spawn(client(at, connection, references, tally, rng));
    }
    for address in addresses {
        let (references, tally, address) = (Arc::clone(&references), Arc::clone(&tally), address.clone());
        let rng = StdRng::seed_from_u64(options.seed ^ u64::MAX);
        clients.spawn(outage::run(address, references, tally, rng));
    }

    // Only a server of our own is known to have a second model, and time for such clients.
    if options.target.is_empty() {
        let second = reference::of_model(&connections[0], SECOND).await?;
        let (references, tally, slots) = (Arc::clone(&references), Arc::clone(&tally), options.slots);
        let address = addresses[0].clone();
        Trouble { address, references, second, tally, slots }.begin(&mut clients, options.seed);
    }

    let until = Instant::now() + Duration::from_secs_f64(options.minutes * 60.0);
    let mut samples = Vec::new();
    let mut failed = None;
    while Instant::now() < until {
        let next = until.min(Instant::now() + Duration::from_secs_f64(options.every.max(0.1)));
        tokio::select! {
            () = sleep_until(next.into()) => {}
            () = interrupt.came() => break,
        }
        match watch.sample(tally.counts()).await {
            Ok(sample) => {
                report::progress(&sample);
                samples.push(sample);
            }
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    // All clients leave at once, in the middle of whatever they do.
    clients.shutdown().await;
    let counts = tally.counts();
    for fault in tally.faults() {
        eprintln!("  {fault}");
    }
    let right = counts.faults == 0 && counts.complete > 0;
    verdicts.push(Verdict::new("mixed: every stream ends as it should", right, counts.to_string()));
    if let Some(error) = failed {
        return Err(error.context("the server could not be sampled"));
    }
    let idle = watch.idle_within(IDLE_WITHIN).await.context("the server could not be asked in the end")?;
    verdicts.push(idle_verdict("mixed", idle));
    let slowest = samples.iter().map(|sample| sample.health_ms).fold(0.0, f64::max);
    let seen = format!("the slowest of {} took {slowest:.1} ms", samples.len());
    verdicts.push(Verdict::new("mixed: Health answers within 1 s under load", slowest < 1000.0, seen));
    match Growth::of(&samples) {
        Some(growth) => verdicts.push(growth.verdict()),
        None if pid.is_none() => eprintln!("the server's memory is unknown: no --pid"),
        None => {
            let seen = format!("{} samples are too few to say: run for longer", samples.len());
            verdicts.push(Verdict::new("the server's memory does not grow", false, seen));
        }
    }
    Ok(samples)
}

/// One client: request after request, each in its own way.
async fn client(
    number: usize,
    connection: Connection,
    references: Arc<References>,
    tally: Arc<Tally>,
    mut rng: StdRng,
) {
    for round in 0_u64.. {
        let manner = Manner::draw(&mut rng);
        let reference = references.any(&mut rng);
        let trace_id = format!("mixed-{number}-{round}");
        let ending = one(&connection, reference, &trace_id, manner, &mut rng).await;
        if let Ending::Refused = ending {
            // As a client does that is told to try again later.
            sleep(BACK_OFF).await;
        }
        tally.count(match ending {
            Ending::Fault(why) => Ending::Fault(format!("{trace_id} ({manner:?}): {why}")),
            ending => ending,
        });
    }
}

/// How a client treats one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Reads to the end.
    Patient,
    /// Reads to the end, slowly.
    Slow,
    /// Leaves after so many responses; 0 is before any.
    Leaves(usize),
    /// Has no more time than this.
    Hurried(Duration),
}

impl Manner {
    fn draw(rng: &mut StdRng) -> Self {
        match rng.random_range(0..100) {
            0..17 => Self::Leaves(rng.random_range(1..30)),
            17..20 => Self::Leaves(0),
            20..25 => Self::Hurried(Duration::from_millis(rng.random_range(1..20_000))),
            25..27 => Self::Slow,
            _ => Self::Patient,
        }
    }
}

async fn one(
    connection: &Connection,
    reference: &Reference,
    trace_id: &str,
    manner: Manner,
    rng: &mut StdRng,
) -> Ending {
    let mut request = request(&reference.prompt, trace_id, reference.max_new_tokens);
    request.priority = rng.random_range(-3..=3);
    let dialect = Dialect::ALL[rng.random_range(0..Dialect::ALL.len())];
    let timeout = if let Manner::Hurried(time) = manner { Some(time) } else { None };
    let waits = Duration::from_millis(rng.random_range(0..2000));
    let mut follower = Follower::new(trace_id, &reference.text);
    let ended = async {
        let mut responses = connection.generate(dialect, request, timeout).await?;
        for came in 0.. {
            match manner {
                Manner::Leaves(0) => {
                    sleep(waits).await;
                    return Ok(Ending::Left);
                }
                Manner::Leaves(after) if came >= after => return Ok(Ending::Left),
                Manner::Slow => sleep(SLOW_READ).await,
                _ => {}
            }
            let Some(response) = responses.next().await? else { break };
            if let Err(why) = follower.take(&response) {
                return Ok(Ending::Fault(why));
            }
        }
        Ok::<_, Status>(follower.finish().map_or_else(Ending::Fault, |()| Ending::Complete))
    };
    match ended.await {
        Ok(ending) => ending,
        Err(status) => match status.code() {
            Code::ResourceExhausted => Ending::Refused,
            // The client's own clock may end it first, and calls that Cancelled.
            Code::DeadlineExceeded | Code::Cancelled if timeout.is_some() => Ending::Late,
            code => Ending::Fault(format!("{code:?}: {}", status.message())),
        },
    }
}

/// Slower than the server generates, and over a long answer some seconds.
const SLOW_READ: Duration = Duration::from_millis(40);
const BACK_OFF: Duration = Duration::from_millis(200);
