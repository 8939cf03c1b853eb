//! The wait until the target is idle again: a check leaves nothing behind for the next one.

use std::time::{Duration, Instant};

use super::{Pace, Probe};
use crate::verdict::{Judgement, NotPassed};

/// Short requests that must be served in a row, each about as quickly as on an idle server; one where a counter that counts
/// shows that nothing else is in flight.
const IN_A_ROW: usize = 3;
/// Between them: slots that were taken together become free together, and for a moment all seems idle.
const APART: Duration = Duration::from_millis(60);
/// "About as quickly": this many times as long, and the machine's own unrest.
const SLOWER: u32 = 4;
const UNREST: Duration = Duration::from_millis(200);

impl Probe {
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
            if generation.end.is_turned_away() {
                in_a_row = 0;
                tokio::time::sleep(APART).await;
                continue;
            }
            let quick = asked.elapsed() <= pace.short * SLOWER + UNREST;
            in_a_row = if quick { in_a_row + 1 } else { 0 };
            if in_a_row == IN_A_ROW || (quick && self.shows_none_inflight().await) {
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
