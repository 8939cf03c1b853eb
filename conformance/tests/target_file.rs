//! Targets as files, and options over them: what is started, what is asked, and how a wrong file is named.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use conformance::target::{Source, TargetFile};
use testkit::Server;

const PROGRAM: &str = env!("CARGO_BIN_EXE_conformance");

#[test]
fn a_target_file_starts_what_it_describes_with_a_fresh_token_in_its_own_folder() {
    let place = tempfile::tempdir().unwrap();
    let file = write(
        place.path(),
        &format!(
            "name = \"exemplar\"\nroles = [\"server\"]\ncredentials.token = {{ fresh = \"CONFORMANCE_TOKEN\" }}\n\
             start.command = \"echo $TARGET_DIRECTORY >folder; exec {PROGRAM} serve exemplar --listen \
             unix://$TARGET_DIRECTORY/a.sock\""
        ),
    );
    let output = run(place.path(), &["--target-file", &file, "--only", "STREAM-001"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = fs::read_to_string(place.path().join("out/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["target"]["subject"]["name"], "exemplar", "{report}");
    let rerun = report["results"][0]["rerun"].as_str().unwrap();
    assert!(rerun.contains(&format!("--target-file {file}")), "{rerun}");
    let folder = fs::read_to_string(place.path().join("folder")).expect("it ran beside its file");
    assert!(!Path::new(folder.trim()).exists(), "{folder} is left");
    // The token of an option is given to the target in the fresh one's place.
    let output = run(place.path(), &["--target-file", &file, "--only", "STREAM-001", "--token", "mine"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn options_lie_over_the_file() {
    let place = tempfile::tempdir().unwrap();
    let known = "[HEALTH-001]\nreason = \"healthy\"\nwhy = \"a test\"\nsince = \"2026-11\"\n";
    fs::write(place.path().join("known.toml"), known).unwrap();
    let file = write(
        place.path(),
        &format!(
            "roles = [\"gateway\"]\nknown_failures = \"known.toml\"\nstart.command = \"{PROGRAM} serve exemplar \
             --listen 127.0.0.1:0 --mutant HEALTH-001\""
        ),
    );
    let only = ["--target-file", &file, "--only", "HEALTH-001"];
    let output = run(place.path(), &only);
    assert_eq!(output.status.code(), Some(2), "the file's role has no such check: {output:?}");
    let output = run(place.path(), &[&only[..], &["--role", "server"]].concat());
    assert_eq!(output.status.code(), Some(0), "a known failure of the file's list: {output:?}");
    let spawn = format!("{PROGRAM} serve exemplar --listen 127.0.0.1:0");
    let output = run(place.path(), &[&only[..], &["--role", "server", "--spawn", &spawn]].concat());
    assert_eq!(output.status.code(), Some(1), "another server passes, and the list is stale: {output:?}");
}

#[test]
fn a_wrong_file_and_no_target_at_all_are_wrong_usage() {
    let place = tempfile::tempdir().unwrap();
    let file = write(place.path(), "name = \"a\"\naddresses = [\"nowhere\"]\n");
    let output = run(place.path(), &["--target-file", &file]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let words = format!("{file}:2: addresses is \"nowhere\"; expected unix:///path, host:port");
    assert!(said(&output).contains(&words), "{}", said(&output));
    let output = run(place.path(), &["--target-file", "/nowhere/a.toml"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(said(&output).contains("/nowhere/a.toml: the target file cannot be read"), "{}", said(&output));
    for command in [&["run"][..], &["bench", "run"]] {
        let output = Command::new(PROGRAM).args(command).current_dir(place.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(said(&output).contains("no target is named"), "{}", said(&output));
    }
}

#[test]
fn what_runs_already_is_waited_for_as_long_as_the_file_says() {
    let place = tempfile::tempdir().unwrap();
    let file = write(place.path(), "addresses = [\"127.0.0.1:1\"]\nwait = \"300ms\"\n");
    let output = run(place.path(), &["--target-file", &file]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(said(&output).contains("nothing answered at 127.0.0.1:1 within 300ms"), "{}", said(&output));
}

#[test]
fn two_addresses_are_two_doors_of_one_server_or_an_error() {
    let place = tempfile::tempdir().unwrap();
    let socket = |name: &str| format!("unix://{}", place.path().join(name).display());
    let serve = |arguments: &[&str], addresses| {
        Server::start(Command::new(PROGRAM).args(["serve", "exemplar"]).args(arguments), addresses).unwrap()
    };
    let both = serve(&["--listen", &socket("a"), "--listen", &socket("b")], 2);
    let other = serve(&["--listen", &socket("c"), "--mutant", "CONTROL-004"], 1);
    let only = ["--only", "HEALTH-001"];
    let doors = ["--target", &socket("a"), "--target", &socket("b")];
    let output = run(place.path(), &[&only[..], &doors].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(said(&output).contains("the doors of one endpoint"), "{}", said(&output));
    let servers = ["--target", &socket("a"), "--target", &socket("c")];
    let output = run(place.path(), &[&only[..], &servers].concat());
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(said(&output).contains("are two different servers (list_models"), "{}", said(&output));
    drop((both, other));
}

#[test]
fn a_benchmark_reads_the_same_file() {
    let place = tempfile::tempdir().unwrap();
    let file = write(
        place.path(),
        &format!(
            "name = \"the exemplar\"\ncredentials.token = {{ fresh = \"CONFORMANCE_TOKEN\" }}\n\
             start.command = \"{PROGRAM} serve exemplar --listen 127.0.0.1:0\""
        ),
    );
    let load = ["--length", "300ms", "--warm-up", "0s", "--tokens", "4"];
    let mut bench = Command::new(PROGRAM);
    bench
        .args(["bench", "run", "--target-file", &file, "--output"])
        .arg(place.path().join("bench"))
        .args(load);
    let output = bench.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = fs::read_to_string(place.path().join("bench/report.json")).unwrap();
    assert!(report.contains("the exemplar"), "the report names it: {report}");
}

#[test]
fn a_side_of_a_comparison_keeps_its_fresh_token_over_all_blocks() {
    let place = tempfile::tempdir().unwrap();
    let file = write(
        place.path(),
        &format!(
            "credentials.token = {{ fresh = \"CONFORMANCE_TOKEN\" }}\n\
             start.command = \"{PROGRAM} serve exemplar --listen 127.0.0.1:0\""
        ),
    );
    let side = format!("file:{file}");
    let mut compare = Command::new(PROGRAM);
    compare.args([
        "bench",
        "compare",
        "--no-floors",
        "--looks",
        "2",
        "--baseline",
        &side,
        "--candidate",
        &side,
    ]);
    compare.args(["--length", "300ms", "--warm-up", "0s", "--tokens", "4", "--output"]);
    let output = compare.arg(place.path().join("bench")).output().unwrap();
    // However noisy this machine is: every request was answered.
    assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{output:?}");
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("after 2 blocks"), "{output:?}");
}

#[test]
fn the_target_files_of_this_repository_and_of_its_guides_are_understood() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let sidecar = TargetFile::read(&root.join("fixtures/targets/sidecar.toml")).unwrap();
    assert!(matches!(sidecar.start.source, Source::Command { .. }), "{sidecar:?}");
    assert!(sidecar.start.token.is_some() && !sidecar.capabilities.is_empty(), "{sidecar:?}");
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("token.txt"), "a-token\n").unwrap();
    for guide in ["target-files.md", "target-files.zh.md"] {
        let text = fs::read_to_string(root.join("docs/guides").join(guide)).unwrap();
        let examples: Vec<_> =
            text.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("```")).collect();
        assert_eq!(examples.len(), 2, "{guide}");
        for (example, _) in examples {
            let file = write(place.path(), example);
            let mut command = running(place.path(), &["--target-file", &file, "--only", "NOPE-*"]);
            let output = command.env("BACKEND_DB_PASSWORD", "p").env("BACKEND_TOKEN", "t").output().unwrap();
            assert_eq!(output.status.code(), Some(2), "no such requirement: {output:?}");
            assert!(!said(&output).contains(&file), "{guide}: {}", said(&output));
        }
    }
}

fn write(place: &Path, text: &str) -> String {
    let file = place.join("target.toml");
    fs::write(&file, text).unwrap();
    file.display().to_string()
}

fn run(place: &Path, arguments: &[&str]) -> Output {
    running(place, arguments).output().unwrap()
}

fn running(place: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("run").args(arguments).arg("--output").arg(place.join("out"));
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
