//! Spans to an OpenTelemetry collector over gRPC, as the standard `OTEL_*` variables say. Nothing is exported where
//! neither endpoint variable is set.

use std::{env, str::FromStr as _, time::Duration};

use opentelemetry::{
    Context, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, TraceContextExt as _, TraceState, TracerProvider as _},
};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tokio::runtime;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use super::TraceParent;

/// Exports in the background. Dropping it exports the rest.
#[derive(Debug)]
pub(super) struct Exporter {
    provider: SdkTracerProvider,
    /// Its own: the server's runtime ends before the last spans are sent.
    _runtime: runtime::Runtime,
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(LAST_SPANS) {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

/// The layer that makes OpenTelemetry's spans of ours, where a collector is named.
pub(super) fn start<S>() -> Option<(impl Layer<S>, Exporter)>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let set = |name| env::var(name).is_ok_and(|value| !value.is_empty());
    let disabled = env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
    if disabled || !ENDPOINTS.into_iter().any(set) {
        return None;
    }
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    // There is no log yet: it is what starts here.
    let failed = |reason: &dyn std::fmt::Display| eprintln!("warning: no spans are exported: {reason}");
    let runtime = runtime.inspect_err(|error| failed(error)).ok()?;
    let exporter = {
        let _entered = runtime.enter();
        SpanExporter::builder().with_tonic().build().inspect_err(|error| failed(error)).ok()?
    };
    let resource = Resource::builder();
    let resource = if set("OTEL_SERVICE_NAME") { resource } else { resource.with_service_name(NAME) };
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build();
    // Spans only: log lines have their own way.
    let ours = filter_fn(|metadata| metadata.is_span() && metadata.target().starts_with(module()));
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer(NAME)).with_filter(ours);
    Some((layer, Exporter { provider, _runtime: runtime }))
}

pub(super) fn adopt(span: &Span, parent: &TraceParent) {
    let context = SpanContext::new(
        TraceId::from(parent.trace_id),
        SpanId::from(parent.span_id),
        TraceFlags::new(parent.flags),
        true,
        TraceState::from_str(&parent.state).unwrap_or_default(),
    );
    // It fails only for a span that is not exported.
    let _ = span.set_parent(Context::new().with_remote_span_context(context));
}

/// The crate, in targets of spans.
fn module() -> &'static str {
    module_path!().split("::").next().unwrap_or_default()
}

const NAME: &str = "reference-sidecar";
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

/// How long the end of the process may wait for a collector.
const LAST_SPANS: Duration = Duration::from_secs(5);
