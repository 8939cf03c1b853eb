//! A connection that sends what it is told to, and shows every frame that comes.

use std::{fmt, io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    address::Address,
    frames::{ACK, Frame, PING, PREFACE, SETTINGS, frame},
    tls::Tls,
    transport::{Transport, dial},
};

/// Frames that wait to be looked at; when there are more, the reader stops and so does the target.
const WAITING: usize = 4096;

/// An HTTP/2 connection by hand. Frames are read as they come; acknowledgements of SETTINGS and PING are the caller's to
/// send, but for [`Raw::open`]'s own.
pub struct Raw {
    writer: WriteHalf<Box<dyn Transport>>,
    frames: mpsc::Receiver<Frame>,
    reader: JoinHandle<()>,
    authority: String,
    patience: Duration,
}

impl Raw {
    /// Connects, says hello with these SETTINGS and acknowledges the target's. Each step takes at most `patience`.
    pub async fn open(address: &Address, tls: &Tls, settings: &[u8], patience: Duration) -> io::Result<Self> {
        let (reader, writer) = split(dial(address, tls, patience).await?);
        let (sender, frames) = mpsc::channel(WAITING);
        let reader = tokio::spawn(read(reader, sender));
        let mut raw = Self { writer, frames, reader, authority: address.authority(), patience };
        raw.send(&[PREFACE, &frame(SETTINGS, 0, 0, settings), &frame(SETTINGS, ACK, 0, &[])].concat())
            .await?;
        Ok(raw)
    }

    /// The `:authority` of calls on it.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Sends bytes as they are. A target that takes nothing for as long as the patience is an error.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sending = async {
            self.writer.write_all(bytes).await?;
            self.writer.flush().await
        };
        timeout(self.patience, sending).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// The next frame; `None` at the connection's end, and after `within`.
    pub async fn next(&mut self, within: Duration) -> Option<Frame> {
        timeout(within, self.frames.recv()).await.ok().flatten()
    }

    /// Whether the target has closed the connection and all its frames have been looked at.
    pub fn closed(&self) -> bool {
        self.reader.is_finished() && self.frames.is_empty()
    }

    /// Sends a PING and waits for its acknowledgement; frames that come before it are lost. How long it took.
    pub async fn ping(&mut self, within: Duration) -> io::Result<Option<Duration>> {
        let began = std::time::Instant::now();
        let payload: [u8; 8] = *b"conforms";
        self.send(&frame(PING, 0, 0, &payload)).await?;
        while let Some(left) = within.checked_sub(began.elapsed()) {
            match self.next(left).await {
                Some(frame) if frame.kind == PING && frame.flags & ACK != 0 && frame.payload == payload => {
                    return Ok(Some(began.elapsed()));
                }
                Some(_) => {}
                None => break,
            }
        }
        Ok(None)
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Raw({}, closed: {})", self.authority, self.closed())
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(mut reader: ReadHalf<Box<dyn Transport>>, frames: mpsc::Sender<Frame>) {
    let mut head = [0; 9];
    while reader.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = Vec::new();
        let mut body = (&mut reader).take(length as u64);
        if body.read_to_end(&mut payload).await.is_err() || payload.len() < length {
            return;
        }
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        if frames.send(Frame { kind: head[3], flags: head[4], stream, payload }).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_server_answers_the_hello_and_a_ping() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            let mut connection = h2::server::handshake(listener.accept().await.unwrap().0).await.unwrap();
            while connection.accept().await.is_some() {}
        });
        let (address, limit) = (Address::Tcp { host: "127.0.0.1".into(), port }, Duration::from_secs(10));
        let mut raw = Raw::open(&address, &Tls::default(), &[], limit).await.unwrap();
        assert_eq!(raw.next(limit).await.unwrap().kind, SETTINGS);
        assert!(raw.ping(limit).await.unwrap().is_some());
        assert!(!raw.closed());
        serving.abort();
        while raw.next(limit).await.is_some() {}
        assert!(raw.frames.is_closed(), "the end is seen");
    }
}
