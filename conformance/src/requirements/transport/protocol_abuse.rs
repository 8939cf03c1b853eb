//! TRANSPORT-007.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::timeout;

use crate::{
    exemplar::{Arrival, Behaviour, Fate, State},
    probe::{
        Probe,
        wire::{
            End, Raw,
            frames::{
                CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS,
                WINDOW_UPDATE, frame, literal,
            },
        },
    },
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// Protocol abuse (SETTINGS flood, rapid reset, resets provoked from the server, endless CONTINUATION, 1-byte DATA drip)
    /// ends that connection at most; others go on and memory stays bounded.
    ///
    /// # Why it matters
    /// Each of these has stopped servers of every kind, sent by one client with little bandwidth (CVE-2016-6581, CVE-2019-9512,
    /// CVE-2019-9515, CVE-2019-9518, CVE-2023-44487, CVE-2024-27316, CVE-2025-8671).
    ///
    /// # How it is checked
    /// Each abuse is sent by hand on a connection of its own, for up to three seconds: 5,000 SETTINGS; 5,000 PINGs; 5,000 calls
    /// that are reset at once; 5,000 calls that make the server reset them (by a window update of zero or beyond all windows, by
    /// DATA behind the half-close, by a priority that depends on itself); a header block of up to 8 MiB that does not end; 16
    /// calls whose 8 kB of header are 16 MB when they are unpacked; a message in 20,000 frames of one byte, and one in as many
    /// empty frames. Whether the server ends that connection is left open. Meanwhile, and afterwards, generations
    /// on the connection of another client and Health on new ones must be served; a refusal is asked again for five seconds.
    /// Where the run has started the target by a command, the memory of its processes is looked at: where all of it
    /// has made it grow by more than 256 MiB, it is done once more, and memory may not grow by as much again. Of other
    /// targets memory cannot be seen.
    ///
    /// # What a violation looks like
    /// No generation is served while one client sends SETTINGS; or 64 kB are kept for each of them.
    ///
    /// # References
    /// Contract, TRANSPORT-007; RFC 9113, section 10.5 (denial of service).
    id: "TRANSPORT-007",
    level: Must,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    unsafe_: true,
    since: "0.1.0",
    title: "protocol abuse ends its own connection at most",
    check: check,
    mutant: KeepsEachSettings, fault: "memory grows with each SETTINGS", seen_as: "its memory grew each time",
}

/// One kind of abuse.
#[derive(Clone, Copy, Debug)]
enum Abuse {
    Settings,
    Pings,
    RapidReset,
    ProvokedReset,
    EndlessHeaders,
    HeaderBomb,
    Drip,
    EmptyData,
}

impl Abuse {
    const ALL: [Self; 8] = [
        Self::Settings,
        Self::Pings,
        Self::RapidReset,
        Self::ProvokedReset,
        Self::EndlessHeaders,
        Self::HeaderBomb,
        Self::Drip,
        Self::EmptyData,
    ];

    const fn told(self) -> &'static str {
        match self {
            Self::Settings => "a flood of SETTINGS",
            Self::Pings => "a flood of PINGs",
            Self::RapidReset => "calls that it resets at once",
            Self::ProvokedReset => "calls that it makes the server reset",
            Self::EndlessHeaders => "a header block without an end",
            Self::HeaderBomb => "headers that are large when they are unpacked",
            Self::Drip => "a message in single bytes",
            Self::EmptyData => "a flood of empty DATA",
        }
    }

    const fn count(self) -> u32 {
        match self {
            Self::Settings | Self::Pings | Self::RapidReset | Self::ProvokedReset => 5_000,
            Self::EndlessHeaders => 520,
            Self::HeaderBomb => 16,
            Self::Drip | Self::EmptyData => 20_000,
        }
    }
}

const LONGEST: Duration = Duration::from_secs(3);
/// Bytes that are handed to the transport at a time.
const PACKET: usize = 64 << 10;
/// Growth in bytes over all abuses that is no leak: windows, buffers and what allocators and collectors keep.
const GROWTH: u64 = 256 << 20;
/// What grows once is a heap that warms up, as a JVM's does.
const ROUNDS: usize = 2;
/// A good client is refused for no longer than this.
const BUSY: Duration = Duration::from_secs(5);
const BACK_OFF: Duration = Duration::from_millis(100);
const CANCEL: u32 = 8;
/// Larger than any window may become.
const TOO_MUCH: u32 = 0x7fff_ffff;
/// A field of some size, for a header block without an end; and how many of them one frame has.
const FIELD: usize = 120;
const FIELDS: usize = 128;
/// A field that the server is to remember (RFC 7541, section 6.2.1), and how often one header repeats it, a byte each time.
const REMEMBERED: usize = 4_000;
const REPEATED: usize = 4_000;
/// Indexed: the newest field that is remembered, number 62 (RFC 7541, sections 2.3.3 and 6.1).
const NEWEST: u8 = 0xbe;
const TOKENS: i64 = 4;

async fn check(probe: &Probe) -> Judgement {
    probe.predict(probe.request(TOKENS)).await?.served()?;
    let mut memory = vec![probe.memory().await];
    for _ in 0..ROUNDS {
        for abuse in Abuse::ALL {
            beside_others(probe, abuse).await?;
        }
        memory.push(probe.memory().await);
        if !grows_each_time(&memory) {
            break;
        }
    }
    probe.assert(!grows_each_time(&memory), || {
        let sizes: Vec<_> = memory.iter().flatten().map(|bytes| format!("{} MiB", bytes >> 20)).collect();
        format!(
            "clients abused the protocol {ROUNDS} times, and its memory grew each time: {}",
            sizes.join(", ")
        )
    })?;
    probe.still_serves("clients that abused the protocol").await
}

