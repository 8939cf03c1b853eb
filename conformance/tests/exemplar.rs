//! The exemplar keeps every requirement: a check that blames it is wrong.

mod common;

use std::sync::Arc;

use ai_inference_proto::Dialect;
use conformance::{events::Verdict, requirement::Requirement, requirements::ALL, vocabulary::Need};
use exemplar::Conformant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wire::Address;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exemplar_passes_everything() {
    let mut results = common::judge(Arc::new(Conformant)).await;
    // What can be seen in the deployed dialect alone is asked there, what stops the target of a process, and TLS with TLS.
    let ids =
        |of: fn(&Requirement) -> bool| -> Vec<_> { ALL.iter().filter(|r| of(r)).map(|r| r.id).collect() };
    let deployed = ids(|r| !r.dialects.contains(&Dialect::Contract));
    let managed = ids(|r| r.needs == [Need::Managed]);
    let tls = ids(|r| r.needs == [Need::Tls]);
    let elsewhere = [deployed.clone(), managed.clone(), tls.clone()].concat();
    results.retain(|r| !elsewhere.contains(&r.id.as_str()));
    results.extend(common::judge_only(Arc::new(Conformant), &deployed).await);
    results.extend(common::judge_managed(None, &managed).await);
    results.extend(common::judge_tls(Arc::new(Conformant), &tls).await);
    assert_eq!(results.len(), ALL.len());
    let blamed: Vec<_> = results
        .iter()
        .filter(|r| r.verdict != Verdict::Pass)
        .map(|r| format!("{} {:?}: {}", r.id, r.verdict, r.reason))
        .collect();
    assert!(blamed.is_empty(), "the exemplar was not passed:\n{}", blamed.join("\n"));
}

/// What a client of gRPC's C core sends for `unix:///tmp/a.sock`: an authority that RFC 3986 knows none of.
#[tokio::test]
async fn a_unix_socket_takes_an_authority_that_is_percent_encoded_and_is_removed_at_the_end() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a.sock");
    // A program that was killed leaves its file.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listen = [Address::Unix(path.clone())];
    let running = exemplar::serve(Arc::new(Conformant), &listen, None).await.unwrap();

    let literal = |name: &str, value: &str| {
        [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
    };
    let service = Dialect::Contract.service();
    let headers = [
        vec![0x83, 0x86],
        literal(":path", &format!("/{service}/Health")),
        literal(":authority", "tmp%2Fa.sock"),
        literal("content-type", "application/grpc"),
        literal("te", "trailers"),
    ]
    .concat();
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let sent = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
        frame(1, 4, 1, &headers),
        frame(0, 1, 1, &[0; 5]),
    ];
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream.write_all(&sent.concat()).await.unwrap();
    let kind = loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length as usize]).await.unwrap();
        if head[8] == 1 {
            break head[3];
        }
    };
    assert_eq!(kind, 1, "the call is answered with HEADERS, and not with RST_STREAM");

    drop(running);
    tokio::task::yield_now().await;
    assert!(!path.exists());
}
