//! Feeds every report with every event. A report that fails is remembered and left alone; the others go on.
//!
//! Talks to: the reports, through [`Report`]. Decides which files are written and what goes to which stream; writes
//! nothing itself.

use std::{
    io::{self, Write},
    path::Path,
};

use present::Console;

use super::{
    events_file::EventsFile, files::Document, format::Format, language::Language, terminal::Terminal,
};
use crate::events::Event;

/// A consumer of events.
pub trait Report: Send {
    /// Takes the next event.
    fn event(&mut self, event: &Event) -> io::Result<()>;

    /// No more events will come, perhaps because the run was cut short.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// All reports of a run.
#[derive(Default)]
pub struct Reports {
    fed: Vec<Fed>,
    language: Language,
}

struct Fed {
    name: String,
    report: Box<dyn Report>,
    failed: Option<io::Error>,
}

impl Reports {
    /// The reports of a run: `events.jsonl` and a file for each of [`Format::FILES`] in `output`, and what `formats` say
    /// on the console. Reports of an earlier run are removed, so that none can be taken for this one's.
    pub fn open(formats: &[Format], output: &Path, console: Console, language: Language) -> io::Result<Self> {
        std::fs::create_dir_all(output)?;
        let mut reports = Self { language, ..Self::default() };
        reports.add("events.jsonl", Box::new(EventsFile::create(&output.join("events.jsonl"))?));
        for format in Format::FILES {
            let Some((name, render)) = format.file_name().zip(format.document()) else { continue };
            reports.add(name, Box::new(Document::in_file(output.join(name), render, language)?));
        }
        reports.add_printed(formats, Some(output), console);
        Ok(reports)
    }

    /// Only what `formats` say on the console; no file is written.
    pub fn printed(formats: &[Format], console: Console, language: Language) -> Self {
        let mut reports = Self { language, ..Self::default() };
        reports.add_printed(formats, None, console);
        reports
    }

    /// Appends `report.md` to `summary`, the file in which GitHub Actions takes the summary of a step.
    pub fn add_summary(&mut self, summary: &Path) {
        if let Some(render) = Format::Markdown.document() {
            self.add(
                "step summary",
                Box::new(Document::appended(summary.to_path_buf(), render, self.language)),
            );
        }
    }

    /// One more report; `name` is what its failure is reported under.
    pub fn add(&mut self, name: &str, report: Box<dyn Report>) {
        self.fed.push(Fed { name: name.to_owned(), report, failed: None });
    }

    /// Feeds the event to every report that has not failed.
    pub fn event(&mut self, event: &Event) {
        for fed in &mut self.fed {
            if fed.failed.is_none() {
                fed.failed = fed.report.event(event).err();
            }
        }
    }

    /// No more events will come. Returns the reports that failed, each with its first error.
    pub fn finish(mut self) -> Vec<(String, io::Error)> {
        for fed in &mut self.fed {
            if fed.failed.is_none() {
                fed.failed = fed.report.finish().err();
            }
        }
        self.fed.into_iter().filter_map(|fed| fed.failed.map(|error| (fed.name, error))).collect()
    }

    /// A document takes standard output for itself; the live terminal then moves to standard error, where it is shown
    /// if a person looks at it or if it was asked for. Without formats, nothing is printed. Documents come first: the
    /// terminal's last words point at them.
    fn add_printed(&mut self, formats: &[Format], output: Option<&Path>, console: Console) {
        let documents = formats.iter().filter_map(|format| Some((format.name(), format.document()?)));
        let documents: Vec<_> = documents.collect();
        let asked = formats.contains(&Format::Pretty);
        let pretty: Option<(Box<dyn Write + Send>, _)> = if documents.is_empty() && asked {
            Some((Box::new(io::stdout()), console.stdout))
        } else if asked || (console.stderr.tty && !documents.is_empty()) {
            Some((Box::new(io::stderr()), console.stderr))
        } else {
            None
        };
        for (name, render) in documents {
            self.add(name, Box::new(Document::printed(Box::new(io::stdout()), render, self.language)));
        }
        if let Some((out, stream)) = pretty {
            self.add("pretty", Box::new(Terminal::new(out, stream, output, self.language)));
        }
    }
}
