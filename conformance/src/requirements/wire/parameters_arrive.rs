//! WIRE-014.

use ai_inference_proto::{Dialect, GenerationRequest, Sampling};
use bytes::Bytes;
use futures_util::future::join_all;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, Conformant},
    probe::{
        Probe,
        wire::{End, framed},
    },
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// Generation parameters arrive: two requests that differ only in one parameter of `generation` are both understood
    /// (seen through PROXY role, or through a visible effect: a tiny top_p makes output repeatable, max_new_tokens bounds
    /// it).
    ///
    /// # Why it matters
    /// The two dialects give temperature, top_p and repetition_penalty other types: float in one, double in the other. A
    /// float sent where a double is expected is no error for most protobuf runtimes. It is dropped, and the parameter takes
    /// its default. Text comes, only not as asked, and nothing else reports it.
    ///
    /// # How it is checked
    /// Four equal requests are sent with temperature 1.5 and top_p 1, on a prompt on which they give four different texts; where
    /// a model is too sure of itself for that, with a temperature of 10 or 100.
    /// Then four with top_p 0.001 in place of 1, and four with temperature 0.01 in place of 1.5: each four texts must be one
    /// text, or part behind their first half only, as where kernels differ in the last bit. Where they are not, the same
    /// requests are sent with the types of the other dialect. If that makes one text of them, the server reads the other
    /// dialect's types, and the check says so. The same is done with a repetition_penalty of 2, where it changes nothing. A
    /// greedy request with max_new_tokens of 32 must give more text than one with 2. A model whose texts are the same,
    /// or different, whatever the parameters are, or one that ends at once, shows nothing, and the check says so.
    ///
    /// # What a violation looks like
    /// A request with temperature is answered with a decode error, and one without it is served; or a tiny top_p changes
    /// nothing as a float, and makes the output repeatable as a double.
    ///
    /// # References
    /// Contract, section 0 (the two dialects) and WIRE-014; Protocol Buffers, "Encoding" (wire types) and "Unknown fields".
    id: "WIRE-014",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "generation parameters arrive",
    check: check,
    mutant: ReadsDoubles, fault: "floats are read as doubles and dropped", seen_as: "is temperature a double here?",
}

/// Equal requests: four random texts are not equal by chance.
const DRAWS: usize = 4;
const TOKENS: i64 = 16;
/// Prompts on which the model may say something else each time.
const PROMPTS: usize = 3;
const HOT: Sampling =
    Sampling { max_new_tokens: TOKENS, temperature: 1.5, top_p: 1.0, repetition_penalty: 1.0 };
/// Temperatures, the next one where the model says much the same at the one before.
const TEMPERATURES: [f64; 3] = [1.5, 10.0, 100.0];
const TINY_TOP_P: f64 = 0.001;
const TINY_TEMPERATURE: f64 = 0.01;
const LARGE_PENALTY: f64 = 2.0;
/// The bounds that must make a difference; and no token of any tokenizer in use is longer than so many bytes.
const SMALL_BOUND: i64 = 2;
const LARGE_BOUND: i64 = 32;
const TOKEN_BYTES: usize = 128;

async fn check(probe: &Probe) -> Judgement {
    let types = Types::of(probe.dialect());
    understood(probe, types).await?;
    let floats = floats_arrive(probe, types).await;
    if matches!(floats, Err(NotPassed::Fail(_))) {
        return floats; // of two parameters that do not arrive, this one says more
    }
    bound_arrives(probe).await?;
    floats?;
    probe.still_serves("requests with other parameters").await
}

/// The types of the real numbers, as documented and as the other dialect has them.
#[derive(Clone, Copy)]
struct Types {
    documented: Dialect,
    other: Dialect,
}

impl Types {
    fn of(documented: Dialect) -> Self {
        let other = match documented {
            Dialect::Contract => Dialect::CyLlm,
            Dialect::CyLlm => Dialect::Contract,
        };
        Self { documented, other }
    }

    fn drifted(self, parameter: &str) -> String {
        format!("is {parameter} a {} here?", real(self.other))
    }
}

fn real(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Contract => "float",
        Dialect::CyLlm => "double",
    }
}

