//! `conformance run`: reach the target, run the plan, feed the reports, say the exit code.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use present::{Console, console, secrets::Redactor, text, write_whole};
use tokio::{runtime::Builder, sync::mpsc};
use wire::{Address, Tls};

use super::{
    call::{CallArgs, reach, refuse, stop},
    declared::Declared,
    doors,
    forecast::{self, Forecast},
    kinds::KindArgs,
    output,
    patience::{interrupted, told},
    repeat,
    target_args::TargetArgs,
    tls::TlsArgs,
    values,
};
use crate::{
    events::{Event, Subject},
    exit::Exit,
    known_failures::KnownFailures,
    reports::{Format, Language, Reports, Run},
    runner::{Asked, Conduct, Plan, Refusal, Selection, Unreachable, conduct, ready, survey},
    target::{Instances, Start},
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
    /// The roles that the endpoint claims: server, proxy, gateway, enterprise [default: what the target file says, else
    /// server]
    #[arg(long, value_name = "ROLE", value_delimiter = ',', value_parser = values::role)]
    pub role: Vec<Role>,
    /// How much is asked
    #[arg(long, value_enum, default_value_t = Profile::Full)]
    pub profile: Profile,
    /// What goes with every call
    #[command(flatten)]
    pub call: CallArgs,
    /// Run only the requirements whose id matches, such as STREAM-001 or 'STREAM-*'; repeatable
    #[arg(long, value_name = "GLOB")]
    pub only: Vec<String>,
    /// Leave out the requirements whose id matches, such as 'HEALTH-*'; repeatable
    #[arg(long, value_name = "GLOB")]
    pub skip: Vec<String>,
    /// Slow and unsafe checks
    #[command(flatten)]
    pub kinds: KindArgs,
    /// Fail the run also when a SHOULD or MAY fails, or when a check is inconclusive
    #[arg(long)]
    pub strict: bool,
    /// Tolerate the failures and inconclusive checks in this reviewed TOML list; a listed one that passes fails the run
    #[arg(long, value_name = "FILE")]
    pub known_failures: Option<PathBuf>,
    /// Write what fails and what is inconclusive into this file, as a list to review for --known-failures
    #[arg(long, value_name = "FILE")]
    pub write_known_failures: Option<PathBuf>,
    /// Seed of all random choices; the same seed makes the same choices again
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Run only the Ith of N parts of the plan
    #[arg(long, value_name = "I/N", value_parser = shard)]
    pub shard: Option<(usize, usize)>,
    /// Checks at a time, at most. How many it is follows from the target's capacity, and checks that measure time or
    /// fill the target always run alone
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = values::jobs)]
    pub jobs: usize,
    /// Run the whole plan this many times, and show which requirements did not end alike
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::repeats)]
    pub repeat: usize,
    /// Show which requirements would be run, and run none; no target is needed
    #[arg(long)]
    pub dry_run: bool,
    /// Wait this long for a target that is not there or not ready yet [default: 0s, and 10s with --spawn]
    #[arg(long, value_name = "DUR", value_parser = humantime::parse_duration)]
    pub wait: Option<Duration>,
    /// Judge the target in any case, also where a look before the first check shows that nothing can work
    #[arg(long)]
    pub no_preflight: bool,
    /// The longest wait for one answer; usually much less is needed, relative to the target's own speed
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = values::patience)]
    pub timeout: Duration,
    /// Report to print; repeatable
    #[arg(long, value_enum, value_name = "FORMAT", default_values_t = [Format::Pretty])]
    pub format: Vec<Format>,
    /// Directory for the reports: report.html, report.md, report.json, junit.xml, ctrf.json and events.jsonl
    #[arg(long, value_name = "DIR", default_value_os_t = output::default_directory())]
    pub output: PathBuf,
    /// Language of the conclusion and of the words around the results [default: the locale's]
    #[arg(long, value_enum, value_name = "LANG")]
    pub lang: Option<Language>,
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

Exit codes:
    0  the target is conformant
    1  a MUST failed or a known failure passes now; with --strict also: a SHOULD failed or a check
       was inconclusive
    2  wrong usage or configuration
    3  the target could not be reached, it went away in mid-run, or nothing could be judged
    4  the suite itself is at fault, or a report could not be written
  130  interrupted";

