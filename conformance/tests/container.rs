//! What is at fault where a container cannot be used, as far as it can be seen without an engine. `ci/containers` goes on
//! with one.

use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_conformance");

#[test]
fn an_engine_that_does_not_answer_is_named() {
    let place = tempfile::tempdir().unwrap();
    let output = Command::new(PROGRAM)
        .args(["run", "--container", "me/server:1 serve", "--output"])
        .arg(place.path())
        .env("DOCKER_HOST", format!("unix://{}", place.path().join("none.sock").display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("Docker is at fault"), "{said}");
}

#[test]
fn an_option_that_is_not_understood_is_wrong_usage() {
    for (words, expected) in [("--ipc host me/server:1", "--ipc is not understood"), ("-e A=b", "no image")] {
        let output = Command::new(PROGRAM).args(["run", &format!("--container={words}")]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}
