//! A proxy of HTTP/2 that has the habits of public ones: it says goodbye after some requests, refuses the first stream of a
//! connection, and sends empty DATA frames.

use std::future::poll_fn;

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client, server};
use http::{Request, Response};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use wire::Address;

/// What a proxy does that a client must live with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Habits {
    /// A graceful GOAWAY after so many requests of a connection; 0 for never.
    pub(crate) requests: usize,
    /// The first stream of each connection is refused.
    pub(crate) refuses_first: bool,
    /// Empty DATA frames before each one that holds something.
    pub(crate) empty_frames: usize,
}

/// A running proxy; it stops when dropped.
pub(crate) struct Proxy {
    pub(crate) address: Address,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Habits {
    /// Serves in front of `behind`.
    pub(crate) async fn before(self, behind: &Address) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let behind = behind.authority();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(self.converse(stream, behind.clone()));
            }
        });
        Proxy { address, task }
    }

    async fn converse(self, stream: TcpStream, behind: String) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut front = server::handshake(stream).await.ok()?;
        let mut calls = JoinSet::new();
        let mut taken = 0;
        while let Some(Ok((request, mut respond))) = front.accept().await {
            taken += 1;
            if self.refuses_first && taken == 1 {
                respond.send_reset(Reason::REFUSED_STREAM);
                continue;
            }
            if self.requests > 0 && taken >= self.requests {
                front.graceful_shutdown();
            }
            calls.spawn(self.relay(request, respond, behind.clone()));
        }
        calls.join_all().await;
        Some(())
    }

    async fn relay(
        self,
        request: Request<RecvStream>,
        mut respond: server::SendResponse<Bytes>,
        behind: String,
    ) -> Option<()> {
        let (head, body) = request.into_parts();
        // A connection for each call: what the one side of the proxy does to a connection is nothing to the other.
        let back = TcpStream::connect(behind).await.ok()?;
        back.set_nodelay(true).ok()?;
        let (requests, connection) = client::handshake(back).await.ok()?;
        let _back = AbortOnDrop(tokio::spawn(async move {
            let _ = connection.await;
        }));
        let mut requests = requests.ready().await.ok()?;
        let (response, send) = requests.send_request(Request::from_parts(head, ()), false).ok()?;
        let up = tokio::spawn(pump(body, send, 0));
        let answered = tokio::select! {
            response = response => response,
            _ = poll_fn(|cx| respond.poll_reset(cx)) => {
                up.abort(); // the client has cancelled: so does the proxy, by dropping the call
                return None;
            }
        };
        let (head, body) = match answered {
            Ok(response) => response.into_parts(),
            Err(error) => {
                respond.send_reset(error.reason().unwrap_or(Reason::INTERNAL_ERROR));
                return None;
            }
        };
        let send = respond.send_response(Response::from_parts(head, ()), body.is_end_stream()).ok()?;
        pump(body, send, self.empty_frames).await;
        up.abort();
        Some(())
    }
}

/// Passes a body on, with its trailers, until either side ends it.
async fn pump(mut body: RecvStream, mut send: SendStream<Bytes>, empty_frames: usize) -> Option<()> {
    loop {
        let data = tokio::select! {
            data = body.data() => data,
            _ = poll_fn(|cx| send.poll_reset(cx)) => return None,
        };
        match data {
            Some(Ok(data)) => {
                let _ = body.flow_control().release_capacity(data.len());
                for _ in 0..empty_frames {
                    send.send_data(Bytes::new(), false).ok()?;
                }
                send.send_data(data, false).ok()?;
            }
            Some(Err(error)) => {
                send.send_reset(error.reason().unwrap_or(Reason::CANCEL));
                return None;
            }
            None => break,
        }
    }
    match body.trailers().await {
        Ok(Some(trailers)) => send.send_trailers(trailers).ok()?,
        _ => send.send_data(Bytes::new(), true).ok()?,
    }
    Some(())
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
