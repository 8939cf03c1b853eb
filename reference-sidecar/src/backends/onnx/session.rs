//! One model in ONNX Runtime: builds the session and steps it.
//!
//! Talks to `raw` for every run. Decode bindings are made once for each number of rows, so that a decode step writes
//! a few integers and calls ONNX Runtime, and allocates nothing.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use half::{f16, slice::HalfFloatSliceExt as _};
use ort::{
    logging::LogLevel,
    session::{RunOptions, Session},
    value::TensorElementType,
};
use thiserror::Error;

use super::{
    Kernels, Provider, Runtime,
    feeds::{Feeds, named},
    graph::{Family, Graph, LOGITS},
    kv_cache::{KvCache, bytes_per_slot},
    lora::{Lora, bytes_per_place},
    place::Place,
    raw::{Arena, Binding, Region, placed_nodes, size_of_kind},
    self_test, sizing,
};
use crate::{
    backends::{Backend, BackendError, Capacity, Interrupter, Row},
    package::{AdaptedLayer, Adapter, DataFile, Package, PackageError, Weights},
};

/// How a model is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnnxOptions {
    /// The execution provider that computes.
    pub provider: Provider,
    /// Sequences at once; `None` for as many as memory and cores suit.
    pub slots: Option<usize>,
    /// Threads of one step, at most.
    pub threads: usize,
    /// The kernels whose operators are used.
    pub kernels: Kernels,
}

/// A model that cannot be loaded.
#[derive(Debug, Error)]
pub enum OnnxError {
    /// Its files cannot be read.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// ONNX Runtime refused it.
    #[error("ONNX Runtime cannot load the graph: {0}")]
    Runtime(String),
    /// An input that every graph of its family has.
    #[error(
        "the graph has no input `{name}`: a graph is served that has `attention_mask`, as onnxruntime-genai's model builder \
         writes it, or `seqlens_k`, `total_sequence_length` and `logits_index`, as `ci/models` makes it"
    )]
    MissingInput {
        /// Name of the input.
        name: &'static str,
    },
    /// An output that every graph has.
    #[error("the graph has no output `{name}`")]
    MissingOutput {
        /// Name of the output.
        name: String,
    },
    /// An input that this server does not feed.
    #[error("the graph asks for `{name}`, which this server cannot give: only decoders of text are served")]
    UnknownInput {
        /// Name of the input.
        name: String,
    },
    /// An input or output differs from what `genai_config.json` says.
    #[error("the graph's `{name}` is {found}; expected {expected}, by genai_config.json")]
    Mismatch {
        /// The input or output.
        name: String,
        /// What the graph has.
        found: String,
        /// What the configuration asks for.
        expected: String,
    },
    /// The configuration is another model's.
    #[error(
        "model.decoder.num_hidden_layers is {configured} in genai_config.json, and the graph has a KV cache for {found} layers"
    )]
    Layers {
        /// Layers of the configuration.
        configured: usize,
        /// Layers of the graph.
        found: usize,
    },
    /// ONNX Runtime would compute a part elsewhere, slowly.
    #[error(
        "{provider} cannot compute {count} of the graph's nodes, which would fall back to another provider: {nodes}. \
         CUDA's attention takes float16 only: convert the model to fp16, or use `--provider cpu`"
    )]
    Placement {
        /// Name of the execution provider.
        provider: &'static str,
        /// How many nodes the provider cannot compute.
        count: usize,
        /// The first of the nodes.
        nodes: String,
    },
    /// The machine has not the memory.
    #[error("{what} needs {} MiB, and {} MiB of memory are free", .needed >> 20, .free >> 20)]
    NoRoom {
        /// The weights, or the cache.
        what: String,
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// It loads, and computes something else than a decoder with a KV cache in place.
    #[error("the model failed its self-test: {0}")]
    SelfTest(String),
}

impl<R> From<ort::Error<R>> for OnnxError {
    fn from(error: ort::Error<R>) -> Self {
        Self::Runtime(error.message().to_owned())
    }
}

