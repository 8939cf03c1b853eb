//! What is looked at beside the load: the server's own metrics before and after it, and Health while it lasts. Neither may
//! fail a run: what cannot be seen is a warning.

use std::{sync::Arc, time::Duration};

use latency::{
    Endpoint, Url,
    health::{HealthFigures, Monitor},
    scrape::Page,
    server::ServerFigures,
};
use tokio::sync::Notify;

use super::values::duration;

/// What to look at.
#[derive(Clone, Debug, clap::Args)]
pub struct BesideArgs {
    /// Read the server's own metrics from this URL before and after the load, in Prometheus' text format, and show them
    /// beside the client's figures: http://host:port/metrics
    #[arg(long, value_name = "URL")]
    pub metrics: Option<Url>,
    /// Call Health at this interval during the load, on a connection of its own, and report how fast it answers
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub health_every: Option<Duration>,
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) server: Option<ServerFigures>,
    pub(super) health: Option<HealthFigures>,
}

impl BesideArgs {
    /// Waits for `load`, and looks.
    pub(super) async fn around<T>(
        &self,
        endpoint: &Arc<Endpoint>,
        load: impl Future<Output = T>,
    ) -> (T, Seen) {
        let before = self.read().await;
        let (monitor, over) = (Monitor::default(), Notify::new());
        let load = async {
            let done = load.await;
            over.notify_one();
            done
        };
        let watch = async {
            let every = self.health_every?;
            monitor.watch(endpoint, every, over.notified()).await;
            Some(monitor.figures())
        };
        let (done, health) = tokio::join!(load, watch);
        let server = match (before, self.read().await) {
            (Some((source, before)), Some((_, after))) => {
                let figures = ServerFigures::between(&source, &before, &after);
                figures.map_err(|why| warn(&source, &why)).ok()
            }
            _ => None,
        };
        (done, Seen { server, health })
    }

    async fn read(&self) -> Option<(String, Page)> {
        let url = self.metrics.as_ref()?;
        match url.fetch().await {
            Ok(text) => Some((url.to_string(), Page::parse(&text))),
            Err(error) => {
                warn(&url.to_string(), &error.to_string());
                None
            }
        }
    }
}

fn warn(source: &str, why: &str) {
    eprintln!("warning: the server's metrics at {source} are left out: {why}");
}
