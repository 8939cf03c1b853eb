//! What the two output streams are: looked at by people, or read by programs.
//!
//! The only place that asks the environment about terminals and colours.

use std::{
    env,
    ffi::OsString,
    io::{self, IsTerminal as _},
    path::PathBuf,
};

use terminal_size::{Width, terminal_size_of};

/// Standard output and standard error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Console {
    /// State of standard output.
    pub stdout: Stream,
    /// State of standard error.
    pub stderr: Stream,
}

/// One output stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stream {
    /// A terminal on which a live progress line can be drawn.
    pub tty: bool,
    /// Whether colours are wanted.
    pub color: bool,
    /// Columns of the terminal.
    pub width: Option<u16>,
    /// Which of the two it is: progress is drawn on the stream that the text goes to.
    pub stderr: bool,
}

impl Console {
    /// Looks at the streams and at `NO_COLOR`, `CLICOLOR_FORCE`, `TERM` and `CI`.
    pub fn detect() -> Self {
        let width = |size: Option<(Width, _)>| size.map(|(Width(columns), _)| columns);
        let (out, err) = (io::stdout(), io::stderr());
        Self {
            stdout: stream(out.is_terminal(), width(terminal_size_of(&out)), false, |name| env::var_os(name)),
            stderr: stream(err.is_terminal(), width(terminal_size_of(&err)), true, |name| env::var_os(name)),
        }
    }
}

/// The locale of messages, such as `zh_CN.UTF-8`; empty if none is set.
pub fn locale() -> String {
    let set = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().filter_map(|name| env::var(name).ok());
    set.into_iter().find(|value| !value.is_empty()).unwrap_or_default()
}

/// The file in which GitHub Actions takes the summary of a step.
pub fn step_summary() -> Option<PathBuf> {
    env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn stream(
    terminal: bool,
    width: Option<u16>,
    stderr: bool,
    var: impl Fn(&str) -> Option<OsString>,
) -> Stream {
    let is_set = |name| var(name).is_some_and(|value| !value.is_empty() && value != "0" && value != "false");
    let no_color = var("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = var("TERM").is_some_and(|term| term == "dumb");
    let terminal = terminal && !dumb;
    Stream {
        // A CI server may give a job a terminal, but keeps what a moving line draws.
        tty: terminal && !is_set("CI"),
        color: !no_color && (is_set("CLICOLOR_FORCE") || terminal),
        width: width.filter(|_| terminal),
        stderr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ci_server_gets_no_moving_line_and_keeps_its_colours() {
        let with = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value))
        };
        let plain = stream(true, Some(80), false, with(&[]));
        assert!(plain.tty && plain.color && plain.width == Some(80));
        let ci = stream(true, Some(80), false, with(&[("CI", "true")]));
        assert!(!ci.tty && ci.color && ci.width == Some(80));
        assert!(stream(true, None, false, with(&[("CI", "false")])).tty);
        let dumb = stream(true, Some(80), false, with(&[("TERM", "dumb")]));
        assert!(!dumb.tty && !dumb.color && dumb.width.is_none());
        let file = stream(false, None, false, with(&[("CLICOLOR_FORCE", "1")]));
        assert!(!file.tty && file.color);
        assert!(!stream(true, None, false, with(&[("NO_COLOR", "1")])).color);
    }
}
