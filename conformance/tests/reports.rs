//! Reports are pure consumers of events: one hand-made run in every format, and any run at all, well-formed.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use conformance::{
    cli::{docs, explain, list, replay},
    events::{CheckResult, Event, RunFinished, RunStarted, SCHEMA, Subject, Summary, Survey, Verdict},
    evidence::{Direction, Exchange},
    exit::Exit,
    reports::{Format, Language, Report, Reports, Run, Standing, Terminal, json::JsonReport},
    requirements,
    vocabulary::{Level, Role},
};
use proptest::prelude::*;
use serde_json::Value;

#[path = "common/junit.rs"]
mod junit;
#[path = "common/schema.rs"]
mod schema;
#[path = "common/xml.rs"]
mod xml;
use present::{Console, Stream};
use schema::violations;
use xml::assert_xml;

const DOCUMENTS: [Format; 6] =
    [Format::Json, Format::Junit, Format::Ctrf, Format::Html, Format::Markdown, Format::Github];

/// Everything that a hostile or careless target can put into a message.
const NASTY: &str = "\u{1b}[31mred\u{1b}[0m \u{0}\u{7}\u{9b}1m <script>alert(\"x\")</script> </title> ]]> {{ 7*7 }} \
                     `code` ``` | @everyone ::error::no %0A 中文字符 \u{202e}reversed \u{feff}\u{ffff} & 'quoted'\r\nsecond line";

#[test]
fn the_terminal_report_of_a_run() {
    insta::assert_snapshot!("terminal", terminal(&a_run(), false));
}

#[test]
fn the_terminal_report_in_colour_differs_in_colour_only() {
    let colored = terminal(&a_run(), true);
    let bare: String = strip_sgr(&colored);
    assert!(colored.contains('\u{1b}'));
    assert_eq!(bare, terminal(&a_run(), false));
}

#[test]
fn the_documents_of_a_run() {
    let run = Run::of(&a_run());
    for format in DOCUMENTS {
        let mut text = document(format, &run);
        if format == Format::Html {
            // Style and script are read in the template; the snapshot shows what depends on the run.
            let (body, _) = text.split_once("<script>").expect("a script after the body");
            text = body.split_once("<body>").expect("a body").1.to_owned();
        }
        insta::assert_snapshot!(format.name(), text);
    }
}

#[test]
fn the_conclusion_says_where_the_target_stands() {
    let conclude = |events: &[Event]| Run::of(events).conclusion();
    let good = || result("GOOD-001", Level::Must, Verdict::Pass, "");
    let told = |results: Vec<CheckResult>| conclude(&run_of(results, false));

    assert_eq!(told(vec![good(), good()]).sentence, "conformant: all 2 MUST requirements hold");
    let warned = told(vec![good(), result("WARN-001", Level::Should, Verdict::Fail, "slow")]);
    assert_eq!(warned.standing, Standing::Conformant);
    let unseen = told(vec![good(), result("DIM-001", Level::Must, Verdict::Inconclusive, "dark")]);
    assert_eq!(
        unseen.sentence,
        "conformant as far as could be seen: 1 MUST requirement holds, 1 could not be judged: DIM-001"
    );
    let failed = told(vec![good(), result("BAD-001", Level::Must, Verdict::Fail, "no")]);
    assert_eq!(failed.sentence, "NOT conformant: 1 of 2 MUST requirements failed: BAD-001");
    let broken = told(vec![good(), result("BUG-001", Level::May, Verdict::Error, "panic")]);
    assert_eq!(broken.standing, Standing::Unknown);
    assert_eq!(told(vec![]).standing, Standing::Unknown, "a run that saw nothing is never conformant");
    let skipped = told(vec![result("SKIP-001", Level::Must, Verdict::Skip, "no token")]);
    assert_eq!(skipped.standing, Standing::Unknown);
    let optional = told(vec![result("MAY-001", Level::May, Verdict::Pass, "")]);
    assert_eq!(optional.sentence, "no verdict: no MUST requirement was asked; others that hold: 1 of 1");
    let stale = told(vec![good(), CheckResult { known: true, ..good() }]);
    assert_eq!(stale.standing, Standing::NotConformant, "a known failure that passes is red");
    let dim = || result("DIM-001", Level::Must, Verdict::Inconclusive, "dark");
    let tolerated = told(vec![
        good(),
        CheckResult { known: true, ..result("BAD-001", Level::Must, Verdict::Fail, "no") },
        CheckResult { known: true, ..dim() },
    ]);
    assert_eq!(
        tolerated.sentence,
        "conformant but for 1 known failure (BAD-001) and 1 known inconclusive check (DIM-001): \
         1 MUST requirement holds"
    );
    assert_eq!(tolerated.exit, Exit::Success);
    assert_eq!(conclude(&run_of(vec![good()], true)).standing, Standing::Unknown, "interrupted");
    assert_eq!(conclude(&run_of(vec![good()], false)[..3]).standing, Standing::Unknown, "broken off");
}

