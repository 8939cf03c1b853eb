//! Series as text: for terminals, and as Markdown.

use std::fmt::Write as _;

use present::text::visible;

use super::{
    entry::Kind,
    series::{Change, Line, Series},
};

impl Series {
    /// The series as a table for terminals.
    pub fn table(&self) -> String {
        let mut text = self.head("", "");
        for line in &self.lines {
            let name = line.words();
            let last = line.points.last().map_or(0.0, |(_, value)| *value);
            let _ = writeln!(text, "{name:<17}{last:>9.2} ms  {}", sparkline(line));
            for change in &line.changes {
                let _ = writeln!(text, "    {}", change.words(&name));
            }
        }
        text
    }

    /// For a page or a pull request.
    pub fn markdown(&self) -> String {
        let mut text = self.head("### ", "\n");
        text.push_str("| | last | | changes |\n|---|---|---|---|\n");
        for line in &self.lines {
            let name = line.words();
            let last = line.points.last().map_or(0.0, |(_, value)| *value);
            let changes: Vec<_> =
                line.changes.iter().map(|change| change.words(&name).replace('|', "\\|")).collect();
            let _ =
                writeln!(text, "| {name} | {last:.2} ms | {} | {} |", sparkline(line), changes.join("<br>"));
        }
        text
    }

    fn head(&self, before: &str, after: &str) -> String {
        let kind = match self.kind {
            Kind::Run => "bench run",
            Kind::Comparison => "bench compare",
        };
        let points = self.lines.iter().max_by_key(|line| line.points.len()).map(|line| &line.points);
        let label = |point: Option<&(String, f64)>| point.map_or(String::new(), |(label, _)| visible(label));
        let (count, first, last) = points.map_or((0, String::new(), String::new()), |points| {
            (points.len(), label(points.first()), label(points.last()))
        });
        format!(
            "{before}{}\n{after}{kind}, {}\nresults: {count}, {first} to {last}\n\n",
            visible(&self.host),
            visible(&self.conditions.to_string())
        )
    }
}

impl Change {
    /// `since a1b2c3: ttft p50 12.1 → 14.0 ms (+16 %)`.
    pub fn words(&self, name: &str) -> String {
        let Self { before, after, .. } = self;
        let share = if *before > 0.0 { (after / before - 1.0) * 100.0 } else { 0.0 };
        format!("since {}: {name} {before:.2} → {after:.2} ms ({share:+.0} %)", visible(&self.label))
    }
}

/// The last values, from the smallest of them to the largest.
fn sparkline(line: &Line) -> String {
    let values: Vec<_> = line.points.iter().map(|(_, value)| *value).collect();
    let values = &values[values.len().saturating_sub(WIDTH)..];
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // What hardly moves is a flat line, and not noise at full height.
    let range = (high - low).max(high.abs() * LEAST_RANGE);
    let bar = |value: &f64| {
        let height = if range > 0.0 { (value - low) / range * (BARS.len() - 1) as f64 } else { 0.0 };
        BARS[(height.round() as usize).min(BARS.len() - 1)]
    };
    values.iter().map(bar).collect()
}

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Beside a name and a value, within 80 columns.
const WIDTH: usize = 48;
/// The whole height is a tenth of the largest value, or more.
const LEAST_RANGE: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditions::Conditions;

    fn line(values: &[f64], changes: Vec<Change>) -> Line {
        let points = values.iter().enumerate().map(|(at, value)| (format!("c{at}"), *value)).collect();
        Line { name: "ttft/1 p50".to_owned(), points, changes }
    }

    #[test]
    fn a_series_is_a_line_a_metric_with_its_changes_in_words() {
        let change = Change { index: 2, label: "c\u{1b}|2".into(), before: 12.1, after: 14.0, p: 0.001 };
        let lines = vec![line(&[12.0, 12.2, 14.0, 14.0], vec![change])];
        let host = "a machine".to_owned();
        let series = Series { host, kind: Kind::Run, conditions: Conditions::default(), lines };
        let table = series.table();
        assert!(table.contains("since c\\u{1b}|2: ttft p50 12.10 → 14.00 ms (+16 %)"), "{table}");
        assert!(table.contains("▁▂██") && table.contains("results: 4, c0 to c3"), "{table}");
        assert!(series.markdown().contains(r"since c\u{1b}\|2: ttft"), "{}", series.markdown());
    }

    #[test]
    fn what_hardly_moves_is_flat_and_what_is_long_is_cut() {
        assert_eq!(sparkline(&line(&[10.0, 10.01, 10.0], vec![])), "▁▁▁");
        assert_eq!(sparkline(&line(&[0.0, 0.0], vec![])), "▁▁");
        assert_eq!(sparkline(&line(&[], vec![])), "");
        assert_eq!(sparkline(&line(&[1.0; 100], vec![])).chars().count(), WIDTH);
    }
}
