//! Target `http2`: all bytes of a connection. Valid, mutated and cut frames, in any order.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ai_inference_proto::{Dialect, GenerationRequest, Sampling};
use rand::{RngExt as _, rngs::StdRng};
use testkit::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, frame, literal,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};

use crate::{
    bytes::{self, pick},
    campaign::Target,
    sidecar::Sidecar,
};

/// The fuzz target that sends raw HTTP/2 frames.
#[derive(Clone)]
pub struct Http2 {
    sidecar: Arc<Sidecar>,
}

impl Http2 {
    /// Against this sidecar.
    pub const fn new(sidecar: Arc<Sidecar>) -> Self {
        Self { sidecar }
    }
}

impl Target for Http2 {
    const NAME: &'static str = "http2";

    fn generate(&self, rng: &mut StdRng) -> Vec<u8> {
        let frames = (0..rng.random_range(1..12)).flat_map(|number| match rng.random_range(0..3) {
            0 => call(rng, number * 2 + 1),
            _ => anything(rng),
        });
        let mut input = PREFACE.to_vec();
        input.extend(frame(SETTINGS, 0, 0, &[]));
        input.extend(frames);
        input
    }

    fn mutate(&self, rng: &mut StdRng, input: &[u8], other: &[u8]) -> Vec<u8> {
        if rng.random_bool(0.15) {
            let mut input = input.to_owned();
            bytes::mutate(rng, &mut input, other);
            return input;
        }
        let mut frames = split(input);
        let others = split(other);
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..=frames.len());
            match rng.random_range(0..7) {
                0 if at < frames.len() => drop(frames.remove(at)),
                1 if at < frames.len() => {
                    let copies = rng.random_range(1..20);
                    frames.splice(at..at, vec![frames[at].clone(); copies]);
                }
                2 if at > 0 && at < frames.len() => frames.swap(at - 1, at),
                // A field of the head: length, type, flags or stream.
                3 if at < frames.len() => {
                    let byte = rng.random_range(0..frames[at].len().min(9));
                    frames[at][byte] = rng.random();
                }
                4 if at < frames.len() && frames[at].len() > 9 => {
                    let byte = rng.random_range(9..frames[at].len());
                    frames[at][byte] ^= 1 << rng.random_range(0..8);
                }
                5 if !others.is_empty() => frames.insert(at, pick(rng, &others).clone()),
                _ => frames.insert(at, anything(rng)),
            }
        }
        let mut mutated = PREFACE.to_vec();
        mutated.extend(frames.into_iter().flatten());
        mutated.truncate(LONGEST);
        mutated
    }

    async fn execute(&self, input: Vec<u8>) -> Result<String, String> {
        let mut stream = UnixStream::connect(&self.sidecar.socket)
            .await
            .map_err(|error| format!("the sidecar takes no connection: {error}"))?;
        // It may hang up in the middle.
        let cut = stream.write_all(&input).await.is_err();
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        let closed = loop {
            match timeout(QUIET, stream.read(&mut chunk)).await {
                Err(_) => break false,
                Ok(Ok(read)) if read > 0 && answer.len() < ENOUGH => answer.extend_from_slice(&chunk[..read]),
                Ok(Ok(read)) if read > 0 => break false,
                Ok(_) => break true,
            }
        };
        let answered: BTreeSet<String> = split_frames(&answer).iter().map(|frame| behaviour(frame)).collect();
        let answered: Vec<_> = answered.into_iter().collect();
        Ok(format!("{cut} {closed} {}", answered.join(" ")))
    }

    async fn check(&self) -> Result<(), String> {
        self.sidecar.check().await
    }
}

/// A frame's kind; with the error's code where it has one.
fn behaviour(frame: &[u8]) -> String {
    let code = |at: usize| frame.get(at..at + 4).map_or(0, |code| code[3]);
    match frame[3] {
        RST_STREAM => format!("reset:{}", code(9)),
        GOAWAY => format!("goaway:{}", code(13)),
        kind => format!("{kind}:{}", frame[4]),
    }
}

/// Frames behind the preface; bytes that are none stay together.
fn split(input: &[u8]) -> Vec<Vec<u8>> {
    split_frames(input.strip_prefix(PREFACE).unwrap_or(input))
}

fn split_frames(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while bytes.len() >= 9 {
        let length = 9 + (usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]));
        let (frame, rest) = bytes.split_at(length.min(bytes.len()));
        frames.push(frame.to_vec());
        bytes = rest;
    }
    frames
}