/// A request with all parameters is served. Where only one without them is, they are what is not understood.
async fn understood(probe: &Probe, types: Types) -> Judgement {
    let request = GenerationRequest { sampling: Some(HOT), ..probe.request(TOKENS) };
    let with = probe.predict(request.clone()).await?;
    if with.served().is_ok() {
        return probe.assert(true, String::new);
    }
    let bound_only = Sampling { max_new_tokens: TOKENS, ..Sampling::default() };
    let without = probe.predict(GenerationRequest { sampling: Some(bound_only), ..request }).await?;
    without.served()?;
    probe.assert(false, || {
        format!(
            "a request with temperature, top_p and repetition_penalty as {}s, as documented, {}, and the same without them \
             was served: {}",
            real(types.documented),
            with.end.told(),
            types.drifted("temperature")
        )
    })
}

async fn floats_arrive(probe: &Probe, types: Types) -> Judgement {
    let Some((prompt, hot)) = varied(probe, types.documented).await? else {
        return always_the_same(probe, types).await;
    };
    let tiny_top_p = Sampling { top_p: TINY_TOP_P, ..hot };
    let tiny_temperature = Sampling { temperature: TINY_TEMPERATURE, ..hot };
    let top_p = moves(probe, types, &prompt, "top_p", tiny_top_p).await?;
    let temperature = moves(probe, types, &prompt, "temperature", tiny_temperature).await?;
    match (top_p, temperature) {
        (true, true) => penalty_arrives(probe, types, &prompt, tiny_top_p).await,
        (false, true) => probe.assert(false, || {
            format!(
                "{DRAWS} equal requests with top_p 0.001 gave different texts, with temperature 0.01 they gave one: top_p \
                 does not arrive, or is not used"
            )
        }),
        (true, false) => Err(NotPassed::Inconclusive(
            "a tiny top_p makes the text repeatable and a temperature of 0.01 does not: nothing shows whether temperature \
             arrives (SAMPLING-007)"
                .to_owned(),
        )),
        (false, false) => Err(NotPassed::Inconclusive(
            "the text is another one each time, whatever temperature and top_p are: nothing shows whether they arrive \
             (SAMPLING-003)"
                .to_owned(),
        )),
    }
}

/// Whether a tiny value makes the text repeatable; that it does so only in the other dialect's type is a failure.
async fn moves(
    probe: &Probe,
    types: Types,
    prompt: &str,
    name: &str,
    tiny: Sampling,
) -> Result<bool, NotPassed> {
    if repeats(&texts(probe, types.documented, prompt, tiny).await?) {
        probe.assert(true, String::new)?;
        return Ok(true);
    }
    let dropped = repeats(&texts(probe, types.other, prompt, tiny).await?);
    probe.assert(!dropped, || {
        let (documented, other) = (real(types.documented), real(types.other));
        format!(
            "the {documented}s were dropped: {DRAWS} equal requests with temperature {} and top_p {} as {documented}s, as \
             documented, gave different texts, and as {other}s they gave one: {}",
            tiny.temperature,
            tiny.top_p,
            if name == "temperature" { types.drifted(name) } else { types.drifted("temperature") + " Is top_p?" }
        )
    })?;
    Ok(false)
}

/// Hot requests give one text: whether hot ones in the other dialect's types do not.
async fn always_the_same(probe: &Probe, types: Types) -> Judgement {
    let dropped = varied(probe, types.other).await?;
    probe.assert(dropped.is_none(), || {
        let temperature = dropped.map_or(HOT.temperature, |(_, hot)| hot.temperature);
        let (documented, other) = (real(types.documented), real(types.other));
        format!(
            "the {documented}s were dropped: {DRAWS} equal requests with temperature {} as a {documented}, as documented, gave \
             the same text, and as a {other} they gave different ones: {}",
            temperature,
            types.drifted("temperature")
        )
    })?;
    Err(NotPassed::Inconclusive(format!(
        "the model says much the same at temperature {}, or does not take it: nothing shows whether temperature and top_p \
         arrive",
        TEMPERATURES[TEMPERATURES.len() - 1]
    )))
}

/// A penalty that changes nothing may have nothing to change. That it changes the text only in the other type is a failure.
async fn penalty_arrives(probe: &Probe, types: Types, prompt: &str, greedy: Sampling) -> Judgement {
    let large = Sampling { repetition_penalty: LARGE_PENALTY, ..greedy };
    let mut known = texts(probe, types.documented, prompt, greedy).await?;
    known.extend(texts(probe, types.documented, prompt, large).await?);
    let Some(text) = known.first().filter(|first| known.iter().all(|other| other == *first)) else {
        return Ok(()); // it changes the text, or the text changes by itself
    };
    let others = texts(probe, types.other, prompt, large).await?;
    let dropped = others.len() == DRAWS && others.iter().all(|other| other != text);
    probe.assert(!dropped, || {
        let (documented, other) = (real(types.documented), real(types.other));
        format!(
            "the {documented}s were dropped: a repetition_penalty of {} as a {documented}, as documented, does not change the \
             text, and as a {other} it does: {}",
            LARGE_PENALTY,
            types.drifted("repetition_penalty")
        )
    })
}

