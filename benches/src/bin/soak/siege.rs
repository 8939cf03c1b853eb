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
    let alone = Seen::over(LONE, &connections, server.pid()).await?;
    let socket = server.socket();
    let besiegers = task::spawn_blocking(move || besiege(&socket)).await?;
    let besieged = Seen::over(LENGTH, &connections, server.pid()).await?;
    drop(besiegers);
    let mut health = besieged.health;
    health.sort_by(f64::total_cmp);
    let p99 = health[(health.len() - 1) * 99 / 100];
    let middle = |values: &[f64]| median(values).context("no sample");
    let (lone, first) = (middle(&alone.first)?, middle(&besieged.first)?);
    let grown = besieged.most_kib.saturating_sub(alone.most_kib) >> 10;
    Ok(vec![
        Verdict::new(
            "siege: the 99th percentile of Health is within 1 s",
            p99 < 1.0,
            format!("{:.1} ms of {}", p99 * 1e3, health.len()),
        ),
        Verdict::new(
            "siege: a good client's first text takes at most twice as long as alone",
            first <= 2.0 * lone,
            format!("{:.1} ms, alone {:.1} ms (medians)", first * 1e3, lone * 1e3),
        ),
        Verdict::new(
            format!("siege: the server's memory grows by at most {MOST_MIB} MiB"),
            grown <= MOST_MIB,
            format!("by {grown} MiB"),
        ),
    ])
}

/// What a probe and a good client saw, in seconds, and the most memory.
#[derive(Default)]
struct Seen {
    health: Vec<f64>,
    first: Vec<f64>,
    most_kib: u64,
}

impl Seen {
    async fn over(length: Duration, connections: &[Connection], pid: u32) -> anyhow::Result<Self> {
        let (began, mut seen) = (Instant::now(), Self::default());
        while began.elapsed() < length {
            let asked = Instant::now();
            connections[1].health().await?;
            seen.health.push(asked.elapsed().as_secs_f64());
            seen.first.push(first_text(&connections[0]).await?);
            seen.most_kib = seen.most_kib.max(resident_kib(pid).context("no VmRSS")?);
            sleep(PAUSE).await;
        }
        Ok(seen)
    }
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
/// How long the idle server is watched, and the besieged one.
const LONE: Duration = Duration::from_secs(5);
const LENGTH: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);
/// What is sent, and some thirty KiB for each call.
const MOST_MIB: u64 = 256;
