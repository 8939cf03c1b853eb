//! Makes text from outside safe and short enough to show. Pure.
//!
//! A target's text can hold anything: escape sequences that repaint a terminal, marks that reverse the reading order,
//! characters that XML forbids, lines that a CI server obeys as commands. Here they become visible, `\u{1b}`, because
//! what a target sent is evidence.

use std::io::{self, Write};

/// One line: control, formatting and forbidden characters are written out, and so is the `#` of what CI servers obey
/// wherever in a line it stands (`##vso[`, `##[`, `##teamcity[`).
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if is_hidden(c) {
            shown.extend(c.escape_default());
        } else if begins_command(&text[at..]) {
            shown.push_str(&escaped(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Lines of a log in which none begins with `::`, which GitHub obeys as a command also after blanks: there its first
/// colon is written out. For text that was made visible, wrapped and coloured already.
pub fn inert(lines: &str) -> String {
    let one = |line: &str| {
        let start = start_of_text(line);
        match line[start..].strip_prefix("::") {
            Some(rest) => format!("{}{}:{rest}", &line[..start], escaped(':')),
            None => line.to_owned(),
        }
    };
    lines.split('\n').map(one).collect::<Vec<_>>().join("\n")
}

/// As [`visible`], line by line: line breaks stay, and nothing else that moves the cursor.
pub fn visible_lines(text: &str) -> Vec<String> {
    text.lines().map(visible).collect()
}

/// At most `limit` characters of the text, and how many were left out. They are left out in the middle: a message often
/// begins with what was asked and ends with what went wrong.
pub fn cut(text: &str, limit: usize) -> String {
    let count = text.chars().count();
    if count <= limit {
        return text.to_owned();
    }
    let tail = limit / 3;
    let head: String = text.chars().take(limit - tail).collect();
    let tail: String = text.chars().skip(count - tail).collect();
    format!("{head} … ({} characters left out) … {tail}", count - limit)
}

/// Lines of at most `width` columns, broken at spaces where there are any.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let needed: usize = word.chars().map(columns).sum();
        if used > 0 && used + 1 + needed > width {
            lines.push(String::new());
            used = 0;
        } else if used > 0 {
            push(&mut lines, ' ');
            used += 1;
        }
        for c in word.chars() {
            if used > 0 && used + columns(c) > width {
                lines.push(String::new());
                used = 0;
            }
            push(&mut lines, c);
            used += columns(c);
        }
    }
    lines
}

/// The columns that a text takes on a terminal.
pub fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// JSON escapes the C0 controls; this escapes the other hidden characters, and what CI servers obey, which can stand only
/// inside strings.
pub fn hidden_as_json_escapes(json: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::with_capacity(json.len());
    for (at, c) in json.char_indices() {
        if c >= '\u{7f}' && is_hidden(c) || begins_command(&json[at..]) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Prints to standard output. A reader that has gone away, such as `head`, is no error.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// `##`, a word or none, and a bracket: a command to Azure Pipelines, GitHub and TeamCity.
fn begins_command(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("##") else { return false };
    rest.trim_start_matches(|c: char| c.is_ascii_alphabetic()).starts_with('[')
}

fn escaped(c: char) -> String {
    format!("\\u{{{:x}}}", c as u32)
}

/// Where a line's text begins: behind blanks and colours.
fn start_of_text(line: &str) -> usize {
    let mut rest = line;
    loop {
        let trimmed = rest.trim_start();
        let colour = trimmed.strip_prefix("\u{1b}[").and_then(|sgr| sgr.split_once('m'));
        match colour {
            Some((_, behind)) => rest = behind,
            None => return line.len() - trimmed.len(),
        }
    }
}

fn push(lines: &mut [String], c: char) {
    if let Some(line) = lines.last_mut() {
        line.push(c);
    }
}

/// East Asian wide characters take two columns. Coarse: it only decides where a line breaks.
fn columns(c: char) -> usize {
    if matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}' | '\u{20000}'..='\u{3fffd}')
    {
        2
    } else {
        1
    }
}

/// Controls; marks that change the direction or show nothing; line separators; code points that are no characters.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fdd0}'..='\u{fdef}' | '\u{feff}'
            | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
        || (c as u32 & 0xfffe) == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_ci_server_obeys_is_written_out() {
        assert_eq!(
            visible("a ##vso[task.setvariable]x ##[error] ##"),
            "a \\u{23}#vso[task.setvariable]x \\u{23}#[error] ##"
        );
        assert_eq!(
            inert("one::two\n  ::stop-commands::x\n\u{1b}[31m::error::y"),
            "one::two\n  \\u{3a}:stop-commands::x\n\u{1b}[31m\\u{3a}:error::y"
        );
        let json = hidden_as_json_escapes("[\"##vso[x]\"]");
        assert_eq!(json, "[\"\\u0023#vso[x]\"]");
    }

    #[test]
    fn long_text_is_cut_in_its_middle() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(
            cut("what was asked, and then the cause", 12),
            "what was … (22 characters left out) … ause"
        );
    }
}
