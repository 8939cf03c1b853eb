//! `conformance explain ID`: the page of one requirement, for the terminal.
//!
//! Talks to: the one slice of requirements, and standard output.

use present::{Console, Paint, text};

use crate::{
    exit::Exit,
    reports::page::{self, Block, Span},
    requirement::Requirement,
    requirements,
};

/// Arguments of `conformance explain`.
#[derive(Clone, Debug, clap::Args)]
pub struct ExplainArgs {
    /// The requirement, such as STREAM-001
    pub id: String,
}

/// Text is wrapped at this many columns.
const WIDTH: usize = 96;
/// Ids suggested for one that does not exist.
const SUGGESTED: usize = 5;

/// Prints the page; an id that does not exist is wrong usage, and the nearest ones are named.
pub fn run(args: &ExplainArgs) -> anyhow::Result<Exit> {
    let wanted = args.id.trim();
    let found = requirements::ALL.iter().find(|requirement| requirement.id.eq_ignore_ascii_case(wanted));
    let Some(requirement) = found else {
        let nearest = nearest(&requirements::ALL, wanted).join(", ");
        let wanted = text::cut(&text::visible(wanted), 40);
        eprintln!("error: there is no requirement {wanted}; nearest: {nearest} (all: conformance list)");
        return Ok(Exit::Usage);
    };
    text::print(&explain(requirement, Console::detect().stdout.color))?;
    Ok(Exit::Success)
}

/// The page as text.
pub fn explain(requirement: &Requirement, color: bool) -> String {
    let paint = Paint::new(color);
    let dialects: Vec<_> = requirement.dialects.iter().map(ToString::to_string).collect();
    let mut lines = vec![
        paint.bold(&format!("{} {}", requirement.id, requirement.title)),
        paint.dim(&format!(
            "{} for {}; dialects {}; since {}",
            requirement.level,
            requirement.role,
            dialects.join(", "),
            requirement.since
        )),
    ];
    for block in page::blocks(requirement.page) {
        match block {
            Block::Heading(spans) => lines.extend([String::new(), paint.bold(&plain(&spans))]),
            Block::Paragraph(spans) => {
                lines.extend(text::wrap(&plain(&spans), WIDTH).into_iter().map(|line| format!("  {line}")));
            }
            Block::Items(items) => items.iter().for_each(|item| {
                let wrapped = text::wrap(&plain(item), WIDTH - 2);
                let marks = std::iter::once("  - ").chain(std::iter::repeat("    "));
                lines.extend(wrapped.iter().zip(marks).map(|(line, mark)| format!("{mark}{line}")));
            }),
            Block::Code(code) => lines.extend(code.lines().map(|line| paint.code(&format!("      {line}")))),
        }
    }
    lines.extend([
        String::new(),
        paint.bold("How the check is tested"),
        format!(
            "  The suite's own test serves this fault, and the check must see it: {}.",
            requirement.mutant.fault
        ),
        format!("  To try it: conformance serve exemplar --mutant {}", requirement.id),
        format!("  Check and fault: {}", requirement.file),
    ]);
    lines.join("\n") + "\n"
}

fn plain(spans: &[Span]) -> String {
    let text = spans.iter().map(|span| match span {
        Span::Code(text) => format!("`{text}`"),
        Span::Text(text) | Span::Strong(text) => text.clone(),
    });
    text.collect()
}

/// The ids that are most like `wanted`.
fn nearest(requirements: &[&'static Requirement], wanted: &str) -> Vec<&'static str> {
    let wanted = wanted.to_ascii_uppercase();
    let mut ids: Vec<_> = requirements.iter().map(|r| (distance(&wanted, r.id), r.id)).collect();
    ids.sort_by_key(|(distance, _)| *distance);
    ids.into_iter().take(SUGGESTED).map(|(_, id)| id).collect()
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        for (j, to) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}
