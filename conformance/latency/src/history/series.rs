//! Entries side by side: what is comparable, and where it changed.

use std::collections::BTreeMap;

use serde::Serialize;

use super::entry::{Entry, Kind, servers};
use crate::conditions::Conditions;

/// What is comparable, in the order in which it was added.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// The host on which all values were measured.
    pub host: String,
    /// The command that measured all values.
    pub kind: Kind,
    /// The conditions under which all values were measured.
    pub conditions: Conditions,
    /// One per metric and quantile.
    pub lines: Vec<Line>,
}

/// One quantile of one metric over time: what a plot needs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Name of the figure, such as `ttft/1 p50`.
    pub name: String,
    /// Labels and milliseconds.
    pub points: Vec<(String, f64)>,
    /// Where it changed, in order.
    pub changes: Vec<Change>,
}

/// The values from `index` on are others than those before.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Index into the line's points.
    pub index: usize,
    /// The label at that point.
    pub label: String,
    /// The median from the change before to this one, in milliseconds.
    pub before: f64,
    /// And from this one to the next.
    pub after: f64,
    /// How often chance makes a change as clear.
    pub p: f64,
}

impl Line {
    fn of(name: String, points: Vec<(String, f64)>) -> Self {
        let values: Vec<_> = points.iter().map(|(_, value)| *value).collect();
        let change = |point: statistics::ChangePoint| Change {
            index: point.index,
            label: points[point.index].0.clone(),
            before: point.before,
            after: point.after,
            p: point.p,
        };
        let changes =
            statistics::change_points(&values, SIGNIFICANCE, SEED).into_iter().map(change).collect();
        Self { name, points, changes }
    }

    /// The name without the formula's version, for people.
    pub fn words(&self) -> String {
        let (formula, quantile) = self.name.split_once(' ').unwrap_or((&self.name, ""));
        let metric = formula.split_once('/').map_or(formula, |(metric, _)| metric);
        format!("{metric} {quantile}")
    }
}

/// All series of a history, each of its last results.
pub fn series(entries: &[Entry], last: usize) -> Vec<Series> {
    let mut groups: BTreeMap<_, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        groups.entry((&entry.host, entry.kind, &entry.conditions)).or_default().push(entry);
    }
    let series = |((host, kind, conditions), entries): ((&String, Kind, &Conditions), Vec<&Entry>)| {
        let recent = &entries[entries.len().saturating_sub(last)..];
        let mut lines: BTreeMap<&str, Vec<(String, f64)>> = BTreeMap::new();
        for entry in recent {
            for (name, value) in &entry.values {
                lines.entry(name).or_default().push((entry.label.clone(), *value));
            }
        }
        let mut lines: Vec<_> =
            lines.into_iter().map(|(name, points)| Line::of(name.to_owned(), points)).collect();
        let place = |line: &Line| servers().position(|metric| line.name.starts_with(metric.formula_id()));
        lines.sort_by_key(|line| place(line).unwrap_or(usize::MAX));
        Series { host: host.clone(), kind, conditions: conditions.clone(), lines }
    };
    groups.into_iter().map(series).collect()
}

/// There are some ten lines to a series, and an alarm of chance in one of a hundred is a nuisance enough.
const SIGNIFICANCE: f64 = 0.01;
/// The same history gives the same changes.
const SEED: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(label: usize, host: &str, ttft: f64) -> Entry {
        Entry {
            schema: String::new(),
            label: format!("c{label}"),
            time: String::new(),
            kind: Kind::Run,
            target: String::new(),
            host: host.to_owned(),
            conditions: Conditions::default(),
            values: [("tpot/1 p50".to_owned(), 5.0), ("ttft/1 p50".to_owned(), ttft)].into(),
        }
    }

    #[test]
    fn a_step_is_found_at_its_label_and_other_hosts_are_other_series() {
        let noise = |at: usize| (at * 7 % 5) as f64 / 50.0;
        let mut entries: Vec<_> =
            (0..24).map(|at| entry(at, "a", if at < 12 { 12.1 } else { 14.0 } + noise(at))).collect();
        entries.insert(3, entry(99, "b", 50.0));
        let [one, other] = &series(&entries, 200)[..] else { panic!("two hosts") };
        assert_eq!((one.host.as_str(), other.host.as_str()), ("a", "b"));
        let names: Vec<_> = one.lines.iter().map(Line::words).collect();
        assert_eq!(names, ["ttft p50", "tpot p50"], "in the order of reports");
        let [change] = &one.lines[0].changes[..] else { panic!("{:?}", one.lines[0]) };
        assert_eq!((change.index, change.label.as_str()), (12, "c12"));
        assert!(change.after / change.before > 1.1, "{change:?}");
        assert!(one.lines[1].changes.is_empty());
        assert_eq!(other.lines[0].points, [("c99".to_owned(), 50.0)]);
        assert!(series(&entries, 5)[0].lines[0].changes.is_empty(), "five results change nowhere");
    }
}