#[test]
fn a_target_that_went_away_is_no_verdict_and_what_failed_before_is_told() {
    let failed = result("BAD-001", Level::Must, Verdict::Fail, "no");
    let mut events = run_of(vec![result("GOOD-001", Level::Must, Verdict::Pass, ""), failed], false);
    let why = "the target went away during BAD-001; the rest was not judged";
    if let Some(Event::RunFinished(finished)) = events.last_mut() {
        finished.broke_off = Some(why.to_owned());
    }
    let run = Run::of(&events);
    let conclusion = run.conclusion();
    assert_eq!((conclusion.standing, conclusion.exit), (Standing::Unknown, Exit::Unreachable));
    let before = "(1 of 2 MUST requirements failed before: BAD-001)";
    assert_eq!(conclusion.sentence, format!("no verdict: {why} {before}"));
    let chinese = Run { language: Language::Chinese, ..run }.conclusion();
    assert_eq!(chinese.exit, Exit::Unreachable);
    assert!(chinese.sentence.starts_with("没有结论：目标在运行中途消失"), "{}", chinese.sentence);
    assert!(
        chinese.sentence.ends_with("（此前 2 条 MUST 要求中有 1 条失败：BAD-001）"),
        "{}",
        chinese.sentence
    );
}

#[test]
fn a_common_cause_comes_first_in_both_languages() {
    let failed = |id| result(id, Level::Must, Verdict::Fail, "a legal request was answered UNAVAILABLE");
    let run = Run::of(&run_of(["A-001", "A-002", "A-003"].map(failed).into(), false));
    let english = run.conclusion().sentence;
    let cause = "one cause explains 3 of 3 failures: calls were answered UNAVAILABLE; ";
    assert!(english.starts_with(cause), "{english}");
    assert!(
        english.ends_with(" NOT conformant: 3 of 3 MUST requirements failed: A-001, A-002, A-003"),
        "{english}"
    );
    let chinese = Run { language: Language::Chinese, ..run }.conclusion().sentence;
    assert!(chinese.starts_with("3 项失败中有 3 项出于同一原因：调用得到 UNAVAILABLE；"), "{chinese}");
    assert!(chinese.contains("不符合：3 条 MUST 要求中有 3 条失败"), "{chinese}");
}

