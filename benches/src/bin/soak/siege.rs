//! Everything that clients can make a server keep, at once: zero-window streams, silent connections, half messages. Meanwhile a
//! probe and a good client must hardly notice.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use ai_inference_proto::Dialect;
use anyhow::Context as _;
use benches::{client::Connection, statistics::median};
use testkit::{
    Server,
    http2::{DATA, END_HEADERS, END_STREAM, Raw, frame, headers, message},
    request, resident_kib,
};
use tokio::{task, time::sleep};

use super::{connect, verdict::Verdict};

/// Besieges the server for a while.
pub(crate) async fn run(server: &Server) -> anyhow::Result<Vec<Verdict>> {
    let connections = connect(&server.addresses[..1], 2).await?;
    let mut alone = Vec::new();
    for _ in 0..LONE {
        alone.push(first_text(&connections[0]).await?);
    }
    let before = resident_kib(server.pid()).context("no VmRSS")?;
    let socket = server.socket();
    let besiegers = task::spawn_blocking(move || besiege(&socket)).await?;
    let (began, mut health, mut first, mut most) = (Instant::now(), Vec::new(), Vec::new(), before);
    while began.elapsed() < LENGTH {
        let asked = Instant::now();
        connections[1].health().await?;
        health.push(asked.elapsed().as_secs_f64());
        first.push(first_text(&connections[0]).await?);
        most = most.max(resident_kib(server.pid()).unwrap_or_default());
        sleep(PAUSE).await;
    }
    drop(besiegers);
    health.sort_by(f64::total_cmp);
    let p99 = health[(health.len() - 1) * 99 / 100];
    let (alone, first) = (median(&alone).context("no sample")?, median(&first).context("no sample")?);
    let grown = most.saturating_sub(before) >> 10;
    Ok(vec![
        Verdict::new(
            "siege: the 99th percentile of Health is within 1 s",
            p99 < 1.0,
            format!("{:.1} ms of {}", p99 * 1e3, health.len()),
        ),
        Verdict::new(
            "siege: a good client's first text takes at most twice as long as alone",
            first <= 2.0 * alone,
            format!("{:.1} ms, alone {:.1} ms (medians)", first * 1e3, alone * 1e3),
        ),
        Verdict::new(
            format!("siege: the server's memory grows by at most {MOST_MIB} MiB"),
            grown <= MOST_MIB,
            format!("by {grown} MiB"),
        ),
    ])
}

async fn first_text(connection: &Connection) -> anyhow::Result<f64> {
    let began = Instant::now();
    let mut responses =
        connection.generate(Dialect::Contract, request("The river", "siege", 4), None).await?;
    while let Some(response) = responses.next().await? {
        if !response.chunk.is_empty() {
            let took = began.elapsed().as_secs_f64();
            while responses.next().await?.is_some() {}
            return Ok(took);
        }
    }
    anyhow::bail!("a generation ended without text")
}

/// What lays siege until it is dropped.
struct Besiegers {
    _open: Vec<Raw>,
}

fn besiege(socket: &Path) -> Besiegers {
    let path = format!("/{}/StreamPredict", Dialect::Contract.service());
    let mut open = Vec::new();
    let long = Dialect::Contract.encode_request(request("Hello", "zero-window", 600));
    for _ in 0..ZERO_WINDOW / STREAMS {
        let mut raw = Raw::connect(socket).reading().hello(&NO_WINDOW);
        for stream in (1..).step_by(2).take(STREAMS) {
            let call = [headers(END_HEADERS, stream, &path), message(END_STREAM, stream, &long)].concat();
            if raw.send(&call).is_err() {
                break;
            }
        }
        open.push(raw);
    }
    let half = vec![b'x'; 16_000];
    for _ in 0..HALF_MESSAGES / HALVES {
        let mut raw = Raw::connect(socket).reading().hello(&[]);
        for stream in (1..).step_by(2).take(HALVES) {
            let head = [&[0][..], &TWO_MEBIBYTES.to_be_bytes()].concat();
            let begun = [headers(END_HEADERS, stream, &path), frame(DATA, 0, stream, &head)].concat();
            let pieces = (0..ONE_MEBIBYTE / half.len()).map(|_| frame(DATA, 0, stream, &half));
            let fits =
                |raw: &mut Raw, bytes: Vec<u8>| raw.wait_for_window(bytes.len()) && raw.send(&bytes).is_ok();
            if !std::iter::once(begun).chain(pieces).all(|bytes| fits(&mut raw, bytes)) {
                break;
            }
        }
        open.push(raw);
    }
    open.extend((0..SILENT).map(|_| Raw::connect(socket)));
    Besiegers { _open: open }
}

/// SETTINGS: an INITIAL_WINDOW_SIZE of zero.
const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];
const ZERO_WINDOW: usize = 1000;
const STREAMS: usize = 100;
/// A hundred megabytes of them.
const HALF_MESSAGES: usize = 100;
const HALVES: usize = 4;
const ONE_MEBIBYTE: usize = 1 << 20;
const TWO_MEBIBYTES: u32 = 2 << 20;
const SILENT: usize = 1024;
/// Generations on the idle server.
const LONE: usize = 100;
const LENGTH: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);
/// What is sent, and some thirty KiB for each call.
const MOST_MIB: u64 = 256;
