//! Finding and loading ONNX Runtime's shared library, once per process.
//!
//! `ort` panics at its first use when no library was loaded, so nothing else in this crate may touch it before
//! [`Runtime::load`] has succeeded: that is why sessions are built from a [`Runtime`].

use std::{
    env,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ort::environment::Environment;
use thiserror::Error;

use super::{Provider, ProviderChoice, ProviderError};
use crate::paths::cache_dir;

/// The version this crate is tested with; `ci/onnxruntime` fetches the same.
const VERSION: &str = "1.31.1";

/// ONNX Runtime, loaded. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
}

impl Runtime {
    /// Loads the library: `asked` (`--onnxruntime`), else `ORT_DYLIB_PATH`, else the cache. Later calls return the
    /// first one's library.
    pub fn load(asked: Option<&Path>) -> Result<Self, LibraryError> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*loaded {
            return Ok(runtime.clone());
        }
        let path = find(asked)?;
        silence_telemetry();
        let builder = ort::init_from(&path).map_err(|error| LibraryError::Unusable(error.to_string()))?;
        let environment = builder
            .with_name("reference-sidecar")
            .with_telemetry(false)
            .build()
            .map_err(|error| LibraryError::Unusable(error.to_string()))?;
        let runtime = Self { environment };
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    /// What `choice` comes to with this library on this machine.
    pub fn provider(&self, choice: ProviderChoice) -> Result<Provider, ProviderError> {
        match choice {
            #[cfg(feature = "cuda")]
            ProviderChoice::Cuda => self.try_cuda().map(|()| Provider::Cuda),
            #[cfg(feature = "cuda")]
            ProviderChoice::Auto => Ok(match self.try_cuda() {
                Ok(()) => Provider::Cuda,
                Err(error) => {
                    tracing::info!(%error, "computing on the CPU");
                    Provider::Cpu
                }
            }),
            #[cfg(not(feature = "cuda"))]
            ProviderChoice::Cuda => Err(ProviderError::NotBuilt),
            #[cfg(not(feature = "cuda"))]
            ProviderChoice::Auto => Ok(Provider::Cpu),
            ProviderChoice::Cpu => Ok(Provider::Cpu),
        }
    }

    /// Builds a session of one addition that must run on the device: a library that has the provider, a driver and a
    /// device that work are all needed for that, and each is missing somewhere.
    #[cfg(feature = "cuda")]
    fn try_cuda(&self) -> Result<(), ProviderError> {
        let session = || -> ort::Result<()> {
            let cuda = ort::ep::CUDA::default().build().error_on_failure();
            ort::session::Session::builder(&self.environment)?
                .with_execution_providers([cuda])?
                .with_disable_cpu_fallback()?
                .commit_from_memory(ONE_ADDITION)?;
            Ok(())
        };
        session().map_err(|error| ProviderError::Unusable(reason(error.message()).to_owned()))
    }

    pub(super) const fn environment(&self) -> &Environment {
        &self.environment
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Runtime")
    }
}

/// ONNX Runtime cannot be used.
#[derive(Debug, Error)]
pub enum LibraryError {
    /// A place was named and nothing is there.
    #[error("{source_name} names {}, and there is no such file", .path.display())]
    Missing {
        /// The option or variable that names the library.
        source_name: &'static str,
        /// The path that it names.
        path: PathBuf,
    },
    /// No place was named and the cache is empty.
    #[error(
        "ONNX Runtime {VERSION} was not found: run `ci/onnxruntime`, which fetches it into the cache, or name a library \
         with --onnxruntime PATH or ORT_DYLIB_PATH"
    )]
    NotFound,
    /// The file is no ONNX Runtime, or too old a one.
    #[error("{0}: run `ci/onnxruntime` for the version that is known to work ({VERSION})")]
    Unusable(String),
}

/// From 1.29 on, ONNX Runtime's own builds for Linux name a collector of the vendor's, look it up, and leave an id of the
/// device in the user's cache, as soon as the library is loaded. The API's switch comes later than that; this variable does
/// not.
fn silence_telemetry() {
    // SAFETY: the standard library's readers of the environment hold a lock, and this runs before ONNX Runtime, the only C
    // code here that reads it, has a thread.
    #[expect(
        unsafe_code,
        reason = "the variable is ONNX Runtime's only switch that works before it is loaded"
    )]
    unsafe {
        env::set_var("ORT_DISABLE_TELEMETRY", "1");
    }
}

static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

fn find(asked: Option<&Path>) -> Result<PathBuf, LibraryError> {
    let variable = env::var_os("ORT_DYLIB_PATH").filter(|value| !value.is_empty()).map(PathBuf::from);
    let named = asked
        .map(|path| ("--onnxruntime", path.to_owned()))
        .or_else(|| variable.map(|path| ("ORT_DYLIB_PATH", path)));
    if let Some((source_name, path)) = named {
        // Absolute, because `ort` would look beside the executable first.
        return path.canonicalize().map_err(|_| LibraryError::Missing { source_name, path });
    }
    let file = if cfg!(target_os = "macos") {
        format!("libonnxruntime.{VERSION}.dylib")
    } else {
        format!("libonnxruntime.so.{VERSION}")
    };
    let cached = cache_dir().map(|cache| cache.join("onnxruntime").join(VERSION).join(file));
    cached.and_then(|path| path.canonicalize().ok()).ok_or(LibraryError::NotFound)
}

/// What the loader or the driver said, without where in ONNX Runtime's sources it was noticed.
#[cfg(feature = "cuda")]
fn reason(message: &str) -> &str {
    message.rsplit_once("with error: ").map_or(message, |(_, reason)| reason).trim().trim_end_matches('.')
}

/// An ONNX model: y = x + x, one float.
#[cfg(feature = "cuda")]
const ONE_ADDITION: &[u8] =
    b"\x08\x08:5\n\x0e\n\x01x\n\x01x\x12\x01y\"\x03Add\x12\x01pZ\x0f\n\x01x\x12\n\n\x08\x08\x01\
    \x12\x04\n\x02\x08\x01b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r";