#[test]
fn every_format_says_what_made_a_strict_run_red() {
    let mut events = run_of(
        vec![
            result("GOOD-001", Level::Must, Verdict::Pass, ""),
            result("WARN-001", Level::Should, Verdict::Fail, "it was slow"),
            result("DIM-001", Level::Must, Verdict::Inconclusive, "it was dark"),
            CheckResult {
                known: true,
                known_because: "the model is English only".to_owned(),
                ..result("KNOWN-001", Level::Must, Verdict::Inconclusive, "no emoji came")
            },
        ],
        false,
    );
    let lenient = Run::of(&events);
    assert_eq!(lenient.conclusion().exit, Exit::Success);
    assert!(!document(Format::Junit, &lenient).contains("<failure"));
    if let Event::RunStarted(started) = &mut events[0] {
        started.strict = true;
    }
    let run = Run::of(&events);
    let conclusion = run.conclusion();
    assert_eq!(
        conclusion.sentence,
        "NOT conformant with --strict: 1 SHOULD or MAY requirement failed: WARN-001; 1 check was inconclusive: \
         DIM-001; tolerated: 1 known inconclusive check (KNOWN-001)"
    );
    assert_eq!((conclusion.standing, conclusion.exit), (Standing::NotConformant, Exit::NonConformant));
    let chinese = Run { language: Language::Chinese, ..run.clone() }.conclusion().sentence;
    assert!(chinese.starts_with("按 --strict 不符合：1 条 SHOULD 或 MAY 要求失败：WARN-001；"), "{chinese}");

    let pretty = terminal(&events, false);
    assert!(pretty.contains("NOT conformant with --strict: 1 SHOULD"), "{pretty}");
    let unwrapped = pretty.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(unwrapped.contains("no emoji came; known: the model is English only"), "{pretty}");
    let junit = document(Format::Junit, &run);
    assert_eq!(junit.matches("<failure").count(), 2, "{junit}");
    assert!(junit.contains("the run is strict: it was dark") && junit.contains("the model is English only"));
    let github = document(Format::Github, &run);
    let first = github.lines().next().unwrap_or_default();
    assert!(first.starts_with("::error title=conformance::NOT conformant with --strict"), "{github}");
    assert_eq!(github.matches("::error ").count(), 3, "{github}");
    let markdown = document(Format::Markdown, &run);
    assert!(markdown.contains("### Warnings, which fail this strict run"), "{markdown}");
    assert!(markdown.contains("known: `the model is English only`"), "{markdown}");
    let json: JsonReport =
        serde_json::from_str(&document(Format::Json, &run)).expect("its own type reads it");
    assert!(json.strict && json.standing == "not-conformant" && json.summary.known_inconclusive == 1);
}

#[test]
fn a_target_that_writes_commands_of_ci_servers_is_quoted_and_not_obeyed() {
    let hostile =
        "::stop-commands::x\n  ::error::y\n##vso[task.setvariable variable=a]b\n##[error]c ##teamcity[d]";
    // The wrapped text breaks before every `::`.
    let wrapped = format!("{} ::set-output::z", "word ".repeat(18)).repeat(12);
    for text in [hostile, &wrapped] {
        let mut result = result("BAD-001", Level::Must, Verdict::Fail, text);
        result.evidence = vec![exchange(1.0, 1, Direction::Received, text)];
        let mut events = run_of(vec![result], false);
        if let Event::Surveyed(survey) = &mut events[1] {
            survey.metrics.insert("backend".to_owned(), text.to_owned());
            survey.warnings.push(text.to_owned());
        }
        let run = Run::of(&events);
        let printed = DOCUMENTS.map(|format| (format.name(), document(format, &run)));
        for (name, text) in printed.into_iter().chain([("pretty", terminal(&events, false))]) {
            let own = |line: &str| name == "github" && line.starts_with("::error title=");
            let obeyed = text.lines().find(|line| line.trim_start().starts_with("::") && !own(line));
            assert_eq!(obeyed, None, "{name}");
            assert!(!is_obeyed(&text), "{name}: {text}");
        }
    }
}

#[test]
fn an_id_behind_the_mark_of_a_link_is_no_command() {
    for id in ["#[", "#vso[", "#teamcity["] {
        let failed = result(id, Level::Must, Verdict::Fail, "no");
        assert!(!is_obeyed(&document(Format::Html, &Run::of(&run_of(vec![failed], false)))), "{id}");
    }
}

/// Whether a line holds what Azure Pipelines, GitHub or TeamCity take for a command wherever it stands.
fn is_obeyed(text: &str) -> bool {
    ["##vso[", "##[", "##teamcity["].iter().any(|command| text.contains(command))
}

#[test]
fn junit_and_ctrf_are_what_ci_servers_read() {
    let mut events = a_run();
    if let Event::CheckFinished(result) = &mut events[3] {
        result.attempts = 2; // it passed at the second attempt
    }
    for strict in [false, true] {
        if let Event::RunStarted(started) = &mut events[0] {
            started.strict = strict;
        }
        let run = Run::of(&events);
        let junit = document(Format::Junit, &run);
        assert_eq!(junit::violations(&junit), Vec::<String>::new(), "{junit}");
        assert!(junit.contains("timestamp=\"2025-06-15T15:06:40.500Z\""), "{junit}");
        assert_eq!(junit.matches("<flakyFailure").count(), 1);
        let failures = junit.matches("<failure").count();
        assert!(junit.contains(&format!("tests=\"11\" failures=\"{failures}\" errors=\"1\"")), "{junit}");

        let ctrf: Value = serde_json::from_str(&document(Format::Ctrf, &run)).expect("JSON");
        assert_eq!(violations(CTRF, &ctrf), Vec::<String>::new());
        let summary = &ctrf["results"]["summary"];
        assert_eq!(summary["failed"], failures + 1, "a broken check is red too");
        assert_eq!(summary["stop"], summary["start"].as_u64().expect("a time") + 12_345);
    }
}

