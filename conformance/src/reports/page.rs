//! A requirement's page, read into blocks: `explain`, the HTML report and the generated docs render the same text.
//!
//! The pages are doc comments and use little of Markdown: headings, paragraphs, bullet lists, indented or fenced code,
//! code spans and bold. Tables stay as they are written. Pure.

use serde::Serialize;

/// A piece of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "body", rename_all = "lowercase")]
pub(crate) enum Block {
    Heading(Vec<Span>),
    Paragraph(Vec<Span>),
    Items(Vec<Vec<Span>>),
    Code(String),
}

/// A piece of a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "text", rename_all = "lowercase")]
pub(crate) enum Span {
    Text(String),
    Code(String),
    Strong(String),
}

/// A doc comment's text without the space after each `///`.
pub(crate) fn markdown(page: &str) -> String {
    let lines = page.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    lines.collect::<Vec<_>>().join("\n").trim().to_owned() + "\n"
}

/// The page in blocks.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let mut reader = Reader::default();
    let page = markdown(page);
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line.trim_start().starts_with("```") {
            let code = lines.by_ref().take_while(|line| !line.trim_start().starts_with("```"));
            let code = code.collect::<Vec<_>>().join("\n");
            reader.end();
            reader.blocks.push(Block::Code(code));
        } else {
            reader.line(line);
        }
    }
    reader.end();
    reader.blocks
}

/// Gathers lines until a block is whole.
#[derive(Default)]
struct Reader {
    blocks: Vec<Block>,
    paragraph: Vec<String>,
    items: Vec<String>,
    code: Vec<String>,
}

impl Reader {
    fn line(&mut self, line: &str) {
        let trimmed = line.trim();
        if trimmed.is_empty() {
            self.end();
        } else if let Some(heading) = trimmed.strip_prefix('#') {
            self.end();
            self.blocks.push(Block::Heading(spans(heading.trim_start_matches('#').trim())));
        } else if let Some(item) = trimmed.strip_prefix("- ").or_else(|| trimmed.strip_prefix("* ")) {
            if self.items.is_empty() {
                self.end();
            }
            self.items.push(item.to_owned());
        } else if let Some(item) = self.items.last_mut() {
            item.push(' ');
            item.push_str(trimmed);
        } else if trimmed.starts_with('|') || (line.starts_with("    ") && self.paragraph.is_empty()) {
            if self.code.is_empty() {
                self.end();
            }
            self.code.push(line.strip_prefix("    ").unwrap_or(line).to_owned());
        } else {
            if !self.code.is_empty() {
                self.end();
            }
            self.paragraph.push(trimmed.to_owned());
        }
    }

    fn end(&mut self) {
        if !self.paragraph.is_empty() {
            self.blocks.push(Block::Paragraph(spans(&self.paragraph.join(" "))));
        }
        if !self.items.is_empty() {
            self.blocks.push(Block::Items(self.items.iter().map(|item| spans(item)).collect()));
        }
        if !self.code.is_empty() {
            self.blocks.push(Block::Code(self.code.join("\n")));
        }
        self.paragraph.clear();
        self.items.clear();
        self.code.clear();
    }
}

/// A line in code spans, bold words and the rest. A mark without its partner is text.
pub(crate) fn spans(text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let opens = [rest.find('`').map(|at| (at, "`")), rest.find("**").map(|at| (at, "**"))];
        let found = opens.into_iter().flatten().min().and_then(|(at, mark)| {
            let (before, from) = rest.split_at(at);
            let (inside, after) = from.strip_prefix(mark)?.split_once(mark)?;
            Some((before, mark, inside, after))
        });
        let Some((before, mark, inside, after)) = found else {
            spans.push(Span::Text(rest.to_owned()));
            break;
        };
        if !before.is_empty() {
            spans.push(Span::Text(before.to_owned()));
        }
        let inside = inside.to_owned();
        spans.push(if mark == "`" { Span::Code(inside) } else { Span::Strong(inside) });
        rest = after;
    }
    spans
}
