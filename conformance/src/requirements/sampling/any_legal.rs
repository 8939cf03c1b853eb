//! SAMPLING-009.

use ai_inference_proto::{GenerationRequest, Sampling};
use futures_util::future::join_all;
use proptest::{
    sample::select,
    strategy::{Strategy, ValueTree},
};
use tonic::{Code, Status};

use crate::{
    exemplar::{Behaviour, State},
    probe::{Probe, smallest},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// No legal combination of parameters is INTERNAL or UNKNOWN or hangs (property test over the legal space, shrunk to the
    /// smallest that fails).
    ///
    /// # Why it matters
    /// Samplers divide by the temperature and add up probabilities until they reach top_p. At the ends of the legal range they
    /// divide by nothing, or keep no token, and one client's odd parameters become every client's crash.
    ///
    /// # How it is checked
    /// First an ordinary request must be served. Then each end of each parameter's range is sent alone, from the smallest
    /// float to the largest, and sixteen combinations that the run's seed draws; bounds are of four tokens at most, so that no
    /// server is kept busy. Each must be served, or refused with INVALID_ARGUMENT, OUT_OF_RANGE, FAILED_PRECONDITION or
    /// UNIMPLEMENTED; afterwards the server must still serve. A combination that fails is made smaller for some seconds, and the
    /// smallest that still fails is shown.
    ///
    /// # What a violation looks like
    /// INTERNAL or UNKNOWN, a reset, a lost connection, or a hang, on one of them.
    ///
    /// # References
    /// Contract, section 5 and SAMPLING-009.
    id: "SAMPLING-009",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "no legal combination of parameters breaks the server",
    check: check,
    mutant: TinyTopPPanics, fault: "a tiny top_p panics", seen_as: "only top_p 0.000001",
}

/// Simplest first: unset, and then outwards. Floats, so that both dialects can carry them; the smallest is a normal one.
const TEMPERATURES: [f32; 9] = [0.0, 1.0, 0.01, 1.5, 2.0, 1e-6, 100.0, f32::MIN_POSITIVE, f32::MAX];
const TOP_PS: [f32; 7] = [0.0, 1.0, 0.5, 0.001, 0.999_999, 1e-6, f32::MIN_POSITIVE];
const PENALTIES: [f32; 9] = [0.0, 1.0, 1.1, 2.0, 0.5, 100.0, 1e-6, f32::MIN_POSITIVE, f32::MAX];
const BOUNDS: [i64; 3] = [1, 2, 4];
const DRAWN: usize = 16;
const AT_ONCE: usize = 4;
/// Refusals that say clearly that the server does not take the combination.
const REFUSALS: [Code; 4] =
    [Code::InvalidArgument, Code::OutOfRange, Code::FailedPrecondition, Code::Unimplemented];

async fn check(probe: &Probe) -> Judgement {
    probe.predict(probe.request(2)).await?.served()?;
    for few in ends().chunks(AT_ONCE) {
        for judged in join_all(few.iter().map(|sampling| Box::pin(judge(probe, *sampling)))).await {
            judged?;
        }
    }
    for few in probe.drawn(&legal(), DRAWN)?.chunks_mut(AT_ONCE) {
        let judged = join_all(few.iter().map(|tree| Box::pin(judge(probe, tree.current())))).await;
        for (tree, judged) in few.iter_mut().zip(judged) {
            if judged.is_err() {
                return smallest(tree, judged, |sampling| judge(probe, sampling)).await;
            }
        }
    }
    probe.still_serves("legal parameters at the ends of their ranges").await
}

/// Each parameter at each of its ends, everything else being unset.
fn ends() -> Vec<Sampling> {
    let one = Sampling { max_new_tokens: BOUNDS[0], ..Sampling::default() };
    let temperatures = TEMPERATURES.map(|value| Sampling { temperature: value.into(), ..one });
    let top_ps = TOP_PS.map(|value| Sampling { top_p: value.into(), ..one });
    let penalties = PENALTIES.map(|value| Sampling { repetition_penalty: value.into(), ..one });
    [&temperatures[..], &top_ps[1..], &penalties[1..]].concat()
}

fn legal() -> impl Strategy<Value = Sampling, Tree: Send> {
    let drawn = (
        select(&BOUNDS[..]),
        proptest::prop_oneof![select(&TEMPERATURES[..]), 0.0_f32..3.0],
        proptest::prop_oneof![select(&TOP_PS[..]), 0.0_f32..=1.0],
        proptest::prop_oneof![select(&PENALTIES[..]), 0.0_f32..3.0],
    );
    drawn.prop_map(|(max_new_tokens, temperature, top_p, repetition_penalty)| Sampling {
        max_new_tokens,
        temperature: temperature.into(),
        top_p: top_p.into(),
        repetition_penalty: repetition_penalty.into(),
    })
}

async fn judge(probe: &Probe, sampling: Sampling) -> Judgement {
    let request = GenerationRequest { sampling: Some(sampling), ..probe.request(1) };
    let end = probe.predict(request).await?.end;
    if end.is_full() {
        let told = end.told();
        return Err(NotPassed::Inconclusive(format!("a legal request {told}: nothing was looked at")));
    }
    let well = end.is_ok() || end.code().is_some_and(|code| REFUSALS.contains(&code));
    probe.assert(well, || {
        format!(
            "a legal request of {} tokens with {} {}, which is neither OK nor a refusal such as INVALID_ARGUMENT",
            sampling.max_new_tokens,
            shown(sampling),
            end.told()
        )
    })
}

/// The parameters that are set.
fn shown(sampling: Sampling) -> String {
    let parameters = [
        ("temperature", sampling.temperature),
        ("top_p", sampling.top_p),
        ("repetition_penalty", sampling.repetition_penalty),
    ];
    let set: Vec<_> = parameters
        .into_iter()
        .filter(|(_, value)| *value != 0.0)
        .map(|(name, value)| format!("{name} {}", value as f32))
        .collect();
    match set.as_slice() {
        [] => "no parameter set".to_owned(),
        [only] => format!("only {only}"),
        _ => set.join(", "),
    }
}

#[derive(Default)]
struct TinyTopPPanics;

impl Behaviour for TinyTopPPanics {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        let top_p = request.sampling.unwrap_or_default().top_p;
        if (f64::MIN_POSITIVE..1e-5).contains(&top_p) {
            return Err(Status::internal("index out of bounds: the len is 0 but the index is 0"));
        }
        state.admit(request)
    }
}
