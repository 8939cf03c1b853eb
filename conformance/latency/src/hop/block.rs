//! One way, for a while: generations on so many streams, each from one end to the other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use ai_inference_proto::{GenerationRequest, Metadata, Sampling};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use wire::framed;

use super::{
    super::{
        client::{Connection, Endpoint, broken, ended, not_protobuf, status},
        message::{Chunk, Deframer},
        record::{Nanos, Outcome},
    },
    journey::{Faults, Journey, Message},
    marker::{marks, prompt},
    tap::{Clock, Tap},
};

/// What goes over either way.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// The model to ask for; empty for the default.
    pub model: String,
    /// Generations at once.
    pub streams: usize,
    /// Messages of a generation.
    pub chunks: u32,
    /// Bytes of each message's text.
    pub chunk_bytes: usize,
    /// How long generations are begun.
    pub length: Duration,
    /// A generation that takes longer has failed.
    pub limit: Duration,
}

/// Both ways, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// The way from the client to the tap.
    pub direct: Leg,
    /// Through the proxy.
    pub through: Leg,
}

/// One way's messages.
#[derive(Clone, Debug, Default)]
pub struct Leg {
    /// How long each request was under way.
    pub up: Vec<Nanos>,
    /// How long each message was.
    pub down: Vec<Nanos>,
    /// Pairs of neighbouring messages.
    pub pairs: u64,
    /// Pairs that left apart and arrived together.
    pub together: u64,
    /// What went wrong.
    pub faults: Faults,
    /// Generations whose request the tap has seen.
    pub tapped: u64,
    /// HTTP requests that came to the tap meanwhile.
    pub arrived: u64,
    /// What the first generation that failed ended with.
    pub failed_with: Option<String>,
}

/// Goes one way over one connection; `next` numbers generations over all ways.
pub(super) async fn measure_leg(
    endpoint: &Arc<Endpoint>,
    tap: &Arc<Tap>,
    clock: Clock,
    traffic: &Traffic,
    next: &Arc<AtomicU32>,
) -> std::io::Result<Leg> {
    let connection = Connection::open(endpoint, CONNECT_LIMIT).await?;
    let arrived = tap.arrived();
    // The first on a new connection pays for it, and for the proxy's own behind it: it is not counted.
    let first = next.fetch_add(1, Ordering::Relaxed);
    tap.expect(first);
    generate(&connection, clock, traffic, first).await;
    tap.take(first);
    let began = Instant::now();
    let mut streams = JoinSet::new();
    for _ in 0..traffic.streams.max(1) {
        let (connection, tap, traffic, next) =
            (connection.clone(), Arc::clone(tap), traffic.clone(), Arc::clone(next));
        streams.spawn(async move {
            let mut side = Leg::default();
            loop {
                let generation = next.fetch_add(1, Ordering::Relaxed);
                tap.expect(generation);
                let journey = generate(&connection, clock, &traffic, generation).await;
                let failed = journey.outcome != Outcome::Complete;
                side.add(&journey, &tap);
                if began.elapsed() >= traffic.length {
                    return side;
                }
                if failed {
                    sleep(AFTER_FAILURE).await;
                }
            }
        });
    }
    let mut whole = Leg::default();
    for side in streams.join_all().await {
        whole.extend(side);
    }
    whole.arrived = tap.arrived() - arrived;
    Ok(whole)
}

impl Leg {
    fn add(&mut self, journey: &Journey, tap: &Tap) {
        let settled = journey.settle(&tap.take(journey.generation));
        if self.failed_with.is_none() {
            self.failed_with = ended_with(&journey.outcome);
        }
        self.tapped += u64::from(settled.up.is_some());
        self.up.extend(settled.up);
        self.down.extend(settled.down);
        self.pairs += settled.pairs;
        self.together += settled.together;
        self.faults.add(settled.faults);
    }

    fn extend(&mut self, more: Self) {
        self.failed_with = self.failed_with.take().or(more.failed_with);
        self.tapped += more.tapped;
        self.up.extend(more.up);
        self.down.extend(more.down);
        self.pairs += more.pairs;
        self.together += more.together;
        self.faults.add(more.faults);
    }
}

/// In words, where it is not as asked.
fn ended_with(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Complete => None,
        Outcome::Status(name) => Some(name.clone()),
        Outcome::Broken(why) => Some(why.clone()),
        Outcome::Late | Outcome::TooLong | Outcome::Cut | Outcome::Cancelled => {
            Some("no end within the time limit".to_owned())
        }
    }
}

async fn generate(connection: &Connection, clock: Clock, traffic: &Traffic, generation: u32) -> Journey {
    let mut journey = Journey { generation, sent: 0, messages: Vec::new(), outcome: Outcome::Late };
    if let Ok(outcome) = timeout(traffic.limit, exchange(connection, clock, traffic, &mut journey)).await {
        journey.outcome = outcome.err().unwrap_or(Outcome::Complete);
    }
    journey
}

async fn exchange(
    connection: &Connection,
    clock: Clock,
    traffic: &Traffic,
    journey: &mut Journey,
) -> Result<(), Outcome> {
    let request = GenerationRequest {
        model_id: traffic.model.clone(),
        prompt: prompt(journey.generation),
        sampling: Some(Sampling { max_new_tokens: i64::from(traffic.chunks), ..GREEDY }),
        metadata: Some(Metadata { trace_id: format!("hop-{}", journey.generation), ..Metadata::default() }),
        ..GenerationRequest::default()
    };
    let message = framed(&connection.endpoint.dialect.encode_request(request));
    let (response, mut send) = connection.open_call().await?;
    journey.sent = clock.now();
    send.send_data(message, true).map_err(|error| broken(&error))?;
    let (head, mut body) = response.await.map_err(|error| broken(&error))?.into_parts();
    if head.headers.contains_key("grpc-status") {
        return status(&head.headers);
    }
    let mut deframer = Deframer::default();
    while let Some(data) = body.data().await {
        let at = clock.now();
        let data = data.map_err(|error| broken(&error))?;
        body.flow_control().release_capacity(data.len()).map_err(|error| broken(&error))?;
        deframer.push(&data, &mut |message: &[u8]| {
            let chunk = Chunk::read(message).ok_or_else(not_protobuf)?;
            if !chunk.text.is_empty() {
                journey.messages.push(Message { at, marks: marks(chunk.text, traffic.chunk_bytes) });
            }
            Ok(())
        })?;
    }
    ended(&mut body).await
}

/// As all of the benchmark's requests are.
const GREEDY: Sampling =
    Sampling { max_new_tokens: 0, temperature: 0.01, top_p: 0.001, repetition_penalty: 1.0 };
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A proxy that refuses at once must not be asked a million times.
const AFTER_FAILURE: Duration = Duration::from_millis(50);
