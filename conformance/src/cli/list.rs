//! `conformance list`: every requirement in a line, and what the contract asks without a check here.
//!
//! Talks to: the areas of requirements, and standard output.

use std::fmt::Write as _;

use present::text;
use serde::Serialize;

use super::{call::refuse, values::role};
use crate::{
    exit::Exit,
    requirement::Requirement,
    requirements::{self, Area},
    runner::{Pattern, patterns},
    vocabulary::{Isolation, Level, Need, Profile, Role},
};

/// Arguments of `conformance list`.
#[derive(Clone, Debug, clap::Args)]
pub struct ListArgs {
    /// What the list looks like
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub format: ListFormat,
    /// List only the requirements whose id matches, such as 'STREAM-*'; repeatable
    #[arg(long, value_name = "PATTERN")]
    pub only: Vec<String>,
    /// List only what binds this role; rows without a check have no role yet and are left out then
    #[arg(long, value_name = "ROLE", value_parser = role)]
    pub role: Option<Role>,
    /// List only what this profile asks; rows without a check are left out then
    #[arg(long, value_enum)]
    pub profile: Option<Profile>,
}

/// Which rows are listed. The default is all of them.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    only: Vec<Pattern>,
    role: Option<Role>,
    profile: Option<Profile>,
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
    let only = match patterns("--only", &args.only) {
        Ok(only) => only,
        Err(bad) => return Ok(refuse(Exit::Usage, &bad)),
    };
    let filter = Filter { only, role: args.role, profile: args.profile };
    text::print(&list(&requirements::AREAS, args.format, &filter)?)?;
    Ok(Exit::Success)
}

impl Filter {
    fn has_id(&self, id: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|pattern| pattern.matches(id))
    }

    fn takes(&self, requirement: &Requirement) -> bool {
        self.has_id(requirement.id)
            && self.role.is_none_or(|role| role == requirement.role)
            && self.profile.is_none_or(|profile| requirement.is_asked_in(profile))
    }

    fn takes_unchecked(&self, row: &Unchecked) -> bool {
        self.has_id(row.id) && self.role.is_none() && self.profile.is_none()
    }
}

/// The list as text.
pub fn list(areas: &[Area], format: ListFormat, filter: &Filter) -> serde_json::Result<String> {
    let checked = areas.iter().flat_map(|area| area.requirements).filter(|r| filter.takes(r));
    let rows: Vec<Row> = checked.map(|requirement| Row::of(requirement)).collect();
    let unchecked = areas.iter().flat_map(Unchecked::in_area);
    let unchecked: Vec<Unchecked> = unchecked.filter(|row| filter.takes_unchecked(row)).collect();
    let without: Vec<_> = unchecked.iter().map(|row| [row.id.to_owned(), row.unchecked.to_owned()]).collect();
    let cells: Vec<_> = rows.iter().map(Row::cells).collect();
    let heading = format!("{} rows of the contract have no check:", unchecked.len());
    Ok(match format {
        ListFormat::Table if unchecked.is_empty() => table(&HEAD, &cells),
        ListFormat::Markdown if unchecked.is_empty() => markdown(&HEAD, &cells),
        ListFormat::Table => format!("{}\n{heading}\n{}", table(&HEAD, &cells), table(&UNCHECKED, &without)),
        ListFormat::Json => {
            let all: Vec<_> = rows
                .into_iter()
                .map(Either::Checked)
                .chain(unchecked.into_iter().map(Either::Unchecked))
                .collect();
            serde_json::to_string_pretty(&all)? + "\n"
        }
        ListFormat::Markdown => {
            format!("{}\n{heading}\n\n{}", markdown(&HEAD, &cells), markdown(&UNCHECKED, &without))
        }
    })
}

#[derive(Serialize)]
#[serde(untagged)]
enum Either {
    Checked(Row),
    Unchecked(Unchecked),
}

/// A row of the contract that nothing checks.
#[derive(Serialize)]
struct Unchecked {
    id: &'static str,
    /// Why nothing checks the row.
    unchecked: &'static str,
}

impl Unchecked {
    fn in_area(area: &Area) -> impl Iterator<Item = Self> + use<> {
        area.unchecked.iter().map(|(id, unchecked)| Self { id, unchecked })
    }
}

#[derive(Serialize)]
struct Row {
    id: &'static str,
    level: Level,
    role: Role,
    title: &'static str,
    dialects: Vec<String>,
    since: &'static str,
    needs: &'static [Need],
    isolation: Isolation,
    slow: bool,
    #[serde(rename = "unsafe")]
    unsafe_: bool,
    asked_by: &'static [Profile],
}

impl Row {
    fn of(requirement: &Requirement) -> Self {
        Self {
            id: requirement.id,
            level: requirement.level,
            role: requirement.role,
            title: requirement.title,
            dialects: requirement.dialects.iter().map(ToString::to_string).collect(),
            since: requirement.since,
            needs: requirement.needs,
            isolation: requirement.isolation,
            slow: requirement.slow,
            unsafe_: requirement.unsafe_,
            asked_by: requirement.asked_by,
        }
    }

    /// The cells of the row, in the order of [`HEAD`].
    fn cells(&self) -> [String; 8] {
        let needs: Vec<_> = self.needs.iter().map(ToString::to_string).collect();
        [
            self.id.to_owned(),
            self.level.to_string(),
            self.role.to_string(),
            self.dialects.join(","),
            self.since.to_owned(),
            self.isolation.to_string(),
            needs.join(", "),
            self.title.to_owned(),
        ]
    }
}

const HEAD: [&str; 8] = ["id", "level", "role", "dialects", "since", "isolation", "needs", "title"];
const UNCHECKED: [&str; 2] = ["id", "why"];

fn table<const N: usize>(head: &[&str; N], rows: &[[String; N]]) -> String {
    let cells: Vec<_> = std::iter::once(head.map(str::to_owned)).chain(rows.iter().cloned()).collect();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<_> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in &cells {
        let padded: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn markdown<const N: usize>(head: &[&str; N], rows: &[[String; N]]) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(N));
    for row in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} |", row.each_ref().map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
    text
}
