//! Takes secrets out of everything that is told: as they are, and in the encodings in which servers say them back.

use std::fmt::Write as _;

use super::REDACTED;

/// A shorter token would be found in ordinary words.
const SHORTEST: usize = 4;
/// So much of the secret, followed by the mark of a cut, is the secret's beginning.
const SHORTEST_CUT: usize = 6;
/// How a text goes on that was cut.
const CUTS: [&str; 3] = ["\"…", "…", " …"];

/// Knows the secrets' forms, longest first.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    forms: Vec<String>,
}

impl Redactor {
    /// Of tokens and the like; without any, nothing is taken out.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut forms: Vec<String> =
            secrets.into_iter().filter(|secret| secret.len() >= SHORTEST).flat_map(forms_of).collect();
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Self { forms }
    }

    /// Whether there is anything to take out.
    pub fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// The text without the secrets.
    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for form in &self.forms {
            if text.contains(form.as_str()) {
                text = text.replace(form.as_str(), REDACTED);
            }
            text = without_beginning(&text, form);
        }
        text
    }
}

/// A secret as it is, escaped, percent-encoded, in hexadecimal and in base64, alone and behind the word `Bearer`.
fn forms_of(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned(), secret.escape_debug().to_string()];
    for upper in [true, false] {
        forms.push(percent_encoded(secret, upper, false));
        forms.push(percent_encoded(secret, upper, true));
    }
    for text in [secret.to_owned(), format!("Bearer {secret}")] {
        let hex = text.bytes().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        forms.extend([hex.to_uppercase(), hex]);
    }
    for alphabet in [STANDARD, URL_SAFE] {
        // Encoded on its own or behind other text: one form for each place in a group of three bytes.
        forms.extend((0..3).map(|before| base64_within(secret, before, alphabet)));
    }
    forms.retain(|form| form.len() >= SHORTEST);
    forms
}

/// The text without the secret's beginning where it was cut off.
fn without_beginning(text: &str, form: &str) -> String {
    let Some(start) = form.get(..SHORTEST_CUT) else { return text.to_owned() };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(start) {
        let (before, found) = rest.split_at(at);
        out.push_str(before);
        let same: usize =
            found.chars().zip(form.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
        let (head, tail) = found.split_at(same);
        out.push_str(if CUTS.iter().any(|cut| tail.starts_with(cut)) { REDACTED } else { head });
        rest = tail;
    }
    out.push_str(rest);
    out
}

fn percent_encoded(text: &str, upper: bool, everything: bool) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        let free = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let _ = match (free && !everything, upper) {
            (true, _) => write!(out, "{}", byte as char),
            (false, true) => write!(out, "%{byte:02X}"),
            (false, false) => write!(out, "%{byte:02x}"),
        };
    }
    out
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The characters of a base64 text that stand for `text` alone, where `before` bytes of its first group are others'.
fn base64_within(text: &str, before: usize, alphabet: &[u8; 64]) -> String {
    let bits = |at: usize, bytes: &[u8]| {
        let bit = |n: usize| bytes.get(n / 8).map_or(0, |byte| byte >> (7 - n % 8) & 1);
        (0..6).fold(0_usize, |value, n| value << 1 | usize::from(bit(at * 6 + n)))
    };
    let bytes: Vec<u8> = vec![0; before].into_iter().chain(text.bytes()).collect();
    let first = (before * 8).div_ceil(6);
    let end = bytes.len() * 8 / 6;
    (first..end).filter_map(|at| alphabet.get(bits(at, &bytes))).map(|c| *c as char).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "s3cret/To+ken=1";

    #[test]
    fn a_token_is_taken_out_in_every_form() {
        let redactor = Redactor::new([TOKEN]);
        for said in [
            TOKEN,
            "s3cret%2FTo%2Bken%3D1",
            "s3cret%2fTo%2bken%3d1",
            "czNjcmV0L1RvK2tlbj0x",             // base64
            "QmVhcmVyIHMzY3JldC9UbytrZW49MQ==", // base64 of "Bearer " and the token
            "eDpzM2NyZXQvVG8ra2VuPTE=",         // base64 of "x:" and the token
            "7333637265742f546f2b6b656e3d31",   // hexadecimal
        ] {
            let text = redactor.text(&format!("the server said {said:?} twice: {said}"));
            assert!(text.contains(REDACTED), "{said}: {text}");
            let leaks = ["s3cret", "M2NyZX", "NjcmV0", "MzY3Jl", "73336372"];
            assert!(!leaks.iter().any(|leak| text.contains(leak)), "{said}: {text}");
        }
    }

    #[test]
    fn a_token_that_was_cut_is_taken_out_too() {
        let redactor = Redactor::new([TOKEN]);
        assert_eq!(
            redactor.text("chunk: \"s3cret/To\"… (99 characters)"),
            "chunk: \"<redacted>\"… (99 characters)"
        );
        assert_eq!(redactor.text("s3cret/ is a word"), "s3cret/ is a word");
    }

    #[test]
    fn without_a_token_nothing_changes() {
        assert_eq!(Redactor::new([]).text("a b"), "a b");
        assert_eq!(Redactor::new(["a"]).text("a b"), "a b");
    }
}