#[test]
fn github_gets_the_conclusion_first_ten_annotations_and_the_rest_in_the_summary() {
    let bad = |n| result(&format!("BAD-{n:03}"), Level::Must, Verdict::Fail, "no");
    let warned = result("WARN-001", Level::Should, Verdict::Fail, "slow");
    let events = run_of(std::iter::once(warned).chain((0..20).map(bad)).collect(), false);
    let github = document(Format::Github, &Run::of(&events));
    let lines: Vec<_> = github.lines().collect();
    assert_eq!(lines.len(), 10, "{github}");
    assert!(lines[0].starts_with("::error title=conformance::NOT conformant: 20 of 20"), "{github}");
    assert!(lines[1..9].iter().all(|line| line.starts_with("::error title=BAD-")), "red ones come first");
    assert!(lines[9].starts_with("::notice title=conformance::13 more are in the step's summary: BAD-008"));

    let directory = scratch("summary");
    fs::create_dir_all(&directory).expect("a scratch directory");
    let summary = directory.join("summary.md");
    fs::write(&summary, "an earlier step\n").expect("a file");
    let mut reports = Reports::default();
    reports.add_summary(&summary);
    for event in &events {
        reports.event(event);
    }
    assert!(reports.finish().is_empty());
    let text = fs::read_to_string(&summary).expect("a summary");
    assert!(text.starts_with("an earlier step\n## NOT conformant: 20 of 20"), "{text}");
    assert!(text.contains("BAD-019"));
}

#[test]
fn a_narrow_terminal_is_obeyed_and_commands_are_whole() {
    for (width, most) in [(Some(80), 80), (Some(60), 60), (None, 100), (Some(400), 120)] {
        let text = terminal_on(&a_run(), Stream { width, ..Stream::default() }, Language::English);
        for line in text.lines() {
            let copied = ["  Run again", "  By hand"].iter().any(|label| line.starts_with(label));
            let wide = line.chars().filter(|c| ('\u{4e00}'..='\u{9fff}').contains(c)).count();
            assert!(copied || line.chars().count() + wide <= most, "{width:?}: {line}");
        }
        assert!(text.contains("--only ALPHA-002 --seed 42\n"), "a command is never wrapped");
    }
}

#[test]
fn the_frame_speaks_chinese_and_what_programs_read_stays_english() {
    let run = Run { language: Language::Chinese, ..Run::of(&a_run()) };
    let html = document(Format::Html, &run);
    assert_xml(&html, Some(1));
    for words in
        ["<html lang=\"zh-Hans\">", "不符合：6 条 MUST 要求中有 3 条失败", "契约要求", "实际看到", "3 项失败"]
    {
        assert!(html.contains(words), "{words}");
    }
    for words in ["The contract says", "What was seen", "Filter by id", "Run it again"] {
        assert!(!html.contains(words), "{words}");
    }
    assert!(html.contains("The sentence of ALPHA-002"), "pages and sentences stay as the contract has them");
    let pretty = terminal_on(&a_run(), Stream::default(), Language::Chinese);
    assert!(pretty.contains("不符合：") && pretty.contains("  契约要求\n"), "{pretty}");
    for format in [Format::Json, Format::Junit, Format::Ctrf] {
        assert_eq!(document(format, &run), document(format, &Run::of(&a_run())), "{}", format.name());
    }
}

