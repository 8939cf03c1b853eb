//! Finds what a server must not tell of itself: stack traces and paths of its host. Pure.
//!
//! Each pattern is one that only a runtime writes. A word that occurs in ordinary messages, such as an exception's name,
//! is none.

/// Something found in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leak {
    /// What it is, in words.
    pub(super) what: &'static str,
    /// Where it begins, in bytes.
    pub(super) at: usize,
    /// The path; empty for a trace.
    pub(super) path: String,
}

type Finder = fn(&str) -> Option<usize>;

/// The stack trace in a text, if there is one.
pub(super) fn trace(text: &str) -> Option<Leak> {
    const FINDERS: [(&str, Finder); 7] = [
        ("a stack trace of Python", python),
        ("a stack trace of the JVM", jvm),
        ("a stack trace of Go", go),
        ("a stack trace of JavaScript", javascript),
        ("a panic or a stack trace of Rust", rust),
        ("a stack trace of .NET", dotnet),
        ("a stack trace of C++", cpp),
    ];
    FINDERS.iter().find_map(|(what, find)| find(text).map(|at| Leak { what, at, path: String::new() }))
}

/// The paths of the host in a text.
pub(super) fn paths(text: &str) -> Vec<Leak> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let before = text[..at].chars().next_back();
        let step = rest.chars().next().map_or(1, char::len_utf8);
        if rest.starts_with("://") && !LOCAL_SCHEMES.iter().any(|scheme| text[..at].ends_with(scheme)) {
            at += rest.find(ends_word).unwrap_or(rest.len()); // an address of the network
            continue;
        }
        let Some(path) = path_at(&text[..at], before, rest) else {
            at += step;
            continue;
        };
        found.push(Leak { what: "a path of the server's host", at, path: path.to_owned() });
        at += path.len();
    }
    found
}

/// The path that begins here, if one does.
fn path_at<'a>(before: &str, last: Option<char>, rest: &'a str) -> Option<&'a str> {
    let local =
        LOCAL_SCHEMES.iter().any(|scheme| before.strip_suffix("://").is_some_and(|b| b.ends_with(scheme)));
    if last.is_some_and(within_word) && !local {
        return None;
    }
    let drive = rest.len() > 3
        && rest.as_bytes()[0].is_ascii_alphabetic()
        && rest.as_bytes()[1] == b':'
        && matches!(rest.as_bytes()[2], b'\\' | b'/');
    if !drive && !rest.starts_with('/') {
        return None;
    }
    let start = if drive { 2 } else { 0 };
    let end = rest[start..].find(|c: char| ends_path(c, drive)).map_or(rest.len(), |end| end + start);
    let path = rest[..end].trim_end_matches(['.', '!', '/', '\\', '-']);
    let parts: Vec<_> = path.get(start..)?.split(['/', '\\']).collect();
    // The first part is empty: what stands before the first slash.
    let (first, name) = (parts.get(1)?.to_lowercase(), *parts.last()?);
    let roots: &[&str] = if drive { &DRIVE_ROOTS } else { &ROOTS };
    let known = roots.contains(&first.as_str()) || is_file_of_a_program(name);
    (parts.len() > 2 && !first.is_empty() && known).then_some(path)
}

/// A character before which no path begins: it stands within a word, such as a model's name, a MIME type or a URL.
fn within_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-~*/\\%+?&#@$)]}".contains(c)
}

fn ends_word(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "\"'`<>()".contains(c)
}

fn ends_path(c: char, drive: bool) -> bool {
    let blank = c == ' ' && !drive || c.is_whitespace() && c != ' ';
    blank || c.is_control() || !c.is_ascii() || "\"'`<>|*?,;:()[]{}".contains(c) || (c == '\\' && !drive)
}

fn is_file_of_a_program(name: &str) -> bool {
    name.contains(".so.")
        || name.rsplit_once('.').is_some_and(|(stem, end)| !stem.is_empty() && ENDINGS.contains(&end))
}

