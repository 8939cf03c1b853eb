//! Invariants over all requirements: each is the contract's, says so in the contract's words, and has its whole page.

use std::{collections::BTreeMap, path::Path};

use conformance::{cli::docs, requirement::Requirement, requirements::ALL};

/// A row of the contract's tables: id, level, sentence.
fn contract() -> BTreeMap<String, (String, String)> {
    let text = std::fs::read_to_string(root().join("docs/contract.md")).expect("the contract is in the docs");
    let rows = text.lines().filter(|line| line.starts_with("| ")).filter_map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let (id, level, sentence) = (cells.first()?, cells.get(1)?, cells.get(3)?);
        let is_id = id.split_once('-').is_some_and(|(_, n)| n.len() == 3 && n.parse::<u16>().is_ok());
        is_id.then(|| ((*id).to_owned(), ((*level).to_owned(), (*sentence).to_owned())))
    });
    rows.collect()
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[test]
fn the_contract_has_129_requirements() {
    assert_eq!(contract().len(), 129);
}

#[test]
fn every_requirement_says_what_the_contract_says() {
    let contract = contract();
    for requirement in ALL {
        let (level, sentence) = &contract[requirement.id];
        assert_eq!(requirement.level.to_string(), *level, "{}", requirement.id);
        assert_eq!(requirement.sentence(), *sentence, "{}", requirement.id);
    }
}

#[test]
fn ids_are_unique_and_in_the_contracts_order() {
    let order =
        ["WIRE", "HEALTH", "CONTROL", "STREAM", "SAMPLING", "ERROR", "CONCURRENCY", "TRANSPORT", "AUTH"];
    let key = |r: &Requirement| (order.iter().position(|a| *a == r.area()), r.id);
    for pair in ALL.windows(2) {
        assert!(key(pair[0]) < key(pair[1]), "{} before {}", pair[0].id, pair[1].id);
    }
}

#[test]
fn every_page_has_all_its_parts() {
    for requirement in ALL {
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
