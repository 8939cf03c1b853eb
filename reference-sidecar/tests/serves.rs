//! The binary from the outside: both dialects, both transports, and the ends of its life.

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    time::{Duration, Instant},
};

use ai_inference_proto::{
    Dialect::{self, Contract, CyLlm},
    GenerationRequest, Sampling,
};
use fixtures::{Shift, Transcripts};
use support::server::{command, listen, start, start_at};
use testkit::{
    Client, fresh_socket,
    http2::{END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, block, frame, message},
    request, text_of,
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::{StreamExt as _, wrappers::UnboundedReceiverStream};
use tonic::{
    Code,
    codegen::{Service as _, http},
    transport::Endpoint,
};

#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_at_once_say_what_each_says_alone_in_both_dialects_on_both_transports() {
    async fn check(address: &str, dialect: Dialect) {
        let client = Client::connect(address, dialect).await.unwrap();
        let golden = Transcripts::tiny().expect("the fixture is there");
        let mut running = JoinSet::new();
        for number in 0..32 {
            let client = client.clone();
            let expected = golden.transcripts[number % golden.transcripts.len()].clone();
            let request = request(&expected.prompt, &format!("trace {number}"), golden.max_new_tokens);
            running.spawn(async move {
                let responses = client.generate(request).await.unwrap();
                assert_eq!(text_of(&format!("trace {number}"), &responses), expected.text);
                responses.last().unwrap().timings
            });
        }
        for timings in running.join_all().await {
            match dialect {
                Contract => assert_eq!((timings.ttft_ms, timings.tokens_per_sec), (0.0, 0.0)),
                CyLlm => {
                    assert!(timings.ttft_ms.is_finite() && timings.ttft_ms > 0.0);
                    assert!(timings.tokens_per_sec.is_finite() && timings.tokens_per_sec > 0.0);
                }
            }
        }
    }
    let server = start(&[]);
    for address in &server.addresses {
        check(address, Contract).await;
        check(address, CyLlm).await;
    }
}

#[tokio::test]
async fn a_generation_starts_before_half_close_and_several_share_a_stream() {
    let server = start(&[]);
    let client = server.client(Contract).await;
    let golden = Transcripts::tiny().expect("the fixture is there");
    let (say, requests) = mpsc::unbounded_channel();
    let mut responses = client.stream(UnboundedReceiverStream::new(requests), None).await.unwrap();

    // One after the other, under the same trace_id: it is free again after the last message.
    for expected in &golden.transcripts[..2] {
        say.send(request(&expected.prompt, "again", 48)).unwrap();
        let mut answer: Vec<ai_inference_proto::GenerationResponse> = Vec::new();
        while !answer.last().is_some_and(|response| response.end_of_stream) {
            answer.push(responses.next().await.unwrap().unwrap());
        }
        assert_eq!(text_of("again", &answer), expected.text);
    }

    // Together, each under its own.
    for (number, expected) in golden.transcripts.iter().enumerate() {
        say.send(request(&expected.prompt, &number.to_string(), 48)).unwrap();
    }
    drop(say);
    let all = responses.collect().await.unwrap();
    for (number, expected) in golden.transcripts.iter().enumerate() {
        let trace_id = number.to_string();
        let own: Vec<_> = all.iter().filter(|response| response.trace_id == trace_id).cloned().collect();
        assert_eq!(text_of(&trace_id, &own), expected.text);
    }
}

#[tokio::test]
async fn a_trace_id_in_use_ends_the_call_and_an_empty_one_is_replaced() {
    let server = start(&[]);
    let client = server.client(CyLlm).await;
    let twice = tokio_stream::iter([request("Hello", "same", 500), request("Hello", "same", 500)]);
    let refused = client.stream(twice, None).await.unwrap().collect().await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);

    let responses = client.generate(request("Hello", "", 4)).await.unwrap();
    assert!(!responses[0].trace_id.is_empty());
    text_of(&responses[0].trace_id, &responses);
}

