//! Runs the suite in process against an endpoint on a loopback port.

#![allow(dead_code, reason = "each test file uses its own part of this module")]

mod certificates;

use std::{sync::Arc, time::Duration};

use ai_inference_proto::Dialect;
use conformance::{
    events::{CheckResult, Event},
    known_failures::KnownFailures,
    requirement::Requirement,
    requirements::ALL,
    runner::{Asked, Conduct, Kinds, Plan, Selection, conduct, ready, survey},
    target::{Instances, Start, Target},
    vocabulary::{Profile, Role},
};
use exemplar::{self, Behaviour};
use wire::{Address, Tls};

pub(crate) use certificates::Authority;

/// The exemplar asks for it on StreamPredict and Control, so that checks about credentials have something to see.
pub(crate) const TOKEN: &str = "a-token-for-tests";

/// Serves a behaviour and runs every requirement against it.
pub(crate) async fn judge(behaviour: Arc<dyn Behaviour>) -> Vec<CheckResult> {
    judge_served(behaviour, &[], 1).await
}

/// Runs every requirement against an address that needs no TLS.
pub(crate) async fn judge_address(address: &Address, profile: Profile) -> Vec<CheckResult> {
    judge_through(address, &Tls::default(), profile).await
}

/// Serves a behaviour and runs the requirements of these ids against it.
pub(crate) async fn judge_only(behaviour: Arc<dyn Behaviour>, only: &[&str]) -> Vec<CheckResult> {
    judge_served(behaviour, only, 1).await
}

/// Serves a behaviour and runs every requirement against it, checks beside each other as the program does.
pub(crate) async fn judge_side_by_side(behaviour: Arc<dyn Behaviour>) -> Vec<CheckResult> {
    judge_served(behaviour, &[], JOBS).await
}

/// Serves a behaviour on a port and on a socket.
async fn judge_served(behaviour: Arc<dyn Behaviour>, only: &[&str], jobs: usize) -> Vec<CheckResult> {
    let directory = tempfile::tempdir().expect("a folder for the socket");
    let port = Address::Tcp { host: "127.0.0.1".into(), port: 0 };
    let both = [port, Address::Unix(directory.path().join("exemplar.sock"))];
    let running = exemplar::serve(behaviour, &both, Some(TOKEN.into())).await.expect("a loopback port");
    judge_some(&running.addresses, &Tls::default(), Profile::Full, only, jobs).await
}

/// Serves a behaviour with mutual TLS and runs the requirements of these ids against it.
pub(crate) async fn judge_tls(behaviour: Arc<dyn Behaviour>, only: &[&str]) -> Vec<CheckResult> {
    let (authority, clients) = (Authority::new(), Authority::named("the clients' CA"));
    let (chain, key) = authority.sign("127.0.0.1");
    let (own, own_key) = clients.sign("the-suite");
    let server = exemplar::Tls { chain, key, clients: Some(clients.file()) };
    let port = [Address::Tls { host: "127.0.0.1".into(), port: 0 }];
    let serving = exemplar::serve_with_tls(behaviour, &port, Some(TOKEN.into()), Some(&server));
    let running = serving.await.expect("a loopback port");
    let tls = Tls::default().trusting(&authority.file()).expect("a CA");
    let tls = tls.presenting(&own, &own_key).expect("a certificate");
    judge_some(&running.addresses, &tls, Profile::Full, only, 1).await
}

/// The program's default of `--jobs`.
const JOBS: usize = 4;

/// The dialect in which the requirements of these ids can be seen: the documented one, unless one of them is seen in the
/// other alone.
fn dialect_of(only: &[&str]) -> Option<Dialect> {
    let alone = |requirement: &&&'static Requirement| {
        requirement.dialects == [Dialect::CyLlm] && only.contains(&requirement.id)
    };
    ALL.iter().find(alone).map(|_| Dialect::CyLlm)
}

/// Runs every requirement against an address.
pub(crate) async fn judge_through(address: &Address, tls: &Tls, profile: Profile) -> Vec<CheckResult> {
    judge_some(std::slice::from_ref(address), tls, profile, &[], 1).await
}

/// What the tests ask of an exemplar.
pub(crate) fn asked<'a>(addresses: &'a [Address], tls: &'a Tls, documented: Dialect) -> Asked<'a> {
    Asked {
        addresses,
        tls,
        dialect: None,
        documented,
        model: None,
        token: Some(TOKEN),
        metadata: &[],
        patience: Duration::from_mins(1),
        instances: None,
    }
}

/// Runs the requirements of these ids against `conformance serve exemplar`, or a mutant of it, as a process that the run
/// starts and stops itself.
pub(crate) async fn judge_managed(mutant: Option<&str>, only: &[&str]) -> Vec<CheckResult> {
    let place = tempfile::tempdir().expect("a folder for the log");
    let mutant = mutant.map(|id| format!("--mutant {id} ")).unwrap_or_default();
    let line = format!(
        "{} serve exemplar {mutant}--token {TOKEN} --listen unix://$TARGET_DIRECTORY/exemplar.sock --listen 127.0.0.1:0",
        env!("CARGO_BIN_EXE_conformance")
    );
    let start = Start::command(&line, &[]).with_folder().expect("a folder for the socket");
    let log = place.path().join("target.log");
    let mut target = Target::start(start.clone(), &log).await.expect("it starts");
    target.ready().await.expect("it listens");
    let addresses = target.addresses().to_vec();
    let instances = Arc::new(Instances::new(start, log, Some(target)));
    let tls = Tls::default();
    let asked = Asked { instances: Some(&instances), ..asked(&addresses, &tls, Dialect::Contract) };
    ready(asked, Duration::from_secs(10)).await.expect("it serves");
    let results = judge_asked(asked, Profile::Full, only, 1).await;
    instances.end().await;
    results
}

/// Runs the requirements of these ids, or all, against an endpoint.
async fn judge_some(
    addresses: &[Address],
    tls: &Tls,
    profile: Profile,
    only: &[&str],
    jobs: usize,
) -> Vec<CheckResult> {
    judge_asked(asked(addresses, tls, profile.documented()), profile, only, jobs).await
}

async fn judge_asked(asked: Asked<'_>, profile: Profile, only: &[&str], jobs: usize) -> Vec<CheckResult> {
    let asked = Asked { dialect: dialect_of(only), ..asked };
    let only = only.iter().map(|id| (*id).to_owned()).collect();
    let selection = Selection { roles: vec![Role::Server], profile, only, skip: vec![], shard: None };
    let mut target = survey(asked).await.expect("the endpoint listens");
    if jobs > 1 {
        target.measure_width().await;
    }
    let run = Conduct {
        plan: Plan::new(&selection).expect("there are requirements"),
        target,
        roles: selection.roles,
        profile,
        seed: 1,
        jobs,
        command: "conformance run".into(),
        known_failures: KnownFailures::default(),
        kinds: Kinds { slow: true, safe: false },
        strict: false,
    };
    let mut events = conduct(run, std::future::pending());
    let mut results = Vec::new();
    while let Some(event) = events.recv().await {
        if let Event::CheckFinished(result) = event {
            results.push(*result);
        }
    }
    results
}
