//! Refusals disturb no other call on the connection, however many there are, and whenever their client ends its half.

mod support;

use std::{future::poll_fn, task::Poll, time::Duration};

use ai_inference_proto::{Dialect, GenerationRequest};
use bytes::Bytes;
use h2::client::SendRequest;
use support::server::start;
use testkit::{Server, request, text_of};
use tokio::{net::UnixStream, task::JoinSet, time::sleep};
use tonic::Code;

/// One way through the network.
const WAY: Duration = Duration::from_millis(5);
/// More than the HTTP/2 library allows resets of its own in a connection's life, many times over.
const REFUSALS: usize = 2_000;
const AT_ONCE: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn refusals_that_cross_a_half_close_end_no_connection() {
    let server = start(&[]);
    let requests = connect(&server).await;
    let mut neighbours = JoinSet::new();
    for _ in 0..2 {
        neighbours.spawn(neighbour(requests.clone()));
    }
    let (mut calls, mut done) = (JoinSet::new(), 0);
    for number in 0..REFUSALS {
        calls.spawn(refused(requests.clone(), number));
        if calls.len() == AT_ONCE {
            calls.join_next().await.unwrap().unwrap();
            done += 1;
        }
    }
    done += calls.join_all().await.len();
    assert_eq!(done, REFUSALS);
    neighbours.abort_all();
    while let Some(ended) = neighbours.join_next().await {
        assert!(ended.unwrap_err().is_cancelled(), "a neighbour's call broke");
    }
    let client = server.client(Dialect::Contract).await;
    text_of("after", &client.generate(request("Hello", "after", 8)).await.unwrap());
}

/// A client may also never end its half: its stream goes after a while, and nothing is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_ends_its_half_is_let_go() {
    let server = start(&[]);
    let requests = connect(&server).await;
    let (response, mut send) = requests.clone().send_request(head(), false).unwrap();
    send.send_data(unknown_model(0), false).unwrap();
    assert_eq!(status(response.await.unwrap()).await, Code::NotFound);
    let reset = poll_fn(|context| send.poll_reset(context));
    let reset = tokio::time::timeout(Duration::from_secs(10), reset).await.expect("it is let go");
    assert_eq!(reset.unwrap(), h2::Reason::NO_ERROR, "which tells the client to send no more");
}

async fn connect(server: &Server) -> SendRequest<Bytes> {
    let socket = UnixStream::connect(server.socket()).await.unwrap();
    // The library hangs up where many small frames wait to be read, as they do behind a quick server.
    let mut builder = h2::client::Builder::new();
    let (requests, connection) = builder.data_frame_budget(1 << 30).handshake(socket).await.unwrap();
    tokio::spawn(connection);
    requests.ready().await.unwrap()
}

/// A call for a model that there is not. Its client ends its half when it has the status.
async fn refused(requests: SendRequest<Bytes>, number: usize) {
    let (response, mut send) = requests.ready().await.unwrap().send_request(head(), false).unwrap();
    send.send_data(unknown_model(number), false).unwrap();
    assert_eq!(status(response.await.unwrap()).await, Code::NotFound);
    sleep(WAY * 2).await;
    let reset = poll_fn(|context| Poll::Ready(send.poll_reset(context))).await;
    assert!(reset.is_pending(), "call {number} was reset behind its status: {reset:?}");
    send.send_data(Bytes::new(), true).unwrap();
}

/// Generations in a row, until it is stopped.
async fn neighbour(requests: SendRequest<Bytes>) {
    let long = Dialect::Contract.encode_request(request("Hello", "neighbour", 200));
    loop {
        let (response, mut send) =
            requests.clone().ready().await.unwrap().send_request(head(), false).unwrap();
        send.send_data(framed(&long), true).unwrap();
        assert_eq!(status(response.await.unwrap()).await, Code::Ok);
    }
}

fn head() -> http::Request<()> {
    let uri = format!("http://localhost/{}/StreamPredict", Dialect::Contract.service());
    http::Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap()
}

fn unknown_model(number: usize) -> Bytes {
    let asked = request("Hello", &format!("t{number}"), 1);
    framed(&Dialect::Contract.encode_request(GenerationRequest { model_id: "nobody".into(), ..asked }))
}

fn framed(message: &[u8]) -> Bytes {
    [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat().into()
}

/// gRPC's status, from the head or from the trailers.
async fn status(response: http::Response<h2::RecvStream>) -> Code {
    let (head, mut body) = response.into_parts();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    let trailers = body.trailers().await.unwrap().unwrap_or(head.headers);
    let code: i32 = trailers["grpc-status"].to_str().unwrap().parse().unwrap();
    Code::from_i32(code)
}
