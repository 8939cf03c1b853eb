//! The benchmark's pages and documents: what they say, that nothing from outside gets into their markup, that they keep
//! their schemas, and what a browser makes of them.

mod browser;
#[path = "../common/schema.rs"]
mod schema;
mod told;
#[path = "../common/xml.rs"]
mod xml;

use std::{fs, path::Path, process::Command};

use latency::{
    compare::{Conclusion, Goal, Pair, goals, judge},
    html::{self, Series},
    metrics::Metric,
    record::{Outcome, RequestRecord},
    report::{Objectives, Report},
};
use proptest::prelude::*;
use statistics::{LookSchedule, Verdict};
use told::{NASTY, comparison, pair, pairs, recording, setup};

#[test]
fn a_run_leaves_a_page_beside_a_document_that_keeps_its_schema() {
    let directory = tempfile::tempdir().unwrap();
    let serve = format!("{PROGRAM} serve exemplar --listen 127.0.0.1:0 --ttft 5ms --gap 1ms");
    let load = ["--load", "poisson:40", "--length", "1s", "--warm-up", "0s", "--tokens", "8"];
    let measured = bench("run", &["--spawn", &serve], &load, directory.path());
    // A machine that is too busy makes it invalid, and leaves the same files.
    assert!([Some(0), Some(4)].contains(&measured), "{measured:?}");
    assert_eq!(violations("bench-run.schema.json", &directory.path().join("report.json")), NONE);
    let page = fs::read_to_string(directory.path().join("report.html")).unwrap();
    xml::assert_xml(&page, None);
    for words in
        ["Latency over time", "Distributions", "First token against load", "(ttft&#x2f;1: ", "poisson:40"]
    {
        assert!(page.contains(words), "{words} is missing");
    }
    assert!(!page.contains(TOKEN), "the page holds the token");
}

#[test]
fn a_comparison_leaves_a_page_beside_a_document_that_keeps_its_schema() {
    let directory = tempfile::tempdir().unwrap();
    let side = |ttft: &str| format!("cmd:{PROGRAM} serve exemplar --listen 127.0.0.1:0 --ttft {ttft}");
    let (baseline, candidate) = (side("10ms"), side("40ms"));
    let sides = ["--baseline", &baseline, "--candidate", &candidate];
    let load = ["--length", "300ms", "--warm-up", "0s", "--tokens", "4", "--looks", "2"];
    let measured = bench("compare", &sides, &load, directory.path());
    assert!(measured.is_some_and(|code| [0, 1, 3, 4].contains(&code)), "{measured:?}");
    assert_eq!(violations("bench-comparison.schema.json", &directory.path().join("comparison.json")), NONE);
    let page = fs::read_to_string(directory.path().join("comparison.html")).unwrap();
    xml::assert_xml(&page, None);
    assert!(page.contains("Distributions, all blocks together") && page.contains("--ttft 40ms"), "{page}");
}

#[test]
fn a_comparison_of_any_outcome_keeps_its_schema_and_says_which_it_is() {
    let plan = LookSchedule { looks: vec![6], ..LookSchedule::default() };
    for (slower, delta, conclusion) in
        [(1.0, 0.05, Conclusion::Pass), (1.2, 0.05, Conclusion::Fail), (1.05, 0.05, Conclusion::Inconclusive)]
    {
        let pairs = pairs(6, slower);
        let (found, _) = judge(&pairs, &goals(delta, 0.1), &plan, false).unwrap().unwrap();
        assert_eq!(found.conclusion, conclusion);
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(schema::violations("bench-comparison.schema.json", &json), NONE);
        let page = html::comparison(&found, &pairs).unwrap();
        xml::assert_xml(&page, None);
        let word = json["conclusion"].as_str().unwrap();
        assert!(heading(&page).starts_with(&format!("{word}: ")), "{}", heading(&page));
    }
}

#[test]
fn the_verdict_is_a_sentence_with_its_figures() {
    let said = |conclusion, verdict, [centre, low, high]: [f64; 3]| {
        let page = html::comparison(&comparison(conclusion, verdict, [centre, low, high]), &pairs(2, centre));
        heading(&page.unwrap())
    };
    assert_eq!(
        said(Conclusion::Fail, Verdict::Fail, [1.2, 1.17, 1.23]),
        "FAIL: the candidate's time to the first token is 20 % longer [17 %, 23 %]; 5 % were allowed"
    );
    assert_eq!(
        said(Conclusion::Pass, Verdict::Pass, [0.98, 0.96, 1.01]),
        "PASS: the candidate's time to the first token is 2 % shorter [−1 %, 4 %]; 5 % were allowed"
    );
    let unclear = said(Conclusion::Inconclusive, Verdict::Inconclusive, [1.05, 1.01, 1.09]);
    assert!(unclear.starts_with("INCONCLUSIVE: ") && unclear.contains("[1 %, 9 %]"), "{unclear}");
}

