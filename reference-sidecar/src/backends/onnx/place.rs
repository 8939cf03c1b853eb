//! Where a model computes: on the processor, or on a CUDA device with a stream of its own and its decode steps replayed.
//!
//! A decode step of a small model is some hundred kernels of a few microseconds each, and to launch them one by one takes
//! longer than to run them. So ONNX Runtime records the step of each width once as a CUDA graph and replays it with one
//! call. That needs fixed addresses, which [`Arena`] gives, and one thread, which the engine's is. Prompts vary in length
//! and are launched kernel by kernel.

#![cfg_attr(
    not(feature = "cuda"),
    expect(
        clippy::unnecessary_wraps,
        clippy::unused_self,
        reason = "a device may refuse, and knows more than one place"
    )
)]

use ort::session::{RunOptions, Session, builder::SessionBuilder};

#[cfg(feature = "cuda")]
use super::cuda::Stream;
use super::{OnnxError, Provider, raw::Arena};

/// A place, before and while its session is made.
pub(super) enum Place {
    Processor,
    #[cfg(feature = "cuda")]
    Device(Stream),
}

impl Place {
    pub(super) fn new(provider: Provider) -> Result<Self, OnnxError> {
        match provider {
            Provider::Cpu => Ok(Self::Processor),
            #[cfg(feature = "cuda")]
            Provider::Cuda => Ok(Self::Device(Stream::new()?)),
        }
    }

    /// Bytes that slots may take here; `None` where the system does not tell.
    pub(super) fn free_memory(&self) -> Result<Option<u64>, OnnxError> {
        match self {
            Self::Processor => Ok(crate::memory::free()),
            #[cfg(feature = "cuda")]
            Self::Device(stream) => Ok(Some(stream.free_memory()?)),
        }
    }

    pub(super) fn arena(&self, session: &Session) -> Result<Arena, OnnxError> {
        let _ = session;
        match self {
            Self::Processor => Ok(Arena::default()),
            #[cfg(feature = "cuda")]
            Self::Device(stream) => Ok(Arena::on_device(session, stream.clone())?),
        }
    }

    /// Makes the session compute here.
    pub(super) fn prepare(&self, builder: SessionBuilder) -> Result<SessionBuilder, OnnxError> {
        match self {
            Self::Processor => Ok(builder),
            #[cfg(feature = "cuda")]
            Self::Device(stream) => {
                let cuda = ort::ep::CUDA::default().with_cuda_graph(true);
                // SAFETY: the arena keeps the stream, and the session is dropped before the arena.
                let cuda = unsafe { cuda.with_compute_stream(stream.handle()) };
                // A pattern of memory that is planned again for each shape would move what a recorded step has fixed.
                let builder = builder.with_memory_pattern(false)?;
                Ok(builder.with_execution_providers([cuda.build().error_on_failure()])?)
            }
        }
    }

    /// How the decode step of so many rows runs: recorded under this number, and then replayed.
    pub(super) fn replayed(&self, rows: usize) -> Result<Option<RunOptions>, OnnxError> {
        let _ = rows;
        match self {
            Self::Processor => Ok(None),
            #[cfg(feature = "cuda")]
            Self::Device(_) => {
                let mut options = RunOptions::new()?;
                options.set(GRAPH_ID, rows.to_string())?;
                Ok(Some(options))
            }
        }
    }

    /// How prompts run.
    pub(super) fn not_replayed(&self) -> Result<RunOptions, OnnxError> {
        #[cfg_attr(not(feature = "cuda"), expect(unused_mut, reason = "set for a device"))]
        let mut options = RunOptions::new()?;
        #[cfg(feature = "cuda")]
        if matches!(self, Self::Device(_)) {
            options.set(GRAPH_ID, "-1")?;
        }
        Ok(options)
    }
}

/// ONNX Runtime's name for the number of a recorded step; -1 is one that is not recorded.
#[cfg(feature = "cuda")]
const GRAPH_ID: &str = "gpu_graph_id";