#[test]
fn a_report_that_fails_starves_no_other() {
    struct Full;
    impl Report for Full {
        fn event(&mut self, _event: &Event) -> io::Result<()> {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }
    }
    let directory = scratch("starves");
    let mut reports = Reports::default();
    reports.add("full", Box::new(Full));
    let out = Buffer::default();
    reports.add(
        "pretty",
        Box::new(Terminal::new(
            Box::new(out.clone()),
            Stream::default(),
            Some(&directory),
            Language::English,
        )),
    );
    for event in &a_run() {
        reports.event(event);
    }
    let failed = reports.finish();
    assert_eq!(failed.len(), 1, "each report is named once: {failed:?}");
    assert_eq!(failed[0].0, "full");
    assert!(out.text().contains("NOT conformant"));
}

#[test]
fn a_run_leaves_its_files_and_replay_makes_them_again() {
    let (first, second) = (scratch("first"), scratch("second"));
    fs::create_dir_all(&first).expect("a scratch directory");
    fs::write(first.join("report.json"), "of an earlier run").expect("a file");
    let mut reports =
        Reports::open(&[], &first, Console::default(), Language::English).expect("the directory is writable");
    assert!(!first.join("report.json").exists(), "nothing of an earlier run stays while a run is under way");
    for event in &a_run() {
        reports.event(event);
    }
    assert!(reports.finish().is_empty());

    let file = first.join("events.jsonl");
    let into =
        |output| replay::ReplayArgs { file: file.clone(), format: vec![], output: Some(output), lang: None };
    let replayed = replay::run(&into(second.clone())).expect("a readable recording");
    assert_eq!(replayed, Exit::Harness, "the run's own exit code: a check of it broke");
    for name in ["events.jsonl", "report.json", "report.html", "report.md", "junit.xml", "ctrf.json"] {
        let read = |directory: &PathBuf| fs::read_to_string(directory.join(name)).expect(name);
        assert_eq!(read(&first), read(&second), "{name}");
    }
    assert_eq!(fs::read_dir(&first).expect("a directory").count(), 6, "no temporary file is left");
    let over_itself = replay::run(&into(first.clone())).expect("an answer");
    assert_eq!(over_itself, Exit::Usage, "a recording is never overwritten by its replay");
}

#[test]
fn a_recording_that_breaks_off_is_told_as_far_as_it_goes_and_a_wrong_one_is_refused() {
    let directory = scratch("broken");
    fs::create_dir_all(&directory).expect("a scratch directory");
    let replay = |name: &str, text: &str| {
        let file = directory.join(name);
        fs::write(&file, text).expect("a file");
        replay::run(&replay::ReplayArgs { file, format: vec![], output: None, lang: None })
            .expect("an answer")
    };
    let mut lines: Vec<_> = a_run().iter().map(|event| serde_json::to_string(event).expect("JSON")).collect();
    lines.truncate(4);
    let whole = lines.join("\n") + "\n";
    assert_eq!(replay("cut", &whole[..whole.len() - 20]), Exit::Harness, "no run came to its end");
    assert_eq!(replay("wrong", &format!("{whole}no event\n{whole}")), Exit::Usage);
    assert_eq!(replay("empty", ""), Exit::Usage);
    assert_eq!(replay("newer", &whole.replacen("\"schema\":1", "\"schema\":2", 1)), Exit::Usage);
}

#[test]
fn a_run_that_was_cut_short_still_has_its_documents() {
    let directory = scratch("cut-short");
    let mut reports = Reports::open(&[], &directory, Console::default(), Language::English)
        .expect("the directory is writable");
    for event in &a_run()[..4] {
        reports.event(event);
    }
    assert!(reports.finish().is_empty());
    let json = fs::read_to_string(directory.join("report.json")).expect("a report");
    let report: JsonReport = serde_json::from_str(&json).expect("its own type reads it");
    assert!(report.interrupted);
    assert_eq!(report.results.len(), 1);
}

#[test]
fn pages_of_the_catalogue_are_rendered_everywhere() {
    let requirement = requirements::ALL.first().expect("there are requirements");
    let page = explain::explain(requirement, false);
    assert!(page.starts_with(&format!("{} ", requirement.id)));
    assert!(page.contains("Why it matters") && !page.contains("# "), "{page}");
    let html = document(
        Format::Html,
        &Run::of(&run_of(vec![result(requirement.id, requirement.level, Verdict::Pass, "")], false)),
    );
    assert!(html.contains("<h3>Why it matters</h3>"));

    let lower = explain::ExplainArgs { id: "nothing-000".to_owned() };
    assert_eq!(explain::run(&lower).expect("an answer"), Exit::Usage);
    for format in [list::ListFormat::Table, list::ListFormat::Json, list::ListFormat::Markdown] {
        let text = list::list(&requirements::AREAS, format, &list::Filter::default()).expect("a list");
        assert!(requirements::ALL.iter().all(|requirement| text.contains(requirement.id)));
    }
}

