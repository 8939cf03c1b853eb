//! What operators see of the binary: its configuration, its metrics, its log, and its probes while it drains.

#![expect(clippy::float_cmp, reason = "metrics are floats, and counts are whole numbers in them")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use ai_inference_proto::{
    Dialect::{Contract, CyLlm},
    GenerationRequest, Sampling,
};
use reference_sidecar::{package::Package, text::Tokenizer};
use serde_json::Value;
use support::server::{command, listen};
use tempfile::NamedTempFile;
use testkit::{Server, fresh_socket, request};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};
use tonic::Code;

const GUIDE: &str = include_str!("../../docs/guides/sidecar.md");
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A sidecar with its metrics on a port and its log in a file.
struct Operated {
    sidecar: Server,
    metrics: String,
    log: NamedTempFile,
}

impl Operated {
    fn start(args: &[&str], environment: &[(&str, &str)]) -> Self {
        let log = NamedTempFile::new().unwrap();
        let mut command = command(args, environment);
        command.arg(listen(&fresh_socket())).arg("--metrics-listen=127.0.0.1:0");
        let started = Server::start(command.stderr(log.reopen().unwrap()), 2);
        let sidecar =
            started.unwrap_or_else(|error| panic!("{error}: {}", fs::read_to_string(&log).unwrap()));
        let metrics = sidecar.addresses[1].strip_prefix("http://").unwrap();
        let metrics = metrics.strip_suffix("/metrics").unwrap().to_owned();
        Self { sidecar, metrics, log }
    }

    /// The status and the body of a page.
    async fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.metrics).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: sidecar\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Every sample, by its name with labels.
    async fn samples(&self) -> BTreeMap<String, f64> {
        let (status, text) = self.get("/metrics").await;
        assert_eq!(status, 200);
        assert!(text.ends_with("# EOF\n"));
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.map(|line| line.rsplit_once(' ').unwrap());
        samples.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
    }

    /// Ends it, and returns what it logged.
    async fn end(mut self) -> String {
        self.sidecar.terminate().unwrap();
        assert!(self.sidecar.exit(SOON).await.unwrap().success());
        fs::read_to_string(&self.log).unwrap()
    }
}

/// A file that is gone with the test.
struct Written(NamedTempFile);

