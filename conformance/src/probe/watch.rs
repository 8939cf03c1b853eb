//! grpc.health.v1, the standard health service: the status, and a watch of it.

use std::time::Duration;

use prost::Message as _;
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus::{self, Unknown},
};
use wire::{Call, Connection, End, Item, quote};

use super::Probe;
use crate::verdict::NotPassed;

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// One open watch. Dropping it cancels it.
#[derive(Debug)]
pub struct Watcher(Call);

/// What a watch yields next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// A status.
    Status(ServingStatus),
    /// The end of the watch; [`End::TimedOut`] where it is still open.
    End(End),
}

impl Probe {
    /// The status that Check gives, or how the call ended.
    pub async fn standard_check(&self, service: &str) -> Result<Result<ServingStatus, End>, NotPassed> {
        let (request, what) = request(service);
        let check = self.raw(CHECK, &request, &what).await?;
        Ok(match (check.answer, check.end) {
            (Some(answer), end) if end.is_ok() => status(&answer),
            (None, end) if end.is_ok() => Err(End::Malformed("OK without an answer".to_owned())),
            (_, end) => Err(end),
        })
    }

    /// Opens a watch.
    pub async fn watch(&self, connection: &Connection, service: &str) -> Watcher {
        let mut call = connection.call(WATCH, &self.options(), &self.record).await;
        let (request, what) = request(service);
        call.send(&request, &what);
        call.half_close();
        Watcher(call)
    }
}

impl Watcher {
    /// The next status or the end, waiting at most so long.
    pub async fn next(&mut self, within: Duration) -> Watched {
        match self.0.next(within).await {
            Item::End(end) => Watched::End(end),
            Item::Message(message) => match status(&message.bytes) {
                Ok(status) => {
                    self.0.note(format!("HealthCheckResponse: {}", status.as_str_name()));
                    Watched::Status(status)
                }
                Err(end) => Watched::End(end),
            },
        }
    }

    /// Leaves as a client does: with RST_STREAM.
    pub fn cancel(self) {
        self.0.cancel();
    }
}

fn request(service: &str) -> (Vec<u8>, String) {
    let what = format!("HealthCheckRequest: service {}", quote(service, 80));
    (HealthCheckRequest { service: service.to_owned() }.encode_to_vec(), what)
}

/// The status of an answer; one with a number that the protocol does not know is UNKNOWN.
fn status(answer: &[u8]) -> Result<ServingStatus, End> {
    match HealthCheckResponse::decode(answer) {
        Ok(answer) => Ok(ServingStatus::try_from(answer.status).unwrap_or(Unknown)),
        Err(error) => Err(End::Malformed(format!("no HealthCheckResponse: {error}"))),
    }
}
