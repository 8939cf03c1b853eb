//! Takes empty DATA frames out of what a connection receives.
//!
//! A DATA frame without a payload and without END_STREAM says nothing, and public gateways send many of them. The HTTP/2
//! library counts them over a connection's whole life and closes the connection at the hundred and first. That is this
//! side's doing and must never be blamed on the target, so the library does not get to see them. Everything else passes
//! as it came, also bytes that are not HTTP/2.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A frame's head: length (3 bytes), type, flags, stream (4 bytes).
const HEAD: usize = 9;
const DATA: u8 = 0;
const END_STREAM: u8 = 1;
/// Bytes read at a time.
const READ: usize = 16 << 10;

/// A connection's bytes, without the empty DATA frames that come in.
pub(crate) struct Sieve<T> {
    inner: T,
    sifter: Sifter,
    ended: bool,
}

impl<T> Sieve<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, sifter: Sifter::default(), ended: false }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Sieve<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.sifter.passed.is_empty() && !this.ended {
            let mut raw = [0; READ];
            let mut raw = ReadBuf::new(&mut raw);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut raw))?;
            if raw.filled().is_empty() {
                this.ended = true;
                this.sifter.flush();
            } else {
                this.sifter.sift(raw.filled());
            }
        }
        let count = this.sifter.passed.len().min(out.remaining());
        out.put_slice(&this.sifter.passed[..count]);
        this.sifter.passed.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Sieve<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Where in a frame the bytes are, and what has passed. Does no I/O.
#[derive(Default)]
struct Sifter {
    /// A head that is not whole yet.
    head: Vec<u8>,
    /// Bytes of the frame's payload that are still to come.
    payload: usize,
    passed: BytesMut,
}

impl Sifter {
    fn sift(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let (now, later) = bytes.split_at(self.payload.min(bytes.len()));
                self.passed.extend_from_slice(now);
                self.payload -= now.len();
                bytes = later;
                continue;
            }
            let (now, later) = bytes.split_at((HEAD - self.head.len()).min(bytes.len()));
            self.head.extend_from_slice(now);
            bytes = later;
            if let [a, b, c, kind, flags, ..] = self.head[..]
                && self.head.len() == HEAD
            {
                self.payload = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                if !(self.payload == 0 && kind == DATA && flags & END_STREAM == 0) {
                    self.passed.extend_from_slice(&self.head);
                }
                self.head.clear();
            }
        }
    }

    /// The connection has ended: half a head is passed on as it is.
    fn flush(&mut self) {
        self.passed.extend_from_slice(&self.head);
        self.head.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 1];
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn empty_data_frames_are_taken_out_wherever_the_bytes_are_cut() {
        let kept = [frame(4, 0, &[]), frame(0, 0, b"text"), frame(1, 4, b"head"), frame(0, 1, &[])];
        let empty = frame(0, 0, &[]);
        let mut sent = Vec::new();
        for frame in &kept {
            sent.extend_from_slice(&empty);
            sent.extend_from_slice(frame);
            sent.extend_from_slice(&empty);
        }
        for size in 1..=sent.len() {
            let mut sifter = Sifter::default();
            sent.chunks(size).for_each(|bytes| sifter.sift(bytes));
            sifter.flush();
            assert_eq!(sifter.passed, kept.concat(), "{size} bytes at a time");
        }
    }

    #[test]
    fn what_is_not_http_2_passes_whole() {
        let mut sifter = Sifter::default();
        sifter.sift(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        sifter.flush();
        assert_eq!(&sifter.passed[..], b"HTTP/1.1 400 Bad Request\r\n\r\n");
    }
}
