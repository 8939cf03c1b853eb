//! HEALTH-010.

use std::time::Duration;

use futures_util::{StreamExt as _, future::join_all};
use http_body_util::{BodyStream, StreamBody};
use tokio::sync::watch;
use tonic::{Code, body::Body};

use crate::{
    exemplar::{Behaviour, HttpRequest, HttpResponse, Next},
    probe::{
        Probe, Watched, Watcher,
        wire::{Connection, End},
    },
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// grpc.health.v1.Health/Watch, where that service is served, sends the status at once and keeps the stream open; a
    /// watcher that leaves disturbs no other.
    ///
    /// # Why it matters
    /// gRPC's own client-side health checking watches each connection. A watch that says nothing, or that ends, takes a
    /// server that serves out of the rotation of all its clients.
    ///
    /// # How it is checked
    /// Three watches are opened, two of them on one connection where it takes two calls. Each must bring a status within a
    /// second (one late answer of three is the machine's), the one that Check gives, and must then stay open. Then one
    /// watcher leaves, twice: the first one by a cancel, and in a second round the last one by closing its connection. The
    /// others must stay open, and a new watch must bring the status. Where grpc.health.v1 is not served, or has no Watch,
    /// which its protocol allows, the check is inconclusive.
    ///
    /// # What a violation looks like
    /// When one watcher leaves, the others' streams end too.
    ///
    /// # References
    /// Contract, HEALTH-010; grpc/health/v1/health.proto; gRPC, "Health Checking Protocol".
    id: "HEALTH-010",
    level: Should,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "a health watch stays open when another watcher leaves",
    check: check,
    mutant: OneEndsAll, fault: "the first watcher to leave ends the others", seen_as: "when another watcher left",
}

/// "At once".
const LIMIT: Duration = Duration::from_secs(1);
const TRIES: usize = 3;
/// A watch that is to end ends within this.
const QUIET: Duration = Duration::from_millis(100);

/// How a watcher leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    First,
    LastWithItsConnection,
}

async fn check(probe: &Probe) -> Judgement {
    probe.health(&probe.trace_id()).await?.informative()?;
    let service = watched_service(probe).await?;
    let shared = probe.takes_two_calls().await?;
    for leaves in [Leaves::First, Leaves::LastWithItsConnection] {
        one_leaves(probe, service, shared, leaves).await?;
    }
    Ok(())
}

/// The name whose status is known.
async fn watched_service(probe: &Probe) -> Result<&'static str, NotPassed> {
    for service in ["", probe.dialect().service()] {
        match probe.standard_check(service).await? {
            Ok(_) => return Ok(service),
            Err(end) if end.code() == Some(Code::NotFound) => {}
            Err(end) if end.code() == Some(Code::Unimplemented) => {
                return Err(NotPassed::Inconclusive("grpc.health.v1.Health is not served".into()));
            }
            Err(end) => return Err(NotPassed::Fail(format!("grpc.health.v1.Health/Check {}", end.told()))),
        }
    }
    Err(NotPassed::Inconclusive(
        "grpc.health.v1.Health/Check knows neither \"\" nor the service (WIRE-012)".into(),
    ))
}

async fn one_leaves(probe: &Probe, service: &str, shared: bool, leaves: Leaves) -> Judgement {
    let first = probe.connect().await?;
    let second = if shared { first.clone() } else { probe.connect().await? };
    let third = probe.connect().await?;
    let mut watchers = Vec::new();
    for connection in [&first, &second, &third] {
        watchers.push(opened(probe, connection, service).await?);
    }
    stay_open(probe, &mut watchers, "after its first status").await?;
    match leaves {
        Leaves::First => watchers.remove(0).cancel(),
        Leaves::LastWithItsConnection => drop((watchers.pop(), third)),
    }
    stay_open(probe, &mut watchers, "when another watcher left").await?;
    opened(probe, &first, service).await.map(drop)
}

/// A watch that has brought its first status.
async fn opened(probe: &Probe, connection: &Connection, service: &str) -> Result<Watcher, NotPassed> {
    for _ in 0..TRIES {
        let mut watcher = probe.watch(connection, service).await;
        let brought = match watcher.next(LIMIT).await {
            Watched::Status(status) => status,
            Watched::End(End::TimedOut(_)) => continue,
            Watched::End(end) if end.code() == Some(Code::Unimplemented) => {
                return Err(NotPassed::Inconclusive(
                    "grpc.health.v1.Health has no Watch, which its protocol allows".into(),
                ));
            }
            Watched::End(end) => {
                return Err(NotPassed::Fail(format!(
                    "a watch of {service:?} {}, without a status",
                    end.told()
                )));
            }
        };
        let checked = probe.standard_check(service).await?;
        if checked.is_ok_and(|checked| checked == brought) {
            probe.assert(true, String::new)?;
            return Ok(watcher);
        }
        // It may have changed in between, and then the watch brings the new one.
        let next = watcher.next(LIMIT).await;
        let checked = probe.standard_check(service).await?;
        let agree = matches!((&next, &checked), (Watched::Status(next), Ok(checked)) if next == checked);
        probe.assert(agree, || {
            let checked = checked.map_or_else(|end| end.told(), |s| format!("says {}", s.as_str_name()));
            format!(
                "a watch of {service:?} brought the status {}, and Check {checked}",
                brought.as_str_name()
            )
        })?;
        return Ok(watcher);
    }
    Err(NotPassed::Fail(format!(
        "a watch of {service:?} brought no status within {} s, in each of {TRIES} tries",
        LIMIT.as_secs()
    )))
}

async fn stay_open(probe: &Probe, watchers: &mut [Watcher], when: &str) -> Judgement {
    let count = watchers.len();
    let ends = join_all(watchers.iter_mut().map(ended)).await;
    let ended: Vec<_> = ends.into_iter().flatten().collect();
    probe.assert(ended.is_empty(), || {
        format!("{} of {count} open watches ended {when}: one {}", ended.len(), ended[0].told())
    })
}

/// How a watch ended within a short time, if it did.
async fn ended(watcher: &mut Watcher) -> Option<End> {
    loop {
        match watcher.next(QUIET).await {
            Watched::Status(_) => {}
            Watched::End(End::TimedOut(_)) => return None,
            Watched::End(end) => return Some(end),
        }
    }
}

/// All watches share one task, which ends with the first of them.
struct OneEndsAll {
    left: watch::Sender<()>,
}

impl Default for OneEndsAll {
    fn default() -> Self {
        Self { left: watch::Sender::new(()) }
    }
}

/// Says so when it is dropped.
struct Leaving(watch::Sender<()>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.send_replace(());
    }
}

#[tonic::async_trait]
impl Behaviour for OneEndsAll {
    async fn http(&self, request: HttpRequest, next: Next<'_>) -> HttpResponse {
        if request.uri().path() != "/grpc.health.v1.Health/Watch" {
            return next.run(request).await;
        }
        let (leaving, mut others) = (Leaving(self.left.clone()), self.left.subscribe());
        let (head, body) = next.run(request).await.into_parts();
        let frames = BodyStream::new(body).take_until(Box::pin(async move {
            let _ = others.changed().await;
        }));
        let frames = frames.inspect(move |_| {
            let _leaves_with_the_stream = &leaving;
        });
        HttpResponse::from_parts(head, Body::new(StreamBody::new(frames)))
    }
}
