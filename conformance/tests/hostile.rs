//! The benchmark against targets that fail, vanish, never end, or frame their answers oddly.

use std::{
    fs,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use ai_inference_proto::{Dialect, GenerationRequest, GenerationResponse};
use bytes::Bytes;
use exemplar::{self, Behaviour, Pace, Paced, State};
use latency::{
    Endpoint,
    load::{self, Job, Tally},
    prompts::Prompts,
    record::{Outcome, RequestRecord, Setup},
    report::{Objectives, Report},
};
use tonic::Status;
use wire::{Tls, framed};

#[tokio::test]
async fn empty_data_frames_are_no_fault_of_the_target() {
    // Five hundred in each answer; the HTTP/2 library takes a hundred in a connection's life.
    let address = answering(Answer { empty_frames: 100, chunk: "a".to_owned(), chunks: 5 }).await;
    let requests = run(&job(address)).await;
    assert!(requests.len() > 3, "{}", requests.len());
    assert!(
        requests.iter().all(|request| request.is_complete() && request.chunks.len() == 5),
        "{requests:?}"
    );
}

#[tokio::test]
async fn answers_without_an_end_are_given_up_and_take_little_memory() {
    let chunk = "x".repeat(3_900_000);
    let address = answering(Answer { empty_frames: 0, chunk, chunks: usize::MAX }).await;
    for per_stream in [1, 2] {
        let job = Job { load: "closed:8".parse().unwrap(), per_stream, ..job(address) };
        let requests = run(&job).await;
        let too_long = requests.iter().filter(|request| request.outcome == Outcome::TooLong).count();
        assert!(too_long > 0, "{:?}", requests.first());
        assert!(requests.iter().all(RequestRecord::has_failed));
    }
    // Of the client and this server together.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    let peak: u64 = peak.map_or(0, |kibibytes| kibibytes.trim().parse().unwrap());
    assert!(peak < 512 * 1024, "{} MiB", peak / 1024);
}

#[tokio::test]
async fn a_target_that_dies_ends_the_run_which_says_so() {
    let listen = ["127.0.0.1:0".parse().unwrap()];
    for load in ["closed:2", "constant:20"] {
        let server = exemplar::serve(Arc::new(Paced::new(PACE)), &listen, None).await.unwrap();
        let (tally, began) = (Tally::default(), Instant::now());
        let job =
            Job { load: load.parse().unwrap(), length: Duration::from_mins(2), ..job(address(&server)) };
        let dies = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            drop(server);
        };
        let (requests, ()) = tokio::join!(load::run(&job, &tally), dies);
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        let report = Report::new(Setup::default(), &requests.unwrap(), Objectives::default());
        let report = report.ended_early(tally.ended_early());
        let why = report.invalid.join("; ");
        assert!(why.contains("requests in a row failed") && why.contains("refused"), "{why}");
        assert!(report.table().contains("FAILED: "), "{}", report.table());
    }
}

/// Refuses every client, and says which token it got.
struct Talkative;

impl Behaviour for Talkative {
    fn admit(&self, _state: &State, _request: &GenerationRequest) -> Result<(), Status> {
        Err(Status::unauthenticated(format!("no client here has the token {TOKEN}")))
    }
}

#[tokio::test]
async fn what_a_target_says_is_kept_and_the_token_is_not() {
    let listen = ["127.0.0.1:0".parse().unwrap()];
    let server = exemplar::serve(Arc::new(Talkative), &listen, None).await.unwrap();
    let mut job = job(address(&server));
    job.endpoint = endpoint(address(&server), Some(format!("Bearer {TOKEN}").parse().unwrap()));
    let requests = run(&job).await;
    let setup = job.setup(&format!("A_TOKEN=abc ./server --key {TOKEN}"), "short");
    assert_eq!(setup.target, "A_TOKEN=<redacted> ./server --key <redacted>");
    let report = Report::new(setup, &requests, Objectives::default());
    assert_eq!(report.failures[0].example, "no client here has the token <redacted>");
    assert_eq!(report.failures[0].count, requests.len() as u64);
    let all = format!("{requests:?} {report:?}");
    assert!(!all.contains(TOKEN));
}

