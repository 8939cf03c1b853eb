//! `conformance run`: reach the target, run the plan, feed the reports, say the exit code.

use std::{path::PathBuf, time::Duration};

use present::Console;
use tokio::sync::mpsc;
use wire::{Address, Tls};

use super::{
    call::{CallArgs, reach, refuse},
    patience::{interrupted, told},
    tls::TlsArgs,
};
use crate::{
    events::Event,
    exit::Exit,
    known_failures::KnownFailures,
    reports::{Format, Reports, Run},
    runner::{Conduct, Plan, Selection, conduct, survey},
    targets::Target,
    vocabulary::{Profile, Role},
};

/// Arguments of `conformance run`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    /// The endpoint: unix:///abs/path, host:port or https://host:port; twice for its Unix socket and its TCP port.
    /// Without it, the reference sidecar beside this program is started and tested
    #[arg(long, value_name = "ADDR")]
    pub target: Vec<Address>,
    /// Start this command first and stop it afterwards; it is ready when --target takes connections or, without
    /// --target, when it has printed `listening on ADDR`
    #[arg(long, value_name = "CMD")]
    pub spawn: Option<String>,
    /// What the endpoint is
    #[arg(long, value_name = "ROLE", value_delimiter = ',', default_value = "server", value_parser = role)]
    pub role: Vec<Role>,
    /// How much is asked: every MUST; everything; or everything as deployed (cy.llm is the documented name)
    #[arg(long, value_enum, default_value_t = Profile::Full)]
    pub profile: Profile,
    /// Calls
    #[command(flatten)]
    pub call: CallArgs,
    /// Only these requirements, e.g. 'STREAM-*'; repeatable
    #[arg(long, value_name = "GLOB")]
    pub only: Vec<String>,
    /// Not these requirements; repeatable
    #[arg(long, value_name = "GLOB")]
    pub skip: Vec<String>,
    /// A SHOULD that fails, or a check that could not see, makes the run fail too
    #[arg(long)]
    pub strict: bool,
    /// A reviewed TOML list of failures that are known; one that passes is red
    #[arg(long, value_name = "FILE")]
    pub known_failures: Option<PathBuf>,
    /// Everything random in the run follows from it
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Run only the Ith of N parts of the plan
    #[arg(long, value_name = "I/N", value_parser = shard)]
    pub shard: Option<(usize, usize)>,
    /// Checks at a time; more than one may disturb checks that measure time
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub jobs: usize,
    /// The longest wait for one answer; usually much less is needed, relative to the target's own speed
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// What to print; several times for several
    #[arg(long, value_enum, value_name = "FORMAT", default_values_t = [Format::Pretty])]
    pub format: Vec<Format>,
    /// Where report.json, report.html, junit.xml and events.jsonl go
    #[arg(long, value_name = "DIR", default_value = "target/conformance")]
    pub output: PathBuf,
    /// TLS
    #[command(flatten)]
    pub tls: TlsArgs,
}

const EXAMPLES: &str = "\
Examples:
  conformance run                                      test the reference sidecar beside this program
  conformance run --target localhost:50050             test a backend that runs
  conformance run --target unix:///tmp/cy_coordinator.sock --dialect cy.llm --profile deployed
  conformance run --target localhost:50051 --only 'STREAM-*' --model qwen-7b
  conformance run --spawn 'python server.py' --target localhost:50051
  conformance run --target https://backend:443 --tls-ca ca.pem

Exit codes: 0 conformant, 1 a MUST failed (with --strict also a SHOULD or a check that could not see; or a known failure
passes now), 2 wrong usage, 3 the target could not be reached or nothing could be judged, 4 the suite is at fault,
130 interrupted.";

/// Runs the suite.
pub async fn run(args: RunArgs) -> anyhow::Result<Exit> {
    let selection = Selection {
        roles: args.role.clone(),
        profile: args.profile,
        only: args.only.clone(),
        skip: args.skip.clone(),
        shard: args.shard,
    };
    let plan = match Plan::new(&selection) {
        Ok(plan) => plan,
        Err(empty) => return Ok(refuse(Exit::Usage, &empty)),
    };
    let known_failures = match args.known_failures.as_deref().map(KnownFailures::read).transpose() {
        Ok(known_failures) => known_failures.unwrap_or_default(),
        Err(bad) => return Ok(refuse(Exit::Usage, &bad)),
    };
    let tls = match args.tls.read() {
        Ok(tls) => tls,
        Err(bad) => return Ok(refuse(Exit::Usage, &bad)),
    };
    if (args.spawn.is_none() || !args.target.is_empty())
        && let Some(option) = args.tls.idle(&args.target)
    {
        let why = format!("{option} is for TLS, and no target has it; write --target https://host:port");
        return Ok(refuse(Exit::Usage, &why));
    }
    let log = args.output.join("target.log");
    let mut target = match reach(args.spawn.as_deref(), &args.target, &log).await {
        Ok(target) => target,
        Err(exit) => return Ok(exit),
    };
    let exit = judge(&args, plan, known_failures, &tls, &target).await;
    if let Some(process) = target.process()
        && let Some(status) = process.exited()
    {
        eprintln!(
            "note: the target ended by itself with {status}; its output is in {}",
            process.log().display()
        );
    }
    target.stop().await;
    exit
}

