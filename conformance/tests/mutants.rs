//! Mutation proof: every requirement's own check kills its mutant, for the reason that names the fault.

mod common;

use std::fmt::Write as _;

use conformance::{
    events::{CheckResult, Verdict},
    requirement::Requirement,
    requirements::ALL,
    vocabulary::{Isolation, Need},
};
use tokio::task::JoinSet;

/// It looks at a process's memory, which an exemplar in this process does not have for itself.
const SEES_MEMORY: &str = "TRANSPORT-007";
/// Mutants at a time: each is an endpoint and a suite, and they mostly wait.
const WIDTH: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mutant_is_killed_by_its_own_check_for_the_right_reason() {
    let only = std::env::var("MUTANT").unwrap_or_default();
    let mut waiting = ALL.iter().copied().filter(|r| r.id.starts_with(&only));
    let mut running = JoinSet::new();
    let mut rows = Vec::new();
    let (mut disturbed, mut survivors) = (Vec::new(), Vec::new());
    loop {
        while running.len() < WIDTH
            && let Some(requirement) = waiting.next()
        {
            running.spawn(async move { (requirement, judged(requirement).await) });
        }
        let Some(done) = running.join_next().await else { break };
        let (requirement, results) = done.expect("the suite does not panic");
        let own = results.iter().find(|r| r.id == requirement.id).expect("every requirement is run");
        if !is_killed(requirement, own) {
            disturbed.push(requirement);
        }
        let also: Vec<_> = results
            .iter()
            .filter(|r| r.id != requirement.id && r.verdict == Verdict::Fail)
            .map(|r| r.id.as_str().to_owned())
            .collect();
        rows.push((requirement, own.reason.clone(), also));
    }
    // The servers in this process disturb each other's clocks: a mutant that survives beside others is tried again alone.
    for requirement in disturbed {
        let results = alone(requirement).await;
        let own = results.iter().find(|r| r.id == requirement.id).expect("it was asked");
        if !is_killed(requirement, own) {
            survivors.push(format!(
                "{}: {:?} {:?}, expected a failure that says {:?}",
                requirement.id, own.verdict, own.reason, requirement.mutant.reason
            ));
        }
    }
    assert!(survivors.is_empty(), "mutants survived or died for another reason:\n{}", survivors.join("\n"));
    if !only.is_empty() {
        eprintln!("{rows:#?}");
        return; // a part of the matrix is not the matrix
    }
    rows.sort_by_key(|(requirement, ..)| ALL.iter().position(|r| r.id == requirement.id));
    let mut matrix = String::from("mutant       its fault, and what else it breaks\n");
    for (requirement, _, also) in rows {
        let also =
            if also.is_empty() { String::new() } else { format!("\n             also {}", also.join(" ")) };
        let _ = writeln!(matrix, "{:<12} {}{also}", requirement.id, requirement.mutant.fault);
    }
    insta::assert_snapshot!("kill_matrix", matrix);
}

/// What its own check says of a mutant beside which nothing else is judged.
async fn alone(requirement: &'static Requirement) -> Vec<CheckResult> {
    let (mutant, only) = ((requirement.mutant.behaviour)(), [requirement.id]);
    match requirement.needs {
        [Need::Managed] => common::judge_managed(Some(requirement.id), &only).await,
        [Need::Tls] => common::judge_tls(mutant, &only).await,
        _ if requirement.id == SEES_MEMORY => common::judge_managed(Some(requirement.id), &only).await,
        _ => common::judge_only(mutant, &only).await,
    }
}

/// By its own check, for the reason that names the fault.
fn is_killed(requirement: &Requirement, own: &CheckResult) -> bool {
    own.verdict == Verdict::Fail && own.reason.contains(requirement.mutant.reason)
}

/// What its own check says of a mutant, and those of its area that say the same on a busy machine: what measures time or fills
/// the target may see another thing there. Of these, those that can be seen in the same dialect. What else sees a mutant of
/// CONCURRENCY hangs on which requests meet: none is asked.
async fn judged(requirement: &'static Requirement) -> Vec<CheckResult> {
    if matches!(requirement.needs, [Need::Managed | Need::Tls])
        || requirement.id == SEES_MEMORY
        || requirement.area() == "CONCURRENCY"
    {
        return alone(requirement).await;
    }
    let beside = |r: &&&Requirement| {
        r.id != requirement.id
            && r.area() == requirement.area()
            && r.dialects.contains(&requirement.dialects[0])
    };
    let steady = ALL.iter().filter(|r| r.isolation == Isolation::Shared).filter(beside);
    let asked: Vec<_> = steady.map(|r| r.id).chain([requirement.id]).collect();
    common::judge_only((requirement.mutant.behaviour)(), &asked).await
}
