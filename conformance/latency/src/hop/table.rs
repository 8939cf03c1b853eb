//! A report of a hop, as people read it.

use std::fmt::Write as _;

use super::super::columns::Columns;
use super::report::{HopReport, HopSetup, MEDIAN, Row};

impl HopReport {
    /// The report as a table for terminals.
    pub fn table(&self) -> String {
        self.written(false)
    }

    /// The report as Markdown, for a pull request.
    pub fn markdown(&self) -> String {
        self.written(true)
    }

    fn written(&self, markdown: bool) -> String {
        let HopSetup { front, streams, gap_ms, chunk_bytes, .. } = &self.setup;
        let mut text = format!(
            "What {front} adds, {streams} at once, a message of {chunk_bytes} bytes every {gap_ms} ms:\n\n"
        );
        let mut columns = Columns::new(&["", "direct", "through", "added", "interval"]);
        for Row { metric, quantile, direct_ms, through_ms, added_ms, low_ms, high_ms, .. } in &self.rows {
            columns.row(vec![
                format!("{metric} p{}", quantile * 100.0),
                format!("{direct_ms:.3} ms"),
                format!("{through_ms:.3} ms"),
                format!("{added_ms:+.3} ms"),
                format!("{low_ms:+.3} to {high_ms:+.3}"),
            ]);
        }
        text += &columns.written(markdown);
        let _ = writeln!(
            text,
            "\n{} messages in {} blocks; of neighbours that left apart, {:.1} % arrived together (direct: {:.1} %)",
            self.messages,
            self.blocks,
            self.together[1] * 100.0,
            self.together[0] * 100.0
        );
        let slowest = self.rows.iter().filter(|row| row.quantile <= MEDIAN).map(|row| row.direct_ms);
        let slowest = slowest.fold(0.0, f64::max);
        if slowest > MUCH {
            let _ = writeln!(
                text,
                "note: without the proxy a message takes {slowest:.1} ms at the median: both ends are too busy to see what is \
                 small beside that. Ask for less (--streams, --gap), or free the machine"
            );
        }
        for fault in &self.invalid {
            let _ = writeln!(text, "INVALID: {fault}");
        }
        if let Some(most) = self.most_ms.filter(|_| self.invalid.is_empty()) {
            let _ = match self.above.as_slice() {
                [] => writeln!(text, "PASS: no median is certain to lie above {most} ms"),
                above => {
                    writeln!(text, "FAIL: {} adds more than {most} ms at the median", above.join(" and "))
                }
            };
        }
        text
    }
}

/// Milliseconds; on an idle machine the direct way takes a tenth of one.
const MUCH: f64 = 2.0;
