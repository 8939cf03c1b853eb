//! One page over plain HTTP/1.1: as much of a scraper as a benchmark needs.

use std::{fmt, io, str::FromStr, time::Duration};

use bytes::Bytes;
use http::{Request, Uri, header::HOST};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// A URL of the form `http://host:port/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    host: String,
    port: u16,
    path: String,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || "expected http://host:port/metrics, without TLS and without credentials".to_owned();
        let uri: Uri = text.parse().map_err(|_| bad())?;
        let authority =
            uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(bad)?;
        if uri.scheme_str() != Some("http") || authority.host().is_empty() {
            return Err(bad());
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { host: authority.host().to_owned(), port: authority.port_u16().unwrap_or(80), path })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}{}", self.host, self.port, self.path)
    }
}

impl Url {
    /// The page's text.
    pub async fn fetch(&self) -> io::Result<String> {
        let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {PATIENCE:?}"));
        timeout(PATIENCE, self.get()).await.map_err(|_| late())?
    }

    async fn get(&self) -> io::Result<String> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, self.port)).await?;
        let (mut requests, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let request = Request::get(&self.path)
            .header(HOST, format!("{}:{}", self.host, self.port))
            .body(Empty::<Bytes>::new())
            .map_err(io::Error::other)?;
        let exchange = async {
            let response = requests.send_request(request).await.map_err(io::Error::other)?;
            if !response.status().is_success() {
                return Err(io::Error::other(format!("HTTP {}", response.status().as_u16())));
            }
            let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
            let body = body.map_err(io::Error::other)?.to_bytes();
            String::from_utf8(body.into()).map_err(io::Error::other)
        };
        tokio::select! {
            text = exchange => text,
            // A connection may end while its last bytes are still to be read; the exchange says what is missing.
            Err(error) = connection => Err(io::Error::other(error)),
        }
    }
}

/// A scraper's usual patience.
const PATIENCE: Duration = Duration::from_secs(10);
/// Ten times what a large server shows.
const MOST_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_pages_are_taken() {
        for (text, shown) in [
            ("http://localhost:9464/metrics", "http://localhost:9464/metrics"),
            ("http://[::1]:9464/metrics?a=b", "http://[::1]:9464/metrics?a=b"),
            ("http://host", "http://host:80/"),
        ] {
            assert_eq!(text.parse::<Url>().unwrap().to_string(), shown);
        }
        for text in
            ["https://host/metrics", "localhost:9464/metrics", "http://user:word@host/", "", "http://"]
        {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
    }
}
