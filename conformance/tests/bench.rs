//! The benchmark against endpoints whose pace is known: what it says must be what they do.

use std::{
    path::Path,
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use ai_inference_proto::{ControlMessage, Dialect, GenerationRequest};
use exemplar::{self, Behaviour, Conformant, Pace, Paced, Running, State};
use latency::{
    Endpoint,
    arrivals::Load,
    compare::{Comparison, Conclusion},
    load::{self, Job, Tally},
    metrics::{Metric, milliseconds, quantile},
    prompts::Prompts,
    record::{Outcome, Recording, RequestRecord, Setup},
    report::{Objectives, Report},
};
use tonic::{Status, async_trait};
use wire::Tls;

const PACE: Pace = Pace {
    ttft: Duration::from_millis(50),
    gap: Duration::from_millis(10),
    slow_one_in: 0,
    slow_by: 1.0,
    stall: Duration::ZERO,
    stall_every: Duration::ZERO,
};

#[tokio::test]
async fn a_known_pace_is_measured_in_both_dialects() {
    let server = serve(Paced::new(PACE)).await;
    for dialect in Dialect::ALL {
        let job = job_in(dialect, &server, "constant:20");
        let requests = load::run(&job, &Tally::default()).await.unwrap();
        assert_eq!(requests.len(), 40);
        assert!(requests.iter().all(|r| r.is_complete() && r.chunks.len() == 8), "{:?}", requests[0]);
        // As near as a test on a busy machine may ask; how near it is in truth is the benchmark's own business.
        let (ttft, tpot) = (at(Metric::Ttft, &requests, 0.5), at(Metric::Tpot, &requests, 0.5));
        assert!((50.0..200.0).contains(&ttft), "{dialect:?}: {ttft} ms");
        assert!((5.0..50.0).contains(&tpot), "{dialect:?}: {tpot} ms");
        let told = requests[0].server_ttft_ms.is_some();
        assert_eq!(told, dialect == Dialect::CyLlm, "only cy.llm has the server's own figure");
    }
}

#[tokio::test]
async fn a_stall_is_seen_by_every_request_that_was_due_in_it() {
    let pace = Pace { ttft: Duration::from_millis(5), gap: Duration::ZERO, ..PACE };
    let pace = Pace { stall: Duration::from_millis(500), stall_every: Duration::from_secs(2), ..pace };
    let server = serve(Paced::new(pace)).await;
    // One stream, as a gateway may have: those who are due in the stall wait behind the one that it holds.
    let open = Job { length: Duration::from_secs(4), most_running: 1, ..job(&server, "constant:50") };
    let open = load::run(&open, &Tally::default()).await.unwrap();
    let (planned, actual) = (at(Metric::Ttft, &open, 0.9), at(Metric::TtftActual, &open, 0.9));
    assert!(planned > 250.0, "a quarter of all requests were due in a stall: {planned} ms");
    assert!(actual < planned / 2.0, "from the actual send time hardly one has waited: {actual} ms");
    let lag = at(Metric::Lag, &open, 0.5);
    assert!(lag < 50.0, "waiting for a stream is not the client's own lag: {lag} ms");

    let closed = Job { length: Duration::from_secs(4), ..job(&server, "closed:1") };
    let closed = load::run(&closed, &Tally::default()).await.unwrap();
    let blind = at(Metric::Ttft, &closed, 0.9);
    assert!(blind < planned / 2.0, "a closed loop asks less of a server that stalls: {blind} ms");
}

#[tokio::test]
async fn requests_that_fail_make_the_figures_invalid() {
    let server = serve(Conformant).await;
    let job = Job { model: "unheard-of".to_owned(), ..job(&server, "closed:2") };
    let job = Job { length: Duration::from_millis(200), ..job };
    let requests = load::run(&job, &Tally::default()).await.unwrap();
    assert!(
        requests.iter().all(|r| r.outcome == Outcome::Status("NOT_FOUND".to_owned())),
        "{:?}",
        requests[0]
    );
    assert!(requests.len() < 50, "a server that refuses at once is not asked without a pause");
    let report = Report::new(setup(), &requests, Objectives::default());
    assert_eq!(report.invalid, ["no request was answered"]);
    assert_eq!(report.metric(Metric::Ttft), None);
}

#[tokio::test]
async fn a_run_that_is_stopped_reports_what_it_has() {
    let server = serve(Paced::new(PACE)).await;
    let (job, tally) =
        (Job { length: Duration::from_mins(1), ..job(&server, "constant:50") }, Tally::default());
    let stop = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        tally.stop();
    };
    let (requests, ()) = tokio::join!(load::run(&job, &tally), stop);
    let requests = requests.unwrap();
    let cut = requests.iter().filter(|request| request.outcome == Outcome::Cut).count();
    assert!(cut >= 1 && requests.len() - cut > 10, "{cut} of {}", requests.len());
    let report = Report::new(setup(), &requests, Objectives::default());
    assert!(!report.invalid.iter().any(|why| why.contains("failed")), "{:?}", report.invalid);
}