/// A backend that runs a model with ONNX Runtime.
pub struct OnnxBackend {
    session: Session,
    arena: Arena,
    cache: KvCache,
    graph: Graph,
    feeds: Feeds,
    lora: Option<Lora>,
    /// Of the graph's type: `[slots, V]`, or for a graph of the mask family at least `[MASK_CHUNK, V]`.
    logits: Region,
    /// Logits as float, where the graph's are half.
    widened: Vec<f32>,
    capacity: Capacity,
    /// Bytes of the files.
    weights: u64,
    /// `decode[n - 1]` steps the slots `0..n`.
    decode: Vec<Decode>,
    /// The prefill binding of the chunk length and slot that were last used: long prompts come in equal chunks.
    prefill: Option<((usize, usize), Binding)>,
    /// Of prefill runs, so that one can be ended.
    options: Arc<RunOptions>,
    interrupted: Arc<AtomicBool>,
}

impl OnnxBackend {
    /// Loads the package's graph, checks it, reserves the cache, and proves that it works.
    pub fn load(runtime: &Runtime, package: &Package, options: OnnxOptions) -> Result<Self, OnnxError> {
        let weights = Weights::read(package)?;
        let bytes = weights.bytes;
        fits(crate::memory::free(), bytes, || "the graph".to_owned())?;
        let place = Place::new(options.provider)?;
        let session = build(runtime, package, weights, options, &place)?;
        let graph = Graph::read(&session, package)?;
        refuse_strays(&session, options.provider)?;
        let shape = package.cache();
        let slots = reserve(options, place.free_memory()?, slot_bytes(package, &graph))?;
        let capacity = Capacity { slots, context: shape.context, vocabulary: package.vocabulary() };
        let mut arena = place.arena(&session)?;
        let feeds = Feeds::new(&mut arena, &graph, capacity)?;
        let rows = match graph.family {
            Family::Lengths => slots,
            Family::Mask => slots.max(MASK_CHUNK),
        };
        let widened =
            if graph.logits == TensorElementType::Float16 { slots * capacity.vocabulary } else { 0 };
        let lora = (!graph.adapted.is_empty()).then(|| Lora::new(&arena, &graph, slots)).transpose()?;
        let mut backend = Self {
            cache: KvCache::new(&arena, shape.clone(), (slots, graph.cache))?,
            logits: arena.shared(graph.logits, rows * capacity.vocabulary)?,
            widened: vec![0.0; widened],
            session,
            arena,
            graph,
            feeds,
            lora,
            capacity,
            weights: bytes,
            decode: Vec::with_capacity(slots),
            prefill: None,
            options: Arc::new(place.not_replayed()?),
            interrupted: Arc::default(),
        };
        for rows in 1..=slots {
            let binding = backend.bind(0, rows, 1)?;
            backend.decode.push(Decode { binding, options: place.replayed(rows)? });
        }
        let to_the_end = slot_bytes(package, &backend.graph) <= MOST_READ;
        self_test::prove(&mut backend, to_the_end).map_err(OnnxError::SelfTest)?;
        Ok(backend)
    }

    /// Layers that take adapters; none where the graph takes none.
    pub fn adapted_layers(&self) -> &[AdaptedLayer] {
        &self.graph.adapted
    }

    /// Bytes of the weights.
    pub const fn weights_bytes(&self) -> u64 {
        self.weights
    }

    /// Bytes that all slots take when they are full: the KV cache, the adapters' places, the logits.
    pub fn slots_bytes(&self, package: &Package) -> u64 {
        slot_bytes(package, &self.graph).saturating_mul(self.capacity.slots as u64)
    }

    /// A run over `rows` slots from `first` on, with `tokens` new tokens in each.
    fn bind(&self, first: usize, rows: usize, tokens: usize) -> Result<Binding, OnnxError> {
        let (mut from, mut into) = self.cache.bind(&self.arena, first, rows)?;
        from.extend(self.feeds.bind(&self.arena, first, rows, tokens)?);
        if let Some(lora) = &self.lora {
            from.extend(lora.bind(&self.arena, rows)?);
        }
        let vocabulary = self.capacity.vocabulary;
        let shape: &[_] = match self.graph.family {
            Family::Lengths => &[rows, vocabulary],
            Family::Mask => &[rows, tokens, vocabulary],
        };
        into.push(named(&self.arena, LOGITS, &self.logits, 0, shape)?);
        Ok(self.arena.bind(from, into))
    }

