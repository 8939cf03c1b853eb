//! How a server begins and ends: signals at any time, and socket files that others left.

mod support;

use std::{
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use ai_inference_proto::Dialect;
use support::{
    cached,
    server::{command, listen, start, start_at},
};
use testkit::{Server, fresh_socket, request};
use tonic::transport::Endpoint;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_a_server_whose_model_is_still_loading() {
    let Some(model) = cached("smollm2-fp32", "ci/models smollm2 --variant fp32") else { return };
    for name in ["TERM", "INT", "HUP"] {
        let socket = fresh_socket();
        let mut child = Command::new(env!("CARGO_BIN_EXE_reference-sidecar"))
            .args(["serve", "--default-model=smollm2-fp32", &listen(&socket), "--models"])
            .arg(model.parent().unwrap())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It is bound before the model is loaded, which takes a second.
        until(|| socket.exists()).await;
        signal(name, child.id());
        let mut status = None;
        until(|| {
            status = child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        assert!(status.unwrap().success(), "SIG{name}: {status:?}");
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said, "", "it listens only when the model is loaded");
        assert!(!socket.exists(), "SIG{name} leaves the socket's file");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_drains_and_a_second_signal_leaves_no_socket_file() {
    let mut server = start(&[]);
    signal("HUP", server.pid());
    assert!(server.exit(SOON).await.unwrap().success());
    assert!(!server.socket().exists());

    let mut server = start(&["--grace=60s"]);
    let client = server.client(Dialect::Contract).await;
    // Not read, so that it cannot end.
    let long = tokio_stream::once(request("Hello", "long", 1000));
    let _long = client.stream(long, None).await.unwrap();
    client.until("requests_inflight", 1).await;
    server.terminate().unwrap();
    while client.health().await.unwrap().healthy {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    signal("INT", server.pid());
    assert_eq!(server.exit(SOON).await.unwrap().code(), Some(130));
    assert!(!server.socket().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_of_health_are_told_of_the_end_and_hold_it_up_for_no_time() {
    let mut server = start(&[]);
    let endpoint = Endpoint::from_shared(format!("http://{}", server.addresses[1])).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let watch = async |service: &str| {
        let asked = HealthCheckRequest { service: service.to_owned() };
        HealthClient::new(channel.clone()).watch(asked).await.unwrap().into_inner()
    };
    let (mut known, mut unknown) = (watch("AiInference").await, watch("another").await);
    assert_eq!(known.message().await.unwrap().unwrap().status, SERVING);
    assert_eq!(unknown.message().await.unwrap().unwrap().status, SERVICE_UNKNOWN);
    let began = Instant::now();
    server.terminate().unwrap();
    assert_eq!(known.message().await.unwrap().unwrap().status, NOT_SERVING);
    assert!(known.message().await.unwrap().is_none() && unknown.message().await.unwrap().is_none());
    assert!(server.exit(SOON).await.unwrap().success());
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

/// As grpc.health.v1 numbers them.
const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;
const SERVICE_UNKNOWN: i32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn of_two_servers_that_start_over_a_stale_socket_one_wins_and_the_other_says_so() {
    let socket = fresh_socket();
    for _ in 0..5 {
        start_at(&socket, &[], &[]).kill().unwrap();
        drop(std::os::unix::net::UnixListener::bind(&socket)); // stale: bound, and not listened on any more
        let [one, other] = [contender(&socket), contender(&socket)];
        let (one, other) = (one.await.unwrap(), other.await.unwrap());
        assert!(one.is_ok() != other.is_ok(), "one of them serves: {one:?} {other:?}");
        let winner = one.or(other).unwrap();
        assert!(winner.client(Dialect::Contract).await.health().await.unwrap().healthy);
    }
}

fn contender(socket: &Path) -> tokio::task::JoinHandle<std::io::Result<Server>> {
    let mut command = command(&[&listen(socket)], &[("SIDECAR_LOG", "warn")]);
    tokio::task::spawn_blocking(move || Server::start(&mut command, 1))
}

fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap().success());
}

async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not after 10 s");
}
