//! TRANSPORT-007: a client that abuses the protocol loses its connection at most; meanwhile others are served, and the
//! server's memory stays where it was.

mod support;

use std::time::{Duration, Instant};

use ai_inference_proto::Dialect::{Contract, CyLlm};
use support::server::start;
use testkit::{
    Client,
    http2::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE,
        frame, headers, message,
    },
    request, resident_kib, text_of,
};
use tokio::{io::AsyncReadExt as _, task, time::timeout};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn rapid_reset_ends_the_connection() {
    let ended = under_attack(|raw| {
        let mut raw = raw.reading().hello(&[]);
        let attack = flood(&mut raw, 50_000, |number| {
            let stream = number * 2 + 1;
            let reset = frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
            [headers(END_HEADERS, stream, STREAM_PREDICT), reset].concat()
        });
        (attack, raw.ended(SOON))
    })
    .await;
    assert_eq!(ended, (Flood::Cut, Some(ENHANCE_YOUR_CALM)));
}

/// The client makes the server reset its streams, which is no more polite.
#[tokio::test(flavor = "multi_thread")]
async fn made_you_reset_ends_the_connection() {
    let ended = under_attack(|raw| {
        let mut raw = raw.reading().hello(&[]);
        let attack = flood(&mut raw, 50_000, |number| {
            let stream = number * 2 + 1;
            // Beyond the largest window that there may be: an error of the stream.
            let too_much = frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes());
            [headers(END_HEADERS, stream, STREAM_PREDICT), too_much].concat()
        });
        (attack, raw.ended(SOON))
    })
    .await;
    assert_eq!(ended, (Flood::Cut, Some(ENHANCE_YOUR_CALM)));
}

