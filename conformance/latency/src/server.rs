//! What the server says of the same stretch, from two looks at its metrics: beside the client's figures, never in their
//! place. Its histograms have buckets, so its quantiles are known only so well.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::{Deserialize, Serialize};

use super::scrape::{Grown, Page};

/// The server's own figures of a measured stretch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerFigures {
    /// Where they were read.
    pub source: String,
    /// `ttft`, `tpot`, `queue`, `e2e`, as far as the server counts them.
    pub latencies: BTreeMap<String, ServerLatency>,
    /// Sequences in a decode step, on the average.
    pub batch_width: Option<f64>,
    /// Number of tokens generated.
    pub generated_tokens: Option<f64>,
    /// Tokens of prompts.
    pub prompt_tokens: Option<f64>,
    /// Processor time, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Generations that were sent back to the queue.
    pub preemptions: Option<f64>,
    /// Refused requests by reason.
    pub refusals: BTreeMap<String, f64>,
}

/// One of the server's histograms, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerLatency {
    /// Number of observations.
    pub count: f64,
    /// Mean, which is exact.
    pub mean: f64,
    /// Median, estimated from the buckets.
    pub p50: Option<Estimated>,
    /// 90th percentile, estimated from the buckets.
    pub p90: Option<Estimated>,
}

/// A quantile of a histogram, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimated {
    /// If values lie evenly between the two bounds of their bucket.
    pub estimate: f64,
    /// The lower bound.
    pub low: f64,
    /// The upper bound; `None` beyond the last.
    pub high: Option<f64>,
}

impl ServerFigures {
    /// What happened between two looks; an error where the later one cannot be of the same process.
    pub fn between(source: &str, before: &Page, after: &Page) -> Result<Self, String> {
        let since = |name: &str| Some(after.sum(name)? - before.sum(name).unwrap_or(0.0));
        let latencies: BTreeMap<_, _> = LATENCIES
            .iter()
            .filter_map(|(name, histograms)| {
                let grown = histograms.iter().find_map(|histogram| after.grown(before, histogram))?;
                Some(((*name).to_owned(), ServerLatency::of(&grown)))
            })
            .collect();
        let earlier = before.sums_by("refusals_total", "reason");
        let mut refusals = after.sums_by("refusals_total", "reason");
        for (reason, count) in &mut refusals {
            *count -= earlier.get(reason).copied().unwrap_or(0.0);
        }
        refusals.retain(|_, count| *count != 0.0);
        let width = since("decode_rows_total").zip(since("decode_steps_total"));
        let figures = Self {
            source: source.to_owned(),
            latencies,
            batch_width: width.filter(|(_, steps)| *steps > 0.0).map(|(rows, steps)| rows / steps),
            generated_tokens: since("generation_tokens_total"),
            prompt_tokens: since("prompt_tokens_total"),
            cpu_seconds: since("process_cpu_seconds_total"),
            preemptions: since("preemptions_total"),
            refusals,
        };
        let counters = [figures.generated_tokens, figures.prompt_tokens, figures.cpu_seconds];
        if counters.into_iter().flatten().chain(figures.refusals.values().copied()).any(|grown| grown < 0.0) {
            return Err("its counters fell: the server was started again meanwhile".to_owned());
        }
        if figures.latencies.is_empty() && figures.generated_tokens.is_none() {
            return Err("it holds none of the latencies and token counts that this program knows".to_owned());
        }
        Ok(figures)
    }

