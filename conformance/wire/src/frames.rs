//! HTTP/2 frames by hand (RFC 9113), and header blocks in HPACK's plainest form (RFC 7541). Pure.
//!
//! For what no client library sends. Constants are named as in RFC 9113.

#![expect(missing_docs, reason = "constants are named as in RFC 9113")]

/// How a client begins.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types.
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Flags.
pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// The largest frame that a server takes before its SETTINGS say otherwise, in bytes of payload.
pub const LARGEST: usize = 16_384;

/// One frame, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error code of a GOAWAY or RST_STREAM.
    pub fn code(&self) -> Option<u32> {
        let at = match self.kind {
            GOAWAY => 4,
            RST_STREAM => 0,
            _ => return None,
        };
        self.payload.get(at..at + 4).map(|code| u32::from_be_bytes([code[0], code[1], code[2], code[3]]))
    }

    /// Whether it ends its stream.
    pub fn ends_stream(&self) -> bool {
        self.kind == RST_STREAM || (matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0)
    }
}

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block of `POST path`, as a gRPC call over plain text has it, with more headers at its end.
pub fn block(path: &str, authority: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let plain = [
        (":path", path),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let literals = plain.iter().chain(more).flat_map(|(name, value)| literal(name, value));
    [0x83, 0x86].into_iter().chain(literals).collect() // indexed: POST, and http
}

/// One header that no table keeps.
pub fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        integer(&mut bytes, text.len());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// A length with a prefix of seven bits (RFC 7541, section 5.1).
fn integer(bytes: &mut Vec<u8>, value: usize) {
    const PREFIX: usize = 127;
    if value < PREFIX {
        bytes.push(value as u8);
        return;
    }
    bytes.push(PREFIX as u8);
    let mut rest = value - PREFIX;
    while rest >= 128 {
        bytes.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    bytes.push(rest as u8);
}

/// One gRPC message as DATA frames; the flags are the last one's.
pub fn message(flags: u8, stream: u32, message: &[u8]) -> Vec<u8> {
    let framed = crate::framing::framed(message);
    let last = framed.len().div_ceil(LARGEST) - 1;
    let flags = |at: usize| if at == last { flags } else { 0 };
    framed.chunks(LARGEST).enumerate().flat_map(|(at, chunk)| frame(DATA, flags(at), stream, chunk)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_have_long_lengths() {
        assert_eq!(literal("a", "b"), [0, 1, b'a', 1, b'b']);
        let long = literal("a", &"b".repeat(300));
        // 300 = 127 + 173, and 173 = 45 + 128 (RFC 7541, appendix C.1).
        assert_eq!(long[..6], [0, 1, b'a', 127, 173, 1]);
        assert_eq!(long.len(), 3 + 3 + 300);
    }

    #[test]
    fn a_message_is_cut_into_frames() {
        let bytes = message(END_STREAM, 1, &vec![7; LARGEST]);
        assert_eq!(bytes[..9], [0, 0x40, 0, DATA, 0, 0, 0, 0, 1]);
        let second = 9 + LARGEST;
        assert_eq!(bytes[second..second + 9], [0, 0, 5, DATA, END_STREAM, 0, 0, 0, 1]);
    }
}
