//! Commands that load and unload a model, and the way back to a model that is served.

use std::time::{Duration, Instant};

use ai_inference_proto::{ControlMessage, GenerationRequest};
use tonic::Code;
use wire::{CallOptions, End};

use super::{Generation, Probe, Unary};
use crate::verdict::{Judgement, NotPassed};

/// Loading a model again takes no longer than this, or than the patience: a check has 25 s in all, and a larger model says
/// nothing in that time.
const LOADING: Duration = Duration::from_secs(15);
/// No server knows it.
const NONSENSE: &str = "no_such_command_9";
/// With these a server refuses a command that it understands.
const REFUSED: [Code; 7] = [
    Code::NotFound,
    Code::InvalidArgument,
    Code::Unimplemented,
    Code::FailedPrecondition,
    Code::PermissionDenied,
    Code::ResourceExhausted,
    Code::Unavailable,
];

/// A model that a check unloads and brings back, and the time that is left for loading it.
pub struct Unloadable<'a> {
    probe: &'a Probe,
    /// Its name.
    pub id: String,
    deadline: Instant,
}

impl Probe {
    /// The run's model, by its name, while it is served.
    pub async fn served_model(&self) -> Result<Unloadable<'_>, NotPassed> {
        let deadline = Instant::now() + LOADING.max(self.patience());
        let served = self.predict_waiting(self.request(4), deadline - Instant::now()).await?;
        if matches!(served.end, End::TimedOut(_)) || served.end.is_full() {
            return Err(NotPassed::Inconclusive(format!(
                "a request {}: the model may still be loading, and is not unloaded again",
                served.end.told()
            )));
        }
        served.served()?;
        let id = match self.endpoint().model.as_str() {
            "" => self.only_model().await?,
            model => model.to_owned(),
        };
        Ok(Unloadable { probe: self, id, deadline })
    }

    /// The name of the default model: the only one that is listed.
    async fn only_model(&self) -> Result<String, NotPassed> {
        let control = self.control(&self.trace_id(), "list_models", &[]).await?;
        let listed = control.ok()?.payload.get("models").cloned().unwrap_or_default();
        let mut names = listed.split(',').map(str::trim).filter(|name| !name.is_empty());
        match (names.next(), names.next()) {
            (Some(only), None) => Ok(only.to_owned()),
            _ => Err(NotPassed::Inconclusive(format!(
                "list_models answers {listed:?}, and nothing says which of them the default model is: name it with --model"
            ))),
        }
    }

    /// A command about a model, with time to load it.
    pub async fn model_command(
        &self,
        command: &str,
        model_id: &str,
    ) -> Result<Unary<ControlMessage>, NotPassed> {
        let options = CallOptions { patience: LOADING.max(self.patience()), ..self.options() };
        let connection = self.connection().await?;
        let payload = [("model_id", model_id)];
        Ok(self.control_with(&connection, &options, &self.trace_id(), command, &payload).await)
    }

    /// Inconclusive where the server does not know a command about models: it answers as it does to one that does not
    /// exist.
    pub async fn knows(&self, command: &str) -> Judgement {
        let model_id = format!("no-such-model-{}", self.random(1 << 30));
        let named = said(command, &self.model_command(command, &model_id).await?);
        let nonsense = said(NONSENSE, &self.model_command(NONSENSE, &model_id).await?);
        if named != nonsense {
            return Ok(());
        }
        Err(NotPassed::Inconclusive(format!(
            "{command} is answered like a command that does not exist: the server does not know it"
        )))
    }
}

/// The answer without the command's name.
fn said(command: &str, control: &Unary<ControlMessage>) -> String {
    let words = match &control.answer {
        Some(answer) => format!("{:?}", answer.payload),
        None => control.end.to_string(),
    };
    words.replace(command, "")
}

/// `status` of an answer's payload.
pub fn status(answer: &ControlMessage) -> &str {
    answer.payload.get("status").map_or("", String::as_str)
}

impl Unloadable<'_> {
    /// A greedy request for the model.
    pub fn request(&self, max_new_tokens: i64) -> GenerationRequest {
        GenerationRequest { model_id: self.id.clone(), ..self.probe.request(max_new_tokens) }
    }

    /// Unloads it. A server that refuses to is inconclusive: what comes after an unload cannot be seen.
    pub async fn unload(&self) -> Judgement {
        let control = self.probe.model_command("unload_model", &self.id).await?;
        let words = match &control.answer {
            Some(answer) if control.end.is_ok() && status(answer) == "ok" => return Ok(()),
            Some(answer) if control.end.is_ok() => format!("was answered {:?}", answer.payload),
            _ if control.end.code().is_some_and(|code| REFUSED.contains(&code)) => control.end.told(),
            _ => return control.ok().map(|_| ()),
        };
        Err(NotPassed::Inconclusive(format!(
            "unload_model of {:?} {words}: the model stays, and what comes after an unload cannot be seen",
            self.id
        )))
    }

    /// A generation on it, with time to load it; asked again while the server says that it is full.
    pub async fn predict(&self, max_new_tokens: i64) -> Result<Generation, NotPassed> {
        let left = self.deadline.saturating_duration_since(Instant::now()).max(self.probe.patience());
        let generation = self.probe.predict_waiting(self.request(max_new_tokens), left).await?;
        if matches!(generation.end, End::TimedOut(_)) || generation.end.is_full() {
            return Err(NotPassed::Inconclusive(format!(
                "after unload_model, a request for {:?} {}: loading it may take longer than this check waits",
                self.id,
                generation.end.told()
            )));
        }
        Ok(generation)
    }

    /// Sees to it that the model is served again, by loading on demand or by `load_model`; the first generation on it.
    pub async fn bring_back(&self, max_new_tokens: i64) -> Result<Generation, NotPassed> {
        let generation = self.predict(max_new_tokens).await?;
        if generation.end.code() != Some(Code::NotFound) {
            generation.served().map_err(|why| why.when("after unload_model"))?;
            return Ok(generation);
        }
        let control = self.probe.model_command("load_model", &self.id).await?;
        let loaded = self.predict(max_new_tokens).await?;
        if loaded.end.code() == Some(Code::NotFound) {
            let answered = control.answer.map_or_else(|| control.end.told(), |a| format!("{:?}", a.payload));
            return Err(NotPassed::Inconclusive(format!(
                "after unload_model {:?} is NOT_FOUND, which is right, and load_model ({answered}) does not bring it back: \
                 the checks that follow have no model",
                self.id
            )));
        }
        loaded.served().map_err(|why| why.when("after unload_model and load_model"))?;
        Ok(loaded)
    }
}
