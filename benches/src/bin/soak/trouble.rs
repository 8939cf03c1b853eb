//! Clients that mean no harm and do it all the same: readers that stop reading, calls that ask for nothing, calls that are
//! refused over a slow line, operators who unload a model that is in use.

use std::{sync::Arc, time::Duration};

use ai_inference_proto::{Dialect, GenerationRequest};
use benches::client::Connection;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use testkit::{Responses, request};
use tokio::{task::JoinSet, time::sleep};
use tonic::{Code, Status};

use super::{
    follower::Follower,
    line::Line,
    reference::{Reference, References},
    tally::{Ending, Tally},
};

/// What all of them know.
#[derive(Clone)]
pub(crate) struct Trouble {
    pub(crate) address: String,
    pub(crate) references: Arc<References>,
    /// Of the second model, which is loaded and unloaded all the time.
    pub(crate) second: Reference,
    pub(crate) tally: Arc<Tally>,
    pub(crate) slots: usize,
}

impl Trouble {
    /// Starts all of them.
    pub(crate) fn begin(&self, clients: &mut JoinSet<()>, seed: u64) {
        let rng = |at: usize| StdRng::seed_from_u64(seed.wrapping_mul(7919).wrapping_add(at as u64));
        clients.spawn(self.clone().refused(rng(0)));
        for at in 0..OPERATORS {
            clients.spawn(self.clone().operates(at, rng(1 + at)));
        }
        for at in 0..IDLE {
            clients.spawn(self.clone().asks_for_nothing(rng(100 + at)));
        }
        // More than there are slots, and as many of the second model.
        for at in 0..self.slots * 3 {
            clients.spawn(self.clone().reads_nothing(at, rng(1000 + at)));
        }
    }

    /// Its window holds a few responses, and for a while it reads none.
    async fn reads_nothing(self, number: usize, mut rng: StdRng) {
        let Some(connection) = self.connect(&self.address, Some(WINDOW)).await else { return };
        for round in 0_u64.. {
            let trace_id = format!("stalled-{number}-{round}");
            let reference =
                if number.is_multiple_of(2) { self.references.long(&mut rng) } else { &self.second };
            let request = asked(reference, &trace_id);
            let timeout = rng.random_bool(0.3).then(|| Duration::from_millis(rng.random_range(500..20_000)));
            let stall = Duration::from_millis(rng.random_range(100..45_000));
            let follower = Follower::new(&trace_id, &reference.text);
            let ended = async {
                let responses = connection.generate(Dialect::Contract, request, timeout).await?;
                sleep(stall).await;
                read_on(responses, follower).await
            };
            let ending = ended.await.unwrap_or_else(|status| match status.code() {
                // Its reader was waited for in vain.
                Code::Aborted => Ending::Left,
                _ => ending_of(&status),
            });
            self.count(&trace_id, ending).await;
        }
    }

    /// Opens a call, and says nothing.
    async fn asks_for_nothing(self, mut rng: StdRng) {
        let Some(connection) = self.connect(&self.address, None).await else { return };
        loop {
            let call = connection.call(Dialect::Contract, tokio_stream::pending());
            let patience = Duration::from_secs(rng.random_range(1..90));
            let ended = tokio::time::timeout(patience, async {
                match call.await {
                    Ok(mut responses) => responses.next().await.err(),
                    Err(status) => Some(status),
                }
            });
            let ending = match ended.await {
                Err(_) => Ending::Left,
                Ok(Some(status)) => ending_of(&status),
                Ok(None) => Ending::Fault("a call that asked for nothing ended OK".to_owned()),
            };
            self.count("idle", ending).await;
        }
    }

