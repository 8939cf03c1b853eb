//! What every prompt gives alone: recorded from the idle server, and checked against the golden transcripts.

use ai_inference_proto::Dialect;
use anyhow::{Context as _, ensure};
use benches::client::Connection;
use fixtures::Transcripts;
use rand::{RngExt as _, rngs::StdRng};
use testkit::request;

/// A request, and the text that must answer it.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    /// Empty for the default model.
    pub(crate) model: String,
    pub(crate) prompt: String,
    pub(crate) max_new_tokens: usize,
    pub(crate) text: String,
}

/// Every prompt of the transcripts at every length.
#[derive(Clone, Debug)]
pub(crate) struct References {
    all: Vec<Reference>,
    /// The first of `all`: those of which the text is golden.
    golden: usize,
}

impl References {
    /// Runs each alone.
    pub(crate) async fn record(connection: &Connection) -> anyhow::Result<Self> {
        let golden = Transcripts::tiny()?;
        let mut all = Vec::new();
        for length in [golden.max_new_tokens, SHORT, LONG] {
            for transcript in &golden.transcripts {
                let text = alone(connection, "", &transcript.prompt, length).await?;
                let prompt = transcript.prompt.clone();
                if length == golden.max_new_tokens {
                    ensure!(
                        text == transcript.text,
                        "alone, {prompt:?} gives {text:?} and not the golden {:?}: does the server serve `tiny`?",
                        transcript.text
                    );
                }
                all.push(Reference { model: String::new(), prompt, max_new_tokens: length, text });
            }
        }
        Ok(Self { all, golden: golden.transcripts.len() })
    }

    /// The golden ones, in turns.
    pub(crate) fn golden(&self, at: usize) -> &Reference {
        &self.all[at % self.golden]
    }

    /// A random one of the references.
    pub(crate) fn any(&self, rng: &mut StdRng) -> &Reference {
        &self.all[rng.random_range(0..self.all.len())]
    }

    /// One that runs for long enough to be interrupted.
    pub(crate) fn long(&self, rng: &mut StdRng) -> &Reference {
        let long: Vec<_> = self.all.iter().filter(|reference| reference.max_new_tokens == LONG).collect();
        long[rng.random_range(0..long.len())]
    }
}

/// Of another model than the default.
pub(crate) async fn of_model(connection: &Connection, model: &str) -> anyhow::Result<Reference> {
    let (prompt, max_new_tokens) = ("Hello".to_owned(), LONG);
    let text = alone(connection, model, &prompt, max_new_tokens).await?;
    Ok(Reference { model: model.to_owned(), prompt, max_new_tokens, text })
}

async fn alone(
    connection: &Connection,
    model: &str,
    prompt: &str,
    max_new_tokens: usize,
) -> anyhow::Result<String> {
    let mut request = request(prompt, "alone", max_new_tokens);
    model.clone_into(&mut request.model_id);
    let mut responses = connection.generate(Dialect::Contract, request, None).await?;
    let mut text = String::new();
    let mut ended = false;
    while let Some(response) = responses.next().await.context("a stream failed on the idle server")? {
        text.push_str(&response.chunk);
        ended |= response.end_of_stream;
    }
    ensure!(ended, "an answer on the idle server has no last response");
    Ok(text)
}

/// A few steps: the slot changes hands often.
const SHORT: usize = 7;
/// Several times the golden length, and well inside the context.
const LONG: usize = 200;
