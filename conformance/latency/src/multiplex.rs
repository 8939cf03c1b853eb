//! Several requests on one stream (contract, STREAM-013): a call stays open, takes each request that is due while it has
//! room, and tells the answers apart by their trace_id. How a call ends is how all end that still run on it.
//!
//! Talks to: [`client`](super::client), which opens calls. The way of one request a call does not pass through here.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::{SendStream, client::ResponseFuture};
use tokio::{
    sync::{Mutex as AsyncMutex, Notify, oneshot},
    time::timeout,
};
use wire::{Driver, quote};

use super::{
    client::{Answer, Connection, Endpoint, broken, grpc_message, not_protobuf, status, trailers},
    message::{Chunk, Deframer},
    record::{Nanos, Outcome},
};

/// The way of requests over one connection. Cheap to clone.
#[derive(Clone)]
pub(super) enum Lane {
    /// A call for each.
    Single(Connection),
    /// Calls that several share.
    Shared(Arc<Calls>),
}

impl Lane {
    pub(super) async fn open(
        endpoint: &Arc<Endpoint>,
        (per_stream, most_bytes): (usize, usize),
        began: Instant,
        patience: Duration,
    ) -> io::Result<Self> {
        let connection = Connection::open(endpoint, patience).await?;
        Ok(if per_stream > 1 {
            Self::Shared(Arc::new(Calls::new(connection, (per_stream, most_bytes), began)))
        } else {
            Self::Single(connection)
        })
    }

    /// Ends what is idle as a client does that has no more to ask.
    pub(super) async fn close(&self) {
        if let Self::Shared(calls) = self {
            calls.close().await;
        }
    }
}

/// The calls of one connection that requests share.
pub(super) struct Calls {
    connection: Connection,
    most: usize,
    most_bytes: usize,
    began: Instant,
    open: Mutex<Vec<Call>>,
    /// Only one is opened at a time: who waits for it may find room on it.
    opening: AsyncMutex<()>,
    room: Arc<Notify>,
}

/// An open call; reset when dropped.
struct Call {
    send: SendStream<Bytes>,
    running: Arc<Running>,
    reader: Driver,
}

/// What runs on a call, by trace_id; `None` once the call has ended.
type Running = Mutex<Option<HashMap<Vec<u8>, Waiting>>>;

/// A request that runs. One that its client has given up keeps its place, as it does at the server.
struct Waiting {
    answer: Answer,
    bytes: usize,
    done: oneshot::Sender<Answer>,
}

impl Calls {
    fn new(connection: Connection, (most, most_bytes): (usize, usize), began: Instant) -> Self {
        let room = Arc::new(Notify::new());
        Self {
            connection,
            most,
            most_bytes,
            began,
            open: Mutex::default(),
            opening: AsyncMutex::default(),
            room,
        }
    }

