//! The program from the outside: what scripts depend on is its exit codes and its files.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

/// Runs the program against an exemplar that it starts itself; `serve` and `run` are further arguments of each.
fn judge(directory: &Path, serve: &str, run: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_conformance");
    let mut command = Command::new(program);
    command.arg("run").arg("--spawn").arg(format!("{program} serve exemplar --listen 127.0.0.1:0 {serve}"));
    command.arg("--output").arg(directory).args(run).env("CONFORMANCE_TOKEN", "secret-of-this-test");
    command.output().expect("the program runs")
}

fn exit(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

#[test]
fn a_conformant_endpoint_is_0_and_leaves_its_reports() {
    let directory = tempfile::tempdir().unwrap();
    let output = judge(directory.path(), "", &["--only", "HEALTH-001", "--only", "WIRE-00?"]);
    assert_eq!(exit(&output), 0, "{output:?}");
    for file in ["report.json", "report.html", "report.md", "junit.xml", "ctrf.json", "events.jsonl"] {
        let text = std::fs::read_to_string(directory.path().join(file)).unwrap();
        assert!(text.contains("HEALTH"), "{file}");
        assert!(!text.contains("secret-of-this-test"), "{file} holds the token");
    }
}

#[test]
fn a_broken_must_is_1_and_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let run = ["--only", "HEALTH-*", "-H", "x-api-key: key-of-this-test", "-H", "x-tenant: blue"];
    let output = judge(directory.path(), "--mutant HEALTH-001", &run);
    assert_eq!(exit(&output), 1);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("HEALTH-001") && said.contains("healthy = false"), "{said}");
    assert!(said.contains("-H 'x-api-key: <redacted>'") && said.contains("-H 'x-tenant: blue'"), "{said}");
    for file in ["report.json", "report.html", "report.md", "junit.xml", "ctrf.json", "events.jsonl"] {
        let text = std::fs::read_to_string(directory.path().join(file)).unwrap();
        assert!(!text.contains("key-of-this-test"), "{file} holds the key");
    }
}

#[test]
fn a_broken_should_is_a_warning_unless_the_run_is_strict() {
    let directory = tempfile::tempdir().unwrap();
    let run = ["--only", "HEALTH-00?"];
    assert_eq!(exit(&judge(directory.path(), "--mutant HEALTH-006", &run)), 0);
    assert_eq!(exit(&judge(directory.path(), "--mutant HEALTH-006", &[&run[..], &["--strict"]].concat())), 1);
}

#[test]
fn a_known_failure_is_tolerated_and_a_stale_one_is_red() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("known.toml");
    let entry = "[HEALTH-001]\nreason = \"healthy = false\"\nwhy = \"not yet\"\nsince = \"2026-11\"\n";
    std::fs::write(&file, entry).unwrap();
    let run = ["--only", "HEALTH-00?", "--known-failures", file.to_str().unwrap()];
    assert_eq!(exit(&judge(directory.path(), "--mutant HEALTH-001", &run)), 0);
    assert_eq!(exit(&judge(directory.path(), "", &run)), 1, "it passes now: the list is stale");
    std::fs::write(&file, entry.replace("HEALTH-001", "HEALTH-999")).unwrap();
    assert_eq!(exit(&judge(directory.path(), "", &run)), 2, "no such requirement");
}

#[test]
fn wrong_usage_is_2_and_an_unreachable_target_is_3() {
    let run = |arguments: &[&str]| {
        exit(
            &Command::new(env!("CARGO_BIN_EXE_conformance"))
                .args(arguments)
                .output()
                .expect("the program runs"),
        )
    };
    assert_eq!(run(&["run", "--only", "NOPE-*"]), 2);
    assert_eq!(
        run(&["run", "--only", "STREAM-*", "--only", "STREM-*"]),
        2,
        "one of two patterns is mistyped"
    );
    assert_eq!(run(&["run", "--skip", "STREM-*"]), 2, "nothing would be left out");
    assert_eq!(run(&["run", "--target", "nowhere"]), 2);
    assert_eq!(run(&["run", "--role", "server,gateway"]), 2, "a role without checks");
    assert_eq!(run(&["explain", "NOPE-001"]), 2);
    assert_eq!(run(&["serve", "exemplar", "--mutant", "NOPE-001"]), 2);
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().to_str().unwrap();
    assert_eq!(run(&["run", "--target", "127.0.0.1:1", "--output", output]), 3);
    assert_eq!(run(&["run", "--spawn", "exit 7", "--output", output]), 3);
}