#[tokio::test]
async fn a_recording_gives_the_same_figures_again() {
    let server = serve(Paced::new(PACE)).await;
    let job = Job { length: Duration::from_millis(500), ..job(&server, "poisson:30") };
    let requests = load::run(&job, &Tally::default()).await.unwrap();
    let recording = Recording { setup: setup(), requests };
    let file = tempfile::NamedTempFile::new().unwrap();
    recording.write(file.path()).unwrap();
    let again = Recording::read(file.path()).unwrap();
    assert_eq!(again, recording);
    let report = |r: &Recording| Report::new(r.setup.clone(), &r.requests, Objectives::default());
    assert_eq!(report(&again), report(&recording));
}

#[test]
fn the_program_measures_an_endpoint_that_it_starts_and_leaves_its_files() {
    let directory = tempfile::tempdir().unwrap();
    let serve = format!("{PROGRAM} serve exemplar --listen 127.0.0.1:0 --ttft 5ms --gap 1ms");
    let output =
        bench(&["--spawn", &serve, "--load", "closed:4", "--length", "1s", "--json"], directory.path());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: Report = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report.metric(Metric::Ttft).is_some_and(|ttft| ttft.p50 >= 5.0), "{report:?}");
    let file = |name: &str| directory.path().join(name);
    let recording = Recording::read(&file("requests.jsonl.gz")).unwrap();
    let again = Report::new(recording.setup, &recording.requests, report.objectives);
    let again: Report = serde_json::from_str(&serde_json::to_string(&again).unwrap()).unwrap();
    assert_eq!(report, again, "all figures can be made again from the recording");
    let table = std::fs::read_to_string(file("requests.csv")).unwrap();
    assert_eq!(table.lines().count(), recording.requests.len() + 1);
    for name in ["report.json", "requests.csv"] {
        assert!(!std::fs::read_to_string(file(name)).unwrap().contains(TOKEN), "{name} holds the token");
    }
}

/// A server with two models.
struct TwoModels {
    /// The second is its own; else a request has to name one.
    own: bool,
}

