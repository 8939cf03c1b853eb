//! Errors that fit into a frame: reflection repeats in its error whatever name it was asked for, and a megabyte of that would
//! break the connection.

use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tonic::body::Body;

/// Shortens the response's error message, which comes in its head or in its trailers.
pub(super) fn shorten(mut response: Response<Body>) -> Response<Body> {
    in_map(response.headers_mut());
    response.map(|body| {
        Body::new(body.map_frame(|frame| match frame.into_trailers() {
            Ok(mut trailers) => {
                in_map(&mut trailers);
                Frame::trailers(trailers)
            }
            Err(frame) => frame,
        }))
    })
}

fn in_map(headers: &mut HeaderMap) {
    if let Some(message) = headers.get_mut(MESSAGE)
        && message.len() > MOST
    {
        let start = &message.as_bytes()[..MOST];
        // Not within the two digits after a %.
        let whole = start.iter().rposition(|byte| *byte == b'%').filter(|at| at + 3 > MOST).unwrap_or(MOST);
        *message = HeaderValue::from_bytes(&start[..whole]).unwrap_or(HeaderValue::from_static(""));
    }
}

const MESSAGE: &str = "grpc-message";
/// Bytes of a message, percent-encoded.
const MOST: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn shortened(message: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(MESSAGE, message.parse().unwrap());
        in_map(&mut headers);
        headers[MESSAGE].to_str().unwrap().to_owned()
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        assert_eq!(shortened("symbol%20x"), "symbol%20x");
        assert_eq!(shortened(&"x".repeat(5000)).len(), MOST);
        for before in MOST - 4..MOST {
            let cut = shortened(&format!("{}%20{}", "x".repeat(before), "y".repeat(MOST)));
            assert!(cut.len() <= MOST && (cut.len() == before || cut.contains("%20")), "{before}");
        }
    }
}