#[test]
fn a_run_that_is_stopped_is_130_and_its_reports_tell_what_was_seen() {
    let directory = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_conformance");
    let run = Command::new(program)
        .arg("run")
        .args(["--spawn", &format!("{program} serve exemplar --listen 127.0.0.1:0"), "--output"])
        .arg(directory.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("the program runs");
    let recording = directory.path().join("events.jsonl");
    let began = Instant::now();
    while !std::fs::read_to_string(&recording).is_ok_and(|text| text.contains("check_finished")) {
        assert!(began.elapsed() < Duration::from_mins(1), "no check finished");
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(exit(&run.wait_with_output().unwrap()), 130);

    let report = std::fs::read_to_string(directory.path().join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let recorded = std::fs::read_to_string(&recording).unwrap();
    let recorded: serde_json::Value = serde_json::from_str(recorded.lines().last().unwrap()).unwrap();
    let told = report["results"].as_array().unwrap().len();
    assert!(told > 0, "{report}");
    for end in [&report, &recorded] {
        let counts = end["summary"].as_object().unwrap().values();
        let counted: u64 = counts.filter_map(serde_json::Value::as_u64).sum();
        assert_eq!(end["interrupted"], true, "{end}");
        assert_eq!(counted, told as u64, "counted and told: {end}");
    }
}

#[test]
fn a_list_and_a_dry_run_show_what_is_chosen() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_conformance")).args(arguments).output().unwrap();
        (exit(&output), String::from_utf8(output.stdout).unwrap())
    };
    let (code, listed) = run(&["list", "--only", "HEALTH-*", "--profile", "core", "--role", "server"]);
    assert_eq!(code, 0);
    assert!(
        listed.contains("HEALTH-001") && !listed.contains("HEALTH-006"),
        "a SHOULD is not in core: {listed}"
    );
    assert!(!listed.contains("STREAM-") && !listed.contains("no check"), "{listed}");
    assert_eq!(run(&["list", "--only", "HELTH-*"]).0, 2);

    let (code, planned) = run(&["run", "--dry-run", "--target", "127.0.0.1:1", "--only", "WIRE-00?"]);
    assert_eq!(code, 0, "nothing is asked of the target");
    assert!(planned.contains("WIRE-001") && planned.contains("would be run"), "{planned}");
    for absurd in
        [["--jobs", "0"], ["--timeout", "0s"], ["--repeat", "0"], ["--jobs", "-1"], ["--timeout", "1000000y"]]
    {
        let [option, value] = absurd;
        assert_eq!(run(&["run", "--dry-run", &format!("{option}={value}")]).0, 2, "{absurd:?}");
    }
}

#[test]
fn runs_are_repeated_and_failures_become_a_list_to_review() {
    let directory = tempfile::tempdir().unwrap();
    let list = directory.path().join("known.toml");
    let run = ["--only", "HEALTH-001", "--repeat", "2", "--write-known-failures", list.to_str().unwrap()];
    let output = judge(directory.path(), "--mutant HEALTH-001", &run);
    assert_eq!(exit(&output), 1);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("Every requirement ended alike in all 2 runs."), "{said}");
    assert!(said.contains("Trace id") && said.contains("grpcurl -plaintext"), "{said}");
    for file in ["report.json", "repeat-2/report.json", "flakes.md"] {
        assert!(directory.path().join(file).is_file(), "{file}");
    }
    let again = ["--only", "HEALTH-001", "--known-failures", list.to_str().unwrap()];
    assert_eq!(exit(&judge(directory.path(), "--mutant HEALTH-001", &again)), 2, "no reason is given yet");
    let text = std::fs::read_to_string(&list).unwrap().replace("why = \"\"", "why = \"not yet\"");
    std::fs::write(&list, text).unwrap();
    assert_eq!(exit(&judge(directory.path(), "--mutant HEALTH-001", &again)), 0);
}

#[test]
fn github_takes_the_summary_of_a_run() {
    let directory = tempfile::tempdir().unwrap();
    let summary = directory.path().join("summary.md");
    let program = env!("CARGO_BIN_EXE_conformance");
    let mut command = Command::new(program);
    command.arg("run").arg("--spawn").arg(format!("{program} serve exemplar --listen 127.0.0.1:0"));
    command.args(["--only", "HEALTH-001", "--format", "github", "--lang", "zh", "--output"]);
    let output = command.arg(directory.path()).env("GITHUB_STEP_SUMMARY", &summary).output().unwrap();
    assert_eq!(exit(&output), 0, "{output:?}");
    assert!(output.stdout.starts_with(b"::notice title=conformance::"), "{output:?}");
    assert!(std::fs::read_to_string(&summary).unwrap().starts_with("## 符合："));
}
