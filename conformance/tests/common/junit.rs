//! Whether a JUnit file holds only what Jenkins' schema knows (junit-10.xsd of its xUnit plugin), and what GitLab needs.

use std::collections::BTreeSet;

use quick_xml::{Reader, events::Event};

/// An element: its attributes (`!` is required), and the elements that may stand in it.
type Rule = (&'static str, &'static [&'static str], &'static [&'static str]);

const RULES: [Rule; 10] = [
    ("testsuites", &["name", "time", "tests", "failures", "errors"], &["testsuite"]),
    (
        "testsuite",
        &[
            "!name",
            "!tests",
            "!failures",
            "!errors",
            "group",
            "time",
            "skipped",
            "timestamp",
            "hostname",
            "id",
        ],
        &["properties", "testcase", "system-out", "system-err"],
    ),
    ("properties", &[], &["property"]),
    ("property", &["!name", "!value"], &[]),
    (
        "testcase",
        // GitLab tells cases apart by classname and name.
        &["!name", "time", "!classname", "group"],
        &["skipped", "error", "failure", "rerunFailure", "flakyFailure", "system-out", "system-err"],
    ),
    ("failure", &["type", "message"], &[]),
    ("error", &["type", "message"], &[]),
    ("skipped", &["type", "message"], &[]),
    ("rerunFailure", &["!type", "message"], &[]),
    ("flakyFailure", &["!type", "message"], &[]),
];
/// Elements of text alone.
const TEXT: [&str; 2] = ["system-out", "system-err"];

/// What is wrong with the file.
pub(crate) fn violations(xml: &str) -> Vec<String> {
    let (mut open, mut found): (Vec<String>, Vec<String>) = (vec![], vec![]);
    let mut cases = BTreeSet::new();
    let mut reader = Reader::from_str(xml);
    loop {
        match reader.read_event().expect("well-formed XML") {
            Event::Eof => return found,
            Event::End(_) => {
                open.pop();
            }
            Event::Start(tag) => {
                let (name, attributes) = read(&tag);
                found.extend(check(open.last().map(String::as_str), &name, &attributes));
                found.extend(twice(&name, &attributes, &mut cases));
                open.push(name);
            }
            Event::Empty(tag) => {
                let (name, attributes) = read(&tag);
                found.extend(check(open.last().map(String::as_str), &name, &attributes));
                found.extend(twice(&name, &attributes, &mut cases));
            }
            _ => {}
        }
    }
}

type Attributes = Vec<(String, String)>;

fn read(tag: &quick_xml::events::BytesStart<'_>) -> (String, Attributes) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let attributes = tag.attributes().map(|attribute| attribute.expect("an attribute"));
    let attributes = attributes.map(|attribute| (text(attribute.key.as_ref()), text(&attribute.value)));
    (text(tag.name().as_ref()), attributes.collect())
}

fn check(parent: Option<&str>, name: &str, attributes: &Attributes) -> Vec<String> {
    let rule = |name: &str| RULES.iter().find(|(element, ..)| *element == name);
    let mut found = Vec::new();
    let fits = match parent {
        None => name == "testsuites",
        Some(parent) => rule(parent).is_some_and(|(_, _, children)| children.contains(&name)),
    };
    found.extend((!fits).then(|| format!("<{name}> in {parent:?}")));
    let allowed = match rule(name) {
        Some((_, allowed, _)) => *allowed,
        None if TEXT.contains(&name) => &[],
        None => return vec![format!("<{name}> is not in the schema")],
    };
    for (attribute, value) in attributes {
        let known = allowed.iter().any(|allowed| allowed.trim_start_matches('!') == attribute);
        found.extend((!known).then(|| format!("<{name}> has no attribute {attribute}")));
        let number = value.chars().all(|c| c.is_ascii_digit() || c == '.');
        let timed = attribute == "time" && !(number && value.matches('.').count() == 1);
        found.extend(timed.then(|| format!("{value} is no time")));
        let moment = value.len() == 24 && value.contains('T') && value.ends_with('Z');
        found.extend((attribute == "timestamp" && !moment).then(|| format!("{value} is no timestamp")));
    }
    for wanted in allowed.iter().filter_map(|allowed| allowed.strip_prefix('!')) {
        let given = attributes.iter().any(|(attribute, _)| attribute == wanted);
        found.extend((!given).then(|| format!("<{name}> lacks {wanted}")));
    }
    found
}

/// GitLab keeps the first of two cases with the same names.
fn twice(name: &str, attributes: &Attributes, cases: &mut BTreeSet<Attributes>) -> Option<String> {
    let names = attributes.iter().filter(|(attribute, _)| attribute != "time").cloned().collect();
    let again = name == "testcase" && !cases.insert(names);
    again.then(|| format!("two cases are {attributes:?}"))
}
