//! Sends requests when they are due and writes down what comes back.
//!
//! A pacer of its own, on a thread of its own, says when; it knows nothing of answers. So a server that stalls is asked on
//! as if it had not, and its stall is seen by every request that would have suffered from it (coordinated omission,
//! Gil Tene).

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use ai_inference_proto::{GenerationRequest, Metadata, Sampling};
use bytes::Bytes;
use present::secrets::{Redactor, shown_command};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    sync::{RwLock, Semaphore, mpsc, oneshot, watch},
    task::JoinSet,
    time::sleep,
};
use wire::framed;

use super::{
    arrivals::{BadLoad, Load},
    client::{Answer, Endpoint},
    ending::{Ended, Watch},
    failures::message,
    health::Freed,
    host::Fingerprint,
    metrics::{Metric, quantile},
    multiplex::Lane,
    pacer::wait_until,
    record::{Nanos, Outcome, RequestRecord, Setup},
    report::word,
};
use crate::punctual::be_punctual;

/// A load to put on an endpoint.
#[derive(Clone, Debug)]
pub struct Job {
    /// The endpoint that the requests go to.
    pub endpoint: Arc<Endpoint>,
    /// The model to ask for; empty for the default.
    pub model: String,
    /// When requests are due.
    pub load: Load,
    /// How long requests are sent. What runs then may end.
    pub length: Duration,
    /// Requests after which no other is sent, where their number is limited.
    pub requests: Option<u64>,
    /// What is asked, in turn.
    pub prompts: Vec<String>,
    /// Tokens to ask for.
    pub tokens: u32,
    /// Number of connections over which requests are spread.
    pub connections: usize,
    /// Requests under way at once; those that are due meanwhile wait, as behind a gateway with so many streams.
    pub most_running: usize,
    /// Requests at once on one stream; with more than one a stream stays open for later requests too.
    pub per_stream: usize,
    /// Share of the requests that the client cancels after their first text.
    pub cancel_share: f64,
    /// A request that takes longer is given up.
    pub limit: Duration,
    /// Seed of the random arrivals.
    pub seed: u64,
}

impl Job {
    /// What a report says of it. `target` and `prompts` are what the target and the set of prompts are called.
    pub fn setup(&self, target: &str, prompts: &str) -> Setup {
        Setup {
            target: self.endpoint.redactor().text(&shown_command(target)),
            dialect: self.endpoint.dialect.name().to_owned(),
            model: self.model.clone(),
            load: self.load.to_string(),
            prompts: prompts.to_owned(),
            tokens: self.tokens,
            seed: self.seed,
            connections: self.connections,
            length: humantime::format_duration(self.length).to_string(),
            most_running: u32::try_from(self.most_running).ok(),
            per_stream: self.per_stream,
            cancel_share: self.cancel_share,
            requests: self.requests,
            started: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            host: Fingerprint::here().to_string(),
        }
    }
}

/// What is known while it runs. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<TallyState>);

#[derive(Debug, Default)]
struct TallyState {
    complete: AtomicU64,
    failed: AtomicU64,
    running: AtomicU64,
    stopped: watch::Sender<bool>,
    /// What may end the run, and why it did.
    watch: Mutex<(Watch, Option<Ended>)>,
    /// The last requests' first tokens and gaps.
    recent: Mutex<(Vec<Nanos>, Vec<Nanos>)>,
}

/// A look at a [`Tally`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Requests that ended as asked.
    pub complete: u64,
    /// Requests that did not.
    pub failed: u64,
    /// Requests under way.
    pub running: u64,
    /// Median over the last requests, nanoseconds.
    pub ttft: Option<f64>,
    /// Median time per later token over the last requests, in nanoseconds.
    pub tpot: Option<f64>,
}

impl Tally {
    /// The progress at this moment.
    pub fn progress(&self) -> Progress {
        let state = &*self.0;
        let (ttft, tpot) = state.recent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Progress {
            complete: state.complete.load(Ordering::Relaxed),
            failed: state.failed.load(Ordering::Relaxed),
            running: state.running.load(Ordering::Relaxed),
            ttft: quantile(ttft, 0.5),
            tpot: quantile(tpot, 0.5),
        }
    }

