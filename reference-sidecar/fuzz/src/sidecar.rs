//! The sidecar under attack, in this process so that its panics and its memory are ours to see.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use ai_inference_proto::contract;
use anyhow::Context as _;
use prost::Message as _;
use reference_sidecar::{
    adapters::Adapters,
    backends::onnx::{Kernels, OnnxOptions, Provider, Runtime},
    config::Address,
    listen::{Listener, Places},
    registry::{Loader, Registry},
    service::{self, Calls, Exposed, State},
    text::Tokenizer,
};
use tokio::time::{sleep, timeout};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    transport::{Channel, Endpoint},
};

/// A served sidecar with the `tiny` model.
pub struct Sidecar {
    /// Path of the sidecar's socket.
    pub socket: PathBuf,
    /// The tokenizer of its model.
    pub tokenizer: Tokenizer,
    state: Arc<State>,
    /// Resident bytes when it had served its first requests.
    baseline: usize,
}

impl Sidecar {
    /// Starts one on a socket of its own, within the runtime that runs this.
    pub async fn start() -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let socket = std::env::temp_dir().join(format!("fuzz-{}-{number}.sock", std::process::id()));
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
        sidecar.baseline = memory()?;
        Ok(sidecar)
    }

    /// A fresh connection.
    pub async fn connect(&self) -> anyhow::Result<Channel> {
        let endpoint = Endpoint::from_shared(format!("unix://{}", self.socket.display()))?;
        endpoint.connect().await.context("the sidecar takes no connection")
    }

    /// What must hold whatever was sent; call when all attacking connections are closed.
    pub async fn check(&self) -> Result<(), String> {
        let health = async {
            let channel = self.connect().await.map_err(|error| error.to_string())?;
            let answer = unary(channel, "/AiInference/Health", Vec::new()).await;
            let answer = answer.map_err(|status| format!("Health is answered with {:?}", status.code()))?;
            contract::WorkerHealthResponse::decode(&answer[..]).map_err(|error| error.to_string())
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
            return Err(format!("memory has grown by {} MiB", grown >> 20));
        }
        Ok(())
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
    }
}

/// A call with bytes for a message, answered with bytes.
pub async fn unary(channel: Channel, path: &'static str, message: Vec<u8>) -> Result<Vec<u8>, Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::new(Code::Unavailable, error.to_string()))?;
    let path = tonic::codegen::http::uri::PathAndQuery::from_static(path);
    Ok(grpc.unary(Request::new(message), path, raw::Bytes).await?.into_inner())
}

/// Resident, in bytes.
fn memory() -> anyhow::Result<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<usize>()? << 10)
}

/// Messages as they are.
pub mod raw {
    use ::bytes::{Buf as _, BufMut as _};
    use tonic::{
        Status,
        codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    };

    /// The codec that changes nothing.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Bytes;

    impl Codec for Bytes {
        type Encode = Vec<u8>;
        type Decode = Vec<u8>;
        type Encoder = Self;
        type Decoder = Self;

        fn encoder(&mut self) -> Self {
            Self
        }

        fn decoder(&mut self) -> Self {
            Self
        }
    }

    impl Encoder for Bytes {
        type Item = Vec<u8>;
        type Error = Status;

        fn encode(&mut self, item: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
            out.put_slice(&item);
            Ok(())
        }
    }

    impl Decoder for Bytes {
        type Item = Vec<u8>;
        type Error = Status;

        fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
            Ok(Some(bytes.copy_to_bytes(bytes.remaining()).to_vec()))
        }
    }
}

/// As the program's default.
const READER_PATIENCE: Duration = Duration::from_secs(30);
/// HEALTH-005, with room for a machine that fuzzes on all cores.
const QUICK: Duration = Duration::from_secs(2);
/// Until all that was cancelled is gone.
const PATIENCE: Duration = Duration::from_secs(5);
/// Corpus, windows, and what an allocator keeps; a leak grows past it in minutes.
const GROWTH: usize = 192 << 20;
