//! Comparisons beyond two running servers: saved sides, floors of a host, and histories.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use latency::{
    compare::{Comparison, Conclusion},
    floors::Store,
    record::Recording,
};

#[test]
fn a_comparison_is_kept_and_the_next_one_is_judged_against_it() {
    let place = tempfile::tempdir().unwrap();
    let (fast, slow) = (serve(FAST), serve(SLOW));
    let first = compare(place.path(), "first", &fast, &fast, &["--looks", "3,4"]);
    let blocks = comparison(place.path(), "first").blocks;
    assert!([3, 4].contains(&blocks), "{first:?}");
    let kept = fs::read_dir(place.path().join("first/blocks")).unwrap().count();
    assert_eq!(kept, 2 * blocks, "both sides of every block");

    let saved = format!("saved:{}", place.path().join("first").display());
    let second = compare(place.path(), "second", &saved, &slow, &["--looks", "3,20"]);
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    let judged = comparison(place.path(), "second");
    assert!(judged.conclusion == Conclusion::Fail && judged.rows[0].finding.centre > 1.5, "{judged:?}");
    assert!(judged.blocks <= blocks, "there are no more saved blocks");
    let words = fs::read_to_string(place.path().join("second/comparison.md")).unwrap();
    assert!(words.contains("not measured in turns"), "{words}");

    // Without any endpoint, in both directions.
    let other = format!("saved:{}", place.path().join("second").display());
    let again = compare(place.path(), "again", &saved, &other, &["--looks", "3"]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    let better = compare(place.path(), "better", &other, &saved, &["--looks", "3"]);
    assert_ne!(better.status.code(), Some(1), "{better:?}");
    assert!(comparison(place.path(), "better").rows[0].finding.centre < 0.7);
}

#[test]
fn what_was_measured_elsewhere_or_otherwise_is_not_judged() {
    let place = tempfile::tempdir().unwrap();
    let (fast, slow) = (serve(FAST), serve(SLOW));
    compare(place.path(), "here", &fast, &fast, &["--looks", "2"]);
    let saved = place.path().join("here");

    let more = compare(place.path(), "x", &side(&saved), &fast, &["--looks", "2", "--tokens", "5"]);
    assert_eq!(more.status.code(), Some(2), "{more:?}");
    assert!(said(&more).contains("tokens is 4 in the saved blocks and 5 now"), "{more:?}");

    // One block is a ratio and no interval.
    let one = saved.join("blocks/001-candidate.jsonl.gz");
    let single = compare(place.path(), "x", &side(&one), &slow, &[]);
    assert_eq!(single.status.code(), Some(3), "{single:?}");
    let words = String::from_utf8_lossy(&single.stdout).into_owned();
    assert!(words.contains("too few blocks are saved: 1,") && words.contains("ratio"), "{words}");

    for number in ["001", "002"] {
        let file = saved.join(format!("blocks/{number}-candidate.jsonl.gz"));
        let mut recording = Recording::read(&file).unwrap();
        recording.setup.host = "another machine".to_owned();
        recording.write(&file).unwrap();
    }
    let elsewhere = compare(place.path(), "x", &side(&saved), &slow, &["--looks", "2"]);
    assert_eq!(elsewhere.status.code(), Some(3), "{elsewhere:?}");
    let shown = comparison(place.path(), "x");
    assert_eq!(shown.conclusion, Conclusion::Inconclusive);
    assert!(shown.withheld.is_some_and(|why| why.contains("another machine")));
    assert!(shown.rows[0].finding.centre > 1.5, "ratios are shown");

    for (saved, words) in [
        (place.path().join("nowhere"), "nowhere"),
        (place.path().to_owned(), "expected a recording"),
        (place.path().join("x"), "another --output"),
    ] {
        let output = compare(place.path(), "x", &side(&saved), &fast, &[]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(said(&output).contains(words), "{output:?}");
    }
}

#[test]
fn a_host_that_was_calibrated_is_never_judged_below_its_floor() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("state/floors.json");
    let mut command = bench(place.path(), "calibrate", "calibrated");
    command.args(["--blocks", "6", "--length", "300ms", "--warm-up", "0s", "--tokens", "4", "--store"]);
    let output = command.arg(&store).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("differences below these are noise"),
        "{output:?}"
    );
    let mut floors = Store::parse(&fs::read_to_string(&store).unwrap()).unwrap();
    let kept = &mut floors.calibrations[0].floors;
    let metrics: Vec<_> = kept.iter().map(|of| (of.metric.as_str(), of.floor.seen)).collect();
    assert_eq!(metrics, [("ttft", 6), ("tpot", 6), ("e2e", 6)]);
    assert!(kept.iter().all(|of| of.floor.floor > 0.0), "{kept:?}");

    // On a host whose noise is a factor of a thousand, ten times as slow is no finding.
    for of in kept {
        of.floor.floor = 999.0;
    }
    fs::write(&store, serde_json::to_string(&floors).unwrap()).unwrap();
    let store = store.to_str().unwrap();
    let (fast, slow) = (serve(FAST), serve(SLOW));
    let load = ["--load", "closed:1", "--length", "300ms", "--looks", "3"];
    let with = compare(place.path(), "with", &fast, &slow, &[&load[..], &["--floors", store]].concat());
    assert_eq!(with.status.code(), Some(0), "{with:?}");
    let words = String::from_utf8_lossy(&with.stdout).into_owned();
    assert!(words.contains("4 %, floor of this host 99900 %"), "{words}");
    let ttft = &comparison(place.path(), "with").rows[0].finding;
    assert_eq!((ttft.floor, ttft.requested, ttft.threshold), (Some(999.0), 0.04, 999.0));

    let load = ["--load", "closed:2", "--length", "300ms", "--looks", "3"];
    let other = compare(place.path(), "other", &fast, &slow, &[&load[..], &["--floors", store]].concat());
    assert_eq!(other.status.code(), Some(1), "floors of another load do not count: {other:?}");
    assert!(said(&other).contains("no floor of this host is for this load"), "{other:?}");
}

