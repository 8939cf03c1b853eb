//! What must never stand in a record, a report or a page: tokens, wherever they come from. Pure.

/// The text without the secrets in it: the given one, and the values of settings and options of a command that are named
/// like secrets (`API_TOKEN=…`, `--password …`).
pub fn without_secrets(text: &str, token: Option<&str>) -> String {
    let text = match token.filter(|token| token.len() >= LEAST) {
        Some(token) => text.replace(token, HIDDEN),
        None => text.to_owned(),
    };
    let mut shown = String::with_capacity(text.len());
    let mut hides_next = false;
    for piece in text.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        let space = &piece[word.len()..];
        let (name, value) = word.split_once('=').unzip();
        match (name, value) {
            (Some(name), Some(value)) if is_secret(name) && !value.is_empty() => {
                shown.extend([name, "=", HIDDEN]);
            }
            _ if hides_next && !word.is_empty() && !word.starts_with('-') => shown.push_str(HIDDEN),
            _ => shown.push_str(word),
        }
        if !word.is_empty() {
            hides_next = word.starts_with("--") && !word.contains('=') && is_secret(word);
        }
        shown.push_str(space);
    }
    shown
}

/// By the last word of a name, so that `--max-tokens` is none.
fn is_secret(name: &str) -> bool {
    let name = name.trim_start_matches(['-', '\'', '"']).to_ascii_lowercase();
    let last = name.rsplit(['-', '_']).next().unwrap_or_default();
    NAMES.contains(&last) || name.ends_with("api-key") || name.ends_with("api_key")
}

const NAMES: [&str; 6] = ["token", "password", "passwd", "secret", "credential", "apikey"];
const HIDDEN: &str = "[hidden]";
/// Bytes: hiding an `a` would hide everything.
const LEAST: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_without_its_secrets() {
        for (text, shown) in [
            ("./server serve --port 0", "./server serve --port 0"),
            ("A_TOKEN=abc ./server", "A_TOKEN=[hidden] ./server"),
            ("-e 'HF_TOKEN=abc' image", "-e 'HF_TOKEN=[hidden] image"),
            ("server --token abc --port 0", "server --token [hidden] --port 0"),
            ("server --api-key=abc", "server --api-key=[hidden]"),
            ("server --max-tokens 8 --token-limit 9", "server --max-tokens 8 --token-limit 9"),
            ("server --token --port 0", "server --token --port 0"),
        ] {
            assert_eq!(without_secrets(text, None), shown);
        }
    }

    #[test]
    fn the_token_of_the_calls_is_hidden_wherever_it_is() {
        assert_eq!(without_secrets("no user has s3cret!", Some("s3cret")), "no user has [hidden]!");
        assert_eq!(without_secrets("a banana", Some("a")), "a banana");
    }
}
