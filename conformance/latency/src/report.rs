//! A run's figures: for people and for programs.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    ending::Ended,
    failures::Failure,
    health::{HEALTH, HealthFigures},
    lag::Lag,
    metrics::{Distribution, Metric, milliseconds, quantile},
    record::{Nanos, Outcome, RequestRecord, Setup},
    server::ServerFigures,
};

/// What a service promises: a request that meets all of it counts as good.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Objectives {
    /// Longest time to the first token, in milliseconds.
    pub ttft_ms: f64,
    /// Longest mean gap, in milliseconds.
    pub tpot_ms: f64,
}

/// MLPerf Inference's interactive scenario for large language models.
impl Default for Objectives {
    fn default() -> Self {
        Self { ttft_ms: 450.0, tpot_ms: 40.0 }
    }
}

/// The figures of one run. `schema` names this form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Always `ai-inference-bench/run/1`.
    pub schema: String,
    /// What was measured, and how.
    pub setup: Setup,
    /// Seconds from the first request's planned time to the last one's end.
    pub seconds: f64,
    /// Requests by how they ended.
    pub outcomes: BTreeMap<String, u64>,
    /// Complete requests a second.
    pub requests_per_second: f64,
    /// Text-bearing chunks a second, of complete requests.
    pub chunks_per_second: f64,
    /// Requests a second that met the objectives.
    pub goodput: f64,
    /// The objectives that the goodput counts by.
    pub objectives: Objectives,
    /// Formula id → distribution in milliseconds.
    pub metrics: BTreeMap<String, Distribution>,
    /// What the server says of its own time to the first token: the median, in milliseconds.
    pub server_ttft_ms: Option<f64>,
    /// What the server counted meanwhile, where its metrics were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerFigures>,
    /// Calls of Health that were not answered meanwhile, where it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_failed: Option<u64>,
    /// Why the figures must not be used; empty for a valid run.
    pub invalid: Vec<String>,
    /// What a reader must know of figures that may be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What failed requests ended with, the most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
}

impl Report {
    /// Computes every figure from the records.
    pub fn new(setup: Setup, requests: &[RequestRecord], objectives: Objectives) -> Self {
        let first = requests.iter().map(|request| request.planned).min().unwrap_or(0);
        let last = requests.iter().map(|request| request.ended).max().unwrap_or(first);
        let seconds = Duration::from_nanos(last - first).as_secs_f64();
        let complete: Vec<_> = requests.iter().filter(|request| request.is_complete()).collect();
        let rate = |count: usize| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let mut outcomes = BTreeMap::new();
        for request in requests {
            *outcomes.entry(word(request)).or_insert(0) += 1;
        }
        let metrics: BTreeMap<_, _> = Metric::ALL
            .into_iter()
            .filter_map(|metric| {
                let values = metric.values(requests);
                Some((metric.formula_id().to_owned(), Distribution::of(&values)?))
            })
            .collect();
        let meets = |request: &&&RequestRecord| {
            let within =
                |metric: Metric, most: f64| metric.of(request).iter().all(|v| milliseconds(*v) <= most);
            within(Metric::Ttft, objectives.ttft_ms) && within(Metric::Tpot, objectives.tpot_ms)
        };
        let server = complete.iter().filter_map(|request| request.server_ttft_ms);
        let server: Vec<Nanos> = server.map(|ms| (f64::from(ms) * 1e6) as Nanos).collect();
        Self {
            schema: "ai-inference-bench/run/1".to_owned(),
            setup,
            seconds,
            outcomes,
            requests_per_second: rate(complete.len()),
            chunks_per_second: rate(complete.iter().map(|request| request.chunks.len()).sum()),
            goodput: rate(complete.iter().filter(meets).count()),
            objectives,
            metrics,
            server_ttft_ms: quantile(server, 0.5).map(|nanos| nanos / 1e6),
            server: None,
            health_failed: None,
            invalid: faults(requests),
            warnings: Lag::of(requests).warning().into_iter().collect(),
            failures: Failure::of(requests, word),
        }
    }

    /// Adds what was seen beside the requests.
    #[must_use]
    pub fn beside(mut self, server: Option<ServerFigures>, health: Option<HealthFigures>) -> Self {
        self.server = server;
        self.health_failed = health.map(|health| health.failed);
        let latency = health.and_then(|health| health.latency);
        self.metrics.extend(latency.map(|latency| (HEALTH.to_owned(), latency)));
        self
    }

    /// Says that the run ended before its time, if it did.
    #[must_use]
    pub fn ended_early(mut self, ended: Option<Ended>) -> Self {
        if let Some(ended) = ended {
            let list = if ended.is_fault() { &mut self.invalid } else { &mut self.warnings };
            list.push(ended.to_string());
        }
        self
    }

    /// One metric's distribution.
    pub fn metric(&self, metric: Metric) -> Option<&Distribution> {
        self.metrics.get(metric.formula_id())
    }

    /// Whether the run took long enough for a number a second.
    pub(crate) fn has_rates(&self) -> bool {
        self.seconds >= LEAST_SECONDS
    }

    /// How far the 99th percentile of the first token can be trusted.
    pub(crate) fn tail_limits(&self) -> Option<String> {
        let ttft = self.metric(Metric::Ttft)?;
        let (p99, low, count) = (ttft.p99?, ttft.p99_low?, ttft.count);
        let limits = match ttft.p99_high {
            Some(high) => format!("between {low:.2} and {high:.2} ms"),
            None => format!("above {low:.2} ms; {count} values give no upper limit"),
        };
        Some(format!("ttft p99 is {p99:.2} ms; with 95 % confidence the true one lies {limits}"))
    }

