//! Recordings whose figures are known, made by hand.

use latency::{
    compare::{Comparison, Conclusion, Pair, Row},
    record::{Nanos, Outcome, Recording, RequestRecord, Setup},
};
use statistics::{Finding, Verdict};

/// Everything that a hostile or careless target can put into a text.
pub(crate) const NASTY: &str = "\u{1b}[31m \u{0} <script>alert(\"x\")</script> </title> ]]> {{ 7*7 }} 中文 \u{202e}reversed \u{ffff} & 'quoted'";

/// From −1 to 1, without a pattern.
pub(crate) fn noise(n: u32) -> f64 {
    f64::from(n.wrapping_add(1).wrapping_mul(2_654_435_761) >> 16) / 32_768.0 - 1.0
}

pub(crate) fn setup(target: &str) -> Setup {
    Setup {
        target: target.to_owned(),
        dialect: "contract".to_owned(),
        model: String::new(),
        load: "poisson:20".to_owned(),
        prompts: "short".to_owned(),
        tokens: 16,
        seed: 1,
        connections: 1,
        length: "30s".to_owned(),
        most_running: None,
        per_stream: 1,
        cancel_share: 0.0,
        requests: None,
        started: "2026-01-01T00:00:00Z".to_owned(),
        host: "a machine, 2 cores".to_owned(),
    }
}

pub(crate) fn request() -> RequestRecord {
    RequestRecord {
        prompt: 0,
        planned: 0,
        sent: 0,
        waited: 0,
        chunks: Vec::new(),
        ended: 0,
        outcome: Outcome::Complete,
        text: 0,
        server_ttft_ms: None,
        server_tokens_per_second: None,
        freed: None,
        message: None,
    }
}

/// So many requests, one every 50 ms, with the first token after `ttft` ms give or take `spread`, and 15 more every 5 ms.
pub(crate) fn recording(count: u32, ttft: f64, spread: f64) -> Recording {
    let one = |n: u32| {
        let planned = milliseconds(f64::from(n) * 50.0 + 20.0 * noise(n));
        answered(planned, ttft + spread * noise(n + 7))
    };
    Recording { setup: setup("a target"), requests: (0..count).map(one).collect() }
}

fn answered(planned: Nanos, ttft: f64) -> RequestRecord {
    let sent = planned + 50_000;
    let chunks: Vec<_> = (0..16).map(|n| planned + milliseconds(ttft + 5.0 * f64::from(n))).collect();
    let ended = chunks[15] + 100_000;
    RequestRecord { planned, sent, chunks, ended, ..request() }
}

/// A run that has everything: stalls, some slow requests, some that failed, and names that do not behave.
pub(crate) fn eventful() -> Recording {
    let mut recording = recording(600, 20.0, 2.0);
    recording.setup.target =
        format!("unix:///run/a-very-long-path/{}/model.sock {NASTY}", "folder/".repeat(12));
    let (stalls, second) = ([8_u64, 17, 26], 1_000_000_000);
    for (n, request) in recording.requests.iter_mut().enumerate() {
        if n % 50 == 49 {
            request.chunks.iter_mut().for_each(|at| *at += 60_000_000);
        }
        for stall in stalls {
            // Whatever would come in this second comes at its end.
            let (from, to) = (stall * second, (stall + 1) * second);
            for at in &mut request.chunks {
                *at = if (from..to).contains(at) { to + (*at - from) / 1_000 } else { *at };
            }
        }
        request.chunks.sort_unstable();
        request.ended = request.chunks[15];
        if n % 150 == 149 {
            request.outcome = Outcome::Broken(NASTY.to_owned());
        }
    }
    recording
}

/// Blocks whose candidate's first token comes later by a factor.
pub(crate) fn pairs(count: u32, slower: f64) -> Vec<Pair> {
    (0..count).map(|block| pair(slower * (1.0 + 0.02 * noise(block)))).collect()
}

pub(crate) fn pair(slower: f64) -> Pair {
    let side = |target: &str, ttft| Recording { setup: setup(target), ..recording(150, ttft, 3.0) };
    Pair { baseline: side("localhost:50051", 20.0), candidate: side("localhost:50052", 20.0 * slower) }
}

/// A comparison with one goal.
pub(crate) fn comparison(
    conclusion: Conclusion,
    verdict: Verdict,
    [centre, low, high]: [f64; 3],
) -> Comparison {
    let finding = Finding {
        metric: "ttft".to_owned(),
        quantile: 0.5,
        centre,
        low,
        high,
        threshold: 0.05,
        requested: 0.05,
        floor: None,
        detectable: 0.04,
        verdict,
        ratios: vec![low, centre, high],
    };
    Comparison {
        schema: "ai-inference-bench/comparison/2".to_owned(),
        conclusion,
        invalid: Vec::new(),
        baseline: "localhost:50051".to_owned(),
        candidate: "localhost:50052".to_owned(),
        setup: setup("localhost:50052"),
        blocks: 3,
        rows: vec![Row { baseline_ms: 20.0, candidate_ms: 20.0 * centre, finding }],
        notes: Vec::new(),
        withheld: None,
    }
}

fn milliseconds(ms: f64) -> Nanos {
    (ms.max(0.0) * 1e6) as Nanos
}