    /// Sends one message as soon as a call has room, and waits for its whole answer.
    pub(super) async fn generate(&self, trace_id: &str, message: Bytes) -> Answer {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            if let Some(answer) = self.send(trace_id, &message) {
                let lost = || Answer::without_text(Outcome::Broken("its call was given up".to_owned()));
                return answer.await.unwrap_or_else(|_| lost());
            }
            // A server may take no more streams; then one that it has taken gets room sooner or later.
            tokio::select! {
                opened = self.open() => if let Err(outcome) = opened {
                    return Answer::without_text(outcome);
                },
                () = room => {}
            }
        }
    }

    /// On the first call that has room.
    fn send(&self, trace_id: &str, message: &Bytes) -> Option<oneshot::Receiver<Answer>> {
        let mut open = locked(&self.open);
        open.retain(|call| locked(&call.running).is_some());
        for call in open.iter_mut() {
            let mut running = locked(&call.running);
            let Some(running) = running.as_mut().filter(|running| running.len() < self.most) else {
                continue;
            };
            let (done, answer) = oneshot::channel();
            let sent = Some(self.began.elapsed().as_nanos() as Nanos);
            let waiting = Waiting {
                answer: Answer { sent, ..Answer::without_text(Outcome::Complete) },
                bytes: 0,
                done,
            };
            running.insert(trace_id.as_bytes().to_vec(), waiting);
            // A send that fails shows in how the call ends, which its reader tells.
            let _ = call.send.send_data(message.clone(), false);
            return Some(answer);
        }
        None
    }

    async fn open(&self) -> Result<(), Outcome> {
        let _one = self.opening.lock().await;
        let has_room = |call: &Call| locked(&call.running).as_ref().is_some_and(|r| r.len() < self.most);
        if locked(&self.open).iter().any(has_room) {
            return Ok(());
        }
        let (response, send) = self.connection.open_call().await?;
        let running = Arc::new(Mutex::new(Some(HashMap::new())));
        let (theirs, room, began) = (Arc::clone(&running), Arc::clone(&self.room), self.began);
        let most_bytes = self.most_bytes;
        let reader = Driver(tokio::spawn(async move {
            let mut said = None;
            let end = follow(response, &theirs, &room, began, most_bytes, &mut said).await.err();
            let end = end.unwrap_or_else(|| Outcome::Broken("its call ended before it".to_owned()));
            for (_, waiting) in locked(&theirs).take().into_iter().flatten() {
                let _ = waiting.done.send(Answer {
                    outcome: end.clone(),
                    message: said.clone(),
                    ..waiting.answer
                });
            }
            room.notify_waiters();
        }));
        locked(&self.open).push(Call { send, running, reader });
        self.room.notify_waiters();
        Ok(())
    }

    async fn close(&self) {
        let calls = std::mem::take(&mut *locked(&self.open));
        for Call { mut send, running, mut reader } in calls {
            let idle = locked(&running).as_ref().is_none_or(HashMap::is_empty);
            if idle && send.send_data(Bytes::new(), true).is_ok() {
                let _ = timeout(CLOSE_LIMIT, &mut reader.0).await;
            }
        }
    }
}

/// Reads a call to its end, and gives each request its own messages.
async fn follow(
    response: ResponseFuture,
    running: &Running,
    room: &Notify,
    began: Instant,
    most_bytes: usize,
    said: &mut Option<String>,
) -> Result<(), Outcome> {
    let (head, mut body) = response.await.map_err(|error| broken(&error))?.into_parts();
    if head.headers.contains_key("grpc-status") {
        *said = grpc_message(&head.headers);
        return status(&head.headers);
    }
    let mut deframer = Deframer::default();
    while let Some(data) = body.data().await {
        let at = began.elapsed().as_nanos() as Nanos;
        let data = data.map_err(|error| broken(&error))?;
        body.flow_control().release_capacity(data.len()).map_err(|error| broken(&error))?;
        deframer.push(&data, &mut |message: &[u8]| {
            let chunk = Chunk::read(message).ok_or_else(not_protobuf)?;
            let mut running = locked(running);
            let Some(running) = running.as_mut() else { return Ok(()) };
            let Some(waiting) = running.get_mut(chunk.trace_id) else {
                let trace_id = quote(&String::from_utf8_lossy(chunk.trace_id), 40);
                let why = format!(
                    "a message has the trace_id {trace_id}, which no running request on its stream has"
                );
                return Err(Outcome::Broken(why));
            };
            waiting.answer.add(&chunk, at);
            waiting.bytes += message.len();
            // One answer without an end takes all others on its call with it: it cannot be ended alone.
            if waiting.bytes > most_bytes {
                return Err(Outcome::TooLong);
            }
            if chunk.last
                && let Some(waiting) = running.remove(chunk.trace_id)
            {
                let _ = waiting.done.send(waiting.answer);
                room.notify_waiters();
            }
            Ok(())
        })?;
    }
    let trailers = trailers(&mut body).await?;
    *said = grpc_message(&trailers);
    status(&trailers)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For the status of a call that has nothing more to say.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
