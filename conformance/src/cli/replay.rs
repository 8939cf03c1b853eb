//! `conformance replay`: any report again, offline, from the recording of a run.
//!
//! Talks to: `events.jsonl`, the reports. Judges nothing: the verdicts, and the exit code, are those of the recording.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, ErrorKind},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use present::{Console, console};

use crate::{
    events::{Event, SCHEMA},
    exit::Exit,
    reports::{Format, Language, Reports, Run},
};

/// Arguments of `conformance replay`.
#[derive(Clone, Debug, clap::Args)]
pub struct ReplayArgs {
    /// The recording, as a run leaves it: events.jsonl
    pub file: PathBuf,
    /// Report to print; repeatable
    #[arg(long, value_enum, value_name = "FORMAT", default_values_t = [Format::Pretty])]
    pub format: Vec<Format>,
    /// Also write the report files into this directory
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Language of the conclusion and of the words around the results [default: the locale's]
    #[arg(long, value_enum, value_name = "LANG")]
    pub lang: Option<Language>,
}

/// Feeds the recording to the reports. The exit code is that of the run.
pub fn run(args: &ReplayArgs) -> anyhow::Result<Exit> {
    let shown = args.file.display();
    let file = match File::open(&args.file) {
        Ok(file) => file,
        Err(error) => {
            eprintln!("error: cannot read {shown}: {error}");
            return Ok(Exit::Usage);
        }
    };
    let language = args.lang.unwrap_or_else(|| Language::of_locale(&console::locale()));
    let mut reports = match &args.output {
        Some(output) if holds(output, &args.file) => {
            eprintln!("error: {} holds the recording itself; choose another --output", output.display());
            return Ok(Exit::Usage);
        }
        Some(output) => Reports::open(&args.format, output, Console::detect(), language)
            .with_context(|| format!("cannot write reports into {}", output.display()))?,
        None => Reports::printed(&args.format, Console::detect(), language),
    };
    let read = feed(&mut reports, BufReader::new(file));
    let failed = reports.finish();
    for (name, error) in failed.iter().filter(|(_, error)| error.kind() != ErrorKind::BrokenPipe) {
        eprintln!("error: report {name}: {error}");
    }
    let run = match read {
        Ok(run) => run,
        Err(why) => {
            eprintln!("error: {shown}: {why:#}");
            return Ok(Exit::Usage);
        }
    };
    let harmless = failed.iter().all(|(_, error)| error.kind() == ErrorKind::BrokenPipe);
    Ok(if harmless { run.conclusion().exit } else { Exit::Harness })
}

/// A recording that breaks off is told as far as it goes; anything else that is not an event is an error.
fn feed(reports: &mut Reports, mut lines: impl BufRead) -> anyhow::Result<Run> {
    let (mut run, mut line) = (Run::default(), Vec::new());
    for number in 1.. {
        line.clear();
        lines.read_until(b'\n', &mut line).with_context(|| format!("line {number}"))?;
        if line.is_empty() {
            anyhow::ensure!(number > 1, "the recording is empty");
            break;
        }
        let event = match serde_json::from_slice(&line) {
            Ok(event) => event,
            Err(_) if !line.ends_with(b"\n") && number > 1 => {
                eprintln!("note: the recording breaks off in line {number}");
                break;
            }
            Err(error) => anyhow::bail!("line {number} is not an event of schema {SCHEMA}: {error}"),
        };
        if let Event::RunStarted(started) = &event {
            let schema = started.schema;
            anyhow::ensure!(
                schema <= SCHEMA,
                "recorded with schema {schema}; this program reads up to {SCHEMA}"
            );
        }
        run.take(&event);
        reports.event(&event);
    }
    Ok(run)
}

fn holds(directory: &Path, file: &Path) -> bool {
    let same = |a: &Path, b: &Path| {
        fs::canonicalize(a).ok().zip(fs::canonicalize(b).ok()).is_some_and(|(a, b)| a == b)
    };
    same(&directory.join("events.jsonl"), file)
}