/// Schemes whose addresses are paths of a host.
const LOCAL_SCHEMES: [&str; 2] = ["file", "unix"];
/// First parts of a path that hosts and containers have.
const ROOTS: [&str; 27] = [
    "app",
    "applications",
    "bin",
    "boot",
    "data",
    "etc",
    "home",
    "lib",
    "lib64",
    "library",
    "mnt",
    "models",
    "nix",
    "opt",
    "private",
    "root",
    "run",
    "sbin",
    "snap",
    "srv",
    "tmp",
    "users",
    "usr",
    "var",
    "volumes",
    "workdir",
    "workspace",
];
const DRIVE_ROOTS: [&str; 12] = [
    "app",
    "data",
    "models",
    "program files",
    "programdata",
    "python",
    "src",
    "temp",
    "tmp",
    "users",
    "windows",
    "work",
];
/// Endings of sources, libraries, weights, sockets and logs: such a path is a host's, wherever it begins.
const ENDINGS: [&str; 23] = [
    "c",
    "cc",
    "cpp",
    "cs",
    "cu",
    "dll",
    "dylib",
    "gguf",
    "go",
    "h",
    "java",
    "js",
    "kt",
    "log",
    "mjs",
    "onnx",
    "pt",
    "py",
    "pyc",
    "rs",
    "safetensors",
    "so",
    "sock",
];

fn python(text: &str) -> Option<usize> {
    text.find("Traceback (most recent call last)").or_else(|| {
        places(text, "\", line ").find_map(|at| {
            let start = window_before(text, at).rfind("File ")?;
            number(&text[at + "\", line ".len()..])?;
            Some(at - window_before(text, at).len() + start)
        })
    })
}

/// `at java.base/java.lang.Thread.run(Thread.java:840)`
fn jvm(text: &str) -> Option<usize> {
    places(text, "at ").find(|at| {
        let rest = &text[at + 3..];
        let end =
            rest.find(|c: char| !c.is_ascii_alphanumeric() && !"._$/<>@-".contains(c)).unwrap_or(rest.len());
        let Some(place) = rest[end..].strip_prefix('(').and_then(|p| p.split_once(')')).map(|(p, _)| p)
        else {
            return false;
        };
        let in_file = [".java:", ".kt:", ".scala:"]
            .iter()
            .any(|ending| after(place, ending).is_some_and(|r| number(r).is_some()));
        rest[..end].contains('.') && (in_file || matches!(place, "Native Method" | "Unknown Source"))
    })
}

/// `goroutine 1 [running]:`, or a frame's `main.go:12 +0x1d`
fn go(text: &str) -> Option<usize> {
    let header = places(text, "goroutine ").find(|at| follows(&text[at + 10..], " ["));
    header.or_else(|| places(text, ".go:").find(|at| follows(&text[at + 4..], " +0x")))
}

/// `at handle (/app/server.js:10:5)`, `at node:internal/process/task_queues:95:5`
fn javascript(text: &str) -> Option<usize> {
    [".js:", ".mjs:", ".cjs:", ".ts:", "node:internal/"].iter().find_map(|file| {
        places(text, file).find_map(|at| {
            let line = text[at + file.len()..].trim_start_matches(|c: char| {
                c.is_alphanumeric() && !c.is_ascii_digit()
                    || "/_".contains(c)
                    || c == ':' && file.starts_with("node")
            });
            let column = line.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(':')?;
            number(line).and(number(column))?;
            let before = window_before(text, at);
            let start =
                before.rfind("at ").filter(|at| *at == 0 || before[..*at].ends_with(char::is_whitespace))?;
            Some(at - before.len() + start)
        })
    })
}

/// `stack backtrace:`, or where a panic was: `panicked at src/main.rs:3:5`
fn rust(text: &str) -> Option<usize> {
    text.find("stack backtrace:").or_else(|| {
        places(text, ".rs:").find_map(|at| {
            number(&text[at + 4..])?;
            Some(at - window_before(text, at).len() + window_before(text, at).rfind("panicked at ")?)
        })
    })
}

/// `at Server.Handle(String name) in C:\src\Server.cs:line 12`
fn dotnet(text: &str) -> Option<usize> {
    places(text, ".cs:line ").find(|at| number(&text[at + 9..]).is_some())
}

/// `frame #0: c10::Error::Error`, `#0  0x00007f3a in malloc ()`
fn cpp(text: &str) -> Option<usize> {
    let torch = places(text, "frame #").find(|at| follows(&text[at + 7..], ": "));
    torch.or_else(|| {
        places(text, "#").find(|at| {
            let rest = text[at + 1..].trim_start_matches(|c: char| c.is_ascii_digit());
            rest.len() < text.len() - at - 1 && rest.trim_start().starts_with("0x")
        })
    })
}

fn places<'a>(text: &'a str, words: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(words).map(|(at, _)| at)
}

fn after<'a>(text: &'a str, words: &str) -> Option<&'a str> {
    text.split_once(words).map(|(_, rest)| rest)
}

/// Whether digits and then these words begin the text.
fn follows(text: &str, words: &str) -> bool {
    number(text).is_some_and(|rest| rest.starts_with(words))
}