    /// Sends no more requests, and gives up those that run.
    pub fn stop(&self) {
        self.0.stopped.send_replace(true);
    }

    /// Whether the load was stopped.
    pub fn is_stopped(&self) -> bool {
        *self.0.stopped.borrow()
    }

    /// Why the run ended before its time, where it did.
    pub fn ended_early(&self) -> Option<Ended> {
        self.0.watch.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    fn watch(&self, request: &RequestRecord) {
        let failed = request.has_failed().then(|| word(request) + &of_message(request));
        let mut watch = self.0.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let (watch, ended) = &mut *watch;
        if ended.is_none() {
            *ended = watch.ended(request.ended, request.chunks.len(), failed.as_deref());
            if ended.is_some() {
                self.stop();
            }
        }
    }

    fn lost(&self, error: String) {
        self.0.watch.lock().unwrap_or_else(PoisonError::into_inner).0.lost(error);
    }

    fn began(&self) {
        self.0.running.fetch_add(1, Ordering::Relaxed);
    }

    fn ended(&self, request: &RequestRecord) {
        let state = &*self.0;
        state.running.fetch_sub(1, Ordering::Relaxed);
        if request.outcome != Outcome::Cut {
            self.watch(request);
        }
        if request.has_failed() {
            state.failed.fetch_add(1, Ordering::Relaxed);
        }
        if !request.is_complete() {
            return;
        }
        state.complete.fetch_add(1, Ordering::Relaxed);
        let mut recent = state.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let (ttft, tpot) = &mut *recent;
        for (values, metric) in [(ttft, Metric::Ttft), (tpot, Metric::Tpot)] {
            if values.len() >= RECENT {
                values.remove(0);
            }
            values.extend(metric.of(request));
        }
    }
}

/// A job that could not be begun.
#[derive(Debug, thiserror::Error)]
pub enum CannotStart {
    /// The arrivals cannot be planned.
    #[error(transparent)]
    Load(#[from] BadLoad),
    /// No connection to the endpoint.
    #[error("cannot connect to {address}: {error}")]
    Connect {
        /// The address of the endpoint.
        address: String,
        /// The error of the connection attempt.
        error: io::Error,
    },
    /// There is nothing to ask.
    #[error("there are no prompts")]
    NoPrompts,
    /// No thread for the pacer.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// Does the job. Everything that was sent is in what is returned, by planned time.
pub async fn run(job: &Job, tally: &Tally) -> Result<Vec<RequestRecord>, CannotStart> {
    if job.prompts.is_empty() {
        return Err(CannotStart::NoPrompts);
    }
    let sender = Arc::new(Sender::connect(job, tally).await?);
    let mut requests = if let Load::Closed { clients } = job.load {
        closed_loop(&sender, clients, job, tally).await
    } else {
        let plan = job.load.plan(job.length, job.requests, &mut StdRng::seed_from_u64(job.seed))?;
        open_loop(&sender, plan, tally).await.map_err(CannotStart::Thread)?
    };
    sender.close().await;
    requests.sort_by_key(|request| request.planned);
    Ok(requests)
}

async fn closed_loop(sender: &Arc<Sender>, clients: usize, job: &Job, tally: &Tally) -> Vec<RequestRecord> {
    let next = Arc::new(AtomicU64::new(0));
    let (length, most) = (job.length, job.requests.unwrap_or(u64::MAX));
    let mut running = JoinSet::new();
    for _ in 0..clients {
        let (sender, next, tally) = (Arc::clone(sender), Arc::clone(&next), tally.clone());
        running.spawn(async move {
            let mut requests = Vec::new();
            while sender.began.elapsed() < length && !tally.is_stopped() {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= most {
                    break;
                }
                let request = sender.send(number, None).await;
                // A server that refuses at once must not be asked a million times.
                if request.has_failed() {
                    sleep(AFTER_FAILURE).await;
                }
                requests.push(request);
            }
            requests
        });
    }
    running.join_all().await.concat()
}

async fn open_loop(sender: &Arc<Sender>, plan: Vec<Nanos>, tally: &Tally) -> io::Result<Vec<RequestRecord>> {
    let (due, mut dues) = mpsc::unbounded_channel();
    let (began, stopped) = (sender.began, tally.clone());
    // As long as the plan, at most, which is what bounds the channel.
    let pacer = move || {
        be_punctual();
        for (number, planned) in plan.into_iter().enumerate() {
            wait_until(began + Duration::from_nanos(planned));
            if stopped.is_stopped() || due.send((number as u64, planned)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("pacer".to_owned()).spawn(pacer)?;
    let (mut running, mut requests) = (JoinSet::new(), Vec::new());
    let mut over = tally.0.stopped.subscribe();
    loop {
        tokio::select! {
            biased;
            // The pacer may sleep for long: it is not waited for.
            _ = over.wait_for(|over| *over) => break,
            next = dues.recv() => {
                let Some((number, planned)) = next else { break };
                let sender = Arc::clone(sender);
                running.spawn(async move { sender.send(number, Some(planned)).await });
            }
            Some(Ok(request)) = running.join_next() => requests.push(request),
        }
    }
    requests.extend(running.join_all().await);
    Ok(requests)
}

/// Connections, and the way of one request through them.
struct Sender {
    job: Job,
    redactor: Redactor,
    tally: Tally,
    lanes: Vec<RwLock<Lane>>,
    streams: Semaphore,
    began: Instant,
    freed: Option<Freed>,
}

impl Sender {
    async fn connect(job: &Job, tally: &Tally) -> Result<Self, CannotStart> {
        let began = Instant::now();
        let cannot = |error| CannotStart::Connect { address: job.endpoint.address.to_string(), error };
        let mut lanes = Vec::new();
        for _ in 0..job.connections.max(1) {
            let opened = open_lane(job, began).await;
            lanes.push(RwLock::new(opened.map_err(cannot)?));
        }
        let streams = Semaphore::new(job.most_running.clamp(1, Semaphore::MAX_PERMITS));
        // With one client, and no other client at the endpoint, what runs after a cancel is what was cancelled.
        let alone = job.cancel_share > 0.0 && job.load == Load::Closed { clients: 1 };
        let freed = if alone { Freed::watch(&job.endpoint).await } else { None };
        Ok(Self {
            job: job.clone(),
            redactor: job.endpoint.redactor(),
            tally: tally.clone(),
            lanes,
            streams,
            began,
            freed,
        })
    }

    async fn lane(&self) -> io::Result<Lane> {
        open_lane(&self.job, self.began).await
    }

    async fn close(&self) {
        for lane in &self.lanes {
            lane.read().await.close().await;
        }
    }

    /// Whether a request is one of those that its client cancels; the same ones whenever the seed is the same.
    fn cancels(&self, number: u64) -> bool {
        let Job { cancel_share, seed, .. } = self.job;
        let drawn = || StdRng::seed_from_u64(seed.wrapping_mul(SPREAD).wrapping_add(number)).random::<f64>();
        cancel_share > 0.0 && drawn() < cancel_share
    }

    /// What a target said, without the secrets that it got.
    fn hidden(&self, text: &str) -> String {
        self.redactor.text(&shown_command(text))
    }

    fn now(&self) -> Nanos {
        self.began.elapsed().as_nanos() as Nanos
    }

    async fn send(&self, number: u64, planned: Option<Nanos>) -> RequestRecord {
        let prompt = (number % self.job.prompts.len() as u64) as u32;
        let message = self.message(number, prompt);
        let place = &self.lanes[(number % self.lanes.len() as u64) as usize];
        let ready = self.now();
        let _stream = self.streams.acquire().await;
        let lane = place.read().await.clone();
        self.tally.began();
        let generation = async {
            match &lane {
                Lane::Single(connection) => {
                    let most = LONGEST_ANSWER + self.job.tokens as usize * LONGEST_TOKEN;
                    connection.generate(message, self.cancels(number), most, || self.now()).await
                }
                Lane::Shared(calls) => calls.generate(&trace_id(number), message).await,
            }
        };
        // Apart from the request, so that a chunk does not make the task look at timers.
        let (give_up, told) = oneshot::channel();
        let mut watching = JoinSet::new();
        watching.spawn(why_not_to_wait(self.job.limit, self.tally.0.stopped.subscribe(), give_up));
        let answer = tokio::select! {
            biased;
            answer = generation => answer,
            why = told => Answer::without_text(why.unwrap_or(Outcome::Cut)),
        };
        let ended = self.now();
        let sent = answer.sent.unwrap_or(ended);
        let planned = planned.unwrap_or(sent);
        let freed = match &self.freed {
            Some(watch) if answer.outcome == Outcome::Cancelled => watch.wait().await.then(|| self.now()),
            _ => None,
        };
        let request = RequestRecord {
            prompt,
            planned,
            sent,
            waited: sent.saturating_sub(ready.max(planned)),
            chunks: answer.chunks,
            ended,
            outcome: match answer.outcome {
                Outcome::Broken(why) => Outcome::Broken(self.hidden(&why)),
                outcome => outcome,
            },
            text: answer.text,
            server_ttft_ms: answer.server_ttft_ms,
            server_tokens_per_second: answer.server_tokens_per_second,
            freed,
            message: answer.message.map(|message| self.hidden(&message)),
        };
        if matches!(request.outcome, Outcome::Broken(_)) {
            match self.lane().await {
                Ok(fresh) => *place.write().await = fresh,
                Err(error) => self.tally.lost(error.to_string()),
            }
        }
        self.tally.ended(&request);
        request
    }

    /// Greedy, as the contract asks for it (section 5), so that two servers can be held to the same text.
    fn message(&self, number: u64, prompt: u32) -> Bytes {
        let sampling = Sampling {
            max_new_tokens: i64::from(self.job.tokens),
            temperature: 0.01,
            top_p: 0.001,
            repetition_penalty: 1.0,
        };
        let metadata = Metadata { trace_id: trace_id(number), ..Metadata::default() };
        let request = GenerationRequest {
            model_id: self.job.model.clone(),
            prompt: self.job.prompts[prompt as usize].clone(),
            sampling: Some(sampling),
            metadata: Some(metadata),
            ..GenerationRequest::default()
        };
        framed(&self.job.endpoint.dialect.encode_request(request))
    }
}

async fn open_lane(job: &Job, began: Instant) -> io::Result<Lane> {
    let most_bytes = LONGEST_ANSWER + job.tokens as usize * LONGEST_TOKEN;
    Lane::open(&job.endpoint, (job.per_stream, most_bytes), began, CONNECT_LIMIT).await
}

fn of_message(request: &RequestRecord) -> String {
    match message(request) {
        "" => String::new(),
        message => format!(" ({message})"),
    }
}

fn trace_id(number: u64) -> String {
    format!("bench-{number}")
}

/// Tells a request that its time is over, or the run's; ended with the request.
async fn why_not_to_wait(
    limit: Duration,
    mut stopped: watch::Receiver<bool>,
    give_up: oneshot::Sender<Outcome>,
) {
    let why = tokio::select! {
        () = sleep(limit) => Outcome::Late,
        _ = stopped.wait_for(|stopped| *stopped) => Outcome::Cut,
    };
    let _ = give_up.send(why);
}

/// Bytes of an answer besides those of its tokens.
const LONGEST_ANSWER: usize = 16 << 20;
/// Bytes of a token with its framing.
const LONGEST_TOKEN: usize = 4 << 10;
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const AFTER_FAILURE: Duration = Duration::from_millis(50);
/// Odd, so that no two seeds draw for the same numbers side by side.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
/// Requests that live figures are of.
const RECENT: usize = 100;
