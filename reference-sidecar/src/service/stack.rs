//! The whole way of a request, outermost first.

use std::{sync::Arc, time::Duration};

use ai_inference_proto::{
    Contract, CyLlm, Dialect, contract::ai_inference_server as contract_server,
    cy_llm::ai_inference_server as cy_llm_server,
};
use http::Request;
use tokio::sync::watch;
use tonic::{
    body::Body,
    codec::CompressionEncoding,
    service::{LayerExt as _, Routes},
    transport::Server,
};
use tonic_health::{ServingStatus, pb::health_server::HealthServer, server::HealthReporter};
use tonic_reflection::server::{Builder as ReflectionBuilder, Error as ReflectionError};

use tower::util::{MapRequestLayer, MapResponseLayer};

use super::{
    Refusal, State, auth, content_type, dialects::Edge, gate::Gate, inbound, linger, short_error,
    standard_health::StandardHealth,
};
use crate::listen::Incoming;

/// Serves what comes in until `shutdown`, then until its connections are closed.
pub async fn serve(
    state: Arc<State>,
    exposed: Exposed,
    incoming: Incoming,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    Server::builder()
        // A client that is gone without a word is noticed within a minute, and its work cancelled.
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        // One connection may carry all of a gateway's users; the queue, not the transport, says when it is too much.
        .max_concurrent_streams(MOST_STREAMS)
        // Room for the longest prompts in one flight; also the bound of what a connection can make us hold.
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        // Metadata is small; larger is abuse (TRANSPORT-007).
        .http2_max_header_list_size(LARGEST_HEADERS)
        // Rapid reset, where the client resets and where it makes us reset (TRANSPORT-007). Without the second line
        // there would be no bound: tonic hands hyper an explicit none.
        .http2_max_pending_accept_reset_streams(Some(MOST_RESETS))
        .http2_max_local_error_reset_streams(Some(MOST_RESETS))
        // Outermost: whatever drops a request, what its client still sends is read.
        .layer(MapRequestLayer::new(linger::read_on))
        // What is not gRPC is answered in HTTP, so it must be turned away before anything answers in gRPC.
        .layer(Gate::<Body, Body>::new(content_type::check))
        // Before routing and decoding: a stranger costs no more than its headers (AUTH-004).
        .layer(Gate::<Body, Body>::new({
            let state = Arc::clone(&state);
            move |request: &Request<Body>| {
                let refused = auth::check(state.token.as_ref(), request)?;
                state.metrics.events.refused(Refusal::Unauthenticated.reason());
                Some(refused)
            }
        }))
        // After those that look at heads only: a body that never ends, or too many large ones (TRANSPORT-007).
        .layer(MapRequestLayer::new(inbound::watch))
        // Both dialects, health checking and reflection; any other path is UNIMPLEMENTED (WIRE-006).
        .add_routes(exposed.routes(&state))
        .serve_with_incoming_shutdown(incoming, shutdown)
        .await
}

/// What is the same on every listener, so that they answer alike (TRANSPORT-001).
#[derive(Clone, Debug)]
pub struct Exposed {
    health: HealthReporter,
    closing: watch::Sender<bool>,
}

impl Exposed {
    /// Serving from the start.
    pub async fn new() -> Self {
        let exposed = Self { health: HealthReporter::new(), closing: watch::Sender::new(false) };
        exposed.set(ServingStatus::Serving).await;
        exposed
    }

    /// Tells those who ask, and those who watch, that no new work is taken (TRANSPORT-003).
    pub async fn set_not_serving(&self) {
        self.set(ServingStatus::NotServing).await;
    }

    /// Ends the watches of those who watch: nothing will change any more.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// WIRE-012: for the server as a whole and for both services.
    async fn set(&self, status: ServingStatus) {
        for name in ["", Dialect::Contract.service(), Dialect::CyLlm.service()] {
            self.health.set_service_status(name, status).await;
        }
    }

    fn routes(&self, state: &Arc<State>) -> Routes {
        let contract = contract_server::AiInferenceServer::new(Edge::<Contract>::new(state))
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(LARGEST_MESSAGE);
        let cy_llm = cy_llm_server::AiInferenceServer::new(Edge::<CyLlm>::new(state))
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(LARGEST_MESSAGE);
        let health = StandardHealth::new(self.health.clone(), self.closing.subscribe());
        let mut routes = Routes::default()
            .add_service(contract)
            .add_service(cy_llm)
            .add_service(HealthServer::new(health));
        // The descriptor sets are compiled in, and a test reads them: a failure here would be a failure of the build.
        match (reflection().build_v1(), reflection().build_v1alpha()) {
            (Ok(v1), Ok(v1alpha)) => {
                let short = MapResponseLayer::new(short_error::shorten);
                routes = routes.add_service(short.named_layer(v1)).add_service(short.named_layer(v1alpha));
            }
            (Err(error), _) | (_, Err(error)) => log_no_reflection(&error),
        }
        routes
    }
}

/// Server reflection (WIRE-004).
fn reflection() -> ReflectionBuilder<'static> {
    ReflectionBuilder::configure()
        .register_encoded_file_descriptor_set(Dialect::Contract.descriptor_set())
        .register_encoded_file_descriptor_set(Dialect::CyLlm.descriptor_set())
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

fn log_no_reflection(error: &ReflectionError) {
    tracing::error!(%error, "reflection is not served");
}

/// gRPC's customary limit, twenty times the largest legal prompt (WIRE-008, WIRE-013).
pub(super) const LARGEST_MESSAGE: usize = 4 << 20;
/// Calls at once on one connection.
const MOST_STREAMS: u32 = 1024;
/// Of one request, decoded. The contract's own headers take less than 1 KiB.
const LARGEST_HEADERS: u32 = 16 << 10;
/// Streams that were reset before they were looked at, and streams that we reset for an error, before the connection
/// ends. A gateway whose users all leave at once resets calls that were looked at long ago.
const MOST_RESETS: usize = 256;
