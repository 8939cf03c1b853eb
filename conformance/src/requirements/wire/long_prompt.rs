//! WIRE-013.

use std::time::Duration;

use ai_inference_proto::GenerationRequest;
use tonic::Code;

use crate::{
    exemplar::Behaviour,
    probe::{Generation, Probe, wire::End},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// A request of 50,000 characters of any script is accepted by the transport (up to 200 kB of UTF-8).
    ///
    /// # Why it matters
    /// 50,000 characters is the documented length of a prompt. In English they are 50 kB, in Chinese 150 kB, in emoji 200 kB.
    /// A limit that was set in bytes and tried in English refuses the same prompt to most of the world.
    ///
    /// # How it is checked
    /// Prompts of 50,000 characters in five scripts of one to four bytes a character are sent for a model that does not
    /// exist, so that no model has to read them. Each must be answered like a short prompt for that model, or OK, NOT_FOUND
    /// or INVALID_ARGUMENT. Then a long prompt is sent for the model in use, with a bound of one token. It must be served, or
    /// refused with INVALID_ARGUMENT, as where the model's context is shorter. A server that says RESOURCE_EXHAUSTED or
    /// UNAVAILABLE is asked three times, each time after a short request was answered: then the length is the reason, and
    /// not the load. A long prompt that the model does not answer in some seconds shows nothing, and the check says so.
    ///
    /// # What a violation looks like
    /// RESOURCE_EXHAUSTED or OUT_OF_RANGE, a reset, or a lost connection, for a prompt that is not too long.
    ///
    /// # References
    /// Contract, WIRE-013 and ERROR-003; gRPC, "Status codes" (RESOURCE_EXHAUSTED).
    id: "WIRE-013",
    level: Must,
    dialects: [Contract, CyLlm],
    isolation: Quiet,
    since: "0.1.0",
    title: "50,000 characters of any script are accepted",
    check: check,
    mutant: SmallMessages, fault: "a 64 kB message limit", seen_as: "was answered OUT_OF_RANGE",
}

const CHARACTERS: usize = 50_000;
/// Texts of one, two, three and four bytes a character, with and without spaces and combining marks.
const SCRIPTS: [(&str, &str); 5] = [
    ("English", "the river "),
    ("Arabic", "نهر هادئ "),
    ("Hindi", "शांत नदी "),
    ("Chinese", "安静的河，"),
    ("emoji", "🌊🌙🍞🎻"),
];
/// With spaces, which tokenizers like; and of so many tokens that most contexts are shorter.
const FOR_THE_MODEL: (&str, &str) = ("emoji with spaces", "🌊🌙🍞🎻🌊🌙🍞🎻 ");
/// A server that is full is asked so often.
const TRIES: usize = 3;
/// A model that has not answered by then reads slowly.
const LONGEST: Duration = Duration::from_secs(5);
const UNKNOWN_MODEL: &str = "no-such-model";

async fn check(probe: &Probe) -> Judgement {
    let elsewhere =
        |request: GenerationRequest| GenerationRequest { model_id: UNKNOWN_MODEL.into(), ..request };
    let short = probe.predict(elsewhere(probe.request(1))).await?.end;
    let Some(code) = short.code() else {
        return Err(NotPassed::Fail(format!("a short prompt for an unknown model {}", short.told())));
    };
    for (script, words) in SCRIPTS {
        let request = elsewhere(long(probe, words));
        let what = told(&request, script);
        let end = attempted(probe, request, probe.patience()).await?.end;
        let accepted = end.code().is_some_and(|end| {
            end == code || matches!(end, Code::Ok | Code::NotFound | Code::InvalidArgument)
        });
        probe.assert(accepted, || {
            format!("{what} for an unknown model {}; a short one {}: {LIMIT}", end.told(), short.told())
        })?;
    }
    let (script, words) = FOR_THE_MODEL;
    let request = long(probe, words);
    let what = told(&request, script);
    let generation = attempted(probe, request, LONGEST).await?;
    let end = &generation.end;
    let size = matches!(end.code(), Some(Code::ResourceExhausted | Code::OutOfRange | Code::Unavailable));
    let cut = matches!(end, End::Reset(_) | End::Closed(_) | End::Malformed(_) | End::NoStatus { .. });
    probe.assert(!size && !cut, || format!("{what} {}: {LIMIT}", end.told()))?;
    // Also where it was cancelled: a server with one slot comes back to others first.
    probe.still_serves(&what).await?;
    match end {
        End::Status(status) if matches!(status.code, Code::Ok | Code::InvalidArgument) => Ok(()),
        _ => Err(NotPassed::Inconclusive(format!(
            "{what} {}: it came through to the server, and nothing shows whether all of the way to the model takes it",
            end.told()
        ))),
    }
}

const LIMIT: &str = "a message of 200 kB must be taken, from the first listener to the model";

/// A request of one token with a prompt of 50,000 characters.
fn long(probe: &Probe, words: &str) -> GenerationRequest {
    GenerationRequest { prompt: words.chars().cycle().take(CHARACTERS).collect(), ..probe.request(1) }
}

fn told(request: &GenerationRequest, script: &str) -> String {
    format!("a prompt of {CHARACTERS} characters in {script} ({} kB)", request.prompt.len() / 1000)
}

/// How the server answers, asked again where it says that it is full and yet answers a short request.
async fn attempted(
    probe: &Probe,
    request: GenerationRequest,
    most: Duration,
) -> Result<Generation, NotPassed> {
    let mut attempt = 1;
    loop {
        let mut stream = probe.stream().await?;
        stream.send(&request);
        stream.half_close();
        let generation = stream.finish_within(request.clone(), most).await;
        if attempt == TRIES || !(generation.end.is_full() && generation.responses.is_empty()) {
            return Ok(generation);
        }
        attempt += 1;
        probe.predict(probe.request(1)).await?.served()?;
    }
}

#[derive(Default)]
struct SmallMessages;

impl Behaviour for SmallMessages {
    fn message_limit(&self) -> usize {
        64 << 10
    }
}
