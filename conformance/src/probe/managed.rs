//! Instances of the target that a check starts and ends itself, each with a probe of its own.

use std::{
    process::ExitStatus,
    sync::Arc,
    time::{Duration, Instant},
};

use tonic::Code;
use wire::time;

use super::{Endpoint, Probe};
use crate::{
    target::{Instance, Instances},
    verdict::NotPassed,
};

/// Between two looks whether it serves.
const GLANCE: Duration = Duration::from_millis(20);
/// A model may be loaded for so long before the first generation is served.
const LOADING: Duration = Duration::from_mins(1);

/// One instance, and a probe that asks it.
pub struct Managed {
    instance: Instance,
    /// Asks this instance, and shares the check's evidence.
    pub probe: Probe,
}

impl Probe {
    /// Starts an instance and waits until it serves generations.
    pub async fn started(&self) -> Result<Managed, NotPassed> {
        let managed = self.listening().await?;
        let began = Instant::now();
        loop {
            let generation = managed.probe.predict(managed.probe.request(1)).await;
            match generation {
                Ok(generation) if generation.served().is_ok() => return Ok(managed),
                _ if began.elapsed() < LOADING => tokio::time::sleep(GLANCE).await,
                Ok(generation) => {
                    return Err(NotPassed::Inconclusive(format!(
                        "an instance that was started for this check served no generation within {}: the last one {}",
                        time(LOADING),
                        generation.end.told()
                    )));
                }
                Err(why) => return Err(why.when("at an instance that was started for this check")),
            }
        }
    }

    /// Starts an instance and waits until it listens, and no longer.
    pub async fn listening(&self) -> Result<Managed, NotPassed> {
        let mut instance = self.instances()?.start().await.map_err(not_started)?;
        instance.ready().await.map_err(not_started)?;
        Ok(self.managed(instance))
    }

    /// Starts an instance beside one that runs, at the same addresses, and does not wait for it.
    pub async fn start_beside(&self) -> Result<Instance, NotPassed> {
        self.instances()?.start_beside().await.map_err(not_started)
    }

    /// An instance that was started is to be asked.
    pub fn managed(&self, instance: Instance) -> Managed {
        let addresses = instance.addresses().to_vec();
        let probe = self.variant(Endpoint { addresses, instances: None, ..self.endpoint().clone() });
        Managed { instance, probe }
    }

    /// Bytes of memory that the target's processes hold, where the run has started it by a command and it still runs.
    pub async fn memory(&self) -> Option<u64> {
        self.endpoint().instances.as_ref()?.memory().await
    }

    fn instances(&self) -> Result<&Arc<Instances>, NotPassed> {
        let none = || NotPassed::Skip("the run cannot start the target".to_owned());
        self.endpoint().instances.as_ref().ok_or_else(none)
    }
}

fn not_started(why: impl std::fmt::Display) -> NotPassed {
    NotPassed::Inconclusive(format!("the target could not be started again: {why}"))
}

impl Managed {
    /// Asks it to end, as an orchestrator does.
    pub fn ask_to_end(&self) {
        self.instance.ask_to_end();
    }

    /// Kills it, and waits until it is gone.
    pub async fn kill(mut self) {
        self.instance.kill();
        self.instance.exited_within(self.instance.grace()).await;
        self.instance.stop().await;
    }

    /// How it ends within the time that it has for it; `None` where it does not.
    pub async fn exited(&mut self) -> Option<ExitStatus> {
        self.instance.exited_within(self.instance.grace()).await
    }

    /// The time that it has to end.
    pub fn grace(&self) -> Duration {
        self.instance.grace()
    }

    /// Whether the status with which it ends is its own, and no shell's.
    pub fn is_one_process(&self) -> bool {
        self.instance.is_one_process()
    }

    /// Ends it.
    pub async fn stop(self) {
        self.instance.stop().await;
    }

    /// Whether a request is taken up as new work: `None` where it is, else how it was refused.
    pub async fn refuses(&self, on_the_same_connection: bool) -> Result<Option<wire::End>, NotPassed> {
        if !on_the_same_connection {
            self.probe.forget_connection().await;
        }
        let connection = match self.probe.connection().await {
            Ok(connection) => connection,
            Err(NotPassed::Fail(why)) => return Ok(Some(wire::End::Closed(why))),
            Err(other) => return Err(other),
        };
        let request = self.probe.request(1);
        let mut stream = self.probe.stream_on(&connection).await;
        stream.send(&request);
        stream.half_close();
        let generation = stream.finish(request).await;
        let taken = generation.end.code() == Some(Code::Ok) || !generation.responses.is_empty();
        Ok((!taken).then_some(generation.end))
    }
}