/// Runs the suite.
pub fn run(args: RunArgs) -> anyhow::Result<Exit> {
    Builder::new_multi_thread().enable_all().build()?.block_on(judged(args))
}

async fn judged(mut args: RunArgs) -> anyhow::Result<Exit> {
    let command = command_line(&args);
    // Nothing is asked of a target in a dry run, which therefore needs none.
    let needless =
        args.dry_run && args.target.is_empty() && args.spawn.is_none() && args.described.is_empty();
    let described = if needless {
        Ok((None, Start::address(&[])))
    } else {
        args.described.resolve(&args.target, args.spawn.as_deref(), &mut args.call)
    };
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
        Err(bad) => return Ok(refuse(Exit::Usage, &bad)),
    };
    if let Some(left_out) = declared.narrow(&mut plan) {
        eprintln!("note: {left_out}");
        if plan.requirements.is_empty() {
            return Ok(refuse(Exit::Usage, &"nothing is left to ask"));
        }
    }
    if args.dry_run {
        text::print(&shown(&plan))?;
        return Ok(Exit::Success);
    }
    let known_failures = match args.known_failures.as_deref().map(KnownFailures::read).transpose() {
        Ok(known_failures) => known_failures.unwrap_or_default(),
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
    let start = match start.with_folder() {
        Ok(start) => start,
        Err(error) => {
            return Ok(refuse(
                Exit::Usage,
                &format!("cannot make a folder for the target's socket: {error}"),
            ));
        }
    };
    let target = match reach(start.clone(), &log).await {
        Ok(target) => target,
        Err(exit) => return Ok(exit),
    };
    let reached = Reached {
        addresses: target.addresses().to_vec(),
        token: target.token().map(str::to_owned),
        is_ours: target.is_ours(),
        instances: Arc::new(Instances::new(start, log, Some(target))),
    };
    let exit = judge(&args, plan, (known_failures, declared), &tls, &reached, named).await;
    if let Some((status, output)) = reached.instances.exited().await {
        eprintln!("note: the target ended by itself with {status}; {output}");
    }
    stop(reached.instances.end()).await;
    exit
}

