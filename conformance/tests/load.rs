//! Ways of putting load on, and what is looked at beside it: streams that requests share, requests that are cancelled,
//! Health meanwhile, and the server's own metrics.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ai_inference_proto::{Dialect, GenerationResponse, HealthAnswer};
use bytes::{Bytes, BytesMut};
use exemplar::{self, Behaviour, Pace, Paced, Requests, Running, State};
use latency::{
    Endpoint,
    health::Monitor,
    load::{self, Job, Tally},
    metrics::{Metric, milliseconds, quantile},
    prompts::Prompts,
    record::{Outcome, RequestRecord},
    report::Report,
};
use tonic::Status;
use wire::{Address, Tls};

const PACE: Pace = Pace {
    ttft: Duration::from_millis(20),
    gap: Duration::from_millis(5),
    slow_one_in: 0,
    slow_by: 1.0,
    stall: Duration::ZERO,
    stall_every: Duration::ZERO,
};

#[tokio::test]
async fn answers_that_come_interleaved_on_one_stream_are_told_apart() {
    let server = Interleaving::serve(usize::MAX, false).await;
    let alone = run(&job(server.address, "closed:1")).await;
    let shared = run(&Job { per_stream: 4, ..job(server.address, "closed:8") }).await;
    let text = |prompt: u32| alone.iter().find(|request| request.prompt == prompt).map(|r| r.text);
    assert!(shared.len() >= 8, "{}", shared.len());
    for request in &shared {
        assert!(request.is_complete() && request.chunks.len() == CHUNKS, "{request:?}");
        assert!(text(request.prompt).is_none_or(|text| text == request.text), "another's text: {request:?}");
    }
    // Eight clients, four of them on a stream, and streams stay open.
    assert_eq!(server.calls.load(Ordering::Relaxed) - alone.len(), 2);
    assert_eq!(server.together.load(Ordering::Relaxed), 4, "generations at once on one stream");
}

#[tokio::test]
async fn a_server_that_answers_a_streams_requests_in_turn_is_seen_to() {
    let server = Counting::serve(PACE).await;
    let apart = run(&Job { ..job(server.address, "closed:4") }).await;
    let calls = server.calls.swap(0, Ordering::Relaxed);
    assert_eq!(calls, apart.len(), "a stream for each");
    let shared = run(&Job { per_stream: 4, ..job(server.address, "closed:4") }).await;
    assert_eq!(server.calls.load(Ordering::Relaxed), 1, "one stream for all of {}", shared.len());
    assert!(shared.iter().chain(&apart).all(RequestRecord::is_complete), "{:?}", shared[0]);
    // Three whole generations come first: each takes 20 ms and seven gaps of 5 ms.
    let ttft = p50(Metric::Ttft, &shared);
    assert!(ttft >= 3.0 * 55.0, "{ttft} ms");
}

#[tokio::test]
async fn what_a_server_refuses_on_a_stream_has_failed_and_the_rest_goes_on() {
    let refusing = Interleaving::serve(2, false).await;
    let requests = run(&Job { per_stream: 4, ..job(refusing.address, "closed:4") }).await;
    let refused = Outcome::Status("RESOURCE_EXHAUSTED".to_owned());
    assert!(requests.iter().any(|request| request.outcome == refused), "{:?}", requests[0]);

    let single = Interleaving::serve(usize::MAX, true).await;
    let requests = run(&Job { per_stream: 4, ..job(single.address, "constant:200") }).await;
    assert!(requests.iter().any(RequestRecord::is_complete), "{:?}", requests[0]);
    let broken = |request: &&RequestRecord| matches!(&request.outcome, Outcome::Broken(why) if why.contains("ended before it"));
    assert!(requests.iter().any(|request| broken(&request)), "a server of one request a stream");
}

#[tokio::test]
async fn a_cancelled_request_is_no_failure_and_the_server_is_free_some_time_after() {
    // The exemplar learns of a cancel when it sends its next chunk.
    let server = Counting::serve(Pace { gap: Duration::from_millis(60), ..PACE }).await;
    let job = Job { cancel_share: 0.5, length: Duration::from_secs(3), ..job(server.address, "closed:1") };
    let requests = run(&job).await;
    let cancelled: Vec<_> = requests.iter().filter(|r| r.outcome == Outcome::Cancelled).collect();
    assert!(
        !cancelled.is_empty() && cancelled.len() < requests.len(),
        "{} of {}",
        cancelled.len(),
        requests.len()
    );
    assert!(cancelled.iter().all(|request| request.chunks.len() == 1), "{cancelled:?}");
    assert!(!requests.iter().any(RequestRecord::has_failed), "{requests:?}");
    let free = p50(Metric::CancelToFree, &requests);
    assert!(free >= 30.0, "half a gap, at least: {free} ms");

    // With several clients it is unknown whose work still runs.
    let several = run(&Job { load: "closed:3".parse().unwrap(), ..job }).await;
    assert!(several.iter().any(|request| request.outcome == Outcome::Cancelled));
    assert!(several.iter().all(|request| request.freed.is_none()));
}

