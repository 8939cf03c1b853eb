//! The live report for people: what is being asked, what failed and why, and where the target stands.
//!
//! On a terminal a progress line runs below the text; elsewhere there are plain lines only. Each failure is told when
//! it happens, each area when it is over. Talks to: a stream. What a line looks like is `terminal/blocks.rs`.

mod blocks;

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::{Path, PathBuf},
};

use present::{Progress, Stream, text};

use self::blocks::Blocks;
use super::{
    fan_out::Report,
    language::Language,
    run::{self, Run},
};
use crate::events::{CheckResult, Event};

/// The live report.
pub struct Terminal {
    out: Box<dyn Write + Send>,
    blocks: Blocks,
    stream: Stream,
    reports_in: Option<PathBuf>,
    run: Run,
    /// Where the area that is being reported begins in the results.
    area_from: usize,
    running: BTreeSet<String>,
    progress: Progress,
    ended: bool,
    after_blank: bool,
}

impl Terminal {
    /// Writes to `out`, which is `stream`; `reports_in` is where the other reports will lie, for the last line.
    pub fn new(
        out: Box<dyn Write + Send>,
        stream: Stream,
        reports_in: Option<&Path>,
        language: Language,
    ) -> Self {
        Self {
            out,
            blocks: Blocks::new(stream, language),
            stream,
            reports_in: reports_in.map(Path::to_path_buf),
            run: Run { language, ..Run::default() },
            area_from: 0,
            running: BTreeSet::new(),
            progress: Progress::none(),
            ended: false,
            after_blank: false,
        }
    }

    /// Blocks ask for a blank line around them; two in a row are one.
    fn say(&mut self, lines: &str) -> io::Result<()> {
        let lines = if self.after_blank { lines.trim_start_matches('\n') } else { lines };
        self.after_blank = lines.ends_with("\n\n") || (self.after_blank && lines.is_empty());
        let lines = text::inert(lines);
        let out = &mut self.out;
        self.progress.suspend(|| {
            out.write_all(lines.as_bytes())?;
            out.flush()
        })
    }

    fn start_progress(&mut self) {
        self.progress = Progress::counting(self.stream, self.run.planned() as u64);
    }

    fn show_running(&self) {
        let running: Vec<_> = self.running.iter().map(|id| text::visible(id)).collect();
        self.progress.say(running.join(" "));
        self.progress.done(self.run.results.len() as u64);
    }

    fn check_finished(&mut self, result: &CheckResult) -> io::Result<()> {
        let opens_area = self.current_area().is_some_and(|area| area != run::area(&result.id));
        if opens_area {
            self.close_area()?;
        }
        let told = self.blocks.result(result, &self.run.results);
        self.run.take(&Event::CheckFinished(Box::new(result.clone())));
        self.running.remove(&result.id);
        self.show_running();
        if told.is_empty() { Ok(()) } else { self.say(&told) }
    }

    fn current_area(&self) -> Option<&str> {
        self.run.results.get(self.area_from).map(|result| run::area(&result.id))
    }

    fn close_area(&mut self) -> io::Result<()> {
        let results = self.run.results.get(self.area_from..).unwrap_or_default();
        let Some(first) = results.first() else { return Ok(()) };
        let line = self.blocks.area(run::area(&first.id), results);
        self.area_from = self.run.results.len();
        self.say(&line)
    }

    fn end(&mut self) -> io::Result<()> {
        self.ended = true;
        self.close_area()?;
        self.progress.clear();
        let end = self.blocks.end(&self.run, self.reports_in.as_deref());
        self.say(&end)
    }
}

impl Report for Terminal {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::CheckStarted { id } => {
                self.running.insert(id.clone());
                self.show_running();
                Ok(())
            }
            Event::CheckFinished(result) => self.check_finished(result),
            Event::RunStarted(_) => {
                self.run.take(event);
                Ok(())
            }
            Event::Surveyed(_) => {
                self.run.take(event);
                let header = self.blocks.header(&self.run);
                self.say(&header)?;
                self.start_progress();
                Ok(())
            }
            Event::RunFinished(_) => {
                self.run.take(event);
                self.end()
            }
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.ended || (self.run.started.is_none() && self.run.results.is_empty()) {
            Ok(())
        } else {
            self.end()
        }
    }
}
