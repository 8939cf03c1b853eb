//! The target's own speed, and the wait until it is idle again: a check leaves nothing behind for the next one.

use std::time::{Duration, Instant};

use super::{Generation, Probe};
use crate::verdict::{Judgement, NotPassed};

/// Tokens of the generation that shows the pace.
const SAMPLE: i64 = 32;
/// Samples; the quickest is the server's, a slower one the machine's.
const SAMPLES: usize = 2;
/// Short requests that must be served in a row, each about as quickly as on an idle server.
const IN_A_ROW: usize = 3;
/// Between them: slots that were taken together become free together, and for a moment all seems idle.
const APART: Duration = Duration::from_millis(150);
/// "About as quickly": this many times as long, and the machine's own unrest.
const SLOWER: u32 = 4;
const UNREST: Duration = Duration::from_millis(200);

/// How fast a target speaks while nothing else runs.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From a request to its first text.
    pub first: Duration,
    /// From a token to the next.
    pub token: Duration,
    /// A whole generation of one token.
    pub short: Duration,
}

impl Pace {
    fn of(generation: &Generation) -> Self {
        let first = generation.text_bearing().next().map_or(Duration::ZERO, |r| r.at);
        let end = generation.responses.last().map_or(first, |r| r.at);
        // A model that ended by itself said less than was asked for; a server may put several tokens into a chunk.
        let whole = generation.text().chars().count() >= 2 * SAMPLE as usize;
        let tokens = if whole { SAMPLE as usize } else { generation.text_bearing().count() };
        let span = end.saturating_sub(first);
        // What comes all at once says nothing of the gaps; the whole time does.
        let span = if span < end / 4 { end } else { span };
        Self { first, token: span / u32::try_from(tokens.max(1)).unwrap_or(u32::MAX), short: end }
    }
}

impl Probe {
    /// Measures the target's pace.
    pub async fn pace(&self) -> Result<Pace, NotPassed> {
        let mut best: Option<Pace> = None;
        for _ in 0..SAMPLES {
            let generation = self.predict(self.request(SAMPLE)).await?;
            let pace = Pace::of(generation.served()?);
            let one = self.predict(self.request(1)).await?;
            let short = one.served()?.responses.last().map_or(pace.short, |r| r.at);
            best = Some(best.map_or(Pace { short, ..pace }, |b| Pace {
                first: b.first.min(pace.first),
                token: b.token.min(pace.token),
                short: b.short.min(short),
            }));
        }
        best.ok_or_else(|| NotPassed::Harness("no sample of the pace was taken".into()))
    }

    /// Waits until short requests are served as on an idle target, for at most as long as the cancelled `work` could
    /// take and the patience.
    pub async fn settled(&self, pace: Pace, work: Duration) -> Judgement {
        let began = Instant::now();
        let limit = work + self.patience();
        let mut in_a_row = 0;
        while began.elapsed() < limit {
            let asked = Instant::now();
            // Not the stream's own patience: a wait that ends here is expected, and no sign of a slow machine.
            let mut stream = self.streamer().with_patience(limit * 2).open(&self.connection().await?).await;
            let request = self.request(1);
            stream.send(&request);
            stream.half_close();
            let left = limit.saturating_sub(began.elapsed());
            let Ok(generation) = tokio::time::timeout(left, stream.finish(request)).await else { break };
            if generation.end.is_full() || generation.end.not_processed() {
                in_a_row = 0;
                tokio::time::sleep(APART).await;
                continue;
            }
            let quick = asked.elapsed() <= pace.short * SLOWER + UNREST;
            in_a_row = if quick { in_a_row + 1 } else { 0 };
            if in_a_row == IN_A_ROW {
                return Ok(());
            }
            tokio::time::sleep(APART).await;
        }
        Err(NotPassed::Inconclusive(format!(
            "generations that this check cancelled still kept short requests waiting {:.0} s later: the server does not stop \
             its work on a cancel (CONCURRENCY-003), and what is asked of it now says nothing",
            began.elapsed().as_secs_f64()
        )))
    }
}
