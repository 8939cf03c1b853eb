//! The target's own speed, and generations that last as long as a check needs them to.

use std::time::Duration;

use tonic::Code;

use super::{Generation, Probe, Stream, generation::no_text, wire::Connection};
use crate::verdict::NotPassed;

/// Tokens of the generation that shows the pace.
const SAMPLE: i64 = 32;
/// Samples at first; the quickest is the server's, a slower one the machine's.
const SAMPLES: usize = 2;
/// What was seen serves for so many times as long as a sample takes; then one more is taken.
const SERVES: u32 = 30;
/// A generation that is shorter shows nothing.
pub(super) const LEAST_BOUND: i64 = 32;
/// More is never asked for: a server that does not stop on cancel would go on for too long.
const MOST_BOUND: i64 = 16_384;
/// The pace is a sample, taken on a machine that may have been busy: a generation that is over sooner is asked for again.
const ATTEMPTS: usize = 4;
/// A longer bound than the missing time asks for, so that one more attempt is enough.
const MARGIN: f64 = 1.25;
/// Where more is asked for and comes no later than this, as a multiple, the model ends by itself, or is cut.
const LONGER: f64 = 1.1;

/// How fast a target speaks while nothing else runs.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From a request to its first text.
    pub first: Duration,
    /// Time from a token to the next.
    pub token: Duration,
    /// Time from a text to the next: a text may be of several tokens.
    pub text: Duration,
    /// A whole generation of one token.
    pub short: Duration,
}

impl Pace {
    /// What is quicker of each.
    pub(super) fn quicker(self, other: Self) -> Self {
        Self {
            first: self.first.min(other.first),
            token: self.token.min(other.token),
            text: self.text.min(other.text),
            short: self.short.min(other.short),
        }
    }

    fn of(generation: &Generation) -> Self {
        let first = generation.text_bearing().next().map_or(Duration::ZERO, |r| r.at);
        let end = generation.took();
        // A model that ended by itself said less than was asked for; a server may put several tokens into a chunk.
        let whole = generation.text().chars().count() >= 2 * SAMPLE as usize;
        let texts = generation.text_bearing().count();
        let tokens = if whole { SAMPLE as usize } else { texts };
        let span = end.saturating_sub(first);
        // What comes all at once says nothing of the gaps; the whole time does.
        let span = if span < end / 4 { end } else { span };
        let each = |count: usize| span / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        Self { first, token: each(tokens), text: each(texts), short: end }
    }

    /// The smallest bound whose generation lasts so long on this server.
    pub fn bound(&self, lasting: Duration) -> i64 {
        self.tokens(lasting).clamp(LEAST_BOUND, MOST_BOUND)
    }

    /// So many tokens come in so long a time.
    pub fn tokens(&self, lasting: Duration) -> i64 {
        (lasting.as_secs_f64() / self.token.as_secs_f64().max(1e-6)).ceil() as i64
    }

    /// How long a generation of so many tokens lasts.
    pub fn lasting(&self, bound: i64) -> Duration {
        self.first + self.token * u32::try_from(bound).unwrap_or(u32::MAX)
    }
}

impl Probe {
    /// The target's pace, measured where it was not lately.
    pub async fn pace(&self) -> Result<Pace, NotPassed> {
        let seen = &self.endpoint().seen;
        let samples = match seen.pace() {
            Some((pace, at)) if at.elapsed() < (pace.lasting(SAMPLE) + pace.short) * SERVES => {
                return Ok(pace);
            }
            Some(_) => 1,
            None => SAMPLES,
        };
        let mut pace = self.sample().await?;
        for _ in 1..samples {
            pace = pace.quicker(self.sample().await?);
        }
        Ok(seen.add_pace(pace))
    }

    async fn sample(&self) -> Result<Pace, NotPassed> {
        let generation = self.predict(self.request(SAMPLE)).await?;
        let pace = Pace::of(generation.served()?);
        let one = self.predict(self.request(1)).await?;
        Ok(Pace { short: one.served()?.took(), ..pace })
    }

    /// A generation that has begun to speak, and its bound: as long as was asked for, or as the server allows.
    pub async fn begun(
        &self,
        connection: &Connection,
        pace: Pace,
        lasting: Duration,
    ) -> Result<(Stream, i64), NotPassed> {
        let mut bound = pace.bound(lasting);
        loop {
            let mut stream = self.stream_on(connection).await;
            stream.send(&self.request(bound));
            stream.half_close();
            match stream.first_text_or_end().await? {
                Ok(_) => return Ok((stream, bound)),
                // Beyond the server's context: a shorter one is asked for.
                Err(end) if end.code() == Some(Code::InvalidArgument) && bound > LEAST_BOUND => bound /= 2,
                Err(end) => return Err(no_text(&end)),
            }
        }
    }

    /// A whole generation that lasted at least so long, and its bound. It is over sooner only where the server, its context
    /// or its model allows no longer one, or cuts it.
    pub async fn lasting(&self, pace: Pace, lasting: Duration) -> Result<(Generation, i64), NotPassed> {
        let (mut bound, mut most, mut attempts) = (pace.bound(lasting), MOST_BOUND, ATTEMPTS);
        let mut before = Duration::ZERO;
        loop {
            let generation = self.predict(self.request(bound)).await?;
            if generation.end.code() == Some(Code::InvalidArgument) && bound > LEAST_BOUND {
                most = bound - 1; // beyond the server's context
                bound /= 2;
                continue;
            }
            let took = generation.took();
            let longer = lasting.as_secs_f64() / took.as_secs_f64().max(1e-6) * MARGIN;
            let next = ((bound as f64 * longer).ceil() as i64).min(most);
            attempts -= 1;
            let no_longer = took < before.mul_f64(LONGER) || next <= bound || attempts == 0;
            if took >= lasting || no_longer || !generation.reached_its_end() {
                return Ok((generation, bound));
            }
            (bound, before) = (next, took);
        }
    }
}
