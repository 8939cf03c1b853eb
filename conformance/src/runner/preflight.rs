//! A look before the first check: what keeps everything from working is one sentence with the cause and the cure, not
//! thirty failed requirements.
//!
//! Only what the contract does not speak of is refused here: no connection, another protocol, no token, no such model,
//! no server behind the address. A target that speaks and is wrong is judged.

use std::{sync::Arc, time::Duration};

use ai_inference_proto::Dialect;
use tokio::time::{Instant, sleep};
use tonic::Code;
use wire::{Address, Connection, End, Speaks, Tls, diagnose, quote, speaks, time};

use super::{
    asked::Asked,
    names::{Names, ask},
    survey::listed_models,
};
use crate::probe::{Endpoint, Generation, Probe};

/// Equal requests, each on a connection of its own: one of several workers behind an address may be dead.
const EQUAL: usize = 4;
/// How long a target may say at first that it is full or that no server is there.
const PATIENT: Duration = Duration::from_secs(2);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);
/// Names listed in a sentence.
const NAMED: usize = 5;

/// Why nothing can be judged: the cause, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No connection could be opened.
    #[error(
        "no connection to {address}: {why}. Is it running, and is the address right? Name it with --target, start it with --spawn, or wait for it with --wait 60s"
    )]
    NothingListens {
        /// The address that was tried.
        address: String,
        /// The system's error message.
        why: String,
    },
    /// TLS where plain text is expected, or the reverse, or a certificate that is not trusted.
    #[error("no connection to {address}: {why}")]
    OtherTransport {
        /// The address that was tried.
        address: String,
        /// What was seen, and what to write.
        why: String,
    },
    /// An HTTP/1 server.
    #[error(
        "{0} speaks HTTP/1 and not HTTP/2, which gRPC needs; name the target's gRPC port, or let the proxy in front of it pass HTTP/2 on"
    )]
    Http1(String),
    /// Bytes that are not HTTP/2.
    #[error("{0} does not speak HTTP/2, which gRPC needs; name the target's gRPC port")]
    NotHttp2(String),
    /// HTTP/2, and an answer that is not gRPC's.
    #[error("{address} answers HTTP {status} and no gRPC status; {}", of_http(*status))]
    NotGrpc {
        /// The address that was asked.
        address: String,
        /// HTTP status of the answer.
        status: u16,
    },
    /// Accepts, and closes.
    #[error(
        "{0} takes connections and closes them at once; the server behind the port (in its container, perhaps) does not listen yet or has ended: look at its log, or wait for it with --wait 60s"
    )]
    HangsUp(String),
    /// Accepts, and never answers.
    #[error(
        "{address} takes connections and answered nothing within {waited}; is it the target's gRPC port, and is the target ready? --wait 60s waits for it"
    )]
    Silent {
        /// The address that was asked.
        address: String,
        /// How long it was waited for.
        waited: String,
    },
    /// A gRPC server without the service.
    #[error(
        "{address} is a gRPC server without the service AiInference: it answers UNIMPLEMENTED under both of its names{services}; name the target's own port"
    )]
    OtherService {
        /// The address that was asked.
        address: String,
        /// What it serves instead, as far as it says so.
        services: String,
    },
    /// The service has its other name.
    #[error(
        "the target answers UNIMPLEMENTED under the name of the dialect {asked}, and answers under the name of {there}; write --dialect {there}"
    )]
    OtherDialect {
        /// The dialect that the user named.
        asked: Dialect,
        /// The dialect that the target speaks.
        there: Dialect,
    },
    /// No token was given.
    #[error(
        "the target asks for a token and none was given (it answered {0}); put it into CONFORMANCE_TOKEN, or write --token"
    )]
    TokenNeeded(String),
    /// The token is wrong.
    #[error(
        "the target refuses the token (it answered {0}); is it the right one, and still valid? It comes from CONFORMANCE_TOKEN or --token"
    )]
    TokenRefused(String),
    /// The token makes no difference.
    #[error(
        "the target answers {0} with the token as without it; either the token is wrong, or a proxy on the way drops the header `authorization`"
    )]
    TokenUnheard(String),
    /// No such model.
    #[error("the target has no model {model} (it answered {said}); {listed}")]
    UnknownModel {
        /// The model that the user named.
        model: String,
        /// The target's answer.
        said: String,
        /// What it has, and how to name it.
        listed: String,
    },
    /// The target answers, but no generation succeeds.
    #[error(
        "the target answers every generation with {0}; start the worker behind it, or wait for it with --wait 60s"
    )]
    Unavailable(String),
    /// Some requests fail and some do not.
    #[error(
        "{failed} of {of} equal requests were answered {said}, the others were served; one of several workers behind the address is down, it seems: mend it or take it out"
    )]
    SomeUnavailable {
        /// How many requests failed.
        failed: usize,
        /// How many requests there were in all.
        of: usize,
        /// The target's answer.
        said: String,
    },
}

