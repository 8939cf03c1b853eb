//! What keeps everything from working is said in one sentence, with exit code 3, before anything is judged.

mod common;

use std::{
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use exemplar::{Conformant, trivial::Trivial};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use wire::Address;

/// With more lines than this, a user does not read the first.
const MOST_LINES: usize = 6;

/// Runs the program against an address.
async fn run(address: &str, token: Option<&str>, more: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
    command.args(["run", "--target", address, "--output"]).arg(directory.path()).args(more);
    match token {
        Some(token) => command.env("CONFORMANCE_TOKEN", token),
        None => command.env_remove("CONFORMANCE_TOKEN"),
    };
    let output = tokio::task::spawn_blocking(move || command.output().expect("the program runs"));
    let output = output.await.unwrap();
    assert!(!directory.path().join("report.json").exists(), "something was judged");
    output
}

/// Exit code 3, few lines, and the first one says all of `words`.
async fn refused(address: &str, token: Option<&str>, more: &[&str], words: &[&str]) {
    let output = run(address, token, more).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    let lines: Vec<_> = said.lines().filter(|line| !line.ends_with('…')).collect();
    assert!(lines.len() <= MOST_LINES, "{said}");
    let first = lines.first().unwrap_or_else(|| panic!("nothing was said"));
    println!("{} line(s): {first}", lines.len());
    for word in words {
        assert!(first.contains(word), "no {word:?} in: {first}");
    }
}

async fn exemplar(token: Option<&str>) -> exemplar::Running {
    let anywhere = Address::Tcp { host: "127.0.0.1".into(), port: 0 };
    exemplar::serve(Arc::new(Conformant), &[anywhere], token.map(str::to_owned)).await.unwrap()
}

/// Does the same with each connection.
async fn serve<F, R>(converse: F) -> (String, JoinHandle<()>)
where
    F: Fn(TcpStream, usize) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        let mut number = 0;
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, number));
            number += 1;
        }
    });
    (address, task)
}

/// Answers each gRPC call on the connection with the status that `status` chooses by its path.
async fn answer(stream: TcpStream, status: impl Fn(&http::Request<h2::RecvStream>) -> &'static str) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let response = http::Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", status(&request))
            .body(())
            .unwrap();
        let _ = respond.send_response(response, true);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_needed_or_wrong() {
    let running = exemplar(Some(common::TOKEN)).await;
    let address = running.addresses[0].to_string();
    refused(&address, None, &[], &["asks for a token", "UNAUTHENTICATED", "CONFORMANCE_TOKEN"]).await;
    refused(&address, Some("another"), &[], &["UNAUTHENTICATED", "the token is wrong", "proxy"]).await;
    let newline = format!("{}\n", common::TOKEN);
    let output = run_to_end(&address, &newline).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("the token ends in a newline"), "{said}");
    assert_eq!(output.status.code(), Some(0), "{said}");
    let output = run(&address, Some("two\nlines"), &[]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

async fn run_to_end(address: &str, token: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
    command.args(["run", "--target", address, "--only", "HEALTH-001", "--output"]).arg(directory.path());
    command.env("CONFORMANCE_TOKEN", token);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_drops_the_token() {
    let (address, _task) = serve(|stream, _| {
        // Whatever comes, the server behind sees no token.
        answer(stream, |request| if request.uri().path().ends_with("/Health") { "0" } else { "16" })
    })
    .await;
    refused(&address, Some("good"), &[], &["with the token as without it", "drops the header"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_needs_metadata() {
    let (address, _task) = serve(|stream, _| {
        let blue =
            |request: &http::Request<_>| request.headers().get("x-tenant").is_some_and(|v| v == "blue");
        answer(stream, move |request| if blue(request) { "12" } else { "16" })
    })
    .await;
    refused(&address, None, &[], &["UNAUTHENTICATED"]).await;
    refused(&address, None, &["-H", "x-tenant: blue"], &["without the service AiInference"]).await;
    assert_eq!(run(&address, None, &["-H", "grpc-timeout: 1S"]).await.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_the_target_does_not_have() {
    let running = exemplar(None).await;
    let address = running.addresses[0].to_string();
    let words = ["no model \"nope\"", "NOT_FOUND", "it lists", "--model"];
    refused(&address, None, &["--model", "nope"], &words).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_1_server() {
    let (address, _task) = serve(|mut stream, _| async move {
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    })
    .await;
    refused(&address, None, &[], &["speaks HTTP/1", "gRPC port"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_port() {
    let silent = Trivial::Silent.serve("127.0.0.1", 0).await.unwrap();
    let words = ["answered nothing within 2 s", "--wait"];
    refused(&silent.address.to_string(), None, &["--timeout", "2s"], &words).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_grpc_service() {
    let other = Trivial::Unimplemented.serve("127.0.0.1", 0).await.unwrap();
    refused(&other.address.to_string(), None, &[], &["without the service AiInference", "UNIMPLEMENTED"])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_workers_is_dead() {
    let running = exemplar(None).await;
    let behind = running.addresses[0].to_string();
    let (address, _task) = serve(move |mut stream, number| {
        let behind = behind.clone();
        async move {
            if number % 2 == 1 {
                answer(stream, |_| "14").await;
            } else if let Ok(mut worker) = TcpStream::connect(behind).await {
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut worker).await;
            }
        }
    })
    .await;
    refused(&address, None, &[], &["equal requests were answered UNAVAILABLE", "one of several workers"])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_with_no_server_behind() {
    let (address, _task) = serve(|stream, _| answer(stream, |_| "14")).await;
    refused(&address, None, &[], &["every generation with UNAVAILABLE", "start the worker"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_accepts_and_resets() {
    let (address, _task) = serve(|stream, _| async move { drop(stream) }).await;
    refused(&address, None, &[], &["closes them at once", "container", "--wait"]).await;
    let waiting = ["--wait", "1s"];
    refused(&address, None, &waiting, &["was not ready within 1 s", "closes them at once"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_server_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    refused(&address, None, &[], &["no connection to", "refused", "--wait 60s"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_comes_late_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: Address = listener.local_addr().unwrap().to_string().parse().unwrap();
    drop(listener);
    let late = address.clone();
    let server = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let running = exemplar::serve(Arc::new(Conformant), &[late], None).await;
        tokio::time::sleep(Duration::from_mins(2)).await;
        drop(running);
    });
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
    command.args([
        "run",
        "--wait",
        "60s",
        "--only",
        "HEALTH-001",
        "--target",
        &address.to_string(),
        "--output",
    ]);
    command.arg(directory.path()).env_remove("CONFORMANCE_TOKEN");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    server.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_preflight_judges_in_any_case() {
    let hangs_up = Trivial::HangsUp.serve("127.0.0.1", 0).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
    command.args(["run", "--no-preflight", "--only", "HEALTH-001", "--target"]);
    command.arg(hangs_up.address.to_string()).arg("--output").arg(directory.path());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(directory.path().join("report.json").exists());
}