/// Each call is complete, so that its prompt is on its way into the engine when it is reset.
#[tokio::test(flavor = "multi_thread")]
async fn long_prompts_that_are_reset_leave_no_work_behind() {
    let long = Contract.encode_request(request(&"Hello ".repeat(8000), "t", 1));
    let taken = under_attack(move |raw| {
        let mut raw = raw.reading().hello(&[]);
        (0..2000).all(|number| {
            let stream = number * 2 + 1;
            let call = headers(END_HEADERS, stream, STREAM_PREDICT);
            let call = [call, message(END_STREAM, stream, &long)].concat();
            let reset = frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
            // The server has read the call when it opens its window again.
            raw.wait_for_window(long.len() + 5) && raw.send(&call).is_ok() && raw.send(&reset).is_ok()
        })
    })
    .await;
    assert!(taken);
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_settings_and_pings_are_harmless_read_or_not() {
    for kind in [SETTINGS, PING] {
        let flooding = move |raw: &mut Raw| {
            flood(raw, 100_000, |_| frame(kind, 0, 0, if kind == PING { &[7; 8] } else { &[] }))
        };
        let read = under_attack(move |raw| flooding(&mut raw.reading().hello(&[]))).await;
        assert_eq!(read, Flood::Taken, "TRANSPORT-002: frame type {kind} as often as the client likes");
        // Answers that the client does not read delay the server's next read, and so the attacker.
        let unread = under_attack(move |raw| flooding(&mut raw.hello(&[]))).await;
        assert_ne!(unread, Flood::Taken, "frame type {kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_header_block_ends_the_connection() {
    let ended = under_attack(|raw| {
        let mut raw = raw.reading().hello(&[]);
        let head = frame(HEADERS, 0, 1, &[0x83, 0x86]);
        let field = [&[0, 1, b'x', 120][..], &[b'a'; 120]].concat();
        let begun = raw.send(&head).is_ok();
        let attack = flood(&mut raw, 50_000, |_| frame(CONTINUATION, 0, 1, &field.repeat(8)));
        (begun, attack, raw.ended(SOON).is_some())
    })
    .await;
    assert_eq!(ended, (true, Flood::Cut, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_message_in_single_bytes_or_less_ends_the_connection() {
    for bytes in [&b"x"[..], b""] {
        let ended = under_attack(move |raw| {
            let mut raw = raw.reading().hello(&[]);
            let head = [0, 0, 16, 0, 0];
            let call = [headers(END_HEADERS, 1, STREAM_PREDICT), frame(DATA, 0, 1, &head)].concat();
            let begun = raw.send(&call).is_ok();
            (begun, flood(&mut raw, 500_000, |_| frame(DATA, 0, 1, bytes)), raw.ended(SOON))
        })
        .await;
        assert_eq!(ended, (true, Flood::Cut, Some(ENHANCE_YOUR_CALM)), "{} bytes a frame", bytes.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_never_read_stall_only_themselves() {
    let long = Contract.encode_request(request("Hello", "t", 500));
    under_attack(move |raw| {
        // SETTINGS_INITIAL_WINDOW_SIZE = 0: not a byte of any answer may be sent.
        let mut raw = raw.reading().hello(&[0, 4, 0, 0, 0, 0]);
        let opened = flood(&mut raw, 32, |number| {
            let stream = number * 2 + 1;
            let call = headers(END_HEADERS, stream, STREAM_PREDICT);
            [call, message(END_STREAM, stream, &long)].concat()
        });
        assert_eq!(opened, Flood::Taken);
        // Long enough for the good client to be served while all slots have been given away.
        std::thread::sleep(Duration::from_secs(2));
    })
    .await;
}

/// Each change is one for every open stream.
#[tokio::test(flavor = "multi_thread")]
async fn windows_that_change_all_the_time_keep_nobody_waiting() {
    let long = Contract.encode_request(request("Hello", "t", 500));
    let flooded = under_attack(move |raw| {
        let mut raw = raw.reading().hello(&[0, 4, 0, 0, 0, 0]);
        let opened = flood(&mut raw, 1000, |number| {
            let stream = number * 2 + 1;
            let call = headers(END_HEADERS, stream, STREAM_PREDICT);
            [call, message(END_STREAM, stream, &long)].concat()
        });
        let change = |number: u32| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, (number % 2) as u8]);
        (opened, flood(&mut raw, 5_000, change))
    })
    .await;
    assert_eq!(flooded, (Flood::Taken, Flood::Taken));
}

/// The client's windows are as large as can be, and its socket is never read.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_are_few() {
    const LARGEST: u32 = 0x7fff_ffff;
    // Field 4, `file_containing_symbol`, many times in one frame.
    let asked = [&[0, 0, 0, 0, 13, 0x22, 11][..], b"AiInference"].concat().repeat(100);
    under_attack(move |raw| {
        let mut raw = raw.hello(&[0, 4, 0x7f, 0xff, 0xff, 0xff]);
        raw.send(&frame(WINDOW_UPDATE, 0, 0, &(LARGEST - 65_535).to_be_bytes())).unwrap();
        std::thread::sleep(Duration::from_millis(200)); // the server's own windows are in force then
        let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        flood(&mut raw, 1000, |number| {
            let stream = number * 2 + 1;
            [headers(END_HEADERS, stream, path), frame(DATA, 0, stream, &asked)].concat()
        });
        std::thread::sleep(Duration::from_secs(2));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_that_does_not_come_is_not_waited_for() {
    let server = start(&["--connections=4"]);
    let began = Instant::now();
    let silent =
        [&b""[..], b"PRI * HTTP/2.0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0"].map(|hello| {
            let mut raw = Raw::connect(&server.socket());
            raw.send(hello).unwrap();
            task::spawn_blocking(|| raw.closed_after())
        });
    let client = server.client(Contract).await;
    while !silent.iter().all(task::JoinHandle::is_finished) {
        assert!(began.elapsed() < Duration::from_secs(20), "they should be closed after 10 s");
        text_of("t", &client.generate(request("Hello", "t", 4)).await.unwrap());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for closed in silent {
        let after = closed.await.unwrap();
        assert!(after > Duration::from_secs(8), "a slow client has some seconds: {after:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_closed_at_once_and_a_place_is_free_again() {
    let server = start(&["--connections=2"]);
    let client = server.client(Contract).await;
    let second = Raw::connect(&server.socket()).reading().hello(&[]);
    // It comes after the second on the same socket, so the second has its place.
    let third = task::spawn_blocking({
        let raw = Raw::connect(&server.socket());
        || raw.closed_after()
    });
    assert!(third.await.unwrap() < Duration::from_secs(5));
    text_of("t", &client.generate(request("Hello", "t", 4)).await.unwrap());
    assert_eq!(second.ended(Duration::ZERO), None, "those that were there stay");

    // Over another listener: the places are all of the server's.
    for _ in 0..100 {
        let mut raw = tokio::net::TcpStream::connect(&server.addresses[1]).await.unwrap();
        // A server speaks first, in HTTP/2, where it does not hang up.
        if raw.read(&mut [0; 1]).await.is_ok_and(|read| read > 0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the second connection's place is still taken after 2 s");
}

#[tokio::test]
async fn what_is_sent_back_may_not_be_large() {
    let server = start(&[]);
    let client = server.client(CyLlm).await;
    let refused = client.generate(request("Hello", &"x".repeat(4097), 4)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let refused = client.control(&"x".repeat(4097), &[]).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let longest = "x".repeat(4096);
    text_of(&longest, &client.generate(request("Hello", &longest, 4)).await.unwrap());
    assert_eq!(client.control(&longest, &[]).await.unwrap().payload["status"], "error");
}

/// Runs an attack against a fresh server, while a good client generates; then looks at what is left.
async fn under_attack<T: Send + 'static>(attack: impl FnOnce(Raw) -> T + Send + 'static) -> T {
    let server = start(&[]);
    let client = server.client(Contract).await;
    let good = async |client: &Client| {
        let generation = client.generate(request("Hello", "good", 8));
        let responses = timeout(PATIENCE, generation).await.expect("a good client waits too long");
        text_of("good", &responses.unwrap());
    };
    good(&client).await;
    let memory = || resident_kib(server.pid()).unwrap();
    let before = memory();
    let raw = Raw::connect(&server.socket());
    let attack = task::spawn_blocking(move || attack(raw));
    let mut most = 0;
    while !attack.is_finished() {
        good(&client).await;
        // A connection that was there may be served where a newcomer is not.
        good(&server.client(Contract).await).await;
        most = memory().max(most);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let outcome = attack.await.unwrap();
    good(&client).await;
    client.until("requests_inflight", 0).await;
    client.until("slots_busy", 0).await;
    let grown = most.max(memory()).saturating_sub(before);
    assert!(grown < GROWTH, "memory grew by {grown} KiB");
    outcome
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flood {
    /// The server took it all.
    Taken,
    /// The connection ended on the way.
    Cut,
    /// The server stopped reading.
    HeldBack,
}

/// Sends `count` pieces in packets of some size.
fn flood(raw: &mut Raw, count: u32, piece: impl Fn(u32) -> Vec<u8>) -> Flood {
    let mut packet = Vec::new();
    for number in 0..count {
        packet.extend(piece(number));
        if packet.len() < PACKET && number + 1 < count {
            continue;
        }
        match raw.send(&packet) {
            Ok(()) => packet.clear(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Flood::HeldBack,
            Err(_) => return Flood::Cut,
        }
    }
    Flood::Taken
}

const STREAM_PREDICT: &str = "/AiInference/StreamPredict";
const PACKET: usize = 64 << 10;
/// HTTP/2's error codes.
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;
const SOON: Duration = Duration::from_secs(10);
/// A generation of 8 tokens takes milliseconds; attacker, server and test share the machine's cores.
const PATIENCE: Duration = Duration::from_secs(10);
/// Windows of 4 MiB, some thousand calls, and what an allocator keeps; the floods are many times that. In KiB.
const GROWTH: u64 = 64 << 10;
