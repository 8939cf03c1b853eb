//! Invariants over all requirements: each is the contract's, says so in the contract's words, and has its whole page.

use std::{collections::BTreeMap, path::Path};

use ai_inference_proto::Dialect;
use conformance::{
    cli::docs,
    requirement::Requirement,
    requirements::{ALL, AREAS},
    vocabulary::{Isolation, Need},
};

/// A row of the contract's tables.
struct Row {
    level: String,
    binds: String,
    sentence: String,
}

/// The contract's tables, by id.
fn contract() -> BTreeMap<String, Row> {
    let text = std::fs::read_to_string(root().join("docs/contract.md")).expect("the contract is in the docs");
    let rows = text.lines().filter(|line| line.starts_with("| ")).filter_map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let (id, level, binds, sentence) = (cells.first()?, cells.get(1)?, cells.get(2)?, cells.get(3)?);
        let is_id = id.split_once('-').is_some_and(|(_, n)| n.len() == 3 && n.parse::<u16>().is_ok());
        let row =
            Row { level: (*level).to_owned(), binds: (*binds).to_owned(), sentence: (*sentence).to_owned() };
        is_id.then(|| ((*id).to_owned(), row))
    });
    rows.collect()
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[test]
fn every_row_of_the_contract_is_checked_or_says_why_not() {
    let contract = contract();
    assert_eq!(contract.len(), 175);
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for area in AREAS.iter() {
        for id in area.requirements.iter().map(|r| r.id).chain(area.unchecked.iter().map(|(id, _)| *id)) {
            assert_eq!(id.split_once('-').map(|(area, _)| area), Some(area.name), "{id}");
            *seen.entry(id).or_default() += 1;
        }
        for (id, why) in area.unchecked {
            assert!(why.len() > 10, "{id} has no reason");
        }
    }
    assert!(seen.values().all(|times| *times == 1), "an id stands twice: {seen:?}");
    let missing: Vec<_> = contract.keys().filter(|id| !seen.contains_key(id.as_str())).collect();
    assert!(missing.is_empty(), "neither checked nor listed as unchecked: {missing:?}");
    let unknown: Vec<_> = seen.keys().filter(|id| !contract.contains_key(**id)).collect();
    assert!(unknown.is_empty(), "not in the contract: {unknown:?}");
}

#[test]
fn every_requirement_says_what_the_contract_says() {
    let contract = contract();
    for requirement in ALL.iter() {
        let Row { level, binds, sentence } = &contract[requirement.id];
        assert_eq!(requirement.level.to_string(), *level, "{}", requirement.id);
        assert_eq!(requirement.sentence(), *sentence, "{}", requirement.id);
        // "managed server" is a server of which a check needs its process, "server (`cy.llm`)" one in one dialect.
        assert!(binds.contains(&requirement.role.to_string()), "{}: {binds}", requirement.id);
        let managed = requirement.needs.contains(&Need::Managed);
        assert!(managed || !binds.starts_with("managed"), "{}", requirement.id);
        assert!(!managed || requirement.isolation == Isolation::Exclusive, "{}", requirement.id);
        if binds.contains("`cy.llm`") {
            assert_eq!(requirement.dialects, [Dialect::CyLlm], "{}", requirement.id);
        }
    }
}

#[test]
fn requirements_are_in_the_contracts_order() {
    let text = std::fs::read_to_string(root().join("docs/contract.md")).expect("the contract is in the docs");
    let place = |id: &str| text.find(&format!("| {id} |"));
    for pair in ALL.windows(2) {
        assert!(place(pair[0].id) < place(pair[1].id), "{} before {}", pair[0].id, pair[1].id);
    }
}

#[test]
fn every_page_has_all_its_parts() {
    for requirement in ALL.iter() {
        let headings: Vec<_> = requirement.page.lines().filter_map(|l| l.trim().strip_prefix("# ")).collect();
        assert_eq!(headings, Requirement::HEADINGS, "{}", requirement.id);
        let parts = requirement.page.split("\n # ").skip(1);
        for part in parts {
            let body: String = part.lines().skip(1).collect();
            assert!(body.trim().len() > 10, "{}: {part}", requirement.id);
        }
        assert!(!requirement.mutant.fault.is_empty() && !requirement.mutant.reason.is_empty());
    }
}

#[test]
fn the_pages_in_the_docs_are_the_ones_in_the_code() {
    let different = docs::differences(&root().join("docs/requirements")).expect("the pages can be read");
    assert!(different.is_empty(), "{different:?}\nto mend: cargo run -p conformance -- docs");
}