/// What comes after the digits at the beginning, if there are any.
fn number(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    (rest.len() < text.len()).then_some(rest)
}

/// What stands shortly before a place.
fn window_before(text: &str, at: usize) -> &str {
    let from = (at.saturating_sub(WINDOW)..=at).find(|from| text.is_char_boundary(*from)).unwrap_or(at);
    &text[from..at]
}

/// Bytes between the beginning of a frame and its line number.
const WINDOW: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stack_traces_of_each_runtime_are_found() {
        for (text, what) in [
            (
                "Exception calling application: Traceback (most recent call last):\n  File \"/srv/app/server.py\", line 41, in predict",
                "Python",
            ),
            ("KeyError: 'x' | File \"server.py\", line 41, in predict", "Python"),
            (
                "java.lang.NullPointerException\n\tat ai.cyllm.Worker.run(Worker.java:88)\n\tat java.base/java.lang.Thread.run(Thread.java:840)",
                "JVM",
            ),
            ("failed at ai.cyllm.ServiceKt$handle$1.invokeSuspend(Service.kt:12)", "JVM"),
            ("x at sun.misc.Unsafe.park(Native Method)", "JVM"),
            ("panic: boom\n\ngoroutine 17 [running]:\nmain.handle(0xc0000140a0)", "Go"),
            ("main.main()\n\tserver.go:12 +0x1d", "Go"),
            ("TypeError: x\n    at handle (server.js:10:5)", "JavaScript"),
            ("Error\n    at async file:///srv/x.mjs:3:14", "JavaScript"),
            (
                "    at process.processTicksAndRejections (node:internal/process/task_queues:95:5)",
                "JavaScript",
            ),
            ("thread 'tokio-runtime-worker' panicked at src/engine.rs:41:9:\nindex out of bounds", "Rust"),
            ("stack backtrace:\n   0: rust_begin_unwind", "Rust"),
            (r"at Worker.Run(String name) in Worker.cs:line 12", ".NET"),
            ("frame #0: c10::Error::Error(c10::SourceLocation) + 0x57", "C++"),
            ("#1  0x00007f3a2c in raise ()", "C++"),
        ] {
            let found = trace(text).unwrap_or_else(|| panic!("not found: {text}"));
            assert!(found.what.contains(what), "{text}: {}", found.what);
        }
    }

    #[test]
    fn paths_of_a_host_are_found_whole() {
        for (text, path) in [
            ("no such file: /home/alice/models/a.gguf", "/home/alice/models/a.gguf"),
            ("cannot open '/usr/lib/libcuda.so.1' (2)", "/usr/lib/libcuda.so.1"),
            ("path=/etc/passwd, mode 0600", "/etc/passwd"),
            ("文件/etc/passwd不存在", "/etc/passwd"),
            ("[/onnxruntime_src/core/session.cc:12] failed", "/onnxruntime_src/core/session.cc"),
            ("listens on unix:///run/cy/a.sock.", "/run/cy/a.sock"),
            ("file:///opt/x/y", "/opt/x/y"),
            (r"cannot read C:\Users\me\model.bin: denied", r"C:\Users\me\model.bin"),
            ("D:/data/model.onnx", "D:/data/model.onnx"),
            ("/srv/adapters/../../etc/shadow is no adapter", "/srv/adapters/../../etc/shadow"),
        ] {
            let found: Vec<_> = paths(text).into_iter().map(|leak| leak.path).collect();
            assert_eq!(found, [path], "{text}");
        }
    }

    #[test]
    fn innocent_messages_are_left_alone() {
        for text in [
            "java.lang.IllegalArgumentException: bad temperature",
            "invalid UTF-8 at index 3",
            "look at the manual (section 3:4)",
            "see https://example.com/usr/lib/x.py and http://[::1]:8080/home/a",
            "application/grpc, text/html, */*",
            "unknown model: meta-llama/Llama-3.1-8B",
            "model not found: models/tmp/x",
            "unknown method /AiInference/NoSuchMethod; /cy.llm.AiInference/Health",
            "POST /v1/chat/completions",
            "3 tokens/s and/or 4 / 5",
            "goroutine limit reached; the thread panicked; Traceback is off",
            "File \"x\" is missing, line 3",
            "error #3: 0 slots; frame # 2",
            "the ratio is a:/b and A:\\nB: \\tC",
            "Unexpected <class 'KeyError'>: 'x'",
            "unix socket, 1/2/3, 2024/11/27, /",
            "max_new_tokens must be at least 1 (main.go)",
        ] {
            assert_eq!((trace(text), paths(text)), (None, vec![]), "{text}");
        }
    }
}
