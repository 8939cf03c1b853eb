//! The sidecar under attack, in this process so that its panics and its memory are ours to see.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use ai_inference_proto::Dialect;
use anyhow::Context as _;
use reference_sidecar::{
    adapters::Adapters,
    backends::onnx::{Kernels, OnnxOptions, Provider, Runtime},
    config::Address,
    listen::{Listener, Places},
    registry::{Loader, Registry},
    service::{self, Calls, Exposed, State},
    text::Tokenizer,
};
use testkit::{Client, fresh_socket, resident_kib};
use tokio::time::{sleep, timeout};

/// A served sidecar with the `tiny` model.
pub struct Sidecar {
    /// Path of the sidecar's socket.
    pub socket: PathBuf,
    /// The tokenizer of its model.
    pub tokenizer: Tokenizer,
    state: Arc<State>,
    /// Resident KiB when it had served its first requests.
    baseline: u64,
}

impl Sidecar {
    /// Starts one on a socket of its own, within the runtime that runs this.
    pub async fn start() -> anyhow::Result<Self> {
        let socket = fresh_socket();
        let loader = Loader {
            runtime: Runtime::load(None)?,
            onnx: OnnxOptions { provider: Provider::Cpu, slots: Some(8), threads: 1, kernels: Kernels::Own },
            queue: 1024,
            prefill_chunk: 128,
        };
        let registry = Registry::open(&fixtures::models(), Some("tiny"), loader)?;
        let tokenizer = registry.get("").await?.tokenizer.clone();
        let adapters = Adapters::open(Some(&fixtures::adapters()))?;
        let state = Arc::new(State::new(registry, adapters, None, Provider::Cpu, READER_PATIENCE));
        tokio::spawn(Calls::watch(Arc::clone(&state)));
        let listener = Listener::bind(&Address::Unix(socket.clone())).await?;
        let incoming = listener.incoming(None, Places::new(1024));
        let serving =
            service::serve(Arc::clone(&state), Exposed::new().await, incoming, std::future::pending());
        tokio::spawn(serving);
        let mut sidecar = Self { socket, tokenizer, state, baseline: 0 };
        sidecar.check().await.map_err(anyhow::Error::msg)?;
        sidecar.baseline = memory().context("no VmRSS")?;
        Ok(sidecar)
    }

    /// A client on a fresh connection.
    pub async fn client(&self) -> anyhow::Result<Client> {
        let address = format!("unix://{}", self.socket.display());
        Client::connect(&address, Dialect::Contract).await.context("the sidecar takes no connection")
    }

    /// What must hold whatever was sent; call when all attacking connections are closed.
    pub async fn check(&self) -> Result<(), String> {
        let health = async {
            let client = self.client().await.map_err(|error| error.to_string())?;
            client.health().await.map_err(|status| format!("Health is answered with {:?}", status.code()))
        };
        let answer = timeout(QUICK, health).await.map_err(|_| "Health takes more than 2 s".to_owned())??;
        if !answer.healthy {
            return Err("Health says that it is not healthy".to_owned());
        }
        let idle = async {
            while self.state.counters.inflight() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let idle = timeout(PATIENCE, idle).await;
        idle.map_err(|_| {
            format!("{} requests are in flight without a client", self.state.counters.inflight())
        })?;
        let grown = memory().unwrap_or_default().saturating_sub(self.baseline);
        if self.baseline > 0 && grown > GROWTH {
            return Err(format!("memory has grown by {} MiB", grown >> 10));
        }
        Ok(())
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
    }
}

fn memory() -> Option<u64> {
    resident_kib(std::process::id())
}

/// As the program's default.
const READER_PATIENCE: Duration = Duration::from_secs(30);
/// HEALTH-005, with room for a machine that fuzzes on all cores.
const QUICK: Duration = Duration::from_secs(2);
/// Until all that was cancelled is gone.
const PATIENCE: Duration = Duration::from_secs(5);
/// Corpus, windows, and what an allocator keeps; a leak grows past it in minutes. In KiB.
const GROWTH: u64 = 192 << 10;