impl Refusal {
    /// Whether waiting may help: the target is not there yet, or not ready.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NothingListens { .. }
            | Self::HangsUp(_)
            | Self::Silent { .. }
            | Self::Unavailable(_)
            | Self::SomeUnavailable { .. } => true,
            Self::NotGrpc { status, .. } => matches!(status, 502..=504),
            _ => false,
        }
    }
}

/// Looks at the target until it is ready, for as long as `wait` where waiting may help.
pub async fn ready(asked: Asked<'_>, wait: Duration) -> Result<(), Refusal> {
    let began = Instant::now();
    loop {
        let left = wait.saturating_sub(began.elapsed());
        let patience = if wait.is_zero() { asked.patience } else { asked.patience.min(left.max(PATIENT)) };
        match preflight(Asked { patience, ..asked }).await {
            Err(refusal) if refusal.may_pass() && began.elapsed() + PAUSE < wait => sleep(PAUSE).await,
            ended => return ended,
        }
    }
}

async fn preflight(asked: Asked<'_>) -> Result<(), Refusal> {
    let patience = asked.first_patience();
    for address in asked.addresses {
        if let Err(error) = Connection::open(address, asked.tls, patience).await {
            return Err(unreachable(address, asked.tls, &error.to_string()).await);
        }
    }
    let Some(first) = asked.addresses.first() else { return Ok(()) };
    let mut endpoint = asked.endpoint();
    let names = ask(&endpoint).await;
    if let Some(refusal) = transport(first, &endpoint, &names).await {
        return Err(refusal);
    }
    endpoint.dialect = service(first, &endpoint, &names, asked.dialect).await?;
    generations(&mut endpoint, asked.model.is_some()).await
}

async fn unreachable(address: &Address, tls: &Tls, why: &str) -> Refusal {
    let shown = address.to_string();
    match diagnose(address, tls).await {
        Some(why) => Refusal::OtherTransport { address: shown, why },
        None => Refusal::NothingListens { address: shown, why: why.to_owned() },
    }
}

/// What is wrong below gRPC, where neither name got an answer of gRPC.
async fn transport(address: &Address, endpoint: &Endpoint, names: &Names) -> Option<Refusal> {
    let ends = names.ends();
    let shown = address.to_string();
    if let [End::NoStatus { http: status }, End::NoStatus { .. }] = ends
        && *status != 200
    {
        return Some(Refusal::NotGrpc { address: shown, status: *status });
    }
    if !ends.iter().all(|end| matches!(end, End::Closed(_) | End::TimedOut(_) | End::Malformed(_))) {
        return None;
    }
    if let Some(why) = diagnose(address, &endpoint.tls).await {
        return Some(Refusal::OtherTransport { address: shown, why });
    }
    match speaks(address, &endpoint.tls).await {
        Speaks::Http1 => Some(Refusal::Http1(shown)),
        Speaks::Other => Some(Refusal::NotHttp2(shown)),
        Speaks::HangsUp => Some(Refusal::HangsUp(shown)),
        Speaks::Silent => Some(Refusal::Silent { address: shown, waited: time(endpoint.patience) }),
        Speaks::Http2 if ends.iter().all(|end| matches!(end, End::TimedOut(_))) => {
            // Health may hang where generations work: then it is the checks' matter.
            let generation = generate(endpoint).await;
            let silent =
                generation.is_none_or(|g| matches!(g.end, End::TimedOut(_)) && g.responses.is_empty());
            silent.then(|| Refusal::Silent { address: shown, waited: time(endpoint.patience) })
        }
        Speaks::Http2 => None,
    }
}

/// The dialect whose name is there.
async fn service(
    address: &Address,
    endpoint: &Endpoint,
    names: &Names,
    wished: Option<Dialect>,
) -> Result<Dialect, Refusal> {
    let there = names.there(endpoint.documented);
    match (wished, there) {
        (None, Some(there)) => return Ok(there),
        (Some(wished), Some(_)) if !names.is_unimplemented(wished) => return Ok(wished),
        _ => {}
    }
    // A server without Health may still generate: that is for the checks to say.
    let mut generating = Vec::new();
    for dialect in Dialect::ALL {
        let generation = generate(&Endpoint { dialect, ..endpoint.clone() }).await;
        if generation.is_some_and(|g| g.end.code() != Some(Code::Unimplemented)) {
            generating.push(dialect);
        }
    }
    if let Some(dialect) = wished.filter(|wished| generating.contains(wished)) {
        return Ok(dialect);
    }
    match (wished, there.or(generating.first().copied())) {
        (Some(asked), Some(there)) => Err(Refusal::OtherDialect { asked, there }),
        (None, Some(there)) => Ok(there),
        (_, None)
            if !names.is_unimplemented(Dialect::Contract) && !names.is_unimplemented(Dialect::CyLlm) =>
        {
            Ok(endpoint.dialect)
        }
        (_, None) => {
            let services = services(endpoint).await;
            Err(Refusal::OtherService { address: address.to_string(), services })
        }
    }
}

