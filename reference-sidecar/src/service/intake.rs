//! Prompts between their arrival and the engine's queue: how much text may wait there, and how many threads read it.
//!
//! Turning a long prompt into tokens takes tens of milliseconds, and a client that resets its calls as fast as it opens
//! them would leave that work behind in a queue without a bound (TRANSPORT-007). Here a call waits for its turn itself,
//! and leaves the queue when it ends.

use std::{sync::Arc, thread};

use ai_inference_proto::GenerationRequest;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task,
};

use super::Refusal;
use crate::text::Tokenizer;

/// Shared by all calls.
#[derive(Debug)]
pub struct Intake {
    text: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Default for Intake {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { text: Arc::new(Semaphore::new(MOST_TEXT)), turns: Arc::new(Semaphore::new(cores)) }
    }
}

impl Intake {
    /// Room for a request's text until the engine has it.
    pub(super) fn hold(&self, request: &GenerationRequest) -> Result<OwnedSemaphorePermit, Refusal> {
        let bytes = request.prompt.len() + request.model_id.len() + request.adapter.len();
        let bytes = u32::try_from(bytes).map_err(|_| Refusal::TooMuchAtOnce)?;
        Arc::clone(&self.text).try_acquire_many_owned(bytes).map_err(|_| Refusal::TooMuchAtOnce)
    }

    /// A prompt's tokens; a long one's not on a thread that answers Health (HEALTH-005).
    pub(super) async fn encode(&self, tokenizer: Tokenizer, prompt: String) -> Result<Vec<i64>, Refusal> {
        if prompt.len() <= SHORT {
            return tokenizer.encode(&prompt).map_err(|_| Refusal::Unspeakable);
        }
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Refusal::Internal)?;
        let encoded = task::spawn_blocking(move || {
            let _turn = turn;
            tokenizer.encode(&prompt)
        });
        encoded.await.map_err(|_| Refusal::Internal)?.map_err(|_| Refusal::Unspeakable)
    }
}

/// Bytes of a prompt that is read where it stands, in well under a millisecond: on a machine whose cores are busy with a
/// model, handing it to another thread and back takes longer.
const SHORT: usize = 1024;

/// As much as a full queue of a thousand of the longest prompts in ASCII, and more than twice over.
const MOST_TEXT: usize = 128 << 20;
