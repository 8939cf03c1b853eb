//! Why a target cannot be spoken to: dials it anew, both ways, and listens. Guesses nothing: what it says, it has seen.
//!
//! An error alone does not tell. A server that hears TLS where it expects plain HTTP/2, or the reverse, answers as it
//! likes: with an alert, with garbage, with a reset, or not at all.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::{
    address::Address,
    tls::Tls,
    tls_errors::{explained, speaks_tls},
    transport::{dial, tcp},
};

/// A server that speaks at all has spoken by then.
const LISTENING: Duration = Duration::from_secs(2);
/// The client's half of HTTP/2's opening: the preface, and SETTINGS without any.
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// What is wrong between the suite and the target, as far as another look shows.
pub async fn diagnose(address: &Address, tls: &Tls) -> Option<String> {
    match address {
        Address::Unix(_) => None,
        Address::Tcp { host, port } => within(answers_tls(host, *port)).await.then(|| {
            format!(
                "the target speaks TLS, and was spoken to in plain HTTP/2; write --target https://{address}"
            )
        }),
        Address::Tls { host, port } => {
            let error = refusal(address, tls).await.err()?;
            if speaks_tls(&error) || !within(answers_plain(host, *port)).await {
                return explained(&error).map(str::to_owned);
            }
            let plain = Address::Tcp { host: host.clone(), port: *port };
            Some(format!("the target speaks plain HTTP/2, and was spoken to in TLS; write --target {plain}"))
        }
    }
}

/// What answers at an address that gave no gRPC answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// It speaks HTTP/2.
    Http2,
    /// It speaks HTTP/1.
    Http1,
    /// Bytes that are neither.
    Other,
    /// Nothing: the connection is closed at once.
    HangsUp,
    /// Nothing: the connection stays open.
    Silent,
}

/// Opens HTTP/2 and, where that gets no answer of HTTP/2, asks as an HTTP/1 client does.
pub async fn speaks(address: &Address, tls: &Tls) -> Speaks {
    let opened = answer(address, tls, OPENING).await;
    if let Answer::Bytes(bytes) = &opened
        && matches!(bytes[..], [_, _, _, 0x4 | 0x7, _, 0, 0, 0, 0, ..])
    {
        return Speaks::Http2;
    }
    let host = address.authority();
    let question = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let asked = answer(address, tls, question.as_bytes()).await;
    let http_1 = |answer: &Answer| matches!(answer, Answer::Bytes(bytes) if bytes.starts_with(b"HTTP/1"));
    match (&opened, &asked) {
        _ if http_1(&opened) || http_1(&asked) => Speaks::Http1,
        (Answer::Bytes(_), _) | (_, Answer::Bytes(_)) => Speaks::Other,
        (Answer::Closed, _) => Speaks::HangsUp,
        (Answer::Nothing, _) => Speaks::Silent,
    }
}

enum Answer {
    Bytes(Vec<u8>),
    Closed,
    Nothing,
}

/// Sends `bytes` on a connection of its own and reads the first bytes of the answer.
async fn answer(address: &Address, tls: &Tls, bytes: &[u8]) -> Answer {
    let look = async {
        let mut stream = dial(address, tls, LISTENING).await?;
        stream.write_all(bytes).await?;
        let mut first = Vec::new();
        let mut part = [0; 64];
        while first.len() < 9 {
            match stream.read(&mut part).await? {
                0 => break,
                count => first.extend_from_slice(&part[..count]),
            }
        }
        io::Result::Ok(first)
    };
    match timeout(LISTENING, look).await {
        Ok(Ok(first)) if !first.is_empty() => Answer::Bytes(first),
        Ok(_) => Answer::Closed,
        Err(_) => Answer::Nothing,
    }
}

/// Dials, sends nothing, and waits for a word against it: with TLS 1.3, a server refuses a client after the handshake.
async fn refusal(address: &Address, tls: &Tls) -> io::Result<()> {
    let mut stream = dial(address, tls, LISTENING).await?;
    match timeout(LISTENING, stream.read_u8()).await {
        Ok(Err(error)) => Err(tls.explain(error)),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}

async fn answers_tls(host: &str, port: u16) -> bool {
    let Ok(stream) = tcp(host, port).await else { return false };
    match Tls::trusting_none().handshake(stream, host).await {
        Ok(_) => true,
        Err(error) => speaks_tls(&error),
    }
}

/// Whether the first frame of the answer is HTTP/2's: SETTINGS, or GOAWAY of a server that has none for us.
async fn answers_plain(host: &str, port: u16) -> bool {
    let opening = async {
        let mut stream = tcp(host, port).await?;
        stream.write_all(OPENING).await?;
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        io::Result::Ok(head)
    };
    matches!(opening.await, Ok([_, _, _, 0x4 | 0x7, _, 0, 0, 0, 0]))
}

async fn within(look: impl Future<Output = bool>) -> bool {
    timeout(LISTENING, look).await.unwrap_or(false)
}
