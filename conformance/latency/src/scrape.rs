//! A page of metrics in Prometheus' text format or in OpenMetrics: samples, and what grew between two pages.

use std::collections::BTreeMap;

/// The samples of one page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page(Vec<Sample>);

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// A histogram of what happened between two pages, over all its label sets.
#[derive(Clone, Debug, PartialEq)]
pub struct Grown {
    /// Number of observations.
    pub count: f64,
    /// Sum of the observations.
    pub sum: f64,
    /// Upper bounds, ascending, with the observations below each.
    buckets: Vec<(f64, f64)>,
}

impl Page {
    /// Reads what it can; lines that are no samples are left out.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(sample).collect())
    }

    /// The sum over all label sets of the samples of this name; `None` without any. Names are without the word that programs
    /// put before them, which ends with a colon or with the first underscore.
    pub fn sum(&self, name: &str) -> Option<f64> {
        let values: Vec<_> = self.named(name).map(|sample| sample.value).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Likewise, for each value of one label.
    pub fn sums_by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for sample in self.named(name) {
            *sums.entry(sample.label(label).unwrap_or_default().to_owned()).or_insert(0.0) += sample.value;
        }
        sums
    }

    /// How a histogram grew since `before`; `None` where it did not, or where it fell: its server was started again.
    pub fn grown(&self, before: &Self, name: &str) -> Option<Grown> {
        let since = |suffix: &str| {
            let name = format!("{name}{suffix}");
            Some(self.sum(&name)? - before.sum(&name).unwrap_or(0.0))
        };
        let (count, sum) = (since("_count")?, since("_sum")?);
        let name = format!("{name}_bucket");
        let earlier = before.sums_by(&name, "le");
        let mut buckets: Vec<_> = self
            .sums_by(&name, "le")
            .into_iter()
            .filter_map(|(bound, count)| {
                Some((bound.parse().ok()?, count - earlier.get(&bound).copied().unwrap_or(0.0)))
            })
            .filter(|(bound, _): &(f64, f64)| !bound.is_nan())
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        (count > 0.0 && sum >= 0.0).then_some(Grown { count, sum, buckets })
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| sample.name == name || sample.bare_name() == Some(name))
    }
}

impl Sample {
    fn bare_name(&self) -> Option<&str> {
        self.name.split_once(':').or_else(|| self.name.split_once('_')).map(|(_, name)| name)
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

impl Grown {
    /// Between which bounds a quantile lies, and where if the observations lie evenly between them, as Prometheus'
    /// `histogram_quantile` has it. Above the last finite bound nothing is known but that.
    pub fn quantile(&self, q: f64) -> Option<(f64, f64, Option<f64>)> {
        let rank = q.clamp(0.0, 1.0) * self.buckets.last()?.1;
        let at = self.buckets.iter().position(|(_, count)| *count >= rank && *count > 0.0)?;
        let (high, through) = self.buckets[at];
        let (low, below) = at.checked_sub(1).map_or((0.0, 0.0), |at| self.buckets[at]);
        if high.is_infinite() {
            return Some((low, low, None));
        }
        let share = if through > below { ((rank - below) / (through - below)).clamp(0.0, 1.0) } else { 1.0 };
        Some((low + (high - low) * share, low, Some(high)))
    }
}

/// `name{label="value",…} value`, and whatever stands behind it: a time, an exemplar.
fn sample(line: &str) -> Option<Sample> {
    let line = line.trim_start();
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            rest = rest.trim_start_matches([' ', ',']);
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, value) = rest.split_once("=\"")?;
            let (value, after) = quoted(value)?;
            labels.push((label.trim().to_owned(), value));
            rest = after;
        }
    }
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    (!name.is_empty()).then(|| Sample { name: name.to_owned(), labels, value })
}

/// A label's value up to its closing quotation mark, and what comes after that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => {
                value.push(if c == 'n' { '\n' } else { c });
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Some((value, &text[at + 1..])),
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BEFORE: &str = r#"
# TYPE s_ttft_seconds histogram
s_ttft_seconds_sum{model="a"} 1.0
s_ttft_seconds_count{model="a"} 2
s_ttft_seconds_bucket{le="0.1",model="a"} 1
s_ttft_seconds_bucket{le="0.2",model="a"} 2
s_ttft_seconds_bucket{le="+Inf",model="a"} 2
"#;
    const AFTER: &str = r#"
s_ttft_seconds_sum{model="a"} 2.5
s_ttft_seconds_count{model="a"} 10 1700000000
s_ttft_seconds_bucket{le="0.1",model="a"} 1
s_ttft_seconds_bucket{le="0.2",model="a"} 9 # {trace="x"} 0.15
s_ttft_seconds_bucket{le="+Inf",model="a"} 10
s_ttft_seconds_count{model="b"} 2
s_ttft_seconds_sum{model="b"} 0.5
s_ttft_seconds_bucket{le="0.1",model="b"} 2
s_ttft_seconds_bucket{le="0.2",model="b"} 2
s_ttft_seconds_bucket{le="+Inf",model="b"} 2
s_refused_total{why="a \"quoted\", thing"} 3
# EOF
"#;

    #[test]
    fn what_grew_is_told_over_all_models() {
        let grown = Page::parse(AFTER).grown(&Page::parse(BEFORE), "ttft_seconds").unwrap();
        assert_eq!((grown.count, grown.sum), (10.0, 2.0));
        // Two up to 0.1, seven more up to 0.2, one beyond.
        let (estimate, low, high) = grown.quantile(0.5).unwrap();
        assert!((estimate - (0.1 + 0.1 * 3.0 / 7.0)).abs() < 1e-9, "{estimate}");
        assert_eq!((low, high), (0.1, Some(0.2)));
        assert_eq!(grown.quantile(0.99), Some((0.2, 0.2, None)), "nothing is known above the last bound");
        assert_eq!(grown.quantile(0.1).map(|(_, low, high)| (low, high)), Some((0.0, Some(0.1))));
    }

    #[test]
    fn what_did_not_grow_or_began_anew_is_nothing() {
        let (before, after) = (Page::parse(BEFORE), Page::parse(AFTER));
        assert_eq!(after.grown(&after, "ttft_seconds"), None);
        assert_eq!(before.grown(&after, "ttft_seconds"), None);
        assert_eq!(after.grown(&before, "other_seconds"), None);
        assert_eq!(after.grown(&before, "seconds"), None, "a name is a whole name");
    }

    #[test]
    fn labels_may_hold_anything() {
        let sums = Page::parse(AFTER).sums_by("refused_total", "why");
        assert_eq!(sums, BTreeMap::from([("a \"quoted\", thing".to_owned(), 3.0)]));
    }

    proptest! {
        #[test]
        fn no_page_makes_it_panic(text in r#"([a-z_:]{0,4}[{]?[a-z]{0,2}=?"?\\?[a-z0-9.+]{0,4}"?,?[}]? ?[0-9a-zA-Z+-]{0,4}\n?){0,8}"#) {
            let page = Page::parse(&text);
            if let Some(grown) = page.grown(&Page::default(), "") {
                let _ = grown.quantile(0.5);
            }
        }
    }
}
