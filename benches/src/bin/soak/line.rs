//! A line with a delay, in front of a server.

use std::{io, path::PathBuf, time::Duration};

use testkit::fresh_socket;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

/// Takes connections on a socket of its own until it is dropped.
pub(crate) struct Line {
    socket: PathBuf,
    accepts: JoinHandle<()>,
}

impl Line {
    /// To a server on a Unix socket, `one_way` long.
    pub(crate) fn open(address: &str, one_way: Duration) -> io::Result<Self> {
        let to = address.strip_prefix("unix://").ok_or(io::ErrorKind::Unsupported)?.to_owned();
        let socket = fresh_socket();
        let listener = UnixListener::bind(&socket)?;
        let accepts = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = UnixStream::connect(&to).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(carry(from_client, to_server, one_way));
                tokio::spawn(carry(from_server, to_client, one_way));
            }
        });
        Ok(Self { socket, accepts })
    }

    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.accepts.abort();
        let _ = std::fs::remove_file(&self.socket);
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin + Send + 'static,
    mut into: impl AsyncWrite + Unpin + Send + 'static,
    one_way: Duration,
) {
    let (sent, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    tokio::spawn(async move {
        while let Some((due, bytes)) = arriving.recv().await {
            sleep_until(due).await;
            if into.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = into.shutdown().await;
    });
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if sent.send((Instant::now() + one_way, buffer[..read].to_vec())).await.is_err() {
            return;
        }
    }
}

/// Pieces on the line.
const UNDER_WAY: usize = 1024;
