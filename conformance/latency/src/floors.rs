//! Which differences are only noise on a host, per load: measured once by comparing a program with itself, used
//! whenever two programs are compared there under an equal load. Pure.
//!
//! Loads are equal when everything is that [`Conditions::of_load`] holds: how requests came and for how long, prompts,
//! tokens, connections. Seed, model and dialect may differ, and so may the target: a floor is the host's. A server that
//! keeps the processor busy has a higher one than a server that sleeps, so calibrate with one that does as yours does.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use statistics::{Error, Floor, LookSchedule};

use super::{
    compare::{Goal, Pair, can_be_seen, figure},
    conditions::Conditions,
    host::Fingerprint,
    record::Setup,
};

/// All calibrations of a user. `schema` names this form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Store {
    /// Always `ai-inference-bench/floors/1`.
    pub schema: String,
    /// One for each host and load.
    pub calibrations: Vec<Calibration>,
}

/// The floors of one host under one load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The host, in the words of [`Fingerprint`].
    pub host: String,
    /// Under which load.
    pub load: Conditions,
    /// What was compared with itself.
    pub target: String,
    /// When; RFC 3339.
    pub measured: String,
    /// Per metric and quantile.
    pub floors: Vec<FloorOf>,
}

/// The floor of one quantile of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FloorOf {
    /// The metric's name.
    pub metric: String,
    /// Its quantile and floor.
    #[serde(flatten)]
    pub floor: Floor,
}

impl Calibration {
    /// From blocks whose two sides are the same program.
    pub fn of(pairs: &[Pair], goals: &[Goal], planned: usize) -> Result<Self, Error> {
        let plan = LookSchedule::default();
        let floor = |goal: &Goal| {
            let blocks = figure(goal, pairs).blocks;
            let floor = statistics::calibrate(
                &blocks,
                goal.quantile,
                planned,
                CONFIDENCE,
                plan.resamples,
                plan.seed,
            )?;
            Ok(FloorOf { metric: goal.metric.name().to_owned(), floor })
        };
        let seen = goals.iter().filter(|goal| can_be_seen(goal, pairs));
        let floors = seen.map(floor).collect::<Result<_, Error>>()?;
        let setup = pairs.first().map(|pair| pair.candidate.setup.clone()).unwrap_or_default();
        let load = Conditions::of_load(&setup);
        Ok(Self { host: setup.host, load, target: setup.target, measured: setup.started, floors })
    }

    /// The calibration in words, for terminals.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{}\n{}\n{} with itself\n\nOn this host, differences below these are noise:\n",
            self.host, self.load, self.target
        );
        for FloorOf { metric, floor } in &self.floors {
            let _ = writeln!(
                text,
                "{:>7.1} %  in {metric} p{} (from {} blocks, for comparisons of {})",
                floor.floor * 100.0,
                floor.quantile * 100.0,
                floor.seen,
                floor.planned
            );
        }
        text
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { schema: SCHEMA.to_owned(), calibrations: Vec::new() }
    }
}

impl Store {
    /// Reads what was stored; the error says what to do.
    pub fn parse(text: &str) -> Result<Self, String> {
        let store: Self =
            serde_json::from_str(text).map_err(|error| format!("not a store of floors: {error}"))?;
        if store.schema == SCHEMA {
            Ok(store)
        } else {
            Err(format!("its schema is {:?}, and this program reads {SCHEMA}", store.schema))
        }
    }

    /// Keeps a calibration, in the place of an earlier one of its host and load.
    pub fn keep(&mut self, calibration: Calibration) {
        self.calibrations.retain(|kept| kept.host != calibration.host || kept.load != calibration.load);
        self.calibrations.push(calibration);
    }

    /// The calibration for what was measured so.
    pub fn find(&self, setup: &Setup) -> Option<&Calibration> {
        let load = Conditions::of_load(setup);
        let fits = |kept: &&Calibration| kept.host == setup.host && kept.load == load;
        self.calibrations.iter().find(fits).filter(|kept| Fingerprint::is_known(&kept.host))
    }

