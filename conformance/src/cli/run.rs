//! `conformance run`: reach the target, run the plan, feed the reports, say the exit code.

use std::{path::PathBuf, time::Duration};

use present::Console;
use tokio::sync::mpsc;
use wire::{Address, Tls};

use super::{
    call::{CallArgs, reach, refuse, stop},
    declared::Declared,
    doors,
    forecast::{self, Forecast},
    patience::{interrupted, told},
    target_args::TargetArgs,
    tls::TlsArgs,
};
use crate::{
    baseline::Baseline,
    events::{Event, RunFinished, Subject, Summary, Verdict},
    exit::Exit,
    reports::{Format, Reports},
    runner::{Asked, Conduct, Plan, Redactor, Refusal, Selection, Unreachable, conduct, ready, survey},
    target::{Capability, Target},
    vocabulary::{Profile, Role},
};

/// Arguments of `conformance run`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    /// The endpoint: unix:///abs/path, host:port or https://host:port; twice for its Unix socket and its TCP port
    #[arg(long, value_name = "ADDR")]
    pub target: Vec<Address>,
    /// Start this command first and stop it afterwards; it is ready when --target takes connections or, without
    /// --target, when it has printed `listening on ADDR`
    #[arg(long, value_name = "CMD")]
    pub spawn: Option<String>,
    /// Its description
    #[command(flatten)]
    pub described: TargetArgs,
    /// What the endpoint is [default: what the target file says, else server]
    #[arg(long, value_name = "ROLE", value_delimiter = ',', value_parser = role)]
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
    /// Checks at a time, at most. How many it is follows from the target's capacity, and checks that measure time or
    /// fill the target always run alone
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub jobs: usize,
    /// Wait so long for a target that is not there or not ready yet [default: 0s, and 10s with --spawn]
    #[arg(long, value_name = "DUR", value_parser = humantime::parse_duration)]
    pub wait: Option<Duration>,
    /// Judge the target in any case, also where a look before the first check shows that nothing can work
    #[arg(long)]
    pub no_preflight: bool,
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
  conformance run --target localhost:50050             test a backend that runs
  conformance run --target unix:///tmp/cy_coordinator.sock --dialect cy.llm --profile deployed
  conformance run --target localhost:50051 --only 'STREAM-*' --model qwen-7b
  conformance run --spawn 'python server.py' --target localhost:50051
  conformance run --target-file backend.toml           as the file describes it
  conformance run --container 'me/server:1 serve'
  conformance run --target https://backend:443 --tls-ca ca.pem

Exit codes: 0 conformant, 1 a MUST failed (with --strict also a SHOULD or a check that could not see; or a known failure
passes now), 2 wrong usage, 3 the target could not be reached or nothing could be judged, 4 the suite is at fault,
130 interrupted.";

/// Runs the suite.
pub async fn run(mut args: RunArgs) -> anyhow::Result<Exit> {
    let command = command_line(&args);
    let described = args.described.resolve(&args.target, args.spawn.as_deref(), &mut args.call);
    let (file, start) = match described {
        Ok(described) => described,
        Err(exit) => return Ok(exit),
    };
    let (mut capabilities, mut subject) = (None, None);
    if let Some(file) = file {
        if args.role.is_empty() {
            args.role = file.roles;
        }
        args.known_failures = args.known_failures.or(file.known_failures);
        capabilities = Some(file.capabilities);
        subject = Some(Subject { name: file.name, version: file.version, url: file.url });
    }
    if args.role.is_empty() {
        args.role.push(Role::Server);
    }
    let declared = Declared::new(capabilities);
    let named = Named { command, subject };
    let selection = Selection {
        roles: args.role.clone(),
        profile: args.profile,
        only: args.only.clone(),
        skip: args.skip.clone(),
        shard: args.shard,
    };
    let mut plan = match Plan::new(&selection) {
        Ok(plan) => plan,
        Err(empty) => return Ok(refuse(Exit::Usage, &empty)),
    };
    if let Some(left_out) = declared.narrow(&mut plan) {
        eprintln!("note: {left_out}");
        if plan.requirements.is_empty() {
            return Ok(refuse(Exit::Usage, &"nothing is left to ask"));
        }
    }
    let baseline = match args.known_failures.as_deref().map(Baseline::read).transpose() {
        Ok(baseline) => baseline.unwrap_or_default(),
        Err(bad) => return Ok(refuse(Exit::Usage, &bad)),
    };
    let tls = match args.tls.read() {
        Ok(tls) => tls,
        Err(bad) => return Ok(refuse(Exit::Usage, &bad)),
    };
    if !start.addresses.is_empty()
        && let Some(option) = args.tls.idle(&start.addresses)
    {
        let why = format!("{option} is for TLS, and no target has it; write --target https://host:port");
        return Ok(refuse(Exit::Usage, &why));
    }
    let log = args.output.join("target.log");
    let mut target = match reach(start, &log).await {
        Ok(target) => target,
        Err(exit) => return Ok(exit),
    };
    let exit = judge(&args, plan, (baseline, declared), &tls, &target, named).await;
    if let Some((status, output)) = target.exited().await {
        eprintln!("note: the target ended by itself with {status}; {output}");
    }
    stop(target).await;
    exit
}

