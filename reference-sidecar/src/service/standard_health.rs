//! `grpc.health.v1.Health` (WIRE-012). tonic's own service, but for two things: a watch of a service that is not known is
//! told so and goes on, as the protocol asks, and watches end when the server does, which would otherwise wait for them.

use std::{pin::Pin, task::Poll};

use futures_core::Stream;
use futures_util::{StreamExt as _, stream};
use tokio::sync::watch;
use tonic::{Code, Request, Response, Status};
use tonic_health::{
    pb::{HealthCheckRequest, HealthCheckResponse, health_check_response, health_server::Health},
    server::{HealthReporter, HealthService},
};

pub(super) struct StandardHealth {
    inner: HealthService,
    closing: watch::Receiver<bool>,
}

impl StandardHealth {
    pub(super) fn new(reporter: HealthReporter, closing: watch::Receiver<bool>) -> Self {
        Self { inner: HealthService::from_health_reporter(reporter), closing }
    }
}

type Watched = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Health for StandardHealth {
    type WatchStream = Watched;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.inner.check(request).await
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Watched>, Status> {
        let mut told: Watched = match self.inner.watch(request).await {
            Ok(response) => response.into_inner().boxed(),
            Err(status) if status.code() == Code::NotFound => {
                let unknown = health_check_response::ServingStatus::ServiceUnknown.into();
                let unknown = stream::iter([Ok(HealthCheckResponse { status: unknown })]);
                unknown.chain(stream::pending()).boxed()
            }
            Err(status) => return Err(status),
        };
        let mut closing = self.closing.clone();
        let mut closed = Box::pin(async move {
            let _ = closing.wait_for(|closing| *closing).await;
        });
        // In this order, so that the last status is told.
        let until_closed = stream::poll_fn(move |context| match told.poll_next_unpin(context) {
            Poll::Pending => closed.as_mut().poll(context).map(|()| None),
            told @ Poll::Ready(_) => told,
        });
        Ok(Response::new(until_closed.boxed()))
    }
}
