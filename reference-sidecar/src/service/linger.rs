//! Reads what a client still sends when its call has been answered (RFC 9113, section 8.1).
//!
//! A call that is refused early is over before its client has said all. Dropping the rest resets the stream, and that harms
//! honest clients twice: gRPC's C core reports the reset where it overtakes the status, as INTERNAL; and the HTTP/2 library
//! soon forgets a stream that it reset, so that a half-close which crosses the refusal counts as an error of the
//! connection's client. A few hundred of those end the connection, with every generation on it. So the rest of a request
//! is read and thrown away, for some time and some bytes.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::{runtime::Handle, time::timeout};
use tonic::{Status, body::Body};

use super::stack::LARGEST_MESSAGE;

/// Puts it around a request's body, outside of everything that may drop one.
pub(super) fn read_on(request: Request<Body>) -> Request<Body> {
    request.map(|body| Body::new(Lingering(Some(body))))
}

/// `None` once the client has ended its half, or the call.
struct Lingering(Option<Body>);

impl http_body::Body for Lingering {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if let Some(rest) = self.0.take()
            && !http_body::Body::is_end_stream(&rest)
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(timeout(PATIENCE, discard(rest)));
        }
    }
}

async fn discard(mut rest: Body) {
    let mut left = MOST_BYTES;
    while let Some(Ok(frame)) = rest.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}

/// A client that got its status ends its half at once; this is many times the way there and back.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a client may have sent before it knew: one message of the largest kind.
const MOST_BYTES: usize = LARGEST_MESSAGE + 1024;
