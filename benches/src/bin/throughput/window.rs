//! The decode rate's window, from the times at which chunks came.
//!
//! All engines are measured by one definition: the tokens that came after every sequence had its first and until the
//! first sequence had its last, divided by that time. An engine that reads all prompts and then steps all sequences
//! together has them all in the window; the sidecar starts to answer the first prompt while it reads the others, and
//! what it does then is not counted.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::engine::Measured;

/// One sequence as its reader saw it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrivals {
    /// When each text-bearing chunk came.
    pub(crate) chunks: Vec<Instant>,
    /// How many tokens the server generated for it.
    pub(crate) tokens: usize,
}

/// Measures all sequences of one task that began at `began`.
pub(crate) fn measure(began: Instant, sequences: &[Arrivals]) -> anyhow::Result<Measured> {
    let first = |arrivals: &Arrivals| arrivals.chunks.first().copied();
    let last = |arrivals: &Arrivals| arrivals.chunks.last().copied();
    let empty = "a sequence has no text";
    let opens = sequences.iter().map(first).collect::<Option<Vec<_>>>().context(empty)?;
    let closes = sequences.iter().map(last).collect::<Option<Vec<_>>>().context(empty)?;
    let opens = opens.into_iter().max().context("there are no sequences")?;
    let closes = closes.into_iter().min().context("there are no sequences")?;
    let seconds = closes.saturating_duration_since(opens);
    ensure!(seconds > Duration::ZERO, "the sequences never ran at the same time: ask for more --tokens");
    // A chunk may hold more than one token, when a character has several; on the average of its sequence.
    let tokens = sequences
        .iter()
        .map(|arrivals| {
            let inside = arrivals.chunks.iter().filter(|at| **at > opens && **at <= closes).count();
            inside as f64 * arrivals.tokens as f64 / arrivals.chunks.len() as f64
        })
        .sum();
    let prefill_seconds = opens.saturating_duration_since(began).as_secs_f64();
    Ok(Measured { tokens, seconds: seconds.as_secs_f64(), prefill_seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(began: Instant, milliseconds: &[u64]) -> Arrivals {
        let chunks: Vec<_> = milliseconds.iter().map(|ms| began + Duration::from_millis(*ms)).collect();
        Arrivals { tokens: chunks.len(), chunks }
    }

    #[test]
    fn only_what_comes_while_all_run_is_counted() {
        let began = Instant::now();
        let early = at(began, &[10, 20, 30, 40, 50]);
        let late = at(began, &[30, 40, 50, 60, 70]);
        let measured = measure(began, &[early, late]).unwrap();
        // From 30 to 50 ms: two chunks of each.
        assert!((measured.tokens - 4.0).abs() < 1e-9);
        assert!((measured.rate() - 200.0).abs() < 1e-6);
        assert!((measured.prefill_seconds - 0.030).abs() < 1e-9);
    }

    #[test]
    fn chunks_of_several_tokens_count_as_these() {
        let began = Instant::now();
        let alone = Arrivals { tokens: 10, ..at(began, &[10, 20, 30, 40, 50]) };
        assert!((measure(began, &[alone]).unwrap().tokens - 8.0).abs() < 1e-9);
    }

    #[test]
    fn sequences_that_never_meet_have_no_rate() {
        let began = Instant::now();
        assert!(measure(began, &[at(began, &[1, 2]), at(began, &[3, 4])]).is_err());
        assert!(measure(began, &[at(began, &[1, 2]), at(began, &[])]).is_err());
        assert!(measure(began, &[]).is_err());
    }
}
