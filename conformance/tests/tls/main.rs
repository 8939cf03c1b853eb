//! Targets with TLS: the suite sees through it everything that it sees without, and says at once why it cannot.

#[path = "../common/mod.rs"]
mod common;
mod front;

use std::{path::Path, process::Output, sync::Arc};

use common::Authority;
use conformance::{events::Verdict, requirements::ALL, vocabulary::Profile};
use exemplar::{self, Behaviour, Conformant, Running};
use front::{Front, Terms};
use tokio::process::Command;
use wire::{Address, Tls};

/// A behaviour on a free port, without TLS.
async fn serve(behaviour: Arc<dyn Behaviour>, token: Option<&str>) -> Running {
    let anywhere = Address::Tcp { host: "127.0.0.1".into(), port: 0 };
    exemplar::serve(behaviour, &[anywhere], token.map(str::to_owned)).await.expect("a loopback port")
}

/// Through TLS a debug build is too slow a client to keep the exemplar full beside other tests, and says so.
const NEED_A_FULL_SERVER: [&str; 3] = ["CONCURRENCY-007", "CONCURRENCY-008", "CONCURRENCY-012"];

async fn assert_all_pass(address: &Address, tls: &Tls) {
    let results = common::judge_through(address, tls, Profile::Full).await;
    let blamed: Vec<_> = results
        .iter()
        .filter(|r| !matches!(r.verdict, Verdict::Pass | Verdict::Skip))
        .filter(|r| r.verdict != Verdict::Inconclusive || !NEED_A_FULL_SERVER.contains(&r.id.as_str()))
        .map(|r| format!("{} {:?}: {}", r.id, r.verdict, r.reason))
        .collect();
    assert!(blamed.is_empty(), "the exemplar was not passed:\n{}", blamed.join("\n"));
    assert_eq!(results.len(), ALL.len());
}

/// Runs the program, with one quick requirement.
async fn run(arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_conformance"))
        .args(["run", "--only", "HEALTH-001", "--output"])
        .arg(directory.path())
        .args(arguments)
        .output()
        .await
        .expect("the program runs")
}