/// A prompt and parameters that give another text each time.
async fn varied(probe: &Probe, dialect: Dialect) -> Result<Option<(String, Sampling)>, NotPassed> {
    for temperature in TEMPERATURES {
        let hot = Sampling { temperature, ..HOT };
        for prompt in probe.endpoint().prompts.iter().take(PROMPTS) {
            let texts = texts(probe, dialect, prompt, hot).await?;
            let different = texts.iter().enumerate().all(|(at, text)| !texts[..at].contains(text));
            if texts.len() == DRAWS && different && !repeats(&texts) {
                return Ok(Some((prompt.clone(), hot)));
            }
        }
    }
    Ok(None)
}

/// The texts of equal requests at once, in a dialect's types. Those that are not served give none.
async fn texts(
    probe: &Probe,
    dialect: Dialect,
    prompt: &str,
    sampling: Sampling,
) -> Result<Vec<String>, NotPassed> {
    let options = probe.options();
    let what = format!(
        "temperature {}, top_p {}, repetition_penalty {} as {}s",
        sampling.temperature,
        sampling.top_p,
        sampling.repetition_penalty,
        real(dialect)
    );
    let draws = (0..DRAWS).map(|_| {
        let sampling = Some(sampling);
        let request = GenerationRequest { prompt: prompt.to_owned(), sampling, ..probe.request(TOKENS) };
        let bytes = framed(&dialect.encode_request(request));
        let (options, what) = (&options, &what);
        Box::pin(async move { probe.ask("StreamPredict", &bytes, what, options).await })
    });
    let mut texts = Vec::new();
    for answer in join_all(draws).await {
        let answer = answer?;
        if let End::Closed(_) = answer.end {
            return Err(NotPassed::Fail(answer.told()));
        }
        let decoded = answer.messages.iter().map(|message| probe.dialect().decode_response(message));
        let text: Result<String, _> = decoded.map(|response| response.map(|r| r.chunk)).collect();
        texts.extend(text.ok().filter(|text| answer.end.is_ok() && !text.is_empty()));
    }
    Ok(texts)
}

/// All of them came and are equal, or part behind the first half of the shortest only.
fn repeats(texts: &[String]) -> bool {
    let Some(first) = texts.first().filter(|_| texts.len() == DRAWS) else { return false };
    let alike = |text: &String| first.chars().zip(text.chars()).take_while(|(a, b)| a == b).count();
    let alike = texts.iter().map(alike).min().unwrap_or_default();
    let shortest = texts.iter().map(|text| text.chars().count()).min().unwrap_or_default();
    alike * 2 >= shortest
}

/// A larger max_new_tokens gives more text, on a prompt that makes the model talk.
async fn bound_arrives(probe: &Probe) -> Judgement {
    for prompt in &probe.endpoint().prompts {
        let bounded =
            |bound| probe.predict(GenerationRequest { prompt: prompt.clone(), ..probe.request(bound) });
        let small = Box::pin(bounded(SMALL_BOUND)).await?.served()?.text().len();
        probe.assert(small <= SMALL_BOUND as usize * TOKEN_BYTES, || {
            format!("max_new_tokens {SMALL_BOUND} gave {small} bytes of text: it does not arrive")
        })?;
        let large = Box::pin(bounded(LARGE_BOUND)).await?.served()?.text().len();
        if large > small {
            return probe.assert(true, String::new);
        }
    }
    Err(NotPassed::Inconclusive(format!(
        "on no prompt did max_new_tokens {LARGE_BOUND} give more text than {SMALL_BOUND}: the model ends by itself, and \
         nothing shows whether the bound arrives"
    )))
}

/// Reads the other dialect's types. As most protobuf runtimes do, it drops what has another type.
#[derive(Default)]
struct ReadsDoubles;

impl Behaviour for ReadsDoubles {
    fn decode(&self, dialect: Dialect, bytes: &Bytes) -> Result<GenerationRequest, Status> {
        if let Ok(request) = Conformant.decode(Types::of(dialect).other, bytes) {
            return Ok(request);
        }
        let mut request = Conformant.decode(dialect, bytes)?;
        if let Some(sampling) = &mut request.sampling {
            *sampling = Sampling { max_new_tokens: sampling.max_new_tokens, ..Sampling::default() };
        }
        Ok(request)
    }
}
