//! How a bearer token is read from an option or the environment: a line's end behind it is not a part of it.

/// The token without a newline at its end, which files and shells add. What is left out is said, since a wrong token is hard
/// to see.
pub(super) fn token(text: &str) -> Result<String, String> {
    let token = text.trim_end_matches(['\r', '\n']);
    if token.is_empty() {
        return Err("the token is empty".to_owned());
    }
    if token.chars().any(char::is_control) {
        return Err("the token contains a control character, which no header may have".to_owned());
    }
    if token.len() < text.len() {
        eprintln!("note: the token ends in a newline, which is left out");
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newline_at_the_end_is_no_part_of_a_token() {
        assert_eq!(token("abc\n"), Ok("abc".to_owned()));
        assert_eq!(token("abc\r\n"), Ok("abc".to_owned()));
        assert!(token("a\nb").unwrap_err().contains("control character"));
        assert!(token("\n").unwrap_err().contains("empty"));
    }
}
