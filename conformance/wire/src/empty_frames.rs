//! A transport that leaves out empty DATA frames.
//!
//! They say nothing, and public gateways send them all the same. The HTTP/2 library takes a hundred of them in a
//! connection's life for an attack and ends the connection, which would look like the target's fault. So those that do not
//! end a stream are taken out of the bytes before the library reads them. Padded ones stay: they use up the window.
//!
//! Knows the head of a frame and nothing else of HTTP/2. What has no empty frame in it is not copied.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reads everything but empty DATA frames.
#[derive(Debug)]
pub(crate) struct EmptyFrames<T> {
    transport: T,
    filter: Filter,
    /// What was read for a reader that had too little room.
    read: BytesMut,
}

impl<T> EmptyFrames<T> {
    pub(crate) fn left_out(transport: T) -> Self {
        Self { transport, filter: Filter::default(), read: BytesMut::new() }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for EmptyFrames<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { transport, filter, read } = self.get_mut();
        for _ in 0..MOST_READS {
            if !read.is_empty() {
                let count = read.len().min(buffer.remaining());
                buffer.put_slice(&read[..count]);
                read.advance(count);
                return Poll::Ready(Ok(()));
            }
            if buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            // Behind a head of which only a part has come so far.
            let start = filter.held.len();
            if buffer.remaining() > HEAD {
                let mut piece = [0; HEAD];
                piece[..start].copy_from_slice(&filter.held);
                let before = buffer.filled().len();
                buffer.put_slice(&piece[..start]);
                let polled = Pin::new(&mut *transport).poll_read(context, buffer);
                if !matches!(polled, Poll::Ready(Ok(()))) {
                    buffer.set_filled(before);
                    return polled;
                }
                filter.held.clear();
                let piece = &mut buffer.filled_mut()[before..];
                if piece.len() == start {
                    return Poll::Ready(Ok(())); // the end; what was held back is its last
                }
                let kept = filter.keep(piece);
                buffer.set_filled(before + kept);
                if kept > 0 {
                    return Poll::Ready(Ok(()));
                }
            } else {
                let mut piece = [0; 256];
                piece[..start].copy_from_slice(&filter.held);
                let mut room = ReadBuf::new(&mut piece[start..]);
                ready!(Pin::new(&mut *transport).poll_read(context, &mut room))?;
                let count = room.filled().len();
                filter.held.clear();
                let kept = if count == 0 { start } else { filter.keep(&mut piece[..start + count]) };
                read.extend_from_slice(&piece[..kept]);
                if count == 0 && kept == 0 {
                    return Poll::Ready(Ok(()));
                }
            }
        }
        // Nothing but empty frames: the others on this thread run first.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for EmptyFrames<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(context)
    }
}

/// Where in a frame the bytes are.
#[derive(Debug, Default)]
struct Filter {
    /// Bytes of the payload that are still to come.
    payload: usize,
    /// The beginning of a head whose rest has not come.
    held: Vec<u8>,
}

impl Filter {
    /// Moves the bytes that stay to the front, and says how many they are.
    fn keep(&mut self, bytes: &mut [u8]) -> usize {
        let (mut from, mut to) = (0, 0);
        loop {
            let payload = self.payload.min(bytes.len() - from);
            shift(bytes, from, payload, &mut to);
            from += payload;
            self.payload -= payload;
            let Some(head) = bytes[from..].first_chunk::<HEAD>() else {
                self.held.extend_from_slice(&bytes[from..]);
                return to;
            };
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let is_empty = length == 0 && head[3] == DATA && head[4] & END_STREAM == 0;
            if !is_empty {
                shift(bytes, from, HEAD, &mut to);
                self.payload = length;
            }
            from += HEAD;
        }
    }
}

fn shift(bytes: &mut [u8], from: usize, count: usize, to: &mut usize) {
    if from != *to {
        bytes.copy_within(from..from + count, *to);
    }
    *to += count;
}

/// Of a frame (RFC 9113, section 4.1).
const HEAD: usize = 9;
const DATA: u8 = 0;
const END_STREAM: u8 = 1;
/// Of pieces with nothing in them, before others get their turn.
const MOST_READS: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn read(bytes: &[u8], piece: usize, room: usize) -> Vec<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut far, near) = tokio::io::duplex(1 << 20);
            let mut near = EmptyFrames::left_out(near);
            let write = async {
                for piece in bytes.chunks(piece) {
                    far.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
                drop(far);
            };
            let read = async {
                let (mut all, mut buffer) = (Vec::new(), vec![0; room]);
                loop {
                    match near.read(&mut buffer).await.unwrap() {
                        0 => return all,
                        count => all.extend_from_slice(&buffer[..count]),
                    }
                }
            };
            tokio::join!(write, read).1
        })
    }

    #[test]
    fn an_empty_frame_that_ends_its_stream_stays() {
        let frames = [
            frame(1, 4, b"head"),
            frame(0, 0, b""),
            frame(0, 0, b"text"),
            frame(0, 0, b""),
            frame(4, 0, b""),
            frame(0, 1, b""),
        ];
        let stay = [&frames[0][..], &frames[2], &frames[4], &frames[5]].concat();
        assert_eq!(read(&frames.concat(), 1000, 1000), stay);
        assert_eq!(read(&frame(0, 0, b"").repeat(1000), 100, 64), b"", "nothing else came");
    }

    #[test]
    fn what_is_not_http_2_passes_whole() {
        let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        assert_eq!(read(answer, 1000, 1000), answer);
    }

    proptest! {
        #[test]
        fn only_empty_frames_are_missing_however_bytes_are_cut(
            frames in prop::collection::vec((0..3_u8, 0..2_u8, 0..12_usize), 0..40),
            piece in 1..50_usize,
            room in 1..50_usize,
            cut in 0..20_usize,
        ) {
            let bytes = |wanted: fn(u8, u8, usize) -> bool| -> Vec<u8> {
                let frames = frames.iter().filter(|(kind, flags, size)| wanted(*kind, *flags, *size));
                frames.flat_map(|(kind, flags, size)| frame(*kind, *flags, &vec![7; *size])).collect()
            };
            // A connection may end inside of a frame.
            let last = &frame(0, 0, b"the last one")[..cut];
            let sent = [&bytes(|_, _, _| true)[..], last].concat();
            let stay = [&bytes(|kind, flags, size| kind != 0 || flags != 0 || size > 0)[..], last].concat();
            prop_assert_eq!(read(&sent, piece, room), stay);
        }
    }
}
