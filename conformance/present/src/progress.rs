//! A line at the bottom of a terminal that moves while something goes on, or nothing where there is no terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::console::Stream;

/// A progress line. Cheap to clone; all clones are the same line.
#[derive(Clone, Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// A progress line that shows nothing.
    pub fn none() -> Self {
        Self(ProgressBar::hidden())
    }

    /// How many of `total` steps are done, on `stream` if that is a terminal.
    pub fn counting(stream: Stream, total: u64) -> Self {
        if !stream.tty {
            return Self::none();
        }
        let target = if stream.stderr { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::stdout() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        style(&bar, "{spinner} {pos} of {len}  {elapsed}  {wide_msg}");
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// A bar that fills while `length` passes, on standard error if that is a terminal.
    pub fn timing(length: Duration) -> Self {
        let bar = ProgressBar::new(length.as_millis() as u64);
        style(&bar, "{msg} {bar:30} {elapsed}");
        Self(bar)
    }

    /// Whether no line is drawn.
    pub fn is_hidden(&self) -> bool {
        self.0.is_hidden()
    }

    /// Shows what is going on.
    pub fn say(&self, message: String) {
        self.0.set_message(message);
    }

    /// How many steps are done.
    pub fn done(&self, steps: u64) {
        self.0.set_position(steps);
    }

    /// How much of the length has passed.
    pub fn passed(&self, time: Duration) {
        self.0.set_position(time.as_millis() as u64);
    }

    /// The time that the line shows begins anew.
    pub fn restart_clock(&self) {
        self.0.reset_elapsed();
    }

    /// Takes the line away while `print` writes above it.
    pub fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        self.0.suspend(print)
    }

    /// Removes the line.
    pub fn clear(&self) {
        self.0.finish_and_clear();
    }
}

fn style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

/// How often the line moves on its own, so that a long step does not look like a hang.
const TICK: Duration = Duration::from_millis(120);