#[tokio::test]
async fn wrong_requests_are_refused_and_the_next_is_served() {
    let server = start(&[]);
    let client = server.client(Contract).await;
    let good = || request("Hello", "t", 4);
    let sampled = |sampling: Sampling| GenerationRequest { sampling: Some(sampling), ..good() };
    let set = Sampling::default;
    let cases = [
        (GenerationRequest { model_id: "../tiny".to_owned(), ..good() }, Code::NotFound),
        (GenerationRequest { adapter: "../../etc/passwd".to_owned(), ..good() }, Code::NotFound),
        (request("", "t", 4), Code::InvalidArgument),
        (request(&"x".repeat(50_001), "t", 4), Code::InvalidArgument),
        (request(&"河".repeat(50_000), "t", 4), Code::InvalidArgument),
        (sampled(Sampling { max_new_tokens: -1, ..set() }), Code::InvalidArgument),
        (sampled(Sampling { temperature: f64::NAN, ..set() }), Code::InvalidArgument),
        (sampled(Sampling { top_p: 1.5, ..set() }), Code::InvalidArgument),
        (sampled(Sampling { repetition_penalty: f64::INFINITY, ..set() }), Code::InvalidArgument),
    ];
    for (bad, code) in cases {
        let refused = client.generate(bad).await.unwrap_err();
        assert_eq!(refused.code(), code, "{}", refused.message());
        assert!(!refused.message().contains("/etc") && !refused.message().contains("fixtures"));
        text_of("t", &client.generate(good()).await.unwrap());
    }
    let empty = client.stream(tokio_stream::empty(), None).await.unwrap();
    assert_eq!(empty.collect().await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(client.counter("requests_failed").await, 9);
    assert_eq!(client.counter("requests_success").await, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_of_a_batch_has_its_own_adapter() {
    let adapters = format!("--adapters={}", fixtures::adapters().display());
    let server = start(&[&adapters, "--slots=5"]);
    let client = server.client(CyLlm).await;
    let adapted = |prompt: &str, trace: &str, adapter: &str| GenerationRequest {
        model_id: "tiny-lora".to_owned(),
        adapter: adapter.to_owned(),
        ..request(prompt, trace, 48)
    };
    let plain = ("", Transcripts::tiny().unwrap());
    let shifted = Shift::ALL.map(|shift| (shift.name(), Transcripts::tiny_lora(shift).unwrap()));
    let mut running = JoinSet::new();
    for (adapter, golden) in [plain].into_iter().chain(shifted) {
        for (number, expected) in golden.transcripts.into_iter().enumerate() {
            let (client, trace) = (client.clone(), format!("{adapter} {number}"));
            let request = adapted(&expected.prompt, &trace, adapter);
            running.spawn(async move {
                let responses = client.generate(request).await.unwrap();
                assert_eq!(text_of(&trace, &responses), expected.text, "{trace}");
            });
        }
    }
    running.join_all().await;

    let client = client;
    for unknown in [
        "nobody",
        "../adapters/shift1",
        "/etc/passwd",
        "shift1/../shift2",
        "..",
        "shift3/adapter_config.json",
    ] {
        let refused = client.generate(adapted("Hello", "t", unknown)).await.unwrap_err();
        let said = (refused.code(), refused.message().to_owned());
        let expected = match unknown {
            "shift3/adapter_config.json" => (Code::InvalidArgument, "the adapter does not fit this model"),
            _ => (Code::NotFound, "the adapter is not known here"),
        };
        assert_eq!(said, (expected.0, expected.1.to_owned()), "{unknown}");
    }
    let takes_none = GenerationRequest { adapter: "shift1".to_owned(), ..request("Hello", "t", 4) };
    assert_eq!(client.generate(takes_none).await.unwrap_err().code(), Code::InvalidArgument);
    text_of("t", &client.generate(adapted("Hello", "t", "shift2")).await.unwrap());
}

#[tokio::test]
async fn cancelled_and_late_calls_free_what_they_held() {
    let server = start(&["--slots=2"]);
    let client = server.client(Contract).await;
    let mut calls = Vec::new();
    for number in 0..20 {
        let long = tokio_stream::once(request("Hello", &number.to_string(), 1000));
        let mut call = client.stream(long, None).await.unwrap();
        if number == 0 {
            call.next().await.unwrap();
        }
        calls.push(call);
    }
    assert!(client.counter("requests_inflight").await > 10);
    drop(calls);
    client.until("requests_inflight", 0).await;
    client.until("slots_busy", 0).await;
    client.until("queue_waiting", 0).await;

    // The stream stays open, so that only the deadline can end it.
    let open = tokio_stream::once(request("Hello", "t", 4)).chain(tokio_stream::pending());
    let call = client.stream(open, Some(Duration::from_millis(300))).await.unwrap();
    let began = Instant::now();
    assert!(matches!(call.collect().await.unwrap_err().code(), Code::DeadlineExceeded | Code::Cancelled));
    assert!(began.elapsed() < Duration::from_secs(5));
    text_of("t", &client.generate(request("Hello", "t", 4)).await.unwrap());
}

#[tokio::test]
async fn commands_are_answered() {
    let server = start(&[]);
    let client = server.client(CyLlm).await;
    let mut long = {
        let requests = tokio_stream::once(request("Hello", "long", 900));
        client.stream(requests, None).await.unwrap()
    };
    let first = long.next().await.unwrap().unwrap();
    let answer = async |command, payload: &[(&str, &str)]| {
        let answer = client.control(command, payload).await.unwrap();
        assert_eq!((answer.trace_id, answer.command), ("control".to_owned(), format!("{command}_response")));
        answer.payload
    };
    let pong = answer("ping", &[]).await;
    assert_eq!((pong["status"].as_str(), pong["message"].as_str()), ("ok", "pong"));
    assert_eq!(answer("list_models", &[]).await["models"], "tiny,tiny-lora");
    let unknown = answer("dance", &[]).await;
    assert!(unknown["status"] == "error" && unknown["message"].contains("dance"));
    assert_eq!(answer("unload_model", &[]).await["status"], "error");
    assert_eq!(answer("load_model", &[("model_id", "nobody")]).await["status"], "error");
    assert_eq!(answer("unload_model", &[("model_id", "nobody")]).await["status"], "error");
    assert_eq!(answer("unload_model", &[("model_id", "tiny")]).await["status"], "ok");

    // What ran when the model was unloaded goes on to its end, and the next request loads it again.
    let mut responses = vec![first];
    responses.extend(long.collect().await.unwrap());
    text_of("long", &responses);
    assert!(responses.len() > 500);
    text_of("t", &client.generate(request("Hello", "t", 4)).await.unwrap());
    assert_eq!(client.control("load_model", &[("model_id", "tiny")]).await.unwrap().payload["status"], "ok");
}

#[tokio::test]
async fn a_token_is_asked_for_where_one_is_set() {
    let server = start_at(&fresh_socket(), &["--token-env=SECRET"], &[("SECRET", "s3cret")]);
    let stranger = server.client(Contract).await;
    assert_eq!(stranger.control("ping", &[]).await.unwrap_err().code(), Code::Unauthenticated);
    let refused = stranger.stream(tokio_stream::pending(), None).await.map(drop).unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "without waiting for a request");
    assert!(stranger.health().await.unwrap().healthy);
    assert!(
        stranger.clone().with_header("authorization", "Bearer s3cre").control("ping", &[]).await.is_err()
    );
    let friend = stranger.with_header("authorization", "Bearer s3cret");
    text_of("t", &friend.generate(request("Hello", "t", 4)).await.unwrap());
}

#[tokio::test]
async fn health_checking_reflection_and_plain_http_are_answered() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let server = start(&[]);
    let endpoint = Endpoint::from_shared(format!("http://{}", server.addresses[1])).unwrap();
    let mut channel = endpoint.connect().await.unwrap();
    for service in ["", "AiInference", "cy.llm.AiInference"] {
        let asked = HealthCheckRequest { service: service.to_owned() };
        let answer = HealthClient::new(channel.clone()).check(asked).await.unwrap();
        assert_eq!(answer.into_inner().status, 1, "{service:?} is SERVING");
    }

    let asked = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(channel.clone());
    let mut answers =
        reflection.server_reflection_info(tokio_stream::once(asked)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(services) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = services.service.into_iter().map(|service| service.name).collect();
    assert!(names.iter().any(|name| name == "AiInference"));
    assert!(names.iter().any(|name| name == "cy.llm.AiInference"));

    // An error that repeats what was asked for fits into a frame.
    for length in [40, 1 << 20] {
        let asked = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::FileContainingSymbol("x".repeat(length))),
        };
        let mut answers =
            reflection.server_reflection_info(tokio_stream::once(asked)).await.unwrap().into_inner();
        let status = answers.message().await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::NotFound, "for a name of {length} bytes");
    }

    let plain = http::Request::post(format!("http://{}/AiInference/Health", server.addresses[1]))
        .header("content-type", "application/json")
        .body(tonic::body::Body::empty())
        .unwrap();
    std::future::poll_fn(|context| channel.poll_ready(context)).await.unwrap();
    assert_eq!(channel.call(plain).await.unwrap().status(), 415);
}

