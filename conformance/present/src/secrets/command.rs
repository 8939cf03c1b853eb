//! Secrets in commands and among metadata, known by their names.

use super::REDACTED;

/// A command without the values of settings and options that are named like secrets (`API_TOKEN=…`, `--password …`).
pub fn shown_command(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut hides_next = false;
    for piece in text.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        let space = &piece[word.len()..];
        let (name, value) = word.split_once('=').unzip();
        match (name, value) {
            (Some(name), Some(value)) if is_secret(name) && !value.is_empty() => {
                shown.extend([name, "=", REDACTED]);
            }
            _ if hides_next && !word.is_empty() && !word.starts_with('-') => shown.push_str(REDACTED),
            _ => shown.push_str(word),
        }
        if !word.is_empty() {
            hides_next = word.starts_with("--") && !word.contains('=') && is_secret(word);
        }
        shown.push_str(space);
    }
    shown
}

/// Whether a setting, an option or a metadata key holds a secret. The last word of a name says it, so that `--max-tokens` is
/// none.
pub fn is_secret(name: &str) -> bool {
    let name = name.trim_start_matches(['-', '\'', '"']).to_ascii_lowercase();
    let last = name.rsplit(['-', '_']).next().unwrap_or_default();
    NAMES.contains(&last) || name.ends_with("api-key") || name.ends_with("api_key")
}

const NAMES: [&str; 9] =
    ["token", "password", "passwd", "secret", "credential", "apikey", "authorization", "cookie", "signature"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_without_its_secrets() {
        for (text, shown) in [
            ("./server serve --port 0", "./server serve --port 0"),
            ("A_TOKEN=abc ./server", "A_TOKEN=<redacted> ./server"),
            ("-e 'HF_TOKEN=abc' image", "-e 'HF_TOKEN=<redacted> image"),
            ("server --token abc --port 0", "server --token <redacted> --port 0"),
            ("server --api-key=abc", "server --api-key=<redacted>"),
            ("server --max-tokens 8 --token-limit 9", "server --max-tokens 8 --token-limit 9"),
            ("server --token --port 0", "server --token --port 0"),
        ] {
            assert_eq!(shown_command(text), shown);
        }
    }

    #[test]
    fn metadata_keys_are_secret_by_their_last_word() {
        for (key, secret) in [
            ("x-api-key", true),
            ("cookie", true),
            ("x-auth-token", true),
            ("x-tenant", false),
            ("x-token-limit", false),
        ] {
            assert_eq!(is_secret(key), secret, "{key}");
        }
    }
}
