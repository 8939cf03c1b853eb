//! THE table: everything that can go wrong with a call → gRPC status.
//!
//! Messages reach clients: no host path, no prompt, no token (ERROR-010). Types that may carry a path, such as the
//! loader's errors, have no way in here.

use thiserror::Error;
use tonic::{Code, Status, metadata::MetadataValue};

use super::{admission::MOST_CHARACTERS, stream_predict::LONGEST_TRACE};
use crate::{
    adapters::AdapterError,
    engine::{EngineError, ParameterError, SubmitError},
    metrics::Outcome,
    registry::RegistryError,
};

/// Why a call ends without OK.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The stream ended without a request (STREAM-009).
    #[error("the stream ended without a request")]
    NoRequest,
    /// A generation with this trace_id is still running (STREAM-014).
    #[error("a generation with this trace_id is still running on this stream")]
    TraceInUse,
    /// The prompt has too many characters (ERROR-003).
    #[error("the prompt has more than {MOST_CHARACTERS} characters")]
    PromptTooLong,
    /// It is sent back with every response.
    #[error("the trace_id has more than {LONGEST_TRACE} bytes")]
    TraceTooLong,
    /// It is sent back with the answer.
    #[error("the command or its trace_id is too long")]
    CommandTooLong,
    /// TRANSPORT-007: more text than the server holds for one connection, or for all.
    #[error("too much text is under way at once; try again later")]
    TooMuchAtOnce,
    /// A message was sent too slowly (TRANSPORT-007).
    #[error("a request message took too long from its first byte to its last")]
    SlowMessage,
    /// The model's alphabet does not hold the prompt.
    #[error("the prompt cannot be written in the model's tokens")]
    Unspeakable,
    /// The adapter cannot be used (ERROR-008, ERROR-009).
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// A sampling parameter is out of range (SAMPLING-004 to SAMPLING-006).
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// The model cannot be used (ERROR-001).
    #[error(transparent)]
    Model(#[from] RegistryError),
    /// The engine did not take the job (CONCURRENCY-006, ERROR-004, ERROR-005).
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The model failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A bug in this server.
    #[error("an internal step of this request failed")]
    Internal,
    /// AUTH-001, AUTH-002: the same words whatever is wrong with the token.
    #[error("this method needs the header `authorization: Bearer <token>` with the right token")]
    Unauthenticated,
    /// The deadline has passed (CONCURRENCY-004).
    #[error("the call's deadline has passed")]
    Deadline,
    /// Its client does not read (CONCURRENCY-005).
    #[error("the responses of this call were not read for too long")]
    Unread,
    /// TRANSPORT-007: an open call holds memory.
    #[error("the call was open for too long without asking for anything")]
    Idle,
    /// TRANSPORT-007: every open call holds memory, and there are as many as the server keeps.
    #[error("too many calls are open; try again later")]
    TooManyCalls,
    /// TRANSPORT-003: new work.
    #[error("the server is shutting down and takes no new work")]
    Draining,
    /// TRANSPORT-003: work that outlived the grace time.
    #[error("the server shut down before this generation ended")]
    Cut,
}

impl Refusal {
    /// The gRPC code for each refusal.
    pub const fn code(&self) -> Code {
        match self {
            Self::NoRequest
            | Self::TraceInUse
            | Self::PromptTooLong
            | Self::TraceTooLong
            | Self::CommandTooLong
            | Self::Unspeakable
            | Self::Parameter(_)
            | Self::Adapter(AdapterError::Unfit)
            | Self::Submit(SubmitError::EmptyPrompt | SubmitError::PromptTooLong { .. }) => {
                Code::InvalidArgument
            }
            Self::Adapter(AdapterError::Unknown) | Self::Model(RegistryError::Unknown { .. }) => {
                Code::NotFound
            }
            Self::TooMuchAtOnce
            | Self::TooManyCalls
            | Self::Submit(SubmitError::QueueFull { .. })
            | Self::Model(RegistryError::NoRoom { .. }) => Code::ResourceExhausted,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::Deadline | Self::SlowMessage | Self::Idle => Code::DeadlineExceeded,
            Self::Unread => Code::Aborted,
            Self::Draining
            | Self::Cut
            | Self::Engine(EngineError::Stopped)
            | Self::Submit(SubmitError::Engine(_)) => Code::Unavailable,
            Self::Model(RegistryError::Broken { .. }) => Code::FailedPrecondition,
            Self::Engine(EngineError::Backend)
            | Self::Submit(SubmitError::UnknownToken { .. })
            | Self::Internal => Code::Internal,
        }
    }

    /// The reason in metrics and logs: a fixed list, without anything of the request.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoRequest => "no_request",
            Self::TraceInUse => "trace_in_use",
            Self::PromptTooLong => "prompt_too_long",
            Self::TraceTooLong => "trace_too_long",
            Self::CommandTooLong => "command_too_long",
            Self::TooMuchAtOnce => "too_much_at_once",
            Self::SlowMessage => "slow_message",
            Self::Unspeakable => "unspeakable",
            Self::Adapter(AdapterError::Unknown) => "adapter_unknown",
            Self::Adapter(AdapterError::Unfit) => "adapter_unfit",
            Self::Parameter(_) => "parameter",
            Self::Model(RegistryError::Unknown { .. }) => "model_unknown",
            Self::Model(RegistryError::NoRoom { .. }) => "model_no_room",
            Self::Model(RegistryError::Broken { .. }) => "model_broken",
            Self::Submit(SubmitError::QueueFull { .. }) => "queue_full",
            Self::Submit(SubmitError::EmptyPrompt) => "prompt_empty",
            Self::Submit(SubmitError::PromptTooLong { .. }) => "context_exceeded",
            Self::Submit(SubmitError::UnknownToken { .. }) => "token_unknown",
            Self::Engine(EngineError::Stopped) | Self::Submit(SubmitError::Engine(_)) => "engine_stopped",
            Self::Engine(EngineError::Backend) => "backend",
            Self::Internal => "internal",
            Self::Unauthenticated => "unauthenticated",
            Self::Deadline => "deadline",
            Self::Unread => "unread",
            Self::Idle => "idle",
            Self::TooManyCalls => "too_many_calls",
            Self::Draining => "draining",
            Self::Cut => "cut",
        }
    }

    /// Whose fault it is: the server's, or the client's, which asked for what cannot be had now.
    pub const fn outcome(&self) -> Outcome {
        match self.code() {
            Code::Internal | Code::FailedPrecondition => Outcome::Failed,
            Code::Unavailable if !matches!(self, Self::Draining) => Outcome::Failed,
            _ => Outcome::Refused,
        }
    }
}

/// When a client that was refused for want of room may come back (CONCURRENCY-012; gRPC A6, "Pushback").
const PUSHBACK_MS: &str = "200";

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let mut status = Self::new(refusal.code(), refusal.to_string());
        if status.code() == Code::ResourceExhausted {
            status.metadata_mut().insert("grpc-retry-pushback-ms", MetadataValue::from_static(PUSHBACK_MS));
        }
        status
    }
}