#[test]
fn who_is_faster_in_all_is_said_to_be_and_who_is_slower_within_what_is_allowed_too() {
    let mut faster = comparison(Conclusion::Pass, Verdict::Pass, [0.5, 0.4, 0.6]);
    faster.rows.push(faster.rows[0].clone());
    let page = html::comparison(&faster, &pairs(2, 0.5)).unwrap();
    assert_eq!(
        heading(&page),
        "PASS: the candidate is faster. Its time to the first token is 50 % shorter [40 %, 60 %]"
    );

    let plan = LookSchedule { looks: vec![6], ..LookSchedule::default() };
    let notes = |slower, floor| {
        let goals = goals(0.5, 0.5).map(|goal| Goal { floor, ..goal });
        let (mut found, _) = judge(&pairs(6, slower), &goals, &plan, false).unwrap().unwrap();
        found.note_what_is_longer();
        found.notes
    };
    assert_eq!(notes(1.0, None), NONE);
    assert_eq!(notes(1.3, Some(0.4)), NONE, "this host makes as much of nothing");
    let said = &notes(1.3, None)[0];
    assert!(said.starts_with("ttft p50 did become longer, by ") && said.contains("is allowed"), "{said}");
}

#[test]
fn figures_that_must_not_be_used_say_so_first_and_why() {
    let mut requests = recording(200, 20.0, 1.0).requests;
    for request in requests.iter_mut().step_by(4) {
        request.outcome = Outcome::Status("UNAVAILABLE".to_owned());
    }
    let report = Report::new(setup("a target"), &requests, Objectives::default());
    let page = html::run(&report, &requests).unwrap();
    assert!(heading(&page).starts_with("INVALID"), "{}", heading(&page));
    let why = page.find("50 of 200 requests failed").expect("the reason");
    assert!(why < page.find("<table").expect("the figures"), "the reason comes before any figure");
    assert!(page.contains("UNAVAILABLE"), "a cross says how it failed");
    let nothing = html::run(&Report::new(setup("a target"), &[], Objectives::default()), &[]).unwrap();
    assert!(nothing.contains("no request was answered"), "{nothing}");
}

#[test]
fn a_page_of_ten_thousand_requests_stays_below_a_megabyte() {
    let mut recorded = recording(10_000, 20.0, 3.0);
    recorded.requests[5_000].chunks.iter_mut().for_each(|at| *at += 700_000_000);
    let report = Report::new(recorded.setup.clone(), &recorded.requests, Objectives::default());
    let page = html::run(&report, &recorded.requests).unwrap();
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    assert!(page.contains("are left out, but none at the edge"), "what is left out is said");
    let slowest = Metric::Ttft.of(&recorded.requests[5_000])[0] as f64 / 1e6;
    assert!(
        page.contains(&format!("first token after {slowest:.0}\u{a0}ms")),
        "the slowest is there, and says so"
    );
}

