//! tonic's generated trait, implemented for both dialects in one breath.

use std::{marker::PhantomData, sync::Arc};

use ai_inference_proto::{Contract, CyLlm, contract, cy_llm};
use tonic::{Request, Response, Status, Streaming};

use super::{
    State, control, health,
    stream_predict::{self, Responses},
};

/// The service in the dialect `W`.
#[derive(Debug)]
pub(super) struct Edge<W> {
    state: Arc<State>,
    dialect: PhantomData<W>,
}

impl<W> Edge<W> {
    pub(super) fn new(state: &Arc<State>) -> Self {
        Self { state: Arc::clone(state), dialect: PhantomData }
    }
}

macro_rules! serve {
    ($wire:ident, $dialect:ident) => {
        #[tonic::async_trait]
        impl $wire::ai_inference_server::AiInference for Edge<$dialect> {
            type StreamPredictStream = Responses<$dialect>;

            async fn stream_predict(
                &self,
                request: Request<Streaming<$wire::StreamPredictRequest>>,
            ) -> Result<Response<Self::StreamPredictStream>, Status> {
                Ok(Response::new(stream_predict::stream_predict::<$dialect>(&self.state, request)))
            }

            async fn control(
                &self,
                request: Request<$wire::ControlMessage>,
            ) -> Result<Response<$wire::ControlMessage>, Status> {
                let answer = control::control(&self.state, request.into_inner().into()).await?;
                Ok(Response::new(answer.into()))
            }

            async fn health(
                &self,
                _request: Request<$wire::WorkerHealthRequest>,
            ) -> Result<Response<$wire::WorkerHealthResponse>, Status> {
                Ok(Response::new(health::health(&self.state).into()))
            }
        }
    };
}

serve!(contract, Contract);
serve!(cy_llm, CyLlm);