/// One abuse, while and after which others are served.
async fn beside_others(probe: &Probe, abuse: Abuse) -> Judgement {
    let what = format!("while another client sent {}", abuse.told());
    tokio::select! {
        sent = send(probe, abuse) => sent?,
        wrong = others_go_on(probe) => wrong.map_err(|why| why.when(&what))?,
    }
    let after = format!("after another client had sent {}", abuse.told());
    others_once(probe).await.map_err(|why| why.when(&after))
}

/// Whether the memory grew from look to look by more than what is no leak, where it is known.
fn grows_each_time(memory: &[Option<u64>]) -> bool {
    memory
        .windows(2)
        .all(|pair| matches!(pair, [Some(before), Some(after)] if after.saturating_sub(*before) >= GROWTH))
}

/// Good clients, again and again; only a failure ends it.
async fn others_go_on(probe: &Probe) -> Judgement {
    loop {
        others_once(probe).await?;
    }
}

/// A generation and a Health of good clients. A refusal, as of a server that is busy for a moment, is asked again.
async fn others_once(probe: &Probe) -> Judgement {
    let began = Instant::now();
    loop {
        let generation = probe.predict(probe.request(TOKENS)).await?;
        let refused = generation.responses.is_empty() && matches!(generation.end, End::Status(_));
        if !refused || generation.end.is_ok() || began.elapsed() > BUSY {
            generation.served()?;
            break;
        }
        tokio::time::sleep(BACK_OFF).await;
    }
    loop {
        let newcomer = probe.connect().await?;
        let health = probe.health_on(&newcomer, &probe.trace_id(), &probe.options()).await;
        let refused = matches!(health.end, End::Status(_)) && !health.end.is_ok();
        if !refused || began.elapsed() > BUSY {
            health.informative()?;
            return probe.assert(true, String::new);
        }
        tokio::time::sleep(BACK_OFF).await;
    }
}

/// Sends one kind of abuse, until the server hangs up or takes no more.
async fn send(probe: &Probe, abuse: Abuse) -> Result<(), NotPassed> {
    let mut raw = probe.connect_by_hand(&[]).await?;
    let begin = match abuse {
        Abuse::EndlessHeaders => frame(HEADERS, 0, 1, &[0x83, 0x86]),
        Abuse::Drip | Abuse::EmptyData => {
            let call = frame(HEADERS, END_HEADERS, 1, &probe.block(&raw, "StreamPredict"));
            [call, frame(DATA, 0, 1, &[0, 0, 16, 0, 0])].concat()
        }
        _ => Vec::new(),
    };
    let sending = async {
        flood(probe, &mut raw, abuse, begin).await;
        let _ = raw.ping(LONGEST).await; // when it is answered, all before it was read
    };
    let _ = timeout(LONGEST, sending).await;
    Ok(())
}

async fn flood(probe: &Probe, raw: &mut Raw, abuse: Abuse, mut packet: Vec<u8>) {
    let block = probe.block(raw, "StreamPredict");
    let fields = literal("x", &"a".repeat(FIELD)).repeat(FIELDS);
    let mut bomb = literal("x", &"a".repeat(REMEMBERED));
    bomb[0] |= 0x40; // to be remembered
    let bomb = [&block[..], &bomb, &[NEWEST; REPEATED]].concat();
    for number in 0..abuse.count() {
        let stream = number * 2 + 1;
        let call = || frame(HEADERS, END_HEADERS, stream, &block);
        packet.extend(match abuse {
            Abuse::Settings => frame(SETTINGS, 0, 0, &[]),
            Abuse::Pings => frame(PING, 0, 0, &u64::from(number).to_be_bytes()),
            Abuse::RapidReset => [call(), frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())].concat(),
            Abuse::ProvokedReset => match number % 4 {
                0 => [call(), frame(WINDOW_UPDATE, 0, stream, &TOO_MUCH.to_be_bytes())].concat(),
                1 => [call(), frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat(),
                2 => {
                    [call(), frame(PRIORITY, 0, stream, &[&stream.to_be_bytes()[..], &[0]].concat())].concat()
                }
                _ => {
                    let ended = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block);
                    [ended, frame(DATA, 0, stream, b"x")].concat()
                }
            },
            Abuse::EndlessHeaders => frame(CONTINUATION, 0, 1, &fields),
            Abuse::HeaderBomb => frame(HEADERS, END_HEADERS, stream, &bomb),
            Abuse::Drip => frame(DATA, 0, 1, b"x"),
            Abuse::EmptyData => frame(DATA, 0, 1, &[]),
        });
        let last = number + 1 == abuse.count();
        if packet.len() >= PACKET || last {
            if raw.send(&packet).await.is_err() {
                return;
            }
            packet.clear();
            while raw.next(Duration::ZERO).await.is_some() {} // a client that reads
        }
    }
}

#[derive(Default)]
struct KeepsEachSettings {
    kept: Mutex<Vec<Vec<u8>>>,
}

impl Behaviour for KeepsEachSettings {
    fn frame(&self, _state: &State, arrival: Arrival) -> Fate {
        if arrival.kind == SETTINGS {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(vec![1; 64 << 10]);
        }
        Fate::Taken
    }
}