/// How the run and its target are called in reports.
struct Named {
    /// The command line that reaches the same target again.
    command: String,
    /// The target, where its file says it.
    subject: Option<Subject>,
}

async fn judge(
    args: &RunArgs,
    plan: Plan,
    (baseline, declared): (Baseline, Declared),
    tls: &Tls,
    target: &Target,
    named: Named,
) -> anyhow::Result<Exit> {
    let token = args.call.token.as_deref().or(target.token());
    let redactor = Redactor::new(token);
    if !args.no_preflight {
        let asked = Asked {
            addresses: target.addresses(),
            tls,
            dialect: args.call.dialect.0,
            documented: args.profile.documented(),
            model: args.call.model.as_deref(),
            token,
            patience: args.timeout,
        };
        let own = if target.is_ours() { WAIT_FOR_OWN } else { Duration::ZERO };
        let wait = args.wait.unwrap_or(own);
        let looked = tokio::select! {
            looked = told("waiting for the target", Box::pin(ready(asked, wait))) => looked,
            () = interrupted() => return Ok(Exit::Interrupted),
        };
        if let Err(refusal) = looked {
            return Ok(refuse(Exit::Unreachable, &unjudged(&refusal, args.wait, &redactor)));
        }
    }
    let surveying = async {
        let mut surveyed = survey(
            target.addresses(),
            tls,
            args.call.dialect.0,
            args.profile.documented(),
            args.call.model.as_deref(),
            token,
            args.timeout,
        )
        .await?;
        if args.jobs > 1 {
            surveyed.measure_width().await;
        }
        Ok::<_, Unreachable>(surveyed)
    };
    let surveyed = tokio::select! {
        surveyed = told("looking at the target, which takes its time", surveying) => surveyed,
        () = interrupted() => return Ok(Exit::Interrupted),
    };
    let mut surveyed = match surveyed {
        Ok(surveyed) => surveyed,
        Err(unreachable) if unreachable.explained => {
            return Ok(refuse(Exit::Unreachable, &redactor.text(&unreachable.to_string())));
        }
        Err(unreachable) => {
            let hint =
                "Is it running, and is the address right? Name it with --target, or start it with --spawn.";
            return Ok(refuse(Exit::Unreachable, &redactor.text(&format!("{unreachable}. {hint}"))));
        }
    };
    let doors = tokio::select! {
        doors = doors::one_server(&surveyed.endpoint) => doors,
        () = interrupted() => return Ok(Exit::Interrupted),
    };
    match doors {
        Ok(said) => said.into_iter().for_each(|said| eprintln!("note: {said}")),
        Err(two) => return Ok(refuse(Exit::Usage, &two)),
    }
    let forecast = Forecast::new(&plan, &surveyed, args.jobs);
    forecast::said(&forecast);
    let mut reports = match Reports::open(&args.format, &args.output, Console::detect()) {
        Ok(reports) => reports,
        Err(error) => {
            return Ok(refuse(
                Exit::Usage,
                &format!("cannot write reports into {}: {error}", args.output.display()),
            ));
        }
    };
    surveyed.facts.subject = named.subject;
    let run = Conduct {
        plan,
        target: surveyed,
        roles: args.role.clone(),
        profile: args.profile,
        seed: args.seed,
        jobs: args.jobs,
        command: named.command,
        baseline,
    };
    let (finished, stale, broken) =
        feed(&mut reports, forecast, conduct(run, interrupted()), &declared).await;
    let mut exit = match &finished {
        Some(RunFinished { interrupted: true, .. }) => Exit::Interrupted,
        Some(RunFinished { broke_off: Some(why), .. }) => refuse(Exit::Unreachable, why),
        Some(RunFinished { summary, .. }) => verdict(summary, stale, args.strict),
        None => refuse(Exit::Harness, &"the run broke off before its end"),
    };
    for (report, error) in reports.finish() {
        if error.kind() != std::io::ErrorKind::BrokenPipe {
            let broken = refuse(Exit::Harness, &format!("report {report}: {error}"));
            exit = if exit == Exit::Interrupted { exit } else { broken };
        }
    }
    for (id, capability) in &broken {
        eprintln!("{id} failed, and the target file declares the capability {capability}: not conformant");
    }
    if !broken.is_empty() && exit == Exit::Success {
        exit = Exit::NonConformant;
    }
    if args.strict
        && exit == Exit::NonConformant
        && let Some(RunFinished { summary: Summary { fail: 0, warn, inconclusive, .. }, .. }) = finished
        && stale == 0
    {
        eprintln!(
            "--strict: {warn} SHOULD or MAY failed and {inconclusive} checks could not see: not conformant"
        );
    }
    Ok(exit)
}

