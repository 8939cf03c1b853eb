//! What every kind of measurement asks for, and the way from there to a job.

use std::{path::PathBuf, sync::Arc, time::Duration};

use ai_inference_proto::Dialect;
use latency::{Endpoint, arrivals::Load, load::Job, prompts::Prompts};
use present::text::{cut, visible};
use wire::{Address, Tls};

use super::values::{cancelled, duration, duration_or_none};
use crate::{
    cli::{
        call::{CallArgs, bearer, refuse},
        patience::{interrupted, told},
        tls::TlsArgs,
    },
    exit::Exit,
    runner::{Surveyed, Unreachable, survey},
    targets::Target,
};

/// The load, the same for every endpoint that is measured.
#[derive(Clone, Debug, clap::Args)]
pub struct LoadArgs {
    /// A file that says the options below, as benches/scenarios/chat.toml does; those that are given win over it
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// When requests are sent: closed:CLIENTS, constant:RATE, poisson:RATE, ramp:FROM..TO or trace:FILE, rates in requests
    /// a second. Only the last four show what a stall does to those who come meanwhile
    #[arg(long, value_name = "LOAD", default_value = "closed:1")]
    pub load: Load,
    /// How long [default: 30s; where blocks are compared 3s of each side in each block, or as long as what is saved]
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub length: Option<Duration>,
    /// End after so many requests. Without --length this number alone ends the run, except for a ramp
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub requests: Option<u64>,
    /// What is asked: short, long, chinese, mixed, or file:PATH with a prompt a line
    #[arg(long, value_name = "SET", default_value = "short")]
    pub prompts: Prompts,
    /// Tokens to ask for
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub tokens: u32,
    /// Connections to spread requests over
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = connections)]
    pub connections: usize,
    /// Requests under way at once; those that are due meanwhile wait [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub most_running: Option<u32>,
    /// Requests that share a stream at once; with more than one, streams stay open for later requests too
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub per_stream: u32,
    /// Share of the requests to cancel after their first text, drawn by the seed: 10% or 0.1 is one request in ten. With
    /// closed:1 this measures how soon the server is free again, if its Health shows it
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = cancelled)]
    pub cancel_share: f64,
    /// Longest wait for a request
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = duration)]
    pub timeout: Duration,
    /// Longest warm-up; it ends when the time to the first token does not change any more
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = duration_or_none)]
    pub warm_up: Duration,
    /// Prompts and arrivals follow from it
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Calls
    #[command(flatten)]
    pub call: CallArgs,
    /// TLS
    #[command(flatten)]
    pub tls: TlsArgs,
}

impl LoadArgs {
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
        let dialect = self.call.dialect.0;
        let surveying = async {
            let mut surveyed =
                survey(addresses, tls, dialect, Dialect::Contract, model, token, self.timeout).await?;
            surveyed.prefer_default().await;
            Ok::<_, Unreachable>(surveyed)
        };
        let surveyed = tokio::select! {
            surveyed = told("looking at the target, which takes its time", surveying) => surveyed,
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
        let token = bearer(token)?;
        Ok(Job {
            endpoint: Arc::new(Endpoint {
                address: addresses[0].clone(),
                tls: tls.clone(),
                dialect: endpoint.dialect,
                token,
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

fn connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=10_000) => Ok(number),
        _ => Err("expected a number from 1 to 10000".to_owned()),
    }
}

/// More than are under way at once, so that no two that run are equal.
const PROMPTS: usize = 1000;
/// Characters.
const LONGEST_LIST: usize = 300;
const RUN: Duration = Duration::from_secs(30);
/// Of a run that ends after a number of requests.
const LONGEST_RUN: Duration = Duration::from_hours(24);
/// A side in a block: so short that twenty blocks take no more than some minutes.
pub(super) const BLOCK: Duration = Duration::from_secs(3);
