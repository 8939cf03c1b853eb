//! Listens on Unix sockets and TCP ports and serves an endpoint on each connection.

use std::{fmt, io, sync::Arc};

use authority::Lenient;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Notify,
    task::JoinSet,
};

use super::{behaviour::Behaviour, frames::Frames, service::Endpoint, socket::Socket, tls::Tls};
use wire::Address;

/// A running endpoint; it stops when dropped.
pub struct Running {
    /// Where it listens, with the port that it got.
    pub addresses: Vec<Address>,
    listeners: JoinSet<()>, // aborted when dropped
    endpoint: Endpoint,
}

impl Running {
    /// Takes no new work, and stops when what runs has ended.
    pub async fn drain(self) {
        self.endpoint.drain().await;
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Running({:?})", self.addresses)
    }
}

/// Serves `behaviour` on every address; StreamPredict and Control ask for `token` if there is one.
pub async fn serve(
    behaviour: Arc<dyn Behaviour>,
    listen: &[Address],
    token: Option<String>,
) -> io::Result<Running> {
    serve_with_tls(behaviour, listen, token, None).await
}

/// The same, and TLS on `https://` addresses.
pub async fn serve_with_tls(
    behaviour: Arc<dyn Behaviour>,
    listen: &[Address],
    token: Option<String>,
    tls: Option<&Tls>,
) -> io::Result<Running> {
    let endpoint = Endpoint::new(behaviour, token);
    let (mode, replaces) = (endpoint.behaviour.socket_mode(), endpoint.behaviour.replaces_stale_sockets());
    let mut running =
        Running { addresses: Vec::new(), listeners: JoinSet::new(), endpoint: endpoint.clone() };
    for address in listen {
        let endpoint = endpoint.clone();
        match address {
            Address::Unix(path) => {
                let socket = Socket::bind(path, mode, replaces)?;
                running.addresses.push(address.clone());
                running.listeners.spawn(async move {
                    let mut connections = JoinSet::new();
                    while let Ok(stream) = socket.accept().await {
                        connections.spawn(connection(Lenient::new(stream), endpoint.clone()));
                        while connections.try_join_next().is_some() {}
                    }
                });
            }
            Address::Tcp { host, port } => {
                let listener = TcpListener::bind((host.as_str(), *port)).await?;
                let port = listener.local_addr()?.port();
                running.addresses.push(Address::Tcp { host: host.clone(), port });
                running.listeners.spawn(async move {
                    let mut connections = JoinSet::new();
                    while let Ok((stream, _)) = listener.accept().await {
                        let _ = stream.set_nodelay(true);
                        connections.spawn(connection(stream, endpoint.clone()));
                        while connections.try_join_next().is_some() {}
                    }
                });
            }
            Address::Tls { host, port } => {
                let none =
                    || io::Error::new(io::ErrorKind::InvalidInput, "TLS needs a certificate and its key");
                let acceptor = tls.ok_or_else(none)?.acceptor(endpoint.behaviour.asks_for_certificates())?;
                let listener = TcpListener::bind((host.as_str(), *port)).await?;
                let port = listener.local_addr()?.port();
                running.addresses.push(Address::Tls { host: host.clone(), port });
                running.listeners.spawn(async move {
                    let mut connections = JoinSet::new();
                    while let Ok((stream, _)) = listener.accept().await {
                        let _ = stream.set_nodelay(true);
                        let (acceptor, endpoint) = (acceptor.clone(), endpoint.clone());
                        connections.spawn(async move {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                connection(stream, endpoint).await;
                            }
                        });
                        while connections.try_join_next().is_some() {}
                    }
                });
            }
        }
    }
    Ok(running)
}

async fn connection<T>(stream: T, endpoint: Endpoint)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let hang_up = Arc::new(Notify::new());
    let closing = Arc::clone(&hang_up);
    let stream = Frames::watched(stream, Arc::clone(&endpoint.behaviour), Arc::clone(&endpoint.state));
    let service = service_fn(move |request| endpoint.clone().answer(request, Arc::clone(&hang_up)));
    let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(1024)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = serving => {}
        () = closing.notified() => {} // dropping the connection closes it
    }
}
