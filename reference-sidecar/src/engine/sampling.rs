//! From logits to a token: which parameters are legal, what they default to, and the draw itself.
//!
//! Deterministic: the same logits, history, parameters and seed give the same token. Knows no sequence and no time.

use std::f32::consts::{LN_2, LOG2_E};

use ai_inference_proto::Sampling;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use thiserror::Error;

/// Validated parameters, defaults filled in (contract, section 5).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplingParameters {
    /// At most so many tokens; at least 1.
    pub max_new_tokens: usize,
    /// Divides the logits.
    pub temperature: f32,
    /// The smallest set of tokens that holds this much probability is drawn from.
    pub top_p: f32,
    /// Above 1 makes tokens that were seen less likely, as Hugging Face defines it.
    pub repetition_penalty: f32,
}

impl Default for SamplingParameters {
    fn default() -> Self {
        Self { max_new_tokens: 256, temperature: 0.7, top_p: 0.9, repetition_penalty: 1.0 }
    }
}

impl SamplingParameters {
    /// Checks what a request asked for; zero is unset (SAMPLING-001, SAMPLING-004 to SAMPLING-006).
    pub fn resolve(asked: Option<Sampling>) -> Result<Self, ParameterError> {
        let default = Self::default();
        let Some(asked) = asked else { return Ok(default) };
        let real = |name, value: f64, unset: f32| match value {
            v if !v.is_finite() || v < 0.0 => Err(ParameterError::NotANumber { name }),
            0.0 => Ok(unset),
            // A double may be smaller or larger than any float; the nearest one that is neither zero nor infinite
            // means the same to the sampler.
            v => Ok((v as f32).clamp(f32::MIN_POSITIVE, f32::MAX)),
        };
        let max_new_tokens = match asked.max_new_tokens {
            n if n < 0 => return Err(ParameterError::NegativeTokens),
            0 => default.max_new_tokens,
            n => usize::try_from(n).unwrap_or(usize::MAX),
        };
        let top_p = real("top_p", asked.top_p, default.top_p)?;
        if asked.top_p > 1.0 {
            return Err(ParameterError::TopPAboveOne);
        }
        Ok(Self {
            max_new_tokens,
            temperature: real("temperature", asked.temperature, default.temperature)?,
            top_p,
            repetition_penalty: real(
                "repetition_penalty",
                asked.repetition_penalty,
                default.repetition_penalty,
            )?,
        })
    }

    /// So sharp a distribution that only the best token is left (contract, section 5: greedy is asked for so).
    fn is_greedy(&self) -> bool {
        self.temperature <= GREEDY_TEMPERATURE || self.top_p <= GREEDY_TOP_P
    }
}

/// A parameter outside its legal range.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParameterError {
    /// A number of tokens below zero (SAMPLING-004).
    #[error("generation.max_new_tokens must not be negative")]
    NegativeTokens,
    /// A parameter that is negative or not a finite number (SAMPLING-005).
    #[error("generation.{name} must be a finite number and not negative")]
    NotANumber {
        /// Name of the parameter.
        name: &'static str,
    },
    /// A `top_p` above 1 (SAMPLING-006).
    #[error("generation.top_p must not be above 1")]
    TopPAboveOne,
}

/// One sequence's source of tokens.
#[derive(Debug)]
pub struct Sampler {
    parameters: SamplingParameters,
    rng: StdRng,
    /// Tokens of prompt and output, each once; kept only when a penalty needs them.
    seen: Vec<u32>,
    /// Scratch: probability weight and token of what is still in the draw.
    candidates: Vec<(f32, u32)>,
}

