//! A side of a comparison that is measured now: started as it was written, and looked at once.

use std::{
    convert::Infallible,
    path::Path,
    time::{Duration, Instant},
};

use latency::{Contestant, Live, Session, SessionError, Stage, compare::Pair, load::Job, metrics::Metric};
use present::Progress;
use tokio::time::sleep;
use wire::{Address, Tls};

use super::{common::LoadSettings, side::Side};
use crate::{
    cli::call::{reach, refuse, stop},
    exit::Exit,
    target::{Start, Target, TargetFile},
};

/// What all blocks of both sides have in common.
#[derive(Clone, Copy)]
pub(super) struct Common<'a> {
    pub(super) load: &'a LoadSettings,
    pub(super) tls: &'a Tls,
    pub(super) prompts: &'a [String],
    /// Inside a container.
    pub(super) port: u16,
    /// Where recordings and logs go.
    pub(super) output: &'a Path,
}

/// A side, and its target while it runs.
pub(super) struct Measured<'a> {
    common: Common<'a>,
    side: &'a Side,
    model: Option<&'a str>,
    /// How it comes to run, the same for all blocks, and its file where it has one.
    described: Option<(Start, Option<TargetFile>)>,
    target: Option<Target>,
}

impl<'a> Measured<'a> {
    pub(super) fn new(common: Common<'a>, side: &'a Side, model: Option<&'a str>) -> Self {
        Self { common, side, model, described: None, target: None }
    }
}

impl Contestant for Measured<'_> {
    /// The error is said already.
    type Error = Exit;

    fn name(&self) -> String {
        self.side.to_string()
    }

    async fn start(&mut self) -> Result<Address, Exit> {
        let (start, _) = match self.described.take() {
            Some(described) => self.described.insert(described),
            None => self.described.insert(self.side.described(self.common.port)?),
        };
        let start = start.clone();
        let target = reach(start, &self.common.output.join("target.log")).await?;
        Ok(self.target.insert(target).addresses()[0].clone())
    }

    async fn look(&mut self) -> Result<Job, Exit> {
        let Common { load, tls, prompts, .. } = self.common;
        let Some(target) = &self.target else {
            return Err(refuse(Exit::Harness, &"a side was looked at before it was started"));
        };
        let Some((_, Some(file))) = &self.described else {
            return load.job(target, self.model, tls, prompts.to_vec()).await;
        };
        let mut load = load.clone();
        load.call.layer_over(file);
        if target.token().is_some() {
            load.call.token = None; // each side has its own
        }
        let model = self.model.or(load.call.model.as_deref());
        load.job(target, model, tls, prompts.to_vec()).await
    }

    async fn stop(&mut self) {
        if let Some(target) = self.target.take() {
            stop(target.stop()).await;
        }
    }
}

/// The next block, with a line of its ratios; the error is said already.
pub(super) async fn block(
    session: &mut Session<'_, Measured<'_>>,
    number: usize,
    load: &LoadSettings,
) -> Result<Pair, Exit> {
    if number == 0 && session.fresh() > 0 {
        eprintln!(
            "measuring in blocks of {} times {}, after a warm-up each; ratios are candidate / baseline…",
            session.fresh(),
            humantime::format_duration(load.length())
        );
    }
    let bar = Progress::timing(load.length());
    let live = session.live();
    let pair = tokio::select! {
        pair = session.block(number) => pair,
        never = show(&bar, &live, number) => match never {},
    };
    bar.clear();
    let pair = pair.map_err(|error| said(&error))?;
    let shown = |metric: Metric| pair.ratio(metric).map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
    eprintln!("block {:>2}  ttft {}  tpot {}", number + 1, shown(Metric::Ttft), shown(Metric::Tpot));
    Ok(pair)
}

/// Keeps a line of progress while a block is measured.
async fn show(bar: &Progress, live: &Live, number: usize) -> Infallible {
    let (mut before, mut began) = (("", ""), Instant::now());
    loop {
        let Stage { side, doing, tally } = live.stage();
        if before != (side, doing) {
            (before, began) = ((side, doing), Instant::now());
            bar.restart_clock();
        }
        let now = tally.progress();
        let requests = match (now.complete, now.failed) {
            (complete, 0) => format!("{complete} requests"),
            (complete, failed) => format!("{complete} requests, {failed} failed"),
        };
        bar.say(format!("block {:>2}  {doing} the {side}: {requests}", number + 1));
        bar.passed(began.elapsed());
        sleep(BETWEEN_LINES).await;
    }
}

const BETWEEN_LINES: Duration = Duration::from_millis(200);

/// Says what went wrong in a session, where that is not said already.
pub(super) fn said(error: &SessionError<Exit>) -> Exit {
    match error {
        SessionError::Contestant(exit) => *exit,
        SessionError::CannotStart(error) => refuse(Exit::Unreachable, error),
        SessionError::Otherwise(_) => refuse(Exit::Usage, error),
        SessionError::Write { .. } | SessionError::NoBlock => refuse(Exit::Harness, error),
    }
}
