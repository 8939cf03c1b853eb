//! Colours for the terminal, or none.

use anstyle::{AnsiColor, Style};

/// Paints, or leaves text as it is.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    on: bool,
}

/// What a colour is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// All is well.
    Good,
    /// It may be well; a person should look.
    Doubtful,
    /// The target is at fault.
    Bad,
    /// This program is at fault.
    OwnFault,
    /// For text of little interest.
    Quiet,
}

impl Paint {
    /// Paints if `on`.
    pub fn new(on: bool) -> Self {
        Self { on }
    }

    /// The text in bold, where colours are on.
    pub fn bold(self, text: &str) -> String {
        self.styled(Style::new().bold(), text)
    }

    /// The text dimmed, for words of little interest.
    pub fn dim(self, text: &str) -> String {
        self.styled(Style::new().dimmed(), text)
    }

    /// What can be typed into a terminal.
    pub fn code(self, text: &str) -> String {
        self.styled(AnsiColor::Cyan.on_default(), text)
    }

    /// The text in the colour of `tone`.
    pub fn toned(self, tone: Tone, text: &str) -> String {
        self.styled(tone.style(), text)
    }

    /// In the colour of `tone`, and bold.
    pub fn strong(self, tone: Tone, text: &str) -> String {
        self.styled(tone.style().bold(), text)
    }

    fn styled(self, style: Style, text: &str) -> String {
        if self.on { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Good => AnsiColor::Green.on_default(),
            Self::Doubtful => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
            Self::OwnFault => AnsiColor::Magenta.on_default(),
            Self::Quiet => Style::new().dimmed(),
        }
    }
}