impl Sampler {
    /// A sampler for a sequence that starts with `prompt`.
    pub fn new(parameters: SamplingParameters, seed: u64, prompt: &[i64]) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        let mut sampler = Self { parameters, rng, seen: Vec::new(), candidates: Vec::new() };
        if sampler.penalises() {
            sampler.seen.extend(prompt.iter().map(|token| *token as u32));
            sampler.seen.sort_unstable();
            sampler.seen.dedup();
        }
        sampler
    }

    /// Draws the next token; `None` where the logits are none: a NaN or an infinity among them, or nothing to choose. They
    /// are the caller's scratch: a penalty changes them.
    pub fn sample(&mut self, logits: &mut [f32]) -> Option<u32> {
        if self.penalises() {
            self.penalise(logits);
        }
        let (best, top) = arg_max(logits)?;
        let token = if self.parameters.is_greedy() { best } else { self.draw(logits, best, top) };
        if self.penalises()
            && let Err(place) = self.seen.binary_search(&token)
        {
            self.seen.insert(place, token);
        }
        Some(token)
    }

    #[expect(clippy::float_cmp, reason = "exactly 1 is the value that means no penalty")]
    fn penalises(&self) -> bool {
        self.parameters.repetition_penalty != 1.0
    }

    fn penalise(&self, logits: &mut [f32]) {
        let penalty = self.parameters.repetition_penalty;
        for token in &self.seen {
            // One that is no number stays so, to be found.
            if let Some(logit) = logits.get_mut(*token as usize).filter(|logit| logit.is_finite()) {
                let scaled = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
                // An extreme penalty must not make an infinity, which would make NaN weights of all the others.
                *logit = scaled.clamp(f32::MIN, f32::MAX);
            }
        }
    }

    /// Nucleus sampling, in place: the logits become weights, relative to the best token's 1.
    fn draw(&mut self, logits: &mut [f32], best: u32, top: f32) -> u32 {
        let SamplingParameters { temperature, top_p, .. } = self.parameters;
        let total = weigh(logits, top, temperature);
        let weights = &*logits;
        if top_p >= 1.0 {
            let tokens = weights.iter().zip(0..).map(|(weight, token)| (*weight, token));
            return self.pick(total, tokens).unwrap_or(best);
        }
        // Nearly always a handful of a vocabulary of tens of thousands is enough, so look for those first.
        let mut candidates = std::mem::take(&mut self.candidates);
        for floor in [1e-2, 1e-4, 0.0] {
            let heavy = weights.iter().zip(0..).filter(|(weight, _)| **weight >= floor);
            candidates.clear();
            candidates.extend(heavy.map(|(weight, token)| (*weight, token)));
            if candidates.iter().map(|(weight, _)| weight).sum::<f32>() >= top_p * total {
                break;
            }
        }
        let (kept, mass) = nucleus(&mut candidates, top_p * total);
        let token = self.pick(mass, candidates[..kept].iter().copied());
        self.candidates = candidates;
        token.unwrap_or(best)
    }

    /// Draws by weight; `None` when rounding leaves the point behind the last.
    fn pick(&mut self, mass: f32, tokens: impl Iterator<Item = (f32, u32)>) -> Option<u32> {
        let mut point = self.rng.random::<f32>() * mass;
        for (weight, token) in tokens {
            point -= weight;
            if point < 0.0 {
                return Some(token);
            }
        }
        None
    }
}

/// Turns logits into weights, `exp((logit - top) / temperature)`, and returns their sum. Written so that the compiler
/// makes vector code of it: a call of `exp` for each of a vocabulary costs more than a tenth of a small model's step.
fn weigh(logits: &mut [f32], top: f32, temperature: f32) -> f32 {
    let scale = LOG2_E / temperature;
    let mut sums = [0.0; LANES];
    let mut chunks = logits.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        for (logit, sum) in chunk.iter_mut().zip(&mut sums) {
            *logit = exp2((*logit - top) * scale);
            *sum += *logit;
        }
    }
    for (logit, sum) in chunks.into_remainder().iter_mut().zip(&mut sums) {
        *logit = exp2((*logit - top) * scale);
        *sum += *logit;
    }
    sums.iter().sum()
}

/// 2 to the power of `x` for `x <= 0`, to 1 part in 10⁷: the whole part goes into the exponent's bits, the rest through
/// Taylor's series of 2^f on [-1/2, 1/2].
fn exp2(x: f32) -> f32 {
    /// Adding it to a small number leaves no room for a fraction: the sum's low bits are the number rounded.
    const ROUND: f32 = 12_582_912.0;
    let x = if x > -126.0 { x } else { -126.0 };
    let shifted = x + ROUND;
    let whole = shifted.to_bits().wrapping_sub(ROUND.to_bits());
    let f = (x - (shifted - ROUND)) * LN_2;
    let series = 1.0
        + f * (1.0 + f * (1.0 / 2.0 + f * (1.0 / 6.0 + f * (1.0 / 24.0 + f * (1.0 / 120.0 + f / 720.0)))));
    f32::from_bits(series.to_bits().wrapping_add(whole << 23))
}