#[tokio::test]
async fn health_is_asked_while_there_is_load() {
    let server = exemplar::serve(Arc::new(Drowsy), &[any()], None).await.unwrap();
    let endpoint = endpoint(address(&server));
    let monitor = Monitor::default();
    let stop = tokio::time::sleep(Duration::from_secs(1));
    monitor.watch(&endpoint, Duration::from_millis(20), stop).await;
    let seen = monitor.figures();
    let latency = seen.latency.unwrap();
    assert!(latency.min >= DROWSE.as_secs_f64() * 1e3, "{latency:?}");
    assert!(seen.failed >= 1, "every fourth is refused");
    assert!(latency.count > seen.failed, "{seen:?}");
}

#[test]
fn the_servers_own_metrics_stand_beside_the_clients() {
    let directory = tempfile::tempdir().unwrap();
    let page = serve_pages();
    let run = |metrics: &str| {
        let mut command = Command::new(PROGRAM);
        let serve = format!("{PROGRAM} serve exemplar --listen 127.0.0.1:0 --ttft 20ms");
        command.args([
            "bench",
            "run",
            "--spawn",
            &serve,
            "--length",
            "500ms",
            "--warm-up",
            "0s",
            "--tokens",
            "4",
        ]);
        command.args(["--metrics", metrics, "--health-every", "20ms", "--output"]).arg(directory.path());
        command.output().expect("the program runs")
    };
    let output = run(&format!("http://{page}/metrics"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(said.contains("ttft: client p50") && said.contains("server says mean 19.40 ms"), "{said}");
    let file = std::fs::read_to_string(directory.path().join("report.json")).unwrap();
    let report: Report = serde_json::from_str(&file).unwrap();
    let server = report.server.unwrap();
    assert_eq!((server.generated_tokens, server.batch_width), (Some(40.0), Some(2.0)));
    assert!(report.metrics.contains_key("health/1") && report.health_failed == Some(0), "{said}");

    let output = run("http://127.0.0.1:1/metrics");
    assert_eq!(output.status.code(), Some(0), "metrics that cannot be read fail nothing: {output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("warning: the server's metrics"), "{output:?}");
    assert_eq!(run("https://127.0.0.1:1/metrics").status.code(), Some(2));
}

/// Two pages: one for the request before the load, and one for every later request.
fn serve_pages() -> SocketAddr {
    let page = |count: u32, sum: f64, tokens: u32, rows: u32| {
        format!(
            "s_time_to_first_token_seconds_count {count}\ns_time_to_first_token_seconds_sum {sum}\n\
             s_generation_tokens_total{{model=\"m\"}} {tokens}\ns_decode_rows_total {rows}\ns_decode_steps_total {count}\n"
        )
    };
    let pages = [page(5, 1.0, 7, 10), page(15, 1.194, 47, 30)];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (stream, page) in listener.incoming().zip(pages) {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let length = page.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{page}"
            );
        }
    });
    address
}

/// Health takes its time, and now and then refuses.
struct Drowsy;

#[tonic::async_trait]
impl Behaviour for Drowsy {
    async fn health(&self, state: &State, _trace_id: &str) -> Result<HealthAnswer, Status> {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        tokio::time::sleep(DROWSE).await;
        match CALLS.fetch_add(1, Ordering::Relaxed) % 4 {
            3 => Err(Status::unavailable("asleep")),
            _ => Ok(state.health()),
        }
    }
}

/// The exemplar, but that it answers a stream's requests in turn; counts streams.
struct Counting {
    paced: Paced,
    calls: Arc<AtomicUsize>,
}

struct Counted {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    _server: Running,
}

impl Counting {
    async fn serve(pace: Pace) -> Counted {
        let calls = Arc::new(AtomicUsize::new(0));
        let behaviour = Self { paced: Paced::new(pace), calls: Arc::clone(&calls) };
        let server = exemplar::serve(Arc::new(behaviour), &[any()], None).await.unwrap();
        Counted { address: address(&server), calls, _server: server }
    }
}

#[tonic::async_trait]
impl Behaviour for Counting {
    async fn requests(&self, requests: Requests) -> Requests {
        self.calls.fetch_add(1, Ordering::Relaxed);
        requests
    }

