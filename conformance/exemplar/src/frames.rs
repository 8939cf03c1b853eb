//! A transport that shows a behaviour the head of each HTTP/2 frame that comes, so that mutants can mistreat frames that no
//! service ever sees.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use wire::frames::{ACK, DATA, GOAWAY, HEADERS, PING, PREFACE, frame};

use super::{behaviour::Behaviour, state::State};

/// Of a frame (RFC 9113, section 4.1).
const HEAD: usize = 9;
/// Of the GOAWAY that ends a connection.
const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame that has begun to come, and what its connection has seen.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The frame's type.
    pub kind: u8,
    /// PINGs of the client's own so far, with this one.
    pub pings: u32,
    /// Of these, the ones since HEADERS or DATA were last sent.
    pub silent_pings: u32,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// It is taken at once.
    Taken,
    /// Nothing of its connection is taken for so long.
    Late(Duration),
    /// The connection ends with GOAWAY ENHANCE_YOUR_CALM, "too_many_pings".
    GoAway,
}

/// Watches the frames of a connection.
pub(super) struct Frames<T> {
    transport: T,
    behaviour: Arc<dyn Behaviour>,
    state: Arc<State>,
    coming: Heads,
    going: Heads,
    pings: u32,
    silent_pings: u32,
    /// What was read and is taken later, and when.
    late: Option<(Pin<Box<Sleep>>, Vec<u8>)>,
    going_away: bool,
}

impl<T> Frames<T> {
    pub(super) fn watched(transport: T, behaviour: Arc<dyn Behaviour>, state: Arc<State>) -> Self {
        Self {
            transport,
            behaviour,
            state,
            coming: Heads { skip: PREFACE.len(), ..Heads::default() },
            going: Heads::default(),
            pings: 0,
            silent_pings: 0,
            late: None,
            going_away: false,
        }
    }

    /// Looks at bytes that came; how long they wait, if they do.
    fn came(&mut self, bytes: &[u8]) -> Option<Duration> {
        let mut late = None;
        let (coming, mut heads) = (&mut self.coming, Vec::new());
        coming.read(bytes, |kind, flags| heads.push((kind, flags)));
        for (kind, flags) in heads {
            if kind == PING && flags & ACK == 0 {
                self.pings += 1;
                self.silent_pings += 1;
            }
            let arrival = Arrival { kind, pings: self.pings, silent_pings: self.silent_pings };
            match self.behaviour.frame(&self.state, arrival) {
                Fate::Taken => {}
                Fate::Late(wait) => late = Some(wait),
                Fate::GoAway => self.going_away = true,
            }
        }
        late
    }

    fn went(&mut self, bytes: &[u8]) {
        let silent_pings = &mut self.silent_pings;
        self.going.read(bytes, |kind, _| {
            if matches!(kind, HEADERS | DATA) {
                *silent_pings = 0;
            }
        });
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Frames<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if let Some((until, bytes)) = &mut this.late {
                ready!(until.as_mut().poll(context));
                let count = bytes.len().min(buffer.remaining());
                buffer.put_slice(&bytes[..count]);
                bytes.drain(..count);
                if bytes.is_empty() {
                    this.late = None;
                }
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.transport).poll_read(context, buffer))?;
            let Some(wait) = this.came(&buffer.filled()[before..]) else { return Poll::Ready(Ok(())) };
            this.late = Some((Box::pin(sleep(wait)), buffer.filled()[before..].to_vec()));
            buffer.set_filled(before);
        }
    }
}

impl<T: AsyncWrite + Unpin> Frames<T> {
    /// The last word of a connection that ends, said between two frames.
    fn poll_goodbye(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.going_away || !self.going.is_between() {
            return Poll::Ready(Ok(()));
        }
        let last = [&[0; 4][..], &ENHANCE_YOUR_CALM.to_be_bytes(), b"too_many_pings"].concat();
        ready!(Pin::new(&mut self.transport).poll_write(context, &frame(GOAWAY, 0, 0, &last)))?;
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Frames<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_goodbye(context))?;
        let count = ready!(Pin::new(&mut this.transport).poll_write(context, bytes))?;
        this.went(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_goodbye(context))?;
        let count = ready!(Pin::new(&mut this.transport).poll_write_vectored(context, slices))?;
        let mut left = count;
        for slice in slices {
            let gone = left.min(slice.len());
            this.went(&slice[..gone]);
            left -= gone;
        }
        Poll::Ready(Ok(count))
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

/// Finds the heads of frames in bytes.
#[derive(Debug, Default)]
struct Heads {
    /// Bytes until the next head.
    skip: usize,
    /// The beginning of a head whose rest has not come.
    head: Vec<u8>,
}

impl Heads {
    /// Tells the type and the flags of each frame whose head is whole.
    fn read(&mut self, mut bytes: &[u8], mut tell: impl FnMut(u8, u8)) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            (self.skip, bytes) = (self.skip - skipped, &bytes[skipped..]);
            let missing = (HEAD - self.head.len()).min(bytes.len());
            self.head.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if let [a, b, c, kind, flags, ..] = self.head[..]
                && self.head.len() == HEAD
            {
                self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
                self.head.clear();
                tell(kind, flags);
            }
        }
    }

    /// No frame is half told.
    fn is_between(&self) -> bool {
        self.skip == 0 && self.head.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_found_however_bytes_are_cut() {
        let bytes =
            [PREFACE, &frame(PING, 0, 0, &[7; 8]), &frame(DATA, 1, 3, b""), &frame(HEADERS, 4, 5, b"abc")]
                .concat();
        for piece in 1..bytes.len() {
            let mut heads = Heads { skip: PREFACE.len(), ..Heads::default() };
            let mut found = Vec::new();
            for piece in bytes.chunks(piece) {
                heads.read(piece, |kind, flags| found.push((kind, flags)));
            }
            assert_eq!(found, [(PING, 0), (DATA, 1), (HEADERS, 4)], "pieces of {piece}");
            assert!(heads.is_between());
        }
    }
}
