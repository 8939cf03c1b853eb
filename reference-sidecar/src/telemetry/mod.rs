//! What the sidecar says of its work: log lines on standard error and, with the feature `otlp`, spans to a collector.
//! Standard output belongs to what a command prints.
//!
//! No line carries a prompt, a generated text, a token or an adapter's path. What a client wrote (a trace_id) is only
//! ever a field's value, never a part of a message: both formats escape it, so that it cannot forge a line.

mod format;
#[cfg(feature = "otlp")]
mod otlp;
mod traceparent;

pub use format::{LogFilter, LogFilterError, LogFormat, LogFormatError};
pub use traceparent::TraceParent;

use std::{
    env,
    io::{self, IsTerminal as _},
};

use tracing::Span;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{Layer as _, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// Keeps telemetry going; when it is dropped, what was not written or exported yet is.
#[derive(Debug)]
#[must_use = "dropping it ends the log"]
pub struct Telemetry {
    // In this order: the exporter's last words are for the log.
    #[cfg(feature = "otlp")]
    _exporter: Option<otlp::Exporter>,
    _log: WorkerGuard,
}

/// Starts logging, and exporting where a collector is named. Later calls change nothing.
pub fn init(log: &LogFilter, format: LogFormat) -> Telemetry {
    // A pipe without a reader must cost lines, not the threads that serve.
    let (writer, worker) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(MOST_LINES)
        .thread_name("log")
        .finish(io::stderr());
    let layer = fmt::layer().with_writer(writer);
    let layer = match format {
        LogFormat::Text => layer.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(log.to_filter()));
    #[cfg(feature = "otlp")]
    {
        let (layer, exporter) = otlp::start().unzip();
        let _ = subscriber.with(layer).try_init();
        Telemetry { _exporter: exporter, _log: worker }
    }
    #[cfg(not(feature = "otlp"))]
    {
        let _ = subscriber.try_init();
        Telemetry { _log: worker }
    }
}

/// For commands that are no servers: text, as `SIDECAR_LOG` filters it.
pub fn init_from_environment() -> Result<Telemetry, LogFilterError> {
    let asked = env::var("SIDECAR_LOG").unwrap_or_default();
    let log = if asked.is_empty() { LogFilter::default() } else { asked.parse()? };
    Ok(init(&log, LogFormat::Text))
}

/// Makes a caller's span the parent of ours, in what is exported.
pub fn adopt(span: &Span, parent: &TraceParent) {
    #[cfg(feature = "otlp")]
    otlp::adopt(span, parent);
    #[cfg(not(feature = "otlp"))]
    let _ = (span, parent);
}

/// Lines that wait to be written: a few MiB, and some seconds of a busy server.
const MOST_LINES: usize = 8192;