    /// Sets the goals' floors.
    pub fn apply(&self, setup: &Setup, goals: &mut [Goal]) {
        let floors = self.find(setup).map_or(&[][..], |kept| &kept.floors);
        for goal in goals {
            let of_goal = |of: &&FloorOf| {
                of.metric == goal.metric.name() && (of.floor.quantile - goal.quantile).abs() < 1e-9
            };
            goal.floor = floors.iter().find(of_goal).map(|of| of.floor.floor);
        }
    }

    /// For a report's reader: where its floors come from.
    pub fn note(&self, setup: &Setup) -> Option<String> {
        let Calibration { target, measured, .. } = self.find(setup)?;
        Some(format!("The floors of this host are from {measured}, of {target} compared with itself."))
    }

    /// For a user who calibrated this host and yet gets no floor.
    pub fn hint(&self, setup: &Setup) -> Option<String> {
        let here: Vec<_> = self.calibrations.iter().filter(|kept| kept.host == setup.host).collect();
        if here.is_empty() || self.find(setup).is_some() {
            return None;
        }
        let loads: Vec<_> = here.iter().map(|kept| kept.load.to_string()).collect();
        Some(format!(
            "note: no floor of this host is for this load ({}); there are some for: {}",
            Conditions::of_load(setup),
            loads.join("; ")
        ))
    }
}

const SCHEMA: &str = "ai-inference-bench/floors/1";
/// Of all comparisons of a program with itself, so many find less than the floor.
const CONFIDENCE: f64 = 0.95;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::goals;

    fn setup(host: &str, load: &str) -> Setup {
        Setup { host: host.into(), load: load.into(), ..Setup::default() }
    }

    fn calibration(setup: &Setup, floor: f64) -> Calibration {
        let floor = Floor { quantile: 0.5, floor, planned: 20, seen: 12 };
        let floors = vec![FloorOf { metric: "ttft".into(), floor }];
        let load = Conditions::of_load(setup);
        Calibration { host: setup.host.clone(), load, target: "t".into(), measured: "then".into(), floors }
    }

    fn ttft_floor(store: &Store, setup: &Setup) -> Option<f64> {
        let mut goals = goals(0.05, 0.1);
        store.apply(setup, &mut goals);
        assert_eq!(goals[3].floor, None, "the tail was not calibrated");
        goals[0].floor
    }

    #[test]
    fn a_floor_is_of_its_host_and_its_load() {
        let mut store = Store::default();
        store.keep(calibration(&setup("a", "closed:1"), 0.03));
        assert_eq!(ttft_floor(&store, &setup("a", "closed:1")), Some(0.03));
        assert_eq!(ttft_floor(&store, &setup("b", "closed:1")), None);
        assert_eq!(ttft_floor(&store, &setup("a", "closed:2")), None);
        assert!(store.hint(&setup("a", "closed:2")).unwrap().contains("closed:1"));
        assert_eq!(store.hint(&setup("b", "closed:2")), None);
    }

    #[test]
    fn the_last_calibration_counts_and_survives_a_file() {
        let mut store = Store::default();
        for (load, floor) in [("closed:1", 0.03), ("closed:2", 0.04), ("closed:1", 0.02)] {
            store.keep(calibration(&setup("a", load), floor));
        }
        assert_eq!(store.calibrations.len(), 2);
        let again = Store::parse(&serde_json::to_string(&store).unwrap()).unwrap();
        assert_eq!(again, store);
        assert_eq!(ttft_floor(&again, &setup("a", "closed:1")), Some(0.02));
    }

    #[test]
    fn a_store_of_another_form_is_refused() {
        assert!(Store::parse("{}").is_err());
        assert!(Store::parse(r#"{"schema":"floors/9","calibrations":[]}"#).unwrap_err().contains("floors/9"));
    }
}
