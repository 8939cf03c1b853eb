//! `events.jsonl`: the recording of a run, one event a line, from which every other report can be made again.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use super::fan_out::Report;
use crate::events::Event;

/// The recording. Each line is on its way to the disk before the next event is taken, so a crash loses nothing.
pub(super) struct EventsFile {
    file: File,
}

impl EventsFile {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::create(path)? })
    }
}

impl Report for EventsFile {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.file.flush()
    }
}