    /// Lines for terminals; `client` has the client's median for a name, in milliseconds.
    pub fn lines(&self, client: impl Fn(&str) -> Option<f64>) -> String {
        let mut text = String::new();
        let known = LATENCIES.iter().filter_map(|(name, _)| Some((name, self.latencies.get(*name)?)));
        for (name, latency) in known {
            let _ = write!(text, "{name}: ");
            if let Some(p50) = client(name) {
                let _ = write!(text, "client p50 {p50:.2} ms; ");
            }
            let _ = write!(text, "server says mean {:.2} ms", latency.mean);
            if let Some(Estimated { estimate, low, high }) = latency.p50 {
                let _ = match high {
                    Some(high) => {
                        write!(text, ", p50 about {estimate:.2} ms (between {low:.2} and {high:.2})")
                    }
                    None => write!(text, ", p50 above {low:.2} ms"),
                };
            }
            let _ = writeln!(text, ", of {}", latency.count);
        }
        let mut counts = Vec::new();
        let mut count = |name: &str, value: Option<f64>, decimals: usize| {
            counts.extend(value.map(|value| format!("{name} {value:.decimals$}")));
        };
        count("batch width", self.batch_width, 2);
        count("generated tokens", self.generated_tokens, 0);
        count("prompt tokens", self.prompt_tokens, 0);
        count("processor seconds", self.cpu_seconds, 2);
        count("preemptions", self.preemptions.filter(|count| *count > 0.0), 0);
        counts.extend(self.refusals.iter().map(|(reason, count)| format!("refused ({reason}) {count}")));
        if !counts.is_empty() {
            let _ = writeln!(text, "server: {}", counts.join(", "));
        }
        text
    }
}

impl ServerLatency {
    fn of(grown: &Grown) -> Self {
        let quantile = |q| {
            let (estimate, low, high) = grown.quantile(q)?;
            Some(Estimated { estimate: estimate * 1e3, low: low * 1e3, high: high.map(|high| high * 1e3) })
        };
        let mean = grown.sum / grown.count * 1e3;
        Self { count: grown.count, mean, p50: quantile(0.5), p90: quantile(0.9) }
    }
}

/// What the field's servers call their histograms: the reference sidecar's names, and vLLM's.
const LATENCIES: [(&str, &[&str]); 4] = [
    ("ttft", &["time_to_first_token_seconds"]),
    ("tpot", &["request_time_per_output_token_seconds", "time_per_output_token_seconds"]),
    ("queue", &["request_queue_time_seconds"]),
    ("e2e", &["request_duration_seconds", "e2e_request_latency_seconds"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str =
        "sidecar_generation_tokens_total{model=\"m\"} 10\nsidecar_refusals_total{reason=\"queue_full\"} 1\n";
    const AFTER: &str = "\
sidecar_generation_tokens_total{model=\"m\"} 74
sidecar_refusals_total{reason=\"queue_full\"} 1
sidecar_refusals_total{reason=\"no_model\"} 2
sidecar_decode_rows_total{model=\"m\"} 60
sidecar_decode_steps_total{model=\"m\"} 20
sidecar_time_to_first_token_seconds_sum{model=\"m\"} 0.08
sidecar_time_to_first_token_seconds_count{model=\"m\"} 4
sidecar_time_to_first_token_seconds_bucket{le=\"0.01\",model=\"m\"} 0
sidecar_time_to_first_token_seconds_bucket{le=\"0.025\",model=\"m\"} 4
sidecar_time_to_first_token_seconds_bucket{le=\"+Inf\",model=\"m\"} 4
";

    #[test]
    fn the_server_is_quoted_beside_the_client() {
        let figures = ServerFigures::between("page", &Page::parse(BEFORE), &Page::parse(AFTER)).unwrap();
        assert_eq!(figures.generated_tokens, Some(64.0));
        assert_eq!(figures.batch_width, Some(3.0));
        assert_eq!(figures.refusals, BTreeMap::from([("no_model".to_owned(), 2.0)]));
        let ttft = figures.latencies["ttft"];
        assert!((ttft.mean - 20.0).abs() < 1e-9, "{ttft:?}");
        assert_eq!(ttft.p50.map(|p50| (p50.low, p50.high)), Some((10.0, Some(25.0))));
        let lines = figures.lines(|name| (name == "ttft").then_some(20.1));
        assert!(
            lines.contains("ttft: client p50 20.10 ms; server says mean 20.00 ms, p50 about 17.50 ms"),
            "{lines}"
        );
        assert!(lines.contains("batch width 3.00") && lines.contains("refused (no_model) 2"), "{lines}");
    }

    #[test]
    fn a_page_of_another_process_or_of_something_else_is_refused() {
        let error = ServerFigures::between("page", &Page::parse(AFTER), &Page::parse(BEFORE)).unwrap_err();
        assert!(error.contains("started again"), "{error}");
        let error = ServerFigures::between("page", &Page::default(), &Page::parse("up 1\n")).unwrap_err();
        assert!(error.contains("none of the latencies"), "{error}");
    }
}