#[test]
fn a_history_shows_each_change_and_takes_any_values() {
    let values = [20.0, 20.4, 19.8, 20.1, f64::NAN, 25.0, 25.2, 24.9, 25.1];
    let points: Vec<_> = values.iter().enumerate().map(|(n, v)| (format!("commit{n} {NASTY}"), *v)).collect();
    let series = Series { title: "ttft p50", unit: "ms", points: &points, changes: &[5, 0, 5, 99] };
    let page = html::history("poisson:20", &[series]).unwrap();
    xml::assert_xml(&page, None);
    assert!(page.contains("20.1 → 25.1 ms"), "the medians before and after: {page}");
    assert_eq!(page.matches("changed at").count(), 2, "one change that parts the series, in both drawings");
    for points in [&[][..], &points[4..5], &points[..1]] {
        xml::assert_xml(&html::history("", &[Series { points, ..series }]).unwrap(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_requests_give_well_formed_pages(
        requests in prop::collection::vec(any_request(), 0..40),
        load in prop_oneof![Just("ramp:1..9"), Just("poisson:3"), Just(NASTY)],
    ) {
        let mut setup = setup(NASTY);
        load.clone_into(&mut setup.load);
        let report = Report::new(setup, &requests, Objectives::default());
        let page = html::run(&report, &requests).unwrap();
        xml::assert_xml(&page, None);
        let mut pair = pair(1.0);
        pair.candidate.requests = requests;
        let mut found = comparison(Conclusion::Invalid, Verdict::Fail, [f64::NAN, f64::INFINITY, -1.0]);
        found.invalid.push(NASTY.to_owned());
        found.rows[0].finding.metric = NASTY.to_owned();
        found.rows[0].finding.floor = Some(f64::NAN);
        found.notes.push(NASTY.to_owned());
        let other = html::comparison(&found, &[pair]).unwrap();
        xml::assert_xml(&other, None);
        for page in [page, other] {
            prop_assert!(!page.contains("<script") && !page.contains('\u{202e}'), "what comes from outside is escaped");
            prop_assert!(!page.contains("NaN") && !page.contains("inf "), "{page}");
        }
    }
}

/// Of any times, in the order that a clock gives them, with any end.
fn any_request() -> impl Strategy<Value = RequestRecord> {
    let gap = || prop_oneof![Just(0_u64), 0..5_000_000_u64, Just(u64::from(u32::MAX) * 1_000)];
    let outcome = prop_oneof![
        4 => Just(Outcome::Complete),
        1 => Just(Outcome::Status(NASTY.to_owned())),
        1 => Just(Outcome::Broken(NASTY.to_owned())),
        1 => Just(Outcome::Late),
        1 => Just(Outcome::Cut),
    ];
    (gap(), gap(), prop::collection::vec(gap(), 0..12), outcome).prop_map(
        |(planned, waited, gaps, outcome)| {
            let sent = planned + waited;
            let chunks: Vec<_> = gaps
                .iter()
                .scan(sent, |at, gap| {
                    *at += gap;
                    Some(*at)
                })
                .collect();
            let ended = chunks.last().copied().unwrap_or(sent);
            RequestRecord { planned, sent, waited, chunks, ended, outcome, ..told::request() }
        },
    )
}

fn bench(command: &str, target: &[&str], load: &[&str], output: &Path) -> Option<i32> {
    let mut program = Command::new(PROGRAM);
    program.args(["bench", command]).args(target).args(load).arg("--output").arg(output);
    program.env("CONFORMANCE_TOKEN", TOKEN).output().expect("the program runs").status.code()
}

fn violations(schema: &str, file: &Path) -> Vec<String> {
    let json = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    schema::violations(schema, &json)
}

/// The first heading's text.
fn heading(page: &str) -> String {
    let (_, rest) = page.split_once("<h1").and_then(|(_, rest)| rest.split_once('>')).expect("a heading");
    let text = rest.split_once("</h1>").expect("its end").0;
    text.replace("&#x27;", "'").replace('\u{a0}', " ")
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_conformance");
const TOKEN: &str = "secret-of-this-test";
const NONE: Vec<String> = Vec::new();

/// For pictures: [`Pair`]s of a comparison that failed, and a run with stalls.
fn pages() -> [(&'static str, String); 3] {
    let measured = told::eventful();
    let report = Report::new(measured.setup.clone(), &measured.requests, Objectives::default());
    let run = html::run(&report, &measured.requests).unwrap();
    let pairs: Vec<Pair> = pairs(20, 1.2);
    let goals = goals(0.05, 0.1).map(|goal| Goal { floor: Some(0.03), ..goal });
    let (found, _) =
        judge(&pairs, &goals, &LookSchedule { looks: vec![20], ..LookSchedule::default() }, false)
            .unwrap()
            .expect("a look");
    let comparison = html::comparison(&found, &pairs).unwrap();
    let value = |n: u32| (if n < 30 { 20.0 } else { 24.0 }) + told::noise(n);
    let points: Vec<_> = (0..60).map(|n| (format!("{:07x}", n * 0x9_1f3a), value(n))).collect();
    let series = Series { title: "ttft p50", unit: "ms", points: &points, changes: &[30] };
    let history = html::history("poisson:20, short prompts", &[series]).unwrap();
    [("run", run), ("comparison", comparison), ("history", history)]
}
