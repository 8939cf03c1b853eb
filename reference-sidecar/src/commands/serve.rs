//! `serve`: from a configuration to a drained server.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    sync::Arc,
    thread,
};

use tokio::{net::TcpListener, runtime, sync::watch, task::JoinSet, time::timeout};

use super::Failure;
use crate::{
    adapters::Adapters,
    backends::onnx::{OnnxOptions, Runtime},
    config::{ResolvedServe, Serve, TcpAddress},
    drain::{self, LAST_BYTES, LAST_STEP, Signals},
    listen::{Listener, Places},
    metrics,
    registry::{Loader, Registry},
    service::{self, Calls, Exposed, State},
    telemetry,
};

/// Runs until a signal has drained it.
pub fn serve(raw: Serve) -> Result<(), Failure> {
    let config = ResolvedServe::try_from(raw)?;
    // Dropped last: the last spans are those of the drain.
    let _telemetry = telemetry::init(&config.log, config.log_format);
    let runtime = Runtime::load(config.onnx.library.as_deref())?;
    let provider = runtime.provider(config.onnx.provider)?;
    let loader = Loader {
        runtime,
        onnx: OnnxOptions {
            provider,
            slots: config.slots,
            threads: config.onnx.threads,
            kernels: config.onnx.kernels,
        },
        queue: config.queue,
        prefill_chunk: PREFILL_CHUNK,
    };
    let registry = Registry::open(&config.models, config.default_model.as_deref(), loader)?;
    let adapters = Adapters::open(config.adapters.as_deref())?;
    let state =
        Arc::new(State::new(registry, adapters, config.token.clone(), provider, config.reader_patience));
    let threads = thread::available_parallelism().map_or(1, |cores| cores.get() / CORES_A_THREAD).max(1);
    let runtime = runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let served = runtime.block_on(run(&config, &state));
    if !state.registry.stop(LAST_STEP) {
        tracing::warn!("a model is still computing");
    }
    // Idle connections, and a load for which no request waits any more, must not delay the exit.
    runtime.shutdown_background();
    served
}

async fn run(config: &ResolvedServe, state: &Arc<State>) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let mut listeners = Vec::new();
    for address in &config.listen {
        listeners.push(Listener::bind(address).await?);
    }
    let scraped = scraped(config.metrics_listen.as_ref(), state).await?;
    let id = state.registry.default_id();
    tokio::select! {
        loaded = state.registry.get("") => {
            loaded.map_err(|_| Failure::Default { id: id.to_owned() })?;
        }
        () = signals.recv() => {
            tracing::info!("stopped while the model was loading");
            return Ok(());
        }
    }
    state.set_ready();
    announce(&listeners, config.tls.is_some(), scraped)?;

    let exposed = Exposed::new().await;
    let (stop, _) = watch::channel(false);
    let mut serving = JoinSet::new();
    let places = Places::new(config.connections);
    for listener in listeners {
        let mut stopped = stop.subscribe();
        let shutdown = async move {
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        let incoming = listener.incoming(config.tls.as_ref(), places.clone());
        serving.spawn(service::serve(Arc::clone(state), exposed.clone(), incoming, shutdown));
    }
    tokio::spawn(Calls::watch(Arc::clone(state)));
    let drained = drain::drain(signals, Arc::clone(state), exposed.clone(), config.grace);
    tokio::select! {
        () = drained => {}
        Some(ended) = serving.join_next() => ended.map_err(io::Error::other)??,
    }
    exposed.close();
    stop.send_replace(true);
    let closed = async { while serving.join_next().await.is_some() {} };
    let _ = timeout(LAST_BYTES, closed).await;
    serving.shutdown().await;
    tracing::info!("stopped");
    Ok(())
}

/// Answers scrapers and probes from now, before the model is loaded, which may take minutes; ends with the runtime, when
/// all else has ended.
async fn scraped(address: Option<&TcpAddress>, state: &Arc<State>) -> Result<Option<SocketAddr>, Failure> {
    let Some(address) = address else { return Ok(None) };
    let failed = |error| Failure::Metrics { address: address.as_str().to_owned(), error };
    let listener = TcpListener::bind(address.as_str()).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    tokio::spawn(metrics::serve(listener, Arc::clone(state)));
    Ok(Some(bound))
}

/// One line for each address, for people and scripts that wait for the server.
fn announce(listeners: &[Listener], tls: bool, scraped: Option<SocketAddr>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for listener in listeners {
        let scheme = if tls && matches!(listener, Listener::Tcp(_)) { "https://" } else { "" };
        writeln!(out, "listening on {scheme}{}", listener.address()?)?;
    }
    if let Some(address) = scraped {
        writeln!(out, "metrics on http://{address}/metrics")?;
    }
    out.flush()
}

/// Prompt tokens read between two decode steps. At 900 tokens/s, as measured with an int8 model on two cores, a long
/// prompt adds about 140 ms to another stream's gap; shorter chunks read prompts more slowly.
const PREFILL_CHUNK: usize = 128;

/// The models' threads use every core, and one that serves takes a core away from them for a moment whenever it wakes. One
/// carries a hundred thousand chunks a second, more than several models give, and nothing holds it up for long:
/// what reads files or long prompts runs elsewhere.
const CORES_A_THREAD: usize = 4;