/// Short generations: one that works, and then as many equal ones as show that each of several workers does.
async fn generations(endpoint: &mut Endpoint, model_was_named: bool) -> Result<(), Refusal> {
    let Some(mut first) = settled(endpoint).await else { return Ok(()) };
    if !model_was_named && first.end.code() == Some(Code::NotFound) {
        // No model was named, and the target has no default: the survey takes the first of its list, too.
        let probe = Probe::new(Arc::new(endpoint.clone()), 0);
        let Some(model) = listed_models(&probe).await.and_then(|listed| listed.into_iter().next()) else {
            return Ok(());
        };
        endpoint.model = model;
        let Some(again) = settled(endpoint).await else { return Ok(()) };
        first = again;
    }
    match first.end.code() {
        Some(Code::Unauthenticated | Code::PermissionDenied) => return Err(token(endpoint, &first).await),
        Some(Code::NotFound) if model_was_named => return Err(unknown_model(endpoint, &first).await),
        _ if matches!(first.end, End::TimedOut(_)) => return Ok(()),
        _ => {}
    }
    let mut ends = vec![first.end];
    while ends.len() < EQUAL {
        let Some(generation) = generate(endpoint).await else { break };
        if matches!(generation.end, End::TimedOut(_)) {
            break;
        }
        ends.push(generation.end);
    }
    let failed: Vec<_> = ends.iter().filter(|end| end.code() == Some(Code::Unavailable)).collect();
    let served = ends.iter().filter(|end| end.is_ok()).count();
    match failed.last() {
        Some(end) if failed.len() == ends.len() => Err(Refusal::Unavailable(end.to_string())),
        Some(end) if served > 0 => {
            Err(Refusal::SomeUnavailable { failed: failed.len(), of: ends.len(), said: end.to_string() })
        }
        _ => Ok(()),
    }
}

/// One short generation; a target that says at first that it is full, or that no server is there, is asked again.
async fn settled(endpoint: &Endpoint) -> Option<Generation> {
    let began = Instant::now();
    loop {
        let generation = generate(endpoint).await?;
        if !generation.end.is_full() || began.elapsed() > PATIENT {
            return Some(generation);
        }
        sleep(PAUSE).await;
    }
}

/// One short generation, asked once on a connection of its own.
async fn generate(endpoint: &Endpoint) -> Option<Generation> {
    let probe = Probe::new(Arc::new(endpoint.clone()), 0);
    let request = probe.request(1);
    let mut stream = probe.stream().await.ok()?;
    stream.send(&request);
    stream.half_close();
    Some(stream.finish_within(request, endpoint.patience).await)
}

/// Whether the token is missing, wrong, or makes no difference.
async fn token(endpoint: &Endpoint, refused: &Generation) -> Refusal {
    let said = refused.end.to_string();
    if endpoint.token.is_none() {
        return Refusal::TokenNeeded(said);
    }
    let without = generate(&Endpoint { token: None, ..endpoint.clone() }).await;
    if without.is_some_and(|without| without.end == refused.end) {
        return Refusal::TokenUnheard(said);
    }
    Refusal::TokenRefused(said)
}

async fn unknown_model(endpoint: &Endpoint, refused: &Generation) -> Refusal {
    let probe = Probe::new(Arc::new(endpoint.clone()), 0);
    let listed = match listed_models(&probe).await.as_deref() {
        None | Some([]) => "name another one with --model, or none for the target's default".to_owned(),
        Some(listed) => format!("it lists {}; name one of them with --model", some(listed)),
    };
    Refusal::UnknownModel { model: quote(&endpoint.model, 60), said: refused.end.to_string(), listed }
}

/// What a gRPC server serves, if its reflection says so.
async fn services(endpoint: &Endpoint) -> String {
    let probe = Probe::new(Arc::new(endpoint.clone()), 0);
    match probe.reflect(endpoint.dialect.service()).await {
        Ok(crate::probe::Reflection::Served(reflected)) if !reflected.services.is_empty() => {
            format!(" (it serves {})", some(&reflected.services))
        }
        _ => String::new(),
    }
}

fn some(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(NAMED).map(|name| quote(name, 60)).collect();
    let more = names.len().saturating_sub(NAMED);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

fn of_http(status: u16) -> &'static str {
    match status {
        401 | 403 => "a proxy in front of the target asks for credentials of its own",
        502..=504 => {
            "a proxy is there but no server behind it: start the target, or wait for it with --wait 60s"
        }
        _ => "it is an HTTP server, or a proxy that does not lead to the target: name the target's gRPC port",
    }
}
