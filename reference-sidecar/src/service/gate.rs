//! A layer that looks at a request's head and may answer it, before anything of the body is read.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower::{Layer, Service};

/// Answers a request that must not pass; `None` lets it pass.
pub(super) type Check<B, R> = dyn Fn(&Request<B>) -> Option<Response<R>> + Send + Sync;

/// The layer that applies a [`Check`] to every request.
pub(super) struct Gate<B, R>(Arc<Check<B, R>>);

impl<B, R> Gate<B, R> {
    pub(super) fn new(check: impl Fn(&Request<B>) -> Option<Response<R>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }
}

impl<B, R> Clone for Gate<B, R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B, R, S> Layer<S> for Gate<B, R> {
    type Service = Gated<B, R, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Gated { check: self.clone(), inner }
    }
}

/// What stands behind the gate.
pub(super) struct Gated<B, R, S> {
    check: Gate<B, R>,
    inner: S,
}

impl<B, R, S: Clone> Clone for Gated<B, R, S> {
    fn clone(&self) -> Self {
        Self { check: self.check.clone(), inner: self.inner.clone() }
    }
}

impl<B, R, S> Service<Request<B>> for Gated<B, R, S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match (self.check.0)(&request) {
            Some(answer) => Box::pin(async { Ok(answer) }),
            None => Box::pin(self.inner.call(request)),
        }
    }
}
