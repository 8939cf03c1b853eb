//! The guides to the benchmark in English and in Chinese say the same: headings, tables and commands are in step.

use std::fs;

#[test]
fn the_guides_of_both_languages_are_in_step() {
    for name in ["benchmark", "benchmark-ci"] {
        let (english, chinese) = (Shape::of(&format!("{name}.md")), Shape::of(&format!("{name}.zh.md")));
        assert_eq!(english, chinese, "{name}.md and {name}.zh.md differ");
    }
}

/// What a translation leaves as it is.
#[derive(Debug, Default, PartialEq)]
struct Shape {
    /// The level of each heading.
    headings: Vec<usize>,
    table_rows: usize,
    /// Lines of code, without their comments.
    code: Vec<String>,
}

impl Shape {
    fn of(file: &str) -> Self {
        let path = format!("{}/../docs/guides/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let (mut shape, mut in_code) = (Self::default(), false);
        for line in text.lines() {
            if line.starts_with("```") {
                in_code = !in_code;
            } else if in_code {
                let code = line.split_once('#').map_or(line, |(code, _)| code);
                shape.code.push(code.trim_end().to_owned());
            } else if line.starts_with('#') {
                shape.headings.push(line.chars().take_while(|c| *c == '#').count());
            } else if line.starts_with('|') {
                shape.table_rows += 1;
            }
        }
        shape
    }
}
