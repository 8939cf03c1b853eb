//! `conformance explain ID`: the page of one requirement, for the terminal.
//!
//! Talks to: the one slice of requirements, and standard output.

use present::{Console, Paint, text};

use crate::{
    exit::Exit,
    reports::page::{self, Block, Span},
    requirement::Requirement,
    requirements,
    runner::{contract, nearest},
};

/// Arguments of `conformance explain`.
#[derive(Clone, Debug, clap::Args)]
pub struct ExplainArgs {
    /// The requirement, such as STREAM-001
    pub id: String,
}

/// Text is wrapped at this many columns.
const WIDTH: usize = 96;

/// Prints the page; an id that does not exist is wrong usage, and the nearest ones are named.
pub fn run(args: &ExplainArgs) -> anyhow::Result<Exit> {
    let wanted = args.id.trim();
    let found = requirements::ALL.iter().find(|requirement| requirement.id.eq_ignore_ascii_case(wanted));
    let Some(requirement) = found else {
        eprintln!("error: {}", unknown(wanted));
        return Ok(Exit::Usage);
    };
    text::print(&explain(requirement, Console::detect().stdout.color))?;
    Ok(Exit::Success)
}

/// Why there is no page: the id is mistyped, or the contract has the row and nothing checks it.
fn unknown(wanted: &str) -> String {
    let unchecked = requirements::AREAS.iter().flat_map(|area| area.unchecked);
    if let Some((id, why)) = unchecked.into_iter().find(|(id, _)| id.eq_ignore_ascii_case(wanted)) {
        return format!("{id} has no page, because nothing checks it yet: {why}");
    }
    let nearest = nearest(wanted, contract()).join(" or ");
    let meant = if nearest.is_empty() { String::new() } else { format!("; did you mean {nearest}?") };
    let wanted = text::cut(&text::visible(wanted), 40);
    format!("there is no requirement {wanted}{meant} (`conformance list` shows them all)")
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
