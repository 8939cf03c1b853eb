//! The sidecar sends nothing to its libraries' makers: ONNX Runtime's telemetry is off before the library is loaded.

use std::{fs, process::Command};

use reference_sidecar::paths::cache_dir;

#[test]
fn nothing_is_looked_up_and_no_id_is_left_behind() {
    let home = tempfile::tempdir().unwrap();
    let calls = home.path().join("calls");
    // It may be there and not be allowed to trace.
    let traced = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let traced = traced.is_ok_and(|output| output.status.success());
    if !traced {
        eprintln!("NOTE: strace cannot be used here; only the files that are left behind are looked at");
    }
    let program = env!("CARGO_BIN_EXE_reference-sidecar");
    let mut command = if traced {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-e", "trace=network", "-o"]).arg(&calls).arg(program);
        strace
    } else {
        Command::new(program)
    };
    // A variable named CI would switch it off too.
    let kept = ["PATH", "ORT_DYLIB_PATH"].iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
    let output = command
        .env_clear()
        .envs(kept)
        .env("HOME", home.path())
        .env("AI_INFERENCE_CACHE", cache_dir().unwrap_or_default())
        .args(["generate", "--max-new-tokens=4", "--model"])
        .arg(fixtures::tiny())
        .arg("Hello")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let left: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.iter().all(|path| *path == calls), "left behind: {left:?}");
    if traced {
        let calls = fs::read_to_string(calls).unwrap();
        let outside: Vec<_> = calls.lines().filter(|call| call.contains("AF_INET")).collect();
        assert!(outside.is_empty(), "{outside:?}");
    }
}
