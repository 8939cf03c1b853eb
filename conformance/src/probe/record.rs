//! What a check did and saw, kept as evidence. Bounded, and secrets never get in.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicIsize, AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use wire::{Observer, time};

use super::heard::{Ears, Finding, Words};
use crate::evidence::{Direction, Exchange};

/// The first and the last exchanges are what explains a failure; the middle of a long stream is not.
const KEPT_AT_START: usize = 60;
const KEPT_AT_END: usize = 60;
/// Characters of one exchange; what is longer loses its middle.
const LONGEST: usize = 600;
/// Bytes of answers that one check keeps at a time or in turn. No legal answer to what the checks ask comes near it.
const HELD: usize = 32 << 20;
/// Requests kept to be shown as commands, and the bytes of one: a longer command is of no use to a reader.
const KEPT_REQUESTS: usize = 32;
const LONGEST_REQUEST: usize = 2000;

/// A check's record: cheap to clone, shared by all its calls.
#[derive(Clone, Debug)]
pub struct Record {
    inner: Arc<Inner>,
    /// Whether requests are kept to be shown as commands.
    commands: bool,
}

#[derive(Debug)]
struct Inner {
    began: Instant,
    calls: AtomicU32,
    waited: AtomicBool,
    lost: AtomicBool,
    own_fault: AtomicBool,
    held: AtomicUsize,
    /// Bytes of messages that are not whole, in all calls.
    half: AtomicIsize,
    log: Mutex<Log>,
    requests: Mutex<VecDeque<SentRequest>>,
    ears: Option<Ears>,
}

/// One message as it was sent.
#[derive(Clone, Debug)]
pub(super) struct SentRequest {
    pub(super) path: String,
    pub(super) message: Vec<u8>,
}

#[derive(Debug, Default)]
struct Log {
    start: Vec<Exchange>,
    end: std::collections::VecDeque<Exchange>,
    omitted: usize,
}

impl Record {
    /// An empty record; its clock starts now.
    pub fn new() -> Self {
        Self::with(None)
    }

    /// An empty record of a check whose ears belong to a run.
    pub(super) fn hearing(ears: Ears) -> Self {
        Self::with(Some(ears))
    }

    /// The same record, for requests that no command would send alike.
    pub(super) fn without_commands(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), commands: false }
    }

    fn with(ears: Option<Ears>) -> Self {
        Self {
            commands: true,
            inner: Arc::new(Inner {
                began: Instant::now(),
                calls: AtomicU32::new(0),
                waited: AtomicBool::new(false),
                lost: AtomicBool::new(false),
                own_fault: AtomicBool::new(false),
                held: AtomicUsize::new(0),
                half: AtomicIsize::new(0),
                log: Mutex::default(),
                requests: Mutex::default(),
                ears,
            }),
        }
    }

    /// Time since the check began.
    pub fn elapsed(&self) -> Duration {
        self.inner.began.elapsed()
    }

    fn add(&self, call: u32, direction: Direction, what: String) {
        let at_ms = (self.elapsed().as_secs_f64() * 1e6).round() / 1e3;
        let exchange = Exchange { at_ms, call, direction, what: shortened(what, LONGEST) };
        let mut log = self.inner.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if log.start.len() < KEPT_AT_START {
            log.start.push(exchange);
            return;
        }
        log.end.push_back(exchange);
        if log.end.len() > KEPT_AT_END {
            log.end.pop_front();
            log.omitted += 1;
        }
    }

    /// Keeps a request's bytes, so that a report can show how to send it by hand.
    pub(super) fn request(&self, path: &str, message: &[u8]) {
        if let Some(ears) = &self.inner.ears {
            ears.sent(message);
        }
        if !self.commands || message.len() > LONGEST_REQUEST {
            return;
        }
        let mut requests = self.inner.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.push_back(SentRequest { path: path.to_owned(), message: message.to_vec() });
        if requests.len() > KEPT_REQUESTS {
            requests.pop_front();
        }
    }

    /// Looks through one entry of an answer's map. The words of an error are another matter than those of an answer.
    pub(super) fn answered(&self, path: &str, name: &str, text: &str, error: bool) {
        if let Some(ears) = &self.inner.ears {
            ears.hear(path, name, text, if error { Words::OfError } else { Words::OfAnswer });
        }
    }

    /// A name that everyone may know.
    pub(super) fn publish(&self, name: &str) {
        if let Some(ears) = &self.inner.ears {
            ears.store().publish(name);
        }
    }

    /// What the run has heard so far that a server must not tell.
    pub(super) fn leaks(&self) -> Vec<Finding> {
        self.inner.ears.as_ref().map(|ears| ears.store().leaks()).unwrap_or_default()
    }

    /// The last requests that were sent, in order.
    pub(super) fn requests(&self) -> Vec<SentRequest> {
        self.inner.requests.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Whether anything was waited for in vain.
    pub fn waited(&self) -> bool {
        self.inner.waited.load(Ordering::Relaxed)
    }

    /// Whether a connection was lost, or none could be made.
    pub fn lost(&self) -> bool {
        self.inner.lost.load(Ordering::Relaxed)
    }

    /// Whether this side's own library ended a call.
    pub fn own_fault(&self) -> bool {
        self.inner.own_fault.load(Ordering::Relaxed)
    }

    /// Counts bytes of an answer that are kept; an error says that there are too many.
    pub(super) fn hold(&self, bytes: usize) -> Result<(), String> {
        let held = self.inner.held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if held > HELD {
            return Err(format!(
                "the target has sent more than {} MB of answers to this one check",
                HELD >> 20
            ));
        }
        Ok(())
    }

    /// The exchanges kept, and how many were left out between them.
    pub fn take(&self) -> (Vec<Exchange>, usize) {
        let mut log = self.inner.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let log = std::mem::take(&mut *log);
        (log.start.into_iter().chain(log.end).collect(), log.omitted)
    }
}

impl Observer for Record {
    fn next_call(&self) -> u32 {
        self.inner.calls.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn sent(&self, call: u32, what: String) {
        self.add(call, Direction::Sent, what);
    }

    fn received(&self, call: u32, what: String) {
        self.add(call, Direction::Received, what);
    }

    fn waited(&self, call: u32, patience: Duration) {
        self.inner.waited.store(true, Ordering::Relaxed);
        self.add(call, Direction::Received, format!("nothing for {}", time(patience)));
    }

    fn told(&self, path: &str, name: &str, value: &str) {
        self.answered(path, name, value, true);
    }

    fn holds(&self, more: isize) -> bool {
        let before = self.inner.half.fetch_add(more, Ordering::Relaxed);
        before + more <= HELD.cast_signed()
    }

    fn lost(&self) {
        self.inner.lost.store(true, Ordering::Relaxed);
    }

    fn own_fault(&self) {
        self.inner.own_fault.store(true, Ordering::Relaxed);
    }
}

/// The text, without its middle where it is longer than `most` characters.
pub(crate) fn shortened(text: String, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text;
    }
    let head: String = text.chars().take(most / 2).collect();
    let tail: String = text.chars().skip(count - most / 2).collect();
    format!("{head} … ({} characters left out) … {tail}", count - most / 2 * 2)
}

impl Default for Record {
    fn default() -> Self {
        Self::new()
    }
}
