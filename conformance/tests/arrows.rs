//! What the layout promises: a module imports only from floors below its own, a crate only the crates it may know, and a
//! file that calls itself pure has neither clock, channel nor I/O.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The modules of the suite, lowest floor first. A module may use its own files and the floors below it.
const FLOORS: [&[&str]; 8] = [
    &["vocabulary", "verdict", "evidence", "exit"],
    &["events", "target"],
    &["probe"],
    &["requirement"],
    &["requirements"],
    &["known_failures", "reports"],
    &["runner"],
    &["cli"],
];

/// Which crates of this repository each crate may depend on. Tests may use all of them.
const CRATES: [(&str, &[&str]); 6] = [
    ("wire", &[]),
    ("present", &[]),
    ("statistics", &[]),
    ("exemplar", &["ai-inference-proto", "authority", "wire"]),
    ("latency", &["ai-inference-proto", "exemplar", "present", "statistics", "wire"]),
    (".", &["ai-inference-proto", "exemplar", "latency", "present", "statistics", "wire"]),
];

/// What no file uses whose header says "Pure.".
const IMPURE: [&str; 7] =
    ["Instant::now", "SystemTime::now", "std::fs", "std::net", "mpsc::", "tokio::spawn", "env::var"];

#[test]
fn arrows_point_down_only() {
    let src = root().join("src");
    let mut wrong = Vec::new();
    for file in sources(&src) {
        let relative = file.strip_prefix(&src).expect("it lies there");
        let from = relative.components().next().expect("it has a name").as_os_str().to_string_lossy();
        let from = from.trim_end_matches(".rs").to_owned();
        if from == "lib" || from == "main" {
            continue;
        }
        let floor = floor(&from).unwrap_or_else(|| panic!("{from} is on no floor; give it one in FLOORS"));
        for to in imports(&fs::read_to_string(&file).expect("a source file")) {
            if to != from && floor <= self::floor(&to).unwrap_or_default() {
                wrong.push(format!("{}: {from} must not use {to}", relative.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that do not point down:\n{}", wrong.join("\n"));
}

#[test]
fn imports_are_seen_in_all_their_forms() {
    let text = "//! crate::comment\nuse crate::one::Thing;\nuse crate::{\n    two,\n    three::{Four, five::Six},\n};\n\
                fn f() { crate::seven::eight() }\n$crate::nine";
    assert_eq!(imports(text), ["one", "two", "three", "seven"]);
}

#[test]
fn crates_depend_on_what_they_may_know() {
    let known = fs::read_to_string(root().join("../Cargo.toml")).expect("the workspace's manifest");
    let ours: Vec<_> = known
        .lines()
        .filter(|line| line.contains("{ path = "))
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name)
        .collect();
    assert!(ours.contains(&"wire") && ours.contains(&"ai-inference-proto"), "{ours:?}");
    for (name, may) in CRATES {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).expect("a crate's manifest");
        let dependencies = manifest.split("\n[").find(|part| part.starts_with("dependencies]"));
        for line in dependencies.expect("it has dependencies").lines() {
            let Some((dependency, rest)) = line.split_once(" = ") else { continue };
            let ours = ours.contains(&dependency) || rest.contains("path = ");
            assert!(!ours || may.contains(&dependency), "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn a_file_that_says_it_is_pure_is_pure() {
    let mut pure = 0;
    for folder in ["src", "latency/src", "present/src", "statistics/src", "wire/src"] {
        for file in sources(&root().join(folder)) {
            let text = fs::read_to_string(&file).expect("a source file");
            let header: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
            if !header.contains("Pure.") {
                continue;
            }
            pure += 1;
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let found = IMPURE.iter().find(|word| code.contains(**word));
            assert!(found.is_none(), "{} says it is pure, and uses {found:?}", file.display());
        }
    }
    assert!(pure > 0, "no file says that it is pure");
}

/// The modules of this crate that a source file names: in `use` declarations and in paths, but not in comments.
fn imports(text: &str) -> Vec<String> {
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    let mut rest = code.as_str();
    while let Some(at) = rest.find("crate::") {
        let of_macro = rest[..at].ends_with('$');
        rest = &rest[at + "crate::".len()..];
        if of_macro {
            continue;
        }
        match rest.strip_prefix('{') {
            Some(group) => found.extend(heads(group)),
            None => found.push(word(rest)),
        }
    }
    found
}

/// The first word of each item of a group, up to the brace that closes it.
fn heads(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                found.push(word(group[start..at].trim_start()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found.retain(|word| !word.is_empty());
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
