//! `Control`: one command, one answer. Whatever the command, the answer is OK and says in `status` how it went
//! (CONTROL-005, CONTROL-010); only one that is too long to be sent back is refused.

use std::{collections::BTreeMap, sync::Arc};

use ai_inference_proto::ControlMessage;
use uuid::Uuid;

use super::{Refusal, State, stream_predict::LONGEST_TRACE};

/// Runs the command.
pub(super) async fn control(state: &Arc<State>, message: ControlMessage) -> Result<ControlMessage, Refusal> {
    let ControlMessage { trace_id, command, payload } = message;
    if command.len() > LONGEST_COMMAND || trace_id.len() > LONGEST_TRACE {
        return Err(Refusal::CommandTooLong);
    }
    let outcome = match command.as_str() {
        "ping" => Ok(vec![("message", "pong".to_owned())]),
        "list_models" => Ok(vec![("models", state.registry.ids().await.join(","))]),
        "load_model" => load(state, &payload).await,
        "unload_model" => unload(state, &payload).await,
        unknown => Err(format!("unknown command: {unknown}")),
    };
    let (status, fields) = match outcome {
        Ok(fields) => ("ok", fields),
        Err(message) => ("error", vec![("message", message)]),
    };
    let mut payload: BTreeMap<_, _> =
        fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    payload.insert("status".to_owned(), status.to_owned());
    let trace_id = if trace_id.is_empty() { Uuid::new_v4().to_string() } else { trace_id };
    Ok(ControlMessage { trace_id, command: format!("{command}_response"), payload })
}

type Outcome = Result<Vec<(&'static str, String)>, String>;

/// Loads a model (CONTROL-009).
async fn load(state: &State, payload: &BTreeMap<String, String>) -> Outcome {
    let id = model_id(payload)?;
    let model = state.registry.get(id).await.map_err(|error| error.to_string())?;
    Ok(vec![("model_id", model.id.clone()), ("message", "loaded".to_owned())])
}

/// Unloads a model (CONTROL-006, CONTROL-007).
async fn unload(state: &State, payload: &BTreeMap<String, String>) -> Outcome {
    let id = model_id(payload)?;
    let was_loaded = state.registry.unload(id).await.map_err(|error| error.to_string())?;
    let message = if was_loaded { "unloaded" } else { "was not loaded" };
    Ok(vec![("model_id", id.to_owned()), ("message", message.to_owned())])
}

fn model_id(payload: &BTreeMap<String, String>) -> Result<&str, String> {
    let id = payload.get("model_id").map_or("", String::as_str);
    if id.is_empty() { Err("the payload has no model_id".to_owned()) } else { Ok(id) }
}

/// A command is sent back twice, in the answer's name and in the words about an unknown one.
const LONGEST_COMMAND: usize = 4096;