/// A client built on gRPC's C core sends the socket's path, percent-encoded, as `:authority`.
#[tokio::test]
async fn the_c_cores_authority_is_accepted_on_a_unix_socket() {
    let server = start(&[]);
    let hello = [
        PREFACE,
        &frame(SETTINGS, 0, 0, &[]),
        &frame(HEADERS, END_HEADERS, 1, &block("/AiInference/Health", "tmp%2Fa.sock")),
        &message(END_STREAM, 1, &[]),
    ]
    .concat();
    let mut socket = UnixStream::connect(server.socket()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.write_all(&hello).unwrap();
    let mut head = [0; 9];
    loop {
        socket.read_exact(&mut head).unwrap();
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        socket.read_exact(&mut vec![0; length]).unwrap();
        if head[8] == 1 {
            break assert_eq!(
                head[3], 1,
                "the first frame on the stream is the answer's headers, not a reset"
            );
        }
    }
}

#[tokio::test]
async fn a_drain_lets_running_generations_finish() {
    let mut server = start(&["--slots=2"]);
    let client = server.client(Contract).await;
    let mut calls = Vec::new();
    for number in 0..40 {
        let long = tokio_stream::once(request("Hello", &number.to_string(), 1000));
        calls.push(client.stream(long, None).await.unwrap());
    }
    client.until("requests_inflight", 40).await;
    server.terminate().unwrap();
    while client.health().await.unwrap().healthy {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let newcomer = server.client(CyLlm).await;
    let refused = newcomer.generate(request("Hello", "late", 4)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    let mut reading = JoinSet::new();
    for (number, call) in calls.into_iter().enumerate() {
        reading.spawn(async move { (number, call.collect().await.unwrap()) });
    }
    for (number, responses) in reading.join_all().await {
        text_of(&number.to_string(), &responses);
    }
    assert!(server.exit(SOON).await.unwrap().success());
    assert!(!server.socket().exists(), "the socket's file is gone");
}

#[tokio::test]
async fn a_drain_ends_at_its_grace_time_and_says_so() {
    let mut server = start(&["--slots=1", "--grace=100ms"]);
    let client = server.client(Contract).await;
    let mut calls = Vec::new();
    for number in 0..100 {
        let long = tokio_stream::once(request("Hello", &number.to_string(), 1000));
        calls.push(client.stream(long, None).await.unwrap());
    }
    client.until("requests_inflight", 100).await;
    server.terminate().unwrap();
    let last = calls.pop().unwrap().collect().await.unwrap_err();
    assert_eq!(last.code(), Code::Unavailable);
    drop(calls);
    assert!(server.exit(SOON).await.unwrap().success());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_respected() {
    let mut first = start(&[]);
    let mode = fs::metadata(first.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let thief = command(&[&listen(&first.socket())], &[]).output().unwrap();
    assert_eq!(thief.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&thief.stderr).contains("belongs to a running server"));
    assert!(first.client(Contract).await.health().await.unwrap().healthy);

    first.kill().unwrap();
    assert!(first.socket().exists(), "a killed server leaves its file");
    let second = start_at(&first.socket(), &[], &[]);
    assert!(second.client(Contract).await.health().await.unwrap().healthy);
}

#[test]
fn wrong_configurations_exit_with_2_and_say_what_to_do() {
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);
    let cases: [Case<'_>; 4] = [
        (&["--token-env=NOT_SET"], &[], "NOT_SET"),
        (&["--listen=nonsense"], &[], "unix:///abs/path"),
        (&["--provider=cuda"], &[], "no CUDA support"),
        (&[], &[("ORT_DYLIB_PATH", "/nonexistent/library.so")], "ORT_DYLIB_PATH"),
    ];
    for (args, environment, words) in cases {
        let refused = command(args, environment).output().unwrap();
        let message = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{message}");
        assert!(message.contains(words), "{message}");
    }
}

const SOON: Duration = Duration::from_secs(10);
