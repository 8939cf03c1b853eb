//! What the benchmark's client costs: reading a chunk, finding messages in frames, planning arrivals, keeping and
//! summing up what came.

use std::{hint::black_box, time::Duration};

use ai_inference_proto::{Dialect, GenerationResponse, ServerTimings};
use latency::{
    arrivals::Load,
    message::{Chunk, Deframer},
    record::{Outcome, Recording, RequestRecord, Setup},
    report::{Objectives, Report},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{Case, Work};

pub(super) const CONTRACT_CHUNK: Case =
    Case { name: "client codec/contract chunk", prepare: || chunk(Dialect::Contract) };
pub(super) const CY_LLM_CHUNK: Case =
    Case { name: "client codec/cy.llm chunk", prepare: || chunk(Dialect::CyLlm) };
pub(super) const WHOLE_FRAMES: Case =
    Case { name: "client framing/256 messages, a frame each", prepare: || framing(usize::MAX) };
pub(super) const CUT_FRAMES: Case =
    Case { name: "client framing/256 messages, cut every 100 bytes", prepare: || framing(100) };
pub(super) const PACER: Case = Case { name: "client pacer/100,000 arrivals", prepare: pacer };
pub(super) const REPORT: Case = Case { name: "client recorder/report of 10,000 requests", prepare: report };
pub(super) const WRITE: Case = Case { name: "client recorder/write 1,000 requests", prepare: write };
pub(super) const READ: Case = Case { name: "client recorder/read 1,000 requests", prepare: read };

fn chunk(dialect: Dialect) -> Work {
    let message = dialect.encode_response(response(17));
    Box::new(move || {
        black_box(Chunk::read(black_box(&message)));
    })
}

/// Either each message alone, or all of them in pieces of `size` bytes, which end anywhere.
fn framing(size: usize) -> Work {
    let framed = |index| {
        let message = Dialect::Contract.encode_response(response(index));
        let length = (message.len() as u32).to_be_bytes();
        [&[0][..], &length, &message].concat()
    };
    let all: Vec<Vec<u8>> = (0..256).map(framed).collect();
    let pieces: Vec<Vec<u8>> =
        if size == usize::MAX { all } else { all.concat().chunks(size).map(<[u8]>::to_vec).collect() };
    let mut deframer = Deframer::default();
    Box::new(move || {
        let mut found = 0;
        let mut take = |message: &[u8]| {
            found += black_box(message).len();
            Ok(())
        };
        for piece in &pieces {
            deframer.push(piece, &mut take).expect("they are gRPC's");
        }
        black_box(found);
    })
}

fn pacer() -> Work {
    let load: Load = "poisson:1000".parse().expect("a load");
    let length = Duration::from_secs(100);
    Box::new(move || drop(black_box(load.plan(length, None, &mut StdRng::seed_from_u64(1)))))
}

fn report() -> Work {
    let Recording { setup, requests } = recording(10_000);
    Box::new(move || drop(black_box(Report::new(setup.clone(), &requests, Objectives::default()))))
}

fn write() -> Work {
    let (recording, file) = (recording(1000), tempfile::NamedTempFile::new().expect("a temporary file"));
    Box::new(move || recording.write(file.path()).expect("it can be written"))
}

fn read() -> Work {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    recording(1000).write(file.path()).expect("it can be written");
    Box::new(move || drop(black_box(Recording::read(file.path()).expect("it was written"))))
}

fn response(index: i64) -> GenerationResponse {
    GenerationResponse {
        trace_id: "bench-1234".to_owned(),
        chunk: " river".to_owned(),
        end_of_stream: false,
        index,
        timings: ServerTimings { ttft_ms: 12.5, tokens_per_sec: 80.0 },
    }
}

/// Of 64 chunks each, at gaps that are drawn.
fn recording(requests: u64) -> Recording {
    let mut rng = StdRng::seed_from_u64(1);
    let requests = (0..requests).map(|number| {
        let planned = number * 10_000_000;
        let mut at = planned + 20_000_000;
        let chunks = (0..64).map(|_| {
            at += rng.random_range(5_000_000..15_000_000);
            at
        });
        let chunks: Vec<_> = chunks.collect();
        RequestRecord {
            prompt: number as u32,
            planned,
            sent: planned + 20_000,
            waited: 0,
            ended: chunks[chunks.len() - 1] + 50_000,
            chunks,
            outcome: Outcome::Complete,
            text: number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            server_ttft_ms: Some(12.5),
            server_tokens_per_second: Some(80.0),
            freed: None,
            message: None,
        }
    });
    let requests = requests.collect();
    let setup = Setup {
        target: "127.0.0.1:50051".to_owned(),
        dialect: "contract".to_owned(),
        model: String::new(),
        load: "constant:100".to_owned(),
        prompts: "short".to_owned(),
        tokens: 64,
        seed: 1,
        connections: 1,
        started: "2026-01-01T00:00:00Z".to_owned(),
        host: "a machine".to_owned(),
        ..Setup::default()
    };
    Recording { setup, requests }
}