#[tokio::test]
async fn a_number_of_requests_ends_a_run() {
    let listen = ["127.0.0.1:0".parse().unwrap()];
    let server = exemplar::serve(Arc::new(Paced::new(PACE)), &listen, None).await.unwrap();
    for load in ["closed:3", "constant:200", "poisson:200"] {
        let load = load.parse().unwrap();
        let length = Duration::from_hours(20);
        let job = Job { load, length, requests: Some(17), ..job(address(&server)) };
        assert_eq!(run(&job).await.len(), 17, "{}", job.load);
    }
}

/// What a server of raw HTTP/2 answers to everything.
#[derive(Clone)]
struct Answer {
    /// Number of empty frames before each chunk.
    empty_frames: usize,
    chunk: String,
    chunks: usize,
}

async fn answering(answer: Answer) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(speak(answer.clone(), request.into_body(), respond));
                }
            });
        }
    });
    address
}

async fn speak(
    answer: Answer,
    mut requests: h2::RecvStream,
    mut respond: h2::server::SendResponse<Bytes>,
) -> Option<()> {
    let request = requests.data().await?.ok()?;
    let trace_id = Dialect::Contract.decode_request(&request.slice(5..)).ok()?.trace_id().to_owned();
    let head = http::Response::builder().header("content-type", "application/grpc").body(()).ok()?;
    let mut send = respond.send_response(head, false).ok()?;
    for index in 0..answer.chunks {
        for _ in 0..answer.empty_frames {
            send.send_data(Bytes::new(), false).ok()?;
        }
        let response = GenerationResponse {
            trace_id: trace_id.clone(),
            chunk: answer.chunk.clone(),
            end_of_stream: index + 1 == answer.chunks,
            index: index as i64,
            ..GenerationResponse::default()
        };
        let mut message = framed(&Dialect::Contract.encode_response(response));
        while !message.is_empty() {
            send.reserve_capacity(message.len());
            let room = std::future::poll_fn(|context| send.poll_capacity(context)).await?.ok()?;
            send.send_data(message.split_to(room.min(message.len())), false).ok()?;
        }
    }
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    send.send_trailers(trailers).ok()
}

async fn run(job: &Job) -> Vec<RequestRecord> {
    load::run(job, &Tally::default()).await.unwrap()
}

fn address(server: &exemplar::Running) -> SocketAddr {
    server.addresses[0].to_string().parse().unwrap()
}

fn endpoint(address: SocketAddr, token: Option<http::HeaderValue>) -> Arc<Endpoint> {
    let address = address.to_string().parse().unwrap();
    let bearer = token.map(|mut token| {
        token.set_sensitive(true);
        (http::header::AUTHORIZATION, token)
    });
    let metadata = bearer.into_iter().collect();
    Arc::new(Endpoint { address, tls: Tls::default(), dialect: Dialect::Contract, metadata })
}

fn job(address: SocketAddr) -> Job {
    Job {
        endpoint: endpoint(address, None),
        model: String::new(),
        load: "closed:1".parse().unwrap(),
        length: Duration::from_secs(1),
        requests: None,
        prompts: Prompts::Short.draw(100, 1).unwrap(),
        tokens: 8,
        connections: 1,
        most_running: usize::MAX,
        per_stream: 1,
        cancel_share: 0.0,
        limit: Duration::from_secs(30),
        seed: 1,
    }
}

const PACE: Pace = Pace {
    ttft: Duration::from_millis(5),
    gap: Duration::from_millis(1),
    slow_one_in: 0,
    slow_by: 1.0,
    stall: Duration::ZERO,
    stall_every: Duration::ZERO,
};
const TOKEN: &str = "s3cret-of-this-test";
