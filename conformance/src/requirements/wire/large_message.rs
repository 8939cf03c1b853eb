//! WIRE-008.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tonic::{Code, Status};

use crate::{
    exemplar::{Behaviour, HttpRequest, HttpResponse, Next},
    probe::{Probe, wire::End},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// A message larger than the server takes is answered RESOURCE_EXHAUSTED (or OUT_OF_RANGE, as tonic does), and
    /// the server stays healthy.
    ///
    /// # Why it matters
    /// Every gRPC server has a limit, and some user will paste a book. The client must learn that its message was
    /// too large, and other clients must not notice.
    ///
    /// # How it is checked
    /// While a generation runs on another connection, Health and StreamPredict are called with an unknown field that
    /// makes the message 5, 20 and 110 MiB large, until a size is refused. What is taken must be answered OK; what is
    /// refused must be refused with RESOURCE_EXHAUSTED or OUT_OF_RANGE. The running generation must reach its end, and
    /// the server must still serve.
    ///
    /// # What a violation looks like
    /// INTERNAL or UNKNOWN to a large message, a reset without a status, or a server that no longer answers.
    ///
    /// # References
    /// Contract, WIRE-008; gRPC, "Status codes" (RESOURCE_EXHAUSTED).
    id: "WIRE-008",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "a message too large is refused and harms no other request",
    check: check,
    mutant: StopsAnswering, fault: "the server stops answering", seen_as: "no answer within",
}

const MIB: usize = 1 << 20;
/// Above gRPC's usual limit of 4 MiB, above a generous one, and above the 100 MiB of the deployed worker.
const SIZES: [usize; 3] = [5 * MIB, 20 * MIB, 110 * MIB];

async fn check(probe: &Probe) -> Judgement {
    for size in SIZES {
        let connection = probe.connection().await?;
        let request = probe.request(64);
        let mut running = probe.stream_on(&probe.connect().await?).await;
        running.send(&request);
        running.half_close();
        running.first_text().await?;
        let mib = size / MIB;

        let what = format!("WorkerHealthRequest with an unknown field of {mib} MiB");
        let health = probe.unary_on(&connection, "Health", &padded(size), &what, &probe.options()).await;
        let refused = taken_or_refused(probe, &what, &health.end)?;

        let what = format!("StreamPredictRequest with an unknown field of {mib} MiB");
        let ask = probe.request(2);
        let mut stream = probe.stream().await?;
        stream.send_bytes(&[probe.dialect().encode_request(ask.clone()), padded(size)].concat(), &what);
        stream.half_close();
        taken_or_refused(probe, &what, &stream.finish(ask).await.end)?;

        let beside = running.finish(request).await.end;
        probe.assert(beside.is_ok(), || {
            format!("a generation on another connection, running while {mib} MiB came, {}", beside.told())
        })?;
        probe.still_serves(&format!("a message of {mib} MiB")).await?;
        if refused {
            break;
        }
    }
    Ok(())
}

/// Whether it was refused; anything but OK or a refusal for its size is a failure.
fn taken_or_refused(probe: &Probe, what: &str, end: &End) -> Result<bool, NotPassed> {
    let refused = matches!(end.code(), Some(Code::ResourceExhausted | Code::OutOfRange));
    probe.assert(refused || end.is_ok(), || {
        format!("{what} {}, not RESOURCE_EXHAUSTED, OUT_OF_RANGE or OK", end.told())
    })?;
    Ok(refused)
}

/// A message with nothing but the unknown field 1000, a string of so many zero bytes.
fn padded(size: usize) -> Vec<u8> {
    let mut message = vec![0xC2, 0x3E];
    prost::encode_length_delimiter(size, &mut message).unwrap_or_default();
    message.resize(message.len() + size, 0);
    message
}

/// Refuses a large message as it should, and then leaves the next call without an answer.
#[derive(Default)]
struct StopsAnswering {
    stuck: AtomicBool,
}

#[tonic::async_trait]
impl Behaviour for StopsAnswering {
    fn message_limit(&self) -> usize {
        usize::MAX
    }

    fn received(&self, _method: &str, bytes: &Bytes) -> Result<(), Status> {
        if bytes.len() > 4 * MIB {
            self.stuck.store(true, Ordering::Relaxed);
            return Err(Status::resource_exhausted("the message is too large"));
        }
        Ok(())
    }

    async fn http(&self, request: HttpRequest, next: Next<'_>) -> HttpResponse {
        if self.stuck.swap(false, Ordering::Relaxed) {
            return std::future::pending().await;
        }
        next.run(request).await
    }
}
