//! What a target's process prints: all of it up to a limit goes to a log file, and the end of it stays in memory.
//!
//! Reads on threads of its own, so that a target that prints much does not disturb what measures it. However much is
//! printed, with or without newlines, memory and disk stay bounded.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, PipeReader, PipeWriter, Read, Write as _},
    mem,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use present::text::{cut, visible};
use tokio::sync::mpsc;
use wire::Address;

/// The output of one process.
#[derive(Debug)]
pub(super) struct Output {
    log: PathBuf,
    record: Arc<Mutex<Record>>,
}

impl Output {
    /// Opens the log file, and the folder that it lies in.
    pub(super) fn create(log: &Path) -> io::Result<Self> {
        if let Some(parent) = log.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = File::create(log)?;
        let record = Record { file, written: 0, ring: VecDeque::new(), left_out: false, readers: 0 };
        Ok(Self { log: log.to_owned(), record: Arc::new(Mutex::new(record)) })
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// A pipe whose reader records everything. With `found`, each line `listening on ADDR` is sent there too.
    pub(super) fn pipe(&self, found: Option<mpsc::UnboundedSender<Address>>) -> io::Result<PipeWriter> {
        let (reader, writer) = io::pipe()?;
        let record = Arc::clone(&self.record);
        lock(&record).readers += 1;
        thread::Builder::new().name("target-output".to_owned()).spawn(move || {
            read(reader, &record, found);
            lock(&record).readers -= 1;
        })?;
        Ok(writer)
    }

    /// Records what comes by another way than a pipe.
    pub(super) fn recorder(&self) -> impl Fn(&[u8]) + Send + Sync + 'static {
        let record = Arc::clone(&self.record);
        move |bytes| lock(&record).add(bytes)
    }

    /// The last lines, safe to show. Waits a moment for output that is still on its way.
    pub(super) fn tail(&self) -> Tail {
        let deadline = Instant::now() + STILL_COMING;
        while lock(&self.record).readers > 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        let bytes: Vec<u8> = lock(&self.record).ring.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let shown = lines.iter().skip(lines.len().saturating_sub(SHOWN_LINES));
        Tail { lines: shown.map(|line| cut(&visible(line), SHOWN_WIDTH)).collect(), log: self.log.clone() }
    }
}

/// Where the log left out the middle, its end follows.
impl Drop for Output {
    fn drop(&mut self) {
        let mut record = lock(&self.record);
        if record.left_out {
            let ring = mem::take(&mut record.ring);
            let (first, second) = ring.as_slices();
            // A log that cannot be written takes nothing from the verdict.
            let _ = record.file.write_all(b"\n[more was printed here; the end follows]\n");
            let _ = record.file.write_all(first).and_then(|()| record.file.write_all(second));
        }
    }
}

/// The last lines of an output, and where the rest is.
#[derive(Debug)]
pub struct Tail {
    lines: Vec<String>,
    log: PathBuf,
}

impl std::fmt::Display for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.lines.is_empty() {
            return f.write_str("it printed nothing");
        }
        write!(f, "its last output, from {}:", self.log.display())?;
        self.lines.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

#[derive(Debug)]
struct Record {
    file: File,
    written: usize,
    ring: VecDeque<u8>,
    left_out: bool,
    /// Pipes that are still open.
    readers: usize,
}

impl Record {
    fn add(&mut self, bytes: &[u8]) {
        let room = MOST_LOGGED.saturating_sub(self.written);
        let logged = &bytes[..bytes.len().min(room)];
        self.left_out |= logged.len() < bytes.len();
        self.written += logged.len();
        let _ = self.file.write_all(logged); // a full disk must not stop the target
        self.ring.extend(bytes);
        let excess = self.ring.len().saturating_sub(MOST_KEPT);
        self.ring.drain(..excess);
    }
}

fn read(mut pipe: PipeReader, record: &Mutex<Record>, found: Option<mpsc::UnboundedSender<Address>>) {
    let mut lines = found.map(|found| Lines { found, line: Vec::new() });
    let mut buffer = [0; 8192];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => {
                lock(record).add(&buffer[..read]);
                if let Some(lines) = &mut lines {
                    lines.add(&buffer[..read]);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Finds addresses in an output that may have no newline at all.
struct Lines {
    found: mpsc::UnboundedSender<Address>,
    line: Vec<u8>,
}

impl Lines {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte != b'\n' {
                if self.line.len() < LONGEST_LINE {
                    self.line.push(*byte);
                }
                continue;
            }
            let line = String::from_utf8_lossy(&self.line);
            if let Some(address) = line.strip_prefix(READY).and_then(|text| text.trim().parse().ok()) {
                let _ = self.found.send(address); // after it is ready, nothing waits for addresses
            }
            self.line.clear();
        }
    }
}

fn lock(record: &Mutex<Record>) -> std::sync::MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What servers print for each address when they are ready.
const READY: &str = "listening on ";
/// Bytes in memory.
const MOST_KEPT: usize = 64 << 10;
/// Bytes in the log file, before its end is added.
const MOST_LOGGED: usize = 16 << 20;
/// No address is longer.
const LONGEST_LINE: usize = 4096;
const SHOWN_LINES: usize = 12;
const SHOWN_WIDTH: usize = 300;
const STILL_COMING: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_log_are_bounded_and_keep_beginning_and_end() {
        let place = tempfile::tempdir().unwrap();
        let log = place.path().join("a/target.log");
        let output = Output::create(&log).unwrap();
        let mut pipe = output.pipe(None).unwrap();
        pipe.write_all(b"first\n").unwrap();
        let block = vec![b'x'; 1 << 20];
        for _ in 0..20 {
            pipe.write_all(&block).unwrap();
        }
        pipe.write_all(b"\nlast\n").unwrap();
        drop(pipe);
        let tail = output.tail();
        assert_eq!(tail.lines.last().unwrap(), "last");
        assert!(tail.to_string().len() < 2 * SHOWN_WIDTH, "{tail}");
        assert_eq!(lock(&output.record).ring.len(), MOST_KEPT);
        drop(output);
        let kept = fs::read(&log).unwrap();
        assert!(kept.len() < MOST_LOGGED + MOST_KEPT + 100, "{}", kept.len());
        assert!(kept.starts_with(b"first\n") && kept.ends_with(b"\nlast\n"));
    }

    #[test]
    fn addresses_are_found_in_whole_lines_only() {
        let place = tempfile::tempdir().unwrap();
        let output = Output::create(&place.path().join("log")).unwrap();
        let (found, mut addresses) = mpsc::unbounded_channel();
        let mut pipe = output.pipe(Some(found)).unwrap();
        pipe.write_all(b"x listening on 127.0.0.1:1\nlistening on 127.0").unwrap();
        pipe.write_all(b".0.1:2\nlistening on nothing\n").unwrap();
        drop(pipe);
        assert_eq!(addresses.blocking_recv().unwrap().to_string(), "127.0.0.1:2");
        assert_eq!(addresses.blocking_recv(), None);
    }
}
