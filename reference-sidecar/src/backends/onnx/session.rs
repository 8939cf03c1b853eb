//! One model in ONNX Runtime: builds the session, checks that the graph is one that we can step, and steps it.
//!
//! Talks to `raw` for every run. Decode bindings are made once for each number of rows, so that a decode step writes
//! a few integers and calls ONNX Runtime, and allocates nothing.

use std::sync::Arc;

use ort::{
    logging::LogLevel,
    session::Session,
    value::{TensorElementType, ValueType},
};
use thiserror::Error;

use super::{
    Provider, Runtime,
    kv_cache::{KvCache, name},
    raw::{Arena, Binding, Element, Region, View},
};
use crate::{
    backends::{Backend, BackendError, Capacity, Row},
    models::Package,
};

/// How a model is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnnxOptions {
    /// What computes.
    pub provider: Provider,
    /// Sequences at once.
    pub slots: usize,
    /// Threads of one step.
    pub threads: usize,
}

/// A model that cannot be loaded.
#[derive(Debug, Error)]
pub enum OnnxError {
    /// ONNX Runtime refused it.
    #[error("ONNX Runtime cannot load the graph: {0}")]
    Runtime(String),
    /// An input that we must give is not there.
    #[error(
        "the graph has no input `{missing}`: this server runs graphs with `seqlens_k`, `total_sequence_length` and \
         `logits_index` (as `ci/models` makes them); an attention_mask graph cannot be served yet"
    )]
    NotASlotsGraph {
        /// The input.
        missing: String,
    },
    /// An input or output differs from what `genai_config.json` says.
    #[error("the graph's `{name}` is {found}, and genai_config.json says {expected}")]
    Mismatch {
        /// The input or output.
        name: String,
        /// In the graph.
        found: String,
        /// By the configuration.
        expected: String,
    },
}

impl<R> From<ort::Error<R>> for OnnxError {
    fn from(error: ort::Error<R>) -> Self {
        Self::Runtime(error.message().to_owned())
    }
}

/// The backend.
pub struct OnnxBackend {
    session: Session,
    arena: Arena,
    cache: KvCache,
    inputs: Inputs,
    logits: Region<f32>,
    capacity: Capacity,
    /// `decode[n - 1]` steps the slots `0..n`.
    decode: Vec<Binding>,
    /// The prefill binding of the chunk length and slot that were last used: long prompts come in equal chunks.
    prefill: Option<((usize, usize), Binding)>,
}

/// Memory of the small inputs, sized for the largest step.
struct Inputs {
    ids: Region<i64>,
    lengths: Region<i32>,
    logits_index: Region<i64>,
    total: Arc<View>,
}

impl OnnxBackend {
    /// Loads the package's graph, checks it, and reserves the cache.
    pub fn load(runtime: &Runtime, package: &Package, options: OnnxOptions) -> Result<Self, OnnxError> {
        let Provider::Cpu = options.provider;
        let session = Session::builder(runtime.environment())?
            .with_intra_threads(options.threads)?
            .with_log_level(LogLevel::Warning)?
            .commit_from_file(package.graph())?;
        check(&session, package)?;
        let (slots, shape) = (options.slots.max(1), package.cache());
        let capacity = Capacity { slots, context: shape.context, vocabulary: package.vocabulary() };
        let mut arena = Arena::default();
        let total = arena.region::<i32>(1)?;
        arena.get_mut(&total)[0] = shape.context as i32;
        let inputs = Inputs {
            ids: arena.region(shape.context.max(slots))?,
            lengths: arena.region(slots)?,
            logits_index: arena.region(slots)?,
            total: Arc::new(arena.view(&total, 0, &[])?),
        };
        let logits = arena.region(slots * capacity.vocabulary)?;
        let cache = KvCache::new(&arena, shape.clone(), slots)?;
        let mut backend = Self {
            session,
            arena,
            cache,
            inputs,
            logits,
            capacity,
            decode: Vec::with_capacity(slots),
            prefill: None,
        };
        for rows in 1..=slots {
            let binding = backend.bind(0, rows, 1)?;
            backend.decode.push(binding);
        }
        Ok(backend)
    }

    /// A run over `rows` slots from `first` on, with `tokens` new tokens in each.
    fn bind(&self, first: usize, rows: usize, tokens: usize) -> Result<Binding, OnnxError> {
        let Self { arena, inputs, capacity, .. } = self;
        let (mut from, mut into) = self.cache.bind(arena, first, rows)?;
        from.push(view(arena, IDS, &inputs.ids, &[rows, tokens])?);
        from.push(view(arena, LENGTHS, &inputs.lengths, &[rows])?);
        from.push(view(arena, LOGITS_INDEX, &inputs.logits_index, &[rows])?);
        from.push((name(TOTAL).ok_or_else(nul)?, Arc::clone(&inputs.total)));
        into.push(view(arena, LOGITS, &self.logits, &[rows, capacity.vocabulary])?);
        Ok(arena.bind(from, into))
    }
}

