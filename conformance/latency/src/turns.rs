//! A transport that takes turns with those who read from it.
//!
//! A connection reads on while there is something to read, and only then do its streams get what they were sent. From a
//! server that sends more than the client can read, that is a megabyte: twenty thousand chunks that wait in memory, each to be
//! stamped later than it came, and no cache holds them. So after each piece every task that has got something from it
//! is let run.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reads one piece a turn.
#[derive(Debug)]
pub(super) struct Turns<T> {
    transport: T,
    has_read: bool,
}

impl<T> Turns<T> {
    pub(super) const fn new(transport: T) -> Self {
        Self { transport, has_read: false }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Turns<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.has_read {
            self.has_read = false;
            // To the end of the queue, behind those who have just been woken.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let read = Pin::new(&mut self.transport).poll_read(context, buffer);
        self.has_read = read.is_ready();
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Turns<T> {
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        sync::mpsc,
    };

    use super::*;

    #[tokio::test]
    async fn a_task_that_got_a_piece_runs_before_the_next_is_read() {
        let (mut far, near) = tokio::io::duplex(1024);
        far.write_all(b"abcdef").await.unwrap();
        let happened = Arc::new(Mutex::new(String::new()));
        let said = Arc::clone(&happened);
        let (wake, mut woken) = mpsc::channel(3);
        let reader = tokio::spawn(async move {
            let mut near = Turns::new(near);
            for _ in 0..3 {
                let mut piece = [0; 2];
                near.read_exact(&mut piece).await.unwrap();
                said.lock().unwrap().push_str(std::str::from_utf8(&piece).unwrap());
                wake.send(()).await.unwrap();
            }
        });
        let saw = Arc::clone(&happened);
        let stream = tokio::spawn(async move {
            while woken.recv().await.is_some() {
                saw.lock().unwrap().push('-');
            }
        });
        reader.await.unwrap();
        stream.await.unwrap();
        assert_eq!(*happened.lock().unwrap(), "ab-cd-ef-");
    }
}
