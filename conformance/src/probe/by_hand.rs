//! A connection by hand on which calls and PINGs go side by side: every frame that comes is counted, and what HTTP/2 asks to be
//! acknowledged is acknowledged.

use std::time::{Duration, Instant};

use ai_inference_proto::GenerationRequest;

use super::{
    Probe, Record,
    wire::{
        Observer as _, Raw,
        frames::{
            ACK, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, SETTINGS, WINDOW_UPDATE, frame,
            message,
        },
    },
};
use crate::verdict::{Judgement, NotPassed};

/// SETTINGS_INITIAL_WINDOW_SIZE: as large as can be, so that no window is ever full.
const LARGEST_WINDOW: [u8; 6] = [0, 4, 0x7f, 0xff, 0xff, 0xff];
/// The same for the connection, which begins with 65,535 bytes.
const MORE: u32 = 0x7fff_ffff - 65_535;
const PAYLOAD: [u8; 8] = *b"conforms";

/// The connection.
#[derive(Debug)]
pub struct ByHand {
    raw: Raw,
    record: Record,
    call: u32,
    stream: u32,
    answers: usize,
    pongs: usize,
    settled: bool,
    over: bool,
    goodbye: Option<String>,
}

impl Probe {
    /// A new connection by hand, whose windows are never full.
    pub async fn by_hand(&self) -> Result<ByHand, NotPassed> {
        let raw = self.connect_by_hand(&LARGEST_WINDOW).await?;
        let call = self.record.next_call();
        self.record.sent(call, "a connection by hand".to_owned());
        let mut hand = ByHand {
            raw,
            record: self.record.clone(),
            call,
            stream: 0,
            answers: 0,
            pongs: 0,
            settled: false,
            over: true,
            goodbye: None,
        };
        hand.send(&frame(WINDOW_UPDATE, 0, 0, &MORE.to_be_bytes())).await;
        Ok(hand)
    }
}

impl ByHand {
    /// Opens a StreamPredict call and sends nothing on it.
    pub async fn open(&mut self, probe: &Probe) {
        self.stream = if self.stream == 0 { 1 } else { self.stream + 2 };
        self.over = false;
        let block = probe.block(&self.raw, "StreamPredict");
        self.record.sent(self.call, "call StreamPredict".to_owned());
        self.send(&frame(HEADERS, END_HEADERS, self.stream, &block)).await;
    }

    /// Starts a generation on a call of its own.
    pub async fn begin(&mut self, probe: &Probe, request: GenerationRequest) {
        self.open(probe).await;
        let bytes = probe.dialect().encode_request(request);
        self.send(&message(END_STREAM, self.stream, &bytes)).await;
    }

    /// Frames of calls, HEADERS and DATA, that have come so far.
    pub fn answers(&self) -> usize {
        self.answers
    }

    /// Whether the last call has ended.
    pub fn over(&self) -> bool {
        self.over
    }

    /// How the target has ended the connection, if it has.
    pub fn ended(&self) -> Option<&str> {
        self.goodbye.as_deref()
    }

    /// Inconclusive where the target has said goodbye without an error: it may, whenever it likes.
    pub fn is_no_goodbye(&self) -> Judgement {
        match self.ended() {
            Some(how) if how.starts_with(GRACEFUL) => Err(NotPassed::Inconclusive(format!(
                "the target ended the connection without an error ({how}): how it takes PINGs is not seen"
            ))),
            _ => Ok(()),
        }
    }

    /// Reads until `done`, for so long at most; whether it came to that. The connection's end is the end of waiting.
    pub async fn until(&mut self, within: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let deadline = Instant::now() + within;
        while !done(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.raw.next(left).await {
                Some(frame) => self.came(&frame).await,
                None if self.raw.closed() => {
                    self.goodbye.get_or_insert_with(|| "closed by the target".to_owned());
                    return done(self);
                }
                None => return false,
            }
            if self.goodbye.is_some() {
                return done(self);
            }
        }
        true
    }

    /// Sends a PING and waits for its acknowledgement; how long it took.
    pub async fn ping(&mut self, within: Duration) -> Option<Duration> {
        let (began, before) = (Instant::now(), self.pongs);
        self.record.sent(self.call, "PING".to_owned());
        self.send(&frame(PING, 0, 0, &PAYLOAD)).await;
        self.until(within, |hand| hand.pongs > before).await.then(|| began.elapsed())
    }

    async fn came(&mut self, frame: &Frame) {
        match frame.kind {
            // The target's first ones were acknowledged when the connection was opened.
            SETTINGS if frame.flags & ACK == 0 && !self.settled => self.settled = true,
            SETTINGS if frame.flags & ACK == 0 => self.send(&acknowledged(SETTINGS, &[])).await,
            PING if frame.flags & ACK == 0 => self.send(&acknowledged(PING, &frame.payload)).await,
            PING => {
                self.pongs += 1;
                self.record.received(self.call, "PING, acknowledged".to_owned());
            }
            DATA | HEADERS => self.answers += 1,
            GOAWAY => {
                let goodbye = goodbye(frame);
                self.record.received(self.call, goodbye.clone());
                self.goodbye = Some(goodbye);
            }
            _ => {}
        }
        if frame.stream == self.stream && frame.ends_stream() {
            self.over = true;
        }
    }

    /// What cannot be sent shows in how the connection has ended.
    async fn send(&mut self, bytes: &[u8]) {
        if let Err(error) = self.raw.send(bytes).await
            && self.raw.closed()
        {
            self.goodbye.get_or_insert_with(|| format!("closed by the target ({error})"));
        }
    }
}

fn acknowledged(kind: u8, payload: &[u8]) -> Vec<u8> {
    frame(kind, ACK, 0, payload)
}

/// A GOAWAY without an error, in words.
const GRACEFUL: &str = "GOAWAY NO_ERROR";

/// A GOAWAY in words.
fn goodbye(frame: &Frame) -> String {
    let goodbye = match frame.code() {
        Some(0) => GRACEFUL.to_owned(),
        Some(11) => "GOAWAY ENHANCE_YOUR_CALM".to_owned(),
        Some(code) => format!("GOAWAY with the error code {code}"),
        None => "GOAWAY without an error code".to_owned(),
    };
    match String::from_utf8_lossy(frame.payload.get(8..).unwrap_or_default()) {
        more if more.is_empty() => goodbye,
        more => format!("{goodbye} {}", super::quote(&more, 60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goodbye_is_told_in_words() {
        let goaway =
            |payload: &[u8]| goodbye(&Frame { kind: GOAWAY, flags: 0, stream: 0, payload: payload.to_vec() });
        assert_eq!(goaway(&[0, 0, 0, 0, 0, 0, 0, 0]), "GOAWAY NO_ERROR");
        let calm = [&[0, 0, 0, 0, 0, 0, 0, 11][..], b"too_many_pings"].concat();
        assert_eq!(goaway(&calm), "GOAWAY ENHANCE_YOUR_CALM \"too_many_pings\"");
    }
}
