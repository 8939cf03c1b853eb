//! Health, asked while there is load: how fast it answers, and from when on nothing runs any more.
//!
//! On a connection of its own, as a monitor has one: what is measured is the server, not a queue of chunks before it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ai_inference_proto::{HealthAnswer, contract};
use prost::Message as _;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use wire::framed;

use super::{
    client::{Connection, Endpoint, broken, ended, status},
    message::Deframer,
    metrics::Distribution,
    record::{Nanos, Outcome},
};

/// Health under load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HealthFigures {
    /// From the sending of a call to the end of its answer in milliseconds; `None` if none was answered.
    pub latency: Option<Distribution>,
    /// Calls that were not answered with OK in time.
    pub failed: u64,
}

/// The id of the formula of [`HealthFigures::latency`].
pub const HEALTH: &str = "health/1";

/// What calls of Health came to. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Monitor(Arc<Mutex<(Vec<Nanos>, u64)>>);

impl Monitor {
    /// Calls every so often, whatever became of earlier calls, until `stop` is; then waits for those that are left.
    pub async fn watch(&self, endpoint: &Arc<Endpoint>, every: Duration, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut ticks = interval(every.max(LEAST_BETWEEN));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut calls, mut connection) = (JoinSet::new(), None);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = &mut stop => break,
            }
            while let Some(call) = calls.try_join_next() {
                if matches!(call, Ok(Err(Outcome::Broken(_)))) {
                    connection = None;
                }
            }
            if connection.is_none() {
                connection = Connection::open(endpoint, HEALTH_LIMIT).await.ok();
            }
            match connection.clone() {
                Some(connection) if calls.len() < MOST_WAITING => {
                    calls.spawn(self.clone().call(connection));
                }
                _ => self.add(None),
            }
        }
        calls.join_all().await;
    }

    async fn call(self, connection: Connection) -> Result<(), Outcome> {
        let began = Instant::now();
        let answer = timeout(HEALTH_LIMIT, connection.health()).await.unwrap_or(Err(Outcome::Late));
        self.add(answer.is_ok().then(|| began.elapsed()));
        answer.map(|_| ())
    }

    fn add(&self, took: Option<Duration>) {
        let (times, failed) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match took {
            Some(took) => times.push(took.as_nanos() as Nanos),
            None => *failed += 1,
        }
    }

    /// What was seen so far.
    pub fn figures(&self) -> HealthFigures {
        let (times, failed) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner);
        HealthFigures { latency: Distribution::of(times), failed: *failed }
    }
}

/// Asks how much runs, over and over, until nothing does.
pub(super) struct Freed(Connection);

impl Freed {
    /// `None` where the server does not say how much runs.
    pub(super) async fn watch(endpoint: &Arc<Endpoint>) -> Option<Self> {
        let connection = Connection::open(endpoint, HEALTH_LIMIT).await.ok()?;
        inflight(&connection).await.map(|_| Self(connection))
    }

    /// Whether it came to that within a moment.
    pub(super) async fn wait(&self) -> bool {
        let began = Instant::now();
        while began.elapsed() < HEALTH_LIMIT {
            match inflight(&self.0).await {
                Some(0) => return true,
                Some(_) => sleep(BETWEEN_LOOKS).await,
                None => return false,
            }
        }
        false
    }
}

async fn inflight(connection: &Connection) -> Option<u64> {
    let HealthAnswer { metrics, .. } = timeout(HEALTH_LIMIT, connection.health()).await.ok()?.ok()?;
    let count = |key| metrics.get(key).map(|count| count.parse::<u64>());
    // A request may be gone before what it held is; some servers tell.
    let busy = count("slots_busy").unwrap_or(Ok(0)).ok()?;
    count("requests_inflight")?.ok().map(|running| running.max(busy))
}

impl Connection {
    async fn health(&self) -> Result<HealthAnswer, Outcome> {
        let wrong = |why: &dyn std::fmt::Display| Outcome::Broken(why.to_string());
        let Endpoint { address, dialect, .. } = &*self.endpoint;
        let uri = format!("{}/{}/Health", address.origin(), dialect.service());
        let request = self.head(uri.parse().map_err(|error| wrong(&error))?)?;
        let mut requests = self.ready().await?;
        let (response, mut send) = requests.send_request(request, false).map_err(|error| broken(&error))?;
        let message = contract::WorkerHealthRequest { trace_id: "bench-health".to_owned() };
        send.send_data(framed(&message.encode_to_vec()), true).map_err(|error| broken(&error))?;
        let (head, mut body) = response.await.map_err(|error| broken(&error))?.into_parts();
        if head.headers.contains_key("grpc-status") {
            status(&head.headers)?;
            return Err(wrong(&"Health ended OK without an answer"));
        }
        let (mut deframer, mut answer) = (Deframer::default(), None);
        while let Some(data) = body.data().await {
            let data = data.map_err(|error| broken(&error))?;
            body.flow_control().release_capacity(data.len()).map_err(|error| broken(&error))?;
            deframer.push(&data, &mut |message: &[u8]| {
                // The message is the same in both dialects (contract, section 0).
                let read = contract::WorkerHealthResponse::decode(message).map_err(|error| wrong(&error))?;
                answer = Some(HealthAnswer::from(read));
                Ok(())
            })?;
        }
        ended(&mut body).await?;
        answer.ok_or_else(|| wrong(&"Health ended OK without an answer"))
    }
}

/// Five times what the contract allows (HEALTH-005); a monitor waits no longer.
const HEALTH_LIMIT: Duration = Duration::from_secs(5);
/// A server that answers none must not be asked by ever more at once.
const MOST_WAITING: usize = 64;
/// A millisecond is the timer's own grain.
const LEAST_BETWEEN: Duration = Duration::from_millis(1);
/// The server would spend itself on answers if it were asked without a pause.
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);