    /// Reads one chunk; its last token's logits lie in the row that this returns.
    fn read(&mut self, slot: usize, past: usize, tokens: &[i64]) -> Result<usize, BackendError> {
        let key = (slot, tokens.len());
        let mut binding = match self.prefill.take() {
            Some((made, binding)) if made == key => binding,
            _ => self.bind(slot, 1, tokens.len()).map_err(|error| failed(&error))?,
        };
        self.feeds.write_chunk(&mut self.arena, slot, past, tokens);
        if let Some(lora) = &self.lora {
            lora.write_index(&mut self.arena, slot, 1);
        }
        let ran = self.arena.run(&mut self.session, &mut binding, Some(&self.options));
        self.prefill = Some((key, binding));
        match ran {
            Err(_) if self.interrupted.load(Ordering::SeqCst) => return Err(BackendError::Interrupted),
            Err(error) => return Err(failed(&error)),
            Ok(()) => {}
        }
        Ok(match self.graph.family {
            Family::Lengths => 0,
            Family::Mask => tokens.len() - 1,
        })
    }

    /// Logits `[rows, V]` from row `first` on, as float.
    fn logits(&mut self, first: usize, rows: usize) -> Result<&mut [f32], BackendError> {
        let vocabulary = self.capacity.vocabulary;
        let range = first * vocabulary..(first + rows) * vocabulary;
        if self.graph.logits == TensorElementType::Float16 {
            let widened = &mut self.widened[..rows * vocabulary];
            let logits = self.arena.fetch::<f16>(&self.logits, range).map_err(|error| failed(&error))?;
            logits.convert_to_f32_slice(widened);
            Ok(widened)
        } else {
            self.arena.fetch(&self.logits, range).map_err(|error| failed(&error))
        }
    }
}

impl Backend for OnnxBackend {
    fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Records the decode step of each width where steps are replayed: a device keeps them for the thread that made them.
    fn warm_up(&mut self) -> Result<(), BackendError> {
        for rows in 1..=self.capacity.slots {
            if self.decode[rows - 1].options.is_some() {
                self.decode(&vec![Row::default(); rows])?;
            }
        }
        Ok(())
    }

    fn prefill(&mut self, slot: usize, past: usize, tokens: &[i64]) -> Result<&mut [f32], BackendError> {
        let most = match self.graph.family {
            Family::Lengths => tokens.len(),
            Family::Mask => MASK_CHUNK,
        };
        let (mut past, mut row) = (past, 0);
        for chunk in tokens.chunks(most.max(1)) {
            row = self.read(slot, past, chunk)?;
            past += chunk.len();
        }
        self.logits(row, 1)
    }

    fn decode(&mut self, rows: &[Row]) -> Result<&mut [f32], BackendError> {
        self.feeds.write_rows(&mut self.arena, rows);
        if let Some(lora) = &self.lora {
            lora.write_index(&mut self.arena, 0, rows.len());
        }
        let Decode { binding, options } = &mut self.decode[rows.len() - 1];
        let ran = self.arena.run(&mut self.session, binding, options.as_ref());
        ran.map_err(|error| failed(&error))?;
        self.logits(0, rows.len())
    }

    fn adapt(&mut self, slot: usize, adapter: Option<&Arc<Adapter>>) -> Result<(), BackendError> {
        let fits = match &mut self.lora {
            Some(lora) => lora.adapt(&mut self.arena, slot, adapter),
            None => adapter.is_none(),
        };
        if fits { Ok(()) } else { Err(BackendError::Failed("the adapter does not fit the graph".to_owned())) }
    }

    fn copy_prefix(&mut self, from: usize, to: usize, tokens: usize) -> bool {
        let copied = self.cache.copy_prefix(&mut self.arena, from, to, tokens);
        copied.inspect_err(|error| tracing::warn!(error = error.message(), "a prefix was not copied")).is_ok()
    }

    fn interrupter(&self) -> Option<Interrupter> {
        let (options, interrupted) = (Arc::clone(&self.options), Arc::clone(&self.interrupted));
        Some(Interrupter::new(move |now| {
            interrupted.store(now, Ordering::SeqCst);
            // Neither can fail with options that exist.
            let _ = if now { options.terminate() } else { options.unterminate() };
        }))
    }
}

impl std::fmt::Debug for OnnxBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnnxBackend").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

/// A step that continues the first slots.
struct Decode {
    binding: Binding,
    /// Where a device replays the step: by what number.
    options: Option<RunOptions>,
}

/// One at a time: ONNX Runtime keeps the domains of all sessions' operators in one map, and two sessions that add the same
/// one at once are an error, or worse.
static BUILDING: Mutex<()> = Mutex::new(());

