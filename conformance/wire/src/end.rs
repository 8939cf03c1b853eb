//! How a call ended, as seen on the wire, and the words for it.
//!
//! Talks to: no other module. [`crate::Connection`] makes the values from frames; checks read them.

use std::{fmt, time::Duration};

use http::HeaderMap;
use tonic::Code;

use crate::shown::{quote, time};

/// How a call ended, as seen on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The call ended with a grpc-status.
    Status(Status),
    /// The stream ended in order, but no grpc-status came.
    NoStatus {
        /// HTTP status of the response.
        http: u16,
    },
    /// The server reset the stream (RST_STREAM).
    Reset(String),
    /// The connection ended: closed, reset, GOAWAY or a protocol error. Which of them is in the words.
    Closed(String),
    /// The bytes are not gRPC framing.
    Malformed(String),
    /// Nothing came for so long.
    TimedOut(Duration),
}

/// A gRPC status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The gRPC status code.
    pub code: Code,
    /// The status message, percent-decoded.
    pub message: String,
    /// Everything else in the trailers, as `name: value` lines.
    pub metadata: Vec<String>,
}

impl End {
    /// The gRPC code that the target gave, if it gave one.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Status(status) => Some(status.code),
            _ => None,
        }
    }

    /// The target said that it is full: a right answer, unless the requirement is about capacity (CONCURRENCY-006).
    pub fn is_full(&self) -> bool {
        matches!(self.code(), Some(Code::ResourceExhausted | Code::Unavailable))
    }

    /// The target says that it has not begun to process the call: gRPC clients open it again by themselves (REFUSED_STREAM
    /// and a graceful GOAWAY; gRPC A6, "Transparent retries").
    pub fn not_processed(&self) -> bool {
        match self {
            Self::Reset(reason) => reason == "REFUSED_STREAM",
            Self::Closed(how) => how.starts_with("GOAWAY") && how.contains("not a result of an error"),
            _ => false,
        }
    }

    /// The call was turned away for want of room: the target says that it is full, or that it has not begun to process it.
    pub fn is_turned_away(&self) -> bool {
        self.is_full() || self.not_processed()
    }

    /// What became of the call, as the rest of a sentence that begins with what was asked.
    pub fn told(&self) -> String {
        match self {
            Self::Status(_) => format!("was answered {self}"),
            Self::NoStatus { http: 200 } => "ended without a grpc-status".to_owned(),
            Self::NoStatus { http } => format!("got HTTP {http} without a grpc-status"),
            Self::Reset(reason) => format!("was reset (RST_STREAM {reason})"),
            Self::Closed(how) => format!("lost its connection ({how})"),
            Self::Malformed(how) => format!("got broken gRPC ({how})"),
            Self::TimedOut(patience) => format!("got no answer within {}", time(*patience)),
        }
    }

    /// Whether the call ended with status OK.
    pub fn is_ok(&self) -> bool {
        self.code() == Some(Code::Ok)
    }

    /// What an HTTP/2 error means for a call. TCP RST and clean close are one thing, "closed"; the words keep the
    /// difference for readers.
    pub fn of(error: &h2::Error) -> Self {
        match error.reason() {
            Some(reason) if error.is_reset() => Self::Reset(format!("{reason:?}")),
            _ => Self::Closed(closed_by(error)),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => {
                f.write_str(code_name(status.code))?;
                if !status.message.is_empty() {
                    write!(f, " {}", quote(&status.message, 200))?;
                }
                Ok(())
            }
            Self::NoStatus { http: 200 } => f.write_str("the end of the stream without a grpc-status"),
            Self::NoStatus { http } => write!(f, "HTTP {http} without a grpc-status"),
            Self::Reset(reason) => write!(f, "RST_STREAM {reason}"),
            Self::Closed(how) => write!(f, "connection lost ({how})"),
            Self::Malformed(how) => write!(f, "broken gRPC framing ({how})"),
            Self::TimedOut(patience) => write!(f, "no answer within {}", time(*patience)),
        }
    }
}

impl Status {
    /// The status that stands in these trailers, if one does.
    pub(crate) fn of(trailers: &HeaderMap) -> Option<Self> {
        let code = trailers.get("grpc-status")?.to_str().ok()?.parse::<i32>().ok()?;
        let message = trailers.get("grpc-message").map_or_else(String::new, |m| percent_decode(m.as_bytes()));
        let metadata = trailers
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "grpc-status" | "grpc-message"))
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        Some(Self { code: Code::from_i32(code), message, metadata })
    }
}

/// The name of a code as the gRPC specification writes it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The target says that it has not begun to process a call, so that gRPC clients open it again by themselves: REFUSED_STREAM,
/// or a GOAWAY without an error that leaves the call out (gRPC A6, "Transparent retries").
pub(crate) fn untouched(error: &h2::Error) -> bool {
    error.is_remote()
        && (error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR)
            || error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM))
}

/// This side's library gave the connection up, though the target broke no rule of HTTP/2: it had a limit of its own.
pub(crate) fn own_doing(error: &h2::Error) -> bool {
    error.is_library() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)
}

/// How a connection ended, in words.
pub(crate) fn closed_by(error: &h2::Error) -> String {
    let words = error.to_string();
    if words.contains("close_notify") {
        return "closed by the target without TLS's close_notify".to_owned(); // rustls adds a link to its manual
    }
    if own_doing(error) {
        return format!("this side's HTTP/2 library gave the connection up: {words}");
    }
    if error.is_go_away() { format!("GOAWAY: {words}") } else { words }
}

/// The text of a status message.
pub(crate) fn percent_decode(bytes: &[u8]) -> String {
    let digit = |at: usize| bytes.get(at).and_then(|b| (*b as char).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
