//! Colours for the terminal, or none.

use anstyle::{AnsiColor, Style};

use super::{conclusion::Standing, outcome::Outcome};

/// Paints, or leaves text as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    pub(crate) fn new(on: bool) -> Self {
        Self { on }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.styled(Style::new().bold(), text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.styled(Style::new().dimmed(), text)
    }

    pub(crate) fn code(self, text: &str) -> String {
        self.styled(AnsiColor::Cyan.on_default(), text)
    }

    pub(super) fn outcome(self, outcome: Outcome, text: &str) -> String {
        let color = match outcome {
            Outcome::Pass => AnsiColor::Green,
            Outcome::Fail | Outcome::Stale => AnsiColor::Red,
            Outcome::Error => AnsiColor::Magenta,
            Outcome::Warn | Outcome::Inconclusive => AnsiColor::Yellow,
            Outcome::Known | Outcome::Skip => return self.dim(text),
        };
        self.styled(color.on_default(), text)
    }

    pub(super) fn standing(self, standing: Standing, text: &str) -> String {
        let color = match standing {
            Standing::Conformant => AnsiColor::Green,
            Standing::NotConformant => AnsiColor::Red,
            Standing::Unknown => AnsiColor::Yellow,
        };
        self.styled(color.on_default().bold(), text)
    }

    fn styled(self, style: Style, text: &str) -> String {
        if self.on { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}
