//! Reports that are made whole at the end: they gather the run, render it once and put it where it belongs.
//!
//! Talks to: a pure renderer. A file appears complete or not at all.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

use present::write_whole;

use super::{fan_out::Report, format::Render, language::Language, run::Run};
use crate::events::Event;

/// A report that needs the whole run.
pub(super) struct Document {
    run: Run,
    render: Render,
    sink: Sink,
    written: bool,
}

enum Sink {
    File(PathBuf),
    Appended(PathBuf),
    Stream(Box<dyn Write + Send>),
}

impl Document {
    /// A file; one from an earlier run is removed at once.
    pub(super) fn in_file(path: PathBuf, render: Render, language: Language) -> io::Result<Self> {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(Self::new(Sink::File(path), render, language)),
        }
    }

    /// At the end of a file that others write into too.
    pub(super) fn appended(path: PathBuf, render: Render, language: Language) -> Self {
        Self::new(Sink::Appended(path), render, language)
    }

    pub(super) fn printed(out: Box<dyn Write + Send>, render: Render, language: Language) -> Self {
        Self::new(Sink::Stream(out), render, language)
    }

    fn new(sink: Sink, render: Render, language: Language) -> Self {
        Self { run: Run { language, ..Run::default() }, render, sink, written: false }
    }

    fn write(&mut self) -> io::Result<()> {
        self.written = true;
        let text = (self.render)(&self.run)?;
        match &mut self.sink {
            Sink::File(path) => write_whole(path, text.as_bytes()),
            Sink::Appended(path) => {
                fs::OpenOptions::new().create(true).append(true).open(path)?.write_all(text.as_bytes())
            }
            Sink::Stream(out) => {
                out.write_all(text.as_bytes())?;
                out.flush()
            }
        }
    }
}

impl Report for Document {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.run.take(event);
        if matches!(event, Event::RunFinished(_)) { self.write() } else { Ok(()) }
    }

    /// A run that was cut short still has its report, which says so.
    fn finish(&mut self) -> io::Result<()> {
        if self.written { Ok(()) } else { self.write() }
    }
}