/// A whole call, as clients send it.
fn call(rng: &mut StdRng, stream: u32) -> Vec<u8> {
    let message = if rng.random_bool(0.5) {
        let sampling = Sampling { max_new_tokens: rng.random_range(1..60), ..Sampling::default() };
        let prompt = "Hello".to_owned();
        Dialect::Contract.encode_request(GenerationRequest {
            prompt,
            sampling: Some(sampling),
            ..Default::default()
        })
    } else {
        (0..rng.random_range(0..30)).map(|_| rng.random()).collect()
    };
    let length = (message.len() as u32).to_be_bytes();
    let body = [&[u8::from(rng.random_bool(0.1))][..], &length, &message].concat();
    let cut = rng.random_range(0..=body.len());
    let head = frame(HEADERS, END_HEADERS, stream, &block(rng));
    let (first, second) =
        (frame(DATA, 0, stream, &body[..cut]), frame(DATA, END_STREAM, stream, &body[cut..]));
    [head, first, second].concat()
}

/// A header block: the right one, more often than not.
fn block(rng: &mut StdRng) -> Vec<u8> {
    let mut fields = vec![vec![0x83], vec![0x86]];
    fields.push(one_of(rng, ":path", &PATHS));
    fields.push(one_of(rng, ":authority", &["localhost", "tmp%2Fa.sock", ""]));
    fields.push(one_of(rng, "content-type", &["application/grpc", "application/grpc", "text/html"]));
    fields.push(literal("te", "trailers"));
    if rng.random_bool(0.4) {
        fields.push(one_of(rng, "grpc-timeout", &["1S", "0n", "99999999H", "1", "-1S", "1é"]));
    }
    if rng.random_bool(0.2) {
        fields.push(one_of(rng, "grpc-encoding", &["gzip", "identity", "nonsense"]));
    }
    if rng.random_bool(0.3) {
        fields.insert(rng.random_range(0..=fields.len()), pick(rng, &PIECES).to_vec());
    }
    if rng.random_bool(0.1) {
        fields.remove(rng.random_range(0..fields.len()));
    }
    fields.concat()
}

fn one_of(rng: &mut StdRng, name: &str, values: &[&str]) -> Vec<u8> {
    literal(name, pick::<&str>(rng, values))
}

/// Any frame, of the right shape more often than not.
fn anything(rng: &mut StdRng) -> Vec<u8> {
    let stream = *pick(rng, &[0, 1, 1, 3, 3, 5, 2, 0x7fff_ffff, 0xffff_ffff]);
    let noise: Vec<u8> = (0..rng.random_range(0..40)).map(|_| rng.random()).collect();
    let number = *pick(rng, &[0_u32, 1, 8, 0xffff, 0x4000, 0x7fff_ffff, 0xffff_ffff]);
    let (kind, payload) = match rng.random_range(0..12) {
        0 => (DATA, noise),
        1 => (HEADERS, block(rng)),
        // PRIORITY, also on itself.
        2 => (2, [&number.to_be_bytes()[..], &[16]].concat()),
        3 => (RST_STREAM, number.to_be_bytes().to_vec()),
        4 => {
            let setting = |rng: &mut StdRng| {
                let id: u16 = rng.random_range(0..8);
                [&id.to_be_bytes()[..], &pick(rng, &[0_u32, 1, 0x4000, 0xffff_ffff]).to_be_bytes()].concat()
            };
            (SETTINGS, (0..rng.random_range(0..4)).flat_map(|_| setting(rng)).collect())
        }
        // PUSH_PROMISE, which no client may send.
        5 => (5, [number.to_be_bytes().to_vec(), block(rng)].concat()),
        6 => (PING, vec![7; 8]),
        7 => (GOAWAY, [0, 0, 0, 1].into_iter().chain(number.to_be_bytes()).collect()),
        8 => (WINDOW_UPDATE, number.to_be_bytes().to_vec()),
        9 => (CONTINUATION, block(rng)),
        _ => (rng.random(), noise),
    };
    let flags = *pick(rng, &[0, 1, 4, 5, 8, 0x20, 0x2d, 0xff]);
    frame(kind, flags, stream, &payload)
}

const PATHS: [&str; 8] = [
    "/AiInference/StreamPredict",
    "/AiInference/StreamPredict",
    "/cy.llm.AiInference/StreamPredict",
    "/AiInference/Control",
    "/AiInference/Health",
    "/grpc.health.v1.Health/Watch",
    "/nobody/knows",
    "*",
];
/// HPACK: an index out of every table, table sizes, Huffman code of nothing, lengths that lie, an integer that overflows.
const PIECES: [&[u8]; 8] = [
    &[0xff, 0xff, 0x7f],
    &[0x20],
    &[0x3f, 0xff, 0xff, 0x7f],
    &[0x40, 0x81, 0xff, 0x81, 0xff],
    &[0x40, 0x7f, 0xff, 0x7f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x80],
    &[0x40, 1, b'X', 1, 0],
];
/// Silence after which nothing more is expected: it answers within microseconds, and batches run side by side.
const QUIET: Duration = Duration::from_millis(25);
/// Most bytes that are read of an answer.
const ENOUGH: usize = 256 << 10;
/// Most bytes of an input.
const LONGEST: usize = 4 << 10;
