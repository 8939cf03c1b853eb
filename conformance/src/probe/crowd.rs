//! Crowds: many requests at once, each read to its end, and whether there is room for one more.

use std::time::{Duration, Instant};

use ai_inference_proto::GenerationRequest;
use tokio::{task::JoinSet, time::timeout};

use super::{Generation, Probe, wire::Connection};
use crate::verdict::NotPassed;

/// Before a request is sent again that a full server refused.
const BACK_OFF: Duration = Duration::from_millis(20);
/// A connection that takes one more call takes it at once.
const ROOM: Duration = Duration::from_millis(200);

impl Probe {
    /// Sends all requests at once, spread over the connections, and reads each to its end. The connection's room and each
    /// response are waited for as long as `patience`.
    pub async fn at_once(
        &self,
        connections: &[Connection],
        requests: Vec<GenerationRequest>,
        patience: Duration,
    ) -> Result<Vec<Generation>, NotPassed> {
        let mut reading = JoinSet::new();
        let count = requests.len();
        for (at, request) in requests.into_iter().enumerate() {
            let connection = connections[at % connections.len()].clone();
            let streamer = self.streamer().with_patience(patience);
            reading.spawn(async move {
                let mut stream = streamer.open(&connection).await;
                stream.send(&request);
                stream.half_close();
                (at, stream.finish(request).await)
            });
        }
        let mut generations: Vec<Option<Generation>> = vec![None; count];
        while let Some(read) = reading.join_next().await {
            let (at, generation) = read.map_err(|error| NotPassed::Harness(error.to_string()))?;
            generations[at] = Some(generation);
        }
        Ok(generations.into_iter().flatten().collect())
    }

    /// One generation on a connection, for which a full server is asked again. `None` where it has no end within the limit,
    /// which is no sign of a slow machine; a server that is full all the time gives its last refusal.
    pub async fn ask_within(
        &self,
        connection: &Connection,
        request: &GenerationRequest,
        limit: Duration,
    ) -> Option<Generation> {
        let began = Instant::now();
        // Its own patience ends after the limit.
        let streamer = self.streamer().with_patience(limit * 2);
        loop {
            let asking = async {
                let mut stream = streamer.open(connection).await;
                stream.send(request);
                stream.half_close();
                stream.finish(request.clone()).await
            };
            let generation = timeout(limit.saturating_sub(began.elapsed()), asking).await.ok()?;
            if !is_refused(&generation) || began.elapsed() + BACK_OFF > limit {
                return Some(generation);
            }
            tokio::time::sleep(BACK_OFF).await;
        }
    }

    /// Whether a connection takes one call more than are open on it (MAX_CONCURRENT_STREAMS may be small).
    pub async fn has_room(&self, connection: &Connection) -> bool {
        self.streamer().with_patience(ROOM).open(connection).await.is_open()
    }
}

/// The server says that it is full, or did not begin to process it, and sent nothing.
pub fn is_refused(generation: &Generation) -> bool {
    generation.responses.is_empty() && generation.end.is_turned_away()
}