impl Written {
    fn new(text: &str) -> Self {
        let file = NamedTempFile::new().unwrap();
        fs::write(&file, text).unwrap();
        Self(file)
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let file =
        Written::new("slots = 3\nqueue = 5\ngrace = \"7s\"\ntoken_env = \"SECRET\"\n[onnx]\nthreads = 2\n");
    let printed = Command::new(env!("CARGO_BIN_EXE_reference-sidecar"))
        .args(["config", "--grace=9s", "--config", file.path()])
        .envs([("SIDECAR_QUEUE", "6"), ("SIDECAR_GRACE", "8s"), ("SECRET", "s3cret")])
        .output()
        .unwrap();
    let text = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    for line in [
        "slots = 3 # file",
        "queue = 6 # environment",
        "grace = \"9s\" # flag",
        "threads = 2 # file",
        "log_format = \"text\" # default",
        "token_env = \"SECRET\" # file",
    ] {
        assert!(text.lines().any(|printed| printed == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("s3cret"));
}

#[test]
fn an_empty_variable_is_not_set_and_a_word_is_no_log_filter() {
    let run = |name: &str, value: &str, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reference-sidecar"));
        command.args(arguments).env(name, value).output().unwrap()
    };
    for name in ["SIDECAR_SLOTS", "SIDECAR_CONFIG", "SIDECAR_GRACE", "SIDECAR_LOG", "SIDECAR_DEFAULT_MODEL"] {
        let printed = run(name, "", &["config"]);
        assert!(printed.status.success(), "{name}: {}", String::from_utf8_lossy(&printed.stderr));
    }
    for arguments in [&["config"][..], &["models", "list", "fixtures"]] {
        let refused = run("SIDECAR_LOG", "loud", arguments);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains("SIDECAR_LOG") && said.contains("\"loud\" is no level"), "{said}");
    }
}

#[test]
fn a_wrong_file_exits_with_2_and_says_where_and_what() {
    let missing = "/nonexistent/sidecar.toml";
    let (zero, typing) = (Written::new("queue = 1\nslots = 0\n"), Written::new("\n\nqeue = 3\n"));
    let nowhere = Written::new("listen = []");
    let (range, level) = (Written::new("[onnx]\nthreads = 2000"), Written::new("log = \"x=loud\""));
    for (path, words) in [
        (missing, [missing, "No such file"]),
        (zero.path(), ["line 2", "expected a number from 1 to 256"]),
        (typing.path(), ["line 3", "unknown field `qeue`"]),
        (range.path(), ["line 2", "expected a number from 1 to 1024"]),
        (nowhere.path(), ["listen", "at least one address"]),
        (level.path(), ["log (--log)", "expected a level"]),
    ] {
        let refused = command(&["--config", path], &[]).output().unwrap();
        let message = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{message}");
        assert!(words.iter().all(|words| message.contains(words)), "{message}");
    }
}

#[tokio::test]
async fn metrics_count_exactly_what_happened() {
    let file = Written::new("slots = 1\nqueue = 0\n");
    let server = Operated::start(&["--config", file.path()], &[]);
    let client = server.sidecar.client(Contract).await;
    let good = || request("Hello", "t", 4);
    for _ in 0..3 {
        client.generate(good()).await.unwrap();
    }
    server.sidecar.client(CyLlm).await.generate(good()).await.unwrap();

    let unknown = GenerationRequest { model_id: "mallory".to_owned(), ..good() };
    let parameter =
        GenerationRequest { sampling: Some(Sampling { top_p: 7.0, ..Sampling::default() }), ..good() };
    let adapter = GenerationRequest { adapter: "../../etc/passwd".to_owned(), ..good() };
    for bad in [unknown, parameter, adapter] {
        client.generate(bad).await.unwrap_err();
    }

    // One runs and is not read; there is no queue, so the next is too many. Then its caller leaves.
    let mut long = client.stream(tokio_stream::once(request("Hello", "long", 1000)), None).await.unwrap();
    long.next().await.unwrap().unwrap();
    let full = client.generate(good()).await.unwrap_err();
    assert_eq!(full.code(), Code::ResourceExhausted);
    let now = server.samples().await;
    assert_eq!(now["sidecar_requests_inflight"], 1.0);
    assert_eq!((now["sidecar_slots_busy{model=\"tiny\"}"], now["sidecar_slots{model=\"tiny\"}"]), (1.0, 1.0));
    drop(long);
    client.until("requests_inflight", 0).await;

    let now = server.samples().await;
    let expected = [
        ("requests_total{model=\"tiny\",dialect=\"contract\",outcome=\"ok\"}", 3),
        ("requests_total{model=\"tiny\",dialect=\"cy.llm\",outcome=\"ok\"}", 1),
        ("requests_total{model=\"tiny\",dialect=\"contract\",outcome=\"cancelled\"}", 1),
        ("requests_total{model=\"tiny\",dialect=\"contract\",outcome=\"refused\"}", 2),
        ("requests_total{model=\"\",dialect=\"contract\",outcome=\"refused\"}", 2),
        ("refusals_total{reason=\"model_unknown\"}", 1),
        ("refusals_total{reason=\"parameter\"}", 1),
        ("refusals_total{reason=\"adapter_unknown\"}", 1),
        ("refusals_total{reason=\"queue_full\"}", 1),
        ("prompt_tokens_total{model=\"tiny\"}", 6 * tokens_of("Hello")),
        ("time_to_first_token_seconds_count{model=\"tiny\"}", 5),
        ("time_per_output_token_seconds_count{model=\"tiny\"}", 5),
        ("request_duration_seconds_count{model=\"tiny\"}", 4),
        ("requests_inflight", 0),
        ("models_loaded", 1),
    ];
    for (name, count) in expected {
        assert_eq!(now.get(&format!("sidecar_{name}")).copied(), Some(count as f64), "{name} in {now:#?}");
    }
    let requests: f64 = sum(&now, "sidecar_requests_total");
    assert_eq!(requests, 9.0, "and nothing else was counted");
    assert!(!now.keys().any(|name| name.contains("mallory") || name.contains("etc")), "{now:#?}");

    every_name_is_in_the_guide_and_every_name_of_the_guide_is_here(&server.get("/metrics").await.1);
}

fn every_name_is_in_the_guide_and_every_name_of_the_guide_is_here(text: &str) {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let names: Vec<_> = types
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        })
        .collect();
    assert!(names.len() > 12, "{names:?}");
    for name in &names {
        assert!(GUIDE.contains(&format!("| `{name}` |")), "docs/guides/sidecar.md does not tell of {name}");
    }
    let rows = GUIDE.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let documented = rows.map(|(name, _)| name).filter(|name| name.starts_with("sidecar_"));
    for name in documented {
        assert!(names.iter().any(|known| known == name), "there is no {name}");
    }
}

