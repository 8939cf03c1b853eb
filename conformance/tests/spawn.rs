//! Targets that the run starts: what a command may be, how its faults are named, and that nothing of it is ever left.

#![cfg(target_os = "linux")]

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

const PROGRAM: &str = env!("CARGO_BIN_EXE_conformance");

#[test]
fn nothing_is_left_whichever_signal_comes_before_the_target_is_ready() {
    // Under `nohup`, the program lets a hang-up pass, as it must.
    let hang_up = (!hang_ups_are_ignored()).then_some(Signal::HUP);
    for (number, signal) in [Signal::INT, Signal::TERM].into_iter().chain(hang_up).enumerate() {
        let place = tempfile::tempdir().unwrap();
        let seconds = unlike_any_other(number);
        let started = place.path().join("started");
        let line = format!("{} touch {}; sleep {seconds}", stubborn(&seconds), started.display());
        let run = running(place.path(), &line, &[]).stderr(Stdio::piped()).spawn().unwrap();
        wait_for("its children", || started.exists() && sleeping(&seconds).len() >= 4);
        rustix::process::kill_process(Pid::from_child(&run), signal).unwrap();
        let output = run.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{signal:?}: {output:?}");
        assert_eq!(sleeping(&seconds), [0_u32; 0], "{signal:?}");
    }
}

/// As bit 0 of the signals that this process ignores (proc(5), `SigIgn`).
fn hang_ups_are_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 == 1
}

#[test]
fn nothing_is_left_after_a_run_that_ended() {
    let place = tempfile::tempdir().unwrap();
    let seconds = unlike_any_other(7);
    let line = format!("{} exec {PROGRAM} serve exemplar --listen 127.0.0.1:0", stubborn(&seconds));
    let output = run(place.path(), &line, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(sleeping(&seconds), [0_u32; 0]);
}

#[test]
fn what_was_there_before_is_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let seconds = unlike_any_other(10);
    let target = format!("{PROGRAM} serve exemplar --listen 127.0.0.1:0");
    // A shell that leaves a child with a session of its own to the program that takes its place.
    let script = format!(
        "setsid sleep {seconds} & exec {PROGRAM} run --only HEALTH-001 --spawn '{target}' --output {}",
        place.path().display()
    );
    let output = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).status();
    let left = sleeping(&seconds);
    for pid in &left {
        let pid = Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
    assert!(output.unwrap().success());
    assert_eq!(left.len(), 1, "the shell's child is not the target's");
}

#[test]
fn a_second_signal_does_not_wait_for_a_target_that_will_not_end() {
    let place = tempfile::tempdir().unwrap();
    let seconds = unlike_any_other(8);
    let line = format!("trap '' TERM; while :; do sleep {seconds}; done");
    let run = running(place.path(), &line, &[]).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("the target", || !sleeping(&seconds).is_empty());
    let pid = Pid::from_child(&run);
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(run.wait_with_output().unwrap().status.code(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(sleeping(&seconds), [0_u32; 0]);
}

#[test]
fn a_command_that_died_is_noticed_though_its_child_holds_its_output() {
    let place = tempfile::tempdir().unwrap();
    let seconds = unlike_any_other(9);
    let began = Instant::now();
    let output = run(place.path(), &format!("sleep {seconds} & echo its last words; exit 7"), &[]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    for words in ["exit status: 7", "its last words", "before it was ready"] {
        assert!(said(&output).contains(words), "{words}: {}", said(&output));
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(sleeping(&seconds), [0_u32; 0]);
}

#[test]
fn output_without_a_newline_is_bounded() {
    let place = tempfile::tempdir().unwrap();
    let line = format!(
        "head -c 300000000 /dev/zero; printf '\\n'; exec {PROGRAM} serve exemplar --listen 127.0.0.1:0"
    );
    let output = run(place.path(), &line, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let log = fs::metadata(place.path().join("target.log")).unwrap().len();
    assert!((1..20_000_000).contains(&log), "{log} bytes");
}

#[test]
fn a_command_is_what_a_shell_understands() {
    let place = tempfile::tempdir().unwrap();
    for line in [
        format!("LISTEN=127.0.0.1:0 sh -c '{PROGRAM} serve exemplar --listen $LISTEN'"),
        format!("cd / && {PROGRAM} serve exemplar --listen 127.0.0.1:0"),
        format!("{PROGRAM} serve exemplar --listen '127.0.0.1:0'"),
    ] {
        let output = run(place.path(), &line, &[]);
        assert_eq!(output.status.code(), Some(0), "{line}: {output:?}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_named_and_not_the_command() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    let folder = file.join("reports");
    let output = run(&folder, "some-server", &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = said(&output);
    assert!(said.contains(folder.to_str().unwrap()) && !said.contains("some-server"), "{said}");
}

#[test]
fn what_already_listens_is_not_judged_in_the_commands_place() {
    let place = tempfile::tempdir().unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let started = place.path().join("started");
    let output = run(place.path(), &format!("touch {}", started.display()), &["--target", &address]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let words = format!("something already listens at {address}");
    assert!(said(&output).contains(&words), "{}", said(&output));
    assert!(!started.exists(), "the command was not started");
}

/// Children that do not end with their server: one ignores what asks it to, one has a session of its own, one was
/// orphaned into a session of its own.
fn stubborn(seconds: &str) -> String {
    format!(
        "(trap '' TERM HUP INT; exec sleep {seconds}) & setsid sh -c \"trap '' TERM; sleep {seconds}; :\" & \
         env -i setsid -f sleep {seconds};"
    )
}

fn run(output: &Path, line: &str, more: &[&str]) -> Output {
    running(output, line, more).output().unwrap()
}

fn running(output: &Path, line: &str, more: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--only", "HEALTH-001", "--spawn", line, "--output"]).arg(output).args(more);
    command.stdout(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A time to sleep by which a test knows its own processes.
fn unlike_any_other(number: usize) -> String {
    format!("{}.{number}", 100_000 + std::process::id())
}

/// The processes `sleep SECONDS` that run.
fn sleeping(seconds: &str) -> Vec<u32> {
    let wanted = format!("sleep\0{seconds}\0");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let found = processes.filter(|process| {
        fs::read(process.path().join("cmdline")).is_ok_and(|words| words == wanted.as_bytes())
    });
    found.filter_map(|process| process.file_name().to_str()?.parse().ok()).collect()
}

fn wait_for(what: &str, mut seen: impl FnMut() -> bool) {
    let began = Instant::now();
    while !seen() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what} did not come");
        thread::sleep(Duration::from_millis(10));
    }
}
