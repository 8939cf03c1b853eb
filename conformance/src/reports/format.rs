//! The formats by name, and which renderer makes each.

use std::io;

use super::{ctrf, github, html, json, junit, markdown, run::Run};

/// What a report looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Format {
    /// For people at a terminal, and in CI logs.
    Pretty,
    /// The whole run for programs; docs/report.schema.json is its schema.
    Json,
    /// JUnit's XML, for CI servers.
    Junit,
    /// The Common Test Report Format (ctrf.io), for dashboards.
    Ctrf,
    /// One self-contained HTML page.
    Html,
    /// A summary in Markdown, for a pull request.
    Markdown,
    /// Annotations in a GitHub Actions log, and the whole run in the step's summary.
    Github,
}

/// Makes a document of a run.
pub(super) type Render = fn(&Run) -> io::Result<String>;

impl Format {
    /// The formats that every run leaves in its output directory.
    pub(super) const FILES: [Self; 5] = [Self::Json, Self::Html, Self::Markdown, Self::Junit, Self::Ctrf];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pretty => "pretty",
            Self::Json => "json",
            Self::Junit => "junit",
            Self::Ctrf => "ctrf",
            Self::Html => "html",
            Self::Markdown => "markdown",
            Self::Github => "github",
        }
    }

    /// The whole run in this format; [`Format::Pretty`] is live and has none.
    pub fn render(self, run: &Run) -> Option<io::Result<String>> {
        self.document().map(|render| render(run))
    }

    /// Its file in the output directory.
    pub(super) fn file_name(self) -> Option<&'static str> {
        match self {
            Self::Json => Some("report.json"),
            Self::Html => Some("report.html"),
            Self::Junit => Some("junit.xml"),
            Self::Ctrf => Some("ctrf.json"),
            Self::Markdown => Some("report.md"),
            Self::Pretty | Self::Github => None,
        }
    }

    /// The renderer of a document.
    pub(super) fn document(self) -> Option<Render> {
        match self {
            Self::Pretty => None,
            Self::Json => Some(json::render),
            Self::Junit => Some(junit::render),
            Self::Ctrf => Some(ctrf::render),
            Self::Html => Some(html::render),
            Self::Markdown => Some(|run| Ok(markdown::render(run))),
            Self::Github => Some(|run| Ok(github::render(run))),
        }
    }
}