/// The program ended with this code, and said all of this.
#[track_caller]
fn assert_said(output: &Output, code: i32, words: &[&str]) {
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "nothing about {word:?} in:\n{said}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exemplar_passes_everything_behind_tls() {
    let authority = Authority::new();
    let exemplar = serve(Arc::new(Conformant), Some(common::TOKEN)).await;
    let front = Front::before(&exemplar.addresses[0], &Terms::usual(&authority)).await;
    assert_all_pass(&front.address, &Tls::default().trusting(&authority.file()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exemplar_passes_everything_behind_mutual_tls() {
    let (authority, clients) = (Authority::new(), Authority::named("the clients' CA"));
    let (certificate, key) = clients.sign("the-suite");
    let exemplar = serve(Arc::new(Conformant), Some(common::TOKEN)).await;
    let front = Front::before(&exemplar.addresses[0], &Terms::usual(&authority).mutual(&clients)).await;
    let tls = Tls::default().trusting(&authority.file()).unwrap().presenting(&certificate, &key).unwrap();
    assert_all_pass(&front.address, &tls).await;
}

#[tokio::test]
async fn a_certificate_that_no_known_authority_signed_is_3_and_names_the_option() {
    let authority = Authority::new();
    let exemplar = serve(Arc::new(Conformant), None).await;
    let front = Front::before(&exemplar.addresses[0], &Terms::usual(&authority)).await;
    let target = front.address.to_string();
    assert_said(&run(&["--target", &target]).await, 3, &["--tls-ca"]);
    let (stranger, namesake) = (Authority::named("another CA"), Authority::new());
    for (trusted, words) in [(stranger, "no CA that is trusted"), (namesake, "of the same name")] {
        let output = run(&["--target", &target, "--tls-ca", text(&trusted.file())]).await;
        assert_said(&output, 3, &[words, "--tls-ca"]);
    }
    assert_said(&run(&["--target", &target, "--tls-ca", text(&authority.file())]).await, 0, &[]);
}

#[tokio::test]
async fn a_missing_client_certificate_is_3_and_names_the_option() {
    let (authority, clients) = (Authority::new(), Authority::named("the clients' CA"));
    let exemplar = serve(Arc::new(Conformant), None).await;
    let (ca, own) = (authority.file(), clients.sign("the-suite"));
    for terms in [Terms::usual(&authority), Terms::usual(&authority).tls12()] {
        let front = Front::before(&exemplar.addresses[0], &terms.mutual(&clients)).await;
        let target = front.address.to_string();
        let trusting = ["--target", &target, "--tls-ca", text(&ca)];
        assert_said(&run(&trusting).await, 3, &["asks for a client certificate", "--tls-cert"]);
        let presenting = ["--tls-cert", text(&own.0), "--tls-key", text(&own.1)];
        assert_said(&run(&[trusting, presenting].concat()).await, 0, &[]);

        let foreign = authority.sign("a-stranger");
        let presenting = ["--tls-cert", text(&foreign.0), "--tls-key", text(&foreign.1)];
        let refused = ["refused", "does it know the CA of --tls-cert"];
        assert_said(&run(&[&trusting[..], &presenting].concat()).await, 3, &refused);
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_3_and_the_name_can_be_said() {
    let authority = Authority::new();
    let exemplar = serve(Arc::new(Conformant), None).await;
    let terms = Terms { name: "backend.example", ..Terms::usual(&authority) };
    let front = Front::before(&exemplar.addresses[0], &terms).await;
    let target = front.address.to_string();
    let ca = authority.file();
    let asked = ["--target", &target, "--tls-ca", text(&ca)];
    assert_said(&run(&asked).await, 3, &["backend.example", "--tls-server-name"]);
    let named = [&asked[..], &["--tls-server-name", "backend.example"]].concat();
    assert_said(&run(&named).await, 0, &[]);
}

#[tokio::test]
async fn plain_http2_to_a_tls_port_and_the_reverse_are_3_and_say_what_to_write() {
    let authority = Authority::new();
    let exemplar = serve(Arc::new(Conformant), None).await;
    let front = Front::before(&exemplar.addresses[0], &Terms::usual(&authority)).await;
    let advice = format!("write --target {}", front.address);
    assert_said(&run(&["--target", &front.plain()]).await, 3, &["speaks TLS", &advice]);

    let plain = exemplar.addresses[0].to_string();
    let advice = format!("write --target {plain}");
    let spoken =
        ["--target", &format!("https://{plain}"), "--tls-ca", text(&authority.file())].map(str::to_owned);
    let spoken: Vec<_> = spoken.iter().map(String::as_str).collect();
    assert_said(&run(&spoken).await, 3, &["speaks plain HTTP/2", &advice]);
}

#[tokio::test]
async fn tls_without_http2_is_3() {
    let authority = Authority::new();
    let exemplar = serve(Arc::new(Conformant), None).await;
    for alpn in [&["http/1.1"][..], &[]] {
        let terms = Terms { alpn, ..Terms::usual(&authority) };
        let front = Front::before(&exemplar.addresses[0], &terms).await;
        let target = front.address.to_string();
        let output = run(&["--target", &target, "--tls-ca", text(&authority.file())]).await;
        assert_said(&output, 3, &["h2 by ALPN"]);
    }
}

#[tokio::test]
async fn no_server_there_is_still_said_as_such() {
    let authority = Authority::new();
    let output = run(&["--target", "https://127.0.0.1:1", "--tls-ca", text(&authority.file())]).await;
    assert_said(&output, 3, &["refused", "Is it running"]);
}

#[tokio::test]
async fn a_server_that_says_https_when_it_is_ready_is_reached_by_tls() {
    let authority = Authority::new();
    let exemplar = serve(Arc::new(Conformant), None).await;
    let front = Front::before(&exemplar.addresses[0], &Terms::usual(&authority)).await;
    let server = format!("sh -c 'echo listening on {}; exec sleep 60'", front.address);
    let output = run(&["--spawn", &server, "--tls-ca", text(&authority.file())]).await;
    assert_said(&output, 0, &[&front.address.to_string()]);
}

#[tokio::test]
async fn the_command_that_runs_a_check_again_speaks_tls_too() {
    let (authority, clients) = (Authority::new(), Authority::named("the clients' CA"));
    let mutant = &ALL.iter().find(|r| r.id == "HEALTH-001").expect("it exists").mutant;
    let endpoint = serve((mutant.behaviour)(), None).await;
    let terms = Terms { name: "localhost", ..Terms::usual(&authority) }.mutual(&clients);
    let front = Front::before(&endpoint.addresses[0], &terms).await;
    let (ca, (certificate, key)) = (authority.file(), clients.sign("the-suite"));
    let target = front.address.to_string();
    let given = ["--target", &target, "--tls-ca", text(&ca), "--tls-cert", text(&certificate)];
    let given = [&given[..], &["--tls-key", text(&key), "--tls-server-name", "localhost"]].concat();
    let again = format!("conformance run {} --only HEALTH-001", given.join(" "));
    assert_said(&run(&given).await, 1, &[&again]);
}

#[tokio::test]
async fn options_that_cannot_work_are_wrong_usage() {
    let authority = Authority::new();
    let ((one, _), (_, other)) = (authority.sign("one"), authority.sign("other"));
    let ca = authority.file();
    let target = ["--target", "https://127.0.0.1:1"];
    for (options, words) in [
        (vec!["--tls-ca", "/nowhere.pem"], "--tls-ca /nowhere.pem"),
        (vec!["--tls-ca", text(&other)], "no PEM certificate"),
        (vec!["--tls-cert", text(&one), "--tls-key", text(&other)], "no key of the certificate"),
        (vec!["--tls-cert", text(&one)], "--tls-key"),
        (vec!["--tls-server-name", "not a name"], "--tls-server-name"),
    ] {
        assert_said(&run(&[&target[..], &options].concat()).await, 2, &[words]);
    }
    let plain = run(&["--target", "127.0.0.1:1", "--tls-ca", text(&ca)]).await;
    assert_said(&plain, 2, &["write --target https://host:port"]);
}

#[tokio::test]
async fn a_development_certificate_is_taken_where_that_is_asked_for() {
    let authority = Authority::new();
    let exemplar = serve(Arc::new(Conformant), None).await;
    let front = Front::before(&exemplar.addresses[0], &Terms::usual(&authority)).await;
    let target = front.address.to_string();
    assert_said(&run(&["--target", &target]).await, 3, &[]);
    assert_said(&run(&["--target", &target, "--insecure"]).await, 0, &["conformant"]);
    let both = run(&["--target", &target, "--insecure", "--tls-ca", text(&authority.file())]).await;
    assert_said(&both, 2, &["--insecure"]);
}
