//! What a proxy adds, against proxies that add what is known.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use ai_inference_proto::GenerationRequest;
use exemplar::{Behaviour, State};
use latency::hop::{HopReport, Row};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpStream, tcp},
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tonic::Status;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_adds_is_found_in_both_directions() {
    let directory = tempfile::tempdir().unwrap();
    let (front, behind) = forward(Some(DELAY)).await;
    let output = hop(directory.path(), &between(front, behind)).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let slow = report(directory.path());
    for metric in ["hop_up", "hop_down"] {
        let row = median(&slow, metric);
        assert!(row.through_ms >= 5.0, "a delay never ends early: {row:?}");
        assert!(row.added_ms > 2.5 && row.low_ms <= row.added_ms && row.added_ms <= row.high_ms, "{row:?}");
    }
    assert!(slow.messages > 0 && slow.invalid.is_empty(), "{slow:?}");

    let (front, behind) = forward(None).await;
    let output = hop(directory.path(), &between(front, behind)).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let fast = report(directory.path());
    let (slow, fast) = (median(&slow, "hop_down").added_ms, median(&fast, "hop_down").added_ms);
    assert!(fast < slow / 2.0, "{fast} ms without a delay, {slow} ms with one");
    let table = std::fs::read_to_string(directory.path().join("hop.md")).unwrap();
    assert!(table.contains("| hop_down p50 |") && table.contains("arrived together"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_is_allowed_is_1() {
    let directory = tempfile::tempdir().unwrap();
    let (front, behind) = forward(Some(DELAY)).await;
    let output =
        hop(directory.path(), &[&between(front, behind)[..], &["--most".into(), "1us".into()]].concat())
            .await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("FAIL: hop_up and hop_down"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_a_proxy_holds_back_are_seen_to_arrive_together() {
    let directory = tempfile::tempdir().unwrap();
    let (front, behind) = batching().await;
    let output = hop(directory.path(), &between(front, behind)).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let [direct, through] = report(directory.path()).together;
    assert!(through > 0.5 && direct < through, "direct {direct}, through {through}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_forwards_to_another_server_is_3_and_so_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = format!("{PROGRAM} serve exemplar --listen {{front}}");
    let output = hop(directory.path(), &["--spawn".into(), elsewhere]).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no request has come through it") && said.contains("{back}"), "{said}");

    let (absent, behind) = (free(), free());
    assert_eq!(hop(directory.path(), &between(absent, behind)).await.status.code(), Some(3));
    let no_backend = ["--front".to_owned(), absent.to_string()];
    assert_eq!(
        hop(directory.path(), &no_backend).await.status.code(),
        Some(2),
        "where is the backend to listen?"
    );
}

/// Asks the backend for something else than the client asked for, and refuses.
struct Changing(SocketAddr);

impl Behaviour for Changing {
    fn admit(&self, _state: &State, _request: &GenerationRequest) -> Result<(), Status> {
        let behind = self.0;
        tokio::spawn(async move {
            let stream = TcpStream::connect(behind).await.unwrap();
            let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            let request = http::Request::post("http://a/another.Service/Method").body(()).unwrap();
            let (response, _) = requests.send_request(request, true).unwrap();
            let _ = response.await;
        });
        Err(Status::unavailable("the backend refused"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_reaches_the_backend_and_is_refused_is_not_called_unconnected() {
    let directory = tempfile::tempdir().unwrap();
    let behind = free();
    let anywhere = ["127.0.0.1:0".parse().unwrap()];
    let front = exemplar::serve(Arc::new(Changing(behind)), &anywhere, None).await.unwrap();
    let front = front.addresses[0].to_string().parse().unwrap();
    let output = hop(directory.path(), &between(front, behind)).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("reaches the backend") && said.contains("UNAVAILABLE"), "{said}");
}

async fn hop(output: &Path, more: &[String]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(["bench", "hop", "--blocks", "4", "--length", "300ms", "--gap", "10ms", "--chunks", "10"]);
    command.args(more).arg("--output").arg(output);
    tokio::task::spawn_blocking(move || command.output().expect("the program runs")).await.unwrap()
}

fn between(front: SocketAddr, behind: SocketAddr) -> [String; 4] {
    ["--front".into(), front.to_string(), "--listen-behind".into(), behind.to_string()]
}

fn report(directory: &Path) -> HopReport {
    serde_json::from_str(&std::fs::read_to_string(directory.join("hop.json")).unwrap()).unwrap()
}

fn median<'a>(report: &'a HopReport, metric: &str) -> &'a Row {
    report.rows.iter().find(|row| row.metric == metric && row.quantile < 0.6).unwrap()
}

/// An address on which no server listens.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A proxy that knows bytes only, and keeps each for `delay`: its address, and the one that it forwards to.
async fn forward(delay: Option<Duration>) -> (SocketAddr, SocketAddr) {
    proxy(move |mut client, mut back| async move {
        let Some(delay) = delay else {
            let _ = copy_bidirectional(&mut client, &mut back).await;
            return;
        };
        let ((from_client, to_client), (from_back, to_back)) = (client.into_split(), back.into_split());
        let late = move |came: Instant| came + delay;
        tokio::join!(pipe(from_client, to_back, late), pipe(from_back, to_client, late));
    })
    .await
}

/// A proxy that lets go what came for the client only every 50 ms.
async fn batching() -> (SocketAddr, SocketAddr) {
    let epoch = Instant::now();
    proxy(move |client, back| async move {
        let ((from_client, to_client), (from_back, to_back)) = (client.into_split(), back.into_split());
        let every = 50;
        let held = move |came: Instant| {
            epoch + Duration::from_millis(((came - epoch).as_millis() as u64 / every + 1) * every)
        };
        tokio::join!(pipe(from_client, to_back, |came| came), pipe(from_back, to_client, held));
    })
    .await
}

async fn proxy<F: Future<Output = ()> + Send>(
    carry: impl Fn(TcpStream, TcpStream) -> F + Copy + Send + 'static,
) -> (SocketAddr, SocketAddr) {
    let behind = free();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(back) = TcpStream::connect(behind).await else { return };
                let _ = (client.set_nodelay(true), back.set_nodelay(true));
                carry(client, back).await;
            });
        }
    });
    (front, behind)
}

/// Passes bytes on when `due` says, which is given when they came.
async fn pipe(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, due: impl Fn(Instant) -> Instant) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let read = async move {
        let mut buffer = [0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if sender.send((due(Instant::now()), buffer[..count].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((at, bytes)) = receiver.recv().await {
            sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_conformance");
const DELAY: Duration = Duration::from_millis(5);
