//! Whatever a target sends, the run ends in bounded time and takes bounded memory.

use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use ai_inference_proto::{GenerationRequest, GenerationResponse};
use exemplar::{Behaviour, Responses};
use futures_util::stream;
use wire::Address;

/// The program's memory, whatever comes.
const MOST_MEMORY_KB: u64 = 512 << 10;
/// The time to the whole run's end.
const LIMIT: Duration = Duration::from_mins(3);

/// Sends chunks of the same text for ever.
struct Endless {
    chunk: String,
    gap: Duration,
}

impl Behaviour for Endless {
    fn respond(&self, request: &GenerationRequest, _responses: Responses) -> Responses {
        let (chunk, gap, trace_id) = (self.chunk.clone(), self.gap, request.trace_id().to_owned());
        Box::pin(stream::unfold(0, move |index| {
            let (chunk, trace_id) = (chunk.clone(), trace_id.clone());
            async move {
                if gap.is_zero() {
                    tokio::task::yield_now().await;
                } else {
                    tokio::time::sleep(gap).await;
                }
                let response = GenerationResponse { trace_id, chunk, index, ..GenerationResponse::default() };
                Some((Ok(response), index + 1))
            }
        }))
    }
}

/// Runs the program against an endless target; its exit code, its time and the most memory that it took.
async fn judged(endless: Endless) -> (Option<i32>, Duration, u64) {
    let anywhere = Address::Tcp { host: "127.0.0.1".into(), port: 0 };
    let running = exemplar::serve(Arc::new(endless), &[anywhere], None).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
    command.args(["run", "--target", &running.addresses[0].to_string(), "--output"]).arg(directory.path());
    command.env_remove("CONFORMANCE_TOKEN").stdout(Stdio::null()).stderr(Stdio::null());
    let began = Instant::now();
    let mut child = command.spawn().unwrap();
    let mut most = 0;
    let code = loop {
        most = most.max(peak_kb(child.id()));
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if began.elapsed() > LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    println!("exit {code:?} after {:.1?}, {} MiB at most", began.elapsed(), most >> 10);
    (code, began.elapsed(), most)
}

/// The most memory that a process has taken so far.
fn peak_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kb| kb.parse().ok()).unwrap_or(0)
}

async fn fails_in_bounds(endless: Endless) {
    let (code, took, most) = judged(endless).await;
    assert_eq!(code, Some(1), "after {took:?}");
    assert!(most < MOST_MEMORY_KB, "{most} kB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_of_nearly_four_megabytes_for_ever() {
    fails_in_bounds(Endless { chunk: "word ".repeat(780_000), gap: Duration::ZERO }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_every_two_seconds_for_ever() {
    fails_in_bounds(Endless { chunk: "word ".to_owned(), gap: Duration::from_secs(2) }).await;
}
