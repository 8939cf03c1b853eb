//! `/metrics`, `/healthz` and `/readyz` over plain HTTP/1.1, for scrapers and probes.
//!
//! It answers from before the first model is loaded until the process ends, so that a drain is seen to its end. A few
//! connections at a time and a few seconds for each: a slow client here does not delay others.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use http::{
    Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE as CONTENT_TYPE_HEADER},
};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// What the pages say; asked anew for each request.
pub trait Endpoint: Send + Sync + 'static {
    /// The text of `/metrics`.
    fn metrics(&self) -> String;
    /// Whether new work is taken.
    fn ready(&self) -> bool;
}

/// Answers for ever. Where there are too many connections, the oldest makes room: a client that says nothing has had its
/// time, and one that asks is answered in a moment.
pub async fn serve(listener: TcpListener, endpoint: Arc<impl Endpoint>) {
    let mut open: VecDeque<AbortOnDrop> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a scraper");
                sleep(BREATH).await;
                continue;
            }
        };
        open.retain(|connection| !connection.0.is_finished());
        if open.len() >= CONNECTIONS {
            open.pop_front();
        }
        let answered = timeout(PATIENCE, connection(stream, Arc::clone(&endpoint)));
        open.push_back(AbortOnDrop(tokio::spawn(async move {
            let _ = answered.await;
        })));
    }
}

/// A connection's task, which ends with it.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn connection(stream: TcpStream, endpoint: Arc<impl Endpoint>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), &*endpoint);
        async { Ok::<_, Infallible>(response) }
    });
    let server = http1::Builder::new()
        .timer(TokioTimer::new())
        // A scraper comes every few seconds at most: a kept connection would only take a place.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(error) = server {
        tracing::debug!(%error, "a scraper's connection ended badly");
    }
}

fn answer(method: &Method, path: &str, endpoint: &impl Endpoint) -> Response<Full<Bytes>> {
    let (status, content_type, text) = match path {
        _ if *method != Method::GET && *method != Method::HEAD => {
            (StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET and HEAD\n".to_owned())
        }
        "/metrics" => (StatusCode::OK, CONTENT_TYPE, endpoint.metrics()),
        // The process lives and its runtime turns; a drain is no reason to kill it.
        "/healthz" => (StatusCode::OK, PLAIN, "ok\n".to_owned()),
        "/readyz" if endpoint.ready() => (StatusCode::OK, PLAIN, "ready\n".to_owned()),
        "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, PLAIN, "takes no new work\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, PLAIN, "there are /metrics, /healthz and /readyz\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE_HEADER, http::HeaderValue::from_static(content_type));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// What Prometheus and those who read its format know by this name.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const PLAIN: &str = "text/plain; charset=utf-8";

/// Two scrapers, a few probes, and a person, many times over.
const CONNECTIONS: usize = 64;

/// Prometheus' own default patience with us.
const PATIENCE: Duration = Duration::from_secs(10);

/// After an accept that failed, which is for want of file descriptors mostly: some may be free then.
const BREATH: Duration = Duration::from_millis(100);
