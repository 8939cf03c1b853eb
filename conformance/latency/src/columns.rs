//! A table: aligned for terminals, or as Markdown for a page. Pure.

use std::fmt::Write as _;

/// Rows of cells under a head. The first column names the row.
#[derive(Clone, Debug)]
pub(crate) struct Columns(Vec<Vec<String>>);

impl Columns {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self(vec![head.iter().map(|cell| (*cell).to_owned()).collect()])
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.0.push(cells);
    }

    pub(crate) fn written(&self, markdown: bool) -> String {
        if markdown { self.markdown() } else { self.aligned() }
    }

    /// The first column to the left, the others to the right.
    fn aligned(&self) -> String {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.0.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.0 {
            let cells = row.iter().zip(&widths).enumerate();
            let cells = cells.map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            text += cells.collect::<Vec<_>>().join("  ").trim_end();
            text.push('\n');
        }
        text
    }

    fn markdown(&self) -> String {
        let mut text = String::new();
        for (number, row) in self.0.iter().enumerate() {
            let cells: Vec<_> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
            let _ = writeln!(text, "| {} |", cells.join(" | "));
            if number == 0 {
                let _ = writeln!(text, "|{}", "---|".repeat(row.len()));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_or_markdown() {
        let mut columns = Columns::new(&["", "baseline", "ratio"]);
        columns.row(["ttft p50", "20.00 ms", "1.001"].map(str::to_owned).into());
        columns.row(["e2e", "1 | 2", "0.99"].map(str::to_owned).into());
        assert_eq!(
            columns.written(false),
            "          baseline  ratio\nttft p50  20.00 ms  1.001\ne2e          1 | 2   0.99\n"
        );
        assert_eq!(
            columns.written(true),
            "|  | baseline | ratio |\n|---|---|---|\n| ttft p50 | 20.00 ms | 1.001 |\n| e2e | 1 \\| 2 | 0.99 |\n"
        );
    }
}