async fn judge(
    args: &RunArgs,
    plan: Plan,
    known_failures: KnownFailures,
    tls: &Tls,
    target: &Target,
) -> anyhow::Result<Exit> {
    let surveying = survey(
        target.addresses(),
        tls,
        args.call.dialect.0,
        args.profile.documented(),
        args.call.model.as_deref(),
        args.call.token.as_deref().or(target.token()),
        args.timeout,
    );
    let surveyed = tokio::select! {
        surveyed = told("looking at the target, which takes its time", surveying) => surveyed,
        () = interrupted() => return Ok(Exit::Interrupted),
    };
    let surveyed = match surveyed {
        Ok(surveyed) => surveyed,
        Err(unreachable) if unreachable.explained => return Ok(refuse(Exit::Unreachable, &unreachable)),
        Err(unreachable) => {
            let hint =
                "Is it running, and is the address right? Name it with --target, or start it with --spawn.";
            return Ok(refuse(Exit::Unreachable, &format!("{unreachable}. {hint}")));
        }
    };
    let mut reports = match Reports::open(&args.format, &args.output, Console::detect()) {
        Ok(reports) => reports,
        Err(error) => {
            return Ok(refuse(
                Exit::Usage,
                &format!("cannot write reports into {}: {error}", args.output.display()),
            ));
        }
    };
    let run = Conduct {
        plan,
        target: surveyed,
        roles: args.role.clone(),
        profile: args.profile,
        seed: args.seed,
        jobs: args.jobs,
        command: command_line(args),
        known_failures,
        strict: args.strict,
    };
    let run = feed(&mut reports, conduct(run, interrupted())).await;
    let mut exit = run.conclusion().exit;
    if run.finished.is_none() {
        refuse(exit, &"the run broke off before its end");
    }
    for (report, error) in reports.finish() {
        if error.kind() != std::io::ErrorKind::BrokenPipe {
            let broken = refuse(Exit::Harness, &format!("cannot write the report {report}: {error}"));
            exit = if exit == Exit::Interrupted { exit } else { broken };
        }
    }
    Ok(exit)
}

/// Feeds the reports until the run's last event, and gathers the run.
async fn feed(reports: &mut Reports, mut events: mpsc::Receiver<Event>) -> Run {
    let mut run = Run::default();
    while let Some(event) = events.recv().await {
        run.take(&event);
        reports.event(&event);
    }
    run
}

/// The command line that reaches the same target again. The token is left to the environment.
fn command_line(args: &RunArgs) -> String {
    let mut words = vec!["conformance run".to_owned()];
    let mut add = |flag: &str, value: &str| {
        let plain = value.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:,=".contains(c));
        let quoted = if plain { value.to_owned() } else { format!("'{}'", value.replace('\'', "'\\''")) };
        words.extend([flag.to_owned(), quoted]);
    };
    for target in &args.target {
        add("--target", &target.to_string());
    }
    if let Some(command) = &args.spawn {
        add("--spawn", command);
    }
    if let Some(dialect) = args.call.dialect.0 {
        add("--dialect", dialect.name());
    }
    if args.profile != Profile::Full {
        add("--profile", args.profile.name());
    }
    if let Some(model) = &args.call.model {
        add("--model", model);
    }
    for (option, value) in args.tls.words() {
        add(option, &value);
    }
    words.join(" ")
}

fn role(name: &str) -> Result<Role, String> {
    Role::ALL
        .into_iter()
        .find(|role| role.to_string() == name)
        .ok_or_else(|| "expected server, proxy, gateway or enterprise".to_owned())
}

fn shard(text: &str) -> Result<(usize, usize), String> {
    let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    parts
        .filter(|(i, n)| (1..=*n).contains(i))
        .ok_or_else(|| "expected I/N with I from 1 to N, such as 1/4".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_i_of_n() {
        assert_eq!(shard("2/3"), Ok((2, 3)));
        for bad in ["0/3", "4/3", "x/3", "3", ""] {
            assert!(shard(bad).is_err(), "{bad}");
        }
    }
}
