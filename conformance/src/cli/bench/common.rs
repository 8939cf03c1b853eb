//! What every kind of measurement asks for, and the way from there to a job.

use std::{path::Path, sync::Arc, time::Duration};

use ai_inference_proto::Dialect;
use latency::{Endpoint, arrivals::Load, load::Job, prompts::Prompts};
use present::text::{cut, visible};
use wire::{Address, Tls};

use crate::{
    cli::{
        call::{CallArgs, refuse},
        patience::{interrupted, told},
        tls::TlsArgs,
    },
    exit::Exit,
    runner::{Asked, Surveyed, Unreachable, survey},
    target::Target,
};

/// A load with every option resolved.
#[derive(Clone, Debug)]
pub(super) struct LoadSettings {
    pub(super) load: Load,
    /// `None` where neither the command line nor a scenario sets it: the command has its own.
    pub(super) length: Option<Duration>,
    pub(super) requests: Option<u64>,
    pub(super) prompts: Prompts,
    pub(super) tokens: u32,
    pub(super) connections: usize,
    pub(super) most_running: Option<u32>,
    pub(super) per_stream: u32,
    pub(super) cancel_share: f64,
    pub(super) timeout: Duration,
    pub(super) warm_up: Duration,
    pub(super) seed: u64,
    pub(super) call: CallArgs,
    pub(super) tls: TlsArgs,
}

impl LoadSettings {
    /// Reads what can be wrong before anything is started: the certificates and the prompts.
    pub(super) fn read(&self, targets: &[Address]) -> Result<(Tls, Vec<String>), Exit> {
        let tls = self.tls.read().map_err(|bad| refuse(Exit::Usage, &bad))?;
        if !targets.is_empty()
            && let Some(option) = self.tls.idle(targets)
        {
            let why = format!("{option} is for TLS, and no target has it; write https://host:port");
            return Err(refuse(Exit::Usage, &why));
        }
        if self.per_stream > 1 && self.cancel_share > 0.0 {
            let why = "--cancel-share needs --per-stream 1: a stream ends for all that share it";
            return Err(refuse(Exit::Usage, &why));
        }
        let prompts = self.prompts.draw(PROMPTS, self.seed);
        let prompts =
            prompts.map_err(|error| refuse(Exit::Usage, &format!("--prompts {}: {error}", self.prompts)))?;
        Ok((tls, prompts))
    }

    /// Looks at the target, and makes a job for it.
    pub(super) async fn job(
        &self,
        target: &Target,
        model: Option<&str>,
        tls: &Tls,
        prompts: Vec<String>,
    ) -> Result<Job, Exit> {
        let addresses = &target.addresses()[..1];
        let token = self.call.token.as_deref().or(target.token());
        let surveying = async {
            let mut surveyed = survey(Asked {
                addresses,
                tls,
                dialect: self.call.dialect.0,
                documented: Dialect::Contract,
                model,
                token,
                metadata: &self.call.metadata,
                patience: self.timeout,
                instances: None,
            })
            .await?;
            surveyed.prefer_default().await;
            Ok::<_, Unreachable>(surveyed)
        };
        let surveyed = tokio::select! {
            surveyed = told("waiting for the first answers of the target", surveying) => surveyed,
            () = interrupted() => return Err(Exit::Interrupted),
        };
        let Surveyed { endpoint, listed, .. } =
            surveyed.map_err(|unreachable| refuse(Exit::Unreachable, &unreachable))?;
        if listed.len() > 1 {
            let listed = cut(&visible(&listed.join(", ")), LONGEST_LIST);
            let measured = if endpoint.model.is_empty() { "the endpoint's default" } else { "the first" };
            eprintln!(
                "{} lists {listed}; measuring {measured}, --model names another",
                target.addresses()[0]
            );
        }
        let metadata = self.call.with_token(token)?;
        Ok(Job {
            endpoint: Arc::new(Endpoint {
                address: addresses[0].clone(),
                tls: tls.clone(),
                dialect: endpoint.dialect,
                metadata,
            }),
            model: endpoint.model,
            load: self.load.clone(),
            length: self.length(),
            requests: self.requests,
            prompts,
            tokens: self.tokens,
            connections: self.connections,
            most_running: self.most_running.map_or(usize::MAX, |most| most as usize),
            per_stream: self.per_stream as usize,
            cancel_share: self.cancel_share,
            limit: self.timeout,
            seed: self.seed,
        })
    }

    /// Reads a trace and counts the planned requests, before anything is started; the error is said already.
    pub(super) fn check_arrivals(&self) -> Result<(), Exit> {
        self.load.check(self.length(), self.requests).map_err(|bad| refuse(Exit::Usage, &bad))
    }

    /// As given, or long enough for a run that stands alone.
    pub(super) fn length(&self) -> Duration {
        let counted = self.requests.is_some() && !matches!(self.load, Load::Ramp { .. });
        self.length.unwrap_or(if counted { LONGEST_RUN } else { RUN })
    }

    /// Sets the length where neither it nor a number of requests is given.
    pub(super) fn default_length(&mut self, length: Duration) {
        if self.requests.is_none() {
            self.length.get_or_insert(length);
        }
    }
}

/// Says where the reports are, on standard error: standard output may be read by a program.
pub(super) fn written(output: &Path, files: &[&str]) {
    eprintln!("reports in {}: {}", output.display(), files.join(", "));
}

/// More than are under way at once, so that no two that run are equal.
const PROMPTS: usize = 1000;
/// In characters.
const LONGEST_LIST: usize = 300;
const RUN: Duration = Duration::from_secs(30);
/// Of a run that ends after a number of requests.
const LONGEST_RUN: Duration = Duration::from_hours(24);
/// A side in a block: so short that twenty blocks take no more than some minutes.
pub(super) const BLOCK: Duration = Duration::from_secs(3);
