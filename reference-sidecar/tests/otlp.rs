//! Spans as a collector gets them: `cargo test -p reference-sidecar --features otlp --test otlp`.

#![cfg(feature = "otlp")]

mod support;

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use ai_inference_proto::Dialect::Contract;
use support::server::start_at;
use testkit::{fresh_socket, request};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{Service, http},
    server::{Grpc, NamedService, UnaryService},
};
use tonic_prost::ProstCodec;

#[tokio::test]
async fn a_callers_span_is_the_parent_of_the_generations_which_is_exported_before_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (send, mut exports) = mpsc::unbounded_channel();
    let collector = tonic::transport::Server::builder().add_service(Collector(send));
    tokio::spawn(collector.serve_with_incoming(TcpListenerStream::new(listener)));

    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    let mut server = start_at(&fresh_socket(), &[], &environment);
    let client = server.client(Contract).await;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let client = client.with_header("traceparent", traceparent).with_header("tracestate", "vendor=1");
    client.generate(request("Hello", "in the span", 4)).await.unwrap();
    drop(client);
    server.terminate().unwrap();
    assert!(server.exit(Duration::from_secs(10)).await.unwrap().success());

    let export = timeout(Duration::from_secs(5), exports.recv()).await.expect("there is an export").unwrap();
    let resource = &export.resources[0];
    let service = &resource.resource.as_ref().unwrap().attributes;
    assert_eq!(text(service, "service.name"), "reference-sidecar");
    let spans: Vec<_> = resource.scopes.iter().flat_map(|scope| &scope.spans).collect();
    let [span] = spans[..] else { panic!("{spans:?}") };
    assert_eq!(span.name, "generation");
    assert_eq!(span.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    assert_eq!(span.parent, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert_eq!(span.state, "vendor=1");
    assert_eq!(text(&span.attributes, "trace_id"), "in the span");
    assert_eq!(text(&span.attributes, "model"), "tiny");
    assert_eq!(text(&span.attributes, "outcome"), "ok");
    assert!(!format!("{export:?}").contains("Hello"), "no prompt leaves");
}

/// Takes what is exported.
#[derive(Clone)]
struct Collector(mpsc::UnboundedSender<Export>);

impl NamedService for Collector {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl Service<http::Request<Body>> for Collector {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let collector = self.clone();
        Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(collector, request).await) })
    }
}

impl UnaryService<Export> for Collector {
    type Response = Exported;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Exported>, Status>> + Send>>;

    fn call(&mut self, request: Request<Export>) -> Self::Future {
        let _ = self.0.send(request.into_inner());
        Box::pin(async { Ok(Response::new(Exported {})) })
    }
}

fn text<'a>(attributes: &'a [Attribute], key: &str) -> &'a str {
    let attribute =
        attributes.iter().find(|attribute| attribute.key == key).unwrap_or_else(|| panic!("{key}"));
    &attribute.value.as_ref().unwrap().text
}

// The part of OTLP's messages that is looked at; what is not named is skipped.

#[derive(Clone, PartialEq, prost::Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Exported {}

#[derive(Clone, PartialEq, prost::Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(string, tag = "3")]
    state: String,
    #[prost(bytes = "vec", tag = "4")]
    parent: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnyValue {
    #[prost(string, tag = "1")]
    text: String,
}