#[test]
fn generated_docs_are_written_and_then_agree() {
    let dir = scratch("docs");
    let args = |check| docs::DocsArgs { dir: dir.clone(), check };
    fs::create_dir_all(dir.join("old")).expect("a scratch directory");
    fs::write(dir.join("old/GONE-001.md"), "of a requirement that is gone").expect("a file");
    assert_eq!(docs::run(&args(true)).expect("an answer"), Exit::OutOfDate);
    assert_eq!(docs::run(&args(false)).expect("an answer"), Exit::Success);
    assert_eq!(docs::differences(&dir).expect("readable"), []);
    assert!(!dir.join("old/GONE-001.md").exists());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_run_gives_well_formed_documents(events in prop::collection::vec(any_event(), 0..12)) {
        let run = Run::of(&events);
        let json: Value = serde_json::from_str(&document(Format::Json, &run)).expect("JSON");
        prop_assert_eq!(violations("report.schema.json", &json), Vec::<String>::new());

        let ctrf: Value = serde_json::from_str(&document(Format::Ctrf, &run)).expect("JSON");
        prop_assert_eq!(violations(CTRF, &ctrf), Vec::<String>::new());

        assert_xml(&document(Format::Junit, &run), None);
        assert_xml(&document(Format::Html, &run), Some(1));
        let github = document(Format::Github, &run);
        prop_assert!(github.lines().all(|line| line.starts_with("::")));
        for text in [document(Format::Junit, &run), document(Format::Html, &run), document(Format::Markdown, &run),
            document(Format::Json, &run), terminal(&events, false), terminal(&events, true)] {
            let obeyed = strip_sgr(&text).lines().find(|line| line.trim_start().starts_with("::")).map(str::to_owned);
            prop_assert_eq!(obeyed, None);
        }
        for format in DOCUMENTS {
            let text = document(format, &run);
            prop_assert!(!is_obeyed(&text), "a command of a CI server in {}", text);
        }
        for text in [github, document(Format::Markdown, &run), document(Format::Json, &run), terminal(&events, false)] {
            prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "control characters in {text:?}");
            let hidden = text.contains(['\u{202e}', '\u{feff}', '\u{ffff}']);
            prop_assert!(!hidden, "hidden characters in {:?}", text);
        }
    }

    #[test]
    fn events_survive_the_recording(events in prop::collection::vec(any_event(), 0..6)) {
        for event in events {
            let line = serde_json::to_string(&event).expect("JSON");
            let read: Event = serde_json::from_str(&line).expect("an event");
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(serde_json::to_string(&read).expect("JSON"), line);
        }
    }
}

/// What CTRF asks of a report.
const CTRF: &str = "../conformance/tests/schemas/ctrf.schema.json";

// A run with one result of each kind. Its ids are in no catalogue, so that no page's wording is in a snapshot.

