//! `serve`: from a configuration to a drained server.

use std::{
    io::{self, Write as _},
    sync::Arc,
    thread,
};

use tokio::{runtime, sync::watch, task::JoinSet, time::timeout};

use super::Failure;
use crate::{
    backends::onnx::{OnnxOptions, Runtime},
    config::{ResolvedServe, Serve},
    drain::{self, LAST_BYTES, Signals},
    listen::{Listener, Places},
    models::{Loader, Registry},
    service::{self, Exposed, State},
};

/// Runs until a signal has drained it.
pub fn serve(raw: Serve) -> Result<(), Failure> {
    let config = ResolvedServe::try_from(raw)?;
    let loader = Loader {
        runtime: Runtime::load(config.onnx.library.as_deref())?,
        onnx: OnnxOptions {
            provider: config.onnx.provider,
            slots: config.slots,
            threads: config.onnx.threads,
        },
        queue: config.queue,
        prefill_chunk: PREFILL_CHUNK,
    };
    let registry = Registry::open(&config.models, config.default_model.as_deref(), loader)?;
    let state = Arc::new(State::new(registry, config.token.clone(), config.onnx.provider));
    // At least two threads, so that one long answer never keeps Health waiting (HEALTH-005).
    let threads = thread::available_parallelism().map_or(2, usize::from).max(2);
    let runtime = runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let served = runtime.block_on(run(&config, &state));
    // Idle connections and a load that nobody waits for any more must not hold the exit up.
    runtime.shutdown_background();
    served
}

async fn run(config: &ResolvedServe, state: &Arc<State>) -> Result<(), Failure> {
    let signals = Signals::new()?;
    let mut listeners = Vec::new();
    for address in &config.listen {
        listeners.push(Listener::bind(address).await?);
    }
    let id = state.registry.default_id();
    state.registry.get("").await.map_err(|_| Failure::Default { id: id.to_owned() })?;
    announce(&listeners, config.tls.is_some())?;

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
    let drained = drain::drain(signals, Arc::clone(state), exposed, config.grace);
    tokio::select! {
        () = drained => {}
        Some(Ok(Err(error))) = serving.join_next() => return Err(error.into()),
    }
    stop.send_replace(true);
    let closed = async { while serving.join_next().await.is_some() {} };
    let _ = timeout(LAST_BYTES, closed).await;
    serving.shutdown().await;
    tracing::info!("stopped");
    Ok(())
}

/// One line for each address, for people and scripts that wait for the server.
fn announce(listeners: &[Listener], tls: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for listener in listeners {
        let scheme = if tls && matches!(listener, Listener::Tcp(_)) { "https://" } else { "" };
        writeln!(out, "listening on {scheme}{}", listener.address()?)?;
    }
    out.flush()
}

/// Prompt tokens read between two decode steps. At 900 tokens/s, as measured with an int8 model on two cores, a long
/// prompt adds about 140 ms to another stream's gap; shorter chunks read prompts more slowly.
const PREFILL_CHUNK: usize = 128;
