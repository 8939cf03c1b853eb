//! `conformance list`: every requirement in a line.
//!
//! Talks to: the one slice of requirements, and standard output.

use std::fmt::Write as _;

use present::text;
use serde::Serialize;

use crate::vocabulary::{Level, Role};
use crate::{exit::Exit, requirement::Requirement, requirements};

/// Arguments of `conformance list`.
#[derive(Clone, Debug, clap::Args)]
pub struct ListArgs {
    /// What the list looks like
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub format: ListFormat,
}

/// What the list looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ListFormat {
    /// Aligned columns.
    Table,
    /// An array of objects.
    Json,
    /// A table for a document.
    Markdown,
}

/// Prints the list.
pub fn run(args: &ListArgs) -> anyhow::Result<Exit> {
    text::print(&list(requirements::ALL, args.format)?)?;
    Ok(Exit::Success)
}

/// The list as text.
pub fn list(requirements: &[&Requirement], format: ListFormat) -> serde_json::Result<String> {
    let rows: Vec<Row> = requirements.iter().map(|requirement| Row::of(requirement)).collect();
    Ok(match format {
        ListFormat::Table => table(&rows),
        ListFormat::Json => serde_json::to_string_pretty(&rows)? + "\n",
        ListFormat::Markdown => markdown(&rows),
    })
}

#[derive(Serialize)]
struct Row {
    id: &'static str,
    level: Level,
    roles: Vec<Role>,
    title: &'static str,
    dialects: Vec<String>,
    since: &'static str,
}

impl Row {
    fn of(requirement: &Requirement) -> Self {
        Self {
            id: requirement.id,
            level: requirement.level,
            roles: requirement.roles.to_vec(),
            title: requirement.title,
            dialects: requirement.dialects.iter().map(ToString::to_string).collect(),
            since: requirement.since,
        }
    }

    /// In the order of [`HEAD`].
    fn cells(&self) -> [String; 6] {
        let roles: Vec<_> = self.roles.iter().map(ToString::to_string).collect();
        [
            self.id.to_owned(),
            self.level.to_string(),
            roles.join(","),
            self.dialects.join(","),
            self.since.to_owned(),
            self.title.to_owned(),
        ]
    }
}

const HEAD: [&str; 6] = ["id", "level", "roles", "dialects", "since", "title"];

fn table(rows: &[Row]) -> String {
    let cells: Vec<_> = std::iter::once(HEAD.map(str::to_owned)).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<_> = (0..HEAD.len()).map(width).collect();
    let mut text = String::new();
    for row in &cells {
        let padded: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn markdown(rows: &[Row]) -> String {
    let mut text = format!("| {} |\n|{}\n", HEAD.join(" | "), "---|".repeat(HEAD.len()));
    for row in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} |", row.cells().map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
    text
}