#[tokio::test]
async fn counters_do_not_fall_when_a_model_is_unloaded_and_loaded_again() {
    let server = Operated::start(&[], &[]);
    let client = server.sidecar.client(Contract).await;
    let counters = ["generation_tokens", "prefill_tokens", "prompt_tokens"];
    let names = counters.map(|name| format!("sidecar_{name}_total{{model=\"tiny\"}}"));
    let mut before = [0.0; 3];
    for _ in 0..3 {
        client.generate(request("Hello", "t", 4)).await.unwrap();
        let loaded = client.control("unload_model", &[("model_id", "tiny")]).await.unwrap();
        assert_eq!(loaded.payload["status"], "ok");
        let samples = server.samples().await;
        assert_eq!(samples["sidecar_models_loaded"], 0.0);
        let now = [&names[0], &names[1], &names[2]].map(|name| samples[name]);
        assert!(now.iter().zip(before).all(|(now, before)| *now > before), "{now:?} after {before:?}");
        before = now;
    }
    let expected = 3 * tokens_of("Hello");
    assert_eq!((before[1], before[2]), (expected as f64, expected as f64));
}

#[tokio::test]
async fn a_json_log_has_one_line_a_generation_and_no_prompt() {
    let server = Operated::start(&["--log-format=json"], &[]);
    let client = server.sidecar.client(CyLlm).await.with_header("traceparent", TRACEPARENT);
    let forged = "x\n{\"level\":\"ERROR\",\"message\":\"forged\"}";
    let answer = client.generate(request("Hello", "trace-of-json", 4)).await.unwrap();
    let said: String = answer.iter().map(|response| response.chunk.as_str()).collect();
    client.generate(request("Hello", forged, 4)).await.unwrap();
    let bad = GenerationRequest { adapter: "secret-adapter".to_owned(), ..request("Hello", "refused", 4) };
    client.generate(bad).await.unwrap_err();
    let careless = server.sidecar.client(Contract).await.with_header("traceparent", "00-not-a-trace");
    careless.generate(request("Hello", &"long".repeat(1000), 4)).await.unwrap();

    let log = server.end().await;
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let access: Vec<_> = lines.iter().filter(|line| line["message"] == "generation").collect();
    assert_eq!(access.len(), 4, "{log}");
    assert_eq!(access[0]["trace_id"], "trace-of-json");
    assert_eq!(access[0]["parent_trace_id"], TRACE);
    assert_eq!((&access[0]["model"], &access[0]["dialect"]), (&"tiny".into(), &"cy.llm".into()));
    assert_eq!((&access[0]["outcome"], &access[0]["generated_tokens"]), (&"ok".into(), &4.into()));
    assert_eq!(access[0]["prompt_tokens"], tokens_of("Hello"));
    assert!(access[0]["ttft_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(access[1]["trace_id"], forged);
    assert_eq!((&access[2]["outcome"], &access[2]["reason"]), (&"refused".into(), &"adapter_unknown".into()));
    assert_eq!(access[3]["parent_trace_id"], Value::Null, "an invalid traceparent is ignored");
    assert_eq!(access[3]["trace_id"].as_str().unwrap().len(), 64, "the log keeps its start");
    for private in ["Hello", said.as_str(), "secret-adapter"] {
        assert!(!private.is_empty() && !log.contains(private), "{private:?} is in\n{log}");
    }
}

#[tokio::test]
async fn a_trace_id_cannot_forge_a_line_of_a_text_log() {
    let server = Operated::start(&[], &[("SIDECAR_LOG", "debug")]);
    let client = server.sidecar.client(Contract).await;
    let forged = "x\n2030-01-01T00:00:00.000000Z ERROR forged: \u{1b}[31mred\r\u{85}\u{2028}";
    client.generate(request("Hello", forged, 4)).await.unwrap();
    let log = server.end().await;
    assert!(log.contains("trace_id=\"x\\n2030"), "{log}");
    assert!(!log.lines().any(|line| line.starts_with("2030")), "{log}");
    let control = |char: char| char.is_control() && char != '\n';
    assert!(!log.contains(control) && !log.contains('\u{2028}'), "{log:?}");
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_nobody_up() {
    let mut command = command(&[&listen(&fresh_socket())], &[]);
    let server = Server::start(command.stderr(Stdio::piped()), 1).unwrap();
    let client = server.client(Contract).await;
    // Several times what a pipe holds.
    for _ in 0..1500 {
        let bad = GenerationRequest { adapter: "none".to_owned(), ..request("Hello", &"t".repeat(64), 4) };
        let refused = timeout(Duration::from_secs(20), client.generate(bad)).await.expect("it is answered");
        assert_eq!(refused.unwrap_err().code(), Code::NotFound);
    }
    assert_eq!(client.counter("requests_failed").await, 1500);
}

#[tokio::test]
async fn probes_and_metrics_answer_until_the_end_of_a_drain() {
    let mut server = Operated::start(&["--grace=60s"], &[]);
    let client = server.sidecar.client(Contract).await;
    assert_eq!(server.get("/readyz").await.0, 200);
    assert_eq!(server.get("/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(server.get("/nothing").await.0, 404);

    // Not read, so that it cannot end.
    let mut long = client.stream(tokio_stream::once(request("Hello", "long", 1000)), None).await.unwrap();
    long.next().await.unwrap().unwrap();
    server.sidecar.terminate().unwrap();
    let mut ready = server.get("/readyz").await.0;
    for _ in 0..500 {
        if ready == 503 {
            break;
        }
        sleep(Duration::from_millis(10)).await;
        ready = server.get("/readyz").await.0;
    }
    assert_eq!(ready, 503);
    assert_eq!(server.get("/healthz").await.0, 200);
    assert_eq!(server.samples().await["sidecar_requests_inflight"], 1.0);
    assert!(server.sidecar.exit(Duration::ZERO).await.is_err(), "it waits for what runs");
    drop(long);
    drop(client);
    assert!(server.sidecar.exit(SOON).await.unwrap().success());
}

#[tokio::test]
async fn scrapers_that_say_nothing_do_not_delay_others_for_long() {
    let server = Operated::start(&[], &[]);
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(&server.metrics).await.unwrap());
    }
    let began = Instant::now();
    assert_eq!(server.get("/healthz").await.0, 200);
    assert_eq!(server.get("/readyz").await.0, 200);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let mut post = TcpStream::connect(&server.metrics).await.unwrap();
    post.write_all(b"POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    post.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
}

fn sum(samples: &BTreeMap<String, f64>, name: &str) -> f64 {
    let of = |(known, _): &(&String, &f64)| known.split('{').next() == Some(name);
    samples.iter().filter(of).map(|(_, value)| value).sum()
}

fn tokens_of(text: &str) -> u64 {
    let package = Package::open(&fixtures::models().join("tiny")).unwrap();
    Tokenizer::open(package.tokenizer()).unwrap().encode(text).unwrap().len() as u64
}

const SOON: Duration = Duration::from_secs(10);
