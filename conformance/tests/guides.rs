//! Each guide and its Chinese counterpart stay in step: the same headings, tables and code.

use std::{
    fs,
    path::{Path, PathBuf},
};

#[test]
fn chinese_and_english_have_the_same_headings_tables_and_code() {
    let pairs = pairs();
    assert!(pairs.iter().any(|(english, _)| english.ends_with("README.md")), "{pairs:?}");
    assert!(pairs.len() >= 5, "{pairs:?}");
    for (english, chinese) in pairs {
        let [one, other] =
            [&english, &chinese].map(|file| Shape::of(&fs::read_to_string(file).expect("a guide")));
        let file = chinese.display();
        assert_eq!(one.headings, other.headings, "levels of the headings of {file}");
        assert_eq!(one.tables, other.tables, "rows and columns of the tables of {file}");
        assert_eq!(one.code.len(), other.code.len(), "blocks of code of {file}");
        for (ours, theirs) in one.code.iter().zip(&other.code) {
            assert_eq!(ours, theirs, "code of {file}");
        }
    }
}

#[test]
fn comments_may_be_translated_and_code_may_not() {
    let code = |text: &str| Shape::of(&format!("```sh\n{text}\n```")).code;
    assert_eq!(code("run --a   # in words"), code("run --a # 中文"));
    assert_eq!(code("why = \"not yet\""), code("why = \"尚未\""));
    assert_ne!(code("run --a"), code("run --b"));
}

/// Every guide that has a Chinese counterpart; a guide without one is an error.
fn pairs() -> Vec<(PathBuf, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut guides = vec![root.join("README.md")];
    for entry in fs::read_dir(root.join("docs/guides")).expect("a folder of guides") {
        let path = entry.expect("an entry").path();
        let english = path.file_stem().is_some_and(|stem| !stem.to_string_lossy().contains(".zh"));
        if english && path.extension().is_some_and(|extension| extension == "md") {
            guides.push(path);
        }
    }
    guides.sort();
    guides.into_iter().map(|guide| (guide.clone(), guide.with_extension("zh.md"))).collect()
}

/// What does not depend on the language.
#[derive(Default)]
struct Shape {
    headings: Vec<usize>,
    /// Columns of each row.
    tables: Vec<usize>,
    /// The language and the lines of each block.
    code: Vec<Vec<String>>,
}

impl Shape {
    fn of(text: &str) -> Self {
        let (mut shape, mut in_code) = (Self::default(), false);
        for line in text.lines() {
            if line.starts_with("```") {
                in_code = !in_code;
                if in_code {
                    shape.code.push(vec![line.to_owned()]);
                }
            } else if in_code {
                shape.code.last_mut().expect("a block").push(without_words(line));
            } else if line.starts_with('#') {
                shape.headings.push(line.chars().take_while(|c| *c == '#').count());
            } else if line.starts_with('|') {
                shape.tables.push(line.replace("\\|", "").matches('|').count());
            }
        }
        shape
    }
}

/// A line of code without its comment, and without a reason for people.
fn without_words(line: &str) -> String {
    if let Some(key) = line.split_once(" = ").map(|(key, _)| key).filter(|key| *key == "why") {
        return key.to_owned();
    }
    let code = if line.starts_with('#') { "" } else { line.split(" # ").next().unwrap_or_default() };
    code.trim_end().to_owned()
}
