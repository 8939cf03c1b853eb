//! TRANSPORT-001.

use ai_inference_proto::GenerationRequest;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, HttpRequest, HttpResponse, Next},
    probe::{
        Probe, Reflection, quote,
        wire::{Address, End, code_name},
    },
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// Where both a Unix socket and a TCP port are given, they answer alike.
    ///
    /// # Why it matters
    /// A server is tried on its port and used through its socket. What only one of them can do is found in production.
    ///
    /// # How it is checked
    /// The same calls are made on the first socket and on the first port of the target: Health; Control with `ping`,
    /// `list_models` and an unknown command; a greedy generation, one for an unknown model, a method that does not exist, a
    /// ping without the token, and reflection. On both each call must end with the same status code, and Health must say the same of
    /// `healthy`, `backend` and `version`, Control the same payload, and a generation the same text where the port gives it twice.
    /// What differs is asked for once more on both, since a target may change between two calls.
    ///
    /// # What a violation looks like
    /// Control is UNIMPLEMENTED on the socket, and answered on the port.
    ///
    /// # References
    /// Contract, TRANSPORT-001.
    id: "TRANSPORT-001",
    level: Must,
    dialects: [Contract, CyLlm],
    needs: [SocketAndPort],
    since: "0.1.0",
    title: "a socket and a port answer alike",
    check: check,
    mutant: SocketLacksControl, fault: "the socket lacks Control", seen_as: "Control(\"ping\")",
}

const TRIES: usize = 2;
const TOKENS: i64 = 8;
/// What Health says that does not change while a server runs.
const CONSTANT: [&str; 2] = ["backend", "version"];

async fn check(probe: &Probe) -> Judgement {
    let addresses = &probe.endpoint().addresses;
    let is_socket = |address: &&Address| matches!(address, Address::Unix(_));
    let socket = addresses.iter().find(is_socket);
    let port = addresses.iter().find(|address| !is_socket(address));
    let (Some(socket), Some(port)) = (socket, port) else {
        return Err(NotPassed::Skip("the target has no socket and port".to_owned()));
    };
    let mut differences = Vec::new();
    for _ in 0..TRIES {
        let (on_socket, on_port) = (answers(&probe.at(socket)).await?, answers(&probe.at(port)).await?);
        differences.push(on_socket.into_iter().zip(on_port).find(|(one, other)| one != other));
        if differences.iter().any(Option::is_none) {
            break;
        }
    }
    let repeated = differences.into_iter().collect::<Option<Vec<_>>>().and_then(|mut all| all.pop());
    probe.assert(repeated.is_none(), || {
        let ((call, on_socket), (_, on_port)) = repeated.unwrap_or_default();
        format!("{call} differs: on {socket} it {on_socket}, and on {port} it {on_port}")
    })
}

/// What each call came to: its name, and the answer in words that are alike where the answers are.
async fn answers(door: &Probe) -> Result<Vec<(String, String)>, NotPassed> {
    let mut answers = Vec::new();
    let health = door.health(&door.trace_id()).await?;
    let said = health.answer.as_ref().map_or_else(String::new, |answer| {
        let constant = CONSTANT.map(|name| answer.metrics.get(name).cloned().unwrap_or_default());
        format!(" healthy = {}, {}", answer.healthy, constant.join(" "))
    });
    answers.push(("Health".to_owned(), told(&health.end) + &said));
    for command in ["ping", "list_models", "no_such_command_3"] {
        let control = door.control(&door.trace_id(), command, &[]).await?;
        let said =
            control.answer.as_ref().map_or_else(String::new, |answer| format!(" {:?}", answer.payload));
        answers.push((control.asked.clone(), told(&control.end) + &said));
    }
    let greedy = || door.request(TOKENS);
    let (one, again) = (door.predict(greedy()).await?, door.predict(greedy()).await?);
    let text = if one.text() == again.text() { quote(&one.text(), 60) } else { String::new() };
    answers.push(("a greedy generation".to_owned(), format!("{} {text}", told(&one.end))));
    let unknown = GenerationRequest { model_id: "no-such-model".into(), ..greedy() };
    answers.push(("a generation for an unknown model".to_owned(), told(&door.predict(unknown).await?.end)));
    let path = door.path("NoSuchMethod");
    answers.push(("an unknown method".to_owned(), told(&door.raw(&path, &[], "nothing").await?.end)));
    let stranger = door.with_authorization(&[])?;
    let ping = stranger.control(&stranger.trace_id(), "ping", &[]).await?;
    answers.push(("a ping without a token".to_owned(), told(&ping.end)));
    let reflected = matches!(door.reflect(door.dialect().service()).await?, Reflection::Served(_));
    answers.push(("reflection".to_owned(), if reflected { "is served" } else { "is not served" }.to_owned()));
    Ok(answers)
}

/// The end, without the words of its message, which may name the call.
fn told(end: &End) -> String {
    match end {
        End::Status(status) => format!("was answered {}", code_name(status.code)),
        end => end.told(),
    }
}

/// The authority of a Unix socket has no port.
#[derive(Default)]
struct SocketLacksControl;

#[tonic::async_trait]
impl Behaviour for SocketLacksControl {
    async fn http(&self, request: HttpRequest, next: Next<'_>) -> HttpResponse {
        let port = request.uri().authority().is_some_and(|authority| authority.port().is_some());
        if !port && request.uri().path().ends_with("AiInference/Control") {
            return Status::unimplemented("unknown method Control").into_http();
        }
        next.run(request).await
    }
}