/// Moves the heaviest candidates to the front until they weigh `mass`; returns how many those are, and their weight.
/// Sorts block by block, and only as many as it needs.
fn nucleus(candidates: &mut [(f32, u32)], mass: f32) -> (usize, f32) {
    let heavier = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    let (mut kept, mut sum) = (0, 0.0);
    while kept < candidates.len() {
        let rest = &mut candidates[kept..];
        let block = (kept * 7).max(32).min(rest.len());
        if block < rest.len() {
            rest.select_nth_unstable_by(block, heavier);
        }
        rest[..block].sort_unstable_by(heavier);
        for (weight, _) in &rest[..block] {
            sum += weight;
            kept += 1;
            if sum >= mass {
                return (kept, sum);
            }
        }
    }
    (kept, sum)
}

/// The first of the largest, and its value; `None` where one is NaN or plus infinity, or all are minus infinity, which is how a
/// graph says "never this one". In two passes, because the compiler turns the first into vector code and this runs once a
/// token over tens of thousands of logits.
fn arg_max(logits: &[f32]) -> Option<(u32, f32)> {
    let mut largest = [f32::NEG_INFINITY; LANES];
    let mut broken = [0_u32; LANES];
    let chunks = logits.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for ((largest, broken), logit) in largest.iter_mut().zip(&mut broken).zip(chunk) {
            *largest = if *logit > *largest { *logit } else { *largest };
            *broken |= u32::from(logit.is_nan());
        }
    }
    let top = largest.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, f32::max);
    if !top.is_finite() || broken != [0; LANES] || rest.iter().any(|logit| logit.is_nan()) {
        return None;
    }
    Some((logits.iter().position(|logit| *logit >= top).unwrap_or(0) as u32, top))
}