fn a_run() -> Vec<Event> {
    let failed = |id, reason: &str| {
        let evidence = vec![
            exchange(0.02, 0, Direction::Sent, "connect to unix:///run/model.sock"),
            exchange(0.31, 1, Direction::Sent, "StreamPredict: request prompt=\"Once\" max_new_tokens=8"),
            exchange(0.33, 1, Direction::Sent, "half-close"),
            exchange(48.7, 1, Direction::Received, "response index=0 chunk=\" upon\""),
            exchange(61.2, 1, Direction::Received, NASTY),
            exchange(62.0, 2, Direction::Sent, "Health: an empty request"),
            exchange(5062.0, 2, Direction::Received, "nothing for 5 s"),
        ];
        CheckResult {
            evidence,
            evidence_omitted: 3,
            attempts: 2,
            grpcurl: "grpcurl -plaintext -unix -d '{}' '/run/model.sock' AiInference/Health".to_owned(),
            trace: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
            ..result(id, Level::Must, Verdict::Fail, reason)
        }
    };
    let long = format!("a very long answer: {}", "lorem ipsum 字 ".repeat(120));
    let many =
        (0..40).map(|n| exchange(f64::from(n) * 2.5, 1 + n % 3, Direction::Received, "response")).collect();
    let results = vec![
        result("ALPHA-001", Level::Must, Verdict::Pass, ""),
        failed("ALPHA-002", "index went 0, 1, 3"),
        failed("ALPHA-003", NASTY),
        failed("ALPHA-004", "index went 0, 1, 3"),
        CheckResult { evidence: many, ..result("BETA-001", Level::Should, Verdict::Fail, &long) },
        result("BETA-002", Level::May, Verdict::Skip, "no token was given (--token)"),
        result("BETA-003", Level::Must, Verdict::Skip, "no token was given (--token)"),
        result("BETA-004", Level::Must, Verdict::Inconclusive, "the model stopped after 2 of 16 tokens"),
        CheckResult {
            known: true,
            ..result("BETA-005", Level::Must, Verdict::Fail, "temperature is dropped")
        },
        CheckResult { known: true, ..result("GAMMA-001", Level::Must, Verdict::Pass, "") },
        result("GAMMA-002", Level::Must, Verdict::Error, "the check itself broke: index out of bounds"),
    ];
    run_of(results, false)
}

fn run_of(results: Vec<CheckResult>, interrupted: bool) -> Vec<Event> {
    let mut summary = Summary::default();
    for result in &results {
        summary.add(result);
    }
    let started = RunStarted {
        schema: SCHEMA,
        version: "9.9.9".to_owned(),
        addresses: vec!["unix:///run/model.sock".to_owned(), "127.0.0.1:50051".to_owned()],
        roles: vec![Role::Server],
        profile: "full".to_owned(),
        seed: 42,
        started_at_ms: 1_750_000_000_123,
        planned: results.len(),
        strict: false,
    };
    let survey = Survey {
        dialect: "contract".to_owned(),
        services: vec!["AiInference".to_owned()],
        reflection: Some("grpc.reflection.v1.ServerReflection".to_owned()),
        metrics: BTreeMap::from([
            ("backend".to_owned(), "fast\u{1b}[2J".to_owned()),
            ("version".to_owned(), "1.2.3".to_owned()),
        ]),
        ttft_ms: Some(48.4),
        chunks_per_second: Some(80.0),
        warnings: vec![
            "methods that do not exist are answered OK: no OK of this target means much".to_owned(),
        ],
        ..Survey::default()
    };
    let mut events = vec![Event::RunStarted(started), Event::Surveyed(survey)];
    for result in results {
        events.push(Event::CheckStarted { id: result.id.clone() });
        events.push(Event::CheckFinished(Box::new(result)));
    }
    events.push(Event::RunFinished(RunFinished {
        summary,
        duration_ms: 12_345,
        interrupted,
        broke_off: None,
    }));
    events
}

fn result(id: &str, level: Level, verdict: Verdict, reason: &str) -> CheckResult {
    CheckResult {
        id: id.to_owned(),
        level,
        role: Role::Server,
        title: format!("the title of {id}"),
        requirement: format!("The sentence of {id}, about `end_of_stream` and <others>."),
        verdict,
        known: false,
        known_because: String::new(),
        reason: reason.to_owned(),
        evidence: vec![],
        evidence_omitted: 0,
        exercised: 3,
        started_at_ms: 1_750_000_000_500,
        duration_ms: 1234,
        attempts: 1,
        rerun: format!("conformance run --target unix:///run/model.sock --only {id} --seed 42"),
        grpcurl: String::new(),
        trace: String::new(),
    }
}

fn exchange(at_ms: f64, call: u32, direction: Direction, what: &str) -> Exchange {
    Exchange { at_ms, call, direction, what: what.to_owned() }
}

// Any run.

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,40}",
        Just(NASTY.to_owned()),
        Just(String::new()),
        "[\u{0}-\u{1f}\u{7f}-\u{9f}`|<&]{0,20}"
    ]
}

