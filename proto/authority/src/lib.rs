//! Lets gRPC's C core in through a Unix socket, for every server of this repository.
//!
//! Its clients (Python, C++, Ruby, PHP) derive `:authority` from the address, so that over `unix:///tmp/a.sock` they
//! send `tmp%2Fa.sock`. That is no authority by RFC 3986, and the `h2` crate refuses the request with a stream reset
//! before anything of ours sees it: the documented default address would not work for the documented clients.
//!
//! So bytes that come in are looked at once: in a HEADERS frame, a plain `:authority` has its `%` and `/` replaced by
//! `-`. Same length, so neither frame lengths nor the sizes of HPACK's table change, and nothing need be decoded. No
//! part of the servers here reads the authority. Whatever is not understood passes unchanged, for `h2` to judge.

use std::{
    io::IoSlice,
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{self, AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
};

/// An accepted connection.
#[derive(Debug)]
pub struct Lenient {
    inner: UnixStream,
    mender: Mender,
}

impl Lenient {
    /// Looks at what comes in; what goes out is untouched.
    pub fn new(inner: UnixStream) -> Self {
        Self { inner, mender: Mender::default() }
    }
}

impl AsyncRead for Lenient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { inner, mender } = &mut *self;
        while mender.done == 0 {
            let mut chunk = [0; 8192];
            let mut read = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut *inner).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                // The end; half a frame is for the other side to complain of.
                mender.done = mender.bytes.len();
                break;
            }
            mender.push(read.filled());
        }
        let given = mender.done.min(out.remaining());
        out.put_slice(&mender.bytes[..given]);
        mender.bytes.drain(..given);
        mender.done -= given;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Lenient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

/// Bytes on their way in: the first `done` may go on, the rest waits for the end of its frame.
#[derive(Debug)]
struct Mender {
    bytes: Vec<u8>,
    done: usize,
    /// Bytes to come that are of no interest.
    pass: usize,
}

impl Default for Mender {
    fn default() -> Self {
        Self { bytes: Vec::new(), done: 0, pass: PREFACE }
    }
}

impl Mender {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        loop {
            let passed = self.pass.min(self.bytes.len() - self.done);
            self.done += passed;
            self.pass -= passed;
            let Some((head, rest)) = self.bytes[self.done..].split_first_chunk_mut::<HEAD>() else { return };
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let (kind, flags) = (head[3], head[4]);
            if kind == HEADERS && length <= LARGEST_FRAME {
                let Some(payload) = rest.get_mut(..length) else { return };
                mend_headers(payload, flags);
            }
            self.pass = HEAD + length;
        }
    }
}

fn mend_headers(payload: &mut [u8], flags: u8) {
    let padded = flags & 0x8 != 0;
    let padding = if padded { payload.first().map_or(0, |length| usize::from(*length)) } else { 0 };
    let start = usize::from(padded) + if flags & 0x20 == 0 { 0 } else { 5 };
    let end = payload.len().saturating_sub(padding);
    let Some(block) = payload.get_mut(start..end) else { return };
    let mut at = 0;
    while let Some(field) = next_field(block, &mut at) {
        if let Part::Plain(value) = field {
            for byte in &mut block[value] {
                *byte = if matches!(byte, b'%' | b'/') { b'-' } else { *byte };
            }
        }
    }
}

/// One HPACK string or field, as far as it matters here.
enum Part {
    /// A plain string that matters, and where it is.
    Plain(Range<usize>),
    /// Anything else. The C core does not code strings by Huffman's method.
    Other,
}

/// Steps over one HPACK representation (RFC 7541, section 6), and finds a plain `:authority`'s value. `None` at the end,
/// or where the bytes make no sense.
fn next_field(block: &[u8], at: &mut usize) -> Option<Part> {
    let prefix = match *block.get(*at)? {
        0x80.. => 7,     // an indexed field
        0x40..0x80 => 6, // a literal that enters the table
        0x20..0x40 => 5, // a new size of the table
        ..0x20 => 4,     // a literal that does not
    };
    let index = integer(block, at, prefix)?;
    if matches!(prefix, 5 | 7) {
        return Some(Part::Other);
    }
    let is_authority = match index {
        0 => matches!(string(block, at)?, Part::Plain(name) if &block[name.clone()] == b":authority"),
        index => index == STATIC_AUTHORITY,
    };
    let value = string(block, at)?;
    Some(if is_authority { value } else { Part::Other })
}

fn string(block: &[u8], at: &mut usize) -> Option<Part> {
    let huffman = block.get(*at)? & 0x80 != 0;
    let length = integer(block, at, 7)?;
    let range = *at..at.checked_add(length)?;
    block.get(range.clone())?;
    *at = range.end;
    Some(if huffman { Part::Other } else { Part::Plain(range) })
}

/// An integer with an N-bit prefix (RFC 7541, section 5.1).
fn integer(block: &[u8], at: &mut usize, prefix: u32) -> Option<usize> {
    let mask = (1_usize << prefix) - 1;
    let mut value = usize::from(*block.get(*at)?) & mask;
    *at += 1;
    if value < mask {
        return Some(value);
    }
    for shift in [0, 7, 14, 21] {
        let byte = usize::from(*block.get(*at)?);
        *at += 1;
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// `PRI * HTTP/2.0` and so on, before the first frame.
const PREFACE: usize = 24;
/// A frame's head.
const HEAD: usize = 9;
/// A frame's type.
const HEADERS: u8 = 1;
/// What the server announces, by default; a larger one is an error anyhow.
const LARGEST_FRAME: usize = 16_384;
/// `:authority` in HPACK's static table.
const STATIC_AUTHORITY: usize = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// `:method POST`, a literal `:authority`, and a literal header whose value must stay.
    fn block(authority: &str) -> Vec<u8> {
        let literal = |name: &str, value: &str| {
            [&[0x40, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
        };
        [vec![0x83], literal(":authority", authority), literal("x-rate", "50%/s")].concat()
    }

    #[test]
    fn an_authority_is_mended_however_the_bytes_are_cut() {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let data = frame(0, 0, b":authority%2F");
        let stream = |authority: &str| {
            [preface.clone(), frame(4, 0, &[]), frame(1, 4, &block(authority)), data.clone()].concat()
        };
        let (sent, expected) = (stream("tmp%2Fa.sock"), stream("tmp-2Fa.sock"));
        for size in 1..sent.len() {
            let mut mender = Mender::default();
            sent.chunks(size).for_each(|chunk| mender.push(chunk));
            assert_eq!(mender.bytes, expected, "in chunks of {size}");
            assert_eq!(mender.done, sent.len(), "in chunks of {size}");
        }
    }

    #[test]
    fn the_static_name_padding_and_priority_are_understood() {
        let mut payload = [&[2, 0, 0, 0, 0, 16, 0x41, 4][..], b"a%2F", &[0, 0]].concat();
        mend_headers(&mut payload, 0x28);
        assert_eq!(&payload[8..12], b"a-2F");
    }

    #[test]
    fn any_bytes_pass_without_a_panic() {
        for seed in 0..2000_u64 {
            let byte = |i: u64| (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (i % 57)) as u8 ^ i as u8;
            let mut payload: Vec<u8> = (0..seed % 70).map(byte).collect();
            mend_headers(&mut payload, byte(99));
        }
    }
}
