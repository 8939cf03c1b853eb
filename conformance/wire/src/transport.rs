//! A stream of bytes to the target: a Unix socket, TCP, or TLS on TCP. HTTP/2 on it is [`crate::Connection`]'s.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::{error::Elapsed, timeout},
};

use crate::{address::Address, empty_frames::EmptyFrames, shown::time, tls::Tls};

/// A connection's bytes, whatever carries them.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Transport for T {}

/// Connects; each step, the connection and the TLS handshake, takes at most `patience`. Empty DATA frames of HTTP/2 that come
/// in are left out.
pub async fn dial(address: &Address, tls: &Tls, patience: Duration) -> io::Result<Box<dyn Transport>> {
    let late = |step: &'static str| {
        move |_: Elapsed| {
            io::Error::new(io::ErrorKind::TimedOut, format!("no {step} within {}", time(patience)))
        }
    };
    match address {
        Address::Unix(path) => {
            let stream = timeout(patience, UnixStream::connect(path)).await.map_err(late("connection"))??;
            Ok(Box::new(EmptyFrames::left_out(stream)))
        }
        Address::Tcp { host, port } => {
            let stream = timeout(patience, tcp(host, *port)).await.map_err(late("connection"))??;
            Ok(Box::new(EmptyFrames::left_out(stream)))
        }
        Address::Tls { host, port } => {
            let stream = timeout(patience, tcp(host, *port)).await.map_err(late("connection"))??;
            let stream =
                timeout(patience, tls.handshake(stream, host)).await.map_err(late("TLS handshake"))??;
            Ok(Box::new(EmptyFrames::left_out(stream)))
        }
    }
}

/// Whether a server takes connections there, whatever protocol it speaks.
pub async fn takes_connections(address: &Address, patience: Duration) -> bool {
    let taken = match address {
        Address::Unix(path) => timeout(patience, UnixStream::connect(path)).await.map(|c| c.is_ok()),
        Address::Tcp { host, port } | Address::Tls { host, port } => {
            timeout(patience, tcp(host, *port)).await.map(|c| c.is_ok())
        }
    };
    taken.unwrap_or(false)
}

pub(crate) async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
