//! What the two output streams are: looked at by people, or read by programs.
//!
//! The only place that asks the environment about terminals and colours.

use std::{env, io::IsTerminal as _};

/// Standard output and standard error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Console {
    /// Standard output.
    pub stdout: Stream,
    /// Standard error.
    pub stderr: Stream,
}

/// One output stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stream {
    /// A terminal on which a live progress line can be drawn.
    pub tty: bool,
    /// Whether colours are wanted.
    pub color: bool,
    /// Which of the two it is: progress is drawn on the stream that the text goes to.
    pub stderr: bool,
}

impl Console {
    /// Looks at the streams and at `NO_COLOR`, `CLICOLOR_FORCE` and `TERM`.
    pub fn detect() -> Self {
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
        let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        let forced = is_set("CLICOLOR_FORCE");
        let stream = |terminal: bool, stderr| Stream {
            tty: terminal && !dumb,
            color: !no_color && (forced || (terminal && !dumb)),
            stderr,
        };
        Self {
            stdout: stream(std::io::stdout().is_terminal(), false),
            stderr: stream(std::io::stderr().is_terminal(), true),
        }
    }
}
