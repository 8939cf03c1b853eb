//! From a package to a running model: its tokenizer, its backend, its engine.

use std::path::Path;

use thiserror::Error;

use crate::{
    adapters::AdaptedModel,
    backends::onnx::{OnnxBackend, OnnxError, OnnxOptions, Runtime},
    engine::{EngineHandle, EngineOptions, StartError},
    memory,
    package::{Package, PackageError},
    text::{Tokenizer, TokenizerError},
};

/// A model that runs.
#[derive(Debug)]
pub struct LoadedModel {
    /// Its name in requests.
    pub id: String,
    /// Text to tokens and back.
    pub tokenizer: Tokenizer,
    /// The engine that runs the model.
    pub engine: EngineHandle,
    /// What it asks of adapters.
    pub adapted: AdaptedModel,
    /// Bytes that it takes at most: weights, and all slots full.
    pub memory: u64,
}

/// How models are loaded: the same for all of a server.
#[derive(Clone, Debug)]
pub struct Loader {
    /// The loaded ONNX Runtime library.
    pub runtime: Runtime,
    /// Options of the backend.
    pub onnx: OnnxOptions,
    /// Of the engine: requests that may wait.
    pub queue: usize,
    /// Of the engine: prompt tokens a step.
    pub prefill_chunk: usize,
}

impl Loader {
    /// Loads the package in `dir` under the name `id`. Takes seconds; blocks.
    pub fn load(&self, id: &str, dir: &Path) -> Result<LoadedModel, LoadError> {
        let package = Package::open(dir)?;
        if package.end_of_text().is_empty() {
            tracing::warn!(model = id, "{}", Package::NO_END);
        }
        let tokenizer = Tokenizer::open(package.tokenizer())?;
        let (largest, vocabulary) = (tokenizer.largest_token(), package.vocabulary());
        if largest as usize >= vocabulary {
            return Err(LoadError::Vocabulary { largest, vocabulary });
        }
        let backend = OnnxBackend::load(&self.runtime, &package, self.onnx)?;
        let adapted = AdaptedModel {
            id: id.to_owned(),
            layers: backend.adapted_layers().into(),
            head_size: package.cache().head_size,
        };
        let memory = backend.weights_bytes() + backend.slots_bytes(&package);
        let options = EngineOptions {
            queue: self.queue,
            prefill_chunk: self.prefill_chunk,
            ahead: AHEAD,
            end_of_text: package.end_of_text().to_vec(),
        };
        let engine = EngineHandle::start(id, backend, options)?;
        memory::give_back();
        Ok(LoadedModel { id: id.to_owned(), tokenizer, engine, adapted, memory })
    }
}

/// A package that cannot be loaded. For the log and the terminal: it names files.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The directory is not a good package.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// Its tokenizer is not one.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A prompt could have tokens that the graph does not know.
    #[error(
        "the tokenizer has the token {largest}, and the graph (model.vocab_size) knows {vocabulary} tokens, 0 to {}: they \
         belong to different models",
        .vocabulary - 1
    )]
    Vocabulary {
        /// The tokenizer's largest token.
        largest: u32,
        /// Tokens of the graph.
        vocabulary: usize,
    },
    /// Its graph cannot be run.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// Its engine does not start.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// 16 KiB of a stream that is not read. Longer generations than this wait for their reader.
const AHEAD: usize = 4096;
