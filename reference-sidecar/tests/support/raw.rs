//! HTTP/2 by hand: the frames that no client library sends.

use std::{
    io::{self, Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Frame types of HTTP/2.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
const GOAWAY: u8 = 7;

/// Flags of HTTP/2 frames.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A connection that says what it is told to.
pub(crate) struct Raw {
    stream: UnixStream,
    reader: Option<JoinHandle<()>>,
    goaway: Arc<Mutex<Option<u32>>>,
    /// Bytes that the server lets the connection send.
    window: Arc<AtomicI64>,
}

impl Raw {
    /// Connected, and silent.
    pub(crate) fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        // A server that stops reading must not hang the test.
        stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        let window = Arc::new(AtomicI64::new(65_535));
        Self { stream, reader: None, goaway: Arc::default(), window }
    }

    /// Reads along, so that the server never has to wait; remembers a GOAWAY.
    pub(crate) fn reading(mut self) -> Self {
        let (goaway, window) = (Arc::clone(&self.goaway), Arc::clone(&self.window));
        let mut stream = self.stream.try_clone().unwrap();
        self.reader = Some(thread::spawn(move || {
            let mut head = [0; 9];
            while stream.read_exact(&mut head).is_ok() {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                let mut payload = vec![0; length];
                if stream.read_exact(&mut payload).is_err() {
                    return;
                }
                if head[3] == WINDOW_UPDATE && head[5..] == [0; 4] {
                    let more = u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]]);
                    window.fetch_add(i64::from(more), Ordering::Relaxed);
                }
                if head[3] == GOAWAY && length >= 8 {
                    let code = u32::from_be_bytes([payload[4], payload[5], payload[6], payload[7]]);
                    *goaway.lock().unwrap() = Some(code);
                }
            }
        }));
        self
    }

    /// The preface, with these settings.
    pub(crate) fn hello(mut self, settings: &[u8]) -> Self {
        self.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        self.send(&frame(SETTINGS, 0, 0, settings)).unwrap();
        self
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Waits until the server takes so many bytes of DATA. False when it took none for seconds.
    pub(crate) fn wait_for_window(&self, bytes: usize) -> bool {
        for _ in 0..2000 {
            if self.window.load(Ordering::Relaxed) >= bytes as i64 {
                self.window.fetch_sub(bytes as i64, Ordering::Relaxed);
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// The error code of the GOAWAY with which the server ended the connection; `None` while it goes on after `wait`.
    pub(crate) fn ended(mut self, wait: Duration) -> Option<u32> {
        let reader = self.reader.take().expect("it reads along");
        for _ in 0..wait.as_millis() / 10 {
            if reader.is_finished() {
                reader.join().unwrap();
                return Some(self.goaway.lock().unwrap().unwrap_or_default());
            }
            thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// The time until the server closes a connection on which it is told nothing more.
    pub(crate) fn closed_after(mut self) -> Duration {
        let began = std::time::Instant::now();
        self.stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        while !matches!(self.stream.read(&mut [0; 1024]), Ok(0) | Err(_)) {}
        began.elapsed()
    }
}

/// The reader has the same socket: closing one end of the two would close nothing.
impl Drop for Raw {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// The bytes of one frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A gRPC call's headers; the name of the method is all that varies.
pub(crate) fn headers(flags: u8, stream: u32, path: &str) -> Vec<u8> {
    let literal = |name: &str, value: &str| {
        [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
    };
    let block = [
        vec![0x83, 0x86],
        literal(":path", path),
        literal(":authority", "localhost"),
        literal("content-type", "application/grpc"),
        literal("te", "trailers"),
    ];
    frame(HEADERS, flags, stream, &block.concat())
}

/// A gRPC message, as DATA frames.
pub(crate) fn message(flags: u8, stream: u32, message: &[u8]) -> Vec<u8> {
    let framed = [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat();
    let chunks: Vec<_> = framed.chunks(16_384).collect();
    let last = chunks.len() - 1;
    let flags = |at: usize| if at == last { flags } else { 0 };
    chunks.iter().enumerate().flat_map(|(at, chunk)| frame(DATA, flags(at), stream, chunk)).collect()
}
