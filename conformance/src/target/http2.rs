//! Whether an HTTP/2 server answers at an address. A port that is published or forwarded takes connections long before the
//! server behind it does.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use wire::{Address, takes_connections};

/// Whether a server there begins a connection as HTTP/2 asks: with its settings. With TLS, whether it takes connections.
pub(super) async fn answers_http2(address: &Address) -> bool {
    let asked = async {
        match address {
            Address::Unix(path) => greets(UnixStream::connect(path).await?).await,
            Address::Tcp { host, port } => greets(TcpStream::connect((host.as_str(), *port)).await?).await,
            Address::Tls { .. } => Ok(takes_connections(address, ANSWER_LIMIT).await),
        }
    };
    matches!(timeout(ANSWER_LIMIT, asked).await, Ok(Ok(true)))
}

async fn greets(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<bool> {
    stream.write_all(PREFACE).await?;
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    Ok(head[3] == SETTINGS)
}

/// The client's greeting and its empty settings (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The type of the frame that a server begins with.
const SETTINGS: u8 = 4;
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