    /// Many calls that are refused, over a line that takes its time, with a good one beside them on the same connection.
    async fn refused(self, mut rng: StdRng) {
        let line = match Line::open(&self.address, ONE_WAY) {
            Ok(line) => line,
            Err(error) => return self.tally.count(Ending::Fault(format!("a line cannot be made: {error}"))),
        };
        let Some(connection) = self.connect(&line.address(), None).await else { return };
        for round in 0_u64.. {
            let mut refusals = JoinSet::new();
            for at in 0..REFUSALS {
                let (connection, trace_id) = (connection.clone(), format!("refused-{round}-{at}"));
                let asked = request("Hello", &trace_id, 1);
                let asked = GenerationRequest { model_id: "nobody".to_owned(), ..asked };
                refusals.spawn(async move {
                    let refused = match connection.generate(Dialect::Contract, asked, None).await {
                        Ok(mut responses) => responses.next().await.err(),
                        Err(status) => Some(status),
                    };
                    match refused {
                        Some(status) if status.code() == Code::NotFound => Ending::Refused,
                        other => Ending::Fault(format!("an unknown model was answered with {other:?}")),
                    }
                });
            }
            let good = self.references.any(&mut rng);
            let ending = self.generate(&connection, good, "beside-refusals").await;
            self.count("beside refusals", ending).await;
            for ending in refusals.join_all().await {
                self.tally.count(ending);
            }
        }
    }

    /// Uses the second model, and now and then unloads it under the others.
    async fn operates(self, number: usize, mut rng: StdRng) {
        let Some(connection) = self.connect(&self.address, None).await else { return };
        for round in 0_u64.. {
            let trace_id = format!("operator-{number}-{round}");
            let ending = if rng.random_bool(UNLOADS) {
                match connection.control("unload_model", &[("model_id", SECOND)]).await {
                    Ok(answer) if answer["status"] == "ok" => Ending::Complete,
                    other => Ending::Fault(format!("unload_model was answered with {other:?}")),
                }
            } else {
                self.generate(&connection, &self.second, &trace_id).await
            };
            self.count(&trace_id, ending).await;
            sleep(Duration::from_millis(rng.random_range(0..1000))).await;
        }
    }

    async fn generate(&self, connection: &Connection, reference: &Reference, trace_id: &str) -> Ending {
        let request = asked(reference, trace_id);
        let follower = Follower::new(trace_id, &reference.text);
        let ended = async {
            let responses = connection.generate(Dialect::Contract, request, None).await?;
            read_on(responses, follower).await
        };
        ended.await.unwrap_or_else(|status| ending_of(&status))
    }

    async fn connect(&self, address: &str, window: Option<u32>) -> Option<Connection> {
        match Connection::open(address, window).await {
            Ok(connection) => Some(connection),
            Err(error) => {
                self.tally.count(Ending::Fault(format!("{address} takes no connection: {error}")));
                None
            }
        }
    }

    async fn count(&self, trace_id: &str, ending: Ending) {
        if let Ending::Refused = ending {
            sleep(BACK_OFF).await;
        }
        self.tally.count(match ending {
            Ending::Fault(why) => Ending::Fault(format!("{trace_id}: {why}")),
            ending => ending,
        });
    }
}

/// Reads an answer to its end.
async fn read_on(mut responses: Responses, mut follower: Follower<'_>) -> Result<Ending, Status> {
    while let Some(response) = responses.next().await? {
        if let Err(why) = follower.take(&response) {
            return Ok(Ending::Fault(why));
        }
    }
    Ok(follower.finish().map_or_else(Ending::Fault, |()| Ending::Complete))
}

fn asked(reference: &Reference, trace_id: &str) -> GenerationRequest {
    let request = request(&reference.prompt, trace_id, reference.max_new_tokens);
    GenerationRequest { model_id: reference.model.clone(), ..request }
}

/// Of a call that any of them may have.
fn ending_of(status: &Status) -> Ending {
    match status.code() {
        Code::ResourceExhausted => Ending::Refused,
        Code::DeadlineExceeded | Code::Cancelled => Ending::Late,
        code => Ending::Fault(format!("{code:?}: {}", status.message())),
    }
}

/// The second model's name among the fixtures.
pub(crate) const SECOND: &str = "tiny-lora";
const OPERATORS: usize = 20;
/// Of an operator's rounds.
const UNLOADS: f64 = 0.1;
const IDLE: usize = 200;
/// At once over one connection.
const REFUSALS: usize = 50;
const ONE_WAY: Duration = Duration::from_millis(5);
/// A generation's first responses fit, and not the whole.
const WINDOW: u32 = 400;
const BACK_OFF: Duration = Duration::from_millis(200);