#[async_trait]
impl Behaviour for TwoModels {
    async fn control(&self, state: &State, message: ControlMessage) -> Result<ControlMessage, Status> {
        let mut answer = state.control(&message);
        answer.payload.entry("models".to_owned()).and_modify(|models| models.insert_str(0, "other, "));
        Ok(answer)
    }

    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        match request.model_id.as_str() {
            "other" => Ok(()),
            "" if !self.own => Err(Status::invalid_argument("name a model")),
            _ => state.admit(request),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_models_the_endpoints_own_is_measured_and_that_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let measured = |server: &Running, wished: &[&str]| {
        let target = server.addresses[0].to_string();
        let args =
            [&["--target", &target, "--length", "200ms", "--warm-up", "0s", "--json"], wished].concat();
        let output = bench(&args, directory.path());
        let report: Report =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (report.setup.model, String::from_utf8(output.stderr).unwrap())
    };
    let own = serve(TwoModels { own: true }).await;
    let (model, said) = measured(&own, &[]);
    assert_eq!(model, "");
    assert!(said.contains("other, exemplar; measuring the endpoint's default"), "{said}");
    assert_eq!(measured(&own, &["--model", "exemplar"]).0, "exemplar");
    let none = serve(TwoModels { own: false }).await;
    assert_eq!(measured(&none, &[]).0, "other", "the first that is listed");

    // One server, two models.
    let address = own.addresses[0].to_string();
    let output = Command::new(PROGRAM)
        .args(["bench", "compare", "--baseline", &address, "--candidate", &address, "--model", "other"])
        .args(["--candidate-model", "exemplar", "--length", "200ms", "--warm-up", "0s", "--looks", "2"])
        .arg("--output")
        .arg(directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("The baseline's model is other, the candidate's exemplar."), "{output:?}");
}

#[test]
fn what_cannot_be_measured_is_said_by_the_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    let absent = ["--target", "127.0.0.1:1"];
    for (args, code, words) in [
        (vec!["--target", "127.0.0.1:1"], 3, "127.0.0.1:1"),
        ([&absent[..], &["--load", "burst:3"]].concat(), 2, "closed:8"),
        ([&absent[..], &["--prompts", "file:/nonexistent"]].concat(), 2, "/nonexistent"),
        // Found before the target is asked: else the exit code were 3.
        ([&absent[..], &["--load", "trace:/nonexistent"]].concat(), 2, "/nonexistent"),
        ([&absent[..], &["--length", "0s"]].concat(), 2, "above zero"),
        ([&absent[..], &["--timeout", "0s"]].concat(), 2, "above zero"),
        ([&absent[..], &["--load", "constant:100000", "--length", "24h"]].concat(), 2, "8640000000 requests"),
    ] {
        let output = bench(&args, directory.path());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "{said}");
    }
    let serve = format!("{PROGRAM} serve --listen 127.0.0.1:0");
    let refused = ["--spawn", &serve, "--model", "unheard-of", "--length", "300ms", "--warm-up", "0s"];
    let output = bench(&refused, directory.path());
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("INVALID: no request was answered"));
}

#[test]
fn a_share_above_one_is_refused_with_what_may_be_meant() {
    let compare = |delta: &str| {
        let sides = ["--baseline", "127.0.0.1:1", "--candidate", "127.0.0.1:1"];
        let place = tempfile::tempdir().unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(["bench", "compare"]).args(sides).args(["--delta", delta]);
        let output = command.arg("--output").arg(place.path()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = compare("4");
    assert!(code == Some(2) && said.contains("did you mean 4%?"), "{said}");
    for understood in ["4%", "0.04"] {
        assert_eq!(compare(understood).0, Some(3), "nothing listens there");
    }
}

#[test]
fn a_scenario_stands_for_the_options_that_are_not_given() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("three.toml");
    std::fs::write(&file, "load = 'closed:3'\nlength = '300ms'\nwarm-up = '0s'\ntokens = 4").unwrap();
    let serve = format!("{PROGRAM} serve exemplar --listen 127.0.0.1:0 --ttft 5ms --gap 1ms");
    let scenario = file.display().to_string();
    let args = ["--spawn", &serve, "--scenario", &scenario, "--tokens", "6", "--json"];
    let output = bench(&args, directory.path());
    let report: Report = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report.setup.load.as_str(), report.setup.tokens), ("closed:3", 6));

    std::fs::write(&file, "token = 'secret'").unwrap();
    let output = bench(&args, directory.path());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("three.toml") && said.contains("\"token\""), "{said}");
}

#[test]
fn every_scenario_of_the_repository_can_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/scenarios");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let scenarios: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    assert!(scenarios.len() >= 5, "{scenarios:?}");
    for path in scenarios {
        // Only after the whole scenario was understood is it found out that no server listens there.
        let scenario = format!("--scenario={}", path.display());
        let output = bench(&["--target", "127.0.0.1:1", &scenario], directory.path());
        assert_eq!(output.status.code(), Some(3), "{}: {output:?}", path.display());
    }
}