/// The contract's greedy request has temperature 0.01, and the value nearest to it in a float is a little off.
const GREEDY_TEMPERATURE: f32 = 0.011;
/// The contract's greedy request has `top_p` 0.001; no model of less than a thousand equal tokens can tell the difference.
const GREEDY_TOP_P: f32 = 0.0011;
/// Numbers worked on at once: several vectors of any machine's.
const LANES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(temperature: f64, top_p: f64, repetition_penalty: f64) -> Sampling {
        Sampling { max_new_tokens: 4, temperature, top_p, repetition_penalty }
    }

    #[test]
    fn logits_that_are_none_choose_no_token() {
        for bad in [f32::NAN, f32::INFINITY] {
            for penalty in [1.0, 1.3] {
                let parameters =
                    SamplingParameters { repetition_penalty: penalty, ..SamplingParameters::default() };
                let mut logits = [0.5; 40];
                logits[7] = bad;
                assert_eq!(Sampler::new(parameters, 1, &[7]).sample(&mut logits), None, "{bad}");
            }
        }
        let mut sampler = Sampler::new(SamplingParameters::default(), 1, &[]);
        assert_eq!(sampler.sample(&mut [f32::NEG_INFINITY; 20]), None);
        assert_eq!(sampler.sample(&mut [f32::NEG_INFINITY, 1.0, f32::NEG_INFINITY]), Some(1));
    }

    #[test]
    fn zero_is_unset() {
        let resolved = SamplingParameters::resolve(Some(Sampling::default()));
        assert_eq!(resolved, Ok(SamplingParameters::default()));
    }

    #[test]
    fn illegal_values_are_refused() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.1] {
            for asked in [asked(bad, 0.9, 1.0), asked(0.7, bad, 1.0), asked(0.7, 0.9, bad)] {
                assert!(SamplingParameters::resolve(Some(asked)).is_err(), "{asked:?}");
            }
        }
        assert_eq!(
            SamplingParameters::resolve(Some(asked(0.7, 1.01, 1.0))),
            Err(ParameterError::TopPAboveOne)
        );
        let negative = Sampling { max_new_tokens: -1, ..Sampling::default() };
        assert_eq!(SamplingParameters::resolve(Some(negative)), Err(ParameterError::NegativeTokens));
    }

    #[test]
    fn greedy_takes_the_first_of_the_best() {
        let parameters = SamplingParameters { top_p: 0.001, ..SamplingParameters::default() };
        let mut logits: Vec<f32> = (0..100).map(|i: u8| f32::from(i % 40)).collect();
        assert_eq!(Sampler::new(parameters, 1, &[]).sample(&mut logits), Some(39));
    }

    #[test]
    fn a_seed_repeats_and_another_differs() {
        let draws = |seed| {
            let parameters =
                SamplingParameters { temperature: 1.5, top_p: 1.0, ..SamplingParameters::default() };
            let mut sampler = Sampler::new(parameters, seed, &[]);
            (0..50).map(|_| sampler.sample(&mut [0.0; 64]).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draws(3), draws(3));
        assert_ne!(draws(3), draws(4));
    }

    #[test]
    fn a_nucleus_leaves_the_tail_out() {
        let parameters = SamplingParameters { temperature: 1.0, top_p: 0.6, ..SamplingParameters::default() };
        let mut sampler = Sampler::new(parameters, 5, &[]);
        // Probabilities 0.5, 0.25, 0.25: the first two weigh 0.75 and are enough.
        let logits = [0.5_f32.ln(), 0.25_f32.ln(), 0.25_f32.ln()];
        assert!((0..500).all(|_| sampler.sample(&mut logits.clone()).unwrap() < 2));
    }

    #[test]
    fn a_penalty_moves_the_choice_away_from_what_was_seen() {
        let parameters =
            SamplingParameters { top_p: 0.001, repetition_penalty: 10.0, ..SamplingParameters::default() };
        let mut sampler = Sampler::new(parameters, 5, &[0]);
        let drawn: Vec<_> = (0..3).map(|_| sampler.sample(&mut [4.0, 3.0, 2.0]).unwrap()).collect();
        assert_eq!(drawn, [1, 2, 0]);
    }

    #[test]
    fn weights_are_exponentials() {
        for step in 0..20_000_u16 {
            let x = -f32::from(step) / 160.0;
            assert!((exp2(x) / x.exp2() - 1.0).abs() < 1e-6, "at {x}");
        }
        assert!(exp2(f32::NEG_INFINITY) < 1e-37);
        let mut logits: Vec<f32> = (0..100_u8).map(|i| f32::from(i) / 10.0).collect();
        let expected: f32 = logits.iter().map(|logit| ((logit - 9.9) / 0.7).exp()).sum();
        assert!((weigh(&mut logits, 9.9, 0.7) / expected - 1.0).abs() < 1e-5);
    }

    #[test]
    fn a_draw_follows_the_distribution() {
        // 0.5 and 300 times 0.5/300: a nucleus of everything, whichever way it is found.
        let mut logits = vec![(0.5_f32 / 300.0).ln(); 301];
        logits[7] = 0.5_f32.ln();
        for top_p in [0.999_999, 1.0] {
            let parameters = SamplingParameters { temperature: 1.0, top_p, ..SamplingParameters::default() };
            let mut sampler = Sampler::new(parameters, 11, &[]);
            let sevens = (0..4000).filter(|_| sampler.sample(&mut logits.clone()) == Some(7)).count();
            // Five standard deviations.
            assert!(sevens.abs_diff(2000) < 160, "{sevens} at {top_p}");
        }
    }

    #[test]
    fn extremes_of_the_legal_range_draw_a_token() {
        let smallest = f64::from(f32::MIN_POSITIVE);
        for temperature in [smallest, 1e-300, 0.05, 1e300] {
            for top_p in [smallest, 1e-6, 1.0] {
                for penalty in [smallest, 1e300] {
                    let resolved =
                        SamplingParameters::resolve(Some(asked(temperature, top_p, penalty))).unwrap();
                    let mut sampler = Sampler::new(resolved, 1, &[0, 1]);
                    assert!((0..20).all(|_| sampler.sample(&mut [3.0, -2.0, 0.0, 1.0]).unwrap() < 4));
                }
            }
        }
    }
}
