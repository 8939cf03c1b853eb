//! Clients that do not read, or ask for nothing: their calls end, whatever the transport waits for.

mod support;

use std::time::{Duration, Instant};

use ai_inference_proto::{Dialect, GenerationRequest};
use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{Builder, ResponseFuture, SendRequest},
};
use support::server::start;
use testkit::{Server, request};
use tokio::{net::UnixStream, time::sleep};

/// A generation's first chunks fit, and not the whole.
const WINDOW: u32 = 400;

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_reads_nothing_is_ended_and_told_when_it_reads() {
    let server = start(&["--reader-patience=1s"]);
    let (answer, _send) = generate(&mut connect(&server, WINDOW).await, None);
    let body = begun(&server, answer).await;
    ended_within(&server, Duration::from_secs(4)).await;
    assert_eq!(status(body).await, "10", "ABORTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_reads_slowly_is_never_ended() {
    let server = start(&["--reader-patience=500ms"]);
    let long = request("Hello", &"t".repeat(1000), 1000);
    let (answer, _send) = send(&mut connect(&server, 16 << 10).await, None, long);
    let mut body = begun(&server, answer).await;
    let (mut read, began) = (0, Instant::now());
    // 300 kB a second: three times the patience in all, and the server always waits.
    while began.elapsed() < Duration::from_millis(1500) {
        let data = body.data().await.unwrap().unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        read += data.len();
        sleep(Duration::from_secs_f64(data.len() as f64 / 300_000.0)).await;
    }
    assert!(read < 700_000, "{read} bytes: all was over before");
    assert_eq!(status(body).await, "0", "OK");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_call_that_is_not_read() {
    let server = start(&[]);
    let (answer, _send) = generate(&mut connect(&server, WINDOW).await, Some("1S"));
    let _body = begun(&server, answer).await;
    ended_within(&server, Duration::from_secs(4)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_readers_that_read_nothing_no_longer_than_for_a_moment() {
    let mut server = start(&[]);
    let (answer, _send) = generate(&mut connect(&server, WINDOW).await, None);
    let _body = begun(&server, answer).await;
    server.terminate().unwrap();
    server.exit(Duration::from_secs(15)).await.expect("the grace time is 30 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_unloaded_while_its_readers_stall_counts_until_it_is_gone() {
    let server = start(&["--reader-patience=1s"]);
    let (client, mut stalled) = (server.client(Dialect::Contract).await, Vec::new());
    let one = client.counter("memory_reserved_bytes").await;
    for round in 0..5 {
        // From the third on, loading again waits for one that leaves.
        let mut requests = connect(&server, WINDOW).await;
        let (answer, send) = generate(&mut requests, None);
        stalled.push((answer.await.unwrap(), send));
        client.until("models_loaded", 1).await;
        let unloaded = client.control("unload_model", &[("model_id", "tiny")]).await.unwrap();
        assert_eq!(unloaded.payload["status"], "ok", "in round {round}");
        let (leaving, memory) =
            (client.counter("models_unloading").await, client.counter("memory_reserved_bytes").await);
        assert!((1..=3).contains(&leaving), "{leaving} leave in round {round}");
        assert!(memory >= one * leaving && memory <= one * 4, "{memory} bytes, of {one} a model");
    }
    client.until("models_unloading", 0).await;
    assert_eq!(client.counter("memory_reserved_bytes").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_asks_for_nothing_is_ended() {
    let server = start(&["--reader-patience=500ms"]);
    let mut requests = connect(&server, WINDOW).await;
    let (answer, _send) = requests.send_request(head(None), false).unwrap();
    let began = Instant::now();
    let response = answer.await.unwrap();
    assert_eq!(status(response.into_body()).await, "4", "DEADLINE_EXCEEDED");
    assert!(began.elapsed() >= Duration::from_secs(1), "twice the patience with readers");
}

async fn connect(server: &Server, window: u32) -> SendRequest<Bytes> {
    let socket = UnixStream::connect(server.socket()).await.unwrap();
    let mut builder = Builder::new();
    let (requests, connection) = builder.initial_window_size(window).handshake(socket).await.unwrap();
    tokio::spawn(connection);
    requests.ready().await.unwrap()
}

fn head(timeout: Option<&str>) -> http::Request<()> {
    let uri = format!("http://localhost/{}/StreamPredict", Dialect::Contract.service());
    let head = http::Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
    let head = timeout.into_iter().fold(head, |head, timeout| head.header("grpc-timeout", timeout));
    head.body(()).unwrap()
}

fn generate(requests: &mut SendRequest<Bytes>, timeout: Option<&str>) -> (ResponseFuture, SendStream<Bytes>) {
    send(requests, timeout, request("Hello", "unread", 600))
}

fn send(
    requests: &mut SendRequest<Bytes>,
    timeout: Option<&str>,
    request: GenerationRequest,
) -> (ResponseFuture, SendStream<Bytes>) {
    let message = Dialect::Contract.encode_request(request);
    let framed = [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat();
    let (answer, mut send) = requests.send_request(head(timeout), false).unwrap();
    send.send_data(framed.into(), true).unwrap();
    (answer, send)
}

/// The generation runs, and its answer is not read.
async fn begun(server: &Server, answer: ResponseFuture) -> RecvStream {
    let body = answer.await.unwrap().into_body();
    let client = server.client(Dialect::Contract).await;
    client.until("requests_inflight", 1).await;
    body
}

async fn ended_within(server: &Server, limit: Duration) {
    let client = server.client(Dialect::Contract).await;
    let began = Instant::now();
    while client.counter("requests_inflight").await > 0 || client.counter("slots_busy").await > 0 {
        assert!(began.elapsed() < limit, "it is still in flight");
        sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() > Duration::from_millis(500), "it was not ended by the clock");
}

async fn status(mut body: RecvStream) -> String {
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    let trailers = body.trailers().await.unwrap().expect("a call that has begun ends with trailers");
    trailers["grpc-status"].to_str().unwrap().to_owned()
}