#[test]
fn a_history_grows_and_says_what_it_holds_and_what_it_cannot_read() {
    let place = tempfile::tempdir().unwrap();
    let mut run = bench(place.path(), "run", "run");
    let spawn = format!("{PROGRAM} serve exemplar --listen 127.0.0.1:0 --ttft 5ms");
    run.args(["--spawn", &spawn, "--length", "300ms", "--warm-up", "0s", "--tokens", "4"]);
    assert_eq!(run.output().unwrap().status.code(), Some(0));
    let history = |args: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(["bench", "history"]).args(args).arg("--file").arg(place.path());
        command.output().unwrap()
    };
    let report = place.path().join("run/report.json");
    let report = report.to_str().unwrap();
    assert_eq!(history(&["show"]).status.code(), Some(2), "there is none yet");
    assert_eq!(history(&["add", report, "--label", "c0"]).status.code(), Some(0));
    // Twelve results as they were, and twelve that are half as slow again; one line is cut, as by an interrupt.
    let file = place.path().join("bench-history.jsonl");
    let line = fs::read_to_string(&file).unwrap();
    let mut entry: serde_json::Value = serde_json::from_str(&line).unwrap();
    let mut lines = Vec::new();
    for number in 1..24 {
        entry["label"] = format!("c{number}").into();
        let slower = if number < 12 { 1.0 } else { 1.5 } + f64::from(number % 5) / 100.0;
        entry["values"]["ttft/1 p50"] = (10.0 * slower).into();
        lines.push(format!("{entry}\n"));
    }
    fs::write(&file, lines.concat() + &line[..50]).unwrap();
    assert_eq!(history(&["add", report, "--label", "last"]).status.code(), Some(0));

    let shown = history(&["show"]);
    let table = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert_eq!(shown.status.code(), Some(0), "{shown:?}");
    assert!(table.contains("since c12: ttft p50") && table.contains("results: 24, c1 to last"), "{table}");
    assert!(said(&shown).contains("line 24 is skipped"), "{shown:?}");
    let json: serde_json::Value = serde_json::from_slice(&history(&["show", "--json"]).stdout).unwrap();
    assert_eq!(json[0]["lines"][0]["changes"][0]["label"], "c12", "{json}");
    assert!(String::from_utf8_lossy(&history(&["show", "--markdown"]).stdout).contains("| ttft p50 |"));

    fs::write(place.path().join("no.json"), "{}").unwrap();
    let no = place.path().join("no.json");
    assert_eq!(history(&["add", no.to_str().unwrap()]).status.code(), Some(2));
}

fn serve(pace: &str) -> String {
    format!("cmd:{PROGRAM} serve exemplar --listen 127.0.0.1:0 {pace}")
}

fn side(path: &Path) -> String {
    format!("saved:{}", path.display())
}

fn compare(place: &Path, output: &str, baseline: &str, candidate: &str, more: &[&str]) -> Output {
    comparing(place, output, baseline, candidate, more).output().unwrap()
}

fn comparing(place: &Path, output: &str, baseline: &str, candidate: &str, more: &[&str]) -> Command {
    let mut command = bench(place, "compare", output);
    command.args(["--baseline", baseline, "--candidate", candidate, "--warm-up", "0s"]);
    for (name, value) in [("--load", "closed:2"), ("--length", "300ms"), ("--tokens", "4")] {
        if !more.contains(&name) {
            command.args([name, value]);
        }
    }
    command.args(more);
    command
}

/// Without the stored floors of this machine: the state directory is the test's own.
fn bench(place: &Path, what: &str, output: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["bench", what, "--output"]).arg(place.join(output));
    command.env("XDG_STATE_HOME", place.join("state"));
    command
}

fn comparison(place: &Path, output: &str) -> Comparison {
    let file = fs::read_to_string(place.join(output).join("comparison.json")).unwrap();
    serde_json::from_str(&file).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Ten times as slow, which no busy machine hides from three blocks.
const SLOW: &str = "--ttft 100ms";
const FAST: &str = "--ttft 10ms";
const PROGRAM: &str = env!("CARGO_BIN_EXE_conformance");