impl Backend for OnnxBackend {
    fn capacity(&self) -> Capacity {
        self.capacity
    }

    fn prefill(&mut self, slot: usize, past: usize, tokens: &[i64]) -> Result<&mut [f32], BackendError> {
        let key = (slot, tokens.len());
        let mut binding = match self.prefill.take() {
            Some((made, binding)) if made == key => binding,
            _ => self.bind(slot, 1, tokens.len()).map_err(|error| BackendError::Failed(error.to_string()))?,
        };
        self.arena.get_mut(&self.inputs.ids)[..tokens.len()].copy_from_slice(tokens);
        self.arena.get_mut(&self.inputs.lengths)[0] = (past + tokens.len() - 1) as i32;
        self.arena.get_mut(&self.inputs.logits_index)[0] = tokens.len() as i64 - 1;
        let ran = self.arena.run(&mut self.session, &mut binding);
        self.prefill = Some((key, binding));
        ran.map_err(|error| BackendError::Failed(error.to_string()))?;
        Ok(&mut self.arena.get_mut(&self.logits)[..self.capacity.vocabulary])
    }

    fn decode(&mut self, rows: &[Row]) -> Result<&mut [f32], BackendError> {
        for (id, row) in self.arena.get_mut(&self.inputs.ids).iter_mut().zip(rows) {
            *id = row.token;
        }
        // seqlens_k is the length with the new token, less one: the length without it.
        for (length, row) in self.arena.get_mut(&self.inputs.lengths).iter_mut().zip(rows) {
            *length = row.past as i32;
        }
        self.arena.get_mut(&self.inputs.logits_index).fill(0);
        let binding = &mut self.decode[rows.len() - 1];
        self.arena
            .run(&mut self.session, binding)
            .map_err(|error| BackendError::Failed(error.to_string()))?;
        Ok(&mut self.arena.get_mut(&self.logits)[..rows.len() * self.capacity.vocabulary])
    }
}

impl std::fmt::Debug for OnnxBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnnxBackend").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

/// Names of the graph's own inputs and outputs; those of the cache are the package's.
const IDS: &str = "input_ids";
const LENGTHS: &str = "seqlens_k";
const TOTAL: &str = "total_sequence_length";
const LOGITS_INDEX: &str = "logits_index";
const LOGITS: &str = "logits";

fn nul() -> OnnxError {
    OnnxError::Runtime("a name holds a NUL character".to_owned())
}

fn view<T: Element>(
    arena: &Arena,
    input: &str,
    region: &Region<T>,
    shape: &[usize],
) -> Result<(Arc<std::ffi::CString>, Arc<View>), OnnxError> {
    Ok((name(input).ok_or_else(nul)?, Arc::new(arena.view(region, 0, shape)?)))
}

/// Everything that a run would otherwise fail on, or silently get wrong.
fn check(session: &Session, package: &Package) -> Result<(), OnnxError> {
    let input = |name: &str| session.inputs().iter().find(|input| input.name() == name);
    for name in [IDS, LENGTHS, TOTAL, LOGITS_INDEX] {
        if input(name).is_none() {
            return Err(OnnxError::NotASlotsGraph { missing: name.to_owned() });
        }
    }
    let cache = package.cache();
    let past = [None, Some(cache.kv_heads), None, Some(cache.head_size)];
    for (name, _) in &cache.names {
        let found = input(name).ok_or_else(|| OnnxError::Mismatch {
            name: name.clone(),
            found: "missing".to_owned(),
            expected: format!("{} inputs of the cache", cache.names.len()),
        })?;
        agree(name, found.dtype(), &past)?;
    }
    let logits = session.outputs().iter().find(|output| output.name() == LOGITS);
    let logits = logits.ok_or_else(|| OnnxError::NotASlotsGraph { missing: LOGITS.to_owned() })?;
    agree(LOGITS, logits.dtype(), &[None, Some(package.vocabulary())])
}

/// Float tensors of these dimensions, where both sides know them.
fn agree(name: &str, found: &ValueType, expected: &[Option<usize>]) -> Result<(), OnnxError> {
    let fits = |shape: &[i64]| {
        shape.len() == expected.len()
            && shape
                .iter()
                .zip(expected)
                .all(|(dim, expected)| expected.is_none_or(|expected| *dim < 0 || *dim == expected as i64))
    };
    let float = found.tensor_type() == Some(TensorElementType::Float32);
    if float && found.tensor_shape().is_some_and(|shape| fits(shape)) {
        return Ok(());
    }
    let dims: Vec<_> =
        expected.iter().map(|dim| dim.map_or_else(|| "?".to_owned(), |dim| dim.to_string())).collect();
    Err(OnnxError::Mismatch {
        name: name.to_owned(),
        found: found.to_string(),
        expected: format!("a float tensor of [{}]", dims.join(", ")),
    })
}
