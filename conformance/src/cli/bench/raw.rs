//! The options of a load in two stages: what the command line and a scenario file give, and what follows from both.
//!
//! The first stage keeps whether an option was given. The second one lays the command line over the file, and both over the
//! defaults.

use std::{path::PathBuf, str::FromStr, time::Duration};

use latency::{
    arrivals::Load,
    prompts::Prompts,
    scenario::{BadScenario, Scenario},
};

use super::{
    common::LoadSettings,
    values::{cancelled, connections, duration, duration_or_none, number},
};
use crate::{
    cli::{
        call::{CallArgs, dialect, refuse},
        tls::TlsArgs,
    },
    exit::Exit,
};

/// The load, the same for every endpoint that is measured.
#[derive(Clone, Debug, clap::Args)]
pub struct LoadArgs {
    /// A file that sets the options below, as benches/scenarios/chat.toml does. An option that is given as well wins over the
    /// file
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// When requests are sent: closed:CLIENTS, constant:RATE, poisson:RATE, ramp:FROM..TO or trace:FILE, rates in requests
    /// a second. Only the last four show what a stall does to the requests that are due meanwhile [default: closed:1]
    #[arg(long, value_name = "LOAD")]
    pub load: Option<Load>,
    /// How long requests are sent [default: 30s; where blocks are compared, 3s of each side in each block, or as long as the
    /// saved side]
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub length: Option<Duration>,
    /// End after this number of requests. Without --length this number alone ends the run, except for a ramp
    #[arg(long, value_name = "N", value_parser = |text: &str| number::<u64>(text, 1..=10_000_000))]
    pub requests: Option<u64>,
    /// The prompts: short, long, chinese, mixed, or file:PATH with a prompt a line [default: short]
    #[arg(long, value_name = "SET")]
    pub prompts: Option<Prompts>,
    /// Tokens to ask for [default: 64]
    #[arg(long, value_name = "N", value_parser = |text: &str| number::<u32>(text, 1..=1_000_000))]
    pub tokens: Option<u32>,
    /// Connections to spread requests over [default: 1]
    #[arg(long, value_name = "N", value_parser = connections)]
    pub connections: Option<usize>,
    /// Most requests that run at once; further ones wait, and their wait counts [default: no limit]
    #[arg(long, value_name = "N", value_parser = |text: &str| number::<u32>(text, 1..=u64::from(u32::MAX)))]
    pub most_running: Option<u32>,
    /// Requests that share a stream at once. With more than one, streams stay open for later requests [default: 1]
    #[arg(long, value_name = "N", value_parser = |text: &str| number::<u32>(text, 1..=1024))]
    pub per_stream: Option<u32>,
    /// Share of the requests to cancel after their first text, drawn by the seed: 10% or 0.1 is one request in ten. With
    /// closed:1 this measures how soon the server is free again, if its Health shows it [default: 0]
    #[arg(long, value_name = "SHARE", value_parser = cancelled)]
    pub cancel_share: Option<f64>,
    /// Longest wait for the end of a request [default: 60s]
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Longest warm-up. The warm-up ends when the time to the first token stays the same [default: 10s]
    #[arg(long, value_name = "DUR", value_parser = duration_or_none)]
    pub warm_up: Option<Duration>,
    /// Seed of the random numbers: the same seed gives the same prompts and the same arrivals [default: 1]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Calls
    #[command(flatten)]
    pub call: CallArgs,
    /// TLS
    #[command(flatten)]
    pub tls: TlsArgs,
}

impl LoadArgs {
    /// Reads the scenario file and resolves every option; the error is said already.
    pub(super) fn resolve(self) -> Result<LoadSettings, Exit> {
        self.over_file().map_err(|bad| refuse(Exit::Usage, &bad))
    }

