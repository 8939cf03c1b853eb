//! CONTROL-010.

use std::time::Duration;

use ai_inference_proto::ControlMessage;
use futures_util::future::join_all;
use proptest::{
    collection::vec,
    prelude::any,
    prop_oneof,
    sample::select,
    strategy::{Just, Strategy, ValueTree as _},
};
use tonic::{Code, Status};

use crate::{
    exemplar::{Behaviour, State},
    probe::{Probe, Unary, quote, smallest, status},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// Any command name and payload (property test: empty, long, any Unicode, many keys) is answered, or refused with
    /// INVALID_ARGUMENT, NOT_FOUND or UNIMPLEMENTED; never INTERNAL, UNKNOWN or a hang.
    ///
    /// # Why it matters
    /// Control is where a newer client meets an older server. A command that the server does not understand is ordinary
    /// there, and must not look like a broken server, or break one.
    ///
    /// # How it is checked
    /// A `ping` must be answered status=ok. Then commands are drawn with the run's seed, 32 to 160 of them after the server's
    /// speed: empty and long names (up to 20,000 characters), control characters, every plane of Unicode, `ping` and
    /// `list_models` among them; payloads with empty keys, long values and hundreds of keys. Each must be answered with OK
    /// and one message, or refused with one of the three statuses. RESOURCE_EXHAUSTED is asked again, and is right for a
    /// message of more than 4 kB. A command that fails is made smaller for some seconds, and the smallest that still fails
    /// is shown. Then the server must still serve.
    ///
    /// # What a violation looks like
    /// INTERNAL to a long name, which the status message repeats until the trailers are too large.
    ///
    /// # References
    /// Contract, CONTROL-010 and CONTROL-005; gRPC, "Status codes".
    id: "CONTROL-010",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "any command is answered or refused",
    check: check,
    mutant: LongIsInternal, fault: "a long command is INTERNAL", seen_as: "characters) with",
}

/// As many commands as take about this long, between the two numbers.
const BUDGET: Duration = Duration::from_millis(500);
const FEWEST: usize = 32;
const MOST: usize = 160;
const AT_ONCE: usize = 4;
/// Pieces of an ordinary name, and of a key or value.
const PIECES: usize = 12;
/// A long name, in repeated pieces of up to four bytes: with it a message is well below 200 kB (WIRE-013).
const LONG: usize = 20_000;
/// Keys of a large payload.
const KEYS: usize = 300;
const ACCEPTED: [Code; 3] = [Code::InvalidArgument, Code::NotFound, Code::Unimplemented];
/// A server that is full is asked again so often.
const TRIES: u32 = 3;
const BACK_OFF: Duration = Duration::from_millis(100);
/// Bytes: a larger message may be too large for a server (WIRE-008).
const SMALL: usize = 4096;

/// A command's name, and its payload.
type Command = (String, Vec<(String, String)>);

async fn check(probe: &Probe) -> Judgement {
    let took = pong(probe).await?;
    let count = (BUDGET.as_secs_f64() / took.as_secs_f64().max(1e-6)) as usize;
    let mut drawn = probe.drawn(&commands(), count.clamp(FEWEST, MOST))?;
    for few in drawn.chunks_mut(AT_ONCE) {
        let judged = join_all(few.iter().map(|tree| Box::pin(judge(probe, tree.current())))).await;
        if let Some(place) = judged.iter().position(Result::is_err) {
            let why = judged.into_iter().nth(place).unwrap_or(Ok(()));
            return smallest(&mut few[place], why, |command| judge(probe, command)).await;
        }
    }
    pong(probe).await?;
    probe.still_serves("strange commands").await
}

/// How long a `ping` takes, which must be answered status=ok.
async fn pong(probe: &Probe) -> Result<Duration, NotPassed> {
    let ping = probe.control(&probe.trace_id(), "ping", &[]).await?;
    let answer = ping.ok()?;
    probe.assert(status(answer) == "ok", || {
        format!("ping was answered {:?}, not with status=ok", answer.payload)
    })?;
    Ok(ping.took)
}

async fn judge(probe: &Probe, (name, payload): Command) -> Judgement {
    let bytes = name.len() + payload.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    let control = ask(probe, &name, &payload).await?;
    let full = control.end.is_full();
    if full && bytes <= SMALL {
        return Err(NotPassed::Inconclusive(format!(
            "the command {} {}, in each of {TRIES} tries: the server is full",
            quote(&name, 60),
            control.end.told()
        )));
    }
    let refused = control.end.code().is_some_and(|code| ACCEPTED.contains(&code));
    probe.assert(control.ok().is_ok() || refused || full, || {
        let told = match &control.end {
            end if end.is_ok() => "ended OK without an answer".to_owned(),
            end => end.told(),
        };
        format!(
            "the command {} with {} {told}, not with an answer, INVALID_ARGUMENT, NOT_FOUND or UNIMPLEMENTED",
            quote(&name, 60),
            shown(&payload)
        )
    })
}

async fn ask(
    probe: &Probe,
    name: &str,
    payload: &[(String, String)],
) -> Result<Unary<ControlMessage>, NotPassed> {
    let entries: Vec<_> = payload.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let mut tries = 1;
    loop {
        let control = probe.control(&probe.trace_id(), name, &entries).await?;
        if !control.end.is_full() || tries == TRIES {
            return Ok(control);
        }
        tokio::time::sleep(BACK_OFF * tries).await;
        tries += 1;
    }
}

fn shown(payload: &[(String, String)]) -> String {
    match payload {
        [] => "an empty payload".to_owned(),
        [(key, value)] => format!("the payload {} = {}", quote(key, 40), quote(value, 40)),
        more => {
            let (key, value) = &more[0];
            format!("a payload of {} keys ({} = {}, …)", more.len(), quote(key, 40), quote(value, 40))
        }
    }
}

/// Names that no server takes for a command that changes something, and any payload.
fn commands() -> impl Strategy<Value = Command, Tree: Send> {
    let long = || (piece(), 500..=LONG).prop_map(|(piece, times)| piece.repeat(times));
    let name = prop_oneof![
        1 => Just(String::new()),
        2 => select(vec!["ping", "list_models"]).prop_map(str::to_owned),
        4 => text(),
        2 => long(),
    ];
    let entry = || (text(), text());
    let payload = prop_oneof![
        1 => Just(Vec::new()),
        4 => vec(entry(), 1..=4),
        1 => vec(entry(), 100..=KEYS),
        1 => (text(), long()).prop_map(|entry| vec![entry]),
        1 => text().prop_map(|value| vec![(String::new(), value)]),
    ];
    (name, payload)
}

/// ASCII with its control characters, any character, and what a format or a path would be.
fn piece() -> impl Strategy<Value = String, Tree: Send> {
    let special = vec!["%s", "../", "\r\n", "\u{0}", "\u{202e}", "{}", "=", "\u{301}"];
    prop_oneof![
        2 => proptest::char::range('\0', '\u{7f}').prop_map(String::from),
        1 => select(special).prop_map(str::to_owned),
        2 => any::<char>().prop_map(String::from),
    ]
}

fn text() -> impl Strategy<Value = String, Tree: Send> {
    vec(piece(), 0..=PIECES).prop_map(|pieces| pieces.concat())
}

/// Keeps names in a fixed buffer.
#[derive(Default)]
struct LongIsInternal;

#[tonic::async_trait]
impl Behaviour for LongIsInternal {
    async fn control(&self, state: &State, message: ControlMessage) -> Result<ControlMessage, Status> {
        if message.command.chars().count() > 1000 {
            return Err(Status::internal("buffer overflow"));
        }
        Ok(state.control(&message))
    }
}
