//! Responses, read as far as a clock needs them.
//!
//! Both dialects number these fields alike, so one reader serves both. It copies nothing: a client that is to stamp a hundred
//! thousand chunks a second has no time to build each message.

use bytes::{Buf as _, BufMut as _, BytesMut};
use wire::{PREFIX, whole};

use super::record::Outcome;

/// The fields of a StreamPredictResponse that are timed or compared.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Chunk<'a> {
    /// The trace_id of the request that it answers.
    pub trace_id: &'a [u8],
    /// UTF-8, if the server is right.
    pub text: &'a [u8],
    /// No other comes after it.
    pub last: bool,
    /// The server's own time to the first token, in the dialect `cy.llm` only.
    pub server_ttft_ms: Option<f32>,
    /// The server's own tokens per second, in the dialect `cy.llm` only.
    pub server_tokens_per_second: Option<f32>,
}

impl<'a> Chunk<'a> {
    /// `None` where the bytes are no protobuf message.
    pub fn read(mut bytes: &'a [u8]) -> Option<Self> {
        let mut chunk = Self::default();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes)?;
            match (tag >> 3, tag & 7) {
                (1, LENGTH) => chunk.trace_id = delimited(&mut bytes)?,
                (2, LENGTH) => chunk.text = delimited(&mut bytes)?,
                (3, VARINT) => chunk.last = varint(&mut bytes)? != 0,
                (5, FIXED32) => chunk.server_ttft_ms = Some(float(&mut bytes)?),
                (6, FIXED32) => chunk.server_tokens_per_second = Some(float(&mut bytes)?),
                (_, VARINT) => drop(varint(&mut bytes)?),
                (_, FIXED64) => drop(take(&mut bytes, 8)?),
                (_, LENGTH) => drop(delimited(&mut bytes)?),
                (_, FIXED32) => drop(take(&mut bytes, 4)?),
                _ => return None,
            }
        }
        Some(chunk)
    }
}

/// Finds messages in gRPC's framing, however HTTP/2 frames cut it. A frame usually ends where a message does: then
/// nothing is copied.
#[derive(Debug, Default)]
pub struct Deframer {
    cut: BytesMut,
}

impl Deframer {
    /// Hands on every message that the frame completes; an error says what is not gRPC, or is `take`'s own.
    pub fn push(
        &mut self,
        frame: &[u8],
        take: &mut impl FnMut(&[u8]) -> Result<(), Outcome>,
    ) -> Result<(), Outcome> {
        if self.cut.is_empty() {
            let taken = messages(frame, take)?;
            self.cut.put_slice(&frame[taken..]);
        } else {
            self.cut.put_slice(frame);
            let taken = messages(&self.cut, take)?;
            self.cut.advance(taken);
        }
        Ok(())
    }
}

/// Takes all messages that are whole; says how many bytes they are.
fn messages(bytes: &[u8], take: &mut impl FnMut(&[u8]) -> Result<(), Outcome>) -> Result<usize, Outcome> {
    let mut at = 0;
    while let Some(length) = whole(&bytes[at..], MOST_MESSAGE).map_err(Outcome::Broken)? {
        at += PREFIX + length;
        take(&bytes[at - length..at])?;
    }
    Ok(at)
}

/// A chunk is a token's text.
const MOST_MESSAGE: usize = 4 << 20;

/// Wire types (protobuf's encoding guide).
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

fn delimited<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let count = varint(bytes)?;
    take(bytes, usize::try_from(count).ok()?)
}

fn float(bytes: &mut &[u8]) -> Option<f32> {
    Some(f32::from_le_bytes(take(bytes, 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use ai_inference_proto::{Dialect, GenerationResponse, ServerTimings};
    use proptest::prelude::*;

    use super::*;
    use wire::framed;

    #[test]
    fn messages_are_found_however_frames_cut_them() {
        let bytes = [framed(b"one"), framed(b""), framed(b"three")].concat();
        for size in 1..=bytes.len() {
            let (mut deframer, mut found) = (Deframer::default(), Vec::new());
            let mut take = |message: &[u8]| {
                found.push(message.to_vec());
                Ok(())
            };
            for piece in bytes.chunks(size) {
                deframer.push(piece, &mut take).unwrap();
            }
            assert_eq!(found, [&b"one"[..], b"", b"three"], "in pieces of {size}");
            assert!(deframer.cut.is_empty());
        }
        let compressed = Deframer::default().push(&[1, 0, 0, 0, 0], &mut |_| Ok(())).unwrap_err();
        assert!(format!("{compressed:?}").contains("compressed"), "{compressed:?}");
    }

    proptest! {
        #[test]
        fn what_the_generated_code_writes_is_read(
            trace_id in ".{0,20}", text in ".{0,200}", last: bool, index in 0..100_000_i64, ttft in 0.1..1e6_f32,
        ) {
            let timings = ServerTimings { ttft_ms: ttft, tokens_per_sec: 12.5 };
            let response = GenerationResponse {
                trace_id: trace_id.clone(), chunk: text.clone(), end_of_stream: last, index, timings,
            };
            let cy_llm = Dialect::CyLlm.encode_response(response.clone());
            let read = Chunk::read(&cy_llm).unwrap();
            prop_assert_eq!((read.text, read.last), (text.as_bytes(), last));
            prop_assert_eq!(read.trace_id, trace_id.as_bytes());
            prop_assert_eq!(read.server_ttft_ms, Some(ttft));
            let contract = Dialect::Contract.encode_response(response);
            prop_assert_eq!(Chunk::read(&contract).unwrap().text, text.as_bytes());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Chunk::read(&bytes);
        }
    }
}