/// The probe rounds times to microseconds.
fn any_time() -> impl Strategy<Value = f64> {
    (-1_000_i32..2_000_000_000).prop_map(|micros| f64::from(micros) / 1e3)
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => any_result().prop_map(|result| Event::CheckFinished(Box::new(result))),
        1 => any_text().prop_map(|id| Event::CheckStarted { id }),
        1 => any_survey(),
        1 => any_start(),
        1 => (any::<u64>(), any::<bool>()).prop_map(|(duration_ms, interrupted)| {
            Event::RunFinished(RunFinished { summary: Summary::default(), duration_ms, interrupted, broke_off: None })
        }),
    ]
}

fn any_survey() -> impl Strategy<Value = Event> {
    (any_text(), any_text(), any_text(), prop::option::of(any_time())).prop_map(|(a, b, c, ttft_ms)| {
        Event::Surveyed(Survey {
            dialect: a.clone(),
            services: vec![b.clone()],
            reflection: Some(c.clone()),
            model: b.clone(),
            metrics: BTreeMap::from([("backend".to_owned(), c), ("version".to_owned(), a.clone())]),
            ttft_ms,
            chunks_per_second: ttft_ms,
            silent: true,
            subject: Some(Subject { name: a.clone(), version: Some(b.clone()), url: None }),
            prompts: vec![b],
            warnings: vec![a],
        })
    })
}

fn any_start() -> impl Strategy<Value = Event> {
    (any_text(), any_text(), any::<u64>(), any::<u64>()).prop_map(|(a, b, seed, started_at_ms)| {
        Event::RunStarted(RunStarted {
            schema: SCHEMA,
            version: a.clone(),
            addresses: vec![b.clone(), a],
            roles: vec![Role::Server, Role::Proxy],
            profile: b,
            seed,
            started_at_ms,
            planned: 3,
            strict: seed % 2 == 0,
        })
    })
}

fn any_result() -> impl Strategy<Value = CheckResult> {
    let level = prop_oneof![Just(Level::Must), Just(Level::Should), Just(Level::May)];
    let verdict = prop_oneof![
        Just(Verdict::Pass),
        Just(Verdict::Fail),
        Just(Verdict::Skip),
        Just(Verdict::Inconclusive),
        Just(Verdict::Error)
    ];
    let direction = prop_oneof![Just(Direction::Sent), Just(Direction::Received)];
    let exchange = (any_time(), 0..40_u32, direction, any_text())
        .prop_map(|(at_ms, call, direction, what)| Exchange { at_ms, call, direction, what });
    let texts = (any_text(), any_text(), any_text(), any_text(), any_text());
    let numbers = (any::<u32>(), any::<u64>(), 0..1000_usize, any::<u32>());
    (level, verdict, any::<bool>(), prop::collection::vec(exchange, 0..50), texts, numbers).prop_map(
        |(level, verdict, known, evidence, (id, title, requirement, reason, rerun), numbers)| {
            let (exercised, duration_ms, evidence_omitted, attempts) = numbers;
            let role = Role::Gateway;
            CheckResult {
                id,
                level,
                role,
                title,
                requirement,
                verdict,
                known,
                known_because: rerun.clone(),
                reason,
                evidence,
                evidence_omitted,
                exercised,
                started_at_ms: duration_ms / 3,
                duration_ms,
                attempts,
                trace: rerun.clone(),
                grpcurl: rerun.clone(),
                rerun,
            }
        },
    )
}

// What is needed to look at reports.

fn document(format: Format, run: &Run) -> String {
    format.render(run).expect("a document").expect("rendered")
}

fn terminal(events: &[Event], color: bool) -> String {
    let stream = Stream { color, ..Stream::default() };
    terminal_on(events, stream, Language::English)
}

fn terminal_on(events: &[Event], stream: Stream, language: Language) -> String {
    let out = Buffer::default();
    let reports = Some("target/conformance".as_ref());
    let mut report = Terminal::new(Box::new(out.clone()), stream, reports, language);
    for event in events {
        report.event(event).expect("a buffer takes everything");
    }
    report.finish().expect("a buffer takes everything");
    out.text()
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").clone()).expect("UTF-8")
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A directory of this test's own that does not exist yet.
fn scratch(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("reports").join(name);
    let _ = fs::remove_dir_all(&directory);
    directory
}

fn strip_sgr(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |bare, part| bare + part.split_once('m').expect("a colour").1)
}
