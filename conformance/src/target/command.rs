//! How a command line becomes a process: by the shell, with the server itself in the shell's place where that can be.
//!
//! Pure.

use tokio::process::Command;

/// `sh -c` with the user's words.
pub(super) fn shell(line: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script(line));
    shell
}

/// A plain command takes the shell's place, so that its end and its signals are seen as they are. What only the shell
/// understands, such as `cd x && server` or `PORT=0 server`, is left to it.
fn script(line: &str) -> String {
    let first = line.split_whitespace().next().unwrap_or_default();
    let program = !first.is_empty() && !first.contains(['=', '$', '`']) && !BUILT_IN.contains(&first);
    let plain = program && !line.contains([';', '&', '|', '(', ')', '{', '}', '\n', '#']);
    if plain { format!("exec {line}") } else { line.to_owned() }
}

/// What is no program: `exec` before it would fail, or do something else.
const BUILT_IN: [&str; 31] = [
    "!", ".", ":", "alias", "break", "case", "cd", "command", "continue", "do", "eval", "exec", "exit",
    "export", "for", "if", "nohup", "read", "readonly", "return", "set", "shift", "source", "time", "times",
    "trap", "ulimit", "umask", "unset", "until", "while",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_command_takes_the_shells_place() {
        for line in ["server --port 1", "./a 'b c' >log", "/usr/bin/python3 -m server"] {
            assert_eq!(script(line), format!("exec {line}"));
        }
        for line in
            ["PORT=0 server", "cd x && server", "exit 7", "a; b", "a | b", "exec server", "$SERVER", ""]
        {
            assert_eq!(script(line), line);
        }
    }
}