    fn at_once(&self) -> usize {
        1
    }

    fn speak(&self, request: &ai_inference_proto::GenerationRequest) -> exemplar::Script {
        self.paced.speak(request)
    }
}

/// Answers all requests of a stream at once, a chunk of each in turn.
struct Interleaving {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    together: Arc<AtomicUsize>,
}

impl Interleaving {
    /// With more than `most` at once a call ends RESOURCE_EXHAUSTED; `single` ends a call OK after its first generation.
    async fn serve(most: usize, single: bool) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (calls, together) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counted, seen) = (Arc::clone(&calls), Arc::clone(&together));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (counted, seen) = (Arc::clone(&counted), Arc::clone(&seen));
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        counted.fetch_add(1, Ordering::Relaxed);
                        tokio::spawn(interleave(
                            request.into_body(),
                            respond,
                            most,
                            single,
                            Arc::clone(&seen),
                        ));
                    }
                });
            }
        });
        Self { address, calls, together }
    }
}

async fn interleave(
    mut requests: h2::RecvStream,
    mut respond: h2::server::SendResponse<Bytes>,
    most: usize,
    single: bool,
    together: Arc<AtomicUsize>,
) {
    let head = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut send = respond.send_response(head, false).unwrap();
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let (mut buffer, mut running, mut open) = (BytesMut::new(), Vec::new(), true);
    let status = loop {
        tokio::select! {
            data = requests.data(), if open => match data {
                Some(Ok(data)) => {
                    let _ = requests.flow_control().release_capacity(data.len());
                    buffer.extend_from_slice(&data);
                    while let Some(request) = message(&mut buffer) {
                        let request = Dialect::Contract.decode_request(&request).unwrap();
                        running.push((request.trace_id().to_owned(), request.prompt, 0));
                    }
                    together.fetch_max(running.len(), Ordering::Relaxed);
                }
                _ => open = false,
            },
            _ = ticks.tick() => {
                if running.len() > most {
                    break "8";
                }
                for (trace_id, prompt, index) in &mut running {
                    let last = *index == CHUNKS;
                    let chunk = if last { String::new() } else { prompt[..20].to_owned() };
                    let response = GenerationResponse {
                        trace_id: trace_id.clone(),
                        chunk,
                        end_of_stream: last,
                        index: *index as i64,
                        ..GenerationResponse::default()
                    };
                    *index += 1;
                    if send.send_data(framed(&Dialect::Contract.encode_response(response)), false).is_err() {
                        return;
                    }
                }
                let before = running.len();
                running.retain(|(_, _, index)| *index <= CHUNKS);
                if (single && running.len() < before) || (running.is_empty() && !open) {
                    break "0";
                }
            }
        }
    };
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static(status));
    let _ = send.send_trailers(trailers);
}

fn message(buffer: &mut BytesMut) -> Option<Bytes> {
    let length = u32::from_be_bytes(buffer.get(1..5)?.try_into().ok()?) as usize;
    (buffer.len() >= 5 + length).then(|| buffer.split_to(5 + length).freeze().slice(5..))
}

fn framed(message: &[u8]) -> Bytes {
    [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat().into()
}

async fn run(job: &Job) -> Vec<RequestRecord> {
    load::run(job, &Tally::default()).await.unwrap()
}

fn job(address: SocketAddr, load: &str) -> Job {
    Job {
        endpoint: endpoint(address),
        model: String::new(),
        load: load.parse().unwrap(),
        length: Duration::from_millis(500),
        prompts: Prompts::Short.draw(200, 1).unwrap(),
        tokens: 8,
        connections: 1,
        most_running: usize::MAX,
        per_stream: 1,
        cancel_share: 0.0,
        requests: None,
        limit: Duration::from_secs(30),
        seed: 1,
    }
}

fn endpoint(address: SocketAddr) -> Arc<Endpoint> {
    let address = address.to_string().parse().unwrap();
    Arc::new(Endpoint { address, tls: Tls::default(), dialect: Dialect::Contract, metadata: vec![] })
}

fn address(server: &Running) -> SocketAddr {
    server.addresses[0].to_string().parse().unwrap()
}

fn any() -> Address {
    "127.0.0.1:0".parse().unwrap()
}

fn p50(metric: Metric, requests: &[RequestRecord]) -> f64 {
    milliseconds(quantile(metric.values(requests), 0.5).unwrap() as u64)
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_conformance");
const CHUNKS: usize = 4;
const DROWSE: Duration = Duration::from_millis(30);
