//! Which of the two wire formats an endpoint speaks.

use std::{error::Error, fmt, str::FromStr};

use prost::Message;

use crate::{ControlMessage, GenerationRequest, GenerationResponse, HealthAnswer, contract, cy_llm};

/// A wire dialect, by value: for configuration, reports and clients that choose at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// The documented service, `AiInference`.
    Contract,
    /// The deployed service, `cy.llm.AiInference`.
    CyLlm,
}

impl Dialect {
    /// Both, the documented one first: the order in which `auto` asks.
    pub const ALL: [Self; 2] = [Self::Contract, Self::CyLlm];

    /// The name in reports and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contract => "contract",
            Self::CyLlm => "cy.llm",
        }
    }

    /// The service's full name on the wire: the first segment of every method's path.
    pub const fn service(self) -> &'static str {
        match self {
            Self::Contract => "AiInference",
            Self::CyLlm => "cy.llm.AiInference",
        }
    }

    /// The dialect that a full service name belongs to.
    pub fn of_service(service: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.service() == service)
    }

    /// The encoded `google.protobuf.FileDescriptorSet` of the dialect's proto file, for reflection.
    pub const fn descriptor_set(self) -> &'static [u8] {
        match self {
            Self::Contract => include_bytes!(concat!(env!("OUT_DIR"), "/contract.descriptors")),
            Self::CyLlm => include_bytes!(concat!(env!("OUT_DIR"), "/cy_llm.descriptors")),
        }
    }

    /// A request's bytes in this dialect.
    pub fn encode_request(self, request: GenerationRequest) -> Vec<u8> {
        match self {
            Self::Contract => contract::StreamPredictRequest::from(request).encode_to_vec(),
            Self::CyLlm => cy_llm::StreamPredictRequest::from(request).encode_to_vec(),
        }
    }

    /// Reads a request's bytes; fields the dialect does not know are ignored.
    pub fn decode_request(self, bytes: &[u8]) -> Result<GenerationRequest, prost::DecodeError> {
        Ok(match self {
            Self::Contract => contract::StreamPredictRequest::decode(bytes)?.into(),
            Self::CyLlm => cy_llm::StreamPredictRequest::decode(bytes)?.into(),
        })
    }

    /// A response's bytes in this dialect.
    pub fn encode_response(self, response: GenerationResponse) -> Vec<u8> {
        match self {
            Self::Contract => contract::StreamPredictResponse::from(response).encode_to_vec(),
            Self::CyLlm => cy_llm::StreamPredictResponse::from(response).encode_to_vec(),
        }
    }

    /// Reads a response's bytes; fields the dialect does not know are ignored.
    pub fn decode_response(self, bytes: &[u8]) -> Result<GenerationResponse, prost::DecodeError> {
        Ok(match self {
            Self::Contract => contract::StreamPredictResponse::decode(bytes)?.into(),
            Self::CyLlm => cy_llm::StreamPredictResponse::decode(bytes)?.into(),
        })
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|d| d.name() == name).ok_or_else(|| UnknownDialect(name.to_owned()))
    }
}

/// A dialect's name that is neither `contract` nor `cy.llm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownDialect(String);

impl fmt::Display for UnknownDialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown dialect `{}`: expected `contract` or `cy.llm`", self.0)
    }
}

impl Error for UnknownDialect {}

/// A wire dialect, by type: for servers, which are generic over the messages that tonic generated.
pub trait WireDialect: Send + Sync + 'static {
    /// The same dialect by value.
    const DIALECT: Dialect;
    /// The dialect's `StreamPredictRequest`.
    type Request: Message + Default + Into<GenerationRequest> + From<GenerationRequest>;
    /// The dialect's `StreamPredictResponse`.
    type Response: Message + Default + Into<GenerationResponse> + From<GenerationResponse>;
    /// The dialect's `ControlMessage`.
    type Control: Message + Default + Into<ControlMessage> + From<ControlMessage>;
    /// The dialect's `WorkerHealthResponse`.
    type Health: Message + Default + Into<HealthAnswer> + From<HealthAnswer>;
}

/// The `contract` dialect as a type.
#[derive(Clone, Copy, Debug)]
pub struct Contract;

/// The `cy.llm` dialect as a type.
#[derive(Clone, Copy, Debug)]
pub struct CyLlm;
