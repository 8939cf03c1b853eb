//! `instructions`: how many instructions each hot path takes, counted by valgrind's callgrind, beside what was written down
//! in `benches/instructions.toml`. A machine's load and its clock change nothing of it, so that a few percent can be judged on
//! any machine that builds. `ci/instructions` sets everything up and runs it.

mod callgrind;
mod figures;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use benches::cases;
use clap::Parser;

use figures::{Figures, Found};

/// Counts the instructions of the hot paths, and compares them with those that were written down.
#[derive(Debug, Parser)]
#[command(version, after_help = HELP)]
struct Options {
    /// Only cases whose name holds this
    #[arg(value_name = "WORD", default_value = "")]
    word: String,

    /// Write the counts down
    #[arg(long)]
    update: bool,

    /// Where they are written
    #[arg(long, value_name = "FILE", default_value = "benches/instructions.toml")]
    figures: PathBuf,

    /// What this program was built with; counts of different compilers are not compared
    #[arg(long, value_name = "TEXT", default_value = "unknown")]
    compiler: String,

    /// Do one case, for callgrind to look at
    #[arg(long, hide = true)]
    case: Option<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.case {
        Some(name) => callgrind::be_counted(name).map(|()| ExitCode::SUCCESS),
        None => count(&options),
    };
    done.unwrap_or_else(|error| {
        eprintln!("instructions: {error:#}");
        ExitCode::from(COULD_NOT_MEASURE)
    })
}

fn count(options: &Options) -> anyhow::Result<ExitCode> {
    let mut written = Figures::read(&options.figures)?;
    let built = figures::built_with(&options.compiler);
    let comparable = written.built == built;
    let mut found = Vec::new();
    callgrind::check()?;
    for case in cases::ALL.iter().filter(|case| case.name.contains(&options.word)) {
        let count = callgrind::count(case.name).with_context(|| format!("cannot count {}", case.name))?;
        let one = Found::new(case.name, count, &written);
        println!("{}", one.line(comparable));
        found.push(one);
    }
    if options.update {
        written.update(built, &found);
        written.write(&options.figures)?;
        println!("written into {}", options.figures.display());
        return Ok(ExitCode::SUCCESS);
    }
    if !comparable {
        println!(
            "NOT JUDGED: written down for {}, and this is {built}. `ci/instructions --update` writes new ones",
            written.built
        );
        return Ok(ExitCode::SUCCESS);
    }
    let more = found.iter().filter(|one| one.is_more()).count();
    let unknown = found.iter().filter(|one| one.before.is_none()).count();
    if more + unknown > 0 {
        println!(
            "FAIL: {more} take more than they did, {unknown} are not written down. If that is meant, \
             `ci/instructions --update` writes it down"
        );
    } else {
        println!("PASS: {} cases", found.len());
    }
    Ok(ExitCode::from(u8::from(more + unknown > 0)))
}

const HELP: &str = "\
Examples:
  ci/instructions                   counts all, compares
  ci/instructions sampler           those whose name holds the word
  ci/instructions --update          writes the counts down

Exit codes: 0 no case takes more than it did (or they were built by another compiler and are not judged), 1 one does,
2 wrong usage, 3 could not count.";

/// Exit code when nothing was judged, as in `throughput`.
const COULD_NOT_MEASURE: u8 = 3;
