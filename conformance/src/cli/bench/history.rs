//! `conformance bench history`: keeps results in a file that only grows, and says where they changed.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use clap::Subcommand;
use latency::{
    history::{Entry, NoEntry, Series, parse, series},
    html,
};
use present::text;

use crate::{cli::call::refuse, exit::Exit};

/// Arguments of `conformance bench history`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct HistoryArgs {
    /// What to do
    #[command(subcommand)]
    pub command: HistoryCommand,
}

/// What to do with a history.
#[derive(Clone, Debug, Subcommand)]
pub enum HistoryCommand {
    /// Append a result
    Add(AddArgs),
    /// Show the results over time, and where they changed
    Show(ShowArgs),
}

/// Arguments of `conformance bench history add`.
#[derive(Clone, Debug, clap::Args)]
pub struct AddArgs {
    /// report.json of `bench run`, or comparison.json of `bench compare`: then its candidate's figures
    #[arg(value_name = "FILE")]
    pub result: PathBuf,
    /// Name of what was measured, such as a commit id [default: the time of the measurement]
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub label: String,
    /// Where the history is
    #[command(flatten)]
    pub history: FileArgs,
}

/// Arguments of `conformance bench history show`.
#[derive(Clone, Debug, clap::Args)]
pub struct ShowArgs {
    /// Look at this number of the latest results of each series
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=2000))]
    pub last: u16,
    /// Print every series, with its values and changes, as JSON
    #[arg(long, conflicts_with = "markdown")]
    pub json: bool,
    /// Print Markdown
    #[arg(long)]
    pub markdown: bool,
    /// Also write an HTML page with a plot for each figure into this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Where the history is
    #[command(flatten)]
    pub history: FileArgs,
}

/// Where a history is.
#[derive(Clone, Debug, clap::Args)]
pub struct FileArgs {
    /// The history: a file with one result per line, or the directory that holds bench-history.jsonl
    #[arg(long, value_name = "FILE", default_value = NAME)]
    pub file: PathBuf,
}

impl FileArgs {
    fn path(&self) -> PathBuf {
        if self.file.is_dir() { self.file.join(NAME) } else { self.file.clone() }
    }
}

const EXAMPLES: &str = "\
Examples:
  conformance bench run --target localhost:50051 --load closed:4 --length 1m
  conformance bench history add target/bench/report.json --label $(git rev-parse --short HEAD)
  conformance bench history show
  conformance bench history show --markdown --file benches

Only results of one host, one kind and equal conditions (load, prompts, tokens, seed, model and so on) are one series. Keep one \
file for each server: a target's name, which changes with its port, is no condition.

Exit codes: 0 done, 2 wrong usage, or a file that cannot be read or written, 4 a result that is invalid and was not added.";

/// Adds or shows.
pub(super) fn run(args: &HistoryArgs) -> anyhow::Result<Exit> {
    match &args.command {
        HistoryCommand::Add(args) => Ok(add(args)),
        HistoryCommand::Show(args) => show(args),
    }
}

fn add(args: &AddArgs) -> Exit {
    let result = args.result.display();
    let json = match fs::read_to_string(&args.result) {
        Ok(json) => json,
        Err(error) => return refuse(Exit::Usage, &format!("cannot read {result}: {error}")),
    };
    let entry = match Entry::of(&json, &args.label) {
        Ok(entry) => entry,
        Err(error @ NoEntry::Form(_)) => return refuse(Exit::Usage, &format!("{result}: {error}")),
        Err(error @ NoEntry::Invalid(_)) => {
            return refuse(Exit::Harness, &format!("{result} is not added: {error}"));
        }
    };
    let file = args.history.path();
    let appended =
        serde_json::to_string(&entry).map_err(io::Error::from).and_then(|line| append(&file, &line));
    if let Err(error) = appended {
        return refuse(Exit::Usage, &format!("cannot write {}: {error}", file.display()));
    }
    eprintln!("added {} to {}", text::visible(&entry.label), file.display());
    Exit::Success
}

/// One write of a whole line; a line left unfinished by an interrupted process stays as it is, and is ended first.
fn append(file: &Path, line: &str) -> io::Result<()> {
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut history = OpenOptions::new().create(true).append(true).read(true).open(file)?;
    let mut last = [b'\n'];
    if history.metadata()?.len() > 0 {
        history.seek(SeekFrom::End(-1))?;
        history.read_exact(&mut last)?;
    }
    let end = if last == [b'\n'] { "" } else { "\n" };
    history.write_all(format!("{end}{line}\n").as_bytes())?;
    history.sync_all()
}

fn show(args: &ShowArgs) -> anyhow::Result<Exit> {
    let file = args.history.path();
    let history = match fs::read(&file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            let why = format!("cannot read {}: {error}; `bench history add` begins one", file.display());
            return Ok(refuse(Exit::Usage, &why));
        }
    };
    let (entries, damaged) = parse(&history);
    for (number, why) in damaged {
        eprintln!("warning: {}, line {number} is skipped: {why}", file.display());
    }
    if entries.len() > MANY {
        eprintln!("looking for changes in {} results…", entries.len());
    }
    let series = series(&entries, usize::from(args.last));
    if let Some(page) = &args.html {
        let written = html::history_of(&series).and_then(|text| fs::write(page, text));
        if let Err(error) = written {
            return Ok(refuse(Exit::Usage, &format!("cannot write {}: {error}", page.display())));
        }
    }
    let tables = |table: fn(&Series) -> String| series.iter().map(table).collect::<Vec<_>>().join("\n");
    text::print(&if args.json {
        serde_json::to_string_pretty(&series)? + "\n"
    } else if args.markdown {
        tables(Series::markdown)
    } else {
        tables(Series::table)
    })?;
    Ok(Exit::Success)
}

const NAME: &str = "bench-history.jsonl";
/// More than these take seconds.
const MANY: usize = 100;