    fn over_file(self) -> Result<LoadSettings, BadScenario> {
        let file = self.scenario.as_deref().map(|path| Scenario::read(path, &KNOWN)).transpose()?;
        let file = file.unwrap_or_default();
        let mut call = self.call;
        if call.dialect.0.is_none() {
            call.dialect = file.get("dialect", dialect)?.unwrap_or(call.dialect);
        }
        call.model = call.model.or(file.get("model", String::from_str)?);
        let mut tls = self.tls;
        let authority = file.get("tls-ca", PathBuf::from_str)?;
        let insecure = file.get("insecure", |text| match text.parse() {
            Ok(true) if authority.is_some() => Err("it cannot be used with tls-ca"),
            Ok(on) => Ok(on),
            Err(_) => Err("expected true or false"),
        })?;
        // An option for the one takes the place of what the file says of the other.
        if tls.tls_ca.is_none() && !tls.insecure {
            tls.tls_ca = authority;
            tls.insecure = insecure.unwrap_or_default();
        }
        tls.tls_cert = tls.tls_cert.or(file.get("tls-cert", PathBuf::from_str)?);
        tls.tls_key = tls.tls_key.or(file.get("tls-key", PathBuf::from_str)?);
        tls.tls_server_name = tls.tls_server_name.or(file.get("tls-server-name", String::from_str)?);
        let tokens = file.get("tokens", |text| number(text, 1..=1_000_000))?;
        let most_running = file.get("most-running", |text| number(text, 1..=u64::from(u32::MAX)))?;
        let per_stream = file.get("per-stream", |text| number(text, 1..=1024))?;
        Ok(LoadSettings {
            load: self.load.or(file.get("load", Load::from_str)?).unwrap_or(Load::Closed { clients: 1 }),
            length: self.length.or(file.get("length", duration)?),
            requests: self.requests.or(file.get("requests", |text| number(text, 1..=10_000_000))?),
            prompts: self.prompts.or(file.get("prompts", Prompts::from_str)?).unwrap_or(Prompts::Short),
            tokens: self.tokens.or(tokens).unwrap_or(64),
            connections: self.connections.or(file.get("connections", connections)?).unwrap_or(1),
            most_running: self.most_running.or(most_running),
            per_stream: self.per_stream.or(per_stream).unwrap_or(1),
            cancel_share: self.cancel_share.or(file.get("cancel-share", cancelled)?).unwrap_or(0.0),
            timeout: self.timeout.or(file.get("timeout", duration)?).unwrap_or(Duration::from_mins(1)),
            warm_up: self
                .warm_up
                .or(file.get("warm-up", duration_or_none)?)
                .unwrap_or(Duration::from_secs(10)),
            seed: self.seed.or(file.get("seed", u64::from_str)?).unwrap_or(1),
            call,
            tls,
        })
    }
}

/// What a scenario may set: the options of a load, without secrets.
const KNOWN: [&str; 19] = [
    "load",
    "length",
    "requests",
    "prompts",
    "tokens",
    "connections",
    "most-running",
    "per-stream",
    "cancel-share",
    "timeout",
    "warm-up",
    "seed",
    "dialect",
    "model",
    "tls-ca",
    "tls-cert",
    "tls-key",
    "tls-server-name",
    "insecure",
];

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    fn resolved(given: &[&str], file: &str) -> LoadSettings {
        let place = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&place, file).unwrap();
        let path = place.path().display().to_string();
        let arguments = [&["load", "--scenario", &path], given].concat();
        let matches = LoadArgs::augment_args(Command::new("load")).try_get_matches_from(arguments).unwrap();
        LoadArgs::from_arg_matches(&matches).unwrap().over_file().unwrap()
    }

    #[test]
    fn the_command_line_wins_over_the_file_and_the_file_over_the_defaults() {
        let settings = resolved(&["--tokens", "8"], "load = 'closed:3'\ntokens = 4\ncancel-share = '10%'");
        assert_eq!((settings.tokens, settings.load), (8, Load::Closed { clients: 3 }));
        assert!((settings.cancel_share - 0.1).abs() < 1e-9);
        assert_eq!((settings.per_stream, settings.seed, settings.length), (1, 1, None));
    }

    #[test]
    fn a_scenario_can_accept_any_certificate_and_an_authority_on_the_command_line_wins() {
        assert!(resolved(&[], "insecure = true").tls.insecure);
        let tls = resolved(&["--tls-ca", "ca.pem"], "insecure = true").tls;
        assert_eq!((tls.insecure, tls.tls_ca), (false, Some(PathBuf::from("ca.pem"))));
        let tls = resolved(&["--insecure"], "tls-ca = 'ca.pem'").tls;
        assert_eq!((tls.insecure, tls.tls_ca), (true, None));
    }

    #[test]
    fn a_scenario_can_set_every_option_but_secrets() {
        let load = LoadArgs::augment_args(Command::new("load"));
        let options = load.get_arguments().filter_map(|argument| argument.get_long());
        let options: Vec<_> =
            options.filter(|option| !["metadata", "scenario", "token"].contains(option)).collect();
        assert_eq!(options.len(), KNOWN.len(), "{options:?}");
        assert!(options.iter().all(|option| KNOWN.contains(option)), "{options:?}");
    }
}