/// What a target that was started by this run gets until it is ready.
const WAIT_FOR_OWN: Duration = Duration::from_secs(10);

/// Why nothing was judged, for people.
fn unjudged(refusal: &Refusal, waited: Option<Duration>, redactor: &Redactor) -> String {
    let why = redactor.text(&refusal.to_string());
    match waited {
        Some(waited) if refusal.may_pass() => {
            format!("the target was not ready within {}: {why}", wire::time(waited))
        }
        _ => why,
    }
}

/// Feeds the reports until the run's last event. Says how it finished, how many known failures pass now, and which
/// requirements failed that belong to a declared capability.
async fn feed(
    reports: &mut Reports,
    mut forecast: Forecast,
    mut events: mpsc::Receiver<Event>,
    declared: &Declared,
) -> (Option<RunFinished>, usize, Vec<(String, Capability)>) {
    let (mut finished, mut stale, mut broken) = (None, 0, Vec::new());
    while let Some(event) = events.recv().await {
        match &event {
            Event::CheckFinished(result) => {
                stale += usize::from(result.known && result.verdict == Verdict::Pass);
                forecast.finished();
                forecast::said_again(&mut forecast);
                broken.extend(declared.broken(result).map(|capability| (result.id.clone(), capability)));
            }
            Event::RunFinished(last) => finished = Some(last.clone()),
            Event::RunStarted(_) | Event::Surveyed(_) | Event::CheckStarted { .. } => {}
        }
        reports.event(&event);
    }
    (finished, stale, broken)
}

fn verdict(summary: &Summary, stale: usize, strict: bool) -> Exit {
    if summary.error > 0 {
        Exit::Harness
    } else if summary.fail + stale > 0 || strict && summary.warn + summary.inconclusive > 0 {
        Exit::NonConformant
    } else if summary.pass + summary.known + summary.warn == 0 {
        Exit::Unreachable // nothing was seen: that is not a good run
    } else {
        Exit::Success
    }
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
    for (option, value) in args.described.words() {
        add(option, &value);
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
    if args.no_preflight {
        words.push("--no-preflight".to_owned());
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
    fn the_exit_code_says_what_happened() {
        let summary = |pass, fail, warn, inconclusive, error| Summary {
            pass,
            fail,
            warn,
            inconclusive,
            error,
            ..Summary::default()
        };
        assert_eq!(verdict(&summary(5, 0, 0, 0, 0), 0, true), Exit::Success);
        assert_eq!(verdict(&summary(5, 0, 1, 1, 0), 0, false), Exit::Success);
        assert_eq!(verdict(&summary(5, 0, 1, 0, 0), 0, true), Exit::NonConformant);
        assert_eq!(verdict(&summary(5, 0, 0, 1, 0), 0, true), Exit::NonConformant);
        assert_eq!(verdict(&summary(5, 1, 0, 0, 0), 0, false), Exit::NonConformant);
        assert_eq!(
            verdict(&summary(5, 0, 0, 0, 0), 1, false),
            Exit::NonConformant,
            "a stale known failure is red"
        );
        assert_eq!(
            verdict(&summary(0, 0, 0, 3, 0), 0, false),
            Exit::Unreachable,
            "nothing seen is no good run"
        );
        assert_eq!(verdict(&summary(5, 1, 0, 0, 1), 0, false), Exit::Harness);
    }

    #[test]
    fn a_shard_is_i_of_n() {
        assert_eq!(shard("2/3"), Ok((2, 3)));
        for bad in ["0/3", "4/3", "x/3", "3", ""] {
            assert!(shard(bad).is_err(), "{bad}");
        }
    }
}