fn build(
    runtime: &Runtime,
    package: &Package,
    weights: Weights,
    options: OnnxOptions,
    place: &Place,
) -> Result<Session, OnnxError> {
    let _alone = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let threads = sizing::threads(weights.bytes, options.threads);
    let builder = Session::builder(runtime.environment())?
        .with_intra_threads(threads)?
        .with_log_level(LogLevel::Error)?
        .with_config_entry("session.record_ep_graph_assignment_info", "1")?
        .with_config_entry("session.intra_op.spin_duration_us", SPIN_MICROS)?;
    let mut builder = place.prepare(builder)?;
    let Weights { mut graph, folder, data, .. } = weights;
    let mut from_memory = !data.is_empty();
    #[cfg(target_arch = "x86_64")]
    if options.kernels == Kernels::Own
        && options.provider == Provider::Cpu
        && let Some(made) = kernels::exchange(&graph, &folder, threads)?
    {
        builder = builder.with_operators(made.operators)?;
        (graph, from_memory) = (made.model.into(), true);
    }
    if !from_memory {
        drop(graph); // a second copy, which can be large
        return Ok(builder.commit_from_file(package.graph())?);
    }
    builder = builder.with_config_entry(
        "session.model_external_initializers_file_folder_path",
        folder.to_string_lossy(),
    )?;
    #[cfg(target_os = "linux")]
    let _guard = super::mapped::Guard::new();
    let session = builder.commit_from_memory(&graph)?;
    #[cfg(target_os = "linux")]
    keep(&data)?;
    Ok(session)
}

/// Makes the session's own what ONNX Runtime has mapped of the data files.
#[cfg(target_os = "linux")]
fn keep(data: &[DataFile]) -> Result<(), OnnxError> {
    let files: Vec<_> = data.iter().map(|file| file.path.clone()).collect();
    let copied = super::mapped::copy(&files).map_err(|error| {
        OnnxError::Runtime(format!("its data files, which are mapped, cannot be copied: {error}"))
    })?;
    tracing::debug!(bytes = copied, "what was mapped of the data files is copied");
    data.iter().try_for_each(DataFile::unchanged).map_err(OnnxError::from)
}

/// Bytes of one full slot.
fn slot_bytes(package: &Package, graph: &Graph) -> u64 {
    let logits = package.vocabulary() * size_of_kind(graph.logits);
    (bytes_per_slot(package.cache(), graph.cache) + bytes_per_place(graph) + logits) as u64
}

/// The slots to make; refused where they cannot be filled, because the kernel would end the process in mid-generation.
fn reserve(options: OnnxOptions, free: Option<u64>, per_slot: u64) -> Result<usize, OnnxError> {
    let slots = options.slots.unwrap_or_else(|| sizing::slots(per_slot, free, options.threads)).max(1);
    let needed = per_slot.saturating_mul(slots as u64);
    fits(free, needed, || format!("a model of {slots} slots (--slots)"))?;
    Ok(slots)
}

fn fits(free: Option<u64>, needed: u64, what: impl FnOnce() -> String) -> Result<(), OnnxError> {
    match free {
        Some(free) if needed > free => Err(OnnxError::NoRoom { what: what(), needed, free }),
        _ => Ok(()),
    }
}

fn refuse_strays(session: &Session, provider: Provider) -> Result<(), OnnxError> {
    let placed = placed_nodes(session)?;
    let strays = provider.strays(&placed);
    if strays.is_empty() {
        tracing::debug!(provider = provider.backend_name(), nodes = placed.len(), "every node is placed");
        return Ok(());
    }
    let first: Vec<_> =
        strays.iter().take(5).map(|node| format!("{} ({})", node.name, node.operator)).collect();
    Err(OnnxError::Placement {
        provider: provider.backend_name(),
        count: strays.len(),
        nodes: first.join(", "),
    })
}

fn failed(error: &impl std::fmt::Display) -> BackendError {
    BackendError::Failed(error.to_string())
}

/// How long ONNX Runtime's threads look out for work before they sleep: longer than from one node to the next, and from
/// one step to the next. Its own default is tens of milliseconds, in which an idle server's threads keep a core
/// from the client that it has just answered.
const SPIN_MICROS: &str = "500";

/// The self-test reads a slot of this size within a second. A larger one would make each load longer.
const MOST_READ: u64 = 2 << 30;

/// Prompt tokens that a graph of the mask family reads at once: it gives logits for each of them, 25 MB for a
/// vocabulary of 49,152.
const MASK_CHUNK: usize = 128;
