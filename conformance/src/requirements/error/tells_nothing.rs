//! ERROR-010.

use ai_inference_proto::{Dialect, GenerationRequest, Sampling};
use bytes::Bytes;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, Conformant},
    probe::{METHODS, Probe, wire::framed},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// No error message or metadata carries a stack trace, a host path or a secret.
    ///
    /// # Why it matters
    /// Messages of errors go to users, to logs and to whoever provoked them. A stack trace and a path tell an attacker what runs
    /// where, and a token in a message is a token in every log on the way.
    ///
    /// # How it is checked
    /// What the target says beside the texts of its generations is looked through in all checks of the run: status messages,
    /// initial and trailing metadata (binary values too), bodies of HTTP errors, and Control's answers. This check runs last, and
    /// provokes errors of its own: unknown models, adapters, commands and methods, broken messages, parameters out of range, a
    /// prompt that is too long, and calls without the token. It looks for what only a runtime writes of itself: the frames
    /// of a stack trace in Python, JVM, Go, JavaScript, Rust, .NET and C++; absolute paths of a host; and the run's own
    /// token, encoded or not. A path that the client itself has sent, the names of models and the target's addresses are none.
    ///
    /// # What a violation looks like
    /// "Exception calling application: Traceback (most recent call last): File \"/srv/app/server.py\" …".
    ///
    /// # References
    /// Contract, ERROR-010; CWE-209 (error messages with sensitive information).
    id: "ERROR-010",
    level: Must,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    begins: Last,
    since: "0.1.0",
    title: "errors tell no stack trace, host path or secret",
    check: check,
    mutant: Traceback, fault: "a broken message is answered with a Python traceback", seen_as: "a stack trace of Python",
}

/// Characters of a prompt that is too long for most models, and for the contract.
const TOO_LONG: usize = 60_000;
/// A field that announces more bytes than come.
const BROKEN: [u8; 3] = [0x0A, 5, b'a'];

async fn check(probe: &Probe) -> Judgement {
    provoke(probe).await?;
    let leaks = probe.leaks();
    probe.assert(leaks.is_empty(), || {
        let more = match leaks.len() {
            0 | 1 => String::new(),
            count => format!(" (and {} more like it)", count - 1),
        };
        format!("{}{more}", leaks[0])
    })
}

/// Makes errors of every kind; how each of them ends is other checks' matter.
async fn provoke(probe: &Probe) -> Result<(), NotPassed> {
    let wrong = |change: fn(&mut GenerationRequest)| {
        let mut request = probe.request(2);
        change(&mut request);
        request
    };
    let sampling = |request: &mut GenerationRequest, change: fn(&mut Sampling)| {
        change(request.sampling.get_or_insert_default());
    };
    let mut below = probe.request(2);
    sampling(&mut below, |s| s.max_new_tokens = -1);
    let mut above = probe.request(2);
    sampling(&mut above, |s| s.top_p = 3.0);
    let mut nan = probe.request(2);
    sampling(&mut nan, |s| s.temperature = f64::NAN);
    for request in [
        wrong(|request| request.model_id = "no-such-model".into()),
        wrong(|request| request.adapter = "no-such-adapter".into()),
        wrong(|request| request.prompt = "a ".repeat(TOO_LONG / 2)),
        wrong(|request| request.prompt = String::new()),
        below,
        above,
        nan,
    ] {
        probe.predict(request).await?;
    }
    for (command, payload) in
        [("no_such_command", None), ("load_model", Some("no-such-model")), ("unload_model", None)]
    {
        let payload: Vec<_> = payload.iter().map(|model| ("model_id", *model)).collect();
        probe.control(&probe.trace_id(), command, &payload).await?;
    }
    let stranger = probe.with_authorization(&["Bearer wrong"])?;
    for method in METHODS {
        probe.ask_once(method, &framed(&BROKEN), "a broken message", &probe.options()).await?;
        probe.ask_once(method, &[], "no message", &probe.options()).await?;
        let legal = framed(&stranger.legal(method, &stranger.trace_id()));
        stranger.ask_once(method, &legal, "a wrong token", &stranger.options()).await?;
    }
    probe.ask_once("NoSuchMethod", &[], "no message", &probe.options()).await?;
    Ok(())
}

#[derive(Default)]
struct Traceback;

impl Behaviour for Traceback {
    fn decode(&self, dialect: Dialect, bytes: &Bytes) -> Result<GenerationRequest, Status> {
        Conformant.decode(dialect, bytes).map_err(|status| {
            Status::internal(format!(
                "Exception deserializing request: Traceback (most recent call last):\n  File \"/srv/app/server.py\", line 41, in \
                 decode\n    {}",
                status.message()
            ))
        })
    }
}