#[test]
fn a_candidate_that_is_much_slower_fails_and_one_that_says_other_things_is_invalid() {
    let directory = tempfile::tempdir().unwrap();
    let serve = |pace: &str| format!("cmd:{PROGRAM} serve exemplar --listen 127.0.0.1:0 {pace}");
    let compare = |candidate: &str, more: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(["bench", "compare", "--baseline", &serve("--ttft 20ms"), "--candidate", candidate]);
        command.args(["--length", "500ms", "--warm-up", "0s", "--tokens", "4", "--load", "closed:2"]);
        command.args(["--looks", "3,6", "--output"]).arg(directory.path()).args(more);
        command.output().expect("the program runs")
    };
    // Three times as slow, which no busy machine hides.
    let slower = compare(&serve("--ttft 60ms"), &[]);
    assert_eq!(slower.status.code(), Some(1), "{slower:?}");
    let file = std::fs::read_to_string(directory.path().join("comparison.json")).unwrap();
    let comparison: Comparison = serde_json::from_str(&file).unwrap();
    assert_eq!(comparison.conclusion, Conclusion::Fail);
    let ttft = &comparison.rows[0].finding;
    assert_eq!(ttft.metric, "ttft");
    assert!(ttft.low > 1.05 && (2.0..4.0).contains(&ttft.centre), "{ttft:?}");

    // Faster, because it says something else.
    let other = compare(&serve("--mutant SAMPLING-003"), &[]);
    assert_eq!(other.status.code(), Some(4), "{other:?}");
    assert!(String::from_utf8_lossy(&other.stdout).contains("INVALID"), "{other:?}");
    let file = std::fs::read_to_string(directory.path().join("comparison.json")).unwrap();
    assert_eq!(serde_json::from_str::<Comparison>(&file).unwrap().blocks, 1, "more blocks change nothing");
}

fn bench(args: &[&str], output: &Path) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(["bench", "run"]).args(args).arg("--output").arg(output).env("CONFORMANCE_TOKEN", TOKEN);
    command.output().expect("the program runs")
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_conformance");
const TOKEN: &str = "secret-of-this-test";

async fn serve(behaviour: impl Behaviour) -> Running {
    exemplar::serve(Arc::new(behaviour), &["127.0.0.1:0".parse().unwrap()], None).await.unwrap()
}

fn job(server: &Running, load: &str) -> Job {
    job_in(Dialect::Contract, server, load)
}

fn job_in(dialect: Dialect, server: &Running, load: &str) -> Job {
    let endpoint =
        Endpoint { address: server.addresses[0].clone(), tls: Tls::default(), dialect, metadata: vec![] };
    Job {
        endpoint: Arc::new(endpoint),
        model: String::new(),
        load: load.parse::<Load>().unwrap(),
        length: Duration::from_secs(2),
        prompts: Prompts::Short.draw(100, 1).unwrap(),
        tokens: 8,
        connections: 2,
        most_running: usize::MAX,
        per_stream: 1,
        cancel_share: 0.0,
        requests: None,
        limit: Duration::from_secs(30),
        seed: 1,
    }
}

fn setup() -> Setup {
    Setup {
        target: "127.0.0.1:1".to_owned(),
        dialect: "contract".to_owned(),
        model: String::new(),
        load: "closed:1".to_owned(),
        prompts: "short".to_owned(),
        tokens: 8,
        seed: 1,
        connections: 1,
        length: "2s".to_owned(),
        most_running: None,
        per_stream: 1,
        cancel_share: 0.0,
        requests: None,
        started: "2026-01-01T00:00:00Z".to_owned(),
        host: "a machine".to_owned(),
    }
}

fn at(metric: Metric, requests: &[RequestRecord], q: f64) -> f64 {
    milliseconds(quantile(metric.values(requests), q).unwrap() as u64)
}