    fn rates(&self) -> String {
        if !self.has_rates() {
            return format!("rates are not shown: {:.3} s are too short for a number a second", self.seconds);
        }
        format!(
            "{:.1} requests/s, {:.1} chunks/s over {:.1} s; goodput {:.1} requests/s (ttft ≤ {} ms, tpot ≤ {} ms)",
            self.requests_per_second,
            self.chunks_per_second,
            self.seconds,
            self.goodput,
            self.objectives.ttft_ms,
            self.objectives.tpot_ms
        )
    }

    /// A table for terminals.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let setup = &self.setup;
        let shared = match setup.per_stream {
            0 | 1 => String::new(),
            several => format!(", {several} requests a stream"),
        };
        let _ = writeln!(
            text,
            "{} ({}), model {}, load {}{shared}, {} prompts, {} tokens, seed {}\n",
            setup.target,
            setup.dialect,
            setup.shown_model(),
            setup.load,
            setup.prompts,
            setup.tokens,
            setup.seed
        );
        let _ = writeln!(text, "{COLUMNS}");
        let health = self.metrics.get(HEALTH).map(|latency| ("health", *latency));
        let rows = Metric::ALL.into_iter().filter_map(|metric| Some((metric.name(), *self.metric(metric)?)));
        for (name, d) in rows.chain(health) {
            let tail = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.2}"));
            let _ = writeln!(
                text,
                "{name:<15}{:>9.2}{:>9.2}{:>9.2}{:>9}{:>9}{:>9.2}{:>9}",
                d.p50,
                d.p90,
                d.p95,
                tail(d.p99),
                tail(d.p999),
                d.max,
                d.count
            );
        }
        if let Some(server) = self.server_ttft_ms {
            let _ = writeln!(text, "\nthe server's own ttft: {server:.2} ms at the median");
        }
        if let Some(server) = &self.server {
            let median = |name: &str| self.metrics.get(&format!("{name}/1")).map(|d| d.p50);
            let _ = write!(text, "\n{}", server.lines(median));
        }
        if let Some(failed @ 1..) = self.health_failed {
            let _ = writeln!(text, "{failed} calls of Health were not answered");
        }
        let outcomes: Vec<_> = self.outcomes.iter().map(|(word, count)| format!("{count} {word}")).collect();
        let _ = writeln!(text, "\n{}\n{}", self.rates(), outcomes.join(", "));
        for failure in &self.failures {
            let _ = writeln!(text, "FAILED: {}", failure.line());
        }
        if let Some(line) = self.tail_limits() {
            let _ = writeln!(text, "{line}");
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "WARNING: {warning}");
        }
        for fault in &self.invalid {
            let _ = writeln!(text, "INVALID: {fault}");
        }
        text
    }
}

/// Why the figures must not be used.
pub(super) fn faults(requests: &[RequestRecord]) -> Vec<String> {
    let mut faults = Vec::new();
    let failed = requests.iter().filter(|request| request.has_failed()).count();
    if !requests.iter().any(RequestRecord::is_complete) {
        faults.push("no request was answered".to_owned());
    } else if failed as f64 > MOST_FAILED * requests.len() as f64 {
        let share = 100.0 * failed as f64 / requests.len() as f64;
        faults.push(format!("{failed} of {} requests failed ({share:.1} %)", requests.len()));
    }
    faults.extend(Lag::of(requests).fault());
    faults
}

/// A line a request, with a head, for spreadsheets; milliseconds.
pub fn csv(requests: &[RequestRecord]) -> String {
    let mut text = "planned_ms,sent_ms,ttft_ms,tpot_ms,e2e_ms,chunks,outcome\n".to_owned();
    for request in requests {
        let of = |metric: Metric| {
            metric
                .of(request)
                .first()
                .map_or_else(String::new, |value| format!("{:.3}", milliseconds(*value)))
        };
        let _ = writeln!(
            text,
            "{:.3},{:.3},{},{},{},{},{}",
            milliseconds(request.planned),
            milliseconds(request.sent),
            of(Metric::Ttft),
            of(Metric::Tpot),
            of(Metric::E2e),
            request.chunks.len(),
            word(request)
        );
    }
    text
}

/// How it ended, in a word.
pub(super) fn word(request: &RequestRecord) -> String {
    match &request.outcome {
        Outcome::Complete if request.chunks.is_empty() => "without text".to_owned(),
        Outcome::Complete => "complete".to_owned(),
        Outcome::Status(name) => name.clone(),
        Outcome::Broken(_) => "broken".to_owned(),
        Outcome::Late => "late".to_owned(),
        Outcome::TooLong => "too long".to_owned(),
        Outcome::Cut => "cut by the run's end".to_owned(),
        Outcome::Cancelled => "cancelled by the client".to_owned(),
    }
}

/// As wide as what stands below them.
const COLUMNS: &str = "ms                   p50      p90      p95      p99    p99.9      max        n";
/// A handful of answers within milliseconds would give any number.
const LEAST_SECONDS: f64 = 0.25;
/// A server that fails more is not slow but broken.
const MOST_FAILED: f64 = 0.01;