/// The target as it was reached.
struct Reached {
    addresses: Vec<Address>,
    token: Option<String>,
    /// It was started by this run.
    is_ours: bool,
    instances: Arc<Instances>,
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
    (known_failures, declared): (KnownFailures, Declared),
    tls: &Tls,
    target: &Reached,
    named: Named,
) -> anyhow::Result<Exit> {
    let token = args.call.token.as_deref().or(target.token.as_deref());
    let asked = Asked {
        addresses: &target.addresses,
        tls,
        dialect: args.call.dialect.0,
        documented: args.profile.documented(),
        model: args.call.model.as_deref(),
        token,
        metadata: &args.call.metadata,
        patience: args.timeout,
        instances: (args.repeat == 1).then_some(&target.instances),
    };
    let redactor = asked.redactor();
    if !args.no_preflight {
        let own = if target.is_ours { WAIT_FOR_OWN } else { Duration::ZERO };
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
        let mut surveyed = survey(asked).await?;
        if args.jobs > 1 {
            surveyed.measure_width().await;
        }
        Ok::<_, Unreachable>(surveyed)
    };
    let surveyed = tokio::select! {
        surveyed = told("looking at the target, which answers slowly", surveying) => surveyed,
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
    forecast::said(&Forecast::new(&plan, &surveyed, args.jobs));
    surveyed.facts.subject = named.subject;
    let run = Conduct {
        plan,
        target: surveyed,
        roles: args.role.clone(),
        profile: args.profile,
        seed: args.seed,
        jobs: args.jobs,
        command: named.command,
        known_failures,
        kinds: args.kinds.into(),
        strict: args.strict,
    };
    let (mut exit, mut runs) = (Exit::Success, Vec::new());
    for number in 1..=args.repeat {
        let place = output::of_repeat(&args.output, number);
        let (run, ended) = match once(args, &place, run.clone(), &declared).await {
            Ok(ended) => ended,
            Err(exit) => return Ok(exit),
        };
        exit = repeat::worse(exit, ended);
        runs.push(run);
        if matches!(ended, Exit::Interrupted | Exit::Unreachable) {
            break;
        }
    }
    after(args, &runs, exit)
}

/// Runs the plan once and writes its reports; an error is said already.
async fn once(args: &RunArgs, output: &Path, run: Conduct, declared: &Declared) -> Result<(Run, Exit), Exit> {
    let language = args.lang.unwrap_or_else(|| Language::of_locale(&console::locale()));
    let mut reports = Reports::open(&args.format, output, Console::detect(), language).map_err(|error| {
        refuse(Exit::Usage, &format!("cannot write reports into {}: {error}", output.display()))
    })?;
    if args.format.contains(&Format::Github)
        && let Some(summary) = console::step_summary()
    {
        reports.add_summary(&summary);
    }
    let forecast = Forecast::new(&run.plan, &run.target, run.jobs);
    let run = feed(&mut reports, forecast, conduct(run, interrupted())).await;
    let mut exit = run.conclusion().exit;
    match &run.finished {
        Some(finished) if !finished.interrupted => {
            finished.broke_off.iter().for_each(|why| {
                refuse(exit, why);
            });
        }
        Some(_) => {}
        None => {
            refuse(exit, &"the run broke off before its end");
        }
    }
    for result in &run.results {
        if let Some(capability) = declared.broken(result) {
            let id = &result.id;
            eprintln!(
                "{id} failed, and the target file declares the capability {capability}: not conformant"
            );
            exit = if exit == Exit::Success { Exit::NonConformant } else { exit };
        }
    }
    for (report, error) in reports.finish() {
        if error.kind() != io::ErrorKind::BrokenPipe {
            refuse(Exit::Harness, &format!("cannot write the report {report}: {error}"));
            exit = repeat::worse(exit, Exit::Harness);
        }
    }
    Ok((run, exit))
}

/// What is made of all runs together: the list of failures and the table of what did not end alike.
fn after(args: &RunArgs, runs: &[Run], exit: Exit) -> anyhow::Result<Exit> {
    if let (Some(file), Some(run)) = (&args.write_known_failures, runs.first()) {
        let today = run.started_at().chars().take(DATE).collect::<String>();
        let list = KnownFailures::template(&run.results, &today)?;
        if let Err(error) = write_whole(file, list.as_bytes()) {
            let why = format!("cannot write {}: {error}", file.display());
            return Ok(repeat::worse(exit, refuse(Exit::Harness, &why)));
        }
        eprintln!("note: {} is written; say in it why each failure is tolerated", file.display());
    }
    if args.repeat > 1 {
        let table = repeat::flakes(runs);
        write_whole(&args.output.join("flakes.md"), table.as_bytes())?;
        // A document has standard output for itself.
        if args.format == [Format::Pretty] { text::print(&table)? } else { eprint!("{table}") }
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

/// The plan in lines, for people.
fn shown(plan: &Plan) -> String {
    let row = |r: &&crate::requirement::Requirement| {
        format!("{:<16} {:<6} {:<9} {}\n", r.id, r.level.to_string(), r.isolation.to_string(), r.title)
    };
    let count = plan.requirements.len();
    let rows: String = plan.requirements.iter().map(row).collect();
    format!("{rows}{count} {} would be run\n", if count == 1 { "requirement" } else { "requirements" })
}

/// Feeds the reports until the run's last event, and gathers the run.
async fn feed(reports: &mut Reports, mut forecast: Forecast, mut events: mpsc::Receiver<Event>) -> Run {
    let mut run = Run::default();
    while let Some(event) = events.recv().await {
        run.take(&event);
        if matches!(event, Event::CheckFinished(_)) {
            forecast.finished();
            forecast::said_again(&mut forecast);
        }
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
        words.push(flag.to_owned());
        words.extend((!value.is_empty()).then_some(quoted));
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
    for (key, value) in &args.call.metadata {
        add("-H", &format!("{key}: {}", value.to_str().unwrap_or_default()));
    }
    for (option, value) in args.tls.words() {
        add(option, &value);
    }
    if args.no_preflight {
        words.push("--no-preflight".to_owned());
    }
    words.join(" ")
}

/// Characters of a date in RFC 3339.
const DATE: usize = 10;

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
